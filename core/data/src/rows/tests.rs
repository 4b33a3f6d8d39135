//! Golden bytes: a row's format changes only together with this file.

use gw_types::ports::MinerAddr;
use gw_types::{
    AccountId, ExtentId, FRAGMENTS, Fid, Hash32, KeyId, SegmentSeq, StreamId, TerritoryName, Timestamp,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    DealRow, DealState, LaneClass, MapRow, MovedRange, MovedRow, SegmentRow, SegmentState, StripeRow, decode,
    encode,
};
use crate::map::{ExtentRef, MapEntry};

fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(row: &T, golden: &str) {
    let bytes = encode(row);
    assert_eq!(hex::encode(&bytes), golden);
    assert_eq!(decode::<T>(b"k", &bytes).unwrap(), *row);
    let mut later = bytes.clone();
    later[0] = 2;
    assert!(decode::<T>(b"k", &later).is_err(), "another version is refused");
    assert!(decode::<T>(b"k", &bytes[..bytes.len() - 1]).is_err(), "a cut row is refused");
    assert!(decode::<T>(b"k", &[]).is_err());
}

#[test]
fn a_segment_row_has_these_bytes() {
    let mut row = SegmentRow::new(LaneClass::Inline, StreamId(3), Timestamp(-5));
    row.fill(100, 200).unwrap();
    row.live_bytes = 77;
    check(&row, "01010300090164c801644d00000100");
    row.state = SegmentState::Finalized;
    row.stripe = Some(StripeRow { segment: Hash32([0xAA; 32]), fragments: [Hash32([0xBB; 32]); FRAGMENTS] });
    row.deal = Some((Fid(Hash32([0xCC; 32])), 5));
    row.local = false;
    row.guests = vec![SegmentSeq(9)];
    let golden = format!(
        "01010303090164c801644d01{}{}01{}05000109",
        "aa".repeat(32),
        "bb".repeat(32 * FRAGMENTS),
        "cc".repeat(32)
    );
    check(&row, &golden);
}

#[test]
fn a_deal_row_has_these_bytes() {
    let miner = |n: u8| MinerAddr { account: AccountId([n; 32]), endpoint: format!("http://m{}", n % 10) };
    let row = DealRow {
        segments: vec![SegmentSeq(1), SegmentSeq(300)],
        miners: std::array::from_fn(|n| miner(n as u8)),
        state: DealState::Declared,
        territory: TerritoryName::new("home").unwrap(),
        file_name: "f".into(),
        declared_at: Timestamp(1),
    };
    let miners: String = (0..12u8)
        .map(|n| format!("{}09{}", hex::encode([n; 32]), hex::encode(format!("http://m{}", n % 10))))
        .collect();
    check(&row, &format!("010201ac02{miners}0104686f6d65016602"));
}

#[test]
fn a_map_row_has_these_bytes() {
    let at = ExtentRef {
        extent: ExtentId::new(1, 2).unwrap(),
        extent_len: 65_536,
        skip: 1,
        segment: SegmentSeq(4),
        offset: 65_552,
        key: KeyId(1 << 40),
    };
    let row =
        MapRow { refs: 2, entries: vec![MapEntry { len: 10, at: Some(at) }, MapEntry { len: 5, at: None }] };
    check(&row, "0102020a0182808080808040808004010490800480808080802005 00".replace(' ', "").as_str());
}

#[test]
fn a_moved_row_has_these_bytes_and_finds_only_what_was_moved_whole() {
    let range = |from, len, segment, to| MovedRange { from, len, segment: SegmentSeq(segment), to };
    let row = MovedRow { ranges: vec![range(10, 20, 7, 0), range(30, 5, 8, 100)] };
    check(&row, "01020a1407001e050864");
    assert_eq!(row.place(10, 30), Some((SegmentSeq(7), 0)));
    assert_eq!(row.place(12, 14), Some((SegmentSeq(7), 2)));
    assert_eq!(row.place(30, 31), Some((SegmentSeq(8), 100)));
    for nowhere in [(9, 12), (25, 31), (34, 36), (35, 36)] {
        assert_eq!(row.place(nowhere.0, nowhere.1), None);
    }
}

#[test]
fn filled_runs_join_and_no_byte_is_filled_twice() {
    let mut row = SegmentRow::new(LaneClass::Bulk, StreamId(0), Timestamp(0));
    for (start, end) in [(100, 200), (300, 400), (0, 50), (200, 300), (50, 100)] {
        row.fill(start, end).unwrap();
    }
    assert_eq!((row.filled.len(), row.used_bytes), (1, 400));
    assert!(row.covers(0, 400) && !row.covers(399, 401));
    assert_eq!(row.holes().len(), 1);
    for (start, end) in [(399, 401), (0, 1), (100, 200), (0, 1000)] {
        assert!(row.clone().fill(start, end).is_err());
    }
    row.fill(1000, 1001).unwrap();
    assert!(row.clone().fill(900, 1100).is_err());
    assert_eq!(row.holes()[0], super::Filled { start: 400, end: 1000 });
}
