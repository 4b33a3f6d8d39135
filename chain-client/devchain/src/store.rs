//! Where the chain lives on disk. All of sled is in this file.
//!
//! Seven sled trees under one path:
//!
//! ```text
//! nodes    prefix ++ hash          -> trie node               state, as Merkle trie nodes
//! dying    prefix ++ hash          -> number (u32 BE)         node is unused since this block
//! dead     number (u32 BE)         -> SCALE Vec<node key>     what became unused in this block
//! headers  hash                    -> SCALE header
//! bodies   hash                    -> SCALE Vec<extrinsic>
//! numbers  number (u32 BE)         -> hash
//! meta     "best"|"genesis"|"form" -> hash | hash | format (u32 BE)
//! ```
//!
//! A value over 4 KiB lies in chunks of 4 KiB under `key ++ chunk (u16 BE)` of the tree `chunks`, because sled
//! writes large pages to files of their own that it never syncs. Its entry is then the number of chunks.
//!
//! ```text
//! value  = 0 ++ bytes                      up to 4096 bytes
//!        | 1 ++ chunk count (u16 BE)       else
//! ```
//!
//! **Promise:** when [`Store::commit`] returns, the block survives a power cut; when it does not return, the chain
//! reopens at the block before. Everything else is written and synced first, `best` last and synced again. sled's
//! own flush does not make its file durable on Linux (it calls `sync_file_range`), so a second handle on
//! `<path>/db` is synced after each flush. After a failed write or sync the store refuses further commits.
//!
//! States of the last [`HISTORY`] blocks can be read. A node that becomes unused is removed that many blocks later,
//! unless it came back meanwhile. Bodies and headers are kept for [`BLOCKS_KEPT`] blocks. A crash may leave nodes
//! behind that nobody uses; they only cost space.

use crate::{error::StoreError, runtime::Header};
use codec::{Decode, Encode};
use hash_db::Prefix;
use sled::{Batch, Config, Db, IVec, Tree};
use sp_core::{Blake2Hasher, H256};
use sp_state_machine::TrieBackendStorage;
use sp_trie::{DBValue, PrefixedMemoryDB, prefixed_key};
use std::{
    fs::File,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

/// How many blocks back a state can be read.
pub(crate) const HISTORY: u32 = 256;
/// How many blocks back headers and bodies are kept. The genesis header stays.
pub(crate) const BLOCKS_KEPT: u32 = 4096;
/// Format of this directory.
const FORMAT: u32 = 1;
/// Largest value that is stored in one piece; see the module's paragraph.
const CHUNK: usize = 4096;

const INLINE: u8 = 0;
const CHUNKED: u8 = 1;

/// A block to be written.
pub(crate) struct BlockRecord {
    pub(crate) header: Header,
    pub(crate) body: Vec<Vec<u8>>,
    pub(crate) changes: PrefixedMemoryDB<Blake2Hasher>,
}

/// The chain on disk.
pub(crate) struct Store {
    db: Db,
    /// The second handle on sled's file; see the module's paragraph.
    file: File,
    nodes: Tree,
    chunks: Tree,
    dying: Tree,
    dead: Tree,
    headers: Tree,
    bodies: Tree,
    numbers: Tree,
    meta: Tree,
    poisoned: AtomicBool,
}

impl Store {
    /// Opens or creates the directory. `cache_bytes` bounds sled's page cache.
    pub(crate) fn open(path: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let db = Config::new().path(path).cache_capacity(cache_bytes).flush_every_ms(None).open()?;
        let file = File::options().read(true).write(true).open(path.join("db"))?;
        let tree = |name: &str| db.open_tree(name);
        let store = Self {
            nodes: tree("nodes")?,
            chunks: tree("chunks")?,
            dying: tree("dying")?,
            dead: tree("dead")?,
            headers: tree("headers")?,
            bodies: tree("bodies")?,
            numbers: tree("numbers")?,
            meta: tree("meta")?,
            file,
            db,
            poisoned: AtomicBool::new(false),
        };
        match store.meta.get("form")? {
            Some(form) if form.as_ref() != FORMAT.to_be_bytes() => Err(StoreError::Format),
            _ => Ok(store),
        }
    }

    /// The genesis block's hash; none in a new directory.
    pub(crate) fn genesis(&self) -> Result<Option<H256>, StoreError> {
        self.meta_hash("genesis")
    }

    /// The best block's header; none in a new directory.
    pub(crate) fn best(&self) -> Result<Option<Header>, StoreError> {
        match self.meta_hash("best")? {
            None => Ok(None),
            Some(hash) => {
                self.header(&hash)?.map(Some).ok_or(StoreError::Corrupt("the best header is missing"))
            }
        }
    }

    fn meta_hash(&self, key: &str) -> Result<Option<H256>, StoreError> {
        match self.meta.get(key)? {
            None => Ok(None),
            Some(bytes) if bytes.len() == 32 => Ok(Some(H256::from_slice(&bytes))),
            Some(_) => Err(StoreError::Corrupt("a hash has not 32 bytes")),
        }
    }

    /// A block's header.
    pub(crate) fn header(&self, hash: &H256) -> Result<Option<Header>, StoreError> {
        let bytes = self.headers.get(hash.as_bytes())?;
        bytes.map(|b| Header::decode(&mut &b[..]).map_err(StoreError::from)).transpose()
    }

    /// A block's transactions, encoded.
    pub(crate) fn body(&self, hash: &H256) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
        let bytes = self.get_value(&self.bodies, hash.as_bytes())?;
        bytes.map(|b| Vec::decode(&mut &b[..]).map_err(StoreError::from)).transpose()
    }

    /// The hash of the block with this number.
    pub(crate) fn hash_of(&self, number: u32) -> Result<Option<H256>, StoreError> {
        let bytes = self.numbers.get(number.to_be_bytes())?;
        Ok(bytes.filter(|b| b.len() == 32).map(|b| H256::from_slice(&b)))
    }

    /// Writes a block and makes it the best one. When this returns, it is on disk.
    pub(crate) fn commit(&self, block: BlockRecord) -> Result<(), StoreError> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(StoreError::Poisoned);
        }
        self.commit_inner(block).inspect_err(|_| self.poisoned.store(true, Ordering::Release))
    }

    fn commit_inner(&self, block: BlockRecord) -> Result<(), StoreError> {
        let BlockRecord { header, body, changes } = block;
        let number = header.number;
        let hash = header.hash();
        self.write_nodes(number, changes)?;
        self.put_value(&self.bodies, hash.as_bytes(), &body.encode())?;
        self.headers.insert(hash.as_bytes(), header.encode())?;
        self.numbers.insert(number.to_be_bytes(), hash.as_bytes())?;
        if number == 0 {
            self.meta.insert("genesis", hash.as_bytes())?;
            self.meta.insert("form", &FORMAT.to_be_bytes())?;
        }
        self.sync()?;
        self.meta.insert("best", hash.as_bytes())?;
        self.sync()?;
        // What is pruned is not needed by any block from here on, so a crash in between costs nothing.
        self.prune_state(number)?;
        self.prune_blocks(number)
    }

    /// Makes everything written so far durable.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.db.flush()?;
        self.file.sync_data()?;
        Ok(())
    }

    fn write_nodes(
        &self,
        number: u32,
        mut changes: PrefixedMemoryDB<Blake2Hasher>,
    ) -> Result<(), StoreError> {
        let mut nodes = Batch::default();
        let mut dying = Batch::default();
        let mut dead: Vec<Vec<u8>> = Vec::new();
        for (key, (value, count)) in changes.drain() {
            if count > 0 {
                self.stage_value(&mut nodes, &key, &value)?;
                dying.remove(key);
            } else if count < 0 {
                dying.insert(key.clone(), &number.to_be_bytes());
                dead.push(key);
            }
        }
        self.nodes.apply_batch(nodes)?;
        self.dying.apply_batch(dying)?;
        self.put_value(&self.dead, &number.to_be_bytes(), &dead.encode())
    }

    /// Removes the nodes that have been unused for [`HISTORY`] blocks.
    fn prune_state(&self, number: u32) -> Result<(), StoreError> {
        let Some(old) = number.checked_sub(HISTORY) else { return Ok(()) };
        let old = old.to_be_bytes();
        let Some(keys) = self.get_value(&self.dead, &old)? else { return Ok(()) };
        for key in Vec::<Vec<u8>>::decode(&mut &keys[..])? {
            // A node that came back since then has no entry, or that of a later death.
            if self.dying.get(&key)?.is_some_and(|since| since.as_ref() == old) {
                self.remove_value(&self.nodes, &key)?;
                self.dying.remove(&key)?;
            }
        }
        self.remove_value(&self.dead, &old)
    }

    fn prune_blocks(&self, number: u32) -> Result<(), StoreError> {
        let Some(old) = number.checked_sub(BLOCKS_KEPT).filter(|old| *old > 0) else { return Ok(()) };
        if let Some(hash) = self.hash_of(old)? {
            self.remove_value(&self.bodies, hash.as_bytes())?;
            self.headers.remove(hash.as_bytes())?;
            self.numbers.remove(old.to_be_bytes())?;
        }
        Ok(())
    }

    fn stage_value(&self, batch: &mut Batch, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if value.len() <= CHUNK {
            batch.insert(key, [&[INLINE], value].concat());
            return Ok(());
        }
        let count = self.put_chunks(key, value)?;
        batch.insert(key, [&[CHUNKED][..], &count.to_be_bytes()].concat());
        Ok(())
    }

    fn put_value(&self, tree: &Tree, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        self.stage_value(&mut batch, key, value)?;
        tree.apply_batch(batch)?;
        Ok(())
    }

    fn put_chunks(&self, key: &[u8], value: &[u8]) -> Result<u16, StoreError> {
        let mut count: u16 = 0;
        let mut batch = Batch::default();
        for chunk in value.chunks(CHUNK) {
            batch.insert(chunk_key(key, count), chunk);
            count = count.checked_add(1).ok_or(StoreError::Corrupt("a value has over 65,535 chunks"))?;
        }
        self.chunks.apply_batch(batch)?;
        Ok(count)
    }

    fn get_value(&self, tree: &Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(entry) = tree.get(key)? else { return Ok(None) };
        let Some(count) = chunk_count(&entry)? else { return Ok(Some(entry[1..].to_vec())) };
        let mut value = Vec::with_capacity(usize::from(count) * CHUNK);
        for index in 0..count {
            let chunk = self.chunks.get(chunk_key(key, index))?;
            value.extend_from_slice(&chunk.ok_or(StoreError::Corrupt("a chunk is missing"))?);
        }
        Ok(Some(value))
    }

    fn remove_value(&self, tree: &Tree, key: &[u8]) -> Result<(), StoreError> {
        if let Some(entry) = tree.remove(key)? {
            for index in 0..chunk_count(&entry)?.unwrap_or(0) {
                self.chunks.remove(chunk_key(key, index))?;
            }
        }
        Ok(())
    }

    #[cfg(test)]
    fn node_count(&self) -> usize {
        self.nodes.len()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.sync() {
            tracing::warn!(%error, "the development chain's last sync failed; it reopens at the block before");
        }
    }
}

impl TrieBackendStorage<Blake2Hasher> for Store {
    fn get(&self, key: &H256, prefix: Prefix<'_>) -> Result<Option<DBValue>, String> {
        // sp-state-machine wants its storage errors as text.
        let key = prefixed_key::<Blake2Hasher>(key, prefix);
        self.get_value(&self.nodes, &key).map_err(|error| error.to_string())
    }
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        // sled has no kind of its own for a held lock.
        match error {
            sled::Error::Io(io) if io.to_string().contains("could not acquire lock") => Self::Locked,
            other => Self::Engine(Box::new(other)),
        }
    }
}

/// None for a value in one piece, else its number of chunks.
fn chunk_count(entry: &IVec) -> Result<Option<u16>, StoreError> {
    match entry.as_ref() {
        [INLINE, ..] => Ok(None),
        [CHUNKED, high, low] => Ok(Some(u16::from_be_bytes([*high, *low]))),
        _ => Err(StoreError::Corrupt("a value of neither kind")),
    }
}

fn chunk_key(key: &[u8], index: u16) -> Vec<u8> {
    [key, &index.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::{BLOCKS_KEPT, BlockRecord, HISTORY, Store};
    use crate::{error::StoreError, runtime::Header};
    use codec::Encode;
    use hash_db::{EMPTY_PREFIX, HashDB};
    use sp_core::{Blake2Hasher, H256};
    use sp_state_machine::TrieBackendStorage;
    use sp_trie::PrefixedMemoryDB;

    fn header(number: u32) -> Header {
        let zero = H256::zero();
        Header {
            parent_hash: zero,
            number,
            state_root: zero,
            extrinsics_root: zero,
            digest: Default::default(),
        }
    }

    fn commit(store: &Store, number: u32, change: impl FnOnce(&mut PrefixedMemoryDB<Blake2Hasher>)) {
        let mut changes = PrefixedMemoryDB::default();
        change(&mut changes);
        store.commit(BlockRecord { header: header(number), body: vec![vec![7; 9000]], changes }).unwrap();
    }

    fn hash(value: &[u8]) -> H256 {
        H256(sp_io::hashing::blake2_256(value))
    }

    fn read(store: &Store, value: &[u8]) -> Option<Vec<u8>> {
        TrieBackendStorage::get(store, &hash(value), EMPTY_PREFIX).unwrap()
    }

    #[test]
    fn large_values_come_back_whole_and_leave_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let big: Vec<u8> = (0..1_500_000u32).map(|i| i as u8).collect();
        commit(&store, 0, |db| {
            db.insert(EMPTY_PREFIX, &big);
        });
        assert_eq!(read(&store, &big).unwrap(), big);
        assert_eq!(store.body(&header(0).hash()).unwrap().unwrap(), vec![vec![7; 9000]]);
        commit(&store, 1, |db| db.remove(&hash(&big), EMPTY_PREFIX));
        for number in 2..=HISTORY {
            commit(&store, number, |_| {});
        }
        assert!(read(&store, &big).is_some(), "history is still readable");
        commit(&store, HISTORY + 1, |_| {});
        assert_eq!(read(&store, &big), None);
        let left = store.chunks.len();
        assert_eq!(left, (HISTORY as usize + 2) * 3, "only the bodies' chunks are left");
        assert_eq!(
            std::fs::read_dir(dir.path().join("blobs")).unwrap().count(),
            0,
            "sled made no loose files"
        );
    }

    #[test]
    fn a_node_that_comes_back_outlives_its_first_death() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let node = b"a node".to_vec();
        commit(&store, 0, |db| {
            db.insert(EMPTY_PREFIX, &node);
        });
        commit(&store, 1, |db| db.remove(&hash(&node), EMPTY_PREFIX));
        commit(&store, 2, |db| {
            db.insert(EMPTY_PREFIX, &node);
        });
        for number in 3..=HISTORY + 5 {
            commit(&store, number, |_| {});
        }
        assert_eq!(read(&store, &node).unwrap(), node);
        assert_eq!(store.node_count(), 1);
    }

    /// A crash between the first sync of a commit and its last write: everything of the block is there but `best`.
    #[test]
    fn a_block_that_was_not_finished_leaves_the_chain_at_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let (kept, lost) = (b"kept".to_vec(), b"lost".to_vec());
        commit(&store, 0, |db| {
            db.insert(EMPTY_PREFIX, &kept);
        });
        let mut changes = PrefixedMemoryDB::default();
        changes.insert(EMPTY_PREFIX, &lost);
        changes.remove(&hash(&kept), EMPTY_PREFIX);
        store.write_nodes(1, changes).unwrap();
        store.headers.insert(header(1).hash().as_bytes(), header(1).encode()).unwrap();
        store.sync().unwrap();
        drop(store);

        let store = Store::open(dir.path(), 1 << 20).unwrap();
        assert_eq!(store.best().unwrap().unwrap().number, 0);
        for number in 1..=HISTORY + 2 {
            commit(&store, number, |_| {});
        }
        assert_eq!(read(&store, &kept).unwrap(), kept, "the other block 1 did not remove it");
    }

    #[test]
    fn a_directory_is_used_once_at_a_time_and_not_when_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        commit(&store, 0, |_| {});
        assert!(matches!(Store::open(dir.path(), 1 << 20), Err(StoreError::Locked)));
        store.headers.clear().unwrap();
        assert!(matches!(store.best(), Err(StoreError::Corrupt(_))));
        store.meta.insert("form", &[0, 0, 0, 9]).unwrap();
        drop(store);
        assert!(matches!(Store::open(dir.path(), 1 << 20), Err(StoreError::Format)));
    }

    #[test]
    fn old_blocks_go_and_the_genesis_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        commit(&store, 0, |_| {});
        commit(&store, 1, |_| {});
        commit(&store, BLOCKS_KEPT + 1, |_| {});
        assert_eq!(store.hash_of(1).unwrap(), None);
        assert_eq!(store.header(&header(1).hash()).unwrap(), None);
        assert_eq!(store.hash_of(0).unwrap(), Some(header(0).hash()));
        assert_eq!(store.best().unwrap().unwrap().number, BLOCKS_KEPT + 1);
    }
}
