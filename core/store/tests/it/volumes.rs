//! Volumes: a device that keeps what was flushed, an object that S3 can read, one writer at a time.

use bytes::Bytes;
use gw_sim::Rng;
use gw_store::{Etag, ExportSpec, MapRun, SnapshotName, Store, StoreErrorKind, Volume, VolumePiece};
use gw_types::{Authenticated, Frontend};

use crate::assemble::{ForgetfulMachine, Machine};
use crate::support::{Here, admin, key, kind, name};

const MIB: u64 = 1 << 20;

fn snap(text: &str) -> SnapshotName {
    SnapshotName::new(text).unwrap()
}

impl Here {
    async fn volume(&self, at: &str, size_bytes: u64) -> Volume {
        self.store.volume_create(&self.who, (&self.bucket, &key(at)), size_bytes).await.unwrap();
        self.attach(at).await.unwrap()
    }
    async fn attach(&self, at: &str) -> gw_store::StoreResult<Volume> {
        self.store.volume_attach(&self.who, (&self.bucket, &key(at)), "a test").await
    }
    async fn snapshot(&self, at: &str, name: &str) {
        self.store.volume_snapshot(&self.who, (&self.bucket, &key(at)), &snap(name)).await.unwrap();
    }
    async fn open(&self, at: &str, name: &str) -> Volume {
        self.store.volume_open(&self.who, (&self.bucket, &key(at)), Some(&snap(name))).await.unwrap()
    }
}

async fn read(volume: &Volume, start: u64, len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in volume.read(start..start + len as u64).await.unwrap() {
        match piece {
            VolumePiece::Data(bytes) => out.extend_from_slice(&bytes),
            VolumePiece::Zeros(len) => out.resize(out.len() + len as usize, 0),
        }
    }
    assert_eq!(out.len(), len);
    out
}

async fn all(volume: &Volume) -> Vec<u8> {
    read(volume, 0, volume.size_bytes() as usize).await
}

/// A change of a device of bytes.
#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Zero(usize, usize),
}

impl Change {
    fn random(rng: &mut Rng, size: usize) -> Self {
        let at = rng.below(size as u64) as usize;
        let kind = rng.below(10);
        let len = match kind {
            0..4 => 4096,
            4 => rng.below(300_000) as usize + 1,
            5 => rng.below(100) as usize + 1,
            6 => 70_000,
            7 => rng.below(size as u64) as usize,
            _ => 512,
        };
        // Most disks are written in blocks.
        let at = if kind == 5 { at } else { at / 512 * 512 };
        let len = len.min(size - at);
        if kind >= 7 && rng.below(2) == 0 {
            return Self::Zero(at, len);
        }
        let mut bytes = vec![rng.below(256) as u8; len];
        for byte in bytes.iter_mut().step_by(37) {
            *byte = rng.below(256) as u8;
        }
        Self::Write(at, bytes)
    }
    fn apply(&self, model: &mut [u8]) {
        match self {
            Self::Write(at, bytes) => model[*at..at + bytes.len()].copy_from_slice(bytes),
            Self::Zero(at, len) => model[*at..at + len].fill(0),
        }
    }
    async fn make(&self, volume: &Volume) {
        match self {
            Self::Write(at, bytes) => volume.write(*at as u64, Bytes::from(bytes.clone())).await.unwrap(),
            Self::Zero(at, len) => volume.punch(*at as u64..(at + len) as u64).await.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_volume_is_what_was_written_to_it_and_its_snapshots_what_it_was() {
    for seed in 0..4 {
        let machine = Machine::new();
        let mut rng = Rng::new(seed);
        let size = [MIB as usize, 700 * 1024, 3 << 20, 512 * 9][seed as usize];
        let mut here = Here::new(machine.open().await, "disks").await;
        let mut volume = here.volume("v", size as u64).await;
        let mut model = vec![0; size];
        let mut snapshots: Vec<(String, Vec<u8>)> = Vec::new();
        for step in 0..120 {
            match rng.below(24) {
                0 => {
                    let name = format!("s{step}");
                    here.snapshot("v", &name).await;
                    snapshots.push((name, model.clone()));
                }
                1 if !snapshots.is_empty() => {
                    let (name, _) = snapshots.remove(rng.below(snapshots.len() as u64) as usize);
                    let at = (&here.bucket, &key("v"));
                    here.store.volume_snapshot_delete(&here.who, at, &snap(&name)).await.unwrap();
                }
                2 => {
                    assert_eq!(here.get("v").await.unwrap(), model, "S3 sees what was written");
                }
                3 => {
                    volume.detach().await.unwrap();
                    volume = here.attach("v").await.unwrap();
                }
                4 => {
                    drop(volume);
                    machine.kill(here.store).await;
                    here.store = machine.open().await;
                    volume = here.attach("v").await.unwrap();
                }
                5 => machine.compact_all().await,
                _ => {
                    let change = Change::random(&mut rng, size);
                    change.apply(&mut model);
                    change.make(&volume).await;
                }
            }
            let from = rng.below(size as u64);
            let len = rng.below(size as u64 - from + 1) as usize;
            let shown = read(&volume, from, len).await;
            assert!(shown == model[from as usize..from as usize + len], "seed {seed}, step {step}");
        }
        for (name, was) in &snapshots {
            assert!(all(&here.open("v", name).await).await == *was, "seed {seed}: snapshot {name}");
            check_changes(&volume, name, was, &model);
        }
        check_runs(&volume, &model);
        volume.detach().await.unwrap();
        for (name, _) in snapshots {
            let at = (&here.bucket, &key("v"));
            here.store.volume_snapshot_delete(&here.who, at, &snap(&name)).await.unwrap();
        }
        here.store.volume_delete(&here.who, (&here.bucket, &key("v"))).await.unwrap();
        machine.tend().await;
        assert_eq!(machine.live_bytes(), 0, "seed {seed}: nothing refers to anything any more");
        assert_eq!(here.usage().await, gw_store::Usage::default());
    }
}

/// What is a hole reads as zeros, and the runs cover the device.
fn check_runs(volume: &Volume, model: &[u8]) {
    let runs = volume.runs(0..volume.size_bytes(), usize::MAX).unwrap();
    let mut at = 0;
    for MapRun { len, is_data } in runs {
        let end = at + len as usize;
        assert!(is_data || model[at..end].iter().all(|byte| *byte == 0));
        at = end;
    }
    assert_eq!(at, model.len());
}

/// What is not said to have changed has not.
fn check_changes(volume: &Volume, name: &str, was: &[u8], is: &[u8]) {
    let mut at = 0;
    for MapRun { len, is_data } in volume.changes(&snap(name), 0..volume.size_bytes(), usize::MAX).unwrap() {
        let end = at + len as usize;
        assert!(is_data || was[at..end] == is[at..end]);
        at = end;
    }
    assert_eq!(at, is.len());
}

/// The promise of a block device: after a power cut it is as it was after some write, not before the
/// last flush, and S3 sees the same.
#[tokio::test]
async fn after_a_power_cut_a_volume_is_as_it_was_between_two_writes_and_not_before_the_last_flush() {
    for seed in 0..12_u64 {
        let machine = ForgetfulMachine::new();
        let mut rng = Rng::new(100 + seed);
        let size = 900 * 1024;
        let here = Here::new(machine.open().await, "disks").await;
        let volume = here.volume("v", size as u64).await;
        let mut model = vec![0; size];
        let mut since_flush = vec![model.clone()];
        for step in 0..25 {
            let change = Change::random(&mut rng, size);
            change.apply(&mut model);
            change.make(&volume).await;
            since_flush.push(model.clone());
            if rng.below(6) == 0 {
                volume.flush().await.unwrap();
                since_flush = vec![model.clone()];
            }
            if step % 9 == 5 {
                here.snapshot("v", &format!("s{step}")).await;
                since_flush = vec![model.clone()];
            }
        }
        let after = machine.power_cut(seed);
        let store = after.open().await;
        let here = Here { store, ..here.clone() };
        let found = all(&here.attach("v").await.unwrap()).await;
        let is_one = since_flush.contains(&found);
        assert!(is_one, "seed {seed}: not a state that was there since the last flush");
        assert!(here.get("v").await.unwrap() == found, "seed {seed}: what was left is published");
    }
}

#[tokio::test]
async fn an_object_that_was_put_is_a_volume_without_copying_a_byte() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "disks").await;
    let mut body: Vec<u8> = (0..3_000_000_u32).map(|at| (at * 7 / 3) as u8).collect();
    here.put("disk.raw", &body).await;
    let live = machine.live_bytes();
    let volume = here.attach("disk.raw").await.unwrap();
    assert_eq!(volume.size_bytes(), 3_000_000);
    volume.write(1_000_000, Bytes::from_static(b"changed")).await.unwrap();
    body[1_000_000..1_000_007].copy_from_slice(b"changed");
    assert_eq!(all(&volume).await, body);
    assert!(machine.live_bytes() < 2 * live + 100_000, "only the changed bytes are new");
    assert_eq!(here.get("disk.raw").await.unwrap(), body, "a look publishes what was written");
    volume.detach().await.unwrap();
    let info = here
        .store
        .head(&here.who, &here.bucket, &key("disk.raw"), gw_store::ReadOptions::default())
        .await
        .unwrap();
    assert!(matches!(info.etag, Etag::Opaque(_)) && info.etag.to_string().ends_with("-0"));
    assert!(info.checksums.is_empty());
}

#[tokio::test]
async fn one_writes_at_a_time_and_nobody_takes_the_object_away_meanwhile() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "disks").await;
    let volume = here.volume("v", MIB).await;
    assert_eq!(kind(here.attach("v").await), StoreErrorKind::Leased);
    assert_eq!(
        kind(here.put_if("v", b"x", gw_store::WriteConditions::default()).await),
        StoreErrorKind::Leased
    );
    assert_eq!(kind(here.delete_version("v", None).await), StoreErrorKind::Leased);
    let at = (&here.bucket, &key("v"));
    assert_eq!(kind(here.store.volume_delete(&here.who, at).await), StoreErrorKind::Leased);
    assert_eq!(kind(here.store.volume_resize(&here.who, at, 512).await), StoreErrorKind::Leased);
    assert_eq!(here.store.volume_resize(&here.who, at, 2 * MIB).await.unwrap().size_bytes, 2 * MIB);
    volume.write(0, Bytes::from_static(b"mine")).await.unwrap();

    here.store.volume_fence(&here.who, at).await.unwrap();
    let other = here.attach("v").await.unwrap();
    assert_eq!(other.size_bytes(), 2 * MIB);
    assert_eq!(kind(volume.write(0, Bytes::from_static(b"late")).await), StoreErrorKind::Leased);
    drop(volume);
    assert_eq!(
        kind(here.attach("v").await),
        StoreErrorKind::Leased,
        "the old holder ends its own lease only"
    );
    assert_eq!(read(&other, 0, 4).await, b"mine");
    other.detach().await.unwrap();
    assert_eq!(here.get("v").await.unwrap().len() as u64, 2 * MIB);

    here.snapshot("v", "keep").await;
    assert_eq!(kind(here.store.volume_delete(&here.who, at).await), StoreErrorKind::Leased);
    here.store.volume_snapshot_delete(&here.who, at, &snap("keep")).await.unwrap();
    here.store.volume_delete(&here.who, at).await.unwrap();
    assert!(here.store.volume_list(&here.who).await.unwrap().is_empty());
}

#[tokio::test]
async fn clones_share_bytes_and_then_go_their_own_ways_in_other_buckets_too() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "disks").await;
    let there = Here::new(here.store.clone(), "other").await;
    let volume = here.volume("v", 40 * MIB).await;
    for at in 0..50 {
        volume.write(at * 700_000, Bytes::from(vec![at as u8 + 1; 5000])).await.unwrap();
    }
    here.snapshot("v", "gold").await;
    volume.write(0, Bytes::from_static(b"later")).await.unwrap();
    let live = machine.live_bytes();
    let gold = all(&here.open("v", "gold").await).await;
    for target in [&here, &there] {
        let from = ((&here.bucket, &key("v")), Some(&snap("gold")));
        here.store.volume_clone(&here.who, from, (&target.bucket, &key("clone"))).await.unwrap();
        let clone = target.attach("clone").await.unwrap();
        assert!(all(&clone).await == gold);
        clone.write(700_000, Bytes::from_static(b"clone")).await.unwrap();
        assert_eq!(read(&clone, 700_000, 5).await, b"clone");
        clone.detach().await.unwrap();
    }
    assert!(machine.live_bytes() < live + 200_000, "nothing was copied");
    assert_eq!(read(&volume, 700_000, 5).await, vec![2; 5]);
    let at = (&here.bucket, &key("v"));
    assert_eq!(kind(here.store.volume_restore(&here.who, at, &snap("gold")).await), StoreErrorKind::Leased);
    volume.detach().await.unwrap();
    here.store.volume_restore(&here.who, at, &snap("gold")).await.unwrap();
    assert!(here.get("v").await.unwrap() == gold);
}

#[tokio::test]
async fn sixteen_tebibytes_cost_nothing_until_they_are_written_and_nothing_again_when_trimmed() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "disks").await;
    let at = (&here.bucket, &key("v"));
    let size = 16 << 40;
    assert!(here.store.volume_create(&here.who, at, size + 512).await.is_err());
    assert!(here.store.volume_create(&here.who, at, 1000).await.is_err());
    let volume = here.volume("v", size).await;
    let places: Vec<u64> = (0..300).map(|at| at * (size / 300) / 512 * 512).collect();
    for place in &places {
        volume.write(*place, Bytes::from(vec![7; 512])).await.unwrap();
    }
    let runs = volume.runs(0..size, 10).unwrap();
    assert_eq!((runs.len(), runs[0]), (10, MapRun { len: 512, is_data: true }));
    assert_eq!(volume.runs(0..size, usize::MAX).unwrap().len(), 600);
    assert_eq!(read(&volume, places[299], 512).await, vec![7; 512]);
    volume.punch(0..size).await.unwrap();
    assert_eq!(volume.runs(0..size, 10).unwrap(), [MapRun { len: size, is_data: false }]);
    volume.flush().await.unwrap();
    machine.tend().await;
    assert_eq!(machine.live_bytes(), 0);
    volume.write(size - 512, Bytes::from(vec![9; 512])).await.unwrap();
    assert_eq!(read(&volume, size - 1024, 1024).await[512..], [9; 512]);
}

#[tokio::test]
async fn small_writes_all_over_a_place_do_not_cut_it_into_ever_more_pieces() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "disks").await;
    let volume = here.volume("v", MIB).await;
    let mut model = vec![0; MIB as usize];
    let mut rng = Rng::new(5);
    for _ in 0..1500 {
        let at = rng.below(200_000) as usize;
        let byte = [rng.below(255) as u8 + 1];
        volume.write(at as u64, Bytes::copy_from_slice(&byte)).await.unwrap();
        model[at] = byte[0];
    }
    assert!(all(&volume).await == model);
}

#[tokio::test]
async fn versions_are_made_at_the_end_of_an_attachment() {
    let machine = Machine::new();
    let here = Here::versioned(machine.open().await, "disks").await;
    here.put("v", &[1; 4096]).await;
    let volume = here.attach("v").await.unwrap();
    volume.write(0, Bytes::from(vec![2; 10])).await.unwrap();
    assert_eq!(here.get("v").await.unwrap(), [1; 4096], "a look makes no version");
    volume.detach().await.unwrap();
    assert_eq!(here.get("v").await.unwrap()[..12], [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1]);
    let usage = here.usage().await;
    assert_eq!((usage.objects, usage.noncurrent, usage.bytes), (1, 1, 8192));
    let request = gw_store::VersionListRequest::new(here.bucket.clone());
    let page = here.store.list_versions(&here.who, request).await.unwrap();
    assert_eq!(page.entries.len(), 2);
    let old = here.get_version("v", Some(page.entries[1].version_id)).await.unwrap();
    assert_eq!(old, [1; 4096]);
}

#[tokio::test]
async fn a_quota_counts_a_volume_with_its_whole_size() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "disks").await;
    let quota = gw_store::Quota { bytes_max: Some(MIB), objects_max: None };
    here.store.bucket_quota_set(&here.who, &here.bucket, quota).await.unwrap();
    let at = (&here.bucket, &key("v"));
    assert_eq!(kind(here.store.volume_create(&here.who, at, 2 * MIB).await), StoreErrorKind::QuotaExceeded);
    here.store.volume_create(&here.who, at, MIB / 2).await.unwrap();
    assert_eq!(kind(here.store.volume_resize(&here.who, at, 2 * MIB).await), StoreErrorKind::QuotaExceeded);
    let volume = here.attach("v").await.unwrap();
    assert_eq!(kind(here.store.volume_resize(&here.who, at, 2 * MIB).await), StoreErrorKind::QuotaExceeded);
    volume.write(0, Bytes::from(vec![1; 512])).await.unwrap();
    assert_eq!(here.usage().await.bytes, MIB / 2);
    here.store.volume_resize(&here.who, at, MIB).await.unwrap();
    assert_eq!(here.usage().await.bytes, MIB, "growth counts before it is published");
    volume.detach().await.unwrap();
    assert_eq!(here.usage().await.bytes, MIB);
}

#[tokio::test]
async fn exports_are_for_those_they_were_made_for() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "disks").await;
    here.volume("dir/v", MIB).await.detach().await.unwrap();
    let spec = |name: &str, users: &[&str], anyone| ExportSpec {
        name: name.to_owned(),
        bucket: name_of(),
        key: key("dir/v"),
        snapshot: None,
        read_only: false,
        anyone,
        users: users.iter().map(|user| (*user).to_owned()).collect(),
    };
    let set = |spec| {
        let store: Store = here.store.clone();
        async move { store.export_set(&admin(), &spec).await }
    };
    set(spec("vm", &["ada"], false)).await.unwrap();
    assert!(set(spec("a@b", &[], false)).await.is_err());
    let ada = Authenticated::user("ada", Frontend::Nbd);
    let bob = Authenticated::user("bob", Frontend::Nbd);
    let look = |who: Authenticated, name: &'static str| {
        let store = here.store.clone();
        async move { store.export_look(&who, name).await }
    };
    assert_eq!(look(ada.clone(), "vm").await.unwrap().size_bytes, MIB);
    assert_eq!(kind(look(bob.clone(), "vm").await), StoreErrorKind::NoSuchKey);
    assert_eq!(kind(look(ada.clone(), "disks/dir/v").await), StoreErrorKind::NoSuchKey);
    assert_eq!(look(admin(), "disks/dir/v").await.unwrap().size_bytes, MIB);
    assert_eq!(here.store.export_list(&bob).await.unwrap(), []);
    assert_eq!(here.store.export_list(&ada).await.unwrap().len(), 1);
    let opened = here.store.export_open(&ada, "vm").await.unwrap();
    assert_eq!(kind(here.store.export_open(&ada, "vm").await), StoreErrorKind::Leased);
    opened.volume.write(5, Bytes::from_static(b"x")).await.unwrap();
    here.snapshot("dir/v", "s").await;
    let frozen = here.store.export_open(&admin(), "disks/dir/v@s").await.unwrap();
    assert!(frozen.what.read_only && !frozen.volume.is_writable());
    assert_eq!(kind(frozen.volume.write(0, Bytes::from_static(b"x")).await), StoreErrorKind::AccessDenied);
    assert_eq!(read(&frozen.volume, 5, 1).await, b"x");
    drop(opened);
    set(spec("vm", &[], true)).await.unwrap();
    assert!(look(Authenticated::anonymous(Frontend::Nbd), "vm").await.is_ok());
    assert_eq!(kind(here.store.export_remove(&ada, "vm").await), StoreErrorKind::AccessDenied);
    here.store.export_remove(&admin(), "vm").await.unwrap();
    assert_eq!(kind(look(ada, "vm").await), StoreErrorKind::NoSuchKey);
}

fn name_of() -> gw_types::BucketName {
    name("disks")
}
