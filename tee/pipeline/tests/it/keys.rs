//! `RootKeys` through the suite of the port, and what it promises beyond.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gw_tee::{CacheLimits, Entropy, RootKey, RootKeys, conformance};
use gw_types::ports::Keys;
use gw_types::{PortError, PortErrorKind, PortResult};

use crate::HandClock;

/// Counts up, so that a run can be replayed; fails on demand.
#[derive(Debug, Default)]
struct Counting {
    next: Mutex<u64>,
    dry: bool,
}

impl Entropy for Counting {
    fn fill(&self, out: &mut [u8]) -> PortResult<()> {
        if self.dry {
            return Err(PortError::definite(PortErrorKind::Unavailable, "dry"));
        }
        let mut next = self.next.lock().unwrap();
        for bytes in out.chunks_mut(8) {
            *next += 1;
            bytes.copy_from_slice(&next.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[..bytes.len()]);
        }
        Ok(())
    }
}

fn root() -> RootKey {
    RootKey::generate().unwrap()
}

fn keys(root: &RootKey) -> RootKeys {
    RootKeys::new(root.clone(), Arc::new(HandClock::default()))
}

#[tokio::test]
async fn root_keys_keep_the_contract_of_the_port() {
    conformance::keys(&keys(&root())).await;
}

#[tokio::test]
async fn so_they_do_without_a_cache() {
    let limits = CacheLimits { entries_max: 0, age_max: Duration::ZERO };
    let keys = keys(&root()).with_cache(limits);
    conformance::keys(&keys).await;
    assert_eq!(keys.cached_keys(), 0);
}

#[tokio::test]
async fn equal_roots_open_each_other_and_others_do_not() {
    let (one, other) = (root(), root());
    conformance::keys_of_the_same_root(&keys(&one), &keys(&one)).await;
    conformance::keys_of_different_roots(&keys(&one), &keys(&other)).await;
}

#[tokio::test]
async fn unwrapped_keys_leave_memory_with_age_and_are_never_too_many() {
    let clock = Arc::new(HandClock::default());
    let limits = CacheLimits { entries_max: 4, age_max: Duration::from_secs(60) };
    let keys = RootKeys::new(root(), clock.clone()).with_cache(limits);
    let bucket = keys.new_bucket_key().await.unwrap();
    for _ in 0..10 {
        keys.new_data_key(&bucket).await.unwrap();
    }
    assert_eq!(keys.cached_keys(), 4);
    clock.set(Duration::from_secs(60));
    let (_, wrapped) = keys.new_data_key(&bucket).await.unwrap();
    assert_eq!(keys.cached_keys(), 2);
    keys.unwrap(&bucket, &wrapped).await.unwrap();
    assert_eq!(keys.cached_keys(), 2);
}

#[tokio::test]
async fn a_run_with_the_same_entropy_is_the_same_run() {
    let run = || async {
        let root = RootKey::generate_from(&Counting::default()).unwrap();
        let keys = keys(&root).with_entropy(Arc::new(Counting::default()));
        let bucket = keys.new_bucket_key().await.unwrap();
        let (_, data) = keys.new_data_key(&bucket).await.unwrap();
        (bucket, data, keys.seal_record("p", b"x").await.unwrap(), keys.evidence())
    };
    assert_eq!(run().await, run().await);
}

#[tokio::test]
async fn without_random_bytes_nothing_is_made() {
    let dry = Counting { dry: true, ..Counting::default() };
    assert!(RootKey::generate_from(&dry).is_err());
    let keys = keys(&root());
    let bucket = keys.new_bucket_key().await.unwrap();
    let keys = keys.with_entropy(Arc::new(dry));
    let unavailable = PortErrorKind::Unavailable;
    assert_eq!(keys.new_bucket_key().await.unwrap_err().kind(), unavailable);
    assert_eq!(keys.new_data_key(&bucket).await.unwrap_err().kind(), unavailable);
    assert_eq!(keys.seal_record("p", b"").await.unwrap_err().kind(), unavailable);
    assert_eq!(keys.random(&mut [0; 8]).unwrap_err().kind(), unavailable);
}

#[test]
fn the_root_is_never_printed() {
    let root = root();
    let secret = root.recovery_text();
    let printed = format!("{root:?} {:?}", keys(&root));
    assert!(printed.contains(&root.fingerprint()));
    for group in secret.split('-').skip(1) {
        assert!(!printed.contains(group));
    }
}

/// All data ever written hangs on these bytes: what a root opens today it must open in ten years.
#[tokio::test]
async fn what_an_earlier_version_wrapped_still_opens() {
    let root = RootKey::from_recovery_text(include_str!("../data/recovery.txt")).unwrap();
    let keys = keys(&root);
    let mut lines = include_str!("../data/tree.hex").lines().map(|line| hex::decode(line).unwrap());
    let mut line = || lines.next().unwrap();
    assert_eq!(hex::decode(root.fingerprint()).unwrap(), line());
    let bucket = gw_types::ports::WrappedBucketKey(line());
    let data = gw_types::ports::WrappedDataKey(line());
    assert_eq!(keys.unwrap(&bucket, &data).await.unwrap().expose(), &[0xd0; 32]);
    assert_eq!(keys.open_record("golden", &line()).await.unwrap(), b"a record");
}
