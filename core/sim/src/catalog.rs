//! A catalog in memory that forgets a commit it was still making when the power went.
//!
//! A commit shows in reads at once and becomes durable a turn of the runtime later; a power cut in
//! between keeps or loses it, all of it. Readers of a live database may see either state, as the port
//! allows.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use gw_types::ports::{Catalog, Row, RowChange};
use gw_types::{Lsn, PortError, PortErrorKind, PortResult};
use parking_lot::Mutex;

use crate::Rng;

#[derive(Clone, Debug, Default)]
struct State {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    applied: Lsn,
}

impl State {
    fn apply(&mut self, batch: &[RowChange], applied: Lsn) {
        for (key, value) in batch {
            match value {
                Some(value) => self.rows.insert(key.clone(), value.clone()),
                None => self.rows.remove(key),
            };
        }
        self.applied = applied;
    }
}

#[derive(Debug, Default)]
struct Inner {
    live: State,
    durable: State,
    commits: u64,
    /// Fails the commit after so many.
    fail_after: Option<u64>,
}

/// An ordered map in memory whose last commit may not have reached the disk. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct ForgettingCatalog {
    inner: Arc<Mutex<Inner>>,
}

impl ForgettingCatalog {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }
    /// The catalog as a power cut now would leave it.
    #[must_use]
    pub fn power_cut(&self, seed: u64) -> Self {
        let inner = self.inner.lock();
        let state = if Rng::new(seed).one_in(2) { inner.live.clone() } else { inner.durable.clone() };
        Self {
            inner: Arc::new(Mutex::new(Inner { live: state.clone(), durable: state, ..Inner::default() })),
        }
    }
    /// The commit after `pass` more ones fails and changes nothing; so do all after it.
    pub fn fail_after(&self, pass: u64) {
        self.inner.lock().fail_after = Some(pass);
    }
    /// Commits so far.
    pub fn commits(&self) -> u64 {
        self.inner.lock().commits
    }
    /// All rows, in order.
    pub fn rows(&self) -> Vec<Row> {
        self.inner.lock().live.rows.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

#[async_trait]
impl Catalog for ForgettingCatalog {
    fn get(&self, key: &[u8]) -> PortResult<Option<Vec<u8>>> {
        Ok(self.inner.lock().live.rows.get(key).cloned())
    }
    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, limit: usize) -> PortResult<Vec<Row>> {
        if !to.is_empty() && to <= from {
            return Ok(Vec::new());
        }
        let end = if to.is_empty() { Bound::Unbounded } else { Bound::Excluded(to) };
        let inner = self.inner.lock();
        let rows = inner.live.rows.range::<[u8], _>((Bound::Included(from), end));
        let row = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        Ok(if reverse {
            rows.rev().take(limit).map(row).collect()
        } else {
            rows.take(limit).map(row).collect()
        })
    }
    async fn commit(&self, batch: Vec<RowChange>, applied: Lsn) -> PortResult<()> {
        if batch.iter().any(|(key, _)| key.is_empty() || key.len() > u16::MAX as usize) {
            return Err(PortError::definite(PortErrorKind::Refused, "a key has 1 to 65535 bytes"));
        }
        {
            let mut inner = self.inner.lock();
            match &mut inner.fail_after {
                Some(0) => {
                    return Err(PortError::unknown(
                        PortErrorKind::Unavailable,
                        "the catalog's device is gone",
                    ));
                }
                Some(left) => *left -= 1,
                None => {}
            }
            inner.commits += 1;
            inner.live.apply(&batch, applied);
        }
        tokio::task::yield_now().await;
        self.inner.lock().durable.apply(&batch, applied);
        Ok(())
    }
    fn applied(&self) -> Lsn {
        self.inner.lock().live.applied
    }
    fn disk_bytes(&self) -> PortResult<u64> {
        Ok(self.inner.lock().live.rows.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum())
    }
}
