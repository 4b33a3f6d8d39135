//! The lines of an inventory: a walk over the whole bucket in pages, with what lists do not show.

use gw_db::Read;
use gw_types::{ObjectKey, VersionSeq};

use super::PAGE_MAX;
use super::walk::{FIRST_PAGE, Step, Walk};
use crate::api::{Inventory, InventoryBeside, InventoryEntry, InventoryObject, InventoryPage, VersionId};
use crate::error::StoreResult;
use crate::object::find;
use crate::rows::{BucketRow, Summary, VersionRow, key};

pub(crate) fn inventory_page(
    read: &impl Read,
    bucket: &BucketRow,
    inventory: &Inventory,
    after: Option<&(String, VersionSeq)>,
) -> StoreResult<InventoryPage> {
    let mut page = InventoryPage::default();
    let prefix = inventory.prefix.as_bytes();
    let mut walk = Walk::new(read, bucket.root, inventory.all_versions, FIRST_PAGE);
    match after {
        None => walk.seek(prefix)?,
        Some((at, seq)) if inventory.all_versions => walk.seek_behind_version(at.as_bytes(), *seq)?,
        Some((at, _)) => walk.seek(&key::after(at.as_bytes()))?,
    }
    while let Some(step) = walk.next()? {
        if !step.key().starts_with(prefix) {
            // A directory on the way to the prefix is gone into; anything else is behind it.
            match step {
                Step::Directory { path, inode } if prefix.starts_with(&path) => {
                    walk.enter(&path, inode);
                    continue;
                }
                _ => break,
            }
        }
        let (full_key, seq, entry) = match step {
            Step::Directory { path, inode } => {
                walk.enter(&path, inode);
                continue;
            }
            Step::Leaf { key, summary } => (key, summary.version, current(&summary, true)),
            Step::Version { key, seq, row: VersionRow::Object { summary, .. }, .. } => {
                (key, seq, current(&summary, false))
            }
            Step::Version { key, seq, row: row @ VersionRow::Marker { .. }, latest } => {
                (key, seq, marker(&row, seq, latest))
            }
        };
        // A name that is not UTF-8 came through a mount and is no S3 key.
        let Ok(text) = String::from_utf8(full_key) else { continue };
        let mut entry = InventoryEntry { key: text, ..entry };
        if inventory.is_deep()
            && let Some(object) = &mut entry.object
        {
            object.beside = Some(beside(read, bucket, &entry.key, entry.version)?);
        }
        page.entries.push(entry);
        if page.entries.len() == PAGE_MAX {
            page.next = page.entries.last().map(|last| (last.key.clone(), seq));
            break;
        }
    }
    Ok(page)
}

fn current(summary: &Summary, is_latest: bool) -> InventoryEntry {
    let object = InventoryObject {
        size: summary.size,
        etag: summary.etag,
        class: summary.class,
        checksum: summary.checksum.map(|(algorithm, _)| algorithm),
        beside: None,
    };
    InventoryEntry {
        key: String::new(),
        version: summary.version_id(),
        is_latest,
        last_modified: summary.committed_at,
        object: Some(object),
    }
}

fn marker(row: &VersionRow, seq: VersionSeq, is_latest: bool) -> InventoryEntry {
    let last_modified = match row {
        VersionRow::Marker { committed_at, .. } => *committed_at,
        VersionRow::Object { summary, .. } => summary.committed_at,
    };
    InventoryEntry {
        key: String::new(),
        version: row.version_id(seq),
        is_latest,
        last_modified,
        object: None,
    }
}

/// Of the same moment as the walk, so it is there.
fn beside(
    read: &impl Read,
    bucket: &BucketRow,
    at: &str,
    version: VersionId,
) -> StoreResult<InventoryBeside> {
    let at = ObjectKey::new(at).map_err(|_| crate::error::StoreError::corrupt("a key is no key"))?;
    let found = find(read, bucket.clone(), &at, Some(version), false)?;
    let attributes = &found.published.attributes;
    Ok(InventoryBeside {
        encryption: attributes.encryption()?,
        retention: attributes.retention()?,
        hold: attributes.legal_hold()?,
        owner: attributes.foreign_owner()?.unwrap_or_else(|| bucket.owner.clone()),
    })
}
