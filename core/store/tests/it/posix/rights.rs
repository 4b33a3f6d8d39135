//! What a mount's user may: bucket policies and object locks hold for files as for objects.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gw_store::files::{Errno, OpenFlags, RenameMode, SetAttr};
use gw_store::{
    BucketOptions, BucketRules, BucketSettings, LockMode, MountBuckets, MountOptions, ObjectLock,
    ObjectWants, PutOptions, Retention, StoreErrorKind, UserSpec, Versioning,
};
use gw_types::{Authenticated, Frontend, Timestamp};

use super::paths::{Paths, WRITE, errno, mount};
use crate::assemble::Machine;
use crate::support::{Here, admin, name, user};

const READ: OpenFlags = OpenFlags { write: false, ..WRITE };

/// The bucket mounted for somebody.
async fn mount_for(here: &Here, who: &str) -> Result<Paths, StoreErrorKind> {
    let who = Authenticated::user(who, Frontend::Fuse);
    let options = MountOptions::new(who, MountBuckets::One(here.bucket.clone()));
    let files = here.store.mount(options).await.map_err(|error| error.kind())?;
    Ok(Paths::new(Arc::new(files)))
}

async fn policy(here: &Here, statements: &str) {
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
    here.store.bucket_policy_set(&here.who, &here.bucket, Some(Bytes::from(text))).await.unwrap();
}

fn open(paths: &Paths, at: &str, flags: OpenFlags) -> Result<(), Errno> {
    let looked = paths.look(at).unwrap();
    match paths.files.open(&paths.caller, looked.id, flags) {
        Ok(handle) => {
            // Closes whatever it is, without waiting.
            paths.files.releasedir(handle);
            Ok(())
        }
        Err(error) => Err(error.errno),
    }
}

#[tokio::test]
async fn policies_decide_about_files_by_their_full_keys() {
    let store = Machine::new().open().await;
    for name in ["ann", "bob"] {
        let spec = UserSpec { name: name.to_owned(), admin: false, access_key: None, secret: None };
        store.user_add(&admin(), spec).await.unwrap();
    }
    store.bucket_create(&user("ann"), &name("bucket"), BucketOptions::default()).await.unwrap();
    let ann = Here { store, who: user("ann"), bucket: name("bucket") };
    ann.put("open/k", b"1").await;
    ann.put("shut/k", b"2").await;
    assert_eq!(mount_for(&ann, "bob").await.err(), Some(StoreErrorKind::AccessDenied));

    policy(
        &ann,
        r#"{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket"},
           {"Effect":"Allow","Principal":"*","Action":["s3:GetObject","s3:PutObject"],
            "Resource":"arn:aws:s3:::bucket/open/*"}"#,
    )
    .await;
    let bob = mount_for(&ann, "bob").await.unwrap();
    assert_eq!((open(&bob, "open/k", READ), open(&bob, "open/k", WRITE)), (Ok(()), Ok(())));
    assert_eq!(open(&bob, "shut/k", READ), Err(Errno::Access));
    assert_eq!(open(&bob, "shut/k", WRITE), Err(Errno::Access));
    drop(bob.mkdir("open/d", 0o755).unwrap());
    bob.touch("open/d/f").await.unwrap();
    assert_eq!(errno(bob.mkdir("shut/d", 0o755)), Errno::Access);
    assert_eq!(errno(bob.touch("top").await), Errno::Access);
    assert_eq!(errno(bob.link("shut/k", "open/l")), Errno::Access);
    // Nobody gave the right to delete, and a rename takes a name away.
    assert_eq!(errno(bob.unlink("open/k")), Errno::Access);
    assert_eq!(errno(bob.rename("open/k", "open/n", RenameMode::Replace)), Errno::Access);
    assert_eq!(errno(bob.set("shut/k", SetAttr { mode: Some(0o600), ..SetAttr::default() })), Errno::Access);
    // The owner's mount is not bound by what others may not.
    let owner = mount_for(&ann, "ann").await.unwrap();
    owner.rename("shut/k", "open/n", RenameMode::Replace).unwrap();
    // What a policy takes away is gone at the next open; who has it open goes on.
    let looked = bob.look("open/n").unwrap();
    let handle = bob.files.open(&bob.caller, looked.id, READ).unwrap();
    ann.store.bucket_policy_set(&ann.who, &ann.bucket, None).await.unwrap();
    assert_eq!(open(&bob, "open/n", READ), Err(Errno::Access));
    assert_eq!(bob.files.read(handle, 0, 9).await.unwrap(), &b"2"[..]);
    bob.files.release(handle).await.unwrap();
}

#[tokio::test]
async fn what_is_locked_keeps_its_bytes_and_its_name() {
    let machine = Machine::new();
    let store = machine.open().await;
    let options = BucketOptions {
        settings: BucketSettings { versioning: Versioning::Enabled, ..BucketSettings::default() },
        rules: BucketRules { lock: Some(ObjectLock::default()), ..BucketRules::default() },
        ..BucketOptions::default()
    };
    store.bucket_create(&admin(), &name("locked"), options).await.unwrap();
    let here = Here { store, who: admin(), bucket: name("locked") };
    let until = {
        use gw_types::ports::Clock as _;
        Timestamp(machine.clock.now().0 + 3600 * 1_000_000_000)
    };
    let retention = Some(Retention { mode: LockMode::Compliance, until });
    let wants = ObjectWants { retention, ..ObjectWants::default() };
    here.put_with("d/k", b"1", PutOptions { wants, ..PutOptions::default() }).await.unwrap();
    let paths = mount(&here).await;
    assert_eq!(open(&paths, "d/k", READ), Ok(()));
    assert_eq!(open(&paths, "d/k", WRITE), Err(Errno::NotPermitted));
    let cut = SetAttr { size: Some(0), ..SetAttr::default() };
    assert_eq!(errno(paths.set("d/k", cut)), Errno::NotPermitted);
    assert_eq!(errno(paths.unlink("d/k")), Errno::NotPermitted);
    assert_eq!(errno(paths.rename("d/k", "d/n", RenameMode::Replace)), Errno::NotPermitted);
    paths.touch("d/other").await.unwrap();
    assert_eq!(errno(paths.rename("d/other", "d/k", RenameMode::Replace)), Errno::NotPermitted);
    assert_eq!(errno(paths.rename("d", "e", RenameMode::Replace)), Errno::CrossDevice);
    assert_eq!(here.get("d/k").await.unwrap(), b"1");
    machine.clock.advance(Duration::from_secs(3601));
    assert_eq!(open(&paths, "d/k", WRITE), Ok(()));
    paths.unlink("d/k").unwrap();
}
