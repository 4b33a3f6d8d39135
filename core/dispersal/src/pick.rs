//! Choosing twelve miners for a deal: pure, so that a choice can be replayed and tested.
//!
//! A miner is a candidate when the chain calls it positive, its certified idle space takes the
//! deal's column, and a probe found it there with room. Candidates are ordered by a hash of (deal,
//! miner), so deals spread evenly over the network without a random source; they are probed in that
//! order, and walked so that no host carries more than its share while another host is still free:
//! correlated loss (one operator, one machine) is what really endangers a stripe.

use std::collections::BTreeMap;

use gw_types::ports::{MinerAddr, MinerInfo};
use gw_types::{AccountId, FRAGMENT_BYTES, FRAGMENTS, Fid};

/// Miners that the chain would let report `segments` fragments each.
pub fn eligible(miners: &[MinerInfo], segments: usize) -> Vec<&MinerInfo> {
    let column = u128::from(FRAGMENT_BYTES) * segments as u128;
    miners.iter().filter(|miner| miner.state == "positive" && miner.idle >= column).collect()
}

/// In the order in which this deal prefers them.
pub fn in_order(fid: Fid, mut miners: Vec<MinerAddr>) -> Vec<MinerAddr> {
    miners.sort_by_key(|miner| (rank(fid, miner.account), miner.account));
    miners.dedup_by_key(|miner| miner.account);
    miners
}

/// Up to `wanted` of the probed candidates, none of `taken`, fewest per host first.
pub fn pick(fid: Fid, candidates: &[MinerAddr], taken: &[AccountId], wanted: usize) -> Vec<MinerAddr> {
    let free = candidates.iter().filter(|miner| !taken.contains(&miner.account)).cloned();
    let mut order = in_order(fid, free.collect());
    let mut on_host: BTreeMap<String, usize> = BTreeMap::new();
    for miner in candidates.iter().filter(|miner| taken.contains(&miner.account)) {
        *on_host.entry(host(&miner.endpoint).to_owned()).or_default() += 1;
    }
    let mut picked = Vec::new();
    while picked.len() < wanted && !order.is_empty() {
        let next = order
            .iter()
            .enumerate()
            .min_by_key(|(place, miner)| (on_host.get(host(&miner.endpoint)).copied().unwrap_or(0), *place))
            .map(|(place, _)| place)
            .expect("the list is not empty");
        let miner = order.remove(next);
        *on_host.entry(host(&miner.endpoint).to_owned()).or_default() += 1;
        picked.push(miner);
    }
    picked
}

/// Twelve for a new deal, or how many there were.
pub fn pick_stripe(fid: Fid, candidates: &[MinerAddr]) -> Result<[MinerAddr; FRAGMENTS], usize> {
    let picked = pick(fid, candidates, &[], FRAGMENTS);
    picked.try_into().map_err(|few: Vec<MinerAddr>| few.len())
}

/// The host part of `http://host:port`.
fn host(endpoint: &str) -> &str {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let end = rest.rfind(':').unwrap_or(rest.len());
    &rest[..end]
}

/// FNV-1a over fid and account: spreads deals; nothing secret or adversarial hangs on it.
fn rank(fid: Fid, account: AccountId) -> u64 {
    fid.0.0.iter().chain(account.0.iter()).fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gw_types::Hash32;

    use super::{host, pick, pick_stripe};
    use crate::pick::{AccountId, Fid, MinerAddr};

    fn miner(number: u8, host: &str) -> MinerAddr {
        MinerAddr { account: AccountId([number; 32]), endpoint: format!("http://{host}:80{number:02}") }
    }

    fn fid(seed: u8) -> Fid {
        Fid(Hash32([seed; 32]))
    }

    #[test]
    fn twelve_different_miners_or_none() {
        let miners: Vec<_> = (0..14).map(|number| miner(number, "127.0.0.1")).collect();
        let picked = pick_stripe(fid(1), &miners).unwrap();
        let accounts: BTreeSet<_> = picked.iter().map(|miner| miner.account).collect();
        assert_eq!(accounts.len(), 12);
        assert_eq!(pick_stripe(fid(1), &miners[..11]), Err(11));
        let twice: Vec<_> = miners[..8].iter().chain(&miners[..8]).cloned().collect();
        assert_eq!(pick_stripe(fid(1), &twice), Err(8));
    }

    #[test]
    fn no_host_carries_two_while_another_carries_none() {
        let crowded: Vec<_> = (0..20).map(|number| miner(number, "10.0.0.1")).collect();
        let alone: Vec<_> = (20..31).map(|number| miner(number, &format!("10.0.1.{number}"))).collect();
        let all: Vec<_> = crowded.iter().chain(&alone).cloned().collect();
        let picked = pick_stripe(fid(9), &all).unwrap();
        let crowd = picked.iter().filter(|miner| host(&miner.endpoint) == "10.0.0.1").count();
        assert_eq!(crowd, 1);
    }

    #[test]
    fn deals_spread_over_the_network() {
        let miners: Vec<_> = (0..40).map(|number| miner(number, &format!("10.0.0.{number}"))).collect();
        let mut load = [0_usize; 40];
        for seed in 0..200 {
            for picked in pick_stripe(fid(seed), &miners).unwrap() {
                load[usize::from(picked.account.0[0])] += 1;
            }
        }
        // 200 deals x 12 columns over 40 miners is 60 each.
        assert!(load.iter().all(|count| (30..=95).contains(count)), "{load:?}");
    }

    #[test]
    fn a_replacement_is_none_of_the_taken() {
        let miners: Vec<_> = (0..14).map(|number| miner(number, "127.0.0.1")).collect();
        let taken: Vec<_> = miners[..12].iter().map(|miner| miner.account).collect();
        let picked = pick(fid(3), &miners, &taken, 5);
        assert_eq!(picked.len(), 2);
        assert!(picked.iter().all(|miner| !taken.contains(&miner.account)));
    }
}
