//! May this fragment be put? Only if the chain knows it: in an open deal, or (for a repair) in an
//! Active file. What the chain said yes to is kept for [`KEPT_FOR`], because a deal of many segments is asked
//! for again with every fragment; a no is never kept. The same memory tells the reporter whether a
//! look at the chain is worth while yet.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use gw_types::ports::{Clock, DeclaredSegment, MinerChain};
use gw_types::{Fid, Hash32, PortResult};
use parking_lot::Mutex;

/// A deal cannot change, but it can go; a fragment that comes this much later than its end is
/// collected like others.
const KEPT_FOR: Duration = Duration::from_secs(30);
/// Deals remembered.
const KEPT_MAX: usize = 8;

/// Asks the chain, with a short memory.
#[derive(Debug)]
pub(crate) struct Deals {
    chain: Arc<dyn MinerChain>,
    clock: Arc<dyn Clock>,
    kept: Mutex<VecDeque<Kept>>,
}

#[derive(Debug)]
struct Kept {
    fid: Fid,
    fragments: HashSet<Hash32>,
    /// Of an open deal; a file has none to report.
    segments: Option<Arc<[DeclaredSegment]>>,
    until: Duration,
}

impl Deals {
    pub(crate) fn new(chain: Arc<dyn MinerChain>, clock: Arc<dyn Clock>) -> Self {
        Self { chain, clock, kept: Mutex::default() }
    }
    /// Whether the fragment belongs to the deal or file.
    pub(crate) async fn names(&self, fid: Fid, fragment: &Hash32) -> PortResult<bool> {
        if self.kept_names(&fid, fragment) {
            return Ok(true);
        }
        let (fragments, segments): (HashSet<Hash32>, Option<Arc<[DeclaredSegment]>>) =
            match self.chain.deal(fid).await? {
                Some(deal) => {
                    let fragments = deal.segments.iter().flat_map(|segment| segment.fragments).collect();
                    (fragments, Some(deal.segments.into()))
                }
                None => match self.chain.file(fid).await? {
                    Some(file) => {
                        let placed = file.segments.iter().flat_map(|segment| &segment.fragments);
                        (placed.map(|placed| placed.hash).collect(), None)
                    }
                    None => return Ok(false),
                },
            };
        let named = fragments.contains(fragment);
        let mut kept = self.kept.lock();
        kept.retain(|one| one.fid != fid);
        kept.truncate(KEPT_MAX - 1);
        kept.push_front(Kept { fid, fragments, segments, until: self.clock.elapsed() + KEPT_FOR });
        Ok(named)
    }
    /// The segments of a deal that was open a moment ago, where they are remembered.
    pub(crate) fn recent_segments(&self, fid: &Fid) -> Option<Arc<[DeclaredSegment]>> {
        self.kept.lock().iter().find(|one| one.fid == *fid)?.segments.clone()
    }

    fn kept_names(&self, fid: &Fid, fragment: &Hash32) -> bool {
        let now = self.clock.elapsed();
        let mut kept = self.kept.lock();
        kept.retain(|one| one.until > now);
        kept.iter().any(|one| one.fid == *fid && one.fragments.contains(fragment))
    }
}
