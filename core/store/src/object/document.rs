//! Named documents of an object (tags, retention, ACL): replaced without a new version.

use gw_types::{Action, Authenticated, BucketName, ObjectKey};

use super::current::shown_id;
use super::find;
use super::write::check_documents;
use crate::api::{Document, VersionId};
use crate::core::{Core, Work};
use crate::error::{StoreErrorKind, StoreResult};
use crate::rows::{self, BucketRow, InodeBody, InodeRow, key};

/// Which document.
#[derive(Debug)]
pub(crate) struct DocumentTarget<'a> {
    pub(crate) key: &'a ObjectKey,
    pub(crate) version: Option<VersionId>,
    pub(crate) name: &'a str,
}

impl Core {
    pub(crate) async fn object_document_set(
        &self,
        who: &Authenticated,
        bucket: &BucketName,
        target: DocumentTarget<'_>,
        value: Option<Vec<u8>>,
    ) -> StoreResult<Option<VersionId>> {
        let done = self.commit(|work| {
            let row = self.bucket(&*work.txn, who, Action::PutObject, bucket)?;
            let shown = work.set_document(&row, &target, value)?;
            Ok((shown, row.stream, row.settings.level))
        })?;
        let (shown, stream, level) = done.value;
        self.settle(done.lsn, stream, level).await?;
        Ok(shown)
    }
}

impl Work<'_, '_> {
    fn set_document(
        &mut self,
        bucket: &BucketRow,
        target: &DocumentTarget<'_>,
        value: Option<Vec<u8>>,
    ) -> StoreResult<Option<VersionId>> {
        let inode = find(&*self.txn, bucket.clone(), target.key, target.version, false)?.inode;
        let inode_key = key::inode(inode);
        let mut row: InodeRow = rows::must(&*self.txn, "inode", &inode_key)?;
        let InodeBody::File(file) = &mut row.body else { return Err(StoreErrorKind::NoSuchKey.into()) };
        let Some(published) = &mut file.published else { return Err(StoreErrorKind::NoSuchKey.into()) };
        let documents = &mut published.attributes.documents;
        documents.retain(|document| document.name != target.name);
        if let Some(value) = value {
            documents.push(Document { name: target.name.to_owned(), value });
        }
        check_documents(documents)?;
        let shown = shown_id(bucket, published.null, published.version);
        row.posix.ctime = self.now;
        self.put_row(inode_key, &row);
        self.txn.stream(bucket.stream);
        Ok(shown)
    }
}
