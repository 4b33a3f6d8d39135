//! Buckets: made, found, listed, set, removed.

use bytes::Bytes;
use gw_db::Read;
use gw_types::ports::WrappedBucketKey;
use gw_types::{Action, Authenticated, BucketName, InodeId, Level, StreamId};

use crate::access;
use crate::api::{
    AclRequest, BucketInfo, BucketListPage, BucketListRequest, BucketOptions, BucketRules, BucketSettings,
    CannedAcl, Quota, Usage, Versioning,
};
use crate::core::{Core, Done, Work, load_account_usage, load_bucket, load_usage};
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::namespace::new_directory;
use crate::rows::{self, BucketRow, DirCounts, InodeBody, InodeRow, key};

/// Name of the document for cross-origin requests, of which the row says whether it is there.
pub(crate) const CORS: &str = "cors";
const LIST_PAGE_MAX: usize = 10_000;
const DOCUMENT_BYTES_MAX: usize = 64 << 10;
const DOCUMENT_NAME_BYTES_MAX: usize = 64;
const SCAN_PAGE: usize = 256;

fn info(name: &BucketName, row: &BucketRow) -> BucketInfo {
    BucketInfo {
        name: name.clone(),
        owner: row.owner.clone(),
        created: row.created,
        settings: row.settings.clone(),
        rules: row.rules.clone(),
    }
}

impl Core {
    pub(crate) async fn bucket_create(
        &self,
        who: &Authenticated,
        name: &BucketName,
        options: BucketOptions,
    ) -> StoreResult<BucketInfo> {
        let owner = self.new_owner(who, name, &options)?;
        check_free(&owner, load_bucket(&self.snapshot(), name)?.as_ref())?;
        let bucket_key = self.keys.new_bucket_key().await?;
        let done = self.bucket_make(who, name, options, bucket_key)?;
        let row = done.value;
        self.settle(done.lsn, row.stream, row.settings.level).await?;
        Ok(info(name, &row))
    }

    /// The commit of it.
    pub(crate) fn bucket_make(
        &self,
        who: &Authenticated,
        name: &BucketName,
        options: BucketOptions,
        bucket_key: WrappedBucketKey,
    ) -> StoreResult<Done<BucketRow>> {
        let owner = self.new_owner(who, name, &options)?;
        self.commit(|work| {
            self.decide(&*work.txn, who, Action::CreateBucket, Some(name))?;
            check_free(&owner, load_bucket(&*work.txn, name)?.as_ref())?;
            let root = work.new_inode();
            let directory = new_directory(work, root, None, DirCounts::default());
            work.put_row(key::inode(root), &directory);
            let row = BucketRow {
                root,
                created: work.now,
                stream: StreamId::default(),
                key: bucket_key,
                rules: first_rules(&*work.txn, &owner, &options)?,
                settings: options.settings,
                owner,
            };
            work.txn.stream(row.stream);
            work.put_row(key::usage(root), &Usage::default());
            work.put_bucket(name, &row);
            work.changes.bucket(name);
            Ok(row)
        })
    }

    fn new_owner(
        &self,
        who: &Authenticated,
        name: &BucketName,
        options: &BucketOptions,
    ) -> StoreResult<String> {
        let snapshot = self.snapshot();
        self.decide(&snapshot, who, Action::CreateBucket, Some(name))?;
        match &options.owner {
            Some(owner) if Some(owner.as_str()) != who.name() => {
                access::decide_admin(&snapshot, who)?;
                Ok(owner.clone())
            }
            _ => Ok(who.name().unwrap_or_default().to_owned()),
        }
    }

    pub(crate) async fn bucket_delete(&self, who: &Authenticated, name: &BucketName) -> StoreResult<()> {
        let done = self.bucket_remove(who, name)?;
        self.settle(done.lsn, done.value.stream, done.value.settings.level).await
    }

    /// The commits of it.
    pub(crate) fn bucket_remove(
        &self,
        who: &Authenticated,
        name: &BucketName,
    ) -> StoreResult<Done<BucketRow>> {
        let row = self.bucket(&self.snapshot(), who, Action::DeleteBucket, name)?;
        let check = |work: &Work<'_, '_>| {
            let row = work.same_bucket(who, Action::DeleteBucket, name, row.root)?;
            work.check_empty(row.root)
        };
        // Unfinished uploads do not keep a bucket; many of them must not make one long commit.
        loop {
            match self.abort_some(&row, check) {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) if error.kind() == StoreErrorKind::BucketNotEmpty => {
                    return Err(self.not_empty(name, row.root)?);
                }
                Err(error) => return Err(error),
            }
        }
        let done = self.commit(|work| {
            check(work)?;
            if !rows::under(&*work.txn, &key::uploads(row.root), &[], 1)?.is_empty() {
                return Err(StoreError::new(
                    StoreErrorKind::BucketNotEmpty,
                    "an upload was begun while the bucket was being deleted",
                ));
            }
            for (document, _) in rows::under(&*work.txn, &key::documents(row.root), &[], SCAN_PAGE)? {
                work.txn.delete(document.to_vec());
            }
            work.txn.delete(key::usage(row.root));
            // Of an account that holds nothing more no count need be kept.
            if load_account_usage(&*work.txn, &row.owner)? == Some(Usage::default()) {
                work.txn.delete(key::account_usage(&row.owner));
            }
            work.txn.delete(key::inode(row.root));
            work.txn.delete(key::bucket(name));
            work.txn.stream(row.stream);
            work.changes.bucket(name);
            Ok(())
        })?;
        self.refresh_logged(name)?;
        Ok(Done { value: row, lsn: done.lsn })
    }

    pub(crate) fn bucket_head(
        &self,
        who: &Authenticated,
        name: &BucketName,
        action: Action,
    ) -> StoreResult<BucketInfo> {
        let row = self.bucket(&self.snapshot(), who, action, name)?;
        Ok(info(name, &row))
    }

    pub(crate) fn bucket_owner(&self, name: &BucketName) -> StoreResult<String> {
        let row = load_bucket(&self.snapshot(), name)?.ok_or(StoreErrorKind::NoSuchBucket)?;
        Ok(row.owner)
    }

    /// Changes a bucket's rules in one commit.
    pub(crate) async fn change_rules(
        &self,
        who: &Authenticated,
        action: Action,
        name: &BucketName,
        change: impl FnOnce(&mut Work<'_, '_>, &mut BucketRow) -> StoreResult<()>,
    ) -> StoreResult<()> {
        let done = self.commit(|work| {
            let mut row = self.bucket(&*work.txn, who, action, name)?;
            let before = row.clone();
            change(work, &mut row)?;
            if row != before {
                work.put_bucket(name, &row);
            }
            work.txn.stream(row.stream);
            Ok((row.stream, row.settings.level))
        })?;
        let (stream, level) = done.value;
        self.settle(done.lsn, stream, level).await
    }

    pub(crate) fn bucket_usage(&self, who: &Authenticated, name: &BucketName) -> StoreResult<Usage> {
        let snapshot = self.snapshot();
        let row = self.bucket(&snapshot, who, Action::ListBucket, name)?;
        load_usage(&snapshot, row.root)
    }

    pub(crate) fn bucket_list(
        &self,
        who: &Authenticated,
        request: &BucketListRequest,
    ) -> StoreResult<BucketListPage> {
        let snapshot = self.snapshot();
        self.decide(&snapshot, who, Action::ListBuckets, None)?;
        let all = who.frontend() == gw_types::Frontend::Admin;
        let max = request.max.min(LIST_PAGE_MAX);
        let prefix = key::buckets(&request.prefix);
        let mut from = request.after.as_ref().map_or_else(Vec::new, |name| key::after(&key::bucket(name)));
        let mut page = BucketListPage { buckets: Vec::new(), next: None };
        loop {
            let found = rows::under(&snapshot, &prefix, &from, SCAN_PAGE)?;
            for (row_key, value) in &found {
                let row = BucketRow::decode(value)?;
                if !all && who.name() != Some(row.owner.as_str()) {
                    continue;
                }
                if page.buckets.len() == max {
                    page.next = page.buckets.last().map(|bucket| bucket.name.clone());
                    return Ok(page);
                }
                page.buckets.push(info(&bucket_name(row_key)?, &row));
            }
            match found.last() {
                Some((last, _)) if found.len() == SCAN_PAGE => from = key::after(last),
                _ => return Ok(page),
            }
        }
    }

    async fn change_settings(
        &self,
        who: &Authenticated,
        action: Action,
        name: &BucketName,
        change: impl FnOnce(&mut BucketSettings, &BucketRules) -> StoreResult<()>,
    ) -> StoreResult<()> {
        self.change_rules(who, action, name, |_, row| change(&mut row.settings, &row.rules)).await
    }

    pub(crate) async fn bucket_versioning_set(
        &self,
        who: &Authenticated,
        name: &BucketName,
        versioning: Versioning,
    ) -> StoreResult<()> {
        self.change_settings(who, Action::PutBucketVersioning, name, |settings, rules| {
            if rules.lock.is_some() && versioning != Versioning::Enabled {
                return Err(StoreError::new(
                    StoreErrorKind::InvalidBucketState,
                    "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
                ));
            }
            if versioning == Versioning::Off && settings.versioning != Versioning::Off {
                return Err(StoreError::new(
                    StoreErrorKind::InvalidBucketState,
                    "versioning that was on can be suspended, not turned off",
                ));
            }
            settings.versioning = versioning;
            Ok(())
        })
        .await
    }

    pub(crate) async fn bucket_quota_set(
        &self,
        who: &Authenticated,
        name: &BucketName,
        quota: Quota,
    ) -> StoreResult<()> {
        self.change_settings(who, Action::Administer, name, |settings, _| {
            settings.quota = quota;
            Ok(())
        })
        .await
    }

    pub(crate) async fn bucket_level_set(
        &self,
        who: &Authenticated,
        name: &BucketName,
        level: Level,
    ) -> StoreResult<()> {
        self.change_settings(who, Action::ConfigureBucket, name, |settings, _| {
            settings.level = level;
            Ok(())
        })
        .await
    }

    pub(crate) fn bucket_document(
        &self,
        who: &Authenticated,
        name: &BucketName,
        (document, action): (&str, Action),
    ) -> StoreResult<Option<Bytes>> {
        let snapshot = self.snapshot();
        let row = self.bucket(&snapshot, who, action, name)?;
        Ok(snapshot.get(&key::document(row.root, document))?)
    }

    pub(crate) async fn bucket_document_set(
        &self,
        who: &Authenticated,
        name: &BucketName,
        (document, action): (&str, Action),
        value: Option<Bytes>,
    ) -> StoreResult<()> {
        if !(1..=DOCUMENT_NAME_BYTES_MAX).contains(&document.len()) {
            return Err(StoreError::invalid("the name of a document has 1 to 64 bytes"));
        }
        if value.as_ref().is_some_and(|value| value.len() > DOCUMENT_BYTES_MAX) {
            return Err(StoreErrorKind::EntityTooLarge.into());
        }
        self.change_rules(who, action, name, |work, row| {
            if document == CORS {
                row.rules.cors = value.is_some();
            }
            work.set_document(row.root, document, value.as_deref())
        })
        .await
    }
}

pub(crate) fn bucket_name(row_key: &[u8]) -> StoreResult<BucketName> {
    key::bucket_name(row_key).ok_or_else(|| StoreError::corrupt("a bucket's row has no bucket's name"))
}

fn check_free(owner: &str, there: Option<&BucketRow>) -> StoreResult<()> {
    match there {
        None => Ok(()),
        Some(row) if row.owner == owner => Err(StoreErrorKind::BucketAlreadyOwnedByYou.into()),
        Some(_) => Err(StoreErrorKind::BucketAlreadyExists.into()),
    }
}

/// Rules that a bucket is made with.
fn first_rules(read: &impl Read, owner: &str, options: &BucketOptions) -> StoreResult<BucketRules> {
    let mut rules = options.rules.clone();
    if rules.acls_count() {
        if let Some(acl) = &options.acl {
            rules.acl = access::accept(read, &rules, (owner, owner), acl)?;
        }
    } else if options.acl.as_ref().is_some_and(|acl| *acl != AclRequest::Canned(CannedAcl::Private)) {
        return Err(StoreErrorKind::InvalidBucketAcl.into());
    }
    Ok(rules)
}

impl Work<'_, '_> {
    pub(crate) fn put_bucket(&mut self, name: &BucketName, row: &BucketRow) {
        self.txn.put(key::bucket(name), row.encode());
    }

    /// Sets or removes a document of a bucket.
    pub(crate) fn set_document(
        &mut self,
        bucket: InodeId,
        document: &str,
        value: Option<&[u8]>,
    ) -> StoreResult<()> {
        let document_key = key::document(bucket, document);
        match value {
            Some(value) => self.txn.put(document_key, value.to_vec()),
            None if self.txn.get(&document_key)?.is_some() => self.txn.delete(document_key),
            None => {}
        }
        Ok(())
    }

    /// Names that S3 does not list count too: they are somebody's files.
    fn check_empty(&self, root: InodeId) -> StoreResult<()> {
        let row: InodeRow = rows::must(&*self.txn, "inode", &key::inode(root))?;
        match row.body {
            InodeBody::Directory(counts) if counts.is_vacant() => Ok(()),
            _ => Err(StoreErrorKind::BucketNotEmpty.into()),
        }
    }
}
