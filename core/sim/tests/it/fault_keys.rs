//! Wrappers that are told nothing change nothing; told to, they misbehave as said.

use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::Bytes;
use gw_codec::hash::fragment_hash;
use gw_sim::{FaultKeys, FaultStriper, PortFault, PortOp, SimClock};
use gw_tee::{LocalStriper, RootKey, RootKeys};
use gw_types::ports::{Keys, Striper};
use gw_types::{FragmentIndex, Outcome, SEGMENT_BYTES};

fn keys() -> FaultKeys {
    let root = RootKey::generate().unwrap();
    FaultKeys::new(Arc::new(RootKeys::new(root, Arc::new(SimClock::default()))))
}

#[tokio::test]
async fn silent_wrappers_conform() {
    gw_tee::conformance::keys(&keys()).await;
    gw_tee::conformance::striper(&striper()).await;
}

#[tokio::test]
async fn keys_go_wrong_as_they_are_told() {
    let keys = keys();
    let bucket = keys.new_bucket_key().await.unwrap();
    let (key, wrapped) = keys.new_data_key(&bucket).await.unwrap();
    keys.fail(PortOp::Unwrap, 0, 1, PortFault::Away);
    keys.fail(PortOp::Unwrap, 0, 1, PortFault::Lost);
    keys.fail(PortOp::Unwrap, 0, 1, PortFault::Lies);
    assert_eq!(keys.unwrap(&bucket, &wrapped).await.unwrap_err().outcome(), Outcome::Definite);
    assert_eq!(keys.unwrap(&bucket, &wrapped).await.unwrap_err().outcome(), Outcome::Unknown);
    assert_ne!(keys.unwrap(&bucket, &wrapped).await.unwrap().expose(), key.expose());
    assert_eq!(keys.unwrap(&bucket, &wrapped).await.unwrap().expose(), key.expose());
    assert_eq!(keys.hits(), 3);
    keys.fail(PortOp::Unwrap, 0, u64::MAX, PortFault::Hangs);
    let hung = tokio::time::timeout(std::time::Duration::from_millis(20), keys.unwrap(&bucket, &wrapped));
    assert!(hung.await.is_err());
    keys.heal();
    assert!(keys.unwrap(&bucket, &wrapped).await.is_ok());
}

fn striper() -> FaultStriper {
    FaultStriper::new(Arc::new(LocalStriper::new(NonZeroUsize::MIN)))
}

#[tokio::test]
async fn a_striper_goes_wrong_as_it_is_told() {
    let striper = striper();
    let segment: Bytes = (0..SEGMENT_BYTES).map(|at| (at % 251) as u8).collect::<Vec<u8>>().into();
    let hashes = striper.hash(segment.clone()).await.unwrap();
    striper.fail(PortOp::Fragment, 0, 1, PortFault::Lies);
    let index = FragmentIndex::new(7).unwrap();
    let wrong = striper.fragment(segment.clone(), index).await.unwrap();
    assert_ne!(fragment_hash(&wrong), hashes.fragments[7]);
    let right = striper.fragment(segment.clone(), index).await.unwrap();
    assert_eq!(fragment_hash(&right), hashes.fragments[7]);
    striper.fail(PortOp::Hash, 0, 1, PortFault::Away);
    assert!(striper.hash(segment).await.is_err());
}
