//! What every implementation of the ports `Chain` and `MinerChain` must do, as a suite.
//!
//! It is run on [`crate::SubxtChain`] with the development chain behind it and on the model chain of
//! the simulator, so that the two cannot drift apart. It checks through the ports alone and asks
//! neither for time nor for a runtime. A broken promise panics with the promise's name in the
//! backtrace. On a chain that keeps its state, give each run its own label: territories and open
//! deals stay.

use std::sync::Arc;

use futures::StreamExt;
use futures::future::{join_all, try_join_all};
use gw_types::ports::{Chain, ChainEvent, DealSpec, DeclaredSegment, MinerChain, TerritoryState};
use gw_types::{
    AccountId, FRAGMENT_BYTES, FRAGMENTS, Fid, FragmentIndex, Hash32, Outcome, PortError, PortErrorKind,
    TERRITORY_BYTES_PER_SEGMENT, TerritoryName,
};

const GIB: u128 = 1 << 30;
const BLOCKS_A_DAY: u32 = 14_400;
const DAYS: u32 = 30;
const PER_SEGMENT: u128 = TERRITORY_BYTES_PER_SEGMENT as u128;
/// More events than any promise here causes; a stream that brings so many without the one that is
/// waited for is broken.
const EVENTS_MAX: usize = 10_000;

/// Who takes part.
#[derive(Clone, Debug)]
pub struct World {
    /// An account with money for 16 GiB for 30 days.
    pub owner: Arc<dyn Chain>,
    /// Another, with money for 1 GiB for 30 days.
    pub other: Arc<dyn Chain>,
    /// At least twelve registered, positive miners with 64 MiB idle each.
    pub miners: Vec<Arc<dyn MinerChain>>,
    /// Makes names and hashes of this run its own. At most 20 bytes.
    pub label: String,
}

/// Checks every promise, one after the other.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn run(world: &World) {
    assert!(world.miners.len() >= FRAGMENTS, "the suite needs twelve miners");
    assert!(world.label.len() <= 20, "the label is too long");
    price_and_space_are_told(world).await;
    what_is_not_there_is_none(world).await;
    miners_are_listed_as_they_registered(world).await;
    a_minted_territory_is_whole_and_paid_for(world).await;
    short_terms_and_taken_names_are_refused(world).await;
    a_territory_grows_and_lives_longer(world).await;
    a_declared_deal_is_open_and_locks_its_space(world).await;
    twelve_reports_complete_a_deal(world).await;
    a_column_and_a_miner_report_once(world).await;
    a_file_gains_and_loses_owners_without_bytes(world).await;
    events_tell_of_reports_completion_and_deletion(world).await;
    a_lack_of_space_is_full_and_changes_nothing(world).await;
    file_names_have_three_to_sixty_three_bytes(world).await;
    what_makes_no_sense_is_refused(world).await;
    calls_of_one_account_may_be_made_at_once(world).await;
    a_fence_disturbs_no_call_of_this_life(world).await;
    an_operator_may_be_authorised(world).await;
}

impl World {
    fn territory(&self, suffix: &str) -> TerritoryName {
        TerritoryName::new(format!("{}-{suffix}", self.label)).expect("label and suffix are short")
    }

    /// A hash that nothing else in this run has.
    fn hash(&self, what: &str, number: u64) -> Hash32 {
        // FNV-1a over the words, then splitmix64: not secure, only different.
        let mut seed = 0xcbf2_9ce4_8422_2325_u64;
        for byte in self.label.bytes().chain([0]).chain(what.bytes()).chain([0]).chain(number.to_le_bytes()) {
            seed = (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let mut hash = [0; 32];
        for part in hash.chunks_exact_mut(8) {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            part.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
        }
        Hash32(hash)
    }

    fn deal(&self, what: &str, segments: usize, territory: &TerritoryName) -> DealSpec {
        let segment = |number: usize| DeclaredSegment {
            hash: self.hash(what, 1000 * (number as u64 + 1)),
            fragments: std::array::from_fn(|index| {
                self.hash(what, 1000 * (number as u64 + 1) + 1 + index as u64)
            }),
        };
        DealSpec {
            fid: Fid(self.hash(what, 0)),
            segments: (0..segments).map(segment).collect(),
            file_name: "conformance".into(),
            territory: territory.clone(),
            file_size: segments as u128 * (32 << 20),
        }
    }

    /// Column i is reported by miner i.
    async fn complete(&self, fid: Fid) {
        let reports = self.miners.iter().zip(FragmentIndex::all());
        let reports = reports.map(|(miner, index)| async move { miner.report(fid, index).await });
        try_join_all(reports).await.expect("each column of an open deal may be reported");
    }

    async fn mint(&self, suffix: &str, gib: u32) -> TerritoryName {
        let name = self.territory(suffix);
        self.owner.mint_territory(&name, gib, DAYS).await.expect("there are money and space for a territory");
        name
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, PortError>, kind: PortErrorKind) {
    let error = result.expect_err("this must be refused");
    assert_eq!(error.kind(), kind, "{error}");
    assert_eq!(error.outcome(), Outcome::Definite, "{error}");
}

/// The chain tells price, balance and space, and its head moves forward.
pub async fn price_and_space_are_told(world: &World) {
    assert!(world.owner.unit_price().await.expect("a price") > 0);
    assert!(world.owner.balance().await.expect("a balance") > 0);
    let space = world.owner.network_space().await.expect("the network's space");
    assert!(
        space.idle + space.service >= space.purchased + 8 * GIB,
        "the suite needs 8 GiB for sale: {space:?}"
    );
    let first = world.owner.head().await.expect("a head");
    let second = world.other.head().await.expect("a head");
    assert!(second.block >= first.block);
    assert!(first.block_seconds > 0);
    assert_ne!(world.owner.account(), world.other.account());
}

/// Asking for what does not exist gives nothing, not an error.
pub async fn what_is_not_there_is_none(world: &World) {
    let fid = Fid(world.hash("nothing", 0));
    assert_eq!(world.owner.deal(fid).await.expect("an answer"), None);
    assert_eq!(world.owner.file(fid).await.expect("an answer"), None);
    assert_eq!(world.miners[0].deal(fid).await.expect("an answer"), None);
    assert_eq!(world.miners[0].file(fid).await.expect("an answer"), None);
    assert_eq!(world.owner.territory(&world.territory("nowhere")).await.expect("an answer"), None);
}

/// Every registered miner is listed, and what it changes is seen.
pub async fn miners_are_listed_as_they_registered(world: &World) {
    let listed = world.owner.miners().await.expect("a list of miners");
    for miner in &world.miners {
        let own = miner.registered().await.expect("an answer").expect("the suite's miners are registered");
        assert_eq!(own.addr.account, miner.account());
        assert_eq!(own.state, "positive");
        assert!(own.idle >= 8 * u128::from(FRAGMENT_BYTES), "the suite needs idle space: {own:?}");
        let entry = listed.iter().find(|entry| entry.addr.account == miner.account());
        assert_eq!(entry, Some(&own));
    }
    let miner = &world.miners[0];
    let before = miner.registered().await.expect("an answer").expect("registered").addr.endpoint;
    miner.update_endpoint("127.0.0.1:19999").await.expect("a miner may move");
    let listed = world.owner.miners().await.expect("a list of miners");
    let moved = listed.iter().find(|entry| entry.addr.account == miner.account()).expect("still listed");
    assert_eq!(moved.addr.endpoint, "http://127.0.0.1:19999", "a missing scheme is mended");
    miner.update_endpoint(&before).await.expect("a miner may move back");
    assert_eq!(miner.registered().await.expect("an answer").expect("registered").addr.endpoint, before);
}

/// Minting gives the space at once, and costs its price.
pub async fn a_minted_territory_is_whole_and_paid_for(world: &World) {
    let price = world.owner.unit_price().await.expect("a price");
    let balance = world.owner.balance().await.expect("a balance");
    let name = world.territory("first");
    let receipt = world.owner.mint_territory(&name, 1, DAYS).await.expect("there are money and space");
    assert!(receipt.block > 0 && receipt.block <= world.owner.head().await.expect("a head").block);
    assert_ne!(receipt.block_hash, Hash32([0; 32]));
    let territory = world.owner.territory(&name).await.expect("an answer").expect("it was minted");
    assert_eq!((territory.total, territory.remaining, territory.used, territory.locked), (GIB, GIB, 0, 0));
    assert_eq!((territory.state, &territory.name), (TerritoryState::Active, &name));
    assert_eq!(territory.deadline - territory.start, DAYS * BLOCKS_A_DAY);
    let spent = balance - world.owner.balance().await.expect("a balance");
    assert!(spent >= price * u128::from(DAYS), "minting spent {spent}, the price is {price} a day");
    assert!(world.owner.territories().await.expect("a list").contains(&territory));
    assert!(!world.other.territories().await.expect("a list").iter().any(|other| other.name == name));
}

/// 30 days is the least, and a name is taken once.
pub async fn short_terms_and_taken_names_are_refused(world: &World) {
    let name = world.mint("taken", 1).await;
    refused(world.owner.mint_territory(&name, 1, DAYS).await, PortErrorKind::Refused);
    refused(world.owner.mint_territory(&world.territory("short"), 1, DAYS - 1).await, PortErrorKind::Refused);
    assert_eq!(world.owner.territory(&world.territory("short")).await.expect("an answer"), None);
    let nowhere = world.territory("nowhere");
    refused(world.owner.expand_territory(&nowhere, 1).await, PortErrorKind::Refused);
    refused(world.owner.renew_territory(&nowhere, DAYS).await, PortErrorKind::Refused);
}

/// Expansion adds space, renewal adds days.
pub async fn a_territory_grows_and_lives_longer(world: &World) {
    let name = world.mint("grows", 1).await;
    let before = world.owner.territory(&name).await.expect("an answer").expect("minted");
    world.owner.expand_territory(&name, 1).await.expect("an active territory grows");
    world.owner.renew_territory(&name, 2).await.expect("an active territory is renewed");
    let after = world.owner.territory(&name).await.expect("an answer").expect("minted");
    assert_eq!((after.total, after.remaining), (2 * GIB, 2 * GIB));
    assert_eq!(after.deadline, before.deadline + 2 * BLOCKS_A_DAY);
}

/// A declaration opens the deal as it was said and locks 96 MiB a segment.
pub async fn a_declared_deal_is_open_and_locks_its_space(world: &World) {
    let name = world.mint("open", 1).await;
    let spec = world.deal("open", 2, &name);
    world.owner.declare(&spec).await.expect("there is room");
    let deal = world.owner.deal(spec.fid).await.expect("an answer").expect("declared");
    assert_eq!((deal.segments, deal.complete), (spec.segments.clone(), vec![]));
    assert_eq!(
        world.miners[0].deal(spec.fid).await.expect("an answer").expect("declared").segments,
        spec.segments
    );
    assert_eq!(world.owner.file(spec.fid).await.expect("an answer"), None);
    let territory = world.owner.territory(&name).await.expect("an answer").expect("minted");
    let locked = 2 * PER_SEGMENT;
    assert_eq!((territory.locked, territory.used, territory.remaining), (locked, 0, GIB - locked));
    assert!(world.owner.files().await.expect("a list").iter().all(|file| file.fid != spec.fid));
}

/// The twelfth report makes the deal a file, held where it was reported from.
pub async fn twelve_reports_complete_a_deal(world: &World) {
    let name = world.mint("complete", 1).await;
    let spec = world.deal("complete", 2, &name);
    world.owner.declare(&spec).await.expect("there is room");
    let third = FragmentIndex::new(2).expect("below twelve");
    let idle = world.miners[2].registered().await.expect("an answer").expect("registered").idle;
    world.miners[2].report(spec.fid, third).await.expect("an open column");
    let deal = world.owner.deal(spec.fid).await.expect("an answer").expect("still open");
    assert_eq!(deal.complete, vec![(third, world.miners[2].account())]);
    let left = world.miners[2].registered().await.expect("an answer").expect("registered").idle;
    assert_eq!(idle - left, 2 * u128::from(FRAGMENT_BYTES), "a report takes the miner's space");

    let rest = world.miners.iter().zip(FragmentIndex::all()).filter(|(_, index)| *index != third);
    for (miner, index) in rest {
        assert!(world.owner.deal(spec.fid).await.expect("an answer").is_some(), "open until the twelfth");
        miner.report(spec.fid, index).await.expect("an open column");
    }
    assert_eq!(world.owner.deal(spec.fid).await.expect("an answer"), None);
    let file = world.owner.file(spec.fid).await.expect("an answer").expect("complete");
    assert_eq!(file.held_as, Some((spec.file_name.clone(), name.clone())));
    assert_eq!(file.file_size, spec.file_size);
    assert!(file.completed_at > 0);
    let holders: Vec<AccountId> = world.miners.iter().take(FRAGMENTS).map(|miner| miner.account()).collect();
    for (segment, declared) in file.segments.iter().zip(&spec.segments) {
        assert_eq!(segment.hash, declared.hash);
        assert_eq!(segment.fragments.iter().map(|fragment| fragment.miner).collect::<Vec<_>>(), holders);
        assert_eq!(
            segment.fragments.iter().map(|fragment| fragment.hash).collect::<Vec<_>>(),
            declared.fragments
        );
        assert!(segment.fragments.iter().all(|fragment| fragment.available));
    }
    assert_eq!(file.segments.len(), 2);
    let taken = 2 * PER_SEGMENT;
    let territory = world.owner.territory(&name).await.expect("an answer").expect("minted");
    assert_eq!((territory.used, territory.locked, territory.remaining), (taken, 0, GIB - taken));
    let held = world.owner.files().await.expect("a list");
    let held = held.iter().find(|held| held.fid == spec.fid).expect("listed");
    assert_eq!((held.size, &held.territory), (taken, &name));
    assert_eq!(world.other.file(spec.fid).await.expect("an answer").expect("complete").held_as, None);

    // Declaring again what one already holds costs no space, whatever the chain answers.
    let _ = world.owner.declare(&spec).await;
    let again = world.owner.territory(&name).await.expect("an answer").expect("minted");
    assert_eq!((again.used, again.locked), (taken, 0));
    assert_eq!(world.owner.deal(spec.fid).await.expect("an answer"), None);
}

/// One report for each column, one column for each miner.
pub async fn a_column_and_a_miner_report_once(world: &World) {
    let name = world.mint("once", 1).await;
    let spec = world.deal("once", 1, &name);
    let (first, second) =
        (FragmentIndex::new(0).expect("below twelve"), FragmentIndex::new(1).expect("below twelve"));
    refused(world.miners[0].report(spec.fid, first).await, PortErrorKind::Refused);
    world.owner.declare(&spec).await.expect("there is room");
    world.miners[0].report(spec.fid, first).await.expect("an open column");
    refused(world.miners[0].report(spec.fid, first).await, PortErrorKind::Refused);
    refused(world.miners[0].report(spec.fid, second).await, PortErrorKind::Refused);
    refused(world.miners[1].report(spec.fid, first).await, PortErrorKind::Refused);
    let deal = world.owner.deal(spec.fid).await.expect("an answer").expect("open");
    assert_eq!(deal.complete, vec![(first, world.miners[0].account())]);
}

/// Another account becomes an owner by declaring; the file lasts until the last one has left.
pub async fn a_file_gains_and_loses_owners_without_bytes(world: &World) {
    let name = world.mint("shared", 1).await;
    let theirs = world.territory("theirs");
    world.other.mint_territory(&theirs, 1, DAYS).await.expect("there are money and space");
    let spec = world.deal("shared", 1, &name);
    world.owner.declare(&spec).await.expect("there is room");
    world.complete(spec.fid).await;

    // The chain says yes to one who is no owner, and does nothing (pallet file-bank `delete_user_file`).
    let _ = world.other.delete_file(spec.fid).await;
    assert!(world.owner.file(spec.fid).await.expect("an answer").expect("still active").held_as.is_some());
    let flash = DealSpec { territory: theirs.clone(), file_name: "flash".into(), ..spec.clone() };
    world.other.declare(&flash).await.expect("an active file gains an owner");
    assert_eq!(world.other.deal(spec.fid).await.expect("an answer"), None, "no bytes move");
    let seen = world.other.file(spec.fid).await.expect("an answer").expect("active");
    assert_eq!(seen.held_as, Some(("flash".into(), theirs.clone())));
    let charged = world.other.territory(&theirs).await.expect("an answer").expect("minted");
    assert_eq!((charged.used, charged.locked), (PER_SEGMENT, 0));

    world.owner.delete_file(spec.fid).await.expect("an owner may leave");
    let freed = world.owner.territory(&name).await.expect("an answer").expect("minted");
    assert_eq!((freed.used, freed.remaining), (0, GIB));
    assert!(world.owner.files().await.expect("a list").iter().all(|file| file.fid != spec.fid));
    let left = world.owner.file(spec.fid).await.expect("an answer").expect("one owner is left");
    assert_eq!(left.held_as, None);
    let _ = world.owner.delete_file(spec.fid).await;
    assert_eq!(
        world.owner.territory(&name).await.expect("an answer").expect("minted"),
        freed,
        "it is freed once"
    );

    world.other.delete_file(spec.fid).await.expect("the last owner may leave");
    assert_eq!(world.other.file(spec.fid).await.expect("an answer"), None);
    assert!(world.other.files().await.expect("a list").iter().all(|file| file.fid != spec.fid));
}

/// A subscriber sees its deal's reports, its completion and its deletion, in order, with blocks.
pub async fn events_tell_of_reports_completion_and_deletion(world: &World) {
    let name = world.mint("events", 1).await;
    let spec = world.deal("events", 1, &name);
    let mut events = world.owner.events().await.expect("a subscription");
    world.owner.declare(&spec).await.expect("there is room");
    world.complete(spec.fid).await;
    world.owner.delete_file(spec.fid).await.expect("an owner may leave");

    let (mut reporters, mut completed, mut block) = (Vec::new(), false, 0);
    for _ in 0..EVENTS_MAX {
        match events.next().await.expect("the stream lasts as long as the connection") {
            ChainEvent::Block(head) => {
                assert!(head.block > block, "blocks come in order");
                block = head.block;
            }
            // The twelfth report and the completion share a call; either may be told first.
            ChainEvent::Reported { miner, fid } if fid == spec.fid => reporters.push(miner),
            ChainEvent::Completed { fid } if fid == spec.fid => completed = true,
            ChainEvent::Deleted { fid } if fid == spec.fid => {
                assert!(completed, "completion comes before deletion");
                reporters.sort();
                let mut expected: Vec<_> =
                    world.miners.iter().take(FRAGMENTS).map(|miner| miner.account()).collect();
                expected.sort();
                assert_eq!(reporters, expected);
                return;
            }
            _ => {}
        }
    }
    panic!("the deletion was not told");
}

/// A declaration needs strictly more than its own space, and a refused one leaves no trace.
pub async fn a_lack_of_space_is_full_and_changes_nothing(world: &World) {
    // 3 GiB are exactly 32 segments.
    let name = world.mint("tight", 3).await;
    let before = world.owner.territory(&name).await.expect("an answer").expect("minted");
    let exact = world.deal("exact", 32, &name);
    refused(world.owner.declare(&exact).await, PortErrorKind::Full);
    assert_eq!(world.owner.deal(exact.fid).await.expect("an answer"), None);
    assert_eq!(world.owner.territory(&name).await.expect("an answer").expect("minted"), before);
    let fits = world.deal("fits", 31, &name);
    world.owner.declare(&fits).await.expect("31 segments fit 3 GiB");
    refused(world.owner.declare(&world.deal("more", 1, &name)).await, PortErrorKind::Full);
}

/// The chain's limit on names.
pub async fn file_names_have_three_to_sixty_three_bytes(world: &World) {
    let name = world.mint("names", 1).await;
    for length in [0, 2, 64] {
        let spec = DealSpec { file_name: "n".repeat(length), ..world.deal("name", length + 1, &name) };
        refused(
            world.owner.declare(&DealSpec { segments: spec.segments[..1].to_vec(), ..spec }).await,
            PortErrorKind::Refused,
        );
    }
    for length in [3, 63] {
        let spec =
            DealSpec { file_name: "n".repeat(length), ..world.deal(&format!("name {length}"), 1, &name) };
        world.owner.declare(&spec).await.expect("a good name");
    }
}

/// Unknown territories, files and deals.
pub async fn what_makes_no_sense_is_refused(world: &World) {
    let nowhere = world.territory("nowhere");
    let spec = world.deal("astray", 1, &nowhere);
    refused(world.owner.declare(&spec).await, PortErrorKind::Refused);
    assert_eq!(world.owner.deal(spec.fid).await.expect("an answer"), None);
    refused(world.owner.delete_file(spec.fid).await, PortErrorKind::Refused);
    let empty = DealSpec { segments: Vec::new(), ..spec };
    refused(world.owner.declare(&empty).await, PortErrorKind::Refused);
}

/// Nonces are the implementation's business.
pub async fn calls_of_one_account_may_be_made_at_once(world: &World) {
    const AT_ONCE: usize = 8;
    let name = world.mint("crowd", 1).await;
    let deals: Vec<DealSpec> =
        (0..AT_ONCE).map(|number| world.deal(&format!("crowd {number}"), 1, &name)).collect();
    for result in join_all(deals.iter().map(|deal| world.owner.declare(deal))).await {
        result.expect("calls do not disturb each other");
    }
    for deal in &deals {
        assert!(world.owner.deal(deal.fid).await.expect("an answer").is_some());
    }
    let territory = world.owner.territory(&name).await.expect("an answer").expect("minted");
    assert_eq!(territory.locked, AT_ONCE as u128 * PER_SEGMENT);
}

/// A fence ends, is passed by calls that are under way, and takes nothing but fees.
pub async fn a_fence_disturbs_no_call_of_this_life(world: &World) {
    let name = world.mint("fence", 1).await;
    let deals: Vec<DealSpec> =
        (0..4).map(|number| world.deal(&format!("fence {number}"), 1, &name)).collect();
    let (fenced, declared) =
        futures::join!(world.owner.fence(), join_all(deals.iter().map(|deal| world.owner.declare(deal))));
    fenced.expect("a fence stands in the end");
    for result in declared {
        result.expect("a fence refuses nothing");
    }
    let territory = world.owner.territory(&name).await.expect("an answer").expect("minted");
    assert_eq!(territory.locked, 4 * PER_SEGMENT);
}

/// Another account may act for this one.
pub async fn an_operator_may_be_authorised(world: &World) {
    // A fresh account for each label, so that the suite can be run again on the same chain.
    let operator = AccountId(world.hash("operator", 0).0);
    world.owner.authorize_operator(operator).await.expect("an account may authorise another");
}
