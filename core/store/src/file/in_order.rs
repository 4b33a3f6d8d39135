//! MD5 of files that are written once, in order, so that what a program copies to a mount has the ETag
//! that a PUT of the same bytes has.
//!
//! The first write to an empty file begins a digest; each write at its end carries it on. Every commit
//! that changes a file is counted ([`InOrder::changed`]), so whatever else happens to the bytes (another
//! writer, a write elsewhere, a truncation, a hole) is noticed, and the file is published without a
//! digest. Nothing here is durable: after a crash the ETag is an opaque one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use gw_types::InodeId;
use parking_lot::Mutex;

use crate::digest::BodyDigest;

/// Files that are followed at the same time; what comes then is published without a digest.
const FILES_MAX: usize = 4096;

/// The files that are being written in order.
#[derive(Debug, Default)]
pub(crate) struct InOrder {
    files: Mutex<HashMap<InodeId, Following>>,
    count: AtomicUsize,
    begun: AtomicUsize,
}

#[derive(Debug)]
struct Following {
    begun: usize,
    /// Commits that have changed the file since.
    changes: u64,
    /// Those that the digest has.
    digested: u64,
    /// Bytes of it.
    len: u64,
    /// `None` while somebody carries it on.
    digest: Option<BodyDigest>,
    /// The digest of `len` bytes, where it was asked for.
    so_far: Option<[u8; 16]>,
}

/// A digest that somebody carries on.
#[derive(Debug)]
pub(crate) struct Taken {
    begun: usize,
    digest: BodyDigest,
}

impl InOrder {
    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<InodeId, Following>) -> T) -> T {
        let mut files = self.files.lock();
        let done = act(&mut files);
        self.count.store(files.len(), Ordering::Release);
        done
    }

    /// A file is empty and will be written.
    pub(crate) fn begin(&self, inode: InodeId) {
        let begun = self.begun.fetch_add(1, Ordering::Relaxed);
        let digest = Some(BodyDigest::default());
        let following = Following { begun, changes: 0, digested: 0, len: 0, digest, so_far: None };
        self.with(|files| {
            if files.len() < FILES_MAX {
                files.insert(inode, following);
            }
        });
    }

    /// A commit changes a file. Called within it, and so once too often when it fails.
    pub(crate) fn changed(&self, inode: InodeId) {
        if self.is_empty() {
            return;
        }
        if let Some(following) = self.files.lock().get_mut(&inode) {
            following.changes += 1;
        }
    }

    /// The digest, where the next bytes are the ones it lacks.
    pub(crate) fn take(&self, inode: InodeId, offset: u64) -> Option<Taken> {
        if self.is_empty() {
            return None;
        }
        self.with(|files| {
            let following = files.get_mut(&inode)?;
            if following.changes != following.digested || following.len != offset {
                files.remove(&inode);
                return None;
            }
            let begun = following.begun;
            match following.digest.take() {
                Some(digest) => Some(Taken { begun, digest }),
                None => {
                    files.remove(&inode);
                    None
                }
            }
        })
    }

    /// Carries a digest on with the bytes of one commit.
    pub(crate) async fn carry_on(&self, inode: InodeId, taken: Taken, bytes: Bytes) {
        let Taken { begun, mut digest } = taken;
        let len = bytes.len() as u64;
        let done = digest.update(bytes).await.is_ok();
        self.with(|files| match files.get_mut(&inode) {
            Some(following) if following.begun == begun => {
                if done && following.changes == following.digested + 1 {
                    following.digested += 1;
                    following.len += len;
                    following.digest = Some(digest);
                    following.so_far = None;
                } else {
                    files.remove(&inode);
                }
            }
            _ => {}
        });
    }

    /// Has the digest of what is there ready for [`InOrder::md5`].
    pub(crate) async fn settle(&self, inode: InodeId) {
        if self.is_empty() {
            return;
        }
        let taken = self.with(|files| {
            let following = files.get_mut(&inode)?;
            let current = following.changes == following.digested && following.so_far.is_none();
            Some((following.begun, current.then(|| following.digest.take())??))
        });
        let Some((begun, mut digest)) = taken else { return };
        let so_far = digest.so_far().await.ok();
        self.with(|files| {
            if let Some(following) = files.get_mut(&inode).filter(|following| following.begun == begun) {
                (following.digest, following.so_far) = (Some(digest), so_far);
            }
        });
    }

    /// MD5 of all bytes of a file of this length. Asked within the commit that publishes it.
    pub(crate) fn md5(&self, inode: InodeId, len: u64) -> Option<[u8; 16]> {
        if self.is_empty() {
            return None;
        }
        let files = self.files.lock();
        let following = files.get(&inode)?;
        let is_whole = following.changes == following.digested && following.len == len;
        following.so_far.filter(|_| is_whole)
    }

    /// Nobody writes any more.
    pub(crate) fn forget(&self, inode: InodeId) {
        if !self.is_empty() {
            self.with(|files| files.remove(&inode));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use gw_types::InodeId;

    use super::InOrder;
    use crate::digest::md5;

    const FILE: InodeId = InodeId(7);

    async fn write(all: &InOrder, offset: u64, bytes: &'static [u8]) {
        let taken = all.take(FILE, offset);
        all.changed(FILE);
        if let Some(taken) = taken {
            all.carry_on(FILE, taken, Bytes::from_static(bytes)).await;
        }
    }

    async fn digest(all: &InOrder, len: u64) -> Option<[u8; 16]> {
        all.settle(FILE).await;
        all.md5(FILE, len)
    }

    #[tokio::test]
    async fn bytes_in_order_have_their_digest_at_any_time() {
        let all = InOrder::default();
        all.begin(FILE);
        write(&all, 0, b"one ").await;
        assert_eq!(digest(&all, 4).await, Some(md5(&[b"one "])));
        write(&all, 4, b"two").await;
        assert_eq!(all.md5(FILE, 7), None, "nobody has asked for it yet");
        assert_eq!(digest(&all, 7).await, Some(md5(&[b"one two"])));
        assert_eq!(all.md5(FILE, 6), None);
        all.forget(FILE);
        assert_eq!(digest(&all, 7).await, None);
    }

    #[tokio::test]
    async fn anything_else_ends_the_digest() {
        for what in 0..3 {
            let all = InOrder::default();
            all.begin(FILE);
            write(&all, 0, b"one").await;
            match what {
                // A change that is not a write, a write elsewhere, a write during a write.
                0 => all.changed(FILE),
                1 => write(&all, 1, b"x").await,
                _ => {
                    let taken = all.take(FILE, 3).unwrap();
                    write(&all, 3, b"y").await;
                    all.changed(FILE);
                    all.carry_on(FILE, taken, Bytes::from_static(b"z")).await;
                }
            }
            assert_eq!(digest(&all, 3).await, None, "{what}");
            assert_eq!(digest(&all, 4).await, None, "{what}");
            write(&all, 3, b"more").await;
            assert_eq!(digest(&all, 7).await, None, "{what}");
        }
    }
}
