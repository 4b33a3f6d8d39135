//! What policies say.

use gw_types::{Action, Actor, Authenticated, Frontend};

use super::{Of, Policy, Question, Verdict};
use crate::error::StoreErrorKind;

fn policy(statement: &str) -> Policy {
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
    Policy::parse(text.as_bytes(), Of::Bucket("b")).unwrap()
}

fn judge(policy: &Policy, user: Option<&str>, action: Action, resource: &str) -> Verdict {
    let who = match user {
        None => Authenticated::anonymous(Frontend::S3),
        Some(user) => match user.split_once('/') {
            None => Authenticated::user(user, Frontend::S3),
            Some((account, name)) => {
                Authenticated::user(account, Frontend::S3).acting_as(Actor::User(name.into()))
            }
        },
    };
    let values = |key: &str| match key {
        "s3:prefix" => vec!["home/".to_owned()],
        "aws:username" => user.map(str::to_owned).into_iter().collect(),
        _ => Vec::new(),
    };
    policy.judge(&Question { who: &who, action: action.name(), resource, values: &values })
}

#[test]
fn deny_wins_and_silence_is_neutral() {
    let both = policy(
        r#"{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::b/*"},
           {"Effect":"Deny","Principal":{"AWS":"bob"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::b/x*"}"#,
    );
    assert_eq!(judge(&both, None, Action::GetObject, "b/k"), Verdict::Allow);
    assert_eq!(judge(&both, Some("bob"), Action::PutObject, "b/xy"), Verdict::Deny);
    assert_eq!(judge(&both, Some("bob"), Action::PutObject, "b/y"), Verdict::Allow);
    assert_eq!(judge(&both, None, Action::ListBucket, "b"), Verdict::Neutral);
}

#[test]
fn users_have_several_names() {
    for name in
        ["ann", "arn:aws:iam::ann:root", "arn:aws:iam::123456789012:user/ann", "arn:aws:iam:::user/path/ann"]
    {
        let one = policy(&format!(
            r#"{{"Effect":"Allow","Principal":{{"AWS":["{name}"]}},"Action":"*","Resource":"*"}}"#
        ));
        assert_eq!(judge(&one, Some("ann"), Action::GetObject, "b/k"), Verdict::Allow, "{name}");
        assert_eq!(judge(&one, Some("bob"), Action::GetObject, "b/k"), Verdict::Neutral, "{name}");
        assert_eq!(judge(&one, None, Action::GetObject, "b/k"), Verdict::Neutral, "{name}");
        assert!(!one.is_public());
    }
}

#[test]
fn negated_elements_mean_all_others() {
    let others = policy(
        r#"{"Effect":"Deny","NotPrincipal":{"AWS":"ann"},"NotAction":"s3:Get*","NotResource":"arn:aws:s3:::b/open/*"}"#,
    );
    assert_eq!(judge(&others, Some("bob"), Action::PutObject, "b/k"), Verdict::Deny);
    assert_eq!(judge(&others, Some("ann"), Action::PutObject, "b/k"), Verdict::Neutral);
    assert_eq!(judge(&others, Some("bob"), Action::GetObject, "b/k"), Verdict::Neutral);
    assert_eq!(judge(&others, Some("bob"), Action::PutObject, "b/open/k"), Verdict::Neutral);
}

#[test]
fn conditions_and_variables_narrow() {
    let home = policy(
        r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/${aws:username}/*"},
           {"Effect":"Allow","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::b",
            "Condition":{"StringEquals":{"s3:prefix":["home/"]}}}"#,
    );
    assert_eq!(judge(&home, Some("ann"), Action::GetObject, "b/ann/k"), Verdict::Allow);
    assert_eq!(judge(&home, Some("bob"), Action::GetObject, "b/ann/k"), Verdict::Neutral);
    assert_eq!(judge(&home, None, Action::ListBucket, "b"), Verdict::Allow);
}

#[test]
fn only_an_open_allow_is_public() {
    let open = |more: &str| {
        policy(&format!(
            r#"{{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"{more}}}"#
        ))
        .is_public()
    };
    assert!(open(""));
    assert!(open(r#","Condition":{"StringLike":{"aws:Referer":"x"}}"#));
    assert!(!open(r#","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#));
    assert!(open(r#","Condition":{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}"#));
    assert!(!open(r#","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-1"}}"#));
    assert!(open(r#","Condition":{"StringLike":{"aws:SourceVpc":"vpc-*"}}"#));
    assert!(!policy(r#"{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}"#).is_public());
}

#[test]
fn what_is_not_understood_is_refused_with_a_reason() {
    let whole = r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}"#;
    for (from, to) in [
        ("Allow", "Maybe"),
        ("\"Principal\":\"*\",", ""),
        ("s3:GetObject", "ec2:Run"),
        (":::b/", ":::other/"),
        ("Effect", "Affect"),
        ("\"Principal\":\"*\"", "\"Principal\":{\"AWS\":\"arn:aws:sqs:::x\"}"),
        ("}", ",\"Condition\":{\"StringIs\":{\"s3:prefix\":\"x\"}}}"),
        ("}", ",\"Condition\":[]}"),
    ] {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, whole.replacen(from, to, 1));
        let error = Policy::parse(text.as_bytes(), Of::Bucket("b")).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::MalformedPolicy, "{from} -> {to}");
        assert!(!error.message().is_empty());
    }
    for text in ["", "[]", "{}", "{\"Version\":\"2020\",\"Statement\":[]}", "{\"Statement\":[]}"] {
        assert!(Policy::parse(text.as_bytes(), Of::Bucket("b")).is_err(), "{text}");
    }
}

#[test]
fn users_of_an_account_are_meant_by_themselves_or_through_it() {
    let to = |name: &str| {
        policy(&format!(r#"{{"Effect":"Allow","Principal":{{"AWS":"{name}"}},"Action":"*","Resource":"*"}}"#))
    };
    let bob = |policy: &Policy| judge(policy, Some("ann/bob"), Action::GetObject, "b/k");
    assert_eq!(bob(&to("arn:aws:iam::ann:user/team/bob")), Verdict::Allow);
    assert_eq!(bob(&to("arn:aws:iam::ann:root")), Verdict::Delegate);
    assert_eq!(bob(&to("ann")), Verdict::Delegate);
    assert_eq!(bob(&to("*")), Verdict::Allow);
    for other in
        ["arn:aws:iam::ann:user/eve", "arn:aws:iam::eve:user/bob", "bob", "arn:aws:iam::ann:role/bob"]
    {
        assert_eq!(bob(&to(other)), Verdict::Neutral, "{other}");
    }
    // The account itself is none of its users.
    let only_bob = to("arn:aws:iam::ann:user/bob");
    assert_eq!(judge(&only_bob, Some("ann"), Action::GetObject, "b/k"), Verdict::Neutral);
    let deny = policy(
        r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::ann:user/bob"},"Action":"*","Resource":"*"},
           {"Effect":"Deny","Principal":{"AWS":"ann"},"Action":"s3:PutObject","Resource":"*"}"#,
    );
    assert_eq!(judge(&deny, Some("ann/bob"), Action::PutObject, "b/k"), Verdict::Deny);
}

#[test]
fn sessions_of_a_role_are_meant_by_the_role_and_by_their_name() {
    let night = Actor::Role { role: "backup".into(), session: "nightly".into() };
    let who = Authenticated::user("ann", Frontend::S3).acting_as(night);
    let says = |name: &str| {
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Principal":{{"AWS":"{name}"}},"Action":"sts:AssumeRole"}}}}"#
        );
        let policy = Policy::parse(text.as_bytes(), Of::Trust).unwrap();
        policy.judge(&Question {
            who: &who,
            action: "sts:AssumeRole",
            resource: "r",
            values: &|_| Vec::new(),
        })
    };
    assert_eq!(says("arn:aws:iam::ann:role/service/backup"), Verdict::Allow);
    assert_eq!(says("arn:aws:sts::ann:assumed-role/backup/nightly"), Verdict::Allow);
    assert_eq!(says("arn:aws:sts::ann:assumed-role/backup/daily"), Verdict::Neutral);
    assert_eq!(says("ann"), Verdict::Delegate);
}

#[test]
fn policies_of_identities_name_no_principal_and_any_service() {
    let parse = |statements: &str, of| {
        Policy::parse(format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#).as_bytes(), of)
    };
    let plain =
        r#"{"Sid":"a","Effect":"Allow","Action":["iam:GetUser","s3:Get*"],"Resource":"arn:aws:s3:::b/*"}"#;
    let policy = parse(plain, Of::Identity).unwrap();
    let who = Authenticated::user("ann", Frontend::S3);
    let judge =
        |action, resource| policy.judge(&Question { who: &who, action, resource, values: &|_| Vec::new() });
    assert_eq!(judge("s3:GetObject", "arn:aws:s3:::b/k"), Verdict::Allow);
    assert_eq!(judge("s3:GetObject", "arn:aws:s3:::c/k"), Verdict::Neutral);
    assert_eq!(judge("s3:PutObject", "arn:aws:s3:::b/k"), Verdict::Neutral);
    assert!(parse(&plain.replace("\"Sid\"", "\"Principal\":\"*\",\"Sid\""), Of::Identity).is_err());
    assert!(parse(&format!("{plain},{plain}"), Of::Identity).is_err(), "one Sid twice");
    assert!(parse(&plain.replace("arn:aws:s3:::b/*", "b/*"), Of::Identity).is_err());
    assert!(parse(&plain.replace("iam:GetUser", "GetUser"), Of::Identity).is_err());
    assert!(parse(plain, Of::Trust).is_err(), "trust names no resource");
}
