//! Restore: the namespace from the chain, the miners and the root key, on an empty data directory.
//!
//! The account's files on chain name the deals that carry log parts. The parts are fetched, opened
//! and put in order by number and by the hash of the part before; whole cuts are taken up to the
//! first gap, so the result is the state after some prefix of the log: every name, all metadata,
//! and for every byte the segment that holds it. Rows of segments and deals are then made anew from
//! what the chain says, since those of the lost gateway stayed at home.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::TryStreamExt;
use gw_data::rows::{self, DealRow, DealState, SegmentState};
use gw_db::{Db, DbError, Read, Rows};
use gw_types::ports::{Chain, FileSegment, FileState, Keys, MinerAddr, Miners, PlacedFragment, RowChange, Striper};
use gw_types::{
    AccountId, DATA_FRAGMENTS, FRAGMENT_BYTES, Fid, FragmentIndex, Hash32, Lsn, PortError, SEGMENT_BYTES, SegmentSeq,
    TerritoryName, Timestamp,
};

use crate::error::DispersalError;
use crate::log::{self, Part};
use crate::name::DealName;
use crate::rows as own;
use crate::rows::{LOCAL, MarksRow};

/// Questions to the chain and miners under way at once.
const AT_ONCE: usize = 8;
/// Rows written in one commit.
const ROWS_A_COMMIT: usize = 2000;
/// Where the length of a log part stands.
const HEAD_BYTES: usize = 16;

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
    /// Log parts that were taken.
    pub parts: u64,
    /// Log parts that were left because something before them, or their bytes, are missing.
    pub parts_left: u64,
    /// Largest epoch that wrote any of it: the new gateway begins above.
    pub epoch: u16,
    rows: Image,
    deals: Vec<(Fid, Held)>,
    /// Where each segment is, by its hash.
    homes: BTreeMap<SegmentSeq, (Fid, u16)>,
    prev: Hash32,
}

struct Held {
    name: DealName,
    file_name: String,
    territory: TerritoryName,
    file: FileState,
    miners: Vec<MinerAddr>,
}

struct Found {
    part: Part,
    hash: Hash32,
}

/// Rows after some prefix of the log.
#[derive(Default)]
struct Image(BTreeMap<Vec<u8>, Vec<u8>>);

impl Image {
    fn apply(&mut self, changes: impl Iterator<Item = RowChange>) {
        for (key, value) in changes {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }
    /// Whether something points at bytes of the segment. A row that does not decode counts as live.
    fn is_live(&self, seq: SegmentSeq) -> bool {
        rows::segment(self, seq).map_or(true, |row| row.is_some_and(|row| row.live_bytes > 0))
    }
}

impl Read for Image {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, DbError> {
        Ok(self.0.get(key).map(|value| Bytes::copy_from_slice(value)))
    }
    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, limit: usize) -> Result<Rows, DbError> {
        let upper = if to.is_empty() { Bound::Unbounded } else { Bound::Excluded(to) };
        let range = self.0.range::<[u8], _>((Bound::Included(from), upper));
        let row = |(key, value): (&Vec<u8>, &Vec<u8>)| (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        Ok(if reverse { range.rev().take(limit).map(row).collect() } else { range.take(limit).map(row).collect() })
    }
}

/// Parts in order, up to the first gap, as whole cuts.
fn whole_cuts(mut found: BTreeMap<u64, Vec<Found>>) -> Vec<Vec<Found>> {
    let mut cuts = Vec::new();
    let mut cut = Vec::new();
    let mut prev = Hash32([0; 32]);
    let mut number = 0;
    while let Some(next) = next_part(&mut found, number, prev) {
        prev = next.hash;
        number += 1;
        let ends = next.part.ends_cut;
        cut.push(next);
        if ends {
            cuts.push(std::mem::take(&mut cut));
        }
    }
    cuts
}

impl Restorable {
    /// Rows that will be written.
    pub fn row_count(&self) -> usize {
        self.rows.0.len()
    }

    /// Reads everything. Changes nothing anywhere.
    pub async fn read(ports: &RestorePorts) -> Result<Self, DispersalError> {
        let deals = held_deals(ports).await?;
        let found = find_parts(ports, &deals).await?;
        let by_hash: BTreeMap<Hash32, (Fid, u16)> = deals
            .iter()
            .flat_map(|(fid, held)| {
                let index = |index: usize| u16::try_from(index).unwrap_or(u16::MAX);
                held.file.segments.iter().enumerate().map(move |(at, segment)| (segment.hash, (*fid, index(at))))
            })
            .collect();
        let total = found.values().map(Vec::len).sum::<usize>() as u64;
        let mut restorable = Self {
            lsn: Lsn(0),
            parts: 0,
            parts_left: 0,
            epoch: 0,
            rows: Image::default(),
            deals,
            homes: BTreeMap::new(),
            prev: Hash32([0; 32]),
        };
        restorable.take_cuts(found, &by_hash);
        restorable.parts_left = total - restorable.parts;
        Ok(restorable)
    }

    /// Takes the longest run of whole cuts after which every byte that is pointed at can be found.
    ///
    /// A cut may name segments that are gone from the chain: they were collected after a later record
    /// had dropped the last reference, so what counts is the state after the last cut taken.
    fn take_cuts(&mut self, found: BTreeMap<u64, Vec<Found>>, by_hash: &BTreeMap<Hash32, (Fid, u16)>) {
        let mut cuts = whole_cuts(found);
        let mut image = Image::default();
        let mut homes = BTreeMap::new();
        let mut missing = BTreeSet::new();
        let mut best = 0;
        for (at, cut) in cuts.iter().enumerate() {
            for found in cut {
                for (seq, hash) in &found.part.segments {
                    if let Some(home) = by_hash.get(hash) {
                        homes.insert(*seq, *home);
                    } else {
                        missing.insert(*seq);
                    }
                }
                let rows = found.part.records.iter().flat_map(|record| &record.changes);
                image.apply(rows.filter(|(key, _)| key.first() == Some(&rows::SEGMENT_TABLE)).cloned());
            }
            missing.retain(|seq| !homes.contains_key(seq));
            if missing.iter().all(|seq| !image.is_live(*seq)) {
                best = at + 1;
            }
        }
        cuts.truncate(best);
        self.homes = homes;
        for found in cuts.into_iter().flatten() {
            self.prev = found.hash;
            self.take(found.part);
        }
    }

    fn take(&mut self, part: Part) {
        self.parts += 1;
        self.lsn = part.last_of_cut;
        self.epoch = self.epoch.max(part.epoch);
        self.rows.apply(part.records.into_iter().flat_map(|record| record.changes));
    }

    /// Writes the state into an empty database and waits until it is staged.
    ///
    /// LSNs go on behind the old ones and epochs above the old ones, so nothing new can be taken for
    /// something old.
    pub async fn write(self, db: &Db, now: Timestamp) -> Result<Lsn, DispersalError> {
        if db.appended() != Lsn(0) {
            return Err(DispersalError::Log("a restore needs an empty data directory".to_owned()));
        }
        let rows: Vec<(Vec<u8>, Vec<u8>)> = self.rows.0.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        db.import(rows).await?;
        db.finish_import(self.lsn).await?;
        for page in self.deals.chunks(ROWS_A_COMMIT / 16) {
            self.write_deals(db, page, now)?;
        }
        self.mend_segments(db)?;
        let committed = db.transact(|txn| {
            txn.stream(LOCAL);
            let lsn = txn.lsn();
            own::put_marks(
                txn,
                &MarksRow { dispersed: lsn, finalized: lsn, cut_to: lsn, next_part: self.parts, prev: self.prev },
            );
            Ok::<_, DispersalError>(())
        })?;
        db.wait_staged(committed.lsn).await?;
        Ok(committed.lsn)
    }

    fn write_deals(&self, db: &Db, page: &[(Fid, Held)], now: Timestamp) -> Result<(), DispersalError> {
        let seq_of: BTreeMap<(Fid, u16), SegmentSeq> = self.homes.iter().map(|(seq, home)| (*home, *seq)).collect();
        db.transact(|txn| {
            txn.stream(LOCAL);
            for (fid, held) in page {
                let at = |index: usize| u16::try_from(index).unwrap_or(u16::MAX);
                let segments: Option<Vec<SegmentSeq>> = (0..held.file.segments.len())
                    .map(|index| seq_of.get(&(*fid, at(index))).copied())
                    .collect();
                let (Some(segments), Ok(miners)) = (segments, held.miners.clone().try_into()) else { continue };
                let row = DealRow {
                    segments,
                    miners,
                    state: DealState::Active,
                    territory: held.territory.clone(),
                    file_name: held.file_name.clone(),
                    declared_at: now,
                };
                rows::put_deal(txn, *fid, &row);
            }
            Ok::<_, DispersalError>(())
        })?;
        Ok(())
    }

    fn mend_segments(&self, db: &Db) -> Result<(), DispersalError> {
        let files: BTreeMap<Fid, &FileState> = self.deals.iter().map(|(fid, held)| (*fid, &held.file)).collect();
        let mut from = SegmentSeq(0);
        loop {
            let page = rows::segments(&db.snapshot(), from, ROWS_A_COMMIT)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            from = last.next();
            db.transact(|txn| {
                txn.stream(LOCAL);
                for (seq, mut row) in page {
                    row.local = false;
                    row.stripe = None;
                    row.deal = self.homes.get(&seq).copied();
                    let placed = row.deal.and_then(|(fid, index)| files.get(&fid)?.segments.get(usize::from(index)));
                    if let Some(segment) = placed {
                        row.state = SegmentState::Finalized;
                        row.stripe = stripe(segment);
                    }
                    rows::put_segment(txn, seq, &row)?;
                }
                Ok::<_, DispersalError>(())
            })?;
        }
    }
}

fn stripe(segment: &FileSegment) -> Option<rows::StripeRow> {
    let fragments: Vec<Hash32> = segment.fragments.iter().map(|fragment| fragment.hash).collect();
    Some(rows::StripeRow { segment: segment.hash, fragments: fragments.try_into().ok()? })
}

/// Parts of one number: a crash between writing a part and remembering it can leave two. The one
/// that the next part was written behind is right; for the last number, the one that covers more.
fn next_part(found: &mut BTreeMap<u64, Vec<Found>>, number: u64, prev: Hash32) -> Option<Found> {
    let followed = |hash: Hash32, found: &BTreeMap<u64, Vec<Found>>| {
        found.get(&(number + 1)).is_some_and(|after| after.iter().any(|after| after.part.prev == hash))
    };
    let candidates = found.get(&number)?;
    let best = candidates
        .iter()
        .enumerate()
        .filter(|(_, candidate)| candidate.part.prev == prev)
        .max_by_key(|(_, candidate)| (followed(candidate.hash, found), candidate.part.last_of_cut))
        .map(|(at, _)| at)?;
    Some(found.get_mut(&number)?.swap_remove(best))
}

async fn held_deals(ports: &RestorePorts) -> Result<Vec<(Fid, Held)>, DispersalError> {
    let files = ports.chain.files().await?;
    let miners: BTreeMap<AccountId, MinerAddr> =
        ports.chain.miners().await?.into_iter().map(|miner| (miner.addr.account, miner.addr)).collect();
    let asked = futures::stream::iter(files.into_iter().map(|held| {
        let (chain, miners) = (Arc::clone(&ports.chain), &miners);
        async move {
            let Some(file) = chain.file(held.fid).await? else { return Ok(None) };
            let Some((file_name, territory)) = file.held_as.clone() else { return Ok(None) };
            let Some(name) = DealName::decode(&file_name) else { return Ok(None) };
            let addr = |fragment: &PlacedFragment| {
                let unknown = MinerAddr { account: fragment.miner, endpoint: String::new() };
                miners.get(&fragment.miner).cloned().unwrap_or(unknown)
            };
            let miners = file.segments.first().map(|segment| segment.fragments.iter().map(addr).collect());
            let miners = miners.unwrap_or_default();
            Ok::<_, DispersalError>(Some((held.fid, Held { name, file_name, territory, file, miners })))
        }
    }));
    asked.buffer_unordered(AT_ONCE).try_filter_map(|found| async { Ok(found) }).try_collect().await
}

async fn find_parts(ports: &RestorePorts, deals: &[(Fid, Held)]) -> Result<BTreeMap<u64, Vec<Found>>, DispersalError> {
    let mut wanted = Vec::new();
    for (fid, held) in deals {
        let first = held.file.segments.len().saturating_sub(held.name.parts);
        wanted.extend(held.file.segments.iter().skip(first).map(|segment| (*fid, held, segment)));
    }
    let fetched = futures::stream::iter(wanted.into_iter().map(|(fid, held, segment)| async move {
        match fetch_part(ports, fid, held, segment).await {
            Ok(part) => Some(Found { part, hash: segment.hash }),
            Err(error) => {
                tracing::error!(%fid, segment = %segment.hash, %error, "a log part cannot be read; a restore stops before it");
                None
            }
        }
    }));
    let parts: Vec<Found> = fetched.buffer_unordered(2).filter_map(|found| async { found }).collect().await;
    let mut found: BTreeMap<u64, Vec<Found>> = BTreeMap::new();
    for part in parts {
        found.entry(part.part.number).or_default().push(part);
    }
    Ok(found)
}

async fn fetch_part(ports: &RestorePorts, fid: Fid, held: &Held, segment: &FileSegment) -> Result<Part, DispersalError> {
    let head = fetch(ports, fid, held, segment, HEAD_BYTES).await?;
    let garbled = |error: log::LogError| DispersalError::Log(error.to_string());
    let len = log::framed_len(&head).map_err(garbled)?;
    let bytes = fetch(ports, fid, held, segment, len).await?;
    let sealed = log::unframe(&bytes).map_err(garbled)?;
    let plain = ports.keys.open_record(log::PURPOSE, sealed).await?;
    Part::decode(&plain).map_err(garbled)
}

/// The first `len` bytes of a segment, from its data fragments, or rebuilt from any four others.
async fn fetch(
    ports: &RestorePorts,
    fid: Fid,
    held: &Held,
    segment: &FileSegment,
    len: usize,
) -> Result<Bytes, DispersalError> {
    assert!(len as u64 <= SEGMENT_BYTES, "a part lies in its segment");
    let mut bytes = BytesMut::with_capacity(len);
    for index in FragmentIndex::all().take(DATA_FRAGMENTS) {
        let left = (len - bytes.len()) as u64;
        if left == 0 {
            break;
        }
        let range = 0..left.min(FRAGMENT_BYTES) as u32;
        let direct = column(ports, fid, held, segment, index, range.clone()).await;
        let column = match direct {
            Ok(column) => column,
            Err(_) => rebuild(ports, fid, held, segment, index, range).await?,
        };
        bytes.extend_from_slice(&column);
    }
    Ok(bytes.freeze())
}

async fn column(
    ports: &RestorePorts,
    fid: Fid,
    held: &Held,
    segment: &FileSegment,
    index: FragmentIndex,
    range: std::ops::Range<u32>,
) -> Result<Bytes, PortError> {
    let missing = || PortError::definite(gw_types::PortErrorKind::NotFound, "the chain names no such fragment");
    let fragment = segment.fragments.get(index.get()).ok_or_else(missing)?;
    let miner = held.miners.get(index.get()).ok_or_else(missing)?;
    ports.miners.get(miner, fid, fragment.hash, range).await
}

async fn rebuild(
    ports: &RestorePorts,
    fid: Fid,
    held: &Held,
    segment: &FileSegment,
    wanted: FragmentIndex,
    range: std::ops::Range<u32>,
) -> Result<Bytes, DispersalError> {
    let mut columns = Vec::with_capacity(DATA_FRAGMENTS);
    for index in FragmentIndex::all().filter(|index| *index != wanted) {
        if let Ok(bytes) = column(ports, fid, held, segment, index, range.clone()).await {
            columns.push((index, bytes));
        }
        if columns.len() == DATA_FRAGMENTS {
            return Ok(ports.striper.rebuild(columns, wanted).await?);
        }
    }
    Err(DispersalError::Log(format!("only {} of 4 fragments of segment {} can be read", columns.len(), segment.hash)))
}
