//! Maps against a model that is obviously right: each body a list of (extent, byte) pairs.

use std::sync::Arc;

use gw_db::{Db, DbConfig, DbError, DbPorts, NoInlines};
use gw_sim::{MemDisk, SimClock};
use gw_types::{ExtentId, KeyId, MapId, SegmentSeq, StreamId, Timestamp};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};

use super::{DataMap, ExtentRef, MapBody, MapEntry, install};
use crate::rows::{self, LaneClass, SegmentRow};
use gw_types::ports::WrappedDataKey;

const SEGMENTS: u64 = 3;
const KEY: KeyId = KeyId(5);

#[derive(Clone, Debug)]
enum Act {
    /// A body of extents of these lengths.
    Write(Vec<u32>),
    /// Shares a part of a body: which, from where, how much (as shares of 65,536).
    Share(usize, u16, u16),
    /// Joins some bodies into one.
    Concat(usize, usize),
    Release(usize),
    /// Writes extents of these lengths into a body, at a share of its length and a bit.
    Overwrite(usize, u16, Vec<u32>),
    /// Makes a part of a body a hole.
    Punch(usize, u16, u16),
    /// Gives a body another length.
    Resize(usize, u64),
    /// Puts a part of one body into another by reference.
    Reflink(usize, usize, u16),
    /// Some steps of what is left to be done on layers.
    Tend(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        prop::collection::vec(1u32..120, 1..60).prop_map(Act::Write),
        (any::<usize>(), any::<u16>(), any::<u16>())
            .prop_map(|(which, from, len)| Act::Share(which, from, len)),
        (any::<usize>(), 1usize..5).prop_map(|(from, count)| Act::Concat(from, count)),
        any::<usize>().prop_map(Act::Release),
        Just(Act::Release(0)),
        (any::<usize>(), any::<u16>(), prop::collection::vec(1u32..90, 1..30))
            .prop_map(|(which, at, lens)| Act::Overwrite(which, at, lens)),
        (any::<usize>(), any::<u16>(), prop::collection::vec(1u32..40, 1..3))
            .prop_map(|(which, at, lens)| Act::Overwrite(which, at, lens)),
        (any::<usize>(), any::<u16>(), any::<u16>())
            .prop_map(|(which, from, len)| Act::Punch(which, from, len)),
        (any::<usize>(), 0u64..6000).prop_map(|(which, len)| Act::Resize(which, len)),
        (any::<usize>(), any::<usize>(), any::<u16>()).prop_map(|(a, b, at)| Act::Reflink(a, b, at)),
        (1usize..6).prop_map(Act::Tend),
        Just(Act::Tend(40)),
    ]
}

const STREAM: StreamId = StreamId(0);
/// A byte of a hole in the model.
const HOLE: (u64, u32) = (0, 0);

fn overwrite_model(bytes: &mut Vec<(u64, u32)>, at: usize, new: &[(u64, u32)]) {
    bytes.resize(bytes.len().max(at + new.len()), HOLE);
    bytes[at..at + new.len()].copy_from_slice(new);
}

struct World {
    db: Arc<Db>,
    extents: u64,
    offset: u32,
    bodies: Vec<(DataMap, Vec<(u64, u32)>)>,
}

impl World {
    async fn new() -> Self {
        let ports = DbPorts {
            disk: Arc::new(MemDisk::new()),
            catalog: Arc::new(gw_db::catalog::MemoryCatalog::new()),
            clock: Arc::new(SimClock::default()),
            sink: Arc::new(NoInlines),
        };
        let db = Db::open(ports, DbConfig::default()).await.unwrap();
        db.transact(|txn| {
            for seq in 0..SEGMENTS {
                let row = SegmentRow::new(LaneClass::Bulk, StreamId(0), Timestamp(0));
                rows::put_segment(txn, SegmentSeq(seq), &row)?;
            }
            Ok::<_, DbError>(())
        })
        .unwrap();
        Self { db, extents: 0, offset: 0, bodies: Vec::new() }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Write(lens) => self.write(&lens),
            Act::Share(which, from, len) => self.share(which, from, len),
            Act::Concat(from, count) => self.concat(from, count),
            Act::Release(which) => self.release(which),
            Act::Overwrite(which, at, lens) => self.overwrite(which, at, &lens),
            Act::Punch(which, from, len) => self.punch(which, from, len),
            Act::Resize(which, len) => self.resize(which, len),
            Act::Reflink(from, to, at) => self.reflink(from, to, at),
            Act::Tend(steps) => drop(self.tend(steps)),
        }
    }

    /// Changes a body and its model.
    fn change(
        &mut self,
        which: usize,
        act: impl FnOnce(&mut gw_db::Txn<'_>, &mut DataMap) -> Result<(), DbError>,
        model: impl FnOnce(&mut Vec<(u64, u32)>),
    ) {
        let (map, bytes) = &mut self.bodies[which];
        let mut changed = map.clone();
        self.db.transact(|txn| act(txn, &mut changed)).unwrap();
        *map = changed;
        model(bytes);
    }

    fn overwrite(&mut self, which: usize, at: u16, lens: &[u32]) {
        if self.bodies.is_empty() {
            return;
        }
        let which = which % self.bodies.len();
        self.write(lens);
        let (new, written) = self.bodies.pop().unwrap();
        let at = (self.bodies[which].1.len() as u64 + 100) * u64::from(at) / 65_535;
        let write = |txn: &mut gw_db::Txn<'_>, map: &mut DataMap| map.overwrite(txn, STREAM, at, new);
        self.change(which, write, |bytes| overwrite_model(bytes, at as usize, &written));
    }

    fn punch(&mut self, which: usize, from: u16, len: u16) {
        if self.bodies.is_empty() {
            return;
        }
        let which = which % self.bodies.len();
        let all = self.bodies[which].1.len() as u64;
        let start = all * u64::from(from) / 65_535;
        let end = start + (all - start) * u64::from(len) / 65_535;
        let punch = |txn: &mut gw_db::Txn<'_>, map: &mut DataMap| map.punch(txn, STREAM, start..end);
        self.change(which, punch, |bytes| bytes[start as usize..end as usize].fill(HOLE));
    }

    fn resize(&mut self, which: usize, len: u64) {
        if self.bodies.is_empty() {
            return;
        }
        let which = which % self.bodies.len();
        self.change(which, |txn, map| map.resize(txn, STREAM, len), |bytes| bytes.resize(len as usize, HOLE));
    }

    fn reflink(&mut self, from: usize, to: usize, at: u16) {
        if self.bodies.is_empty() {
            return;
        }
        let (from, to) = (from % self.bodies.len(), to % self.bodies.len());
        let (map, bytes) = self.bodies[from].clone();
        let len = (bytes.len() as u64).min(1500);
        let at = self.bodies[to].1.len() as u64 * u64::from(at) / 65_535;
        let link = |txn: &mut gw_db::Txn<'_>, target: &mut DataMap| {
            let shared = map.share(txn, 0..len)?;
            target.overwrite(txn, STREAM, at, shared)
        };
        self.change(to, link, |target| overwrite_model(target, at as usize, &bytes[..len as usize]));
    }

    /// Up to so many steps; whether nothing is left.
    fn tend(&mut self, steps: usize) -> bool {
        for _ in 0..steps {
            let Some(id) = rows::next_task(&self.db.snapshot(), MapId(0)).unwrap() else { return true };
            self.db.transact(|txn| super::tend(txn, id)).unwrap();
        }
        false
    }

    fn write(&mut self, lens: &[u32]) {
        let (mut entries, mut model) = (Vec::new(), Vec::new());
        for len in lens {
            self.extents += 1;
            let at = ExtentRef {
                extent: ExtentId::new(1, self.extents).unwrap(),
                extent_len: *len,
                skip: 0,
                segment: SegmentSeq(self.extents % SEGMENTS),
                offset: self.offset,
                key: KEY,
            };
            self.offset += len + 16;
            entries.push(MapEntry { len: *len, at: Some(at) });
            model.extend((0..*len).map(|byte| (self.extents, byte)));
        }
        let keys = vec![(KEY, WrappedDataKey(vec![1]))];
        let made = self.db.transact(|txn| {
            for entry in &entries {
                let seq = entry.at.unwrap().segment;
                let mut row = rows::segment(txn, seq)?.unwrap();
                row.live_bytes += entry.live_bytes();
                rows::put_segment(txn, seq, &row)?;
            }
            install(txn, keys, entries)
        });
        self.bodies.push((made.unwrap().value, model));
    }

    fn share(&mut self, which: usize, from: u16, len: u16) {
        let Some((map, model)) = self.bodies.get(which % self.bodies.len().max(1)) else { return };
        let part = |of: u64, share: u16| of * u64::from(share) / 65_535;
        let start = part(map.len, from);
        let end = start + part(map.len - start, len);
        let shared = self.db.transact(|txn| map.share(txn, start..end)).unwrap().value;
        let model = model[start as usize..end as usize].to_vec();
        self.bodies.push((shared, model));
    }

    fn concat(&mut self, from: usize, count: usize) {
        if self.bodies.is_empty() {
            return;
        }
        let from = from % self.bodies.len();
        let taken: Vec<_> = self.bodies.drain(from..(from + count).min(self.bodies.len())).collect();
        let (maps, models): (Vec<_>, Vec<_>) = taken.into_iter().unzip();
        let joined = self.db.transact(|txn| DataMap::concat(txn, maps)).unwrap().value;
        self.bodies.push((joined, models.concat()));
    }

    fn release(&mut self, which: usize) {
        if self.bodies.is_empty() {
            return;
        }
        let (map, _) = self.bodies.swap_remove(which % self.bodies.len());
        self.db.transact(|txn| map.release(txn)).unwrap();
    }

    fn live(&self) -> Vec<u64> {
        let rows = rows::segments(&self.db.snapshot(), SegmentSeq(0), 100).unwrap();
        rows.into_iter().map(|(_, row)| row.live_bytes).collect()
    }

    fn check(&self) {
        let snapshot = self.db.snapshot();
        let mut named = [false; SEGMENTS as usize];
        for (map, model) in &self.bodies {
            assert_eq!(map.len, model.len() as u64);
            let entries = map.entries(&snapshot, 0..map.len).unwrap();
            let mut shown = Vec::new();
            for entry in entries {
                let Some(at) = entry.at else {
                    shown.extend((0..entry.len).map(|_| HOLE));
                    continue;
                };
                named[at.segment.0 as usize] = true;
                assert_eq!(map.key(at.key), Some(&WrappedDataKey(vec![1])));
                shown
                    .extend((at.skip..at.skip + entry.len).map(|byte| (at.extent.get() & 0xFFFF_FFFF, byte)));
            }
            let mut model_runs: Vec<super::MapRun> = Vec::new();
            for byte in model {
                let is_data = *byte != HOLE;
                match model_runs.last_mut() {
                    Some(last) if last.is_data == is_data => last.len += 1,
                    _ => model_runs.push(super::MapRun { len: 1, is_data }),
                }
            }
            assert_eq!(map.runs(&snapshot, 0..map.len, usize::MAX).unwrap(), model_runs);
            assert!(shown == *model, "a map shows other bytes than the model");
        }
        for (live, named) in self.live().iter().zip(named) {
            assert!(*live > 0 || !named, "bytes that are referred to count as live");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn maps_show_what_was_written_however_they_are_copied_cut_and_joined(acts in prop::collection::vec(act(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for act in acts {
                world.act(act);
                world.check();
            }
            while !world.bodies.is_empty() {
                world.release(0);
            }
            while !world.tend(100) {}
            assert_eq!(world.live(), vec![0; SEGMENTS as usize], "nothing refers to anything any more");
            for table in [rows::MAP_TABLE, rows::LAYER_TABLE, rows::LEAF_TABLE, rows::BASE_TABLE, rows::LINK_TABLE] {
                let left = world.db.snapshot().scan(&[table], &[table + 1], false, 10).unwrap();
                assert!(left.is_empty(), "nothing is left behind in table {table:x}");
            }
        });
    }
}

#[tokio::test]
async fn releasing_twice_fails_the_commit() {
    let mut world = World::new().await;
    world.write(&[10]);
    let map = world.bodies[0].0.clone();
    world.release(0);
    assert!(world.db.transact(|txn| map.release(txn)).is_err());
    world.write(&[100; 40]);
    let map = world.bodies[0].0.clone();
    assert!(matches!(&map.body, MapBody::Pieces(pieces) if pieces.len() == 1));
    world.release(0);
    assert!(world.db.transact(|txn| map.release(txn)).is_err());
}

#[test]
fn a_part_of_an_extent_keeps_just_the_frames_it_needs() {
    let at = ExtentRef {
        extent: ExtentId::new(1, 1).unwrap(),
        extent_len: 200_000,
        skip: 65_535,
        segment: SegmentSeq(1),
        offset: 1000,
        key: KEY,
    };
    let entry = MapEntry { len: 2, at: Some(at) };
    assert_eq!(entry.live_bytes(), 2 * 65_552);
    assert_eq!(entry.sealed_range(), Some((SegmentSeq(1), 1000..1000 + 2 * 65_552)));
    let last = MapEntry { len: 1, at: Some(ExtentRef { skip: 199_999, ..at }) };
    assert_eq!(last.live_bytes(), 200_000 - 3 * 65_536 + 16);
    let beyond = MapEntry { len: 2, at: Some(ExtentRef { skip: 199_999, ..at }) };
    assert_eq!((beyond.live_bytes(), beyond.sealed_range()), (0, None));
    assert_eq!(MapEntry { len: 9, at: None }.live_bytes(), 0);
}

/// A file that is written, published and written again, as a mount does: the chain of layers does not
/// grow with the number of times.
#[tokio::test]
async fn what_nobody_looks_at_any_more_leaves_the_chain() {
    let mut world = World::new().await;
    world.write(&[50; 60]);
    for round in 0..40 {
        let shared = world.bodies[0].clone();
        let published = world.db.transact(|txn| shared.0.share(txn, 0..shared.0.len)).unwrap().value;
        world.bodies.push((published, shared.1));
        world.overwrite(0, round * 1000, &[3, 5]);
        if world.bodies.len() > 2 {
            world.release(1);
        }
        while !world.tend(10) {}
        world.check();
    }
    let layers =
        world.db.snapshot().scan(&[rows::LAYER_TABLE], &[rows::LAYER_TABLE + 1], false, 100).unwrap();
    assert!(layers.len() <= 3, "{} layers for a file that is written and published", layers.len());
}

/// The trim of everything lets go of nothing at once, and of all in the end.
#[tokio::test]
async fn a_whole_volume_is_trimmed_in_one_short_commit() {
    let mut world = World::new().await;
    world.write(&[1]);
    world.resize(0, 1 << 20);
    for at in 0..200 {
        world.overwrite(0, at * 300, &[7]);
    }
    let len = world.bodies[0].1.len();
    let before = world.db.appended();
    world.punch(0, 0, 65_535);
    assert_eq!(world.db.appended(), before.next());
    assert_eq!(world.bodies[0].1, vec![HOLE; len]);
    world.check();
    assert!(world.live().iter().sum::<u64>() > 0);
    while !world.tend(10) {}
    assert_eq!(world.live(), vec![0; SEGMENTS as usize]);
    world.check();
}
