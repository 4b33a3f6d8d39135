//! From sealed segments to the intent of a deal: which segments, which miners, is there space?
//!
//! Nothing is declared here. What stands in the way is an error whose text says what to do; the
//! conductor shows it and tries again.

use std::collections::BTreeSet;

use gw_codec::fid::FidRule;
use gw_data::rows::{self, DealRow, DealState, LaneClass, SegmentRow};
use gw_types::ports::{DeclaredSegment, TerritoryState};
use gw_types::{FRAGMENTS, Fid, Hash32, SegmentSeq, StreamId, TERRITORY_BYTES_PER_SEGMENT};

use crate::config::DispersalConfig;
use crate::error::DispersalError;
use crate::name::DealName;
use crate::pick;
use crate::rows::LOCAL;
use crate::shared::Shared;

/// Segments of a deal on chain (pallet file-bank `SegmentCount`).
const CHAIN_SEGMENTS_MAX: usize = 1000;

/// A striped segment that is in no deal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Free {
    pub(crate) seq: SegmentSeq,
    pub(crate) class: LaneClass,
    pub(crate) stream: StreamId,
}

impl Free {
    pub(crate) fn queue(self) -> Queue {
        queue(self.class, self.stream)
    }
}

/// What goes into deals of its own and waits for nobody else's: a stream's bodies, the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Queue {
    Of(StreamId),
    Log,
}

fn queue(class: LaneClass, stream: StreamId) -> Queue {
    if class == LaneClass::Log { Queue::Log } else { Queue::Of(stream) }
}

/// What the next deal takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) queue: Queue,
    pub(crate) segments: Vec<SegmentSeq>,
}

/// A deal whose intent is staged.
pub(crate) struct Intent {
    pub(crate) fid: Fid,
    pub(crate) row: DealRow,
    pub(crate) declared: Vec<(SegmentSeq, DeclaredSegment)>,
    pub(crate) queue: Queue,
}

/// Segments of a stream that share deals: those that are likely to die together. The log is never given
/// back, so nothing that could be may share a deal with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Bodies,
    /// Old bytes in new homes.
    Moved,
    Log,
}

fn kind(class: LaneClass) -> Kind {
    match class {
        LaneClass::Bulk | LaneClass::Inline | LaneClass::Volume => Kind::Bodies,
        LaneClass::Gc => Kind::Moved,
        LaneClass::Log => Kind::Log,
    }
}

/// Which segments the next deal takes, all of one stream; `None` when it is better to wait for more.
/// Segments that somebody waits for go at once, all of a kind together; under pressure everything goes.
pub(crate) fn choose(
    mut free: Vec<Free>,
    needed: &BTreeSet<SegmentSeq>,
    is_tight: bool,
    config: &DispersalConfig,
) -> Option<Chosen> {
    let most = config.bulk_deal_segments_max.clamp(1, CHAIN_SEGMENTS_MAX);
    let few = config.deal_segments_max.clamp(1, most);
    // Older first: they came first, and the log runs in that order, too.
    free.sort_by_key(|free| free.seq);
    let is_bulk = |free: &Free| free.class == LaneClass::Bulk;
    let any = |_: &Free| true;
    let is_needed = |free: &Free| needed.contains(&free.seq);
    let is_small = |free: &Free| !is_bulk(free);
    let groups: BTreeSet<(Kind, Queue)> = free.iter().map(|free| (kind(free.class), free.queue())).collect();
    // In each step the kinds in their order, then the streams in theirs.
    let wanted = |take: &dyn Fn(&Free) -> bool, at_least: usize, at_most: usize| {
        groups.iter().find_map(|group| {
            let of_group = |free: &&Free| (kind(free.class), free.queue()) == *group && take(free);
            let some: Vec<SegmentSeq> =
                free.iter().filter(of_group).map(|free| free.seq).take(at_most).collect();
            (some.len() >= at_least).then_some(Chosen { queue: group.1, segments: some })
        })
    };
    wanted(&is_needed, 1, most)
        .or_else(|| wanted(&is_bulk, most, most))
        .or_else(|| wanted(&is_small, few, few))
        .or_else(|| if is_tight { wanted(&any, 1, most) } else { None })
}

/// Checks that a deal of these segments can be made, chooses its miners and stages the intent.
pub(crate) async fn intend(shared: &Shared, chosen: &[SegmentSeq]) -> Result<Intent, DispersalError> {
    check_territory(shared, chosen.len()).await?;
    let segments = read(shared, chosen)?;
    let declared = declared(&segments)?;
    let hashes: Vec<Hash32> = declared.iter().map(|(_, segment)| segment.hash).collect();
    let fid = FidRule::Merkle.fid(&hashes).expect("a deal has segments");
    let candidates = shared.healthy_miners(fid, chosen.len(), &[], FRAGMENTS).await?;
    let miners = pick::pick_stripe(fid, &candidates).map_err(|few| {
        DispersalError::Held(format!(
            "only {few} of the 12 miners that a deal needs answer with room for it; nothing is declared until more do"
        ))
    })?;
    let parts = segments.iter().filter(|(_, row)| row.class == LaneClass::Log).count();
    let name = DealName { epoch: shared.ports.data.epoch(), parts, segments: chosen.len() };
    let row = DealRow {
        segments: chosen.to_vec(),
        miners,
        state: DealState::Intent,
        territory: shared.config.territory.clone(),
        file_name: name.encode(),
        declared_at: shared.ports.clock.now(),
    };
    let committed = shared.ports.db.transact(|txn| {
        txn.stream(LOCAL);
        rows::put_deal(txn, fid, &row);
        for (index, seq) in chosen.iter().enumerate() {
            let mut segment = rows::segment(txn, *seq)?.ok_or_else(|| no_row(*seq))?;
            segment.deal = Some((fid, u16::try_from(index).expect("a deal has at most 1000 segments")));
            rows::put_segment(txn, *seq, &segment)?;
        }
        Ok::<_, DispersalError>(())
    })?;
    shared.ports.db.wait_staged(committed.lsn).await?;
    Ok(Intent { fid, row, declared, queue: queue_of(&segments) })
}

/// The intent of a deal that an earlier carrier has left.
pub(crate) fn resume(shared: &Shared, fid: Fid) -> Result<Option<Intent>, DispersalError> {
    let Some(row) = rows::deal(&shared.ports.db.snapshot(), fid)? else { return Ok(None) };
    if row.state == DealState::Active {
        return Ok(None);
    }
    let segments = read(shared, &row.segments)?;
    let declared = declared(&segments)?;
    Ok(Some(Intent { fid, row, declared, queue: queue_of(&segments) }))
}

/// Whose deal it is.
fn queue_of(segments: &[(SegmentSeq, SegmentRow)]) -> Queue {
    segments.first().map_or(Queue::Log, |(_, row)| queue(row.class, row.stream))
}

fn read(shared: &Shared, chosen: &[SegmentSeq]) -> Result<Vec<(SegmentSeq, SegmentRow)>, DispersalError> {
    let snapshot = shared.ports.db.snapshot();
    let one = |seq: &SegmentSeq| Ok((*seq, rows::segment(&snapshot, *seq)?.ok_or_else(|| no_row(*seq))?));
    chosen.iter().map(one).collect()
}

fn no_row(seq: SegmentSeq) -> DispersalError {
    DispersalError::Log(format!("segment {seq} is in a deal and has no row"))
}

fn declared(
    segments: &[(SegmentSeq, SegmentRow)],
) -> Result<Vec<(SegmentSeq, DeclaredSegment)>, DispersalError> {
    let one = |(seq, row): &(SegmentSeq, SegmentRow)| {
        let stripe = row
            .stripe
            .as_ref()
            .ok_or_else(|| DispersalError::Log(format!("segment {seq} is not striped")))?;
        Ok((*seq, DeclaredSegment { hash: stripe.segment, fragments: stripe.fragments }))
    };
    segments.iter().map(one).collect()
}

async fn check_territory(shared: &Shared, segments: usize) -> Result<(), DispersalError> {
    let name = &shared.config.territory;
    let territory = shared.ports.chain.territory(name).await?.ok_or_else(|| {
        DispersalError::Held(format!(
            "there is no territory {name}: buy one with `cess-gateway territory mint {name} --gib N`"
        ))
    })?;
    if territory.state != TerritoryState::Active {
        return Err(DispersalError::Held(format!(
            "territory {name} is {:?}: renew it with `cess-gateway territory renew {name} --days N`",
            territory.state
        )));
    }
    let wanted = u128::from(TERRITORY_BYTES_PER_SEGMENT) * segments as u128;
    // The chain wants strictly more than the deal takes.
    if territory.remaining <= wanted {
        return Err(DispersalError::Held(format!(
            "territory {name} has no room for {segments} segments ({} bytes left, more than {wanted} needed): \
             expand it with `cess-gateway territory expand {name} --gib N`",
            territory.remaining
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gw_data::rows::LaneClass;
    use gw_types::{SegmentSeq, StreamId, TerritoryName};

    use super::{DispersalConfig, Free, Queue, choose};

    fn config() -> DispersalConfig {
        DispersalConfig::new(TerritoryName::new("default").unwrap())
    }

    fn free(class: LaneClass, numbers: std::ops::Range<u64>) -> Vec<Free> {
        free_of(0, class, numbers)
    }

    fn free_of(stream: u32, class: LaneClass, numbers: std::ops::Range<u64>) -> Vec<Free> {
        let one = |number| Free { seq: SegmentSeq(number), class, stream: StreamId(stream) };
        numbers.map(one).collect()
    }

    fn chosen(free: Vec<Free>, needed: &[u64], is_tight: bool) -> Option<Vec<u64>> {
        let needed: BTreeSet<SegmentSeq> = needed.iter().copied().map(SegmentSeq).collect();
        choose(free, &needed, is_tight, &config())
            .map(|chosen| chosen.segments.into_iter().map(|seq| seq.0).collect())
    }

    #[test]
    fn small_data_goes_in_eights_and_bulk_in_whole_deals() {
        assert_eq!(chosen(free(LaneClass::Inline, 0..7), &[], false), None);
        assert_eq!(chosen(free(LaneClass::Inline, 0..9), &[], false), Some((0..8).collect()));
        assert_eq!(chosen(free(LaneClass::Bulk, 0..63), &[], false), None);
        let mut both = free(LaneClass::Bulk, 0..70);
        both.extend(free(LaneClass::Inline, 70..80));
        assert_eq!(chosen(both, &[], false), Some((0..64).collect()));
    }

    #[test]
    fn what_somebody_waits_for_goes_at_once_and_the_log_goes_alone() {
        let mut all = free(LaneClass::Log, 1..3);
        all.extend(free(LaneClass::Inline, 3..6));
        all.extend(free(LaneClass::Gc, 6..8));
        assert_eq!(chosen(all.clone(), &[1, 4, 5, 7, 99], false), Some(vec![4, 5]));
        assert_eq!(chosen(all.clone(), &[1, 7, 99], false), Some(vec![7]));
        assert_eq!(chosen(all.clone(), &[1, 99], false), Some(vec![1]));
        assert_eq!(chosen(all, &[99], false), None);
    }

    #[test]
    fn everything_goes_when_room_is_short() {
        let mut all = free(LaneClass::Log, 9..10);
        all.extend(free(LaneClass::Bulk, 11..13));
        assert_eq!(chosen(all, &[], true), Some(vec![11, 12]));
        assert_eq!(chosen(free(LaneClass::Log, 9..10), &[], true), Some(vec![9]));
        assert_eq!(chosen(Vec::new(), &[], true), None);
    }

    #[test]
    fn streams_share_no_deal() {
        let mut all = free_of(3, LaneClass::Volume, 0..5);
        all.extend(free_of(0, LaneClass::Inline, 5..10));
        all.extend(free_of(3, LaneClass::Volume, 10..11));
        assert_eq!(chosen(all.clone(), &[], false), None, "eleven small ones, but of two streams");
        assert_eq!(chosen(all.clone(), &[0, 9], false), Some(vec![9]));
        assert_eq!(chosen(all.clone(), &[0, 10], false), Some(vec![0, 10]));
        let tight = choose(all, &BTreeSet::new(), true, &config()).unwrap();
        assert_eq!((tight.queue, tight.segments.len()), (Queue::Of(StreamId(0)), 5));
    }
}
