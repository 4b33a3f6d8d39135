//! Looks after the territory's end: tells the store how long data lasts, and prolongs it where the
//! operator has said so.
//!
//! A territory is bought for days. Objects under retention must outlive it or be refused, so the store
//! asks [`TerritoryCare::horizon`] before it promises one. Where renewal is on, it answers that data
//! lasts, and a task looks each minute: with fewer than `days_left` days to go, and something in it that
//! needs more, the territory is renewed by `days`. It is renewed in steps, not at once up to the latest
//! retention: days that are bought cannot be given back, and whoever may set a retention of a hundred
//! years must not be able to spend a hundred years of money with one request.
//!
//! Money is spent once: the first renewal of a process comes behind a fence, so that none of an earlier
//! life is still under way; a call whose fate is unknown is looked for before it is made again; one that
//! the chain refuses is tried again after ten minutes, then ever more seldom. While renewals fail,
//! retentions beyond the end are refused as if nobody renewed.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use gw_store::{Horizon, Kept, Store};
use gw_types::ports::{Chain, Clock, TerritoryState};
use gw_types::{Authenticated, Frontend, PortResult, TerritoryName, Timestamp};
use parking_lot::Mutex;
use serde::Deserialize;

const DAY_NANOS: i64 = 86_400 * 1_000_000_000;
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// After a renewal that failed; doubled each time up to the second.
const RETRY_FIRST: Duration = Duration::from_secs(600);
const RETRY_MAX: Duration = Duration::from_secs(6 * 3600);

/// When the territory is renewed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RenewPolicy {
    /// By the operator only.
    #[default]
    Never,
    /// As long as object locks reach beyond its end.
    Locks,
    /// Whatever is in it.
    Always,
}

impl RenewPolicy {
    /// By its word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Never, Self::Locks, Self::Always].into_iter().find(|policy| policy.as_str() == word)
    }
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Locks => "locks",
            Self::Always => "always",
        }
    }
}

/// How the territory is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    pub policy: RenewPolicy,
    /// Days that each renewal adds.
    pub days: u32,
    /// Days to go below which it is renewed.
    pub days_left: u32,
}

impl Default for Renewal {
    fn default() -> Self {
        Self { policy: RenewPolicy::Never, days: 30, days_left: 14 }
    }
}

/// What the chain said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    ends: Timestamp,
    state: TerritoryState,
}

impl Seen {
    /// Renewing it is still possible.
    fn lives(&self) -> bool {
        matches!(self.state, TerritoryState::Active | TerritoryState::Frozen)
    }
}

/// A renewal that did not succeed.
#[derive(Clone, Debug)]
struct Failed {
    why: String,
    wait: Duration,
    again_at: Timestamp,
}

#[derive(Debug, Default)]
struct State {
    seen: Option<Seen>,
    /// Why `seen` is not there, or old.
    blind: Option<String>,
    kept: Kept,
    failed: Option<Failed>,
    renewals: u64,
    fenced: bool,
}

/// The territory's end, and what is done about it.
#[derive(Debug)]
pub struct TerritoryCare {
    chain: Arc<dyn Chain>,
    clock: Arc<dyn Clock>,
    name: TerritoryName,
    renewal: Renewal,
    state: Mutex<State>,
}

/// Whether something needs the territory beyond its end.
fn is_needed(policy: RenewPolicy, seen: &Seen, kept: &Kept) -> bool {
    match policy {
        RenewPolicy::Never => false,
        RenewPolicy::Locks => kept.held > 0 || kept.until.is_some_and(|until| until > seen.ends),
        RenewPolicy::Always => true,
    }
}

/// Whether to renew now.
fn is_due(renewal: &Renewal, seen: &Seen, kept: &Kept, now: Timestamp) -> bool {
    let threshold = now.0.saturating_add(i64::from(renewal.days_left) * DAY_NANOS);
    seen.lives() && seen.ends.0 < threshold && is_needed(renewal.policy, seen, kept)
}

impl TerritoryCare {
    pub fn new(
        chain: Arc<dyn Chain>,
        clock: Arc<dyn Clock>,
        name: TerritoryName,
        renewal: Renewal,
    ) -> Arc<Self> {
        let state = State { blind: Some("the chain was not asked yet".to_owned()), ..State::default() };
        Arc::new(Self { chain, clock, name, renewal, state: Mutex::new(state) })
    }

    /// Looks, and renews, for ever.
    pub async fn keep(&self, store: &Store) {
        loop {
            self.look(store).await;
            self.renew().await;
            self.clock.sleep(LOOK_EVERY).await;
        }
    }

    /// Asks the chain and the store.
    pub async fn look(&self, store: &Store) {
        match store.kept(&Authenticated::user("territory", Frontend::Admin)) {
            Ok(kept) => self.state.lock().kept = kept,
            Err(error) => tracing::warn!(%error, "what is locked cannot be read"),
        }
        self.see().await;
    }

    async fn see(&self) {
        let asked = self.ask().await;
        let mut state = self.state.lock();
        match asked {
            Ok(Some(seen)) => (state.seen, state.blind) = (Some(seen), None),
            Ok(None) => {
                let name = &self.name;
                let why = format!(
                    "there is no territory {name}: buy it with `cess-gateway territory mint {name} --gib N --days D`"
                );
                (state.seen, state.blind) = (None, Some(why));
            }
            // What was seen stays: a territory does not get shorter.
            Err(error) => state.blind = Some(format!("the chain does not answer: {error}")),
        }
    }

    async fn ask(&self) -> PortResult<Option<Seen>> {
        let Some(found) = self.chain.territory(&self.name).await? else { return Ok(None) };
        let head = self.chain.head().await?;
        let seconds = (i64::from(found.deadline) - i64::from(head.block)) * i64::from(head.block_seconds);
        let ends = self.clock.now().0.saturating_add(seconds.saturating_mul(1_000_000_000));
        Ok(Some(Seen { ends: Timestamp(ends), state: found.state }))
    }

    /// Renews if it is time to.
    async fn renew(&self) {
        let now = self.clock.now();
        let fenced = {
            let state = self.state.lock();
            let waits = state.failed.as_ref().is_some_and(|failed| failed.again_at > now);
            match &state.seen {
                Some(seen) if !waits && is_due(&self.renewal, seen, &state.kept, now) => state.fenced,
                _ => return,
            }
        };
        let renewed = async {
            if !fenced {
                self.chain.fence().await?;
                self.state.lock().fenced = true;
            }
            self.chain.renew_territory(&self.name, self.renewal.days).await
        };
        match renewed.await {
            Ok(receipt) => {
                tracing::info!(territory = %self.name, days = self.renewal.days, block = receipt.block, "renewed");
                let mut state = self.state.lock();
                state.renewals += 1;
                state.failed = None;
            }
            Err(error) => {
                tracing::warn!(territory = %self.name, %error, "the territory could not be renewed");
                let mut state = self.state.lock();
                let wait =
                    state.failed.as_ref().map_or(RETRY_FIRST, |failed| (failed.wait * 2).min(RETRY_MAX));
                let nanos = i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX);
                let again_at = Timestamp(now.0.saturating_add(nanos));
                state.failed = Some(Failed { why: error.to_string(), wait, again_at });
            }
        }
        self.see().await;
    }

    /// Till when what is stored lasts. Answers from what was seen last.
    pub fn horizon(&self) -> Horizon {
        let state = self.state.lock();
        let Some(seen) = &state.seen else {
            return Horizon::Unknown { why: state.blind.clone().unwrap_or_default() };
        };
        let name = &self.name;
        let advice = match (&state.failed, self.renewal.policy) {
            _ if !seen.lives() => format!("territory {name} is over; its objects belong into another one"),
            (_, RenewPolicy::Never) => format!(
                "renew it (`cess-gateway territory renew {name} --days N`), let the gateway renew it (`renew = \"locks\"` \
                 under [territory]), or ask for an earlier date"
            ),
            (Some(failed), _) => format!("its renewal fails: {}", failed.why),
            (None, _) => return Horizon::Open,
        };
        Horizon::Ends { at: seen.ends, advice }
    }

    /// Sentences, where somebody should look.
    pub fn alarms(&self) -> Vec<String> {
        let state = self.state.lock();
        let Some(seen) = &state.seen else { return Vec::new() };
        let (name, Renewal { policy, days, days_left }) = (&self.name, &self.renewal);
        let now = self.clock.now();
        let mut alarms = Vec::new();
        if let Some(until) = beyond(seen, &state.kept, now) {
            let what = match policy {
                RenewPolicy::Never => format!(
                    "nobody renews it: `cess-gateway territory renew {name} --days N`, or `renew = \"locks\"` under \
                     [territory]"
                ),
                _ => format!(
                    "it is renewed by {days} days when fewer than {days_left} are left, while the balance pays"
                ),
            };
            alarms.push(format!(
                "objects are locked until {}, and territory {name} ends on {}: {what}",
                until.day(),
                seen.ends.day()
            ));
        }
        if let Some(failed) = &state.failed {
            alarms.push(format!(
                "territory {name} ends on {} and could not be renewed (next try {}): {}",
                seen.ends.day(),
                failed.again_at.iso_seconds(),
                failed.why
            ));
        }
        let soon = now.0.saturating_add(i64::from(*days_left) * DAY_NANOS);
        if seen.lives() && seen.ends.0 < soon && !is_needed(*policy, seen, &state.kept) {
            alarms.push(format!(
                "territory {name} ends on {}; what is not renewed by then is frozen, and removed a week later: \
                 `cess-gateway territory renew {name} --days N`",
                seen.ends.day()
            ));
        }
        alarms
    }

    /// What `status` says of locks: till when, how many are held, who renews.
    pub fn locks(&self) -> (Option<Timestamp>, u64, RenewPolicy) {
        let state = self.state.lock();
        let now = self.clock.now();
        (state.kept.until.filter(|until| *until > now), state.kept.held, self.renewal.policy)
    }

    /// For Prometheus.
    pub fn metrics(&self) -> String {
        let state = self.state.lock();
        let now = self.clock.now();
        let seconds = |at: Option<Timestamp>| at.map_or(0, Timestamp::unix_seconds);
        let ends = state.seen.as_ref().map(|seen| seen.ends);
        let is_beyond = state.seen.as_ref().is_some_and(|seen| beyond(seen, &state.kept, now).is_some());
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, value: i64| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        };
        family(
            "cess_gateway_territory_ends_seconds",
            "gauge",
            "When it ends, as Unix time; 0: unknown.",
            seconds(ends),
        );
        family(
            "cess_gateway_locked_until_seconds",
            "gauge",
            "The latest end of a retention, as Unix time; 0: none.",
            seconds(state.kept.until),
        );
        let held = i64::try_from(state.kept.held).unwrap_or(i64::MAX);
        family("cess_gateway_legal_holds", "gauge", "Versions under a legal hold.", held);
        family(
            "cess_gateway_locks_beyond_territory",
            "gauge",
            "1 while objects are locked beyond the territory's end.",
            is_beyond.into(),
        );
        let renewals = i64::try_from(state.renewals).unwrap_or(i64::MAX);
        family("cess_gateway_territory_renewals_total", "counter", "Renewals since the start.", renewals);
        let failing = state.failed.is_some().into();
        family("cess_gateway_territory_renewal_failing", "gauge", "1 while renewals fail.", failing);
        text
    }
}

/// The latest end of a retention, where that is beyond the territory's.
fn beyond(seen: &Seen, kept: &Kept, now: Timestamp) -> Option<Timestamp> {
    kept.until.filter(|until| *until > seen.ends && *until > now)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gw_sim::{CallKind, ChainFault, ModelChain, SimClock};
    use gw_store::{Horizon, Kept};
    use gw_types::ports::{Chain, Clock};
    use gw_types::{AccountId, TerritoryName, Timestamp};

    use super::{DAY_NANOS, RenewPolicy, Renewal, TerritoryCare};

    struct World {
        clock: SimClock,
        chain: ModelChain,
        owner: Arc<dyn Chain>,
    }

    /// A chain on which the account `7` has the territory `t` for 30 days.
    async fn world() -> World {
        let clock = SimClock::default();
        let chain = ModelChain::new(Arc::new(clock.clone()));
        let account = AccountId([7; 32]);
        chain.fund(account, u128::MAX / 4);
        chain.register(AccountId([1; 32]), "http://127.0.0.1:1", 1 << 50);
        let owner = chain.owner(account);
        clock.run_until(owner.mint_territory(&name(), 1, 30)).await.unwrap();
        World { clock, chain, owner }
    }

    fn name() -> TerritoryName {
        TerritoryName::new("t").unwrap()
    }

    impl World {
        fn care(&self, policy: RenewPolicy) -> Arc<TerritoryCare> {
            let renewal = Renewal { policy, ..Renewal::default() };
            TerritoryCare::new(Arc::clone(&self.owner), Arc::new(self.clock.clone()), name(), renewal)
        }
        /// One turn of the task, with something locked for so many days from now.
        async fn turn(&self, care: &TerritoryCare, locked_days: Option<i64>) {
            let until = locked_days.map(|days| Timestamp(self.clock.now().0 + days * DAY_NANOS));
            care.state.lock().kept = Kept { until, held: 0 };
            self.clock
                .run_until(async {
                    care.see().await;
                    care.renew().await;
                })
                .await;
        }
        async fn days(&self, days: u64) {
            self.clock.advance(std::time::Duration::from_secs(days * 86_400));
        }
        fn days_left(&self, care: &TerritoryCare) -> i64 {
            (care.state.lock().seen.unwrap().ends.0 - self.clock.now().0 + DAY_NANOS / 2) / DAY_NANOS
        }
    }

    #[tokio::test]
    async fn without_renewal_data_ends_with_the_territory_and_the_operator_is_told() {
        let world = world().await;
        let care = world.care(RenewPolicy::Never);
        assert!(matches!(care.horizon(), Horizon::Unknown { .. }));
        world.turn(&care, None).await;
        let Horizon::Ends { at, advice } = care.horizon() else { panic!("{:?}", care.horizon()) };
        assert!((at.0 - world.clock.now().0 - 30 * DAY_NANOS).abs() < DAY_NANOS);
        assert!(advice.contains("territory renew t"), "{advice}");
        assert!(care.alarms().is_empty());
        world.days(20).await;
        world.turn(&care, Some(60)).await;
        assert_eq!(world.days_left(&care), 10);
        let alarms = care.alarms();
        assert!(alarms.len() == 2 && alarms[0].contains("nobody renews it"), "{alarms:?}");
    }

    #[tokio::test]
    async fn with_renewal_the_territory_is_prolonged_in_steps_while_locks_need_it() {
        let world = world().await;
        let care = world.care(RenewPolicy::Locks);
        world.turn(&care, Some(100)).await;
        assert_eq!((care.horizon(), world.days_left(&care)), (Horizon::Open, 30));
        assert!(care.alarms()[0].contains("is renewed by 30 days"), "{:?}", care.alarms());
        assert!(care.metrics().contains("cess_gateway_locks_beyond_territory 1\n"));
        world.days(17).await;
        world.turn(&care, Some(83)).await;
        assert_eq!(world.days_left(&care), 43);
        // It is far enough off now, and nothing is locked later.
        world.turn(&care, Some(83)).await;
        world.days(40).await;
        world.turn(&care, Some(2)).await;
        assert_eq!(world.days_left(&care), 3);
        assert!(care.metrics().contains("cess_gateway_territory_renewals_total 1\n"));
        assert!(care.alarms()[0].contains("ends on"), "{:?}", care.alarms());
    }

    #[tokio::test]
    async fn while_renewals_fail_nothing_is_promised_beyond_the_end_and_tries_become_seldom() {
        let world = world().await;
        let care = world.care(RenewPolicy::Always);
        world.days(20).await;
        world.chain.fail_next(CallKind::Other, ChainFault::Full);
        world.turn(&care, None).await;
        assert!(matches!(care.horizon(), Horizon::Ends { .. }));
        assert!(care.alarms()[0].contains("could not be renewed"), "{:?}", care.alarms());
        world.turn(&care, None).await;
        assert_eq!(world.days_left(&care), 10, "not before ten minutes have passed");
        world.clock.advance(std::time::Duration::from_secs(601));
        world.turn(&care, None).await;
        assert_eq!((world.days_left(&care), care.horizon()), (40, Horizon::Open));
    }
}
