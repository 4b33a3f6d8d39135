//! Reports to the chain which column of which deal is stored here (`transfer_report`).
//!
//! Every put adds its deal to a bounded queue; a task takes deals from it, asks the chain how the deal
//! stands, and [`decide`]s. It always looks before it sends, so a report whose reply was lost is found
//! and not sent twice. What fails comes back after a growing pause. Deals that found no place in the
//! queue, and all that were open when the miner stopped, are found by a sweep over the index at the
//! start and every `report_sweep`.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::{Either, select};
use futures::stream::FuturesUnordered;
use gw_types::ports::{DealState, DeclaredSegment, FileState};
use gw_types::{AccountId, Fid, FragmentIndex, Hash32, PortResult};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::server::Shared;

/// Deals that wait for a look at the chain.
#[derive(Debug)]
pub(crate) struct ReportQueue {
    max: usize,
    waiting: Mutex<BTreeMap<Fid, Waiting>>,
    wake: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    due: Duration,
    failures: u32,
    running: bool,
    /// Another put came while it ran.
    again: bool,
}

impl ReportQueue {
    pub(crate) fn new(max: usize) -> Self {
        Self { max: max.max(1), waiting: Mutex::default(), wake: Notify::new() }
    }
    /// Something of this deal was stored. A full queue drops it: the sweep will find it.
    pub(crate) fn add(&self, fid: Fid, now: Duration) {
        let mut waiting = self.waiting.lock();
        let len = waiting.len();
        match waiting.get_mut(&fid) {
            Some(one) if one.running => one.again = true,
            Some(one) => one.due = one.due.min(now),
            None if len < self.max => {
                waiting.insert(fid, Waiting { due: now, failures: 0, running: false, again: false });
            }
            None => return,
        }
        drop(waiting);
        self.wake.notify_one();
    }
    fn take_due(&self, now: Duration) -> Option<Fid> {
        let mut waiting = self.waiting.lock();
        let (fid, one) = waiting.iter_mut().find(|(_, one)| !one.running && one.due <= now)?;
        one.running = true;
        Some(*fid)
    }
    fn next_due(&self) -> Option<Duration> {
        self.waiting.lock().values().filter(|one| !one.running).map(|one| one.due).min()
    }
    fn done(&self, fid: Fid, now: Duration) {
        let mut waiting = self.waiting.lock();
        match waiting.get_mut(&fid) {
            Some(one) if one.again => *one = Waiting { due: now, failures: 0, running: false, again: false },
            _ => drop(waiting.remove(&fid)),
        }
    }
    fn failed(&self, fid: Fid, now: Duration, first: Duration, longest: Duration) {
        if let Some(one) = self.waiting.lock().get_mut(&fid) {
            let pause = first.saturating_mul(1 << one.failures.min(16)).min(longest);
            *one = Waiting { due: now + pause, failures: one.failures + 1, running: false, again: false };
        }
    }
}

/// What is to be done about a deal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The chain knows that we hold this column.
    Known(FragmentIndex),
    /// This column is complete here, and the chain has it from nobody.
    Report(FragmentIndex),
    /// No column is complete that is still wanted.
    Nothing,
}

/// Looks at what is held and at what the chain says. Several columns can be complete at once when
/// fragments are alike (zeros); then miners begin at different ones, so that they do not all send the
/// same index.
fn decide(
    held: &BTreeSet<Hash32>,
    deal: Option<&DealState>,
    file: Option<&FileState>,
    me: AccountId,
) -> Step {
    let Some(deal) = deal else {
        let mine = file.and_then(|file| {
            FragmentIndex::all().find(|index| {
                file.segments
                    .iter()
                    .any(|segment| segment.fragments.get(index.get()).is_some_and(|one| one.miner == me))
            })
        });
        return mine.map_or(Step::Nothing, Step::Known);
    };
    if let Some((index, _)) = deal.complete.iter().find(|(_, miner)| *miner == me) {
        return Step::Known(*index);
    }
    let is_open = |index: &FragmentIndex| deal.complete.iter().all(|(taken, _)| taken != index);
    let ready: Vec<_> = FragmentIndex::all()
        .filter(|index| is_open(index) && is_here(held, &deal.segments, *index))
        .collect();
    match ready.get(usize::from(me.0[0]) % ready.len().max(1)) {
        Some(index) => Step::Report(*index),
        None => Step::Nothing,
    }
}

/// Whether every segment's fragment of this column is held.
fn is_here(held: &BTreeSet<Hash32>, segments: &[DeclaredSegment], index: FragmentIndex) -> bool {
    !segments.is_empty() && segments.iter().all(|segment| held.contains(&segment.fragments[index.get()]))
}

/// Reports until dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut running = FuturesUnordered::new();
    let mut next_sweep = Duration::ZERO;
    loop {
        let now = shared.clock.elapsed();
        if next_sweep <= now {
            shared.store.unreported().into_iter().for_each(|fid| shared.reports.add(fid, now));
            next_sweep = now + shared.config.report_sweep;
        }
        while running.len() < shared.config.max_reports.max(1) {
            let Some(fid) = shared.reports.take_due(now) else { break };
            running.push(attend(&shared, fid));
        }
        let has_room = running.len() < shared.config.max_reports.max(1);
        let next =
            shared.reports.next_due().filter(|_| has_room).map_or(next_sweep, |due| due.min(next_sweep));
        let nap = shared.clock.sleep(next.saturating_sub(now));
        let woken = pin!(shared.reports.wake.notified());
        let ended = async {
            if running.next().await.is_none() {
                pending::<()>().await;
            }
        };
        // Whichever comes first, the next round looks at everything again.
        match select(pin!(ended), select(woken, nap)).await {
            Either::Left(_) | Either::Right(_) => {}
        }
    }
}

async fn attend(shared: &Arc<Shared>, fid: Fid) {
    let result = attempt(shared, fid).await;
    let now = shared.clock.elapsed();
    match result {
        Ok(()) => shared.reports.done(fid, now),
        Err(error) => {
            shared.counters.report_failures.add(1);
            tracing::warn!(%fid, %error, "a report did not succeed and will be tried again");
            shared.reports.failed(fid, now, shared.config.report_retry, shared.config.report_sweep);
        }
    }
}

async fn attempt(shared: &Arc<Shared>, fid: Fid) -> PortResult<()> {
    let Some(held) = shared.store.deal(&fid) else { return Ok(()) };
    // While a deal of many segments arrives, most puts complete nothing; the last one will.
    if let Some(segments) = shared.deals.recent_segments(&fid)
        && !FragmentIndex::all().any(|index| is_here(&held.fragments, &segments, index))
    {
        return Ok(());
    }
    let deal = shared.chain.deal(fid).await?;
    let file = if deal.is_none() { shared.chain.file(fid).await? } else { None };
    let column = match decide(&held.fragments, deal.as_ref(), file.as_ref(), shared.chain.account()) {
        Step::Nothing => return Ok(()),
        Step::Known(column) => column,
        Step::Report(column) => {
            let receipt = shared.chain.report(fid, column).await?;
            shared.counters.reports.add(1);
            tracing::info!(%fid, index = column.on_chain(), block = receipt.block, "reported");
            column
        }
    };
    // If this is lost, the next sweep looks at the chain again and finds the report.
    let noted = shared.blocking(move |shared| shared.store.set_reported(fid, column)).await;
    if let Err(error) = noted {
        tracing::warn!(%fid, ?error, "a report could not be noted in the index");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use gw_types::ports::{DealState, DeclaredSegment, FileSegment, FileState, PlacedFragment};
    use gw_types::{AccountId, FRAGMENTS, Fid, FragmentIndex, Hash32};

    use super::{ReportQueue, Step, decide};

    const ME: AccountId = AccountId([5; 32]);

    fn hash(segment: u8, index: u8) -> Hash32 {
        Hash32([segment * 16 + index; 32])
    }
    fn segment(number: u8) -> DeclaredSegment {
        DeclaredSegment {
            hash: hash(number, 15),
            fragments: std::array::from_fn(|index| hash(number, index as u8)),
        }
    }
    fn index(at: u8) -> FragmentIndex {
        FragmentIndex::new(at).unwrap()
    }
    fn deal(complete: &[(u8, u8)]) -> DealState {
        let complete = complete.iter().map(|(at, miner)| (index(*at), AccountId([*miner; 32]))).collect();
        DealState { complete, segments: vec![segment(0), segment(1)] }
    }
    fn held(fragments: &[(u8, u8)]) -> BTreeSet<Hash32> {
        fragments.iter().map(|(segment, index)| hash(*segment, *index)).collect()
    }

    #[test]
    fn a_column_is_reported_when_all_its_fragments_are_here() {
        assert_eq!(decide(&held(&[(0, 3)]), Some(&deal(&[])), None, ME), Step::Nothing);
        assert_eq!(decide(&held(&[(0, 3), (1, 4)]), Some(&deal(&[])), None, ME), Step::Nothing);
        assert_eq!(
            decide(&held(&[(0, 3), (1, 3)]), Some(&deal(&[(4, 9)])), None, ME),
            Step::Report(index(3))
        );
    }

    #[test]
    fn what_the_chain_knows_is_not_reported_again() {
        let both = held(&[(0, 3), (1, 3)]);
        assert_eq!(decide(&both, Some(&deal(&[(3, 5)])), None, ME), Step::Known(index(3)));
        assert_eq!(decide(&both, Some(&deal(&[(3, 9)])), None, ME), Step::Nothing, "another miner has it");
        let placed = |at: usize| PlacedFragment {
            hash: hash(0, at as u8),
            miner: if at == 7 { ME } else { AccountId([1; 32]) },
            available: true,
        };
        let segments =
            vec![FileSegment { hash: hash(0, 15), fragments: (0..FRAGMENTS).map(placed).collect() }];
        let mut file = FileState { segments, file_size: 1, held_as: None, completed_at: 1 };
        assert_eq!(decide(&both, None, Some(&file), ME), Step::Known(index(7)));
        file.segments[0].fragments.truncate(3);
        assert_eq!(decide(&both, None, Some(&file), ME), Step::Nothing);
        assert_eq!(decide(&both, None, None, ME), Step::Nothing);
    }

    #[test]
    fn with_all_columns_alike_miners_begin_at_different_ones() {
        let mut alike = deal(&[(0, 9)]);
        alike.segments.iter_mut().for_each(|segment| segment.fragments = [hash(0, 0); FRAGMENTS]);
        let first = |miner: u8| decide(&held(&[(0, 0)]), Some(&alike), None, AccountId([miner; 32]));
        let all: BTreeSet<_> = (20..31).map(|miner| format!("{:?}", first(miner))).collect();
        assert_eq!(all.len(), 11, "eleven columns are open");
        assert!(!all.contains(&format!("{:?}", Step::Report(index(0)))));
    }

    #[test]
    fn queue_is_bounded_waits_longer_each_time_and_forgets_no_put() {
        let (queue, fid) = (ReportQueue::new(1), Fid(hash(0, 0)));
        let second = Duration::from_secs(1);
        queue.add(fid, second);
        queue.add(Fid(hash(0, 1)), second);
        assert_eq!(
            (queue.take_due(Duration::ZERO), queue.take_due(second), queue.take_due(second)),
            (None, Some(fid), None)
        );
        for pause in [1, 2, 4, 8, 10, 10] {
            queue.failed(fid, second, second, 10 * second);
            assert_eq!(queue.next_due(), Some(second * (1 + pause)));
        }
        assert_eq!(queue.take_due(second * 20), Some(fid));
        queue.add(fid, second * 20);
        queue.done(fid, second * 21);
        assert_eq!(queue.take_due(second * 21), Some(fid), "a put came while it ran");
        queue.done(fid, second * 22);
        assert_eq!(queue.next_due(), None);
    }
}
