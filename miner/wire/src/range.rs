//! The odd range of cess-miner (`ReturnFileRangeStream`): `bytes=a-b/total`, where b is exclusive and
//! the total must stand there though nobody reads it. `bytes=a-b`, which the rest of the world uses
//! with an inclusive b, is answered with 416, so the two can never be mixed up. The answer is a 206
//! without Content-Range.

use std::ops::Range;

use gw_types::FRAGMENT_BYTES;

/// Why a range was refused, in cess-miner's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeRefusal {
    /// Not of the form at all.
    #[error("invalid range request")]
    Form,
    /// The first number.
    #[error("invalid range start")]
    Start,
    /// The second number: before the first, or past the end.
    #[error("invalid range end")]
    End,
}

/// The header value that asks for bytes `range` of a fragment.
pub fn format_range(range: &Range<u32>) -> String {
    format!("bytes={}-{}/{FRAGMENT_BYTES}", range.start, range.end)
}

/// Reads what [`format_range`] wrote, and the form `bytes a-b/total` that cess-miner takes as well.
/// An empty range is allowed, as there.
pub fn parse_range(text: &str) -> Result<Range<u32>, RangeRefusal> {
    let rest = text.strip_prefix("bytes").ok_or(RangeRefusal::Form)?;
    let rest = rest.strip_prefix(['=', ' ']).ok_or(RangeRefusal::Form)?;
    let (span, total) = rest.split_once('/').ok_or(RangeRefusal::Form)?;
    let (start, end) = span.split_once('-').ok_or(RangeRefusal::Form)?;
    if total.contains('/') || end.contains('-') {
        return Err(RangeRefusal::Form);
    }
    let start: u32 = start.parse().map_err(|_| RangeRefusal::Start)?;
    let end: u32 = end.parse().map_err(|_| RangeRefusal::End)?;
    if end < start || u64::from(end) > FRAGMENT_BYTES {
        return Err(RangeRefusal::End);
    }
    Ok(start..end)
}

#[cfg(test)]
mod tests {
    use super::{RangeRefusal, format_range, parse_range};

    #[test]
    fn the_odd_form_is_written_and_read() {
        assert_eq!(format_range(&(65_536..131_072)), "bytes=65536-131072/8388608");
        assert_eq!(parse_range("bytes=65536-131072/8388608"), Ok(65_536..131_072));
        assert_eq!(parse_range("bytes 0-8388608/8388608"), Ok(0..8_388_608));
        assert_eq!(parse_range("bytes=7-7/8388608"), Ok(7..7));
    }

    #[test]
    fn other_forms_are_refused() {
        use RangeRefusal::{End, Form, Start};
        let table = [
            ("bytes=0-99", Form),
            ("bytes=0/8388608", Form),
            ("octets=0-1/8388608", Form),
            ("bytes=0-1/2/3", Form),
            ("bytes=0-1-2/8388608", Form),
            ("bytes", Form),
            ("", Form),
            ("bytes=-5/8388608", Start),
            ("bytes=x-5/8388608", Start),
            ("bytes=99999999999-5/8388608", Start),
            ("bytes=5-/8388608", End),
            ("bytes=5-4/8388608", End),
            ("bytes=0-8388609/8388608", End),
        ];
        for (text, refusal) in table {
            assert_eq!(parse_range(text), Err(refusal), "{text}");
        }
    }
}
