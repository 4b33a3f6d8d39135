//! Which records of the log a restore takes: for each stream the longest prefix after which every byte
//! that is pointed at can be found. Pure.
//!
//! A part may name segments that are gone from the chain: they were collected after a later record had
//! dropped the last reference, or they died before they were dispersed. So what counts is the state
//! after the last part taken. A segment belongs to one stream, and only records of that stream change
//! its row; so one walk over the parts tells for every stream where it is whole. Records of several
//! streams are taken for all of them or for none.

use std::collections::{BTreeMap, BTreeSet};

use gw_types::ports::RowChange;
use gw_types::{Lsn, StreamId};

use crate::log::{LeftOut, LogRecord};

/// What the records of one part do, as far as the choice of the prefix needs it.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Last LSN of the part.
    pub(super) last: Lsn,
    /// Streams with records in it.
    pub(super) streams: BTreeSet<StreamId>,
    /// Streams that share records.
    pub(super) tied: BTreeSet<Vec<StreamId>>,
    /// Rows of segments: what records of the same streams last made of each, in order.
    rows: BTreeMap<Vec<u8>, Vec<Made>>,
    /// Rows that count, whosever record has written them: numbers are not given twice.
    counters: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// What it says of earlier parts.
    pub(super) left_out: Vec<LeftOut>,
}

/// What records of the same streams last made of a row; `None` deleted it.
type Made = (Vec<StreamId>, Option<Vec<u8>>);

/// What a row is to the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowKind {
    Segment,
    Counter,
    Other,
}

impl Told {
    pub(super) fn new(last: Lsn, left_out: &[LeftOut]) -> Self {
        Self { last, left_out: left_out.to_vec(), ..Self::default() }
    }

    /// Notes a record, in order.
    pub(super) fn add(&mut self, record: &LogRecord, kind: impl Fn(&[u8]) -> RowKind) {
        self.streams.extend(&record.streams);
        if record.streams.len() > 1 {
            self.tied.insert(record.streams.clone());
        }
        for (key, value) in &record.changes {
            match kind(key) {
                RowKind::Segment => {
                    let made = self.rows.entry(key.clone()).or_default();
                    made.retain(|(streams, _)| *streams != record.streams);
                    made.push((record.streams.clone(), value.clone()));
                }
                RowKind::Counter => {
                    self.counters.insert(key.clone(), value.clone());
                }
                RowKind::Other => {}
            }
        }
    }

    /// What its records do to rows, those of streams that are left out aside.
    pub(super) fn changes(&self, is_taken: impl Fn(&[StreamId]) -> bool) -> Vec<RowChange> {
        let last = |made: &Vec<Made>| {
            made.iter().rev().find(|(streams, _)| is_taken(streams)).map(|(_, value)| value.clone())
        };
        let rows = self.rows.iter().filter_map(|(key, made)| Some((key.clone(), last(made)?)));
        rows.chain(self.counters.iter().map(|(key, value)| (key.clone(), value.clone()))).collect()
    }

    /// Keys of segments' rows that it writes.
    pub(super) fn segment_keys(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.keys().map(Vec::as_slice)
    }
}

/// Which records count. Parts are told by their last LSN.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice {
    left_out: Vec<LeftOut>,
}

impl Choice {
    /// What the parts themselves say.
    pub(super) fn said<'a>(parts: impl IntoIterator<Item = &'a Told>) -> Self {
        Self { left_out: parts.into_iter().flat_map(|part| part.left_out.iter().copied()).collect() }
    }

    /// And these.
    pub(super) fn without(mut self, more: &[LeftOut]) -> Self {
        self.left_out.extend(more);
        self
    }

    /// Whether records of these streams in a part count.
    pub(super) fn takes(&self, last: Lsn, streams: &[StreamId]) -> bool {
        !self
            .left_out
            .iter()
            .any(|left| last > left.after && last <= left.last && streams.contains(&left.stream))
    }
}

/// After how many parts each stream is whole: ascending, and always also after none.
pub(super) type Whole = BTreeMap<StreamId, BTreeSet<usize>>;

/// The longest prefix of each stream, and how many parts are taken for some.
pub(super) fn prefixes(parts: &[Told], said: &Choice, whole: &Whole) -> (usize, Vec<LeftOut>) {
    let last_up_to = |stream: &StreamId, most: usize| {
        whole.get(stream).and_then(|at| at.range(..=most).next_back()).copied().unwrap_or(0)
    };
    let streams: BTreeSet<StreamId> = parts.iter().flat_map(|part| part.streams.iter().copied()).collect();
    let mut upto: BTreeMap<StreamId, usize> =
        streams.iter().map(|stream| (*stream, last_up_to(stream, parts.len()))).collect();
    loop {
        let before = upto.clone();
        for (at, part) in parts.iter().enumerate() {
            for tie in part.tied.iter().filter(|tie| said.takes(part.last, tie)) {
                if tie.iter().any(|stream| upto.get(stream).is_some_and(|upto| *upto <= at)) {
                    for stream in tie {
                        let lower = last_up_to(stream, at);
                        upto.entry(*stream).and_modify(|upto| *upto = if *upto > at { lower } else { *upto });
                    }
                }
            }
        }
        if upto == before {
            break;
        }
    }
    let taken = upto.values().copied().max().unwrap_or(0);
    let lsn = |count: usize| count.checked_sub(1).map_or(Lsn(0), |at| parts[at].last);
    let left_out = upto.into_iter().filter_map(|(stream, upto)| {
        let is_lost = parts[upto..taken].iter().any(|part| part.streams.contains(&stream));
        is_lost.then(|| LeftOut { stream, after: lsn(upto), last: lsn(taken) })
    });
    (taken, left_out.collect())
}

#[cfg(test)]
mod tests {
    use gw_types::{Lsn, StreamId};

    use super::{Choice, Told, Whole, prefixes};
    use crate::log::{LeftOut, LogRecord};

    const A: StreamId = StreamId(0);
    const B: StreamId = StreamId(4);

    fn part(last: u64, records: &[&[StreamId]]) -> Told {
        let mut told = Told::new(Lsn(last), &[]);
        for streams in records {
            let record = LogRecord {
                lsn: Lsn(last),
                streams: streams.to_vec(),
                names: Vec::new(),
                changes: vec![(vec![1], Some(vec![streams.len() as u8]))],
            };
            told.add(&record, |_| super::RowKind::Segment);
        }
        told
    }

    fn whole(a: &[usize], b: &[usize]) -> Whole {
        [(A, a.iter().copied().collect()), (B, b.iter().copied().collect())].into()
    }

    fn left(stream: StreamId, after: u64, last: u64) -> LeftOut {
        LeftOut { stream, after: Lsn(after), last: Lsn(last) }
    }

    #[test]
    fn each_stream_gets_its_own_prefix() {
        let parts = [part(10, &[&[A], &[B]]), part(20, &[&[A]]), part(30, &[&[B]]), part(40, &[&[A]])];
        let choose = |a: &[usize], b: &[usize]| prefixes(&parts, &Choice::default(), &whole(a, b));
        assert_eq!(choose(&[1, 2, 3, 4], &[1, 2, 3, 4]), (4, vec![]));
        assert_eq!(choose(&[1, 2, 3, 4], &[1, 2]), (4, vec![left(B, 20, 40)]));
        assert_eq!(choose(&[1, 2, 3, 4], &[]), (4, vec![left(B, 0, 40)]));
        assert_eq!(choose(&[1], &[1, 2, 3, 4]), (4, vec![left(A, 10, 40)]));
        assert_eq!(choose(&[1], &[1, 2]), (2, vec![left(A, 10, 20)]));
        assert_eq!(choose(&[], &[]), (0, vec![]));
    }

    #[test]
    fn a_record_of_two_streams_is_taken_for_both_or_for_none() {
        let parts = [part(10, &[&[A], &[B]]), part(20, &[&[A, B]]), part(30, &[&[A]])];
        let choose = |a: &[usize], b: &[usize]| prefixes(&parts, &Choice::default(), &whole(a, b));
        assert_eq!(choose(&[1, 2, 3], &[1, 2, 3]), (3, vec![]));
        assert_eq!(choose(&[1, 2, 3], &[1]), (1, vec![]), "A may not go beyond what it shares with B");
        assert_eq!(choose(&[2, 3], &[1]), (1, vec![left(A, 0, 10)]), "and is not whole there");
        let said = Choice::default().without(&[left(B, 10, 20)]);
        assert_eq!(prefixes(&parts, &said, &whole(&[1, 2, 3], &[1])).0, 3, "what is left out ties nobody");
    }

    #[test]
    fn what_is_left_out_changes_nothing() {
        let told = part(20, &[&[A], &[A, B]]);
        let value = |choice: &Choice| {
            told.changes(|streams| choice.takes(Lsn(20), streams)).first().map(|(_, value)| value.clone())
        };
        assert_eq!(value(&Choice::default()), Some(Some(vec![2])));
        assert_eq!(value(&Choice::default().without(&[left(B, 10, 30)])), Some(Some(vec![1])));
        assert_eq!(value(&Choice::default().without(&[left(B, 20, 30)])), Some(Some(vec![2])));
        assert_eq!(value(&Choice::default().without(&[left(A, 0, 20)])), None);
    }
}
