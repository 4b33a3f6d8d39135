use std::array;
use std::time::Duration;

use gw_types::ports::{FileSegment, FileState, MinerAddr, PlacedFragment};
use gw_types::{AccountId, FRAGMENTS, FragmentIndex, Hash32};

use super::{ABSENT_PATIENCE, Deal, Effect, Event, REPORT_BLOCKS, REPORT_PATIENCE};

/// All columns differ.
const DIFFERENT: [u8; FRAGMENTS] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
/// Fragments 1 to 3 are zeros: a segment with less than 8 MiB in it.
const SMALL: [u8; FRAGMENTS] = [0, 1, 1, 1, 4, 5, 6, 7, 8, 9, 10, 11];

fn miner(number: usize) -> MinerAddr {
    MinerAddr { account: AccountId([number as u8; 32]), endpoint: format!("http://127.0.0.1:{number}") }
}

fn deal(twins: [u8; FRAGMENTS]) -> Deal {
    Deal::new(array::from_fn(miner), twins, Duration::ZERO)
}

fn index(number: usize) -> FragmentIndex {
    FragmentIndex::new(number as u8).unwrap()
}

fn absent() -> Event {
    Event::NotOnChain { may_come: false }
}

fn sent(column: usize, by: usize) -> Event {
    Event::Sent(index(column), miner(by).account)
}

fn open(reported: &[(usize, usize)]) -> Event {
    Event::Open(reported.iter().map(|(column, by)| (index(*column), miner(*by).account)).collect())
}

fn sends(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Send(..))).count()
}

fn file() -> FileState {
    let fragments = (0..12)
        .map(|number| PlacedFragment { hash: Hash32([0; 32]), miner: miner(number).account, available: true })
        .collect();
    FileState {
        segments: vec![FileSegment { hash: Hash32([0; 32]), fragments }],
        file_size: 0,
        held_as: None,
        completed_at: 1,
    }
}

fn declared(twins: [u8; FRAGMENTS]) -> Deal {
    let mut deal = deal(twins);
    assert_eq!(deal.apply(absent()), [Effect::Declare]);
    let effects = deal.apply(Event::Declared);
    assert_eq!((sends(&effects), effects.contains(&Effect::Opened)), (12, true));
    deal
}

#[test]
fn nothing_is_declared_twice() {
    let mut fresh = deal(DIFFERENT);
    assert_eq!(fresh.apply(absent()), [Effect::Declare]);
    assert!(fresh.apply(absent()).is_empty());
    let mut resumed = deal(DIFFERENT);
    let effects = resumed.apply(open(&[(0, 0)]));
    assert!(!effects.contains(&Effect::Declare));
    assert_eq!(sends(&effects), 11);
}

#[test]
fn nothing_is_declared_while_an_earlier_declaration_may_land() {
    let mut deal = deal(DIFFERENT);
    assert!(deal.apply(Event::NotOnChain { may_come: true }).is_empty());
    assert_eq!(sends(&deal.clone().apply(open(&[]))), 12, "it did");
    assert_eq!(deal.apply(absent()), [Effect::Declare], "it never will");
}

#[test]
fn dispersed_after_twelve_acknowledged_columns_and_finalized_with_the_file() {
    let mut deal = declared(DIFFERENT);
    for number in 0..11 {
        assert!(deal.apply(sent(number, number)).is_empty());
    }
    assert_eq!(deal.apply(sent(11, 11)), [Effect::Dispersed]);
    assert_eq!(deal.apply(Event::Completed(file())), [Effect::Finalized]);
    assert!(deal.apply(Event::Completed(file())).is_empty());
}

#[test]
fn a_failed_column_goes_to_a_spare_and_never_to_a_holder() {
    let mut deal = declared(DIFFERENT);
    assert_eq!(deal.apply(Event::SendFailed(index(3), miner(3).account)), [Effect::FindSpare]);
    assert!(deal.apply(Event::SendFailed(index(4), miner(4).account)).is_empty(), "one search at a time");
    assert!(deal.apply(Event::Spare(miner(5))).is_empty(), "the next tick looks again");
    assert_eq!(deal.apply(Event::Tick(Duration::from_secs(3), 1)), [Effect::FindSpare]);
    assert_eq!(deal.apply(Event::Spare(miner(20))), [Effect::Send(index(3), miner(20)), Effect::FindSpare]);
    assert!(deal.apply(Event::NoSpare).is_empty());
    assert_eq!(deal.apply(Event::Tick(Duration::from_secs(6), 1)), [Effect::FindSpare]);
    assert_eq!(deal.apply(Event::Spare(miner(3))), [Effect::Send(index(4), miner(3))], "failed, but free");
    assert_eq!(deal.failed(), [miner(3).account, miner(4).account]);
}

#[test]
fn a_report_that_does_not_come_gives_the_column_away_but_not_while_the_chain_stands_still() {
    let mut deal = declared(DIFFERENT);
    deal.apply(sent(7, 7));
    assert!(deal.clone().apply(Event::Tick(REPORT_PATIENCE * 100, REPORT_BLOCKS - 1)).is_empty());
    assert!(deal.apply(Event::Tick(REPORT_PATIENCE / 2, REPORT_BLOCKS)).is_empty());
    assert_eq!(deal.apply(Event::Tick(REPORT_PATIENCE, REPORT_BLOCKS)), [Effect::FindSpare]);
    assert_eq!(deal.held(), 1, "it is held all the same");
    assert_eq!(deal.apply(Event::Spare(miner(20))), [Effect::Send(index(7), miner(20))]);
    deal.apply(sent(7, 20));
    // The next one has twice the time, and the column does not go back to one that failed.
    assert!(deal.apply(Event::Tick(REPORT_PATIENCE * 2, REPORT_BLOCKS * 2)).is_empty());
    assert_eq!(deal.apply(Event::Tick(REPORT_PATIENCE * 3, REPORT_BLOCKS * 3)), [Effect::FindSpare]);
    assert!(deal.apply(Event::Spare(miner(7))).is_empty());
    assert_eq!(deal.held(), 1);
}

#[test]
fn a_miner_that_reported_another_column_frees_the_one_meant_for_it() {
    let mut deal = deal(DIFFERENT);
    let effects = deal.apply(open(&[(0, 4)]));
    assert_eq!((sends(&effects), effects.contains(&Effect::FindSpare)), (10, true));
}

#[test]
fn twins_change_places_without_a_second_send() {
    let mut deal = declared(SMALL);
    for number in [0, 1, 2] {
        deal.apply(sent(number, number));
    }
    // Miner 1 reports column 2, whose miner has it already: that one stands for column 1 now.
    assert!(deal.apply(open(&[(2, 1)])).is_empty());
    assert_eq!(deal.held(), 3);
    // Miner 3 is still being sent its zeros when miner 2 reports its column.
    assert!(deal.apply(open(&[(2, 1), (3, 2)])).is_empty());
    deal.apply(sent(3, 3));
    assert_eq!(deal.held(), 4);
    for number in 4..11 {
        deal.apply(sent(number, number));
    }
    assert_eq!(deal.apply(sent(11, 11)), [Effect::Dispersed]);
}

#[test]
fn a_deal_that_the_chain_dropped_is_believed_gone_after_a_while() {
    let mut deal = declared(DIFFERENT);
    let tick = |deal: &mut Deal, seconds: u64| deal.apply(Event::Tick(Duration::from_secs(seconds), 1));
    tick(&mut deal, 10);
    assert!(deal.apply(absent()).is_empty());
    tick(&mut deal, 100);
    deal.apply(open(&[]));
    tick(&mut deal, 200);
    assert!(deal.apply(absent()).is_empty(), "it was seen in between");
    tick(&mut deal, 200 + ABSENT_PATIENCE.as_secs());
    assert_eq!(deal.apply(absent()), [Effect::Gone]);
    assert!(deal.apply(open(&[])).is_empty());
}
