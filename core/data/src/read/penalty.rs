//! Miners that are asked last for a while.

use std::collections::HashMap;
use std::time::Duration;

use gw_types::AccountId;
use parking_lot::Mutex;

/// Most miners remembered; beyond it the ones whose time is nearest its end are forgotten.
const MINERS_MAX: usize = 4096;

/// Why a miner is asked later than others. Ordered: worse is later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Nothing is held against it.
    #[default]
    Good,
    /// It failed, or was overtaken by a rebuild.
    Failed,
    /// It returned wrong bytes.
    Liar,
}

/// Who did what, until when.
#[derive(Debug, Default)]
pub(crate) struct Penalties {
    until: Mutex<HashMap<AccountId, (Standing, Duration)>>,
}

impl Penalties {
    /// How a miner stands at `now`.
    pub(crate) fn standing(&self, miner: &AccountId, now: Duration) -> Standing {
        match self.until.lock().get(miner) {
            Some((standing, until)) if *until > now => *standing,
            _ => Standing::Good,
        }
    }

    /// Holds something against a miner until `until`. A worse standing that still holds stays.
    pub(crate) fn punish(&self, miner: AccountId, standing: Standing, now: Duration, until: Duration) {
        let mut all = self.until.lock();
        if all.len() >= MINERS_MAX {
            all.retain(|_, (_, until)| *until > now);
        }
        if all.len() >= MINERS_MAX
            && let Some(soonest) = all.iter().min_by_key(|(_, (_, until))| *until).map(|(miner, _)| *miner)
        {
            all.remove(&soonest);
        }
        let entry = all.entry(miner).or_insert((standing, until));
        if entry.1 <= now || standing >= entry.0 {
            *entry = (standing, until);
        }
    }

    /// It answered well.
    pub(crate) fn forgive_failure(&self, miner: &AccountId) {
        let mut all = self.until.lock();
        if all.get(miner).is_some_and(|(standing, _)| *standing == Standing::Failed) {
            all.remove(miner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AccountId, Duration, Penalties, Standing};

    #[test]
    fn a_lie_outlasts_a_failure_and_both_end() {
        let penalties = Penalties::default();
        let miner = AccountId([7; 32]);
        let at = Duration::from_secs;
        penalties.punish(miner, Standing::Liar, at(0), at(100));
        penalties.punish(miner, Standing::Failed, at(1), at(200));
        assert_eq!(penalties.standing(&miner, at(50)), Standing::Liar);
        penalties.forgive_failure(&miner);
        assert_eq!(penalties.standing(&miner, at(99)), Standing::Liar);
        assert_eq!(penalties.standing(&miner, at(100)), Standing::Good);
        penalties.punish(miner, Standing::Failed, at(101), at(110));
        assert_eq!(penalties.standing(&miner, at(102)), Standing::Failed);
        penalties.forgive_failure(&miner);
        assert_eq!(penalties.standing(&miner, at(102)), Standing::Good);
    }
}
