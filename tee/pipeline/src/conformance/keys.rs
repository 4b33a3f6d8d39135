//! What every implementation of `Keys` promises.

use gw_types::PortErrorKind::Corrupt;
use gw_types::ports::{Keys, WrappedBucketKey, WrappedDataKey};

use super::refused;

/// The whole suite, on a port with a root of its own.
pub async fn keys(keys: &dyn Keys) {
    data_keys_come_back(keys).await;
    keys_are_fresh(keys).await;
    wraps_open_in_their_bucket_only(keys).await;
    altered_wraps_are_refused(keys).await;
    rewrap_moves_a_key(keys).await;
    records_come_back(keys).await;
    altered_records_are_refused(keys).await;
    random_bytes_are_random(keys);
    evidence_is_steady(keys);
    nothing_secret_is_printed(keys).await;
}

/// Two ports over one root (a restart, a second process) open what the other made.
pub async fn keys_of_the_same_root(one: &dyn Keys, other: &dyn Keys) {
    assert_eq!(one.evidence().fingerprint, other.evidence().fingerprint);
    let bucket = bucket(one).await;
    let (key, wrapped) = one.new_data_key(&bucket).await.expect("a data key");
    let opened = other.unwrap(&bucket, &wrapped).await.expect("the same root opens it");
    assert_eq!(opened.expose(), key.expose());
    let record = one.seal_record("purpose", b"record").await.expect("a record");
    assert_eq!(other.open_record("purpose", &record).await.expect("the same root opens it"), b"record");
}

/// Two ports over different roots open nothing of each other.
pub async fn keys_of_different_roots(one: &dyn Keys, other: &dyn Keys) {
    assert_ne!(one.evidence().fingerprint, other.evidence().fingerprint);
    let bucket = bucket(one).await;
    let (_, wrapped) = one.new_data_key(&bucket).await.expect("a data key");
    refused(other.unwrap(&bucket, &wrapped).await, Corrupt, "another root opens no data key");
    refused(other.new_data_key(&bucket).await, Corrupt, "another root uses no bucket key");
    let record = one.seal_record("purpose", b"record").await.expect("a record");
    refused(other.open_record("purpose", &record).await, Corrupt, "another root opens no record");
}

async fn bucket(keys: &dyn Keys) -> WrappedBucketKey {
    keys.new_bucket_key().await.expect("a bucket key")
}

async fn data_keys_come_back(keys: &dyn Keys) {
    let bucket = bucket(keys).await;
    let (key, wrapped) = keys.new_data_key(&bucket).await.expect("a data key");
    for _ in 0..2 {
        let opened = keys.unwrap(&bucket, &wrapped).await.expect("it opens again and again");
        assert_eq!(opened.expose(), key.expose());
    }
    assert!(!contains(&wrapped.0, key.expose()), "a wrapped key is not the key");
}

async fn keys_are_fresh(keys: &dyn Keys) {
    let bucket_key = bucket(keys).await;
    assert_ne!(bucket_key, bucket(keys).await, "bucket keys differ");
    let (one, one_wrapped) = keys.new_data_key(&bucket_key).await.expect("a data key");
    let (other, other_wrapped) = keys.new_data_key(&bucket_key).await.expect("a data key");
    assert_ne!(one.expose(), other.expose(), "data keys differ");
    assert_ne!(one_wrapped, other_wrapped);
    assert_ne!(one.expose(), &[0; 32], "a key is not zeros");
}

async fn wraps_open_in_their_bucket_only(keys: &dyn Keys) {
    let (own, other) = (bucket(keys).await, bucket(keys).await);
    let (_, wrapped) = keys.new_data_key(&own).await.expect("a data key");
    refused(keys.unwrap(&other, &wrapped).await, Corrupt, "another bucket's key opens nothing");
    refused(keys.rewrap(&other, &own, &wrapped).await, Corrupt, "nor can it rewrap");
    let as_data = WrappedDataKey(own.0.clone());
    refused(keys.unwrap(&own, &as_data).await, Corrupt, "a bucket key is no data key");
    let as_bucket = WrappedBucketKey(wrapped.0.clone());
    refused(keys.new_data_key(&as_bucket).await, Corrupt, "a data key is no bucket key");
}

async fn altered_wraps_are_refused(keys: &dyn Keys) {
    let bucket = bucket(keys).await;
    let (_, wrapped) = keys.new_data_key(&bucket).await.expect("a data key");
    for bent in altered(&wrapped.0) {
        refused(keys.unwrap(&bucket, &WrappedDataKey(bent)).await, Corrupt, "an altered data key is refused");
    }
    for bent in altered(&bucket.0) {
        let bent = WrappedBucketKey(bent);
        refused(keys.unwrap(&bent, &wrapped).await, Corrupt, "an altered bucket key is refused");
        refused(keys.new_data_key(&bent).await, Corrupt, "an altered bucket key is refused");
        refused(keys.rewrap(&bucket, &bent, &wrapped).await, Corrupt, "an altered bucket key is refused");
    }
    keys.unwrap(&bucket, &wrapped).await.expect("the right one opens after all that");
}

async fn rewrap_moves_a_key(keys: &dyn Keys) {
    let (from, to) = (bucket(keys).await, bucket(keys).await);
    let (key, wrapped) = keys.new_data_key(&from).await.expect("a data key");
    let moved = keys.rewrap(&from, &to, &wrapped).await.expect("a rewrap");
    assert_eq!(keys.unwrap(&to, &moved).await.expect("it opens in the new bucket").expose(), key.expose());
    refused(keys.unwrap(&from, &moved).await, Corrupt, "the new wrap is the new bucket's alone");
    refused(keys.unwrap(&to, &wrapped).await, Corrupt, "the old wrap is the old bucket's alone");
    assert_eq!(keys.unwrap(&from, &wrapped).await.expect("the old wrap stays good").expose(), key.expose());
}

async fn records_come_back(keys: &dyn Keys) {
    for len in [0, 1, 15, 16, 17, 4096, 1 << 20] {
        let plain = vec![0x5a; len];
        let one = keys.seal_record("purpose", &plain).await.expect("a record");
        let other = keys.seal_record("purpose", &plain).await.expect("a record");
        assert_ne!(one, other, "equal records are not equal once sealed");
        assert!(len < 16 || !contains(&one, &plain), "a sealed record does not hold the record");
        assert_eq!(keys.open_record("purpose", &one).await.expect("it opens"), plain);
        assert_eq!(keys.open_record("purpose", &other).await.expect("it opens"), plain);
    }
    keys.seal_record("", b"").await.expect("an empty purpose is one too");
}

async fn altered_records_are_refused(keys: &dyn Keys) {
    let record = keys.seal_record("purpose", b"the record").await.expect("a record");
    for purpose in ["", "purpos", "purpose ", "Purpose"] {
        refused(keys.open_record(purpose, &record).await, Corrupt, "a record opens for its purpose only");
    }
    for bent in altered(&record) {
        refused(keys.open_record("purpose", &bent).await, Corrupt, "an altered record is refused");
    }
}

fn random_bytes_are_random(keys: &dyn Keys) {
    let mut seen = [[0u8; 32]; 2];
    for bytes in &mut seen {
        keys.random(bytes).expect("random bytes");
        // All but 2^-32 of true drawings have more than 8 values in 32 bytes.
        let mut values = bytes.to_vec();
        values.sort_unstable();
        values.dedup();
        assert!(values.len() > 8, "32 random bytes have many values");
    }
    assert_ne!(seen[0], seen[1]);
    keys.random(&mut []).expect("no random bytes");
}

fn evidence_is_steady(keys: &dyn Keys) {
    let evidence = keys.evidence();
    assert_eq!(evidence, keys.evidence());
    assert!(!evidence.kind.is_empty());
    assert!(evidence.kind != "software" || evidence.simulated, "software is simulated");
    let hex = evidence.fingerprint.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    assert!(hex && evidence.fingerprint.len() == 64, "a fingerprint is a SHA-256 in hex");
}

async fn nothing_secret_is_printed(keys: &dyn Keys) {
    let bucket = bucket(keys).await;
    let (key, _) = keys.new_data_key(&bucket).await.expect("a data key");
    let printed = format!("{keys:?} {key:?}");
    let list = format!("{:?}", key.expose());
    assert!(
        !printed.contains(&hex::encode(key.expose())) && !printed.contains(list.trim_matches(['[', ']']))
    );
}

/// Each byte changed, each length cut, one byte more, and nothing at all.
fn altered(good: &[u8]) -> Vec<Vec<u8>> {
    let flipped = (0..good.len()).map(|at| {
        let mut bent = good.to_vec();
        bent[at] ^= 1 << (at % 8);
        bent
    });
    let cut = (0..good.len()).map(|len| good[..len].to_vec());
    let longer = [good, &[0]].concat();
    flipped.chain(cut).chain([longer]).collect()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
