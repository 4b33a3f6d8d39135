//! What all verbs share: the ports, one way into a commit, one way to wait for it.
//!
//! Every change goes through [`Core::commit`]: a short synchronous closure on [`Work`], which knows
//! the transaction, hands out numbers and keeps the bucket's usage. Numbers (inodes, versions,
//! uploads) are made from the commit's own LSN, so they need no counter row, never repeat and grow
//! with time: `number = lsn << 12 | index in the commit`.

use std::sync::Arc;

use futures::future::{self, Either};
use gw_data::{Data, DataMap};
use gw_db::{Db, DbError, Read, Snapshot, Txn};
use gw_types::ports::{Clock, Keys};
use gw_types::{
    Authenticated, BucketName, InodeId, Level, Lsn, PortErrorKind, StreamId, Timestamp, UploadSeq, VersionSeq,
};

use crate::access::{Act, Identities, Policies};
use crate::api::{EventSeq, Quota, Usage};
use crate::durability::Durability;
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::events::Events;
use crate::file::InOrder;
use crate::iam::CredentialCache;
use crate::kms::NamedKeys;
use crate::logging::Logged;
use crate::pins::{Pins, Releases};
use crate::posix::{Changes, MountId, Watchers};
use crate::rows::{self, BucketRow, UserRow, key};
use crate::{StoreConfig, StorePorts};

/// Low bits of a number that count within one commit. The deepest key needs 1024 directories.
pub(crate) const INDEX_BITS: u32 = 12;

/// The store behind its handles.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) db: Arc<Db>,
    pub(crate) data: Arc<Data>,
    pub(crate) keys: Arc<dyn Keys>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) durability: Option<Arc<dyn Durability>>,
    pub(crate) config: StoreConfig,
    pub(crate) pins: Pins,
    pub(crate) credentials: CredentialCache,
    pub(crate) policies: Policies,
    pub(crate) watchers: Watchers,
    pub(crate) events: Events,
    pub(crate) logged: Logged,
    pub(crate) identities: Identities,
    pub(crate) kms: NamedKeys,
    pub(crate) in_order: InOrder,
}

/// What a commit gave.
#[derive(Debug)]
pub(crate) struct Done<T> {
    pub(crate) value: T,
    pub(crate) lsn: Lsn,
}

impl Core {
    pub(crate) fn new(ports: StorePorts, config: StoreConfig) -> Self {
        let StorePorts { db, data, keys, clock, durability } = ports;
        let credentials = CredentialCache::new(config.credentials_max);
        let events = Events::new(&config.event_targets);
        Self {
            db,
            data,
            keys,
            clock,
            durability,
            config,
            pins: Pins::default(),
            credentials,
            policies: Policies::default(),
            watchers: Watchers::default(),
            events,
            logged: Logged::default(),
            identities: Identities::default(),
            kms: NamedKeys::default(),
            in_order: InOrder::default(),
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.db.snapshot()
    }

    /// Decides and writes, all or nothing.
    pub(crate) fn commit<T>(
        &self,
        act: impl FnOnce(&mut Work<'_, '_>) -> StoreResult<T>,
    ) -> StoreResult<Done<T>> {
        self.commit_by(None, act)
    }

    /// The same for a mount, which need not be told of its own changes.
    pub(crate) fn commit_by<T, E: From<DbError>>(
        &self,
        mount: Option<MountId>,
        act: impl FnOnce(&mut Work<'_, '_>) -> Result<T, E>,
    ) -> Result<Done<T>, E> {
        let mut releases = self.pins.releases();
        let mut changes = self.watchers.begin();
        let done = self.db.transact(|txn| {
            let now = txn.now();
            let (releases, changes) = (&mut releases, &mut changes);
            let told = false;
            let mut work = Work { core: self, txn, now, index: 0, removing: None, releases, changes, told };
            let value = act(&mut work)?;
            Ok::<_, E>((value, work.told))
        })?;
        // Readers that looked before the commit and pin after it find the inode gone and look again.
        drop(releases);
        self.watchers.tell(done.lsn, mount, changes);
        let (value, told) = done.value;
        if told {
            self.events.wake();
        }
        Ok(Done { value, lsn: done.lsn })
    }

    /// Returns when the commit is as durable as asked for, and mounts know of it (as far as they
    /// listen: [`Watchers::told`]).
    pub(crate) async fn settle(&self, lsn: Lsn, stream: StreamId, level: Level) -> StoreResult<()> {
        self.secure(lsn, stream, level).await?;
        self.watchers.told(lsn, &*self.clock).await;
        Ok(())
    }

    /// Returns when the commit is as durable as asked for.
    pub(crate) async fn secure(&self, lsn: Lsn, stream: StreamId, level: Level) -> StoreResult<()> {
        self.db.wait_staged(lsn).await.map_err(|error| StoreError::from(error).maybe_done())?;
        if level == Level::Staged {
            return Ok(());
        }
        let Some(durability) = &self.durability else {
            return Err(StoreError::from(StoreErrorKind::NoTerritory).maybe_done());
        };
        let wait = durability.wait(level, stream, lsn);
        let time = self.clock.sleep(self.config.durability_wait_max);
        match future::select(wait, time).await {
            Either::Left((done, _)) => done.map_err(not_durable),
            Either::Right(_) => {
                let why = durability.standstill().unwrap_or_else(|| "dispersal is under way".to_owned());
                let message = format!("stored on the gateway, but not {level:?} in time: {why}");
                Err(StoreError::new(StoreErrorKind::NotDurable, message).maybe_done())
            }
        }
    }

    /// A bucket that `who` may use so, as it is now.
    pub(crate) fn bucket<'a>(
        &self,
        read: &impl Read,
        who: &Authenticated,
        act: impl Into<Act<'a>>,
        name: &BucketName,
    ) -> StoreResult<BucketRow> {
        // A name without a bucket is no secret.
        let row = load_bucket(read, name)?.ok_or(StoreErrorKind::NoSuchBucket)?;
        self.allow(read, who, act, (name, &row))?;
        Ok(row)
    }
}

pub(crate) fn not_durable(error: gw_types::PortError) -> StoreError {
    let kind = match error.kind() {
        PortErrorKind::Full | PortErrorKind::NotFound => StoreErrorKind::NoTerritory,
        PortErrorKind::Poisoned => StoreErrorKind::Poisoned,
        _ => StoreErrorKind::NotDurable,
    };
    StoreError::from(kind).with_source(error).maybe_done()
}

pub(crate) fn load_bucket(read: &impl Read, name: &BucketName) -> StoreResult<Option<BucketRow>> {
    match read.get(&key::bucket(name))? {
        Some(value) => BucketRow::decode(&value).map(Some),
        None => Ok(None),
    }
}

pub(crate) fn load_usage(read: &impl Read, bucket: InodeId) -> StoreResult<Usage> {
    Ok(rows::load(read, "usage", &key::usage(bucket))?.unwrap_or_default())
}

/// What all buckets of an account hold; `None`: nothing was counted yet.
pub(crate) fn load_account_usage(read: &impl Read, account: &str) -> StoreResult<Option<Usage>> {
    rows::load(read, "usage", &key::account_usage(account))
}

/// The inside of one commit.
pub(crate) struct Work<'w, 't> {
    pub(crate) core: &'w Core,
    pub(crate) txn: &'w mut Txn<'t>,
    pub(crate) now: Timestamp,
    index: u64,
    /// A directory that a mount removes: it does not stay because it is held.
    pub(crate) removing: Option<InodeId>,
    pub(crate) releases: &'w mut Releases,
    pub(crate) changes: &'w mut Changes,
    /// An event was put into a queue.
    told: bool,
}

impl Work<'_, '_> {
    /// The bucket a writer began with: `NoSuchBucket` when it was deleted since, even if there is
    /// another of the same name now.
    pub(crate) fn same_bucket<'a>(
        &self,
        who: &Authenticated,
        act: impl Into<Act<'a>>,
        name: &BucketName,
        root: InodeId,
    ) -> StoreResult<BucketRow> {
        let row = self.core.bucket(&*self.txn, who, act, name)?;
        if row.root == root { Ok(row) } else { Err(StoreErrorKind::NoSuchBucket.into()) }
    }

    pub(crate) fn number(&mut self) -> u64 {
        assert!(self.index < 1 << INDEX_BITS, "a commit takes fewer numbers than its index can count");
        let number = self.txn.lsn().0 << INDEX_BITS | self.index;
        self.index += 1;
        number
    }
    pub(crate) fn new_inode(&mut self) -> InodeId {
        InodeId(self.number())
    }
    pub(crate) fn new_version(&mut self) -> VersionSeq {
        VersionSeq(self.number())
    }
    pub(crate) fn new_upload(&mut self) -> UploadSeq {
        UploadSeq(self.number())
    }

    pub(crate) fn new_event(&mut self) -> EventSeq {
        self.told = true;
        EventSeq(self.number())
    }

    pub(crate) fn put_row<T: serde::Serialize>(&mut self, key: Vec<u8>, row: &T) {
        self.txn.put(key, rows::encode(row));
    }

    /// Gives up the bytes of an inode that is being deleted: at once, or when its last reader is
    /// done.
    pub(crate) fn give_up(&mut self, inode: InodeId, maps: Vec<DataMap>) -> StoreResult<()> {
        if self.releases.begin(inode) {
            for map in &maps {
                map.release(self.txn)?;
            }
        } else {
            // A file that is published again and again may leave several while one reader reads.
            let row = key::doomed(inode);
            let mut left: rows::DoomedRow =
                rows::load(&*self.txn, "doomed", &row)?.unwrap_or_else(|| rows::DoomedRow(Vec::new()));
            left.0.extend(maps);
            self.put_row(row, &left);
        }
        Ok(())
    }

    /// Keeps the usage of the bucket and of the account that owns it, and refuses what would pass
    /// the quota of either. Only growth is refused.
    pub(crate) fn account(&mut self, bucket: &BucketRow, change: UsageChange) -> StoreResult<()> {
        self.tally(bucket, change, true)
    }

    /// The same, where what takes something away must not fail for want of room (`refuse` is false).
    pub(crate) fn tally(&mut self, bucket: &BucketRow, change: UsageChange, refuse: bool) -> StoreResult<()> {
        self.txn.stream(bucket.stream);
        if change == UsageChange::default() {
            return Ok(());
        }
        let mut usage = load_usage(&*self.txn, bucket.root)?;
        change.apply(&mut usage)?;
        let owner = &bucket.owner;
        let mut all = match load_account_usage(&*self.txn, owner)? {
            Some(usage) => usage,
            None => self.count_account(owner)?,
        };
        change.apply(&mut all)?;
        if refuse && (change.grows() || change.adds()) {
            change.check(&bucket.settings.quota, &usage, "bucket")?;
            // An account that is gone has no quota; its buckets are the operator's.
            let user: Option<UserRow> = rows::load(&*self.txn, "user", &key::user(owner))?;
            let quota = user.map(|user| user.quota).unwrap_or_default();
            change.check(&quota, &all, "account")?;
        }
        self.put_row(key::usage(bucket.root), &usage);
        self.put_row(key::account_usage(owner), &all);
        Ok(())
    }

    /// What an account's buckets hold, from their own rows: once, for its first change.
    fn count_account(&self, account: &str) -> StoreResult<Usage> {
        const PAGE: usize = 1024;
        let (mut sum, mut from) = (Usage::default(), Vec::new());
        loop {
            let found = rows::under(&*self.txn, &key::buckets(""), &from, PAGE)?;
            for (_, value) in &found {
                let row = BucketRow::decode(value)?;
                if row.owner == account {
                    sum.add(&load_usage(&*self.txn, row.root)?);
                }
            }
            match found.last() {
                Some((last, _)) if found.len() == PAGE => from = key::after(last),
                _ => return Ok(sum),
            }
        }
    }
}

/// How a commit changes a bucket's [`Usage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UsageChange {
    pub(crate) objects: i64,
    pub(crate) noncurrent: i64,
    pub(crate) markers: i64,
    pub(crate) bytes: i64,
    pub(crate) uploads: i64,
    pub(crate) upload_bytes: i64,
}

impl UsageChange {
    fn grows(&self) -> bool {
        self.bytes + self.upload_bytes > 0
    }

    fn adds(&self) -> bool {
        self.objects + self.noncurrent > 0
    }

    /// Whether what would be is within a quota of the bucket or the account.
    fn check(&self, quota: &Quota, usage: &Usage, of: &str) -> StoreResult<()> {
        let over = |max: Option<u64>, now: u64| max.is_some_and(|max| now > max);
        let what = if self.grows() && over(quota.bytes_max, usage.bytes + usage.upload_bytes) {
            "byte"
        } else if self.adds() && over(quota.objects_max, usage.objects + usage.noncurrent) {
            "object"
        } else {
            return Ok(());
        };
        let message = format!("the {of}'s {what} quota would be passed");
        Err(StoreError::new(StoreErrorKind::QuotaExceeded, message))
    }

    fn apply(&self, usage: &mut Usage) -> StoreResult<()> {
        let add = |value: &mut u64, change: i64| match value.checked_add_signed(change) {
            Some(sum) => {
                *value = sum;
                Ok(())
            }
            None => Err(StoreError::corrupt("a bucket's usage would fall below nothing")),
        };
        add(&mut usage.objects, self.objects)?;
        add(&mut usage.noncurrent, self.noncurrent)?;
        add(&mut usage.markers, self.markers)?;
        add(&mut usage.bytes, self.bytes)?;
        add(&mut usage.uploads, self.uploads)?;
        add(&mut usage.upload_bytes, self.upload_bytes)
    }
}
