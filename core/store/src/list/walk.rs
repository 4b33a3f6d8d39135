//! The walk: names of a tree in bytewise order of full key, with seek.
//!
//! Each level of the stack is one directory being scanned; rows are fetched in pages that grow. In a
//! directory bytewise order of dentries (`name`, or `name/` for a directory) is the order of the full
//! keys below them, so seeking to a key is one descent: at each level the scan is set behind the
//! directory that is entered. With history, the version rows of a directory are merged in by name;
//! they follow their name's current object, newest first.

use std::collections::VecDeque;

use bytes::Bytes;
use gw_db::Read;
use gw_types::{InodeId, VersionSeq};

use crate::error::{StoreError, StoreResult};
use crate::rows::{self, DentryRow, Directory, Summary, VersionRow, key};

/// Rows of a directory fetched first. Many listings want a handful of names of a large directory.
pub(super) const FIRST_PAGE: usize = 64;
/// The same where each page is likely left by a seek.
pub(super) const FIRST_PAGE_SEEKING: usize = 16;
const PAGE_MAX: usize = 1024;

/// What comes next.
#[derive(Debug)]
pub(super) enum Step {
    /// A published leaf.
    Leaf { key: Vec<u8>, summary: Summary },
    /// A noncurrent version or a delete marker. Only in a walk with history.
    Version { key: Vec<u8>, seq: VersionSeq, row: VersionRow, latest: bool },
    /// A directory with something to show; [`Walk::enter`] it or leave it.
    Directory { path: Vec<u8>, inode: InodeId },
}

impl Step {
    pub(super) fn key(&self) -> &[u8] {
        match self {
            Self::Leaf { key, .. } | Self::Version { key, .. } => key,
            Self::Directory { path, .. } => path,
        }
    }
}

/// Rows of one kind in one directory.
#[derive(Debug)]
struct Rows {
    queue: VecDeque<(Bytes, Bytes)>,
    /// Where the next page begins; `None`: there is none.
    from: Option<Vec<u8>>,
    prefix: Vec<u8>,
    page: usize,
}

impl Rows {
    fn new(prefix: Vec<u8>, from: Vec<u8>, page: usize) -> Self {
        Self { queue: VecDeque::new(), from: Some(from), prefix, page }
    }
    fn peek(&mut self, read: &impl Read) -> StoreResult<Option<&(Bytes, Bytes)>> {
        if self.queue.is_empty()
            && let Some(from) = self.from.take()
        {
            let rows = rows::under(read, &self.prefix, &from, self.page)?;
            if rows.len() == self.page {
                self.from = rows.last().map(|(row, _)| key::after(row));
            }
            self.page = (self.page * 4).min(PAGE_MAX);
            self.queue = rows.into();
        }
        Ok(self.queue.front())
    }
}

#[derive(Debug)]
struct Level {
    directory: InodeId,
    /// Length of the directory's own path.
    path_len: usize,
    dentries: Rows,
    versions: Option<Rows>,
    /// The name last shown, whose further versions are not the latest.
    shown: Option<Vec<u8>>,
}

/// A walk over one bucket.
#[derive(Debug)]
pub(super) struct Walk<'r, R> {
    read: &'r R,
    root: InodeId,
    history: bool,
    path: Vec<u8>,
    stack: Vec<Level>,
    first_page: usize,
}

impl<'r, R: Read> Walk<'r, R> {
    /// Stands nowhere: seek first.
    pub(super) fn new(read: &'r R, root: InodeId, history: bool, first_page: usize) -> Self {
        Self { read, root, history, path: Vec::new(), stack: Vec::new(), first_page }
    }

    /// Stands before the first key that is not before `bound`.
    pub(super) fn seek(&mut self, bound: &[u8]) -> StoreResult<()> {
        self.descend(bound).map(|_| ())
    }

    /// Stands behind one version of a key, before the older ones and what follows.
    pub(super) fn seek_behind_version(&mut self, bound: &[u8], seq: VersionSeq) -> StoreResult<()> {
        if let Some(name) = self.descend(bound)?
            && let Some(level) = self.stack.last_mut()
        {
            let dentry = key::dentry(level.directory, &name);
            level.dentries.from = Some(key::after(&dentry));
            if let Some(versions) = &mut level.versions {
                versions.from = Some(key::after(&key::version(level.directory, &name, seq)));
            }
            level.shown = Some(name);
        }
        Ok(())
    }

    /// Answers the leaf's name when all directories of `bound` are there.
    fn descend(&mut self, bound: &[u8]) -> StoreResult<Option<Vec<u8>>> {
        self.stack.clear();
        self.path.clear();
        let mut directory = self.root;
        let mut rest = bound;
        while let Some(at) = rest.iter().position(|byte| *byte == b'/') {
            let (head, tail) = rest.split_at(at + 1);
            // Names hold no `/`, so whatever is not before `name/` here is behind all below it.
            self.push(directory, &key::after(head), head);
            let dentry = rows::load(self.read, "dentry", &key::dentry(directory, head))?;
            match dentry {
                Some(DentryRow::Directory(found)) if self.shows(&found) => {
                    self.path.extend_from_slice(head);
                    directory = found.inode;
                    rest = tail;
                }
                _ => return Ok(None),
            }
        }
        self.push(directory, rest, rest);
        Ok(Some(rest.to_vec()))
    }

    /// Goes into a directory that [`Walk::next`] has just named.
    pub(super) fn enter(&mut self, path: &[u8], inode: InodeId) {
        self.path.clear();
        self.path.extend_from_slice(path);
        self.push(inode, &[], &[]);
    }

    fn push(&mut self, directory: InodeId, dentries_from: &[u8], versions_from: &[u8]) {
        let from = key::dentry(directory, dentries_from);
        let dentries = Rows::new(key::dentries(directory), from, self.first_page);
        let versions = self.history.then(|| {
            let from = key::versions_from(directory, versions_from);
            Rows::new(key::versions(directory), from, self.first_page)
        });
        let path_len = self.path.len();
        self.stack.push(Level { directory, path_len, dentries, versions, shown: None });
    }

    fn shows(&self, directory: &Directory) -> bool {
        directory.visible || self.history && directory.history
    }

    /// The next name; `None` at the end.
    pub(super) fn next(&mut self) -> StoreResult<Option<Step>> {
        while let Some(level) = self.stack.last_mut() {
            self.path.truncate(level.path_len);
            let dentry = level.dentries.peek(self.read)?.map(|(row, _)| &row[key::ID_PREFIX_LEN..]);
            let version = match &mut level.versions {
                Some(versions) => versions.peek(self.read)?.map(|(row, _)| version_key(row)).transpose()?,
                None => None,
            };
            let take_version = match (&dentry, &version) {
                (Some(dentry), Some((name, _))) => name.as_slice() < *dentry,
                (None, Some(_)) => true,
                (Some(_), None) => false,
                (None, None) => {
                    self.stack.pop();
                    continue;
                }
            };
            let step = match version {
                Some((name, seq)) if take_version => self.version_step(name, seq)?,
                _ => self.dentry_step()?,
            };
            if step.is_some() {
                return Ok(step);
            }
        }
        Ok(None)
    }

    fn full_key(&self, name: &[u8]) -> Vec<u8> {
        let mut full = Vec::with_capacity(self.path.len() + name.len());
        full.extend_from_slice(&self.path);
        full.extend_from_slice(name);
        full
    }

    fn version_step(&mut self, name: Vec<u8>, seq: VersionSeq) -> StoreResult<Option<Step>> {
        let full = self.full_key(&name);
        let Some(level) = self.stack.last_mut() else { return Ok(None) };
        let Some((_, value)) = level.versions.as_mut().and_then(|versions| versions.queue.pop_front()) else {
            return Ok(None);
        };
        let latest = level.shown.as_ref() != Some(&name);
        level.shown = Some(name);
        Ok(Some(Step::Version { key: full, seq, row: rows::decode("version", &value)?, latest }))
    }

    fn dentry_step(&mut self) -> StoreResult<Option<Step>> {
        let Some(level) = self.stack.last_mut() else { return Ok(None) };
        let Some((row, value)) = level.dentries.queue.pop_front() else { return Ok(None) };
        let name = &row[key::ID_PREFIX_LEN..];
        match rows::decode("dentry", &value)? {
            DentryRow::Leaf(leaf) => {
                let Some(summary) = leaf.published else { return Ok(None) };
                if self.history {
                    level.shown = Some(name.to_vec());
                }
                Ok(Some(Step::Leaf { key: self.full_key(name), summary }))
            }
            DentryRow::Directory(directory) => {
                let shown = self.shows(&directory);
                Ok(shown.then(|| Step::Directory { path: self.full_key(name), inode: directory.inode }))
            }
        }
    }
}

fn version_key(row: &[u8]) -> StoreResult<(Vec<u8>, VersionSeq)> {
    key::version_parts(row).ok_or_else(|| StoreError::corrupt("the key of a version row does not parse"))
}
