//! Sizes as people type and read them, in powers of 1024.

use crate::error::{Error, Result};

const UNITS: [&str; 6] = ["", "K", "M", "G", "T", "P"];

/// A number with an optional unit, or `none`.
pub fn parse(text: &str) -> Result<Option<u64>> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    let upper = text.trim().to_ascii_uppercase();
    let upper = upper.strip_suffix("IB").or(upper.strip_suffix('B')).unwrap_or(&upper);
    let digits = upper.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = UNITS.iter().position(|unit| *unit == &upper[digits.len()..]);
    let bytes =
        unit.zip(digits.parse::<u64>().ok()).and_then(|(unit, number)| number.checked_mul(1 << (10 * unit)));
    bytes.map(Some).ok_or_else(|| Error::new(format!("{text:?} is no size; say 500, 10G, 1T or none")))
}

/// Two or three digits and a unit.
pub fn show(bytes: u64) -> String {
    let mut unit = 0;
    let mut scaled = bytes as f64;
    while scaled >= 1024.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ if scaled < 10.0 => format!("{scaled:.2} {}iB", UNITS[unit]),
        _ => format!("{scaled:.1} {}iB", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, show};

    #[test]
    fn sizes_are_read_and_shown_in_powers_of_1024() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("1k", Some(1024)),
            ("10GiB", Some(10 << 30)),
            ("2TB", Some(2 << 40)),
            ("none", None),
        ] {
            assert_eq!(parse(text).unwrap(), bytes, "{text}");
        }
        for wrong in ["", "G", "1.5G", "-1", "5X", "99999999999P"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            (show(900), show(1536), show(20 << 30)),
            ("900 B".into(), "1.50 KiB".into(), "20.0 GiB".into())
        );
    }
}
