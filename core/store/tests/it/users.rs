//! Users, secrets, and who may do what.

use gw_store::{BucketOptions, PutOptions, ReadOptions, Secret, StoreErrorKind, UserSpec};
use gw_types::{Action, Authenticated, Frontend};

use crate::assemble::Machine;
use crate::support::{Here, admin, key, kind, name, user};

fn spec(name: &str, access_key: Option<&str>, secret: Option<&str>) -> UserSpec {
    UserSpec {
        name: name.to_owned(),
        admin: false,
        access_key: access_key.map(str::to_owned),
        secret: secret.map(Secret::new),
    }
}

#[tokio::test]
async fn secrets_are_sealed_at_rest_and_open_after_a_restart() {
    let machine = Machine::new();
    let store = machine.open().await;
    let made = store.user_add(&admin(), spec("ann", Some("AKANN"), Some("open sesame!"))).await.unwrap();
    assert_eq!((made.access_key.as_str(), made.secret.expose()), ("AKANN", "open sesame!"));
    let random = store.user_add(&admin(), spec("bob", None, None)).await.unwrap();
    assert_eq!((random.access_key.len(), random.secret.expose().len()), (20, 40));
    assert!(!format!("{random:?}").contains(random.secret.expose()));
    store.close().await.unwrap();

    for file in machine.files() {
        assert!(!file.windows(12).any(|window| window == b"open sesame!"));
    }
    let store = machine.open().await;
    for _ in 0..2 {
        let credential = store.credential("AKANN").await.unwrap().unwrap();
        assert_eq!((&*credential.user, credential.secret.expose()), ("ann", "open sesame!"));
    }
    assert!(store.credential("AKNOBODY").await.unwrap().is_none());
    let users = store.user_list(&admin()).await.unwrap();
    assert_eq!(users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["ann", "bob"]);
    assert_eq!(users[0].access_keys[0].access_key, "AKANN");
    store.user_remove(&admin(), "ann").await.unwrap();
    assert!(store.credential("AKANN").await.unwrap().is_none());
    assert_eq!(kind(store.user_remove(&admin(), "ann").await), StoreErrorKind::NoSuchUser);
}

#[tokio::test]
async fn names_and_keys_are_taken_once_and_checked() {
    let store = Machine::new().open().await;
    store.user_add(&admin(), spec("ann", Some("AKANN"), None)).await.unwrap();
    for taken in [spec("ann", None, None), spec("eve", Some("AKANN"), None)] {
        assert_eq!(kind(store.user_add(&admin(), taken).await), StoreErrorKind::UserExists);
    }
    for bad in [
        spec("", None, None),
        spec("a b", None, None),
        spec("eve", Some("a/b"), None),
        spec("eve", None, Some("short")),
    ] {
        assert_eq!(kind(store.user_add(&admin(), bad).await), StoreErrorKind::InvalidArgument);
    }
    assert_eq!(
        kind(store.user_add(&user("ann"), spec("eve", None, None)).await),
        StoreErrorKind::AccessDenied
    );
}

#[tokio::test]
async fn one_decision_for_every_verb() {
    let here = Here::new(Machine::new().open().await, "of-root").await;
    let store = &here.store;
    store.user_add(&admin(), spec("ann", None, None)).await.unwrap();
    store.user_add(&admin(), UserSpec { admin: true, ..spec("boss", None, None) }).await.unwrap();
    let (ann, boss) = (user("ann"), user("boss"));
    let (ghost, nobody) = (user("ghost"), Authenticated::anonymous(Frontend::S3));
    store.bucket_create(&ann, &name("of-ann"), BucketOptions::default()).await.unwrap();
    here.put("k", b"1").await;

    let may = |who: &Authenticated, action, bucket: Option<&str>| {
        store.authorize(who, action, bucket.map(name).as_ref(), Some(&key("k"))).is_ok()
    };
    for action in [Action::GetObject, Action::PutObject, Action::DeleteObject, Action::ListBucket] {
        assert!(may(&ann, action, Some("of-ann")));
        assert!(!may(&ann, action, Some("of-root")));
        assert!(may(&boss, action, Some("of-ann")));
        assert!(may(&admin(), action, Some("of-ann")));
        assert!(!may(&ghost, action, Some("of-ann")));
        assert!(!may(&nobody, action, Some("of-ann")));
    }
    assert!(may(&ann, Action::CreateBucket, Some("new")) && !may(&ghost, Action::CreateBucket, Some("new")));
    assert!(!may(&ann, Action::Administer, None) && may(&boss, Action::Administer, None));
    assert!(!may(&nobody, Action::ListBuckets, None));

    let bucket = &here.bucket;
    let denied = StoreErrorKind::AccessDenied;
    assert_eq!(kind(store.get(&ann, bucket, &key("k"), ReadOptions::default()).await), denied);
    assert_eq!(kind(store.put(&ann, bucket, &key("k"), PutOptions::default()).await), denied);
    assert_eq!(kind(store.delete(&ann, bucket, crate::support::target("k", None), None).await), denied);
    assert_eq!(kind(store.status(&ann).await), denied);
    let for_other = BucketOptions { owner: Some("boss".to_owned()), ..BucketOptions::default() };
    assert_eq!(kind(store.bucket_create(&ann, &name("gift"), for_other.clone()).await), denied);
    assert_eq!(store.bucket_create(&boss, &name("gift"), for_other).await.unwrap().owner, "boss");
}
