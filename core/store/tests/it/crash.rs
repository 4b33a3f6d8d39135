//! Power cuts: what was acknowledged is there, whole.

use std::collections::BTreeMap;

use futures::future::join_all;
use gw_sim::Rng;
use gw_store::{ListRequest, StoreErrorKind, WriteConditions};

use crate::assemble::ForgetfulMachine;
use crate::listing::list_all;
use crate::support::{Here, admin, name};

/// What one key was last known to hold, and what it may hold because the answer was lost.
#[derive(Debug, Default)]
struct Known {
    acknowledged: Option<Vec<u8>>,
    maybe: Vec<Option<Vec<u8>>>,
}

/// One write of one key.
async fn act(here: &Here, at: &str, body: Option<&[u8]>) -> bool {
    match body {
        Some(body) => here.put_if(at, body, WriteConditions::default()).await.is_ok(),
        None => here.delete_version(at, None).await.is_ok(),
    }
}

/// Rounds of four writes side by side until the power goes.
async fn load(machine: &ForgetfulMachine, rng: &mut Rng) -> BTreeMap<String, Known> {
    let here = Here::new(machine.open().await, "bucket").await;
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    machine.disk.cut_after(rng.below(100));
    for _ in 0..20 {
        let first = rng.below(24);
        let round: Vec<(String, Option<Vec<u8>>)> = (0..4)
            .map(|number| {
                let number = (first + number * 7) % 24;
                let len = if rng.one_in(6) { 70_000 + rng.below(80_000) } else { rng.below(3000) };
                let body = (!rng.one_in(5)).then(|| rng.bytes(len as usize));
                (format!("d{}/k{number}", number % 3), body)
            })
            .collect();
        let done = join_all(round.iter().map(|(at, body)| act(&here, at, body.as_deref()))).await;
        for ((at, body), done) in round.into_iter().zip(done) {
            let known = known.entry(at).or_default();
            if done {
                known.acknowledged = body;
                known.maybe.clear();
            } else {
                known.maybe.push(body);
            }
        }
        if machine.disk.is_off() {
            break;
        }
    }
    known
}

#[tokio::test]
async fn every_acknowledged_put_survives_a_power_cut_whole() {
    let (mut cuts, mut acknowledged) = (0, 0);
    for seed in 0..16 {
        let mut rng = Rng::new(seed);
        let machine = ForgetfulMachine::new();
        let known = load(&machine, &mut rng).await;
        cuts += usize::from(machine.disk.is_off());
        acknowledged += known.values().filter(|known| known.acknowledged.is_some()).count();
        let after = machine.power_cut(rng.next_u64());
        let here = Here { store: after.open().await, who: admin(), bucket: name("bucket") };
        let mut objects = 0;
        for (at, known) in &known {
            let found = match here.get(at).await {
                Ok(body) => Some(body),
                Err(error) if error.kind() == StoreErrorKind::NoSuchKey => None,
                Err(error) => panic!("seed {seed} {at}: {error}"),
            };
            objects += u64::from(found.is_some());
            let fits = found == known.acknowledged || known.maybe.contains(&found);
            assert!(fits, "seed {seed}: {at} holds {:?} bytes", found.map(|body| body.len()));
        }
        assert_eq!(here.usage().await.objects, objects, "seed {seed}");
        let listed = list_all(&here.store, &here.who, ListRequest::new(here.bucket.clone()), false).await;
        assert_eq!(listed.len() as u64, objects, "seed {seed}");
        for at in known.keys() {
            here.delete(at).await;
        }
        here.store.bucket_delete(&here.who, &here.bucket).await.unwrap();
    }
    // The test tests something: most runs were cut, and after something had been acknowledged.
    assert!(cuts >= 8 && acknowledged >= 50, "{cuts} cuts, {acknowledged} acknowledged");
}
