//! ListObjectVersions: current objects, noncurrent versions and delete markers in one order.

use gw_db::Read;
use gw_types::{Action, Authenticated, InodeId, ObjectKey, VersionSeq};

use super::walk::{Step, Walk};
use super::{PAGE_MAX, Rollup};
use crate::api::{VersionEntry, VersionId, VersionListPage, VersionListRequest};
use crate::core::Core;
use crate::error::{StoreError, StoreResult};
use crate::history;
use crate::namespace;
use crate::rows::{Summary, VersionRow, key};

impl Core {
    pub(crate) fn list_versions(
        &self,
        who: &Authenticated,
        request: &VersionListRequest,
    ) -> StoreResult<VersionListPage> {
        let snapshot = self.snapshot();
        let bucket = self.bucket(&snapshot, who, Action::ListBucketVersions, &request.bucket)?;
        page(&snapshot, bucket.root, request)
    }
}

/// Where a page begins.
enum Start {
    At(Vec<u8>),
    Behind(Vec<u8>, VersionSeq),
    Nowhere,
}

fn start(
    read: &impl Read,
    root: InodeId,
    rollup: Rollup<'_>,
    request: &VersionListRequest,
) -> StoreResult<Start> {
    let prefix = rollup.prefix.to_vec();
    let Some(marker) = request.key_marker.as_deref().filter(|marker| !marker.is_empty()) else {
        if request.version_marker.is_some() {
            return Err(StoreError::invalid("a version id marker needs a key marker"));
        }
        return Ok(Start::At(prefix));
    };
    let marker_bytes = marker.as_bytes();
    if let Some(common) = rollup.common(marker_bytes) {
        return Ok(key::after_prefix(common).map_or(Start::Nowhere, |bound| Start::At(bound.max(prefix))));
    }
    let seq = match request.version_marker {
        Some(VersionId::Seq(seq)) => Some(seq),
        Some(VersionId::Null) => null_seq(read, root, marker)?,
        None => None,
    };
    Ok(match seq {
        Some(seq) if marker_bytes >= prefix.as_slice() => Start::Behind(marker_bytes.to_vec(), seq),
        _ => Start::At(key::after(marker_bytes).max(prefix)),
    })
}

/// Where the null version of a key is; `None` where there is none, and the page begins behind the
/// key.
fn null_seq(read: &impl Read, root: InodeId, marker: &str) -> StoreResult<Option<VersionSeq>> {
    let Ok(name) = ObjectKey::new(marker) else { return Ok(None) };
    let Some(spot) = namespace::locate(read, root, name.as_str())?.spot() else { return Ok(None) };
    let current = namespace::leaf(read, &spot)?.and_then(|leaf| leaf.published);
    match current {
        Some(summary) if summary.null => Ok(Some(summary.version)),
        _ => history::null_seq(read, &spot),
    }
}

fn page(read: &impl Read, root: InodeId, request: &VersionListRequest) -> StoreResult<VersionListPage> {
    let mut page = VersionListPage::default();
    let max = request.max.min(PAGE_MAX);
    let rollup = Rollup::new(&request.prefix, request.delimiter.as_deref());
    let mut walk = Walk::new(read, root, true, rollup.first_page());
    match start(read, root, rollup, request)? {
        Start::At(bound) => walk.seek(&bound)?,
        Start::Behind(marker, seq) => walk.seek_behind_version(&marker, seq)?,
        Start::Nowhere => return Ok(page),
    }
    if max == 0 {
        return Ok(page);
    }
    let mut last = None;
    while let Some(step) = walk.next()? {
        if !step.key().starts_with(rollup.prefix) {
            break;
        }
        let full = page.entries.len() + page.common_prefixes.len() == max;
        let common = rollup.common(step.key());
        if full && (common.is_some() || !matches!(step, Step::Directory { .. })) {
            page.next = last;
            break;
        }
        if let Some(common) = common {
            if let Ok(text) = std::str::from_utf8(common) {
                page.common_prefixes.push(text.to_owned());
                last = Some((text.to_owned(), None));
            }
            if !matches!(&step, Step::Directory { path, .. } if path == common) {
                let Some(next) = key::after_prefix(common) else { break };
                walk.seek(&next)?;
            }
            continue;
        }
        let (full_key, seq, entry) = match step {
            Step::Directory { path, inode } => {
                walk.enter(&path, inode);
                continue;
            }
            Step::Leaf { key, summary } => (key, summary.version, current(&summary)),
            Step::Version { key, seq, row, latest } => (key, seq, noncurrent(seq, &row, latest)),
        };
        let Ok(text) = String::from_utf8(full_key) else { continue };
        last = Some((text.clone(), Some(VersionId::Seq(seq))));
        page.entries.push(VersionEntry { key: text, ..entry });
    }
    Ok(page)
}

fn current(summary: &Summary) -> VersionEntry {
    VersionEntry {
        key: String::new(),
        version_id: summary.version_id(),
        is_latest: true,
        last_modified: summary.committed_at,
        object: Some((summary.size, summary.etag, summary.class)),
        checksum: summary.checksum,
    }
}

fn noncurrent(seq: VersionSeq, row: &VersionRow, latest: bool) -> VersionEntry {
    match row {
        VersionRow::Object { summary, .. } => VersionEntry { is_latest: false, ..current(summary) },
        VersionRow::Marker { committed_at, .. } => VersionEntry {
            key: String::new(),
            version_id: row.version_id(seq),
            is_latest: latest,
            last_modified: *committed_at,
            object: None,
            checksum: None,
        },
    }
}
