//! What one view tells the other, and in time.

use gw_store::files::{FileId, Files, FilesChange};

use super::paths::{Paths, mount_files};
use crate::assemble::Machine;
use crate::support::Here;

#[tokio::test]
async fn a_mount_hears_of_what_s3_changes_where_its_kernel_may_know_it() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    let files = std::sync::Arc::new(mount_files(&here).await);
    let paths = Paths::new(files.clone());
    here.put("d/known", b"1").await;
    let held = paths.look("d").unwrap();
    let (taken, mut changes) = tokio::sync::mpsc::channel(16);
    let listener = tokio::spawn({
        let files = files.clone();
        async move {
            while let Some(change) = files.next_change().await {
                taken.send(change).await.unwrap();
            }
        }
    });
    // The put is answered when the listener has dealt with the change, or it would wait for ever
    // here: this clock stands still.
    tokio::task::yield_now().await;
    here.put("d/known", b"2").await;
    let entry = FilesChange::Entry { parent: held.id, name: b"known".to_vec() };
    let mut heard = Vec::new();
    while heard.last() != Some(&entry) {
        heard.push(changes.recv().await.unwrap());
    }
    here.put("e/unknown", b"3").await;
    let first = changes.recv().await.unwrap();
    assert_eq!(first, FilesChange::Entry { parent: FileId::ROOT, name: b"e".to_vec() }, "{heard:?}");
    listener.abort();
}

#[tokio::test]
async fn a_mount_that_does_not_keep_up_forgets_everything() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    let files = mount_files(&here).await;
    for number in 0..5000 {
        here.put(&format!("k{number}"), b"").await;
    }
    assert_eq!(files.next_change().await, Some(FilesChange::Everything));
}
