//! Random calls of S3 and of a mount on one bucket, beside a [`model`] of both. Every answer is the one
//! that the model gives; every now and then all names, bytes, attributes, listings and ETags are
//! compared in both views, and what the bucket counts.
//!
//! A run is a seed: what fails says which, and `CROSS_SEED=N CROSS_OPS=M cargo test -p gw-store --test it
//! cross::` repeats it. `cargo xtask cross --ops 1000000` runs many more than the tests do.

mod model;
mod run;

use run::run;

/// Operations of one run, each on a new store.
const OPS_OF_A_RUN: usize = 1000;
const OPS: usize = 5000;

fn number(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test]
async fn s3_and_a_mount_are_two_views_of_one_namespace() {
    let first = number("CROSS_SEED").unwrap_or(0);
    let ops = number("CROSS_OPS").unwrap_or(OPS);
    let mut done = std::collections::BTreeMap::new();
    for (at, begin) in (0..ops).step_by(OPS_OF_A_RUN).enumerate() {
        let seed = (first + at) as u64;
        for (what, count) in run(seed, OPS_OF_A_RUN.min(ops - begin)).await {
            *done.entry(what).or_insert(0) += count;
        }
    }
    // The test tests something: every kind of call has succeeded, and more than once.
    if ops >= OPS {
        assert_eq!(done.len(), run::KINDS, "{done:?}");
        assert!(done.values().all(|count: &usize| *count >= 3), "{done:?}");
    }
}
