//! Users, groups, roles and sessions over the wire.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gw_store::{AccountSettings, KeyLimits};
use gw_types::{Authenticated, Frontend};

use crate::harness::{ACCESS_KEY, Gateway};
use crate::wire::{Auth, Payload, Reply, Wire, escape, exchange};

const READ: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}]}"#;
const ALL: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
const TRUST_ANN: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"arn:aws:iam::ann:root"}}]}"#;

/// Keys to ask with.
#[derive(Clone)]
struct Keys {
    access_key: String,
    secret: String,
    token: Option<String>,
}

impl Keys {
    fn of(reply: &Reply) -> Self {
        assert_eq!(reply.status, 200, "{}", reply.text());
        let text = |name| reply.element(name).map(str::to_owned);
        Self {
            access_key: text("AccessKeyId").unwrap(),
            secret: text("SecretAccessKey").unwrap(),
            token: text("SessionToken"),
        }
    }
    fn sign(&self, wire: Wire) -> Wire {
        wire.with(|wire| {
            wire.access_key.clone_from(&self.access_key);
            wire.secret.clone_from(&self.secret);
            wire.token.clone_from(&self.token);
        })
    }
}

fn query(gateway: &Gateway, service: &str, action: &str, params: &[(&str, &str)]) -> Wire {
    let mut body = format!("Action={action}&Version=2010-05-08");
    for (name, value) in params {
        body.push_str(&format!("&{name}={}", escape(value)));
    }
    gateway
        .wire("POST", "/")
        .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
        .body(body.as_bytes())
        .with(|wire| wire.service = service.to_owned())
}

async fn iam(gateway: &Gateway, action: &str, params: &[(&str, &str)]) -> Reply {
    query(gateway, "iam", action, params).send().await
}

async fn done(gateway: &Gateway, action: &str, params: &[(&str, &str)]) -> Reply {
    let reply = iam(gateway, action, params).await;
    assert_eq!(reply.status, 200, "{action}: {}", reply.text());
    assert!(
        reply
            .text()
            .starts_with(&format!("<{action}Response xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">"))
    );
    reply
}

/// The user sam of ann's account, with a key.
async fn sam(gateway: &Gateway) -> Keys {
    done(gateway, "CreateUser", &[("UserName", "sam"), ("Path", "/team/")]).await;
    Keys::of(&done(gateway, "CreateAccessKey", &[("UserName", "sam")]).await)
}

/// A session of the role reader of ann's account, which may read.
async fn reader(gateway: &Gateway) -> Keys {
    let role = [("RoleName", "reader"), ("AssumeRolePolicyDocument", TRUST_ANN)];
    done(gateway, "CreateRole", &role).await;
    done(gateway, "PutRolePolicy", &[("RoleName", "reader"), ("PolicyName", "p"), ("PolicyDocument", READ)])
        .await;
    let assume = [("RoleArn", "arn:aws:iam::ann:role/reader"), ("RoleSessionName", "night")];
    let reply = query(gateway, "sts", "AssumeRole", &assume).send().await;
    assert_eq!(reply.element("Arn"), Some("arn:aws:sts::ann:assumed-role/reader/night"), "{}", reply.text());
    Keys::of(&reply)
}

#[tokio::test]
async fn a_user_with_a_key_may_what_its_policy_says() {
    let gateway = Gateway::start().await;
    gateway.put("k", b"body").await;
    let sam = sam(&gateway).await;
    let get = || sam.sign(gateway.wire("GET", "/bucket/k"));
    assert_eq!(get().send().await.code(), "AccessDenied");
    let policy = [("UserName", "sam"), ("PolicyName", "read"), ("PolicyDocument", READ)];
    done(&gateway, "PutUserPolicy", &policy).await;
    assert_eq!(get().send().await.body, b"body");
    assert_eq!(sam.sign(gateway.wire("PUT", "/bucket/n").body(b"x")).send().await.code(), "AccessDenied");
    let shown = done(&gateway, "GetUserPolicy", &policy[..2]).await;
    assert_eq!(shown.element("PolicyDocument"), Some(escape(READ).as_str()));
    assert_eq!(
        iam(&gateway, "GetUserPolicy", &[("UserName", "sam"), ("PolicyName", "no")]).await.code(),
        "NoSuchEntity"
    );

    let used = done(&gateway, "GetAccessKeyLastUsed", &[("AccessKeyId", &sam.access_key)]).await;
    assert_eq!((used.element("UserName"), used.element("ServiceName")), (Some("sam"), Some("s3")));
    let off = [("UserName", "sam"), ("AccessKeyId", sam.access_key.as_str()), ("Status", "Inactive")];
    done(&gateway, "UpdateAccessKey", &off).await;
    assert_eq!(get().send().await.code(), "InvalidAccessKeyId");
    assert_eq!(iam(&gateway, "DeleteUser", &[("UserName", "sam")]).await.code(), "DeleteConflict");
    done(&gateway, "DeleteAccessKey", &off[..2]).await;
    done(&gateway, "DeleteUserPolicy", &policy[..2]).await;
    done(&gateway, "DeleteUser", &[("UserName", "sam")]).await;
    let gone = iam(&gateway, "GetUser", &[("UserName", "sam")]).await;
    assert_eq!((gone.status, gone.code()), (404, "NoSuchEntity"));
    assert!(gone.text().contains("<Type>Sender</Type>") && gone.element("RequestId").is_some());
}

#[tokio::test]
async fn lists_come_in_pages_and_groups_and_managed_policies_work() {
    let gateway = Gateway::start().await;
    for name in ["c", "A", "b"] {
        done(&gateway, "CreateUser", &[("UserName", name)]).await;
    }
    let (mut names, mut marker) = (Vec::new(), String::new());
    loop {
        let mut params = vec![("MaxItems", "1")];
        if !marker.is_empty() {
            params.push(("Marker", &marker));
        }
        let page = done(&gateway, "ListUsers", &params).await;
        names.push(page.element("UserName").unwrap().to_owned());
        if page.element("IsTruncated") == Some("false") {
            break;
        }
        marker = page.element("Marker").unwrap().to_owned();
    }
    assert_eq!(names, ["A", "b", "c"]);
    assert_eq!(iam(&gateway, "ListUsers", &[("MaxItems", "0")]).await.code(), "ValidationError");

    done(&gateway, "CreateGroup", &[("GroupName", "team")]).await;
    done(&gateway, "AddUserToGroup", &[("GroupName", "team"), ("UserName", "b")]).await;
    assert_eq!(done(&gateway, "GetGroup", &[("GroupName", "team")]).await.element("UserName"), Some("b"));
    assert_eq!(
        done(&gateway, "ListGroupsForUser", &[("UserName", "b")]).await.element("GroupName"),
        Some("team")
    );
    let made = done(&gateway, "CreatePolicy", &[("PolicyName", "reader"), ("PolicyDocument", READ)]).await;
    let arn = made.element("Arn").unwrap();
    assert_eq!(arn, "arn:aws:iam::ann:policy/reader");
    let attach = [("GroupName", "team"), ("PolicyArn", arn)];
    done(&gateway, "AttachGroupPolicy", &attach).await;
    let attached = done(&gateway, "ListAttachedGroupPolicies", &attach[..1]).await;
    assert_eq!(attached.element("PolicyName"), Some("reader"));
    assert_eq!(done(&gateway, "GetPolicy", &attach[1..]).await.element("AttachmentCount"), Some("1"));
    let entities = done(&gateway, "ListEntitiesForPolicy", &attach[1..]).await;
    assert_eq!(entities.element("GroupName"), Some("team"));
    let version = done(&gateway, "GetPolicyVersion", &[attach[1], ("VersionId", "v1")]).await;
    assert_eq!(version.element("Document"), Some(escape(READ).as_str()));
    assert_eq!(iam(&gateway, "DeletePolicy", &attach[1..]).await.code(), "DeleteConflict");
    let all = done(&gateway, "ListPolicies", &[("Scope", "AWS")]).await;
    assert!(all.text().contains("arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"));
    let summary = done(&gateway, "GetAccountSummary", &[]).await;
    assert!(summary.text().contains("<entry><key>Users</key><value>3</value></entry>"));
    // Another account sees nothing of all this.
    let bob = |action| {
        query(&gateway, "iam", action, &[("UserName", "b")]).with(|wire| {
            wire.access_key = "AKIABOB".to_owned();
            wire.secret = "bobs-secret".to_owned();
        })
    };
    assert_eq!(bob("GetUser").send().await.code(), "NoSuchEntity");
    assert!(!bob("ListUsers").send().await.text().contains("<UserName>"));
}

#[tokio::test]
async fn a_session_works_by_header_by_query_and_by_form_and_only_with_its_token() {
    let gateway = Gateway::start().await;
    gateway.put("k", b"body").await;
    let session = reader(&gateway).await;
    let by_query = |keys: &Keys| {
        keys.sign(gateway.wire("GET", "/bucket/k")).with(|wire| {
            wire.auth = Auth::Query(60);
            wire.payload = Payload::Unsigned;
        })
    };
    assert_eq!(session.sign(gateway.wire("GET", "/bucket/k")).send().await.body, b"body");
    assert_eq!(by_query(&session).send().await.body, b"body");
    assert_eq!(session.sign(gateway.wire("PUT", "/bucket/n").body(b"x")).send().await.code(), "AccessDenied");
    let who = session.sign(query(&gateway, "sts", "GetCallerIdentity", &[])).send().await;
    assert_eq!((who.element("Account"), who.status), (Some("ann"), 200));

    let without = Keys { token: None, ..session.clone() };
    assert_eq!(without.sign(gateway.wire("GET", "/bucket/k")).send().await.code(), "InvalidAccessKeyId");
    let forged = Keys { token: Some("AAAA".to_owned()), ..session.clone() };
    for reply in [forged.sign(gateway.wire("GET", "/bucket/k")).send().await, by_query(&forged).send().await]
    {
        assert_eq!((reply.status, reply.code()), (400, "InvalidToken"));
    }
    // Somebody's good token does not open another key.
    let borrowed = Keys { access_key: ACCESS_KEY.to_owned(), ..session.clone() };
    assert_eq!(borrowed.sign(gateway.wire("GET", "/bucket/k")).send().await.code(), "InvalidToken");
    let wrong = Keys { secret: "wrong-secret".to_owned(), ..session.clone() };
    assert_eq!(wrong.sign(gateway.wire("GET", "/bucket/k")).send().await.code(), "SignatureDoesNotMatch");
    let added = by_query(&session).late("x-amz-security-token", session.token.as_ref().unwrap());
    assert_eq!(added.send().await.code(), "InvalidToken");

    let all = [("RoleName", "reader"), ("PolicyName", "p"), ("PolicyDocument", ALL)];
    done(&gateway, "PutRolePolicy", &all).await;
    assert_eq!(form(&gateway, &session).await.status, 204);
    assert_eq!(form(&gateway, &forged).await.code(), "InvalidToken");
    assert_eq!(form(&gateway, &without).await.code(), "InvalidAccessKeyId");
    assert_eq!(gateway.get("formed").await.body, b"hello");
    done(&gateway, "DeleteRolePolicy", &all[..2]).await;
    done(&gateway, "DeleteRole", &all[..1]).await;
    assert_eq!(session.sign(gateway.wire("GET", "/bucket/k")).send().await.code(), "InvalidToken");
}

/// Uploads `formed` by a form.
async fn form(gateway: &Gateway, keys: &Keys) -> Reply {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let hmac = |key: &[u8], text: &str| {
        let mac = Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
        mac.chain_update(text).finalize().into_bytes().to_vec()
    };
    let policy = STANDARD.encode(
        r#"{"expiration":"2100-01-01T00:00:00Z","conditions":[{"bucket":"bucket"},["starts-with","$key",""],
        ["starts-with","$x-amz-security-token",""],["starts-with","$x-amz-credential",""],
        {"x-amz-algorithm":"AWS4-HMAC-SHA256"},["starts-with","$x-amz-date",""]]}"#,
    );
    let mut key = format!("AWS4{}", keys.secret).into_bytes();
    for word in ["20260101", "cess-1", "s3", "aws4_request"] {
        key = hmac(&key, word);
    }
    let credential = format!("{}/20260101/cess-1/s3/aws4_request", keys.access_key);
    let signature = hex::encode(hmac(&key, &policy));
    let mut fields = vec![
        ("key", "formed"),
        ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
        ("x-amz-credential", &credential),
        ("x-amz-date", "20260101T000000Z"),
        ("policy", &policy),
        ("x-amz-signature", &signature),
    ];
    if let Some(token) = &keys.token {
        fields.push(("x-amz-security-token", token));
    }
    let mut body = String::new();
    for (name, value) in fields {
        body.push_str(&format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"));
    }
    body.push_str(
        "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nhello\r\n--B--\r\n",
    );
    let wire = gateway.wire("POST", "/bucket").header("content-type", "multipart/form-data; boundary=B");
    wire.body(body.as_bytes()).with(|wire| wire.auth = Auth::Nothing).send().await
}

#[tokio::test]
async fn session_tokens_end_with_their_key_and_do_not_call_iam() {
    let gateway = Gateway::start().await;
    let made = query(&gateway, "sts", "GetSessionToken", &[("DurationSeconds", "900")]).send().await;
    assert!(
        made.text()
            .starts_with("<GetSessionTokenResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">")
    );
    let session = Keys::of(&made);
    assert_eq!(session.sign(gateway.wire("GET", "/bucket?list-type=2")).send().await.status, 200);
    let reply = session.sign(query(&gateway, "iam", "ListUsers", &[])).send().await;
    assert_eq!((reply.status, reply.code()), (403, "AccessDenied"));
    for seconds in ["899", "129601", "x"] {
        let reply = query(&gateway, "sts", "GetSessionToken", &[("DurationSeconds", seconds)]).send().await;
        assert_eq!((reply.status, reply.code()), (400, "ValidationError"), "{seconds}");
    }
    gateway.store.user_remove(&Authenticated::user("root", Frontend::Admin), "ann").await.unwrap();
    assert_eq!(session.sign(gateway.wire("GET", "/bucket?list-type=2")).send().await.code(), "InvalidToken");
    let reply = session.sign(query(&gateway, "sts", "GetCallerIdentity", &[])).send().await;
    assert_eq!((reply.status, reply.code()), (403, "InvalidClientTokenId"));
}

#[tokio::test]
async fn the_endpoint_refuses_what_is_not_signed_for_it() {
    let gateway = Gateway::start().await;
    let ask = || query(&gateway, "iam", "ListUsers", &[]);
    for (wire, status, code) in [
        (ask().with(|wire| wire.auth = Auth::Nothing), 403, "MissingAuthenticationToken"),
        (ask().with(|wire| wire.service = "s3".to_owned()), 403, "SignatureDoesNotMatch"),
        (ask().with(|wire| wire.region = "eu-west-1".to_owned()), 403, "SignatureDoesNotMatch"),
        (ask().with(|wire| wire.secret = "wrong".to_owned()), 403, "SignatureDoesNotMatch"),
        (ask().with(|wire| wire.access_key = "AKIANOBODY".to_owned()), 403, "InvalidClientTokenId"),
        (ask().skewed(1000), 403, "SignatureDoesNotMatch"),
        (ask().skewed(-1000), 403, "SignatureDoesNotMatch"),
        (ask().late("x-amz-security-token", "t"), 403, "AccessDenied"),
        (ask().late("host", "other"), 400, "InvalidRequest"),
        (ask().late("authorization", "AWS4-HMAC-SHA256 x"), 400, "IncompleteSignature"),
        (query(&gateway, "iam", "MakeCoffee", &[]), 400, "InvalidAction"),
        (query(&gateway, "sts", "ListUsers", &[]), 400, "InvalidAction"),
        (query(&gateway, "iam", "CreateUser", &[]), 400, "ValidationError"),
        (query(&gateway, "iam", "CreateUser", &[("UserName", "a/b")]), 400, "ValidationError"),
    ] {
        let reply = wire.send().await;
        assert_eq!((reply.status, reply.code()), (status, code), "{}", reply.text());
        assert_eq!(reply.header("content-type"), Some("text/xml"));
    }
    // What was signed is the body too.
    let text = String::from_utf8(ask().bytes()).unwrap().replace("ListUsers", "ListRoles");
    assert_eq!(exchange(gateway.addr, text.as_bytes()).await.code(), "SignatureDoesNotMatch");
    let long = query(&gateway, "iam", "CreateUser", &[("UserName", &"x".repeat(2 << 20))]);
    assert_eq!(long.send().await.status, 413);
    // An S3 request is none of its own.
    let s3 = gateway.wire("GET", "/").with(|wire| wire.service = "iam".to_owned()).send().await;
    assert_eq!(s3.code(), "AuthorizationHeaderMalformed");
}

#[tokio::test]
async fn a_key_that_is_used_too_fast_is_told_so_and_others_are_not() {
    let gateway = Gateway::start_bare(|config| config.key_limits.requests_per_second = Some(1)).await;
    let ask = || gateway.wire("GET", "/");
    let mut last = ask().send().await;
    for _ in 0..5 {
        last = ask().send().await;
    }
    assert_eq!((last.status, last.code(), last.header("retry-after")), (503, "SlowDown", Some("1")));
    // Nobody uses up what is another's: only verified requests count.
    let bob = || {
        ask().with(|wire| {
            wire.access_key = "AKIABOB".to_owned();
            wire.secret = "bobs-secret".to_owned();
        })
    };
    for _ in 0..5 {
        let forged = bob().with(|wire| wire.secret = "guessed".to_owned()).send().await;
        assert_eq!(forged.code(), "SignatureDoesNotMatch");
    }
    assert_eq!(bob().send().await.status, 200);
    let limits = KeyLimits { requests_per_second: Some(0), bytes_per_second: None };
    let settings = AccountSettings { quota: None, limits: Some(limits) };
    let admin = Authenticated::user("root", Frontend::Admin);
    gateway.store.user_set(&admin, "ann", settings).await.unwrap();
    for _ in 0..5 {
        assert_eq!(ask().send().await.status, 200);
    }
}
