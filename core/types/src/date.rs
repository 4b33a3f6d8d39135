//! Times as people and protocols write them, in UTC. Nothing here asks a clock.

use std::fmt;

use crate::Timestamp;

/// A day of the civil calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    /// Year of the common era.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl Timestamp {
    /// Days since 1 January 1970, rounded towards the past.
    pub const fn unix_days(self) -> i64 {
        self.unix_seconds().div_euclid(86_400)
    }

    /// The day it is in. By the civil calendar's eras of 400 years (Howard Hinnant, "chrono-Compatible
    /// Low-Level Date Algorithms", `civil_from_days`).
    pub const fn day(self) -> Day {
        let shifted = self.unix_days() + 719_468;
        let (era, in_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_in_era = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
        let in_year = in_era - (365 * year_in_era + year_in_era / 4 - year_in_era / 100);
        let month_from_march = (5 * in_year + 2) / 153;
        let day = in_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_in_era + era * 400 + if month <= 2 { 1 } else { 0 };
        Day { year, month, day }
    }

    /// Hour and minute of its day.
    pub const fn hour_minute(self) -> (i64, i64) {
        let second = self.unix_seconds().rem_euclid(86_400);
        (second / 3600, second / 60 % 60)
    }

    /// ISO 8601 in whole seconds: `2026-11-21T16:04:05Z`.
    pub fn iso_seconds(self) -> String {
        let (hour, minute) = self.hour_minute();
        format!("{}T{hour:02}:{minute:02}:{:02}Z", self.day(), self.unix_seconds().rem_euclid(60))
    }

    /// ISO 8601 in milliseconds: `2026-11-21T16:04:05.006Z`.
    pub fn iso_millis(self) -> String {
        let seconds = self.iso_seconds();
        format!("{}.{:03}Z", seconds.trim_end_matches('Z'), self.subsec_nanos() / 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use crate::Timestamp;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, shown) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_440_938_160, "2015-08-30T12:36:00Z"),
        ] {
            assert_eq!(Timestamp(seconds * 1_000_000_000).iso_seconds(), shown);
        }
        assert_eq!(Timestamp(1_007_000_000).iso_millis(), "1970-01-01T00:00:01.007Z");
        assert_eq!(Timestamp(86_400_000_000_000 * 3 - 1).unix_days(), 2);
    }
}
