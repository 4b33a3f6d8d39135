//! Emptying a bucket, whatever is in it, and what a refused deletion says.

use gw_store::files::FileKind;
use gw_store::{
    BucketOptions, BucketRules, BucketSettings, Cleared, LockMode, ObjectLock, ObjectWants, PutOptions,
    Retention, StoreErrorKind, UploadOptions, VersionListRequest, Versioning,
};
use gw_types::Timestamp;
use gw_types::ports::Clock as _;

use crate::assemble::Machine;
use crate::posix::paths::mount;
use crate::support::{Here, admin, key, kind, name};

async fn clear(here: &Here) -> Cleared {
    let mut sum = Cleared::default();
    loop {
        let step = here.store.bucket_clear(&here.who, &here.bucket).await.unwrap();
        sum.objects += step.objects;
        sum.versions += step.versions;
        sum.markers += step.markers;
        sum.unlisted += step.unlisted;
        sum.directories += step.directories;
        if step.done {
            return sum;
        }
    }
}

#[tokio::test]
async fn a_refused_deletion_counts_what_s3_does_not_list() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    let paths = mount(&here).await;
    here.put("k", b"1").await;
    let refused = || here.store.bucket_delete(&here.who, &here.bucket);
    let plain = refused().await.unwrap_err();
    assert_eq!(plain.message(), "The bucket you tried to delete is not empty");
    here.delete("k").await;
    drop(paths.mkdir("d", 0o755).unwrap());
    paths.symlink("d/one", "k").unwrap();
    paths.symlink("two", "k").unwrap();
    paths.mknod("pipe", FileKind::Fifo, 0o600, 0).unwrap();
    let (looked, handle) = paths.create("open", 0o644).unwrap();
    let error = refused().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::BucketNotEmpty);
    let told = "it holds 4 entries that S3 does not list: 2 symbolic links, 1 pipe, 1 file that is still being written";
    assert!(error.message().contains(told), "{error}");
    assert!(error.message().contains("bucket delete bucket --with-files"), "{error}");
    paths.files.release(handle).await.unwrap();
    drop(looked);

    let cleared = clear(&here).await;
    assert_eq!((cleared.objects, cleared.unlisted), (2, 3), "the mark of d, open; the rest");
    refused().await.unwrap();
    assert_eq!(machine.live_bytes(), 0);
}

#[tokio::test]
async fn clearing_takes_versions_markers_uploads_and_what_a_mount_holds_in_bounded_commits() {
    let machine = Machine::new();
    let here = Here::versioned(machine.open().await, "bucket").await;
    let paths = mount(&here).await;
    for round in 0..3 {
        for index in 0..60 {
            here.put(&format!("a/{}/{index}", index % 7), format!("{round}").as_bytes()).await;
        }
    }
    // One name with more history than a commit takes.
    for round in 0..200 {
        here.put("often", format!("{round}").as_bytes()).await;
    }
    here.delete("often").await;
    here.delete("a/0/0").await;
    here.versioning(Versioning::Suspended).await;
    here.put("a/1/1", b"null").await;
    here.store.upload_create(&here.who, &here.bucket, &key("u"), UploadOptions::default()).await.unwrap();
    let held = paths.look("a/1").unwrap();
    drop(paths.mkdir("empty", 0o755).unwrap());

    let first = here.store.bucket_clear(&here.who, &here.bucket).await.unwrap();
    assert!(!first.done && first.count() <= 128, "{first:?}");
    let rest = clear(&here).await;
    assert_eq!(first.markers + rest.markers, 2);
    assert_eq!(first.versions + first.objects + rest.versions + rest.objects, 3 * 60 + 200 + 1 + 1);
    assert_eq!(here.usage().await, gw_store::Usage { uploads: 1, ..Default::default() });
    here.store.bucket_delete(&here.who, &here.bucket).await.unwrap();
    drop(held);
    drop(paths);
    assert_eq!((machine.live_bytes(), machine.rows_left()), (0, 0));
}

#[tokio::test]
async fn what_is_under_lock_is_counted_and_stays() {
    let machine = Machine::new();
    let store = machine.open().await;
    let options = BucketOptions {
        settings: BucketSettings { versioning: Versioning::Enabled, ..BucketSettings::default() },
        rules: BucketRules { lock: Some(ObjectLock::default()), ..BucketRules::default() },
        ..BucketOptions::default()
    };
    store.bucket_create(&admin(), &name("locked"), options).await.unwrap();
    let here = Here { store, who: admin(), bucket: name("locked") };
    let until = Timestamp(machine.clock.now().0 + 3_600_000_000_000);
    for index in 0..5 {
        let retention = (index % 2 == 0).then_some(Retention { mode: LockMode::Governance, until });
        let wants = ObjectWants { retention, ..ObjectWants::default() };
        here.put_with("k", b"1", PutOptions { wants, ..PutOptions::default() }).await.unwrap();
    }
    let mut request = VersionListRequest { max: 2, ..VersionListRequest::new(here.bucket.clone()) };
    let mut locked = 0;
    loop {
        let (count, next) = here.store.bucket_locked(&here.who, &request).unwrap();
        locked += count;
        let Some(next) = next else { break };
        request = next;
    }
    assert_eq!(locked, 3);
    let refused = here.store.bucket_clear(&here.who, &here.bucket).await;
    assert_eq!(kind(refused), StoreErrorKind::Locked);
    machine.clock.advance(std::time::Duration::from_secs(3601));
    assert_eq!(clear(&here).await.count(), 5);
}
