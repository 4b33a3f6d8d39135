//! Power cuts: what was acknowledged is there, whole.

use std::collections::BTreeMap;

use gw_sim::Rng;
use gw_store::{StoreErrorKind, WriteConditions};

use crate::assemble::ForgetfulMachine;
use crate::support::Here;

/// What one key was last known to hold, and what it may hold because the answer was lost.
#[derive(Debug, Default)]
struct Known {
    acknowledged: Option<Vec<u8>>,
    maybe: Vec<Option<Vec<u8>>>,
}

#[tokio::test]
async fn every_acknowledged_put_survives_a_power_cut_whole() {
    for seed in 0..30 {
        let mut rng = Rng::new(seed);
        let machine = ForgetfulMachine::new();
        let here = Here::new(machine.open().await, "bucket").await;
        let mut known: BTreeMap<String, Known> = BTreeMap::new();
        machine.disk.cut_after(rng.below(120));
        for number in 0..60u64 {
            let at = format!("d{}/k{}", rng.below(3), rng.below(8));
            let known = known.entry(at.clone()).or_default();
            let len = if rng.one_in(6) { 70_000 + rng.below(80_000) } else { rng.below(3000) };
            let body = (!rng.one_in(5)).then(|| rng.bytes(len as usize));
            let done = match &body {
                Some(body) => here.put_if(&at, body, WriteConditions::default()).await.map(|_| ()),
                None => here.delete_version(&at, None).await.map(|_| ()),
            };
            match done {
                Ok(()) => {
                    known.acknowledged = body;
                    known.maybe.clear();
                }
                Err(_) => known.maybe.push(body),
            }
            if machine.disk.is_off() && number % 4 == 3 {
                break;
            }
        }
        let after = machine.power_cut(rng.next_u64());
        drop(here);
        let again = Here {
            store: after.open().await,
            who: crate::support::admin(),
            bucket: crate::support::name("bucket"),
        };
        let mut objects = 0;
        for (at, known) in &known {
            let found = match again.get(at).await {
                Ok(body) => Some(body),
                Err(error) if error.kind() == StoreErrorKind::NoSuchKey => None,
                Err(error) => panic!("seed {seed} {at}: {error}"),
            };
            objects += u64::from(found.is_some());
            let fits = found == known.acknowledged || known.maybe.contains(&found);
            assert!(fits, "seed {seed}: {at} holds {:?} bytes", found.map(|body| body.len()));
        }
        assert_eq!(again.usage().await.objects, objects, "seed {seed}");
        let listed = crate::listing::request(&again.bucket);
        let listed = crate::listing::list_all(&again.store, &again.who, listed, false).await;
        assert_eq!(listed.len() as u64, objects, "seed {seed}");
        for at in known.keys() {
            again.delete(at).await;
        }
        again.store.bucket_delete(&again.who, &again.bucket).await.unwrap();
    }
}
