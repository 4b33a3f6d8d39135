//! Who holds which column of a deal: pure.
//!
//! A deal's row has one miner for each column. After repairs the fragments of one column may be with
//! different miners; then the one with most of them stands there, and reads of the others are rebuilt
//! from the other columns.

use std::collections::BTreeMap;

use gw_types::ports::{FileState, MinerAddr};
use gw_types::{AccountId, FRAGMENTS, FragmentIndex};

/// The placement of a file. Endpoints are those `listed` by the chain, else those `known`; a column of
/// which the chain says nothing stays as it was known.
pub fn placement(
    file: &FileState,
    listed: &[MinerAddr],
    known: &[MinerAddr; FRAGMENTS],
) -> [MinerAddr; FRAGMENTS] {
    let mut placed = known.clone();
    for (index, slot) in FragmentIndex::all().zip(&mut placed) {
        if let Some(account) = holder(file, index) {
            let found = [listed, known].into_iter().flatten().find(|addr| addr.account == account);
            *slot = found.cloned().unwrap_or(MinerAddr { account, endpoint: String::new() });
        }
    }
    placed
}

/// The miner with most fragments of a column.
fn holder(file: &FileState, index: FragmentIndex) -> Option<AccountId> {
    let mut counts: BTreeMap<AccountId, usize> = BTreeMap::new();
    for fragment in file.segments.iter().filter_map(|segment| segment.fragments.get(index.get())) {
        *counts.entry(fragment.miner).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(account, _)| account)
}

#[cfg(test)]
mod tests {
    use gw_types::ports::{FileSegment, FileState, MinerAddr, PlacedFragment};
    use gw_types::{AccountId, Hash32};

    use super::placement;

    fn addr(number: u8, place: &str) -> MinerAddr {
        MinerAddr { account: AccountId([number; 32]), endpoint: format!("http://{place}:{number}") }
    }

    #[test]
    fn repairs_and_moves_are_followed() {
        let known = std::array::from_fn(|number| addr(number as u8, "old"));
        let segment = |third: u8| FileSegment {
            hash: Hash32([0; 32]),
            fragments: (0..12)
                .map(|number| if number == 3 { third } else { number })
                .map(|miner| PlacedFragment {
                    hash: Hash32([0; 32]),
                    miner: AccountId([miner; 32]),
                    available: true,
                })
                .collect(),
        };
        let file = FileState {
            segments: vec![segment(3), segment(40), segment(40)],
            file_size: 0,
            held_as: None,
            completed_at: 1,
        };
        let placed = placement(&file, &[addr(1, "new"), addr(40, "spare")], &known);
        assert_eq!(placed[0], addr(0, "old"), "not listed");
        assert_eq!(placed[1], addr(1, "new"));
        assert_eq!(placed[3], addr(40, "spare"));
    }
}
