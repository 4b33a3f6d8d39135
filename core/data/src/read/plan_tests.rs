//! Snapshots of plans, and a property: a plan gives the range and takes no other frames.

use gw_types::{ExtentId, FRAGMENT_BYTES, FRAME_BYTES, KeyId, SEALED_FRAME_BYTES, SegmentSeq};
use proptest::prelude::{ProptestConfig, prop, proptest};

use super::{Run, plan};
use crate::map::{ExtentRef, MapEntry};

const MIB: u64 = 1 << 20;

fn entry(extent: u64, segment: u64, offset: u32, len: u32) -> MapEntry {
    let at = ExtentRef {
        extent: ExtentId::from_raw(extent),
        extent_len: len,
        skip: 0,
        segment: SegmentSeq(segment),
        offset,
        key: KeyId(1),
    };
    MapEntry { len, at: Some(at) }
}

/// `segment:start+sealed[extent frames skip+len, ..]`, one a line.
fn shown(runs: &[Run]) -> Vec<String> {
    let show = |run: &Run| match run {
        Run::Zeros(len) => format!("zeros {len}"),
        Run::Sealed(run) => {
            let spans = run.spans.iter().map(|span| {
                format!(
                    "e{} {}..{} {}+{}",
                    span.extent.get(),
                    span.frames.start,
                    span.frames.end,
                    span.skip,
                    span.len
                )
            });
            let spans: Vec<String> = spans.collect();
            format!("{}:{}+{} [{}]", run.segment, run.range.start, run.sealed_len(), spans.join(", "))
        }
    };
    runs.iter().map(show).collect()
}

/// A body as a writer leaves it: two extents back to back, a third in the next segment.
fn body() -> Vec<MapEntry> {
    let full = 63 * FRAME_BYTES as u32;
    let sealed = 63 * SEALED_FRAME_BYTES as u32;
    vec![entry(1, 1, 0, full), entry(2, 1, sealed, full), entry(3, 2, 4096, 100_000)]
}

#[test]
fn a_whole_body_is_read_in_runs_of_whole_frames() {
    let runs = plan(&body(), 0..8_357_536, MIB).unwrap();
    assert_eq!(
        shown(&runs),
        [
            "1:0+983280 [e1 0..15 0+983040]",
            "1:983280+983280 [e1 15..30 0+983040]",
            "1:1966560+983280 [e1 30..45 0+983040]",
            "1:2949840+983280 [e1 45..60 0+983040]",
            "1:3933120+983280 [e1 60..63 0+196608, e2 0..12 0+786432]",
            "1:4916400+983280 [e2 12..27 0+983040]",
            "1:5899680+983280 [e2 27..42 0+983040]",
            "1:6882960+983280 [e2 42..57 0+983040]",
            "1:7866240+393312 [e2 57..63 0+393216]",
            "2:4096+100032 [e3 0..2 0+100000]",
        ]
    );
}

#[test]
fn a_range_takes_only_the_frames_it_touches() {
    assert_eq!(shown(&plan(&body(), 65_536..131_072, MIB).unwrap()), ["1:65552+65552 [e1 1..2 0+65536]"]);
    assert_eq!(shown(&plan(&body(), 65_535..65_537, MIB).unwrap()), ["1:0+131104 [e1 0..2 65535+2]"]);
    assert_eq!(
        shown(&plan(&body(), 4_128_767..4_128_769, MIB).unwrap()),
        ["1:4064224+131104 [e1 62..63 65535+1, e2 0..1 0+1]"]
    );
    assert_eq!(
        shown(&plan(&body(), 8_357_535..8_357_536, MIB).unwrap()),
        ["2:69648+34480 [e3 1..2 34463+1]"]
    );
    assert!(plan(&body(), 5..5, MIB).unwrap().is_empty());
}

#[test]
fn small_bodies_that_stand_together_are_one_run_and_a_fragment_border_ends_it() {
    let border = FRAGMENT_BYTES as u32;
    let entries = [
        entry(1, 1, border - 216, 100),
        entry(2, 1, border - 100, 84),
        entry(3, 1, border, 50),
        MapEntry { len: 7, at: None },
        entry(4, 1, border + 66, 50),
    ];
    let runs = plan(&entries, 0..291, MIB).unwrap();
    let first = border - 216;
    assert_eq!(
        shown(&runs),
        [
            format!("1:{first}+216 [e1 0..1 0+100, e2 0..1 0+84]"),
            format!("1:{border}+66 [e3 0..1 0+50]"),
            "zeros 7".into(),
            format!("1:{}+66 [e4 0..1 0+50]", border + 66),
        ]
    );
}

#[test]
fn entries_that_do_not_fit_are_corrupt_and_never_read() {
    for bad in [
        entry(1, 1, FRAGMENT_BYTES as u32 - 50, 100),
        entry(1, 1, u32::MAX - 5, 100),
        MapEntry { len: 101, ..entry(1, 1, 0, 100) },
    ] {
        assert!(plan(&[bad], 0..u64::from(bad.len), MIB).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_plan_gives_the_range_and_at_most_two_frames_more_than_it(
        lens in prop::collection::vec(1u32..300_000, 1..8),
        from in 0u64..1_000_000, len in 0u64..1_500_000, max in 1u64..2_000_000,
    ) {
        let mut offset = 0;
        let entries: Vec<MapEntry> = lens.iter().enumerate().map(|(at, len)| {
            let entry = entry(at as u64, 1, offset, *len);
            offset += gw_codec::frame::sealed_len(u64::from(*len)) as u32;
            entry
        }).collect();
        let all: u64 = lens.iter().map(|len| u64::from(*len)).sum();
        let range = from.min(all)..(from + len).min(all);
        let runs = plan(&entries, range.clone(), max).unwrap();
        assert_eq!(runs.iter().map(Run::plain_len).sum::<u64>(), range.end - range.start);
        let mut behind = 0;
        let mut sealed = 0;
        for run in &runs {
            let Run::Sealed(run) = run else { panic!("there is no hole") };
            assert!(run.range.start >= behind, "no frame is read twice");
            assert!(run.sealed_len() <= max.max(SEALED_FRAME_BYTES));
            assert_eq!(run.frames().map(|(_, len)| u64::from(len)).sum::<u64>(), run.sealed_len());
            behind = run.range.end;
            sealed += run.sealed_len();
        }
        let tags = 16 * (lens.len() as u64 + (range.end - range.start) / FRAME_BYTES + 2);
        assert!(sealed <= range.end - range.start + tags + 2 * FRAME_BYTES);
    }
}
