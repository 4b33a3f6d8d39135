//! Keys of the store's rows. Numbers are big endian, so that bytewise order is their order.
//!
//! ```text
//!   10 user        | name
//!   11 access key  | access key
//!   12 bucket      | name
//!   13 document    | bucket(8) | name
//!   14 usage       | bucket(8)
//!   15 entity      | account | 00 | kind | name in lower case     a user, group, role or policy
//!   16 revision    | account                       of the account's entities
//!   17 last use    | access key
//!   18 inode       | inode(8)
//!   19 dentry      | parent(8) | name            a leaf
//!                  | parent(8) | name '/'        a directory
//!   1a version     | parent(8) | esc(name) | !seq(8)      noncurrent, newest first
//!   1b null        | parent(8) | name            where the noncurrent null version is
//!   1c parts       | inode(8)
//!   1d working    | inode(8)                   files that are worked on
//!   1e orphan      | inode(8)
//!   1f account use | account                       what all its buckets hold
//!   20 upload      | bucket(8) | esc(key) | seq(8)
//!   21 part        | upload(8) | number(2)
//!   22 completed   | bucket(8) | esc(key) | seq(8)
//!   23 completed at| time(8) | rest of the 22 key
//!   24 sweep       | upload(8)
//!   25 doomed      | inode(8)
//!   26 event       | target | 00 | seq(8)     waits to be told
//!   27 outbox      | target
//!   28 volume      | inode(8)
//!   29 snapshot    | inode(8) | name
//!   2a export      | name
//!   30 kms key     | name
//!   31 kept        | day(4)                    versions that stay till then
//! ```
//!
//! A bucket is named by its root directory's inode, which is never reused. `esc` writes `00` as
//! `00 01` and ends with `00 00`: the one ending that sorts a name before every longer name that
//! begins with it, which the numbers behind it would otherwise upset. A name never holds `/`, so a
//! dentry's kind is its last byte, and bytewise order of dentries is the order of full keys.

use gw_types::{BucketName, InodeId, Timestamp, UploadSeq, VersionSeq};

use crate::api::{EventSeq, IamKind, PartNumber};

const USER: u8 = 0x10;
const ACCESS_KEY: u8 = 0x11;
const BUCKET: u8 = 0x12;
const DOCUMENT: u8 = 0x13;
const USAGE: u8 = 0x14;
const ENTITY: u8 = 0x15;
const REVISION: u8 = 0x16;
const LAST_USE: u8 = 0x17;
pub(crate) const INODE: u8 = 0x18;
const DENTRY: u8 = 0x19;
const VERSION: u8 = 0x1a;
const NULL_VERSION: u8 = 0x1b;
const PARTS: u8 = 0x1c;
const WORKING: u8 = 0x1d;
const ORPHAN: u8 = 0x1e;
const ACCOUNT_USAGE: u8 = 0x1f;
const UPLOAD: u8 = 0x20;
pub(crate) const PART: u8 = 0x21;
const COMPLETED: u8 = 0x22;
const COMPLETED_AT: u8 = 0x23;
const SWEEP: u8 = 0x24;
pub(crate) const DOOMED: u8 = 0x25;
const EVENT: u8 = 0x26;
const OUTBOX: u8 = 0x27;
const VOLUME: u8 = 0x28;
pub(crate) const SNAPSHOT: u8 = 0x29;
const EXPORT: u8 = 0x2a;
const KMS_KEY: u8 = 0x30;
const KEPT: u8 = 0x31;

/// Tables whose rows may hold maps.
pub(crate) const WITH_MAPS: [u8; 4] = [INODE, PART, DOOMED, SNAPSHOT];

/// Bytes before the name in keys with one id.
pub(crate) const ID_PREFIX_LEN: usize = 9;

fn text(table: u8, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(table);
    key.extend_from_slice(name.as_bytes());
    key
}

fn id(table: u8, id: u64, more: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(ID_PREFIX_LEN + more);
    key.push(table);
    key.extend_from_slice(&id.to_be_bytes());
    key
}

fn named(table: u8, owner: u64, name: &[u8]) -> Vec<u8> {
    let mut key = id(table, owner, name.len());
    key.extend_from_slice(name);
    key
}

fn escape_into(key: &mut Vec<u8>, name: &[u8]) {
    for &byte in name {
        key.push(byte);
        if byte == 0 {
            key.push(1);
        }
    }
    key.extend_from_slice(&[0, 0]);
}

/// Splits an escaped name from what follows it.
fn unescape(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut name = Vec::with_capacity(bytes.len());
    let mut at = 0;
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (0, Some(0)) => return Some((name, &bytes[at + 2..])),
            (0, Some(1)) => {
                name.push(0);
                at += 2;
            }
            (0, _) => return None,
            (&byte, _) => {
                name.push(byte);
                at += 1;
            }
        }
    }
}

/// The first key behind every key with this prefix; `None`: there is none.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}

/// The first key behind this one.
pub(crate) fn after(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}

pub(crate) fn user(name: &str) -> Vec<u8> {
    text(USER, name)
}

pub(crate) fn users() -> [u8; 1] {
    [USER]
}

pub(crate) fn access_key(access_key: &str) -> Vec<u8> {
    text(ACCESS_KEY, access_key)
}

/// All entities of one kind in an account. Names of accounts hold no zero byte.
pub(crate) fn entities(account: &str, kind: IamKind) -> Vec<u8> {
    let mut key = text(ENTITY, account);
    key.push(0);
    key.push(match kind {
        IamKind::User => b'u',
        IamKind::Group => b'g',
        IamKind::Role => b'r',
        IamKind::Policy => b'p',
    });
    key
}

/// Everything of an account.
pub(crate) fn all_entities(account: &str) -> Vec<u8> {
    let mut key = text(ENTITY, account);
    key.push(0);
    key
}

/// Names that differ in case only are one.
pub(crate) fn entity(account: &str, kind: IamKind, name: &str) -> Vec<u8> {
    let mut key = entities(account, kind);
    key.extend(name.bytes().map(|byte| byte.to_ascii_lowercase()));
    key
}

pub(crate) fn revision(account: &str) -> Vec<u8> {
    text(REVISION, account)
}

pub(crate) fn last_use(access_key: &str) -> Vec<u8> {
    text(LAST_USE, access_key)
}

pub(crate) fn account_usage(account: &str) -> Vec<u8> {
    text(ACCOUNT_USAGE, account)
}

pub(crate) fn bucket(name: &BucketName) -> Vec<u8> {
    text(BUCKET, name.as_str())
}

/// All buckets whose names begin so.
pub(crate) fn buckets(prefix: &str) -> Vec<u8> {
    text(BUCKET, prefix)
}

pub(crate) fn bucket_name(key: &[u8]) -> Option<BucketName> {
    BucketName::new(std::str::from_utf8(key.get(1..)?).ok()?).ok()
}

pub(crate) fn document(bucket: InodeId, name: &str) -> Vec<u8> {
    named(DOCUMENT, bucket.0, name.as_bytes())
}

pub(crate) fn documents(bucket: InodeId) -> Vec<u8> {
    id(DOCUMENT, bucket.0, 0)
}

pub(crate) fn usage(bucket: InodeId) -> Vec<u8> {
    id(USAGE, bucket.0, 0)
}

pub(crate) fn inode(inode: InodeId) -> Vec<u8> {
    id(INODE, inode.0, 0)
}

pub(crate) fn parts_of(inode: InodeId) -> Vec<u8> {
    id(PARTS, inode.0, 0)
}

pub(crate) fn orphan(inode: InodeId) -> Vec<u8> {
    id(ORPHAN, inode.0, 0)
}

pub(crate) fn orphans() -> [u8; 1] {
    [ORPHAN]
}

/// `name` ends with `/` for a directory.
pub(crate) fn dentry(parent: InodeId, name: &[u8]) -> Vec<u8> {
    named(DENTRY, parent.0, name)
}

pub(crate) fn dentries(parent: InodeId) -> Vec<u8> {
    id(DENTRY, parent.0, 0)
}

pub(crate) fn version(parent: InodeId, name: &[u8], seq: VersionSeq) -> Vec<u8> {
    let mut key = versions_of(parent, name);
    key.extend_from_slice(&(!seq.0).to_be_bytes());
    key
}

/// All versions of one name.
pub(crate) fn versions_of(parent: InodeId, name: &[u8]) -> Vec<u8> {
    let mut key = id(VERSION, parent.0, name.len() + 10);
    escape_into(&mut key, name);
    key
}

/// Where versions of `name`, and of every name after it, begin.
pub(crate) fn versions_from(parent: InodeId, name: &[u8]) -> Vec<u8> {
    let mut key = versions_of(parent, name);
    key.truncate(key.len() - 2);
    key
}

pub(crate) fn versions(parent: InodeId) -> Vec<u8> {
    id(VERSION, parent.0, 0)
}

/// Name and version of a version row's key.
pub(crate) fn version_parts(key: &[u8]) -> Option<(Vec<u8>, VersionSeq)> {
    let (name, rest) = unescape(key.get(ID_PREFIX_LEN..)?)?;
    Some((name, VersionSeq(!u64::from_be_bytes(rest.try_into().ok()?))))
}

pub(crate) fn null_version(parent: InodeId, name: &[u8]) -> Vec<u8> {
    named(NULL_VERSION, parent.0, name)
}

pub(crate) fn upload(bucket: InodeId, key: &[u8], seq: UploadSeq) -> Vec<u8> {
    upload_in(UPLOAD, bucket, key, seq)
}

pub(crate) fn completed(bucket: InodeId, key: &[u8], seq: UploadSeq) -> Vec<u8> {
    upload_in(COMPLETED, bucket, key, seq)
}

fn upload_in(table: u8, bucket: InodeId, key: &[u8], seq: UploadSeq) -> Vec<u8> {
    let mut row = id(table, bucket.0, key.len() + 10);
    escape_into(&mut row, key);
    row.extend_from_slice(&seq.0.to_be_bytes());
    row
}

pub(crate) fn uploads(bucket: InodeId) -> Vec<u8> {
    id(UPLOAD, bucket.0, 0)
}

/// Where uploads to keys `>= key` begin: an escaped key without its ending sorts before all of them.
pub(crate) fn uploads_from(bucket: InodeId, key: &[u8]) -> Vec<u8> {
    let mut row = id(UPLOAD, bucket.0, key.len() + 10);
    escape_into(&mut row, key);
    row.truncate(row.len() - 2);
    row
}

/// Object key and upload of an upload row's key.
pub(crate) fn upload_parts(key: &[u8]) -> Option<(Vec<u8>, UploadSeq)> {
    let (name, rest) = unescape(key.get(ID_PREFIX_LEN..)?)?;
    Some((name, UploadSeq(u64::from_be_bytes(rest.try_into().ok()?))))
}

pub(crate) fn part(upload: UploadSeq, number: PartNumber) -> Vec<u8> {
    let mut key = id(PART, upload.0, 2);
    key.extend_from_slice(&number.get().to_be_bytes());
    key
}

pub(crate) fn parts(upload: UploadSeq) -> Vec<u8> {
    id(PART, upload.0, 0)
}

pub(crate) fn part_number(key: &[u8]) -> Option<PartNumber> {
    PartNumber::new(u16::from_be_bytes(key.get(ID_PREFIX_LEN..)?.try_into().ok()?))
}

/// The row that finds a completed row by its age.
pub(crate) fn completed_at(at: Timestamp, completed: &[u8]) -> Vec<u8> {
    let mut key = id(COMPLETED_AT, at.0.max(0) as u64, completed.len());
    key.extend_from_slice(&completed[1..]);
    key
}

pub(crate) fn all_completed_at() -> [u8; 1] {
    [COMPLETED_AT]
}

/// When, and the completed row's key.
pub(crate) fn completed_at_parts(key: &[u8]) -> Option<(Timestamp, Vec<u8>)> {
    let at = u64::from_be_bytes(key.get(1..ID_PREFIX_LEN)?.try_into().ok()?);
    let mut completed = vec![COMPLETED];
    completed.extend_from_slice(key.get(ID_PREFIX_LEN..)?);
    Some((Timestamp(i64::try_from(at).ok()?), completed))
}

pub(crate) fn sweep(upload: UploadSeq) -> Vec<u8> {
    id(SWEEP, upload.0, 0)
}

pub(crate) fn sweeps() -> [u8; 1] {
    [SWEEP]
}

pub(crate) fn doomed(inode: InodeId) -> Vec<u8> {
    id(DOOMED, inode.0, 0)
}

pub(crate) fn all_doomed() -> [u8; 1] {
    [DOOMED]
}

/// A file whose newest bytes S3 does not see.
pub(crate) fn working(inode: InodeId) -> Vec<u8> {
    id(WORKING, inode.0, 0)
}

pub(crate) fn all_working() -> [u8; 1] {
    [WORKING]
}

pub(crate) fn volume(inode: InodeId) -> Vec<u8> {
    id(VOLUME, inode.0, 0)
}

pub(crate) fn volumes() -> [u8; 1] {
    [VOLUME]
}

pub(crate) fn snapshot(inode: InodeId, name: &str) -> Vec<u8> {
    named(SNAPSHOT, inode.0, name.as_bytes())
}

pub(crate) fn snapshots(inode: InodeId) -> Vec<u8> {
    id(SNAPSHOT, inode.0, 0)
}

pub(crate) fn export(name: &str) -> Vec<u8> {
    text(EXPORT, name)
}

pub(crate) fn exports() -> [u8; 1] {
    [EXPORT]
}

/// All events that wait for a target, whose name holds no zero byte.
pub(crate) fn events(target: &str) -> Vec<u8> {
    let mut key = text(EVENT, target);
    key.push(0);
    key
}

pub(crate) fn event(target: &str, seq: EventSeq) -> Vec<u8> {
    let mut key = events(target);
    key.extend_from_slice(&seq.0.to_be_bytes());
    key
}

pub(crate) fn event_seq(key: &[u8]) -> Option<EventSeq> {
    let at = key.len().checked_sub(8)?;
    Some(EventSeq(u64::from_be_bytes(key[at..].try_into().ok()?)))
}

pub(crate) fn outbox(target: &str) -> Vec<u8> {
    text(OUTBOX, target)
}

pub(crate) fn outboxes() -> [u8; 1] {
    [OUTBOX]
}

/// Days since 1970.
pub(crate) fn kept(day: u32) -> Vec<u8> {
    let mut key = vec![KEPT];
    key.extend_from_slice(&day.to_be_bytes());
    key
}

pub(crate) fn kept_days() -> [u8; 1] {
    [KEPT]
}

pub(crate) fn kept_day(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.get(1..)?.try_into().ok()?))
}

pub(crate) fn kms_key(name: &str) -> Vec<u8> {
    text(KMS_KEY, name)
}

pub(crate) fn kms_keys() -> [u8; 1] {
    [KMS_KEY]
}

/// The number behind the table byte.
pub(crate) fn id_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(1..ID_PREFIX_LEN)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use gw_types::{InodeId, UploadSeq, VersionSeq};

    use super::{after_prefix, dentry, id_of, upload, upload_parts, version, version_parts, versions_from};

    #[test]
    fn versions_sort_by_name_then_newest_first() {
        let parent = InodeId(3);
        let names: [&[u8]; 7] = [b"", b"\0", b"\0\0", b"\0\x01", b"a", b"a\0", b"a!"];
        let mut keys = Vec::new();
        for name in names {
            for seq in [9, 2] {
                keys.push((version(parent, name, VersionSeq(seq)), name.to_vec(), VersionSeq(seq)));
            }
        }
        for pair in keys.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{:?} {:?}", pair[0], pair[1]);
        }
        for (key, name, seq) in keys {
            assert_eq!(version_parts(&key), Some((name.clone(), seq)));
            assert!(versions_from(parent, &name) < key);
            assert_eq!(id_of(&key), Some(3));
        }
    }

    #[test]
    fn uploads_sort_by_key_then_age() {
        let bucket = InodeId(1);
        let key = |name: &str, seq| upload(bucket, name.as_bytes(), UploadSeq(seq));
        assert!(key("a", 1) < key("a", 2));
        assert!(key("a", u64::MAX) < key("a\0", 1));
        assert!(key("a/b", 7) > key("a", 7));
        assert_eq!(upload_parts(&key("a\0b", 5)), Some((b"a\0b".to_vec(), UploadSeq(5))));
    }

    #[test]
    fn the_end_of_a_prefix_is_behind_all_of_it() {
        assert_eq!(after_prefix(b"a\xff"), Some(b"b".to_vec()));
        assert_eq!(after_prefix(b"\xff"), None);
        assert!(dentry(InodeId(255), b"x") < after_prefix(&super::dentries(InodeId(255))).unwrap());
    }
}
