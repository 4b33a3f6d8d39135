//! ListMultipartUploads: uploads are no names, so this is a scan of their own table.

use std::collections::VecDeque;

use gw_types::{Action, Authenticated, ObjectKey, UploadSeq};

use super::{PAGE_MAX, Rollup};
use crate::api::{UploadEntry, UploadId, UploadListPage, UploadListRequest};
use crate::core::Core;
use crate::error::{StoreError, StoreResult};
use crate::rows::{self, BucketRow, UploadRow, key};

const SCAN_PAGE: usize = 256;

impl Core {
    pub(crate) fn upload_list(
        &self,
        who: &Authenticated,
        request: &UploadListRequest,
    ) -> StoreResult<UploadListPage> {
        let snapshot = self.snapshot();
        let bucket = self.bucket(&snapshot, who, Action::ListBucketMultipartUploads, &request.bucket)?;
        let rollup = Rollup::new(&request.prefix, request.delimiter.as_deref());
        let mut page = UploadListPage::default();
        let max = request.max.min(PAGE_MAX);
        let table = key::uploads(bucket.root);
        let Some(mut from) = start(&bucket, rollup, request) else { return Ok(page) };
        if max == 0 {
            return Ok(page);
        }
        let mut last = None;
        let mut queue = VecDeque::new();
        loop {
            if queue.is_empty() {
                queue.extend(rows::under(&snapshot, &table, &from, SCAN_PAGE)?);
            }
            let Some((row, value)) = queue.pop_front() else { return Ok(page) };
            from = key::after(&row);
            let (name, seq) = key::upload_parts(&row)
                .ok_or_else(|| StoreError::corrupt("the key of an upload row does not parse"))?;
            if !name.starts_with(rollup.prefix) {
                return Ok(page);
            }
            if page.entries.len() + page.common_prefixes.len() == max {
                page.next = last;
                return Ok(page);
            }
            if let Some(common) = rollup.common(&name) {
                let text = String::from_utf8_lossy(common).into_owned();
                last = Some((text.clone(), None));
                page.common_prefixes.push(text);
                let Some(next) = key::after_prefix(common) else { return Ok(page) };
                from = key::uploads_from(bucket.root, &next);
                queue.clear();
                continue;
            }
            let entry = entry(&name, seq, &value)?;
            last = Some((entry.key.as_str().to_owned(), Some(entry.upload.upload_id)));
            page.entries.push(entry);
        }
    }
}

fn start(bucket: &BucketRow, rollup: Rollup<'_>, request: &UploadListRequest) -> Option<Vec<u8>> {
    let prefix = key::uploads_from(bucket.root, rollup.prefix);
    let Some(marker) = request.key_marker.as_deref().filter(|marker| !marker.is_empty()) else {
        return Some(prefix);
    };
    let marker = marker.as_bytes();
    let from = match (rollup.common(marker), request.upload_marker) {
        (Some(common), _) => key::uploads_from(bucket.root, &key::after_prefix(common)?),
        (None, Some(upload)) => key::after(&key::upload(bucket.root, marker, upload.0)),
        (None, None) => key::after(&key::upload(bucket.root, marker, UploadSeq(u64::MAX))),
    };
    Some(from.max(prefix))
}

fn entry(name: &[u8], seq: UploadSeq, value: &[u8]) -> StoreResult<UploadEntry> {
    let text = std::str::from_utf8(name).ok().and_then(|text| ObjectKey::new(text).ok());
    let key = text.ok_or_else(|| StoreError::corrupt("an upload's key is not one"))?;
    let row: UploadRow = rows::decode("upload", value)?;
    Ok(UploadEntry { key, upload: row.info(UploadId(seq)) })
}
