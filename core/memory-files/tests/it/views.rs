//! What one view hears of another's changes.

use std::sync::Arc;

use gw_memory_files::{MemoryFiles, MemoryLimits};
use gw_sim::SimClock;
use gw_store::files::{FileId, Files, FilesChange};

use crate::{ME, empty, file};

#[tokio::test]
async fn a_view_hears_of_others_and_not_of_itself() {
    let here = empty();
    let there = here.view();
    let made = here.mkdir(&ME, FileId::ROOT, b"mine", 0o755).unwrap().attr.id;
    let (found, _) = file(&there, b"theirs");
    let entry = FilesChange::Entry { parent: FileId::ROOT, name: b"theirs".to_vec() };
    assert_eq!(here.next_change().await, Some(entry));
    let entry = FilesChange::Entry { parent: FileId::ROOT, name: b"mine".to_vec() };
    assert_eq!(there.next_change().await, Some(entry));
    assert_eq!(there.lookup(&ME, FileId::ROOT, b"mine").unwrap().attr.id, made);
    there.unlink(&ME, FileId::ROOT, b"theirs").unwrap();
    assert!(matches!(here.next_change().await, Some(FilesChange::Entry { .. })));
    assert_eq!(here.next_change().await, Some(FilesChange::Inode { id: found.attr.id }));
    here.close_changes();
    assert_eq!(here.next_change().await, None);
}

#[tokio::test]
async fn too_many_changes_become_everything() {
    let limits = MemoryLimits { changes_max: 3, ..MemoryLimits::default() };
    let here = MemoryFiles::new(Arc::new(SimClock::default()), 0, 0, limits);
    let there = here.view();
    for name in [b"a", b"b", b"c", b"d"] {
        there.mkdir(&ME, FileId::ROOT, name, 0o755).unwrap();
    }
    assert_eq!(here.next_change().await, Some(FilesChange::Everything));
}
