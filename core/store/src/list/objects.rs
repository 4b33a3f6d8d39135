//! ListObjects, V1 and V2.

use gw_db::Read;
use gw_types::{Action, Authenticated, InodeId};

use super::walk::{Step, Walk};
use super::{PAGE_MAX, Rollup};
use crate::api::{ListEntry, ListPage, ListRequest, ListStart};
use crate::core::Core;
use crate::error::StoreResult;
use crate::rows::key;

impl Core {
    pub(crate) fn list(&self, who: &Authenticated, request: &ListRequest) -> StoreResult<ListPage> {
        let snapshot = self.snapshot();
        let bucket = self.bucket(&snapshot, who, Action::ListBucket, &request.bucket)?;
        page(&snapshot, bucket.root, request)
    }
}

/// Where the walk begins; `None`: nothing can follow.
fn bound(rollup: Rollup<'_>, start: &ListStart) -> Option<Vec<u8>> {
    let prefix = rollup.prefix.to_vec();
    let bound = match start {
        ListStart::Beginning => return Some(prefix),
        ListStart::After(text) => key::after(text.as_bytes()),
        ListStart::Marker(text) => match rollup.common(text.as_bytes()) {
            Some(common) => key::after_prefix(common)?,
            None => key::after(text.as_bytes()),
        },
    };
    Some(bound.max(prefix))
}

fn page(read: &impl Read, root: InodeId, request: &ListRequest) -> StoreResult<ListPage> {
    let mut page = ListPage::default();
    let max = request.max.min(PAGE_MAX);
    let rollup = Rollup::new(&request.prefix, request.delimiter.as_deref());
    let Some(bound) = bound(rollup, &request.start) else { return Ok(page) };
    if max == 0 {
        return Ok(page);
    }
    let mut walk = Walk::new(read, root, false, rollup.first_page());
    walk.seek(&bound)?;
    let mut last = None;
    while let Some(step) = walk.next()? {
        if !step.key().starts_with(rollup.prefix) {
            break;
        }
        let full = page.entries.len() + page.common_prefixes.len() == max;
        if let Some(common) = rollup.common(step.key()) {
            if full {
                page.next = last;
                break;
            }
            if let Ok(text) = std::str::from_utf8(common) {
                page.common_prefixes.push(text.to_owned());
                last = Some(ListStart::Marker(text.to_owned()));
            }
            // A directory that is not entered is skipped as it is; anything else takes a seek.
            if !matches!(&step, Step::Directory { path, .. } if path == common) {
                let Some(next) = key::after_prefix(common) else { break };
                walk.seek(&next)?;
            }
            continue;
        }
        match step {
            Step::Directory { path, inode } => walk.enter(&path, inode),
            Step::Leaf { .. } if full => {
                page.next = last;
                break;
            }
            Step::Leaf { key, summary } => {
                // A name that is not UTF-8 came through a mount and is no S3 key.
                let Ok(key) = String::from_utf8(key) else { continue };
                last = Some(ListStart::Marker(key.clone()));
                page.entries.push(ListEntry {
                    key,
                    size: summary.size,
                    etag: summary.etag,
                    last_modified: summary.committed_at,
                    storage_class: summary.class,
                    checksum: summary.checksum,
                });
            }
            Step::Version { .. } => {}
        }
    }
    Ok(page)
}
