//! Emptying a bucket, and saying what keeps one from being deleted.
//!
//! A bucket is deleted when nothing is left in it. S3 shows objects, versions and delete markers; a
//! mount may have left more: links, pipes, devices, names that are no UTF-8, files that nobody has
//! closed yet. The refusal counts those, because whoever gets it cannot see them. Clearing takes
//! everything away, in commits of [`BATCH`] things each, so that no other write waits long, and is done
//! again from the beginning until a step finds nothing: what is written meanwhile goes as well. It can be
//! broken off at any point; every commit leaves a sound bucket. What is under lock stays and ends it.
//!
//! Within a directory history goes first, of each name the oldest version first, then leaves, then what
//! is below: so a name without a leaf has a delete marker on top of its history until the last row, as it
//! must. No events are told of what is cleared.

use gw_db::Read;
use gw_types::{Action, Authenticated, BucketName, InodeId};

use crate::access;
use crate::api::{Cleared, VersionListRequest};
use crate::core::{Core, UsageChange, Work, load_bucket};
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::history;
use crate::namespace::{self, Presence, Spot};
use crate::object::{check_lock, find};
use crate::rows::{self, BucketRow, DentryRow, InodeBody, InodeRow, Leaf, LeafKind, VersionRow, key};

/// Things taken away in one commit.
const BATCH: usize = 128;
/// Names looked at to say what S3 does not list.
const LOOK_MAX: usize = 20_000;
const PAGE: usize = 1000;

/// Names that S3 does not list, by what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Unlisted {
    links: u64,
    pipes: u64,
    sockets: u64,
    devices: u64,
    open: u64,
    unreadable: u64,
    /// There are more than were looked at.
    more: bool,
}

impl Unlisted {
    fn add(&mut self, leaf: &Leaf) {
        let count = match leaf.kind {
            LeafKind::Symlink => &mut self.links,
            LeafKind::Fifo => &mut self.pipes,
            LeafKind::Socket => &mut self.sockets,
            LeafKind::CharDevice | LeafKind::BlockDevice => &mut self.devices,
            LeafKind::File if leaf.published.is_none() => &mut self.open,
            LeafKind::File => &mut self.unreadable,
        };
        *count += 1;
    }

    /// `None`: nothing was found.
    fn sentence(&self) -> Option<String> {
        let kinds = [
            (self.links, "symbolic link", "symbolic links"),
            (self.pipes, "pipe", "pipes"),
            (self.sockets, "socket", "sockets"),
            (self.devices, "device", "devices"),
            (self.open, "file that is still being written", "files that are still being written"),
            (self.unreadable, "file with a name that is not UTF-8", "files with names that are not UTF-8"),
        ];
        let sum: u64 = kinds.iter().map(|(count, ..)| count).sum();
        if sum == 0 {
            return None;
        }
        let told: Vec<String> = kinds
            .iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many }))
            .collect();
        let (least, entries) =
            (if self.more { "at least " } else { "" }, if sum == 1 { "entry" } else { "entries" });
        Some(format!("it holds {least}{sum} {entries} that S3 does not list: {}", told.join(", ")))
    }
}

/// Looks through a bucket for names that S3 does not list.
fn unlisted(read: &impl Read, root: InodeId) -> StoreResult<Unlisted> {
    let (mut found, mut looked) = (Unlisted::default(), 0);
    let mut directories = vec![root];
    while let Some(directory) = directories.pop() {
        let mut from = Vec::new();
        loop {
            let page = rows::under(read, &key::dentries(directory), &from, PAGE)?;
            for (row_key, value) in &page {
                let is_text = std::str::from_utf8(&row_key[key::ID_PREFIX_LEN..]).is_ok();
                match rows::decode("dentry", value)? {
                    DentryRow::Directory(directory) => directories.push(directory.inode),
                    DentryRow::Leaf(leaf) if leaf.published.is_some() && is_text => {}
                    DentryRow::Leaf(leaf) => found.add(&leaf),
                }
            }
            looked += page.len();
            if looked >= LOOK_MAX {
                found.more = true;
                return Ok(found);
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => from = key::after(last),
                _ => break,
            }
        }
    }
    Ok(found)
}

impl Core {
    /// Why a bucket is not deleted.
    pub(crate) fn not_empty(&self, name: &BucketName, root: InodeId) -> StoreResult<StoreError> {
        let plain = StoreError::from(StoreErrorKind::BucketNotEmpty);
        let Some(what) = unlisted(&self.snapshot(), root)?.sentence() else { return Ok(plain) };
        let message = format!(
            "{}; {what}. A mount shows them; `cess-gateway bucket delete {name} --with-files` deletes the bucket with them.",
            plain.message()
        );
        Ok(StoreError::new(StoreErrorKind::BucketNotEmpty, message))
    }

    /// Versions of one page that are under lock, and where the next page begins.
    pub(crate) fn bucket_locked(
        &self,
        who: &Authenticated,
        request: &VersionListRequest,
    ) -> StoreResult<(u64, Option<VersionListRequest>)> {
        access::decide_admin(&self.snapshot(), who)?;
        let snapshot = self.snapshot();
        let row = load_bucket(&snapshot, &request.bucket)?.ok_or(StoreErrorKind::NoSuchBucket)?;
        if row.rules.lock.is_none() {
            return Ok((0, None));
        }
        let page = self.list_versions(who, request)?;
        let mut locked = 0;
        for entry in page.entries.iter().filter(|entry| entry.object.is_some()) {
            let Ok(at) = gw_types::ObjectKey::new(entry.key.as_str()) else { continue };
            match find(&snapshot, row.clone(), &at, Some(entry.version_id), false) {
                Ok(found) => {
                    let judged = check_lock(&row, &found.published.attributes, self.clock.now(), false);
                    locked += u64::from(judged.is_err());
                }
                // It went between the two looks.
                Err(error) if error.kind() == StoreErrorKind::NoSuchVersion => {}
                Err(error) => return Err(error),
            }
        }
        let next = page.next.map(|(key, version)| VersionListRequest {
            key_marker: Some(key),
            version_marker: version,
            ..request.clone()
        });
        Ok((locked, next))
    }

    /// Takes away at most [`BATCH`] things in one commit; `Cleared::done` where nothing was left.
    pub(crate) async fn bucket_clear(&self, who: &Authenticated, name: &BucketName) -> StoreResult<Cleared> {
        access::decide_admin(&self.snapshot(), who)?;
        let done = self.commit(|work| {
            let row = self.bucket(&*work.txn, who, Action::DeleteBucket, name)?;
            let mut clearing =
                Clearing { room: BATCH, change: UsageChange::default(), cleared: Cleared::default() };
            work.clear(&row, &mut clearing)?;
            let Clearing { change, mut cleared, .. } = clearing;
            work.tally(&row, change, false)?;
            cleared.done = cleared.count() == 0;
            Ok((cleared, row.stream, row.settings.level))
        })?;
        let (cleared, stream, level) = done.value;
        self.settle(done.lsn, stream, level).await?;
        Ok(cleared)
    }
}

/// One commit of it.
struct Clearing {
    room: usize,
    change: UsageChange,
    cleared: Cleared,
}

impl Work<'_, '_> {
    fn clear(&mut self, bucket: &BucketRow, clearing: &mut Clearing) -> StoreResult<()> {
        let mut directories = vec![bucket.root];
        while let Some(directory) = directories.pop() {
            self.clear_history(bucket, directory, clearing)?;
            let page = rows::under(&*self.txn, &key::dentries(directory), &[], BATCH)?;
            for (row_key, value) in &page {
                if clearing.room == 0 {
                    return Ok(());
                }
                let name = row_key[key::ID_PREFIX_LEN..].to_vec();
                match rows::decode("dentry", value)? {
                    DentryRow::Leaf(leaf) => {
                        // With more history than fits, the leaf waits for the next commit.
                        let spot = Spot { parent: directory, name };
                        if history::newest(&*self.txn, &spot)?.is_none() {
                            self.clear_leaf(bucket, &spot, &leaf, clearing)?;
                        }
                    }
                    DentryRow::Directory(found) if self.is_left(found.inode)? => {
                        self.removing = Some(found.inode);
                        self.let_directory_go(found.inode)?;
                        self.removing = None;
                        clearing.room -= 1;
                        clearing.cleared.directories += 1;
                    }
                    DentryRow::Directory(found) => directories.push(found.inode),
                }
            }
        }
        Ok(())
    }

    /// A directory with nothing in it that is there because a mount holds it.
    fn is_left(&self, directory: InodeId) -> StoreResult<bool> {
        let row: InodeRow = rows::must(&*self.txn, "inode", &key::inode(directory))?;
        Ok(matches!(row.body, InodeBody::Directory(counts)
            if counts.kept && counts.entries == 0 && counts.history == 0))
    }

    /// Names descending, of each the oldest row first.
    fn clear_history(
        &mut self,
        bucket: &BucketRow,
        directory: InodeId,
        clearing: &mut Clearing,
    ) -> StoreResult<()> {
        let prefix = key::versions(directory);
        let end = key::after_prefix(&prefix).unwrap_or_default();
        for (row_key, value) in self.txn.scan(&prefix, &end, true, clearing.room)? {
            let (name, seq) = key::version_parts(&row_key)
                .ok_or_else(|| StoreError::corrupt("the key of a version row does not parse"))?;
            let row: VersionRow = rows::decode("version", &value)?;
            if let VersionRow::Object { inode, .. } = row {
                self.check_lease(inode, None)?;
                self.check_unlocked(bucket, inode, false)?;
            }
            let spot = Spot { parent: directory, name };
            let leaf = namespace::leaf(&*self.txn, &spot)?;
            self.remove_version(&spot, seq, &row, &mut clearing.change)?;
            let has_history = history::newest(&*self.txn, &spot)?.is_some();
            let (was, is) = (Presence::of(leaf.as_ref(), true), Presence::of(leaf.as_ref(), has_history));
            self.removing = Some(directory);
            self.adjust(directory, was, is)?;
            self.removing = None;
            clearing.room -= 1;
            match row {
                VersionRow::Object { .. } => clearing.cleared.versions += 1,
                VersionRow::Marker { .. } => clearing.cleared.markers += 1,
            }
        }
        Ok(())
    }

    fn clear_leaf(
        &mut self,
        bucket: &BucketRow,
        spot: &Spot,
        leaf: &Leaf,
        clearing: &mut Clearing,
    ) -> StoreResult<()> {
        self.check_lease(leaf.inode, None)?;
        if leaf.published.is_some() {
            self.check_unlocked(bucket, leaf.inode, false)?;
        }
        self.drop_current(spot, leaf, &mut clearing.change)?;
        self.set_leaf(spot, None);
        self.removing = Some(spot.parent);
        self.adjust(spot.parent, Presence::of(Some(leaf), false), Presence::default())?;
        self.removing = None;
        clearing.room -= 1;
        match (leaf.published, std::str::from_utf8(&spot.name)) {
            (Some(_), Ok(_)) => clearing.cleared.objects += 1,
            _ => clearing.cleared.unlisted += 1,
        }
        Ok(())
    }
}
