//! A catalog in memory, for tests and as the obviously right one. Its commits are durable for as long
//! as the value lives: hand the same one to the next `Db::open` to act a restart.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use gw_types::ports::{Catalog, Row, RowChange};
use gw_types::{Lsn, PortResult};
use parking_lot::RwLock;

use super::value;

/// An ordered map in memory.
#[derive(Debug, Default)]
pub struct MemoryCatalog {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    applied: Lsn,
}

impl MemoryCatalog {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Damages the stored bytes of a row, for tests; `false` when there is none.
    pub fn damage(&self, key: &[u8]) -> bool {
        let mut state = self.state.write();
        state.rows.get_mut(key).and_then(|stored| stored.last_mut()).map(|byte| *byte ^= 1).is_some()
    }
}

#[async_trait]
impl Catalog for MemoryCatalog {
    fn get(&self, key: &[u8]) -> PortResult<Option<Vec<u8>>> {
        self.state.read().rows.get(key).map(|stored| value::open(key, stored)).transpose()
    }

    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, limit: usize) -> PortResult<Vec<Row>> {
        if !to.is_empty() && to <= from {
            return Ok(Vec::new());
        }
        let end = if to.is_empty() { Bound::Unbounded } else { Bound::Excluded(to) };
        let state = self.state.read();
        let rows = state.rows.range::<[u8], _>((Bound::Included(from), end));
        let row = |(key, stored): (&Vec<u8>, &Vec<u8>)| Ok((key.clone(), value::open(key, stored)?));
        if reverse { rows.rev().take(limit).map(row).collect() } else { rows.take(limit).map(row).collect() }
    }

    async fn commit(&self, batch: Vec<RowChange>, applied: Lsn) -> PortResult<()> {
        value::check_batch(&batch)?;
        let mut state = self.state.write();
        for (key, value) in batch {
            match value {
                Some(value) => {
                    let stored = value::seal(&key, &value);
                    state.rows.insert(key, stored)
                }
                None => state.rows.remove(&key),
            };
        }
        state.applied = applied;
        Ok(())
    }

    fn applied(&self) -> Lsn {
        self.state.read().applied
    }

    fn disk_bytes(&self) -> PortResult<u64> {
        Ok(self.state.read().rows.iter().map(|(key, stored)| (key.len() + stored.len()) as u64).sum())
    }
}
