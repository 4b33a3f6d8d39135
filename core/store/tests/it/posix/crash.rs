//! Power cuts under a mount: what was synced is there, and the rest is a prefix of what was done.

use bytes::Bytes;
use gw_sim::Rng;
use gw_store::files::{HandleId, RenameMode, WriteFlags};
use gw_store::{ListRequest, Usage};

use super::paths::{Contents, Looked, Paths, mount};
use crate::assemble::ForgetfulMachine;
use crate::listing::list_all;
use crate::support::{Here, admin, name};

const NAMES: [&str; 5] = ["a", "b", "a/c", "a/d", "b/e"];

/// What was done, one commit at a time: the states in between, and which of them is surely there.
struct History {
    states: Vec<Contents>,
    synced: usize,
    /// The power went, and the state after the last act could not be read any more.
    blind: bool,
}

async fn act(paths: &Paths, open: &mut Vec<(Looked, HandleId)>, rng: &mut Rng) -> bool {
    let pick = |rng: &mut Rng| NAMES[rng.below(NAMES.len() as u64) as usize];
    let (old, new) = (pick(rng), pick(rng));
    match rng.below(12) {
        0 | 1 => drop(paths.mkdir(old, 0o755).ok()),
        2 | 3 => open.extend(paths.create(old, 0o644).ok()),
        4 => drop(paths.rename(old, new, RenameMode::Replace).ok()),
        5 => drop(paths.unlink(old).ok()),
        6 => drop(paths.rmdir(old).ok()),
        7 => drop(paths.link(old, new).ok()),
        8 if open.len() > 2 => {
            let (_looked, handle) = open.remove(0);
            // Without power it cannot publish; then the next start does.
            paths.files.release(handle).await.ok();
        }
        9 => return paths.files.syncfs().await.is_ok(),
        _ if !open.is_empty() => {
            let (_, handle) = &open[rng.below(open.len() as u64) as usize];
            let len = if rng.one_in(4) { 70_000 } else { 1 + rng.below(500) };
            let bytes = Bytes::from(rng.bytes(len as usize));
            let at = rng.below(2000);
            let wrote = paths.files.write(&paths.caller, *handle, at, bytes, WriteFlags::default()).await;
            assert!(wrote.is_err() || wrote == Ok(len as u32));
        }
        _ => {}
    }
    false
}

async fn load(machine: &ForgetfulMachine, rng: &mut Rng) -> History {
    let here = Here::new(machine.open().await, "bucket").await;
    let paths = mount(&here).await;
    let mut open = Vec::new();
    let mut history = History { states: vec![Contents::new()], synced: 0, blind: false };
    machine.disk.cut_after(20 + rng.below(150));
    for _ in 0..150 {
        let synced = act(&paths, &mut open, rng).await;
        match paths.try_contents().await {
            Ok(state) => history.states.push(state),
            Err(error) => {
                assert!(machine.disk.is_off(), "{error}");
                history.blind = true;
            }
        }
        if synced && !machine.disk.is_off() {
            history.synced = history.states.len() - 1;
        }
        if machine.disk.is_off() {
            break;
        }
    }
    history
}

#[tokio::test]
async fn after_a_power_cut_a_mount_shows_a_prefix_with_all_that_was_synced() {
    let (mut cuts, mut lost, mut kept, mut unseen) = (0, 0, 0, 0);
    for seed in 0..10 {
        let mut rng = Rng::new(seed);
        let machine = ForgetfulMachine::new();
        let history = load(&machine, &mut rng).await;
        cuts += usize::from(machine.disk.is_off());
        let after = machine.power_cut(rng.next_u64());
        let here = Here { store: after.open().await, who: admin(), bucket: name("bucket") };
        let paths = mount(&here).await;
        let found = paths.contents().await;
        let at = history.states.iter().rposition(|state| *state == found);
        assert!(at.is_some() || history.blind, "seed {seed}: a state that never was: {:?}", found.keys());
        unseen += usize::from(at.is_none());
        let at = at.unwrap_or(history.states.len() - 1);
        assert!(
            at >= history.synced,
            "seed {seed}: {at} of {}, {} synced",
            history.states.len(),
            history.synced
        );
        lost += history.states.len() - 1 - at;
        kept += history.synced;
        // What was being written is published, and nothing that only handles had is left.
        let request = ListRequest::new(here.bucket.clone());
        let listed = list_all(&here.store, &here.who, request, false).await;
        assert_eq!(listed.len(), found.len(), "seed {seed}: {listed:?}");
        for path in found.keys().rev() {
            drop(paths.unlink(path).or_else(|_| paths.rmdir(path)));
        }
        assert_eq!(here.usage().await, Usage::default(), "seed {seed}");
        here.store.bucket_delete(&here.who, &here.bucket).await.unwrap();
    }
    // The test tests something.
    assert!(
        cuts >= 4 && lost >= 2 && kept >= 30 && unseen <= 3,
        "{cuts} cuts, {lost} lost, {kept} kept, {unseen} unseen"
    );
}
