//! `LocalStriper` through the suite of the port, on both engines, and its limits.

use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::Bytes;
use gw_codec::erasure::Code;
use gw_tee::{LocalStriper, conformance};
use gw_types::SEGMENT_BYTES;
use gw_types::ports::Striper;

fn jobs(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

#[tokio::test]
async fn the_detected_engine_keeps_the_contract_of_the_port() {
    conformance::striper(&LocalStriper::new(jobs(2))).await;
}

#[tokio::test]
async fn the_reference_engine_keeps_the_contract_of_the_port() {
    conformance::striper(&LocalStriper::with_code(Code::reference(), jobs(2))).await;
}

/// More callers than permits, each needing two: nobody waits for ever, whoever gives up harms nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_share_one_permit() {
    let striper = Arc::new(LocalStriper::new(jobs(1)));
    let mut bytes = vec![0; SEGMENT_BYTES as usize];
    bytes[0] = 1;
    let segment = Bytes::from(bytes);
    let expected = striper.hash(segment.clone()).await.unwrap();
    let call = || {
        let (striper, segment) = (Arc::clone(&striper), segment.clone());
        tokio::spawn(async move { striper.hash(segment).await.unwrap() })
    };
    let calls: Vec<_> = (0..4).map(|_| call()).collect();
    call().abort();
    for call in calls {
        assert_eq!(call.await.unwrap(), expected);
    }
}
