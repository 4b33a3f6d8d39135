//! One byte range of one fragment, from its miner or rebuilt from the same range of four others.
//!
//! The miner of the fragment is asked first. When its p95 has passed, or it failed, or its bytes do not
//! verify, the others are asked for the same columns, nearest first, so many that four answers can
//! come; each further delay starts as many more as are still missing. The code works column by
//! column, so four columns rebuild the wanted one, and its tags tell whether all four were right.
//! When they were not, every other set of four that the answers allow is tried: with eight liars
//! among twelve these are 330 at most, and it is found out who lied. A miner that returned wrong bytes
//! is asked last for a while, one that failed or was overtaken is asked after others for a shorter
//! while.
//!
//! All of it takes no longer than `fetch_timeout`; then the read fails as unreachable.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::StreamExt;
use futures::future::{BoxFuture, Either, select};
use futures::stream::FuturesUnordered;
use gw_types::ports::MinerAddr;
use gw_types::{
    DATA_FRAGMENTS, FRAGMENT_BYTES, FRAGMENTS, Fid, FragmentIndex, Hash32, PortError, PortErrorKind,
};

use super::penalty::Standing;
use super::stats::bump;
use crate::DataError;
use crate::data::Shared;
use crate::rows::{DealRow, StripeRow};

/// Times that all twelve are asked before a read gives up early.
const ROUNDS_MAX: u32 = 3;
/// Pause before the second round; doubled before the third.
const ROUND_PAUSE: Duration = Duration::from_millis(250);
/// What a miner without statistics is taken to need.
const LATENCY_UNKNOWN: Duration = Duration::from_millis(100);

/// The columns of a stripe that hold (or rebuild) the wanted bytes.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    fid: Fid,
    miners: [MinerAddr; FRAGMENTS],
    hashes: [Hash32; FRAGMENTS],
    wanted: FragmentIndex,
    range: Range<u32>,
}

impl Columns {
    /// For bytes `range` of a segment; `None` unless they lie in one fragment.
    pub(crate) fn new(fid: Fid, deal: &DealRow, stripe: &StripeRow, range: Range<u32>) -> Option<Self> {
        let fragment = FRAGMENT_BYTES as u32;
        let index = range.start / fragment;
        let base = index * fragment;
        if range.is_empty() || range.end > base + fragment {
            return None;
        }
        Some(Self {
            fid,
            miners: deal.miners.clone(),
            hashes: stripe.fragments,
            wanted: FragmentIndex::new(u8::try_from(index).ok()?).filter(|index| index.is_data())?,
            range: range.start - base..range.end - base,
        })
    }

    fn miner(&self, index: FragmentIndex) -> &MinerAddr {
        &self.miners[index.get()]
    }
}

/// The sealed bytes, and what `verify` made of them.
pub(crate) async fn fetch<T>(
    shared: &Shared,
    columns: &Columns,
    verify: impl Fn(&[u8]) -> Option<T>,
) -> Result<(Bytes, T), DataError> {
    let clock = &shared.ports.clock;
    let work = async {
        let mut round = 1;
        loop {
            let mut race = Race::new(shared, columns, &verify);
            let failed = match race.run().await {
                Ok(found) => return Ok(found),
                Err(failed) => failed,
            };
            if round == ROUNDS_MAX {
                return Err(DataError::Unreachable(failed));
            }
            clock.sleep(ROUND_PAUSE * round).await;
            round += 1;
        }
    };
    let limit = clock.sleep(shared.config.fetch_timeout);
    match select(pin!(work), limit).await {
        Either::Left((result, _)) => result,
        Either::Right(((), _)) => Err(DataError::Unreachable(format!(
            "fewer than four of twelve miners gave right bytes within {:?}",
            shared.config.fetch_timeout
        ))),
    }
}

type Call<'a> = BoxFuture<'a, (FragmentIndex, Result<Bytes, PortError>)>;

/// One round of asking.
struct Race<'a, V> {
    shared: &'a Shared,
    columns: &'a Columns,
    verify: &'a V,
    calls: FuturesUnordered<Call<'a>>,
    /// Who is being asked.
    asked: Vec<FragmentIndex>,
    /// Who of them was slow enough that others were asked as well.
    late: Vec<FragmentIndex>,
    /// Who may still be asked, best first.
    others: VecDeque<FragmentIndex>,
    /// Answers of others, not proven.
    answers: Vec<(FragmentIndex, Bytes)>,
    /// Answers of others that are wanted, those under way included; 0 until a rebuild is wanted.
    target: usize,
    failures: Vec<String>,
}

impl<'a, T, V: Fn(&[u8]) -> Option<T>> Race<'a, V> {
    fn new(shared: &'a Shared, columns: &'a Columns, verify: &'a V) -> Self {
        let mut ranked: Vec<FragmentIndex> =
            FragmentIndex::all().filter(|index| *index != columns.wanted).collect();
        let now = shared.ports.clock.elapsed();
        let rank = |index: &FragmentIndex| {
            let account = &columns.miner(*index).account;
            (shared.penalties.standing(account, now), expected(shared, columns, *index), *index)
        };
        ranked.sort_by_cached_key(rank);
        let mut race = Self {
            shared,
            columns,
            verify,
            calls: FuturesUnordered::new(),
            asked: Vec::new(),
            late: Vec::new(),
            others: ranked.into(),
            answers: Vec::new(),
            target: 0,
            failures: Vec::new(),
        };
        if shared.penalties.standing(&columns.miner(columns.wanted).account, now) == Standing::Good {
            race.ask(columns.wanted);
        } else {
            race.others.push_back(columns.wanted);
            race.want_rebuild();
        }
        race
    }

    /// Runs until right bytes are there, or everybody has been asked in vain.
    async fn run(&mut self) -> Result<(Bytes, T), String> {
        loop {
            if self.calls.is_empty() {
                self.ask_more(1);
                if self.calls.is_empty() {
                    return Err(self.failures.join("; "));
                }
            }
            let delay = self.hedge_delay();
            let hedge = self.shared.ports.clock.sleep(delay);
            let answer = match select(self.calls.next(), hedge).await {
                Either::Left((answer, _)) => answer,
                Either::Right(((), _)) => None,
            };
            match answer {
                None => self.hedge(),
                Some((index, result)) => {
                    self.asked.retain(|asked| *asked != index);
                    if let Some(found) = self.take(index, result).await {
                        self.blame_overtaken();
                        return Ok(found);
                    }
                }
            }
        }
    }

    fn ask(&mut self, index: FragmentIndex) {
        let Columns { fid, hashes, range, .. } = self.columns;
        let (shared, miner) = (self.shared, self.columns.miner(index));
        let (fid, hash, range) = (*fid, hashes[index.get()], range.clone());
        let call = async move {
            let len = range.len();
            let got = shared.ports.miners.get(miner, fid, hash, range).await;
            let got = got.and_then(|bytes| {
                bump(&shared.stats.fetched_bytes, bytes.len() as u64);
                if bytes.len() == len {
                    return Ok(bytes);
                }
                let what = format!("{} bytes in place of {len}", bytes.len());
                Err(PortError::definite(PortErrorKind::Corrupt, what))
            });
            (index, got)
        };
        self.asked.push(index);
        self.calls.push(call.boxed());
    }

    /// Asks up to `more` others.
    fn ask_more(&mut self, more: usize) {
        for _ in 0..more {
            let Some(index) = self.others.pop_front() else { return };
            self.ask(index);
        }
    }

    fn others_under_way(&self) -> usize {
        self.asked.iter().filter(|index| **index != self.columns.wanted).count()
    }

    /// Sees to it that `target` answers of others are there or under way.
    fn reach_target(&mut self) {
        let have = self.answers.len() + self.others_under_way();
        self.ask_more(self.target.saturating_sub(have));
    }

    fn want_rebuild(&mut self) {
        if self.target == 0 {
            bump(&self.shared.stats.hedges, 1);
        }
        self.target = self.target.max(DATA_FRAGMENTS);
        self.reach_target();
    }

    /// Somebody is slow: ask so many more that a rebuild does not need the slow ones.
    fn hedge(&mut self) {
        self.late.clone_from(&self.asked);
        if self.target == 0 {
            return self.want_rebuild();
        }
        let missing = DATA_FRAGMENTS.saturating_sub(self.answers.len()).max(1);
        self.ask_more(missing);
    }

    /// p95 of the slowest that is being asked, within its bounds.
    fn hedge_delay(&self) -> Duration {
        let config = &self.shared.config;
        let p95 = |index: &FragmentIndex| {
            let latency = self.shared.ports.miners.latency(&self.columns.miner(*index).account);
            latency.map_or(config.hedge_unknown, |latency| latency.p95)
        };
        let slowest = self.asked.iter().map(p95).max().unwrap_or(config.hedge_unknown);
        slowest.clamp(config.hedge_min, config.hedge_max)
    }

    async fn take(&mut self, index: FragmentIndex, result: Result<Bytes, PortError>) -> Option<(Bytes, T)> {
        match result {
            Err(error) => {
                self.punish(
                    index,
                    if error.kind() == PortErrorKind::Corrupt { Standing::Liar } else { Standing::Failed },
                );
                self.failures.push(format!("fragment {}: {error}", index.get()));
                self.want_rebuild();
                None
            }
            Ok(bytes) if index == self.columns.wanted => {
                if let Some(value) = (self.verify)(&bytes) {
                    self.forgive(index);
                    return Some((bytes, value));
                }
                self.lied(index);
                self.want_rebuild();
                None
            }
            Ok(bytes) => {
                self.answers.push((index, bytes));
                let found = self.rebuild().await;
                if found.is_none() && self.answers.len() >= DATA_FRAGMENTS {
                    self.target = self.answers.len() + 1;
                    self.reach_target();
                }
                found
            }
        }
    }

    /// Tries every set of four answers that contains the newest.
    async fn rebuild(&mut self) -> Option<(Bytes, T)> {
        let (newest, older) = self.answers.split_last()?;
        for three in triples(older.len()) {
            let mut set: Vec<(FragmentIndex, Bytes)> = three.iter().map(|at| older[*at].clone()).collect();
            set.push(newest.clone());
            let rebuilt = match self.shared.ports.striper.rebuild(set.clone(), self.columns.wanted).await {
                Ok(rebuilt) => rebuilt,
                Err(error) => {
                    tracing::warn!(%error, "a column could not be rebuilt");
                    continue;
                }
            };
            if let Some(value) = (self.verify)(&rebuilt) {
                bump(&self.shared.stats.rebuilds, 1);
                self.judge(&set).await;
                return Some((rebuilt, value));
            }
        }
        None
    }

    /// The set is right, so whoever answered otherwise lied.
    async fn judge(&mut self, right: &[(FragmentIndex, Bytes)]) {
        for (index, _) in right {
            self.forgive(*index);
        }
        let others: Vec<_> = self
            .answers
            .iter()
            .filter(|(index, _)| right.iter().all(|(good, _)| good != index))
            .cloned()
            .collect();
        for (index, answer) in others {
            match self.shared.ports.striper.rebuild(right.to_vec(), index).await {
                Ok(truth) if truth == answer => self.forgive(index),
                Ok(_) => self.lied(index),
                Err(error) => tracing::warn!(%error, "a column could not be rebuilt"),
            }
        }
    }

    fn lied(&self, index: FragmentIndex) {
        let miner = self.columns.miner(index);
        tracing::warn!(miner = ?miner.account, fid = %self.columns.fid, fragment = index.get(), "a miner returned wrong bytes");
        bump(&self.shared.stats.bad_columns, 1);
        self.punish(index, Standing::Liar);
    }

    fn punish(&self, index: FragmentIndex, standing: Standing) {
        let config = &self.shared.config;
        let time = if standing == Standing::Liar { config.penalty_liar } else { config.penalty_failed };
        let now = self.shared.ports.clock.elapsed();
        self.shared.penalties.punish(self.columns.miner(index).account, standing, now, now + time);
    }

    fn forgive(&self, index: FragmentIndex) {
        self.shared.penalties.forgive_failure(&self.columns.miner(index).account);
    }

    /// The read is over and these have still not answered, although others were asked later and have.
    fn blame_overtaken(&self) {
        let is_late = |index: &&FragmentIndex| **index == self.columns.wanted || self.late.contains(index);
        for index in self.asked.iter().filter(is_late) {
            self.punish(*index, Standing::Failed);
        }
    }
}

/// What a miner is expected to take, failures counted in.
fn expected(shared: &Shared, columns: &Columns, index: FragmentIndex) -> Duration {
    match shared.ports.miners.latency(&columns.miner(index).account) {
        Some(latency) => latency.p50.mul_f64(1.0 + 10.0 * latency.error_rate.clamp(0.0, 1.0)),
        None => LATENCY_UNKNOWN,
    }
}

/// All ways to choose three of `0..count`.
fn triples(count: usize) -> impl Iterator<Item = [usize; 3]> {
    (0..count).flat_map(move |a| (a + 1..count).flat_map(move |b| (b + 1..count).map(move |c| [a, b, c])))
}
