//! The disk cache alone, on model disks.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gw_sim::{Fault, FaultDisk, FaultOp, ForgettingDisk, MemDisk};
use gw_types::ports::Disk;
use gw_types::{ExtentId, KeyId, SEALED_FRAME_BYTES, SegmentSeq};

use super::{BYTES_MIN, DiskCache, Limits};
use crate::read::{SealedRun, Span};

const FRAME: u32 = SEALED_FRAME_BYTES as u32;

/// `frames` whole frames of a segment, from the frame `first` on.
fn run(segment: u64, first: u32, frames: u32) -> SealedRun {
    let sealed_len = frames * FRAME;
    let span = Span {
        extent: ExtentId::from_raw(1),
        key: KeyId(1),
        frames: 0..frames,
        sealed_len,
        skip: 0,
        len: frames << 16,
    };
    let range = first * FRAME..first * FRAME + sealed_len;
    SealedRun { segment: SegmentSeq(segment), range, spans: vec![span] }
}

/// Bytes that say at the beginning and the end of each frame where they belong.
fn sealed(run: &SealedRun) -> Vec<u8> {
    let mut out = vec![0; run.sealed_len() as usize];
    for (frame, bytes) in out.chunks_exact_mut(FRAME as usize).enumerate() {
        let word = (run.segment.0 << 32) + u64::from(run.range.start / FRAME) + frame as u64;
        bytes[..8].copy_from_slice(&word.to_le_bytes());
        bytes[FRAME as usize - 8..].copy_from_slice(&word.to_le_bytes());
    }
    out
}

async fn open(disk: Arc<dyn Disk>, bytes_max: u64) -> Arc<DiskCache> {
    DiskCache::open(disk, Limits::new(bytes_max, 0)).await.expect("it is large enough")
}

/// Puts and lets an eviction that it began come to its end.
async fn put(cache: &Arc<DiskCache>, run: &SealedRun) {
    cache.put(run, &sealed(run));
    while cache.evicting.load(Ordering::Acquire) {
        tokio::task::yield_now().await;
    }
}

async fn has(cache: &Arc<DiskCache>, run: &SealedRun) -> bool {
    match cache.run(run).await {
        Some(bytes) => {
            assert_eq!(bytes, sealed(run), "{run:?}");
            true
        }
        None => false,
    }
}

fn disk_bytes(disk: &dyn Disk) -> u64 {
    disk.list("cache").unwrap().iter().map(|entry| entry.len).sum()
}

#[tokio::test]
async fn what_was_put_is_found_in_any_cut_and_nothing_else() {
    let cache = open(Arc::new(MemDisk::new()), BYTES_MIN).await;
    put(&cache, &run(1, 0, 16)).await;
    put(&cache, &run(1, 16, 16)).await;
    for (first, frames) in [(0, 16), (3, 1), (5, 9), (12, 8), (0, 32)] {
        assert!(has(&cache, &run(1, first, frames)).await, "{first} {frames}");
    }
    assert!(!has(&cache, &run(1, 31, 2)).await, "one frame is missing");
    assert!(!has(&cache, &run(2, 0, 1)).await);
    // Frames that are here are not written again.
    let before = cache.status();
    put(&cache, &run(1, 10, 16)).await;
    assert_eq!(cache.status(), before);
    put(&cache, &run(1, 24, 16)).await;
    assert_eq!(cache.status().frames, 40);
    assert!(has(&cache, &run(1, 0, 40)).await);

    cache.reject(&run(1, 7, 1));
    assert!(!has(&cache, &run(1, 0, 16)).await);
    put(&cache, &run(1, 0, 16)).await;
    assert!(has(&cache, &run(1, 0, 40)).await);
}

#[tokio::test]
async fn its_files_never_take_more_than_their_limit() {
    let disk = MemDisk::new();
    let cache = open(Arc::new(disk.clone()), BYTES_MIN).await;
    for step in 0..200 {
        // Some are asked for again, so that frames move to the main queue and on in it.
        if step % 3 == 0 {
            has(&cache, &run(u64::from(step) / 20, 0, 8)).await;
        }
        put(&cache, &run(u64::from(step) / 10, step % 10 * 8, 1 + step % 8)).await;
        let bytes = disk_bytes(&disk);
        assert!(bytes <= BYTES_MIN, "{bytes} at {step}");
        assert!(cache.status().bytes <= BYTES_MIN);
    }
    cache.keep();
    let (bytes, status) = (disk_bytes(&disk), cache.status());
    assert_eq!((bytes, status.off), (status.bytes, None));
    assert!(bytes > BYTES_MIN / 2, "most of the room is used: {bytes}");
}

#[tokio::test]
async fn one_pass_over_a_huge_object_leaves_alone_what_is_read_again() {
    let cache = open(Arc::new(MemDisk::new()), 64 << 20).await;
    let hot: Vec<SealedRun> = (0..20).map(|at| run(1, at * 16, 16)).collect();
    for run in &hot {
        put(&cache, run).await;
        assert!(has(&cache, run).await);
    }
    // Four times the cache.
    for at in 0..256 {
        put(&cache, &run(2 + u64::from(at) / 16, at % 16 * 16, 16)).await;
    }
    let mut kept = 0;
    for run in &hot {
        kept += usize::from(has(&cache, run).await);
    }
    assert!(kept >= 18, "{kept} of 20 runs are left");
    // What was thrown out and is asked for again is no scan.
    for at in 0..20 {
        put(&cache, &run(2, at % 16 * 16, 16)).await;
    }
    let main = cache.state.lock().lane_bytes(super::Lane::Main);
    assert!(main >= 30 << 20, "{main}");
}

#[tokio::test]
async fn a_restart_keeps_what_a_graceful_stop_wrote_down_and_a_kill_all_but_the_newest() {
    let disk = ForgettingDisk::new();
    let cache = open(Arc::new(disk.clone()), BYTES_MIN).await;
    for at in 0..9 {
        put(&cache, &run(1, at * 16, 15)).await;
    }
    // The process is killed: nothing is written down, no destructor runs.
    let killed = Arc::new(disk.mem().copy());
    cache.keep();
    let stopped = Arc::new(disk.mem().copy());

    let cache = open(stopped, BYTES_MIN).await;
    for at in 0..9 {
        assert!(has(&cache, &run(1, at * 16, 15)).await, "{at}");
    }
    let cache = open(killed, BYTES_MIN).await;
    let mut kept = 0;
    for at in 0..9 {
        kept += usize::from(has(&cache, &run(1, at * 16, 15)).await);
    }
    assert_eq!(kept, 8);
    put(&cache, &run(3, 0, 16)).await;
    assert!(has(&cache, &run(3, 0, 16)).await);

    // After a power cut anything may be left of files that were never synced. What is found may be
    // wrong (frames have tags for that), but it is no error.
    for seed in 0..20 {
        let cache = open(Arc::new(disk.power_cut(seed)), BYTES_MIN).await;
        assert_eq!(cache.status().off, None);
        for at in 0..9 {
            cache.run(&run(1, at * 16, 15)).await;
        }
        put(&cache, &run(4, 0, 16)).await;
        assert!(has(&cache, &run(4, 0, 16)).await, "seed {seed}");
    }
}

#[tokio::test]
async fn a_damaged_table_costs_its_chunk_and_nothing_more() {
    let disk = MemDisk::new();
    let cache = open(Arc::new(disk.clone()), BYTES_MIN).await;
    put(&cache, &run(1, 0, 15)).await;
    cache.keep();
    put(&cache, &run(2, 0, 15)).await;
    cache.keep();
    drop(cache);
    let files = disk.list("cache").unwrap();
    let frames = 15 * u64::from(FRAME);
    for offset in (frames..files[0].len - 4).step_by(5) {
        let disk = disk.copy();
        disk.damage(&files[0].name, offset, 0x10);
        let cache = open(Arc::new(disk.clone()), BYTES_MIN).await;
        assert!(!has(&cache, &run(1, 0, 15)).await, "byte {offset}");
        assert!(has(&cache, &run(2, 0, 15)).await);
        assert_eq!(disk.list("cache").unwrap().len(), 1, "what is no use is removed");
    }
}

#[tokio::test]
async fn a_smaller_limit_holds_from_the_next_start_on_and_none_leaves_nothing() {
    let disk = MemDisk::new();
    let cache = open(Arc::new(disk.clone()), 64 << 20).await;
    for at in 0..50 {
        put(&cache, &run(1, at * 16, 16)).await;
    }
    drop(cache);
    let cache = open(Arc::new(disk.clone()), BYTES_MIN).await;
    assert!(disk_bytes(&disk) <= BYTES_MIN);
    assert!(has(&cache, &run(1, 49 * 16, 16)).await, "the newest stay");
    drop(cache);
    assert!(DiskCache::open(Arc::new(disk.clone()), Limits::new(0, 0)).await.is_none());
    assert_eq!(disk_bytes(&disk), 0);
}

#[tokio::test]
async fn a_full_disk_turns_it_off_and_gets_its_room_back_until_it_is_dropped() {
    let disk = FaultDisk::new(Arc::new(MemDisk::new()));
    let cache = open(Arc::new(disk.clone()), BYTES_MIN).await;
    disk.fail_named(FaultOp::Write, "cache", 6, 1, Fault::Enospc);
    for at in 0..12 {
        put(&cache, &run(1, at * 16, 16)).await;
    }
    assert_eq!(disk.hits(), 1);
    let status = cache.status();
    assert!(status.off.is_some() && status.bytes == 0 && status.frames == 0, "{status:?}");
    assert_eq!(disk_bytes(&disk), 0);
    assert!(!has(&cache, &run(1, 0, 16)).await);
    put(&cache, &run(1, 0, 16)).await;
    assert_eq!(disk_bytes(&disk), 0, "it stays off");

    cache.clear();
    put(&cache, &run(1, 0, 16)).await;
    assert!(has(&cache, &run(1, 0, 16)).await && cache.status().off.is_none());
    assert!(cache.clear() >= 16 * u64::from(FRAME));
    assert_eq!((disk_bytes(&disk), cache.status().bytes), (0, 0));
    assert!(!has(&cache, &run(1, 0, 16)).await);
}

#[tokio::test]
async fn what_others_take_of_its_share_it_gives_up_at_once() {
    let disk = MemDisk::new();
    let cache = open(Arc::new(disk.clone()), 32 << 20).await;
    for at in 0..40 {
        put(&cache, &run(1, at * 16, 16)).await;
    }
    assert!(disk_bytes(&disk) > 20 << 20);
    cache.leave(20 << 20);
    while cache.evicting.load(Ordering::Acquire) {
        tokio::task::yield_now().await;
    }
    assert!(disk_bytes(&disk) <= 12 << 20);
    for at in 0..40 {
        put(&cache, &run(2, at * 16, 16)).await;
        assert!(disk_bytes(&disk) <= 12 << 20);
    }
    assert!(has(&cache, &run(2, 39 * 16, 16)).await);
    cache.leave(0);
    for at in 0..40 {
        put(&cache, &run(3, at * 16, 16)).await;
    }
    assert!(disk_bytes(&disk) > 20 << 20);
}

#[tokio::test]
async fn with_little_room_left_for_others_it_shrinks() {
    let disk = MemDisk::with_capacity(40 << 20);
    let limits = Limits::new(32 << 20, 4 << 20);
    let cache = DiskCache::open(Arc::new(disk.clone()), limits).await.unwrap();
    for at in 0..25 {
        put(&cache, &run(1, at * 16, 16)).await;
    }
    let before = cache.status().bytes;
    assert!(before > 20 << 20);
    // Somebody else fills the disk.
    disk.create("other").unwrap().set_len(disk.free_bytes().unwrap() - (1 << 20)).unwrap();
    for at in 25..60 {
        put(&cache, &run(1, at * 16, 16)).await;
    }
    let free = disk.free_bytes().unwrap();
    assert!(free >= 3 << 20 && cache.status().off.is_none(), "{free} {:?}", cache.status());
    assert!(cache.status().bytes < before);
}

#[tokio::test]
async fn a_failing_device_turns_it_off_whatever_fails() {
    for op in [FaultOp::Create, FaultOp::Write, FaultOp::Read] {
        let disk = FaultDisk::new(Arc::new(MemDisk::new()));
        let cache = open(Arc::new(disk.clone()), BYTES_MIN).await;
        put(&cache, &run(1, 0, 16)).await;
        disk.fail_from(op, 0, Fault::Eio);
        for at in 0..20 {
            put(&cache, &run(1, at * 16, 16)).await;
            cache.run(&run(1, 0, 16)).await;
        }
        assert!(cache.status().off.is_some_and(|why| why.contains("injected")), "{op:?}");
        assert!(cache.run(&run(1, 0, 16)).await.is_none());
    }
    // A start on such a device is a start.
    let disk = FaultDisk::new(Arc::new(MemDisk::new()));
    open(Arc::new(disk.clone()), BYTES_MIN).await.put(&run(1, 0, 16), &sealed(&run(1, 0, 16)));
    for op in [FaultOp::Open, FaultOp::Read, FaultOp::Remove] {
        disk.fail_from(op, 0, Fault::Eio);
    }
    let cache = open(Arc::new(disk), BYTES_MIN).await;
    assert!(!has(&cache, &run(1, 0, 16)).await);
}
