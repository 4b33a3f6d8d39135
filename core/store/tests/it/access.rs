//! Who may: policies, access lists, ownership, the public access block, requester pays.

use std::sync::Arc;

use bytes::Bytes;
use gw_store::{
    AclRequest, BucketOptions, BucketRules, CannedAcl, Grant, Grantee, ObjectWants, Ownership, Permission,
    PublicBlock, PutOptions, ReadOptions, StoreErrorKind, StoreResult, UserSpec,
};
use gw_types::{Authenticated, Circumstances, Frontend};

use crate::assemble::Machine;
use crate::support::{Here, admin, key, kind, name, target, user};

/// Ann has the bucket, Bob has nothing.
async fn place(rules: BucketRules) -> Here {
    let store = Machine::new().open().await;
    for name in ["ann", "bob"] {
        let spec = UserSpec { name: name.to_owned(), admin: false, access_key: None, secret: None };
        store.user_add(&admin(), spec).await.unwrap();
    }
    let options = BucketOptions { rules, ..BucketOptions::default() };
    store.bucket_create(&user("ann"), &name("bucket"), options).await.unwrap();
    Here { store, who: user("ann"), bucket: name("bucket") }
}

fn as_who(here: &Here, who: Authenticated) -> Here {
    Here { who, ..here.clone() }
}

fn anybody() -> Authenticated {
    Authenticated::anonymous(Frontend::S3)
}

async fn policy(here: &Here, statement: &str) -> StoreResult<()> {
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
    here.store.bucket_policy_set(&here.who, &here.bucket, Some(Bytes::from(text))).await
}

#[derive(Debug)]
struct Asked(&'static [(&'static str, &'static str)]);

impl Circumstances for Asked {
    fn values(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned()).collect()
    }
}

#[tokio::test]
async fn a_bucket_is_its_owners_alone_until_a_policy_opens_it() {
    let ann = place(BucketRules::default()).await;
    ann.put("open/k", b"1").await;
    ann.put("shut/k", b"2").await;
    for who in [user("bob"), anybody()] {
        let other = as_who(&ann, who);
        assert_eq!(kind(other.get("open/k").await), StoreErrorKind::AccessDenied);
        assert_eq!(kind(other.get("no").await), StoreErrorKind::AccessDenied);
    }
    let open = r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/open/*"}"#;
    policy(&ann, open).await.unwrap();
    let nobody = as_who(&ann, anybody());
    assert_eq!(nobody.get("open/k").await.unwrap(), b"1");
    assert_eq!(kind(nobody.get("shut/k").await), StoreErrorKind::AccessDenied);
    // Who may not list does not learn what is there.
    assert_eq!(kind(nobody.get("open/no").await), StoreErrorKind::AccessDenied);
    assert_eq!(kind(nobody.put_if("open/k", b"3", Default::default()).await), StoreErrorKind::AccessDenied);
    ann.store.bucket_policy_set(&ann.who, &ann.bucket, None).await.unwrap();
    assert_eq!(kind(nobody.get("open/k").await), StoreErrorKind::AccessDenied);
}

#[tokio::test]
async fn a_denial_binds_the_owner_too_who_can_always_mend_it() {
    let ann = place(BucketRules::default()).await;
    ann.put("k", b"1").await;
    policy(&ann, r#"{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]}"#)
        .await
        .unwrap();
    assert_eq!(kind(ann.get("k").await), StoreErrorKind::AccessDenied);
    assert!(ann.store.bucket_policy(&ann.who, &ann.bucket).await.unwrap().is_some());
    let outcome = ann.store.delete_many(&ann.who, &ann.bucket, vec![target("k", None)], None).await.unwrap();
    assert_eq!(kind(outcome.into_iter().next().unwrap()), StoreErrorKind::AccessDenied);
    ann.store.bucket_policy_set(&ann.who, &ann.bucket, None).await.unwrap();
    assert_eq!(ann.get("k").await.unwrap(), b"1");
    assert_eq!(kind(policy(&ann, r#"{"Effect":"Allow"}"#).await), StoreErrorKind::MalformedPolicy);
}

#[tokio::test]
async fn conditions_see_the_request_and_the_objects_tags() {
    let ann = place(BucketRules::default()).await;
    ann.put("k", b"1").await;
    policy(
        &ann,
        r#"{"Effect":"Allow","Principal":{"AWS":"bob"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*",
            "Condition":{"StringEquals":{"s3:ExistingObjectTag/open":"yes"},"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}"#,
    )
    .await
    .unwrap();
    let from =
        |ip: &'static [(&'static str, &'static str)]| as_who(&ann, user("bob").under(Arc::new(Asked(ip))));
    let near = from(&[("aws:sourceip", "10.1.2.3")]);
    assert_eq!(kind(near.get("k").await), StoreErrorKind::AccessDenied);
    let tags = Some(vec![("open".to_owned(), "yes".to_owned())]);
    ann.store.object_tags_set(&ann.who, (&ann.bucket, &key("k")), None, tags).await.unwrap();
    assert_eq!(near.get("k").await.unwrap(), b"1");
    assert_eq!(kind(from(&[("aws:sourceip", "11.1.2.3")]).get("k").await), StoreErrorKind::AccessDenied);
    assert_eq!(kind(as_who(&ann, user("bob")).get("k").await), StoreErrorKind::AccessDenied);
}

#[tokio::test]
async fn lists_grant_on_bucket_and_object_and_writers_own_what_they_put() {
    let ann = place(BucketRules::default()).await;
    ann.put("k", b"1").await;
    let acl = |canned| AclRequest::Canned(canned);
    let bob = as_who(&ann, user("bob"));
    assert_eq!(kind(bob.put_if("b", b"2", Default::default()).await), StoreErrorKind::AccessDenied);
    ann.store.bucket_acl_set(&ann.who, &ann.bucket, acl(CannedAcl::PublicReadWrite)).await.unwrap();
    bob.put("b", b"2").await;
    // Bob's object is Bob's: the bucket's owner may delete it, and read it only when let.
    let read = |here: &Here| {
        let here = here.clone();
        async move { here.store.object_acl(&here).await }
    };
    assert_eq!(read(&bob).await.unwrap(), "bob");
    assert_eq!(kind(ann.get("b").await), StoreErrorKind::AccessDenied);
    let wants = ObjectWants { acl: Some(acl(CannedAcl::BucketOwnerFullControl)), ..ObjectWants::default() };
    bob.put_with("b", b"3", PutOptions { wants, ..PutOptions::default() }).await.unwrap();
    assert_eq!(ann.get("b").await.unwrap(), b"3");
    ann.delete("b").await;

    let public = acl(CannedAcl::PublicRead);
    ann.store.object_acl_set(&ann.who, (&ann.bucket, &key("k")), None, public).await.unwrap();
    assert_eq!(as_who(&ann, anybody()).get("k").await.unwrap(), b"1");
    let nobody = Grant { grantee: Grantee::User("eve".to_owned()), permission: Permission::Read };
    let unknown = ann.store.bucket_acl_set(&ann.who, &ann.bucket, AclRequest::Grants(vec![nobody])).await;
    assert_eq!(kind(unknown), StoreErrorKind::InvalidArgument);
}

trait OwnerOf {
    async fn object_acl(&self, here: &Here) -> StoreResult<String>;
}

impl OwnerOf for gw_store::Store {
    async fn object_acl(&self, here: &Here) -> StoreResult<String> {
        let options = ReadOptions { purpose: Some(gw_types::Action::GetObjectAcl), ..ReadOptions::default() };
        Ok(self.head(&here.who, &here.bucket, &key("b"), options).await?.acl()?.owner)
    }
}

#[tokio::test]
async fn an_owner_who_enforces_owns_all_and_lists_are_off() {
    let rules = BucketRules { ownership: Some(Ownership::BucketOwnerEnforced), ..BucketRules::default() };
    let ann = place(rules).await;
    policy(&ann, r#"{"Effect":"Allow","Principal":{"AWS":"bob"},"Action":"s3:*","Resource":"*"}"#)
        .await
        .unwrap();
    let bob = as_who(&ann, user("bob"));
    bob.put("b", b"2").await;
    assert_eq!(bob.store.object_acl(&bob).await.unwrap(), "ann");
    assert_eq!(ann.get("b").await.unwrap(), b"2");
    let wants =
        ObjectWants { acl: Some(AclRequest::Canned(CannedAcl::PublicRead)), ..ObjectWants::default() };
    let refused = ann.put_with("p", b"", PutOptions { wants, ..PutOptions::default() }).await;
    assert_eq!(kind(refused), StoreErrorKind::AclsNotSupported);
    let set = ann.store.bucket_acl_set(&ann.who, &ann.bucket, AclRequest::Canned(CannedAcl::Private)).await;
    assert_eq!(kind(set), StoreErrorKind::AclsNotSupported);
    // A document that says what is so anyhow is taken: s3cmd copies lists with objects.
    let grant =
        |name: &str| Grant { grantee: Grantee::User(name.into()), permission: Permission::FullControl };
    let as_it_is = AclRequest::Grants(vec![grant("ann")]);
    ann.store.bucket_acl_set(&ann.who, &ann.bucket, as_it_is).await.unwrap();
    let more = AclRequest::Grants(vec![grant("ann"), grant("bob")]);
    assert_eq!(
        kind(ann.store.bucket_acl_set(&ann.who, &ann.bucket, more).await),
        StoreErrorKind::AclsNotSupported
    );

    ann.store.bucket_ownership_set(&ann.who, &ann.bucket, None).await.unwrap();
    let public = AclRequest::Canned(CannedAcl::PublicRead);
    ann.store.bucket_acl_set(&ann.who, &ann.bucket, public).await.unwrap();
    let again = Some(Ownership::BucketOwnerEnforced);
    let refused = ann.store.bucket_ownership_set(&ann.who, &ann.bucket, again).await;
    assert_eq!(kind(refused), StoreErrorKind::InvalidBucketAcl);
}

#[tokio::test]
async fn the_public_access_block_stands_against_lists_and_policies() {
    let ann = place(BucketRules::default()).await;
    ann.put("k", b"1").await;
    let open = r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"}"#;
    let public = || AclRequest::Canned(CannedAcl::PublicRead);
    let block = |block| ann.store.bucket_public_block_set(&ann.who, &ann.bucket, Some(block));
    ann.store.bucket_acl_set(&ann.who, &ann.bucket, public()).await.unwrap();
    policy(&ann, open).await.unwrap();
    let nobody = as_who(&ann, anybody());
    let list = || nobody.store.bucket_head(&nobody.who, &nobody.bucket);
    assert!(list().await.is_ok() && nobody.get("k").await.is_ok());
    block(PublicBlock { ignore_acls: true, ..PublicBlock::default() }).await.unwrap();
    assert!(list().await.is_err() && nobody.get("k").await.is_ok());
    block(PublicBlock { restrict_buckets: true, ..PublicBlock::default() }).await.unwrap();
    assert!(list().await.is_ok() && nobody.get("k").await.is_err());
    block(PublicBlock::ALL).await.unwrap();
    let acl = ann.store.bucket_acl_set(&ann.who, &ann.bucket, public()).await;
    assert_eq!(kind(acl), StoreErrorKind::AccessDenied);
    assert_eq!(kind(policy(&ann, open).await), StoreErrorKind::AccessDenied);
    assert_eq!(ann.get("k").await.unwrap(), b"1");
}

#[tokio::test]
async fn others_pay_where_the_requester_pays() {
    let ann = place(BucketRules::default()).await;
    ann.put("k", b"1").await;
    policy(&ann, r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"}"#)
        .await
        .unwrap();
    ann.store.bucket_requester_pays_set(&ann.who, &ann.bucket, true).await.unwrap();
    assert_eq!(ann.get("k").await.unwrap(), b"1");
    assert_eq!(kind(as_who(&ann, user("bob")).get("k").await), StoreErrorKind::AccessDenied);
    let payer = Arc::new(Asked(&[("s3:x-amz-request-payer", "requester")]));
    assert_eq!(as_who(&ann, user("bob").under(payer.clone())).get("k").await.unwrap(), b"1");
    assert!(as_who(&ann, anybody().under(payer)).get("k").await.is_err());
}
