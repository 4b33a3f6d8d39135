//! Times on the border: the store counts nanoseconds, s3s has a type of its own, HTTP has dates.

use std::time::{Duration, SystemTime};

use gw_types::Timestamp;

/// The same moment for the standard library.
pub(crate) fn system_time(time: Timestamp) -> SystemTime {
    let since = Duration::from_nanos(time.0.unsigned_abs());
    let (epoch, before) = (SystemTime::UNIX_EPOCH, time.0 < 0);
    let moved = if before { epoch.checked_sub(since) } else { epoch.checked_add(since) };
    moved.unwrap_or(epoch)
}

/// The same moment for s3s, in whole seconds: AWS lists what it says in HTTP dates, which have no
/// more, and programs compare the two.
pub(crate) fn to_s3(time: Timestamp) -> s3s::dto::Timestamp {
    const SECOND: i64 = 1_000_000_000;
    system_time(Timestamp(time.0.div_euclid(SECOND).saturating_mul(SECOND))).into()
}

/// A moment of s3s's, in whole seconds, which is how AWS compares them.
pub(crate) fn from_s3(time: &s3s::dto::Timestamp) -> Timestamp {
    let mut text = Vec::new();
    let printed = time.format(s3s::dto::TimestampFormat::EpochSeconds, &mut text).is_ok();
    let seconds =
        std::str::from_utf8(&text).ok().filter(|_| printed).and_then(|text| text.parse::<f64>().ok());
    // Years fit by far; a float cast saturates.
    Timestamp((seconds.unwrap_or_default().floor() as i64).saturating_mul(1_000_000_000))
}

/// An HTTP date in any of its three forms (RFC 9110 5.6.7). `None` for anything else: a recipient
/// ignores a date it cannot read (13.1.3).
pub(crate) fn parse_http_date(text: &str) -> Option<Timestamp> {
    let since = httpdate::parse_http_date(text.trim()).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_nanos()).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use gw_types::Timestamp;

    use super::{from_s3, parse_http_date, system_time, to_s3};
    use crate::errors::http_date;

    #[test]
    fn dates_go_round() {
        let time = Timestamp(784_111_777_000_000_000);
        assert_eq!(http_date(system_time(time)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(time));
        assert_eq!(from_s3(&to_s3(Timestamp(time.0 + 5))), time);
        assert_eq!(to_s3(Timestamp(time.0 + 999_999_999)), to_s3(time));
        assert_eq!(parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT"), Some(time));
        for bad in ["", "0", "yesterday", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(parse_http_date(bad), None, "{bad}");
        }
        assert_eq!(http_date(system_time(Timestamp(-5))), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
