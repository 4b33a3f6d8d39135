//! Watermarks over cuts, in the small and against a model.

use std::collections::{BTreeMap, BTreeSet};

use gw_types::{Level, Lsn, SegmentSeq, StreamId};

use super::{Cut, Marks, Needs, Watermarks};

const A: StreamId = StreamId(0);
const B: StreamId = StreamId(7);
const C: StreamId = StreamId(9);

fn seqs(numbers: &[u64]) -> Vec<SegmentSeq> {
    numbers.iter().copied().map(SegmentSeq).collect()
}

/// A cut of one record of stream A.
fn cut(last: u64, needs: &[u64]) -> Cut {
    cut_of(last, &[], &[(&[A], needs)])
}

fn cut_of(last: u64, log: &[u64], records: &[(&[StreamId], &[u64])]) -> Cut {
    let mut needs = Needs { log: seqs(log).into_iter().collect(), ..Needs::default() };
    records.iter().for_each(|(streams, names)| needs.add(streams, &seqs(names)));
    Cut { last: Lsn(last), needs }
}

fn fresh() -> Watermarks {
    Watermarks::resume(Marks::default())
}

/// Of the floor.
fn at(marks: &Watermarks) -> (u64, u64) {
    (marks.marks().floor.dispersed.0, marks.marks().floor.finalized.0)
}

fn finalized(marks: &Watermarks, stream: StreamId) -> u64 {
    marks.marks().of(stream).finalized.0
}

#[test]
fn a_watermark_passes_a_cut_only_with_all_its_segments() {
    let mut marks = fresh();
    marks.push(cut(10, &[1, 2]), &[]);
    marks.push(cut(20, &[3]), &[]);
    marks.reached(&seqs(&[3]), Level::Finalized);
    marks.reached(&seqs(&[1]), Level::Dispersed);
    assert_eq!(at(&marks), (0, 0));
    marks.reached(&seqs(&[2]), Level::Dispersed);
    assert_eq!(at(&marks), (20, 0));
    marks.reached(&seqs(&[1]), Level::Finalized);
    let missing = |stream| marks.missing(Level::Finalized, stream, Lsn(15));
    assert_eq!(missing(None), [SegmentSeq(2)].into());
    assert_eq!(missing(Some(A)), [SegmentSeq(2)].into());
    assert_eq!(missing(Some(B)), BTreeSet::new());
    marks.reached(&seqs(&[2]), Level::Finalized);
    assert_eq!(at(&marks), (20, 20));
}

#[test]
fn a_segment_that_was_there_first_counts() {
    let mut marks = fresh();
    marks.push(cut(1, &[9]), &[(SegmentSeq(9), Level::Finalized)]);
    marks.push(cut(2, &[9]), &[(SegmentSeq(9), Level::Finalized)]);
    assert_eq!(at(&marks), (2, 2));
}

#[test]
fn a_watermark_never_moves_back() {
    let mut marks = Watermarks::resume(Marks { dispersed: Lsn(7), finalized: Lsn(5) });
    marks.push(cut(9, &[1]), &[]);
    assert_eq!(at(&marks), (7, 5));
    marks.reached(&seqs(&[1]), Level::Dispersed);
    assert_eq!(at(&marks), (9, 5));
}

#[test]
fn a_stalled_stream_holds_up_no_other() {
    let mut marks = fresh();
    marks.push(cut_of(10, &[100], &[(&[A], &[1]), (&[B], &[2])]), &[]);
    marks.push(cut_of(20, &[101], &[(&[A], &[3])]), &[]);
    marks.reached(&seqs(&[1, 3, 100]), Level::Finalized);
    assert_eq!((finalized(&marks, A), finalized(&marks, B), at(&marks).1), (10, 0, 0), "101 is not safe yet");
    marks.reached(&seqs(&[101]), Level::Finalized);
    assert_eq!((finalized(&marks, A), finalized(&marks, B), at(&marks).1), (20, 0, 0));
    assert_eq!(finalized(&marks, C), 20, "who has no records is as far as the log");
    assert_eq!(marks.missing(Level::Finalized, Some(A), Lsn(20)), BTreeSet::new());
    assert_eq!(marks.missing(Level::Finalized, None, Lsn(20)), [SegmentSeq(2)].into());
    marks.reached(&seqs(&[2]), Level::Finalized);
    assert_eq!((finalized(&marks, A), finalized(&marks, B), at(&marks)), (20, 20, (20, 20)));
    assert!(marks.marks().streams.is_empty() && marks.reached.is_empty(), "nothing is kept for nobody");
}

#[test]
fn a_record_of_two_streams_is_passed_by_both_or_by_none() {
    let mut marks = fresh();
    marks.push(cut_of(10, &[], &[(&[A], &[1]), (&[B], &[2])]), &[]);
    marks.push(cut_of(20, &[], &[(&[A, B], &[3])]), &[]);
    marks.push(cut_of(30, &[], &[(&[B, C], &[])]), &[]);
    marks.reached(&seqs(&[1, 3]), Level::Finalized);
    assert_eq!((finalized(&marks, A), finalized(&marks, B), finalized(&marks, C)), (10, 0, 20));
    let missing = |stream, lsn| marks.missing(Level::Finalized, Some(stream), Lsn(lsn));
    assert_eq!((missing(A, 10), missing(A, 20)), (BTreeSet::new(), [SegmentSeq(2)].into()));
    assert_eq!((missing(C, 20), missing(C, 30)), (BTreeSet::new(), [SegmentSeq(2)].into()));
    marks.reached(&seqs(&[2]), Level::Finalized);
    assert_eq!(at(&marks), (30, 30));
}

#[test]
fn a_segment_that_died_is_excused_only_with_the_record_that_dropped_it() {
    let mut marks = fresh();
    marks.push(cut(10, &[1, 2]), &[]);
    marks.push(cut(20, &[3]), &[]);
    assert_eq!(marks.excuse(SegmentSeq(2), Lsn(25)), None, "the drop is not cut yet");
    marks.push(cut(30, &[4]), &[]);
    marks.push(cut(40, &[5]), &[]);
    let excuse = marks.excuse(SegmentSeq(2), Lsn(25)).unwrap();
    assert_eq!(excuse.gone, [Lsn(10), Lsn(20)]);
    assert_eq!(excuse.merged, Some(cut(30, &[1, 3, 4])));
    marks.apply(excuse);
    marks.reached(&seqs(&[1, 3, 5]), Level::Finalized);
    assert_eq!(at(&marks), (0, 0), "10 may not be passed without 30");
    marks.reached(&seqs(&[4]), Level::Finalized);
    assert_eq!(at(&marks), (40, 40));
    assert_eq!(marks.excuse(SegmentSeq(77), Lsn(40)).unwrap().merged, None);
}

#[test]
fn an_excuse_alone_may_finish_a_cut() {
    let mut marks = fresh();
    marks.push(cut(10, &[1, 2]), &[(SegmentSeq(1), Level::Finalized)]);
    let excuse = marks.excuse(SegmentSeq(2), Lsn(9)).unwrap();
    marks.apply(excuse);
    assert_eq!(at(&marks), (10, 10));
    assert!(marks.reached.is_empty(), "nothing is remembered for nobody");
}

/// The definition, said in another way: the streams that have passed a cut are the largest set that
/// is closed under its ties, has passed the one before, and lacks nothing.
fn model(cuts: &[Cut], reached: &BTreeSet<SegmentSeq>, stream: StreamId) -> Lsn {
    let all = [A, B, C];
    let mut going: BTreeSet<StreamId> = all.into();
    let mut last = Lsn(0);
    for cut in cuts {
        if !cut.needs.log.is_subset(reached) {
            return last;
        }
        going.retain(|one| cut.needs.streams.get(one).is_none_or(|names| names.is_subset(reached)));
        for _ in all {
            let closed = |one: &StreamId, going: &BTreeSet<StreamId>| {
                let ties = cut.needs.tied.iter().filter(|tie| tie.contains(one));
                ties.flatten().all(|other| going.contains(other))
            };
            let next: BTreeSet<StreamId> = going.iter().filter(|one| closed(one, &going)).copied().collect();
            going = next;
        }
        if !going.contains(&stream) {
            return last;
        }
        last = cut.last;
    }
    last
}

#[test]
fn watermarks_agree_with_their_definition_whatever_comes_when() {
    for seed in 0..300_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = |n: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % n
        };
        let (mut marks, mut cuts) = (fresh(), Vec::<Cut>::new());
        let mut reached = BTreeSet::new();
        let mut before: BTreeMap<StreamId, Lsn> = BTreeMap::new();
        for step in 0..40_u64 {
            if below(3) == 0 {
                let mut needs = Needs::default();
                needs.log.insert(SegmentSeq(1000 + step));
                for _ in 0..below(3) {
                    let some: Vec<StreamId> = [A, B, C].into_iter().filter(|_| below(5) < 2).collect();
                    let name = SegmentSeq(below(60));
                    if !some.is_empty() {
                        needs.add(&some, &[name]);
                    }
                }
                let cut = Cut { last: Lsn(step + 1), needs };
                let known: Vec<_> = cut
                    .needs
                    .all()
                    .filter(|seq| reached.contains(seq))
                    .map(|seq| (seq, Level::Finalized))
                    .collect();
                cuts.push(cut.clone());
                marks.push(cut, &known);
            } else {
                let needed: Vec<SegmentSeq> = cuts
                    .iter()
                    .flat_map(|cut| cut.needs.all())
                    .filter(|seq| !reached.contains(seq))
                    .collect();
                let seq = needed.get(below(needed.len().max(1) as u64) as usize).copied();
                let Some(seq) = seq else { continue };
                reached.insert(seq);
                marks.reached(&[seq], Level::Finalized);
            }
            for stream in [A, B, C] {
                let now = marks.marks().of(stream).finalized;
                assert_eq!(now, model(&cuts, &reached, stream), "seed {seed}, step {step}, {stream:?}");
                assert!(now >= before.insert(stream, now).unwrap_or_default(), "it moved back");
                let missing =
                    marks.missing(Level::Finalized, Some(stream), cuts.last().map_or(Lsn(0), |cut| cut.last));
                let is_there = cuts.last().is_none_or(|cut| now == cut.last);
                assert_eq!(missing.is_empty(), is_there, "seed {seed}, step {step}, {stream:?}: {missing:?}");
            }
        }
    }
}
