//! Rules of buckets and what stands beside objects, as clients say and see them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gw_s3::NewBuckets;

use crate::harness::{BUCKET, Gateway};
use crate::wire::{Auth, Reply, Wire};

fn nobody(gateway: &Gateway, method: &str, target: &str) -> Wire {
    gateway.wire(method, target).with(|wire| wire.auth = Auth::Nothing)
}

async fn put(gateway: &Gateway, target: &str, document: &str) -> Reply {
    gateway.wire("PUT", &format!("/{BUCKET}{target}")).body(document.as_bytes()).send().await
}

#[tokio::test]
async fn new_buckets_are_closed_as_on_aws() {
    let gateway = Gateway::start().await;
    gateway.put("k", b"x").await;
    assert_eq!(put(&gateway, "?acl", "").await.code(), "MissingSecurityHeader");
    let acl = gateway.wire("PUT", "/bucket?acl").header("x-amz-acl", "public-read").send().await;
    assert_eq!((acl.status, acl.code()), (400, "AccessControlListNotSupported"));
    let listed =
        |acl: &'static str| gateway.wire("PUT", "/bucket/k").header("x-amz-acl", acl).body(b"x").send();
    assert_eq!(listed("public-read").await.code(), "AccessControlListNotSupported");
    assert_eq!(listed("private").await.status, 200, "what rclone sends unasked asks for nothing");
    let shown = gateway.wire("GET", "/bucket/k?acl").send().await;
    assert_eq!(
        put(&gateway, "/k?acl", shown.text()).await.status,
        200,
        "s3cmd sets the list that it has read"
    );
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}]}"#;
    assert_eq!(put(&gateway, "?policy", policy).await.code(), "AccessDenied");
    let off = gateway.wire("DELETE", "/bucket?publicAccessBlock").send().await;
    assert_eq!(off.status, 204);
    assert_eq!(put(&gateway, "?policy", policy).await.status, 204);
    let status = gateway.wire("GET", "/bucket?policyStatus").send().await;
    assert_eq!(status.element("IsPublic"), Some("true"));
    assert_eq!(gateway.wire("GET", "/bucket?policy").send().await.text(), policy);
    assert_eq!(nobody(&gateway, "GET", "/bucket/k").send().await.text(), "x");
    assert_eq!(nobody(&gateway, "GET", "/bucket/none").send().await.code(), "AccessDenied");
    assert_eq!(nobody(&gateway, "PUT", "/bucket/k").body(b"y").send().await.code(), "AccessDenied");
    assert_eq!(put(&gateway, "?policy", "{}").await.code(), "MalformedPolicy");
    assert_eq!(gateway.wire("DELETE", "/bucket?policy").send().await.status, 204);
    assert_eq!(nobody(&gateway, "GET", "/bucket/k").send().await.code(), "AccessDenied");
}

#[tokio::test]
async fn classic_buckets_have_lists_that_count() {
    let gateway = Gateway::start_with(|config| config.new_buckets = NewBuckets::Classic).await;
    gateway.put("k", b"x").await;
    assert_eq!(
        gateway.wire("GET", "/bucket?ownershipControls").send().await.code(),
        "OwnershipControlsNotFoundError"
    );
    let acl = gateway.wire("PUT", "/bucket/k?acl").header("x-amz-acl", "public-read").send().await;
    assert_eq!(acl.status, 200, "{acl:?}");
    assert_eq!(nobody(&gateway, "GET", "/bucket/k").send().await.text(), "x");
    let shown = gateway.wire("GET", "/bucket/k?acl").send().await;
    assert!(shown.text().contains("http://acs.amazonaws.com/groups/global/AllUsers"), "{}", shown.text());
    let bob = |method: &str, target: &str| {
        gateway.wire(method, target).with(|wire| {
            wire.access_key = "AKIABOB".to_owned();
            wire.secret = "bobs-secret".to_owned();
        })
    };
    assert_eq!(bob("PUT", "/bucket/b").body(b"y").send().await.status, 403);
    let grant = gateway.wire("PUT", "/bucket?acl").header("x-amz-grant-write", "id=\"bob\"").send().await;
    assert_eq!(grant.status, 200, "{grant:?}");
    assert_eq!(bob("PUT", "/bucket/b").body(b"y").send().await.status, 200);
    assert_eq!(bob("GET", "/bucket/b?acl").send().await.element("ID"), Some("bob"));
}

#[tokio::test]
async fn tags_come_with_the_object_or_after_it() {
    let gateway = Gateway::start().await;
    let made =
        gateway.wire("PUT", "/bucket/k").header("x-amz-tagging", "a=1&b=x%20y").body(b"x").send().await;
    assert_eq!(made.status, 200, "{made:?}");
    let shown = gateway.wire("GET", "/bucket/k?tagging").send().await;
    assert!(shown.text().contains("<Key>b</Key><Value>x y</Value>"), "{}", shown.text());
    assert_eq!(gateway.get("k").await.header("x-amz-tagging-count"), Some("2"));
    assert_eq!(gateway.wire("HEAD", "/bucket/k").send().await.header("x-amz-tagging-count"), Some("2"));
    let set = |tags: &str| format!("<Tagging><TagSet>{tags}</TagSet></Tagging>");
    let one = set("<Tag><Key>c</Key><Value>3</Value></Tag>");
    assert_eq!(put(&gateway, "/k?tagging", &one).await.status, 200);
    let twice = set(&"<Tag><Key>c</Key><Value>3</Value></Tag>".repeat(2));
    assert_eq!(put(&gateway, "/k?tagging", &twice).await.code(), "InvalidTag");
    assert_eq!(gateway.get("k").await.header("x-amz-tagging-count"), Some("1"));
    assert_eq!(gateway.wire("DELETE", "/bucket/k?tagging").send().await.status, 204);
    assert_eq!(gateway.get("k").await.header("x-amz-tagging-count"), None);

    assert_eq!(put(&gateway, "?tagging", &one).await.status, 200);
    assert_eq!(gateway.wire("GET", "/bucket?tagging").send().await.element("Key"), Some("c"));
    assert_eq!(gateway.wire("DELETE", "/bucket?tagging").send().await.status, 204);
    assert_eq!(gateway.wire("GET", "/bucket?tagging").send().await.code(), "NoSuchTagSet");
}

#[tokio::test]
async fn pages_of_other_origins_are_let_in_by_rule() {
    let gateway = Gateway::start().await;
    gateway.put("k", b"x").await;
    let preflight = |origin: &str, method: &str| {
        nobody(&gateway, "OPTIONS", "/bucket/k")
            .header("origin", origin)
            .header("access-control-request-method", method)
            .header("access-control-request-headers", "x-amz-acl")
    };
    assert_eq!(preflight("http://a.example", "PUT").send().await.status, 403);
    let rule = "<CORSConfiguration><CORSRule><AllowedOrigin>http://*.example</AllowedOrigin>\
        <AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod><AllowedHeader>x-amz-*</AllowedHeader>\
        <ExposeHeader>etag</ExposeHeader><MaxAgeSeconds>9</MaxAgeSeconds></CORSRule></CORSConfiguration>";
    assert_eq!(put(&gateway, "?cors", rule).await.status, 200);
    let yes = preflight("http://a.example", "PUT").send().await;
    assert_eq!((yes.status, yes.header("access-control-allow-origin")), (200, Some("http://a.example")));
    assert_eq!(yes.header("access-control-allow-headers"), Some("x-amz-acl"));
    assert_eq!(yes.header("access-control-max-age"), Some("9"));
    assert_eq!(preflight("http://a.example", "DELETE").send().await.status, 403);
    assert_eq!(preflight("http://example", "PUT").send().await.status, 403);
    let read = gateway.wire("GET", "/bucket/k").header("origin", "http://b.example").send().await;
    assert_eq!(read.header("access-control-allow-origin"), Some("http://b.example"));
    assert_eq!(read.header("access-control-expose-headers"), Some("etag"));
    let plain = gateway.get("k").await;
    assert_eq!(plain.header("access-control-allow-origin"), None);
    let bad = rule.replace("<AllowedMethod>PUT", "<AllowedMethod>PATCH");
    assert_eq!(put(&gateway, "?cors", &bad).await.status, 400);
    let one = "<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>";
    let many = format!("<CORSConfiguration>{}</CORSConfiguration>", one.repeat(101));
    let reply = put(&gateway, "?cors", &many).await;
    assert_eq!((reply.status, reply.code()), (400, "InvalidRequest"));
    assert_eq!(gateway.wire("GET", "/bucket?cors").send().await.element("MaxAgeSeconds"), Some("9"));
    assert_eq!(gateway.wire("DELETE", "/bucket?cors").send().await.status, 204);
    assert_eq!(preflight("http://a.example", "PUT").send().await.status, 403);
}

#[tokio::test]
async fn locked_versions_say_so_and_stay() {
    let gateway = Gateway::start().await;
    let made = gateway.wire("PUT", "/locked").header("x-amz-bucket-object-lock-enabled", "true").send().await;
    assert_eq!(made.status, 200, "{made:?}");
    let put = gateway
        .wire("PUT", "/locked/k")
        .header("x-amz-object-lock-mode", "GOVERNANCE")
        .header("x-amz-object-lock-retain-until-date", "2099-01-01T00:00:00Z")
        .header("x-amz-object-lock-legal-hold", "OFF")
        .body(b"x")
        .send()
        .await;
    let version = put.header("x-amz-version-id").expect("a version").to_owned();
    let head = gateway.wire("HEAD", "/locked/k").send().await;
    assert_eq!(head.header("x-amz-object-lock-mode"), Some("GOVERNANCE"));
    assert_eq!(head.header("x-amz-object-lock-legal-hold"), Some("OFF"));
    let target = format!("/locked/k?versionId={version}");
    let refused = gateway.wire("DELETE", &target).send().await;
    assert_eq!((refused.status, refused.code()), (403, "AccessDenied"));
    let shown = gateway.wire("GET", "/locked/k?retention").send().await;
    assert_eq!(shown.element("Mode"), Some("GOVERNANCE"));
    let hold = "<LegalHold><Status>ON</Status></LegalHold>";
    assert_eq!(gateway.wire("PUT", "/locked/k?legal-hold").body(hold.as_bytes()).send().await.status, 200);
    let bypass = || gateway.wire("DELETE", &target).header("x-amz-bypass-governance-retention", "true");
    assert_eq!(bypass().send().await.status, 403);
    let off = hold.replace("ON", "OFF");
    assert_eq!(gateway.wire("PUT", "/locked/k?legal-hold").body(off.as_bytes()).send().await.status, 200);
    assert_eq!(bypass().send().await.status, 204);

    let lock = |rule: &str| {
        let document = format!(
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
             {rule}</DefaultRetention></Rule></ObjectLockConfiguration>"
        );
        gateway.wire("PUT", "/locked?object-lock").body(document.as_bytes()).send()
    };
    assert_eq!(lock("<Mode>COMPLIANCE</Mode><Days>3</Days>").await.status, 200);
    assert_eq!(lock("<Mode>COMPLIANCE</Mode><Days>0</Days>").await.code(), "InvalidRetentionPeriod");
    assert_eq!(lock("<Mode>COMPLIANCE</Mode><Days>1</Days><Years>1</Years>").await.code(), "MalformedXML");
    assert_eq!(gateway.wire("GET", "/locked?object-lock").send().await.element("Days"), Some("3"));
    let plain =
        gateway.wire("PUT", "/bucket/k").header("x-amz-object-lock-legal-hold", "ON").body(b"x").send().await;
    assert_eq!((plain.status, plain.code()), (400, "InvalidRequest"));
}

#[tokio::test]
async fn a_customers_key_is_needed_again() {
    let gateway = Gateway::start().await;
    let with = |method: &str, md5: &str| {
        gateway
            .wire(method, "/bucket/k")
            .header("x-amz-server-side-encryption-customer-algorithm", "AES256")
            .header("x-amz-server-side-encryption-customer-key", &STANDARD.encode([1; 32]))
            .header("x-amz-server-side-encryption-customer-key-md5", md5)
    };
    let wrong = with("PUT", &md5_of(&[2; 32])).body(b"secret").send().await;
    assert_eq!((wrong.status, wrong.code()), (400, "InvalidArgument"));
    let md5 = md5_of(&[1; 32]);
    let with_key = |method: &str| with(method, &md5);
    let put = with_key("PUT").body(b"secret").send().await;
    assert_eq!(put.header("x-amz-server-side-encryption-customer-algorithm"), Some("AES256"), "{put:?}");
    assert_eq!(with_key("GET").send().await.text(), "secret");
    let without = gateway.get("k").await;
    assert_eq!((without.status, without.code()), (400, "InvalidRequest"));
    let plain = gateway
        .wire("PUT", "/bucket/p")
        .header("x-amz-server-side-encryption", "AES256")
        .body(b"x")
        .send()
        .await;
    assert_eq!(plain.header("x-amz-server-side-encryption"), Some("AES256"));
    let kms = gateway
        .wire("PUT", "/bucket/p")
        .header("x-amz-server-side-encryption", "aws:kms:dsse")
        .body(b"x")
        .send()
        .await;
    assert_eq!(kms.status, 501);
    let default = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>\
        <SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>";
    assert_eq!(self::put(&gateway, "?encryption", default).await.status, 200);
    let put = gateway.put("d", b"x").await;
    assert_eq!(put.header("x-amz-server-side-encryption"), Some("AES256"));
    assert_eq!(gateway.get("d").await.header("x-amz-server-side-encryption"), Some("AES256"));
}

fn md5_of(bytes: &[u8]) -> String {
    use md5::Digest as _;
    STANDARD.encode(md5::Md5::digest(bytes))
}

#[tokio::test]
async fn lifecycle_and_payer_are_kept_as_they_were_said() {
    let gateway = Gateway::start().await;
    let rules = "<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status><Filter><Prefix>a/</Prefix></Filter>\
        <Expiration><Days>3</Days></Expiration></Rule></LifecycleConfiguration>";
    assert_eq!(put(&gateway, "?lifecycle", rules).await.status, 200);
    let shown = gateway.wire("GET", "/bucket?lifecycle").send().await;
    assert_eq!((shown.element("Days"), shown.element("Prefix")), (Some("3"), Some("a/")));
    let bad = rules.replace("<Days>3", "<Days>0");
    assert_eq!(put(&gateway, "?lifecycle", &bad).await.code(), "InvalidArgument");
    assert_eq!(gateway.wire("DELETE", "/bucket?lifecycle").send().await.status, 204);
    assert_eq!(gateway.wire("GET", "/bucket?lifecycle").send().await.code(), "NoSuchLifecycleConfiguration");
    let payer = "<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>";
    assert_eq!(put(&gateway, "?requestPayment", payer).await.status, 200);
    assert_eq!(
        gateway.wire("GET", "/bucket?requestPayment").send().await.element("Payer"),
        Some("Requester")
    );
}

#[tokio::test]
async fn answers_say_that_the_requester_was_charged_where_he_pays() {
    let gateway = Gateway::start_with(|config| config.new_buckets = NewBuckets::Classic).await;
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"bob"},"Action":"s3:*",
        "Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]}]}"#;
    assert_eq!(put(&gateway, "?policy", policy).await.status, 204);
    gateway.put("k", b"x").await;
    let bob = |method: &str, target: &str| {
        gateway.wire(method, target).with(|wire| {
            wire.access_key = "AKIABOB".to_owned();
            wire.secret = "bobs-secret".to_owned();
        })
    };
    const CHARGED: &str = "x-amz-request-charged";
    let pays = |method: &str, target: &str| bob(method, target).header("x-amz-request-payer", "requester");
    assert_eq!(pays("GET", "/bucket/k").send().await.header(CHARGED), None, "the owner pays here");
    let payer = "<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>";
    assert_eq!(put(&gateway, "?requestPayment", payer).await.status, 200);
    assert_eq!(bob("GET", "/bucket/k").send().await.code(), "AccessDenied");
    for (method, target, status) in [
        ("GET", "/bucket/k", 200),
        ("HEAD", "/bucket/k", 200),
        ("GET", "/bucket?list-type=2", 200),
        ("GET", "/bucket", 200),
        ("GET", "/bucket?versions", 200),
        ("GET", "/bucket/k?acl", 200),
        ("POST", "/bucket/m?uploads", 200),
        ("GET", "/bucket?uploads", 200),
        ("PUT", "/bucket/new", 200),
        ("DELETE", "/bucket/new", 204),
    ] {
        let reply = pays(method, target).send().await;
        assert_eq!((reply.status, reply.header(CHARGED)), (status, Some("requester")), "{method} {target}");
    }
    // AWS's answers about settings of buckets do not say it, nor do errors, nor the owner's.
    assert_eq!(pays("HEAD", "/bucket").send().await.header(CHARGED), None);
    assert_eq!(pays("GET", "/bucket/none").send().await.header(CHARGED), None);
    let owner = gateway.wire("GET", "/bucket/k").header("x-amz-request-payer", "requester").send().await;
    assert_eq!((owner.status, owner.header(CHARGED)), (200, None));
}

#[tokio::test]
async fn notifications_are_kept_and_what_happens_is_queued() {
    let arn = |kind: &str| gw_s3::EventArn { name: "hook".to_owned(), kind: kind.to_owned() };
    let gateway = Gateway::start_with(|config| config.event_arns = vec![arn("webhook")]).await;
    let none = gateway.wire("GET", "/bucket?notification").send().await;
    assert_eq!((none.status, none.text().contains("QueueConfiguration")), (200, false));
    let document = |arn: &str| {
        format!(
            "<NotificationConfiguration><QueueConfiguration><Id>made</Id><Queue>{arn}</Queue>\
             <Event>s3:ObjectCreated:*</Event><Filter><S3Key><FilterRule><Name>prefix</Name><Value>a/</Value>\
             </FilterRule></S3Key></Filter></QueueConfiguration></NotificationConfiguration>"
        )
    };
    let wrong = put(&gateway, "?notification", &document("arn:cess:sqs::none:webhook")).await;
    assert_eq!((wrong.status, wrong.code()), (400, "InvalidArgument"));
    let right = "arn:cess:sqs:cess-1:hook:webhook";
    assert_eq!(put(&gateway, "?notification", &document(right)).await.status, 200);
    let shown = gateway.wire("GET", "/bucket?notification").send().await;
    assert_eq!((shown.element("Queue"), shown.element("Event")), (Some(right), Some("s3:ObjectCreated:*")));
    assert_eq!((shown.element("Name"), shown.element("Value")), (Some("Prefix"), Some("a/")));

    let made = gateway.put("a/k", b"12345").await;
    gateway.put("b/k", b"1").await;
    let admin = gw_types::Authenticated::user("root", gw_types::Frontend::Admin);
    let events = gateway.store.events_next(&admin, "hook", gw_store::EventSeq(0), 10).await.unwrap();
    let [test, put_event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(test.kind, gw_store::EventKind::Test);
    assert_eq!(
        (put_event.key.as_str(), put_event.size, put_event.who.as_deref()),
        ("a/k", Some(5), Some("ann"))
    );
    assert_eq!(put_event.source_ip, "127.0.0.1");
    assert_eq!(Some(put_event.request_id.as_str()), made.header("x-amz-request-id"));

    assert_eq!(put(&gateway, "?notification", "<NotificationConfiguration/>").await.status, 200);
    let none = gateway.wire("GET", "/bucket?notification").send().await;
    assert!(!none.text().contains("QueueConfiguration"), "{}", none.text());
}

#[tokio::test]
async fn objects_under_named_keys_say_so() {
    let gateway = Gateway::start().await;
    let with = |key: &str, name: &str| {
        gateway
            .wire("PUT", &format!("/bucket/{key}"))
            .header("x-amz-server-side-encryption", "aws:kms")
            .header("x-amz-server-side-encryption-aws-kms-key-id", name)
            .body(b"secret")
    };
    let unknown = with("k", "nobodys-key").send().await;
    assert_eq!((unknown.status, unknown.code()), (400, "KMS.NotFoundException"));
    let put = with("k", "arn:aws:kms:cess-1:1:key/testkey-1").send().await;
    let named = |reply: &Reply| {
        let header = |name: &str| reply.header(name).unwrap_or_default().to_owned();
        let prefix = "x-amz-server-side-encryption";
        (header(prefix), header(&format!("{prefix}-aws-kms-key-id")))
    };
    let wanted = ("aws:kms".to_owned(), "testkey-1".to_owned());
    assert_eq!((put.status, named(&put)), (200, wanted.clone()));
    let got = gateway.get("k").await;
    assert_eq!((got.text(), named(&got)), ("secret", wanted));
    let default = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>\
                   <SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>testkey-2</KMSMasterKeyID>\
                   </ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled></Rule>\
                   </ServerSideEncryptionConfiguration>";
    assert_eq!(put_document(&gateway, "?encryption", default).await, 200);
    let shown = gateway.wire("GET", "/bucket?encryption").send().await;
    assert_eq!(
        (shown.element("KMSMasterKeyID"), shown.element("BucketKeyEnabled")),
        (Some("testkey-2"), Some("true"))
    );
    let put = gateway.put("d", b"x").await;
    assert_eq!(named(&put), ("aws:kms".to_owned(), "testkey-2".to_owned()));
    assert_eq!(put.header("x-amz-server-side-encryption-bucket-key-enabled"), Some("true"));
}

async fn put_document(gateway: &Gateway, target: &str, document: &str) -> u16 {
    put(gateway, target, document).await.status
}

#[tokio::test]
async fn objects_are_renamed_and_appended_to() {
    let gateway = Gateway::start().await;
    let append = |offset: &str, body: &[u8]| {
        gateway.wire("PUT", "/bucket/log").header("x-amz-write-offset-bytes", offset).body(body)
    };
    assert_eq!(append("0", b"one,").send().await.status, 200);
    let wrong = append("9", b"two").send().await;
    assert_eq!((wrong.status, wrong.code()), (400, "InvalidWriteOffset"));
    let right = append("4", b"two").send().await;
    assert_eq!((right.status, right.header("x-amz-object-size")), (200, Some("7")));
    assert_eq!(gateway.get("log").await.text(), "one,two");
    let rename = |source: &str| {
        gateway.wire("PUT", "/bucket/a/new?renameObject").header("x-amz-rename-source", source)
    };
    assert_eq!(rename("none").send().await.code(), "NoSuchKey");
    let kept = rename("log").header("x-amz-rename-source-if-match", "\"0123456789abcdef0123456789abcdef\"");
    assert_eq!(kept.send().await.status, 412);
    assert_eq!(rename("log").send().await.status, 200);
    assert_eq!(gateway.get("a/new").await.text(), "one,two");
    gateway.assert_absent("log").await;
    gateway.put("log", b"x").await;
    assert_eq!(rename("/bucket/log").header("if-none-match", "*").send().await.status, 412);
    let days = "<LifecycleConfiguration><Rule><ID>a b</ID><Status>Enabled</Status><Filter><Prefix>a/</Prefix></Filter>\
                <Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>";
    assert_eq!(put_document(&gateway, "?lifecycle", days).await, 200);
    let expires = gateway.get("a/new").await.header("x-amz-expiration").unwrap_or_default().to_owned();
    assert!(expires.starts_with("expiry-date=\"") && expires.ends_with("rule-id=\"a%20b\""), "{expires}");
    assert!(gateway.put("a/k", b"").await.header("x-amz-expiration").is_some());
    assert!(gateway.get("log").await.header("x-amz-expiration").is_none());
}
