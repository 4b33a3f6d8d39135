//! Restore: the namespace from the chain, the miners and the root key, on an empty data directory.
//!
//! The account's files on chain name the deals that carry log parts. The parts are fetched, opened
//! and put in order by number and by the hash of the part before ([`chain_of`]); the longest run is
//! taken after which, stream by stream, every byte that is pointed at can be found ([`prefix`]), so the
//! result is the state after some prefix of each stream: every name, all metadata, and for every byte
//! the segment that holds it.
//! Rows of segments and deals are then made anew from what the chain says, since those of the lost
//! gateway stayed at home.
//!
//! Everything is written before the database takes its first commit, so a restore that is cut short
//! leaves a directory that does not open, never half a namespace. Log numbers go on behind the last
//! record taken and epochs above every epoch that a deal on chain or a part names, so that nothing
//! new can be taken for something old, also not for what could not be read. Memory holds the rows of
//! segments and at most [`KEPT_BYTES_MAX`] of records; what is beyond is fetched twice.

mod chain_of;
mod fetch;
mod prefix;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use gw_data::rows::{self, DealRow, DealState, LaneClass, SegmentRow, SegmentState, restored};
use gw_db::{Db, DbError, Read, Rows};
use gw_types::ports::{Chain, FileSegment, FileState, Keys, MinerAddr, Miners, RowChange, Striper};
use gw_types::{AccountId, FRAGMENTS, Fid, Hash32, Lsn, SegmentSeq, StreamId, TerritoryName, Timestamp};

use crate::error::DispersalError;
use crate::log::{LeftOut, LogRecord, Part};
use crate::name::DealName;
use crate::placement::placement;
use crate::rows as own;
use crate::rows::MarksRow;
use chain_of::{Link, chain_of};
use fetch::Fetcher;
use prefix::{Choice, RowKind, Told, Whole};

/// Questions to the chain under way at once.
const AT_ONCE: usize = 8;
/// Log parts fetched at once.
const PARTS_AT_ONCE: usize = 2;
/// Bytes of records kept from the first reading.
const KEPT_BYTES_MAX: usize = 64 << 20;
/// Rows written at a time.
const ROWS_MAX: usize = 2000;
/// Epochs left out above the highest that is known: whatever the lost gateway did after the last deal
/// that became Active has these.
const EPOCH_MARGIN: u16 = 16;

/// What a restore needs.
#[derive(Clone, Debug)]
pub struct RestorePorts {
    /// The account that owned the lost gateway's files.
    pub chain: Arc<dyn Chain>,
    /// Where the bytes are.
    pub miners: Arc<dyn Miners>,
    /// The same root key.
    pub keys: Arc<dyn Keys>,
    /// Rebuilds lost fragments.
    pub striper: Arc<dyn Striper>,
}

/// What the network holds, read and checked, before anything is written.
pub struct Restorable {
    /// State after this LSN.
    pub lsn: Lsn,
    /// Log parts that are taken.
    pub parts: u64,
    /// Log parts that are left because something before them, or their bytes, are missing.
    pub parts_left: u64,
    /// Streams of which records in the parts taken are left, because their bytes are missing.
    pub streams_left: Vec<StreamId>,
    /// The largest epoch that the lost gateway is known to have had; the new one begins above.
    pub epoch: u16,
    /// In order.
    taken: Vec<Found>,
    /// Which of their records count.
    choice: Choice,
    /// Which do not from now on.
    left_out: Vec<LeftOut>,
    /// Rows of segments, and counters, after `lsn`.
    segments: Image,
    deals: BTreeMap<Fid, Held>,
    /// Where each segment is that a record names.
    homes: BTreeMap<SegmentSeq, (Fid, usize)>,
    fetcher: Fetcher,
}

impl std::fmt::Debug for Restorable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Restorable({} parts up to {}, {} left)", self.parts, self.lsn, self.parts_left)
    }
}

/// One of our deals, Active on chain.
struct Held {
    name: DealName,
    file_name: String,
    territory: TerritoryName,
    file: FileState,
    miners: [MinerAddr; FRAGMENTS],
}

/// A log part that was read.
struct Found {
    link: Link,
    /// The deal and the segment in it.
    home: (Fid, usize),
    segments: Vec<(SegmentSeq, Hash32)>,
    told: Told,
    changes: usize,
    /// `None` when there was no room for them.
    records: Option<Vec<LogRecord>>,
}

/// Rows after some prefix of the log.
#[derive(Default)]
struct Image(BTreeMap<Vec<u8>, Vec<u8>>);

impl Image {
    /// What the part does, as far as it counts.
    fn take(&mut self, part: &Told, choice: &Choice) {
        for (key, value) in part.changes(|streams| choice.takes(part.last, streams)) {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }
}

impl Read for Image {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, DbError> {
        Ok(self.0.get(key).map(|value| Bytes::copy_from_slice(value)))
    }
    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, limit: usize) -> Result<Rows, DbError> {
        let upper = if to.is_empty() { Bound::Unbounded } else { Bound::Excluded(to) };
        let range = self.0.range::<[u8], _>((Bound::Included(from), upper));
        let row =
            |(key, value): (&Vec<u8>, &Vec<u8>)| (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        Ok(if reverse {
            range.rev().take(limit).map(row).collect()
        } else {
            range.take(limit).map(row).collect()
        })
    }
}

impl Restorable {
    /// Row changes that will be written.
    pub fn row_count(&self) -> usize {
        self.taken.iter().map(|found| found.changes).sum()
    }

    /// Reads and checks everything. Changes nothing anywhere.
    pub async fn read(ports: &RestorePorts) -> Result<Self, DispersalError> {
        let deals = held_deals(ports).await?;
        let fetcher = Fetcher::new(ports.clone());
        let found = find_parts(&fetcher, &deals).await?;
        let total: usize = deals.values().map(|held| held.name.parts).sum();
        let named = deals.values().map(|held| held.name.epoch);
        let epoch = named.chain(found.iter().map(|found| found.link.epoch)).max().unwrap_or_default();
        let mut restorable = Self {
            lsn: Lsn(0),
            parts: 0,
            parts_left: 0,
            streams_left: Vec::new(),
            epoch,
            taken: in_order(found),
            choice: Choice::default(),
            left_out: Vec::new(),
            segments: Image::default(),
            deals,
            homes: BTreeMap::new(),
            fetcher,
        };
        restorable.keep_whole()?;
        restorable.parts = restorable.taken.len() as u64;
        restorable.parts_left = total as u64 - restorable.parts;
        restorable.lsn = restorable.taken.last().map_or(Lsn(0), |found| found.link.last);
        Ok(restorable)
    }

    /// Keeps, of each stream, the longest prefix after which every byte that is pointed at can be found.
    fn keep_whole(&mut self) -> Result<(), DispersalError> {
        let by_hash: BTreeMap<Hash32, (Fid, usize)> = self
            .deals
            .iter()
            .flat_map(|(fid, held)| {
                held.file.segments.iter().enumerate().map(|(at, segment)| (segment.hash, (*fid, at)))
            })
            .collect();
        let said = Choice::said(self.taken.iter().map(|found| &found.told));
        let streams: BTreeSet<StreamId> =
            self.taken.iter().flat_map(|found| found.told.streams.iter().copied()).collect();
        let mut whole = Whole::new();
        let mut lacking = BTreeSet::new();
        for (at, found) in self.taken.iter().enumerate() {
            for (seq, hash) in &found.segments {
                self.homes.extend(by_hash.get(hash).map(|home| (*seq, *home)));
            }
            self.segments.take(&found.told, &said);
            lacking.extend(found.segments.iter().map(|(seq, _)| *seq));
            lacking.extend(found.told.segment_keys().filter_map(segment_of));
            let (image, homes) = (&self.segments, &self.homes);
            lacking.retain(|seq| !homes.contains_key(seq) && is_needed(image, *seq));
            let lacks = lacking.iter().map(|seq| stream_of(image, *seq)).collect::<BTreeSet<_>>();
            // A row that does not decode may be anybody's.
            let is_whole = |stream: &&StreamId| !lacks.contains(&Some(**stream)) && !lacks.contains(&None);
            for stream in streams.iter().filter(is_whole) {
                whole.entry(*stream).or_default().insert(at + 1);
            }
        }
        let told: Vec<Told> = self.taken.iter_mut().map(|found| std::mem::take(&mut found.told)).collect();
        let (count, left_out) = prefix::prefixes(&told, &said, &whole);
        self.taken.iter_mut().zip(told).for_each(|(found, told)| found.told = told);
        if count < self.taken.len() || !left_out.is_empty() {
            let parts = self.taken.len() - count;
            tracing::warn!(parts, ?left_out, segments = ?lacking, "bytes that these parts point at are on no miner");
            self.taken.truncate(count);
        }
        self.choice = said.without(&left_out);
        self.streams_left = left_out.iter().map(|left| left.stream).collect();
        self.left_out = left_out;
        self.segments = Image::default();
        self.taken.iter().for_each(|found| self.segments.take(&found.told, &self.choice));
        Ok(())
    }

    /// Writes the state into an empty database, where the log then goes on. Nothing else may have used
    /// the database, and [`gw_data::Data`] must be opened after it. Returns the LSN of the state.
    pub async fn write(self, db: &Db, now: Timestamp) -> Result<Lsn, DispersalError> {
        if self.lsn == Lsn(0) {
            return Err(DispersalError::Log("there is nothing to restore".to_owned()));
        }
        for found in &self.taken {
            let records = match &found.records {
                Some(records) => records.clone(),
                None => self.refetch(found).await?.records,
            };
            let counts = |record: &LogRecord| self.choice.takes(found.link.last, &record.streams);
            let rows = records.into_iter().filter(counts).flat_map(|record| record.changes);
            db.import_changes(rows.collect()).await?;
        }
        let mended = self.mended_rows(now)?;
        let mut mended = mended.into_iter().peekable();
        while mended.peek().is_some() {
            db.import_changes(mended.by_ref().take(ROWS_MAX).collect()).await?;
        }
        db.finish_import(self.lsn).await?;
        Ok(self.lsn)
    }

    async fn refetch(&self, found: &Found) -> Result<Part, DispersalError> {
        let (fid, at) = found.home;
        let gone = || DispersalError::Log("a part that was read is gone".to_owned());
        let held = self.deals.get(&fid).ok_or_else(gone)?;
        let segment = held.file.segments.get(at).ok_or_else(gone)?;
        self.fetcher.part(fid, segment, &held.miners).await
    }

    /// Rows that the records do not have, or not as they are now: segments, deals, counters, marks.
    fn mended_rows(&self, now: Timestamp) -> Result<Vec<RowChange>, DispersalError> {
        let epoch = self
            .epoch
            .checked_add(EPOCH_MARGIN)
            .ok_or_else(|| DispersalError::Log("all 65,535 epochs of this store are used up".to_owned()))?;
        let mut rows = self.mended_segments()?;
        let named = self.taken.iter().flat_map(|found| found.segments.iter().map(|(seq, _)| *seq));
        let mut next = named.fold(restored::last_segment(&self.segments)?, SegmentSeq::max);
        let seq_of: BTreeMap<(Fid, usize), SegmentSeq> =
            self.homes.iter().map(|(seq, home)| (*home, *seq)).collect();
        for (fid, held) in &self.deals {
            let is_log = |at: usize| at + held.name.parts >= held.file.segments.len();
            let is_known = |at: usize| is_log(at) || seq_of.contains_key(&(*fid, at));
            if !(0..held.file.segments.len()).any(is_known) {
                // Nothing in this state refers to it. It stays on chain: it may belong to parts that could
                // not be read today.
                tracing::warn!(%fid, "a deal of which the restored state knows nothing is left alone");
                continue;
            }
            let mut segments = Vec::with_capacity(held.file.segments.len());
            for (at, segment) in held.file.segments.iter().enumerate() {
                let seq = seq_of.get(&(*fid, at)).copied().unwrap_or_else(|| {
                    next = next.next();
                    let class = if is_log(at) { LaneClass::Log } else { LaneClass::Bulk };
                    let mut row = SegmentRow::new(class, StreamId(0), now);
                    row.live_bytes = u64::from(is_log(at));
                    place(&mut row, (*fid, at), segment);
                    let (key, value) = restored::segment(next, &row);
                    rows.push((key, Some(value)));
                    next
                });
                segments.push(seq);
            }
            let row = DealRow {
                segments,
                miners: held.miners.clone(),
                state: DealState::Active,
                territory: held.territory.clone(),
                file_name: held.file_name.clone(),
                declared_at: now,
            };
            let (key, value) = restored::deal(*fid, &row);
            rows.push((key, Some(value)));
        }
        let marks = MarksRow {
            dispersed: self.lsn,
            finalized: self.lsn,
            cut_to: self.lsn,
            next_part: self.parts,
            prev: self.taken.last().map_or(Hash32([0; 32]), |found| found.link.hash),
            left_out: self.left_out.clone(),
        };
        // Also those of records that are left out, so that no number is given twice.
        let counters = self.segments.0.range(vec![rows::COUNTER_TABLE]..vec![rows::COUNTER_TABLE + 1]);
        rows.extend(counters.map(|(key, value)| (key.clone(), Some(value.clone()))));
        let own = restored::floors(epoch, next).into_iter().chain([own::restored_marks(&marks)]);
        rows.extend(own.map(|(key, value)| (key, Some(value))));
        Ok(rows)
    }

    /// The rows that records have written, as the chain has the segments now; without those that died.
    fn mended_segments(&self) -> Result<Vec<RowChange>, DispersalError> {
        let mut mended = Vec::new();
        let mut from = SegmentSeq(0);
        loop {
            let page = rows::segments(&self.segments, from, ROWS_MAX)?;
            let Some((last, _)) = page.last() else { return Ok(mended) };
            from = last.next();
            for (seq, mut row) in page {
                row.guests.retain(|guest| is_referred_to(&self.segments, *guest));
                if row.state == SegmentState::Moved && row.live_bytes == 0 && !self.homes.contains_key(&seq) {
                    mended.extend([(restored::segment_key(seq), None), (restored::moved_key(seq), None)]);
                    continue;
                }
                let home = self
                    .homes
                    .get(&seq)
                    .and_then(|(fid, at)| Some(((*fid, *at), self.deals.get(fid)?.file.segments.get(*at)?)));
                if let Some((home, segment)) = home {
                    place(&mut row, home, segment);
                } else if row.state == SegmentState::Moved {
                    (row.local, row.stripe, row.deal) = (false, None, None);
                } else {
                    mended.push((restored::segment_key(seq), None));
                    continue;
                }
                let (key, value) = restored::segment(seq, &row);
                mended.push((key, Some(value)));
            }
        }
    }
}

/// Makes the row that of a finalized segment which is not here.
fn place(row: &mut SegmentRow, (fid, at): (Fid, usize), segment: &FileSegment) {
    let hashes: Vec<Hash32> = segment.fragments.iter().map(|fragment| fragment.hash).collect();
    row.local = false;
    row.deal = u16::try_from(at).ok().map(|at| (fid, at));
    row.stripe = hashes.try_into().ok().map(|fragments| rows::StripeRow { segment: segment.hash, fragments });
    if row.state != SegmentState::Moved {
        row.state = SegmentState::Finalized;
    }
}

/// Whether the state needs the segment's bytes: something refers to them, or to a guest's. Guests that
/// died are still listed, because letting go of them was a record that stayed at home. A row that does
/// not decode counts as needed.
fn is_needed(image: &Image, seq: SegmentSeq) -> bool {
    let is_needed = |row: SegmentRow| {
        let is_alive = |guest: &SegmentSeq| is_referred_to(image, *guest);
        row.state != SegmentState::Moved && (row.live_bytes > 0 || row.guests.iter().any(is_alive))
    };
    rows::segment(image, seq).map_or(true, |row| row.is_some_and(is_needed))
}

/// Whose segment it is; `None` when its row does not tell.
fn stream_of(image: &Image, seq: SegmentSeq) -> Option<StreamId> {
    rows::segment(image, seq).ok().flatten().map(|row| row.stream)
}

fn is_referred_to(image: &Image, seq: SegmentSeq) -> bool {
    rows::segment(image, seq).map_or(true, |row| row.is_some_and(|row| row.live_bytes > 0))
}

fn segment_of(key: &[u8]) -> Option<SegmentSeq> {
    let (table, number) = key.split_first()?;
    let number = <[u8; 8]>::try_from(number).ok()?;
    (*table == rows::SEGMENT_TABLE).then(|| SegmentSeq(u64::from_be_bytes(number)))
}

/// The parts of the right chain, in order.
fn in_order(found: Vec<Found>) -> Vec<Found> {
    let links: Vec<Link> = found.iter().map(|found| found.link).collect();
    let mut found: Vec<Option<Found>> = found.into_iter().map(Some).collect();
    chain_of(&links).into_iter().filter_map(|at| found[at].take()).collect()
}

/// Our deals that are Active on chain.
async fn held_deals(ports: &RestorePorts) -> Result<BTreeMap<Fid, Held>, DispersalError> {
    let files = ports.chain.files().await?;
    let listed: Vec<MinerAddr> = ports.chain.miners().await?.into_iter().map(|miner| miner.addr).collect();
    let unknown = || MinerAddr { account: AccountId([0; 32]), endpoint: String::new() };
    let nobody: [MinerAddr; FRAGMENTS] = std::array::from_fn(|_| unknown());
    let asked = futures::stream::iter(files.into_iter().map(|held| {
        let (chain, listed, nobody) = (Arc::clone(&ports.chain), &listed, &nobody);
        async move {
            let Some(file) = chain.file(held.fid).await? else { return Ok(None) };
            let Some((file_name, territory)) = file.held_as.clone() else { return Ok(None) };
            let name = DealName::decode(&file_name).filter(|name| name.segments == file.segments.len());
            let Some(name) = name else { return Ok(None) };
            let miners = placement(&file, listed, nobody);
            Ok::<_, DispersalError>(Some((held.fid, Held { name, file_name, territory, file, miners })))
        }
    }));
    asked.buffer_unordered(AT_ONCE).try_filter_map(|found| async { Ok(found) }).try_collect().await
}

/// Every log part that can be read.
async fn find_parts(fetcher: &Fetcher, deals: &BTreeMap<Fid, Held>) -> Result<Vec<Found>, DispersalError> {
    let wanted = deals.iter().flat_map(|(fid, held)| {
        let first = held.file.segments.len() - held.name.parts;
        let logs = held.file.segments.iter().enumerate().skip(first);
        logs.map(move |(at, segment)| (*fid, at, held, segment))
    });
    let fetched = futures::stream::iter(wanted.map(|(fid, at, held, segment)| async move {
        match fetcher.part(fid, segment, &held.miners).await {
            Ok(part) => Some(Found::new((fid, at), segment.hash, part)),
            Err(error) => {
                tracing::error!(%fid, segment = %segment.hash, %error, "a log part cannot be read; a restore stops before it");
                None
            }
        }
    }));
    let mut fetched = std::pin::pin!(fetched.buffer_unordered(PARTS_AT_ONCE));
    let (mut parts, mut kept) = (Vec::new(), 0);
    while let Some(found) = fetched.next().await {
        let Some((mut found, bytes)) = found else { continue };
        if kept + bytes > KEPT_BYTES_MAX {
            found.records = None;
        } else {
            kept += bytes;
        }
        parts.push(found);
    }
    Ok(parts)
}

impl Found {
    /// And the bytes of its records.
    fn new(home: (Fid, usize), hash: Hash32, part: Part) -> (Self, usize) {
        let changes = || part.records.iter().flat_map(|record| &record.changes);
        let bytes = changes().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len) + 64).sum();
        let kind = |key: &[u8]| match key.first() {
            Some(&rows::SEGMENT_TABLE) => RowKind::Segment,
            Some(&rows::COUNTER_TABLE) => RowKind::Counter,
            _ => RowKind::Other,
        };
        let mut told = Told::new(part.last, &part.left_out);
        part.records.iter().for_each(|record| told.add(record, kind));
        let found = Self {
            link: Link { number: part.number, prev: part.prev, hash, epoch: part.epoch, last: part.last },
            home,
            told,
            changes: changes().count(),
            segments: part.segments,
            records: Some(part.records),
        };
        (found, bytes)
    }
}
