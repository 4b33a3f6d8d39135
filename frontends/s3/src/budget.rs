//! How fast an access key may be used: requests in a second, bytes in a second.
//!
//! Two token buckets for each key that has limits, filled at their rate up to two seconds' worth. A
//! request that finds the first empty is refused (503 SlowDown, with the time after which it would
//! pass); bytes are never refused but paced: whoever has taken more than there was waits before the
//! next piece, in both directions, and new requests are refused once the debt is ten seconds deep.
//! Only keys whose signature was verified count, so nobody can use up somebody else's. Sessions count
//! together with whoever they are of: making more of them gives nothing.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use gw_store::{Credential, KeyLimits};
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

/// Keys remembered; one that is idle is forgotten first, and starts with full buckets again.
const KEYS_MAX: usize = 16_384;
/// Seconds of its rate that a bucket holds.
const BURST_SECONDS: f64 = 2.0;
/// Seconds of debt in bytes from which on new requests are refused.
const DEBT_SECONDS_MAX: f64 = 10.0;

/// The buckets of all keys.
#[derive(Debug)]
pub(crate) struct Budgets {
    defaults: KeyLimits,
    keys: Mutex<HashMap<String, Arc<Budget>>>,
}

/// The buckets of one key. A rate of 0 is no limit.
#[derive(Debug)]
pub(crate) struct Budget {
    requests_per_second: f64,
    bytes_per_second: f64,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    requests: f64,
    /// Below nothing: a debt.
    bytes: f64,
    at: Instant,
}

impl Budgets {
    pub(crate) fn new(defaults: KeyLimits) -> Self {
        Self { defaults, keys: Mutex::default() }
    }

    /// The budget of a verified key; `None`: it has no limits.
    pub(crate) fn of(&self, access_key: &str, credential: &Credential) -> Option<Arc<Budget>> {
        let own = credential.limits;
        let requests = own.requests_per_second.or(self.defaults.requests_per_second).unwrap_or(0);
        let bytes = own.bytes_per_second.or(self.defaults.bytes_per_second).unwrap_or(0);
        if requests == 0 && bytes == 0 {
            return None;
        }
        let whose = match &credential.session {
            None => access_key.to_owned(),
            Some(_) => format!("{}/{:?}", credential.user, credential.actor.without_session()),
        };
        let rates = (f64::from(requests), bytes as f64);
        let mut keys = self.keys.lock();
        match keys.get(&whose) {
            Some(budget) if (budget.requests_per_second, budget.bytes_per_second) == rates => {
                Some(Arc::clone(budget))
            }
            _ => {
                if keys.len() >= KEYS_MAX {
                    keys.retain(|_, budget| Arc::strong_count(budget) > 1);
                }
                let budget = Arc::new(Budget::new(rates));
                keys.insert(whose, Arc::clone(&budget));
                Some(budget)
            }
        }
    }
}

impl Budget {
    fn new((requests_per_second, bytes_per_second): (f64, f64)) -> Self {
        let state = State {
            requests: (requests_per_second * BURST_SECONDS).max(1.0),
            bytes: bytes_per_second * BURST_SECONDS,
            at: Instant::now(),
        };
        Self { requests_per_second, bytes_per_second, state: Mutex::new(state) }
    }

    fn refill(&self, state: &mut State) {
        let now = Instant::now();
        let seconds = now.duration_since(state.at).as_secs_f64();
        state.at = now;
        let full = (self.requests_per_second * BURST_SECONDS).max(1.0);
        state.requests = (state.requests + seconds * self.requests_per_second).min(full);
        let full = self.bytes_per_second * BURST_SECONDS;
        state.bytes = (state.bytes + seconds * self.bytes_per_second).min(full);
    }

    /// Takes a request, or says after how long one would pass.
    pub(crate) fn take_request(&self) -> Result<(), Duration> {
        let mut state = self.state.lock();
        self.refill(&mut state);
        let debt = -state.bytes / self.bytes_per_second.max(1.0);
        if self.bytes_per_second > 0.0 && debt > DEBT_SECONDS_MAX {
            return Err(Duration::from_secs_f64(debt - DEBT_SECONDS_MAX));
        }
        if self.requests_per_second > 0.0 {
            if state.requests < 1.0 {
                let missing = (1.0 - state.requests) / self.requests_per_second;
                return Err(Duration::from_secs_f64(missing));
            }
            state.requests -= 1.0;
        }
        Ok(())
    }

    /// Takes bytes that have gone by, and says how long to wait before more.
    fn take_bytes(&self, len: usize) -> Duration {
        if self.bytes_per_second <= 0.0 {
            return Duration::ZERO;
        }
        let mut state = self.state.lock();
        self.refill(&mut state);
        state.bytes -= len as f64;
        Duration::from_secs_f64((-state.bytes / self.bytes_per_second).max(0.0))
    }

    /// Whether bytes are counted at all.
    pub(crate) fn paces(&self) -> bool {
        self.bytes_per_second > 0.0
    }
}

/// A body at the pace of a budget.
pub(crate) struct Paced<B> {
    inner: B,
    budget: Arc<Budget>,
    wait: Option<Pin<Box<Sleep>>>,
}

impl<B> Paced<B> {
    pub(crate) fn new(inner: B, budget: Arc<Budget>) -> Self {
        Self { inner, budget, wait: None }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Paced<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Some(wait) = &mut this.wait {
            ready!(wait.as_mut().poll(cx));
            this.wait = None;
        }
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let wait = this.budget.take_bytes(frame.data_ref().map_or(0, Bytes::len));
            if !wait.is_zero() {
                this.wait = Some(Box::pin(tokio::time::sleep(wait)));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use gw_store::{Credential, KeyLimits, Secret};
    use gw_types::{Actor, Session, Timestamp};
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::time::Instant;

    use super::{Budgets, Paced};

    fn limits(requests: u32, bytes: u64) -> KeyLimits {
        KeyLimits { requests_per_second: Some(requests), bytes_per_second: Some(bytes) }
    }

    fn credential(actor: Actor, is_session: bool, limits: KeyLimits) -> Credential {
        let session = Session { issued: Timestamp(0), expires: Timestamp(1), policies: Vec::new() };
        let session = is_session.then(|| Arc::new(session));
        Credential { user: "ann".into(), actor, secret: Secret::new("s"), session, limits }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_beyond_the_rate_are_told_when_to_come_back() {
        let budgets = Budgets::new(limits(5, 0));
        let budget = budgets.of("AK", &credential(Actor::Account, false, KeyLimits::default())).unwrap();
        for _ in 0..10 {
            budget.take_request().unwrap();
        }
        let wait = budget.take_request().unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_millis(200), "{wait:?}");
        tokio::time::advance(wait + Duration::from_millis(1)).await;
        budget.take_request().unwrap();
        assert!(budget.take_request().is_err());
    }
    #[tokio::test(start_paused = true)]
    async fn bytes_beyond_the_rate_wait_and_a_deep_debt_refuses() {
        let budgets = Budgets::new(KeyLimits::default());
        let budget = budgets.of("AK", &credential(Actor::Account, false, limits(0, 1000))).unwrap();
        let pieces = (0..5).map(|_| Ok::<_, s3s::StdError>(http_body::Frame::data(vec![0; 1000].into())));
        let start = Instant::now();
        let body = Paced::new(StreamBody::new(futures::stream::iter(pieces)), Arc::clone(&budget));
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 5000);
        // Two seconds' worth are free, and what follows the last piece is nobody's wait.
        assert_eq!(start.elapsed().as_secs(), 3);
        budget.take_request().unwrap();
        budget.take_bytes(20_000);
        assert!(budget.take_request().is_err());
        tokio::time::advance(Duration::from_secs(12)).await;
        budget.take_request().unwrap();
    }

    #[tokio::test]
    async fn sessions_of_one_actor_share_and_who_has_no_limits_has_no_budget() {
        let budgets = Budgets::new(limits(5, 0));
        let role = |session: &str| Actor::Role { role: "backup".into(), session: session.into() };
        let of = |key: &str, actor, is_session| {
            budgets.of(key, &credential(actor, is_session, KeyLimits::default()))
        };
        let first = of("ASIA1", role("a"), true).unwrap();
        assert!(Arc::ptr_eq(&first, &of("ASIA2", role("b"), true).unwrap()));
        assert!(!Arc::ptr_eq(&first, &of("AKIA", Actor::Account, false).unwrap()));
        assert!(budgets.of("AK", &credential(Actor::Account, false, limits(0, 0))).is_none());
    }
}
