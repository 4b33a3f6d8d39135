//! Object lock, as callers see it (AWS: "Locking objects with Object Lock").

use gw_types::Timestamp;
use serde::{Deserialize, Serialize};

/// Most days or years of a default retention (AWS: 100 years).
const DAYS_MAX: u32 = 36_500;
const YEARS_MAX: u32 = 100;
const DAY_NANOS: i64 = 24 * 3600 * 1_000_000_000;

/// How firm a retention is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockMode {
    /// Can be lifted by who may bypass it.
    Governance,
    /// Can be lifted by nobody.
    Compliance,
}

impl LockMode {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
    /// `None` for another word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Governance, Self::Compliance].into_iter().find(|mode| mode.as_str() == word)
    }
}

/// A version stays until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// How firmly.
    pub mode: LockMode,
    /// Till when.
    pub until: Timestamp,
}

/// How long new versions of a bucket stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockPeriod {
    /// 1 to 36,500.
    Days(u32),
    /// 1 to 100, of 365 days.
    Years(u32),
}

/// What new versions get when they bring nothing of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRetention {
    /// How firmly.
    pub mode: LockMode,
    /// How long.
    pub period: LockPeriod,
}

impl DefaultRetention {
    /// Whether the period is within AWS's limits.
    pub fn is_sound(&self) -> bool {
        match self.period {
            LockPeriod::Days(days) => (1..=DAYS_MAX).contains(&days),
            LockPeriod::Years(years) => (1..=YEARS_MAX).contains(&years),
        }
    }
    /// What it means for a version made at `now`.
    pub(crate) fn from(&self, now: Timestamp) -> Retention {
        let days = match self.period {
            LockPeriod::Days(days) => i64::from(days),
            LockPeriod::Years(years) => i64::from(years) * 365,
        };
        Retention { mode: self.mode, until: Timestamp(now.0.saturating_add(days.saturating_mul(DAY_NANOS))) }
    }
}

/// A bucket with object lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectLock {
    /// For new versions.
    pub default: Option<DefaultRetention>,
}

/// Till when something in the store must stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The latest end of a retention, rounded up to a midnight; it may be in the past. `None`: nothing is
    /// under retention.
    pub until: Option<Timestamp>,
    /// Versions under a legal hold, which ends when somebody says so.
    pub held: u64,
}
