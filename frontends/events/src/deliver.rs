//! One target's task: read the oldest events, tell them, take out what was told, again.
//!
//! A round reads a window of the queue and makes a lane of each key's events. Lanes are told at once,
//! [`TargetConfig::parallel`] of them; within a lane one after another, and the first failure ends the
//! lane, so that no event passes an older one of its key. Lanes that failed in the round before come
//! last, so that one key whose events a receiver chokes on holds nobody up; when as many failed as are
//! told at once, the target is taken to be away and the rest of the round is left. After a failure the
//! task pauses, longer each time nothing went through.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use gw_store::{Event, EventFate, EventSeq, Store};
use gw_types::{Authenticated, Frontend};
use parking_lot::Mutex;

use crate::config::{TargetConfig, TargetKind};
use crate::message::message;
use crate::nats::Nats;
use crate::sink::{Sink, SinkError};
use crate::webhook::Webhook;

/// Events read at once; the most that a round tells.
const WINDOW: usize = 1024;

/// How a target behaves.
#[derive(Debug, Default)]
pub(crate) struct Health {
    failures: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Health {
    fn failed(&self, error: &SinkError) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.last_error.lock() = Some(error.to_string());
    }
    fn is_well(&self) {
        *self.last_error.lock() = None;
    }
    pub(crate) fn shown(&self, target: &str) -> TargetHealth {
        TargetHealth {
            target: target.to_owned(),
            failures: self.failures.load(Ordering::Relaxed),
            last_error: self.last_error.lock().clone(),
        }
    }
}

/// How a target has behaved since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetHealth {
    /// Its name.
    pub target: String,
    /// Tellings that failed.
    pub failures: u64,
    /// Why the newest one did, unless one went through since.
    pub last_error: Option<String>,
}

/// A target's task, before it runs.
pub(crate) struct Delivery {
    store: Store,
    who: Authenticated,
    region: String,
    config: TargetConfig,
    sink: Box<dyn Sink>,
    health: Arc<Health>,
}

/// Events of one key, oldest first.
type Lane = Vec<Event>;
type LaneKey = (String, String);

/// What a round did.
#[derive(Default)]
struct Round {
    fates: Vec<(EventSeq, EventFate)>,
    /// Whether an event was refused.
    failed: bool,
    /// The oldest event that stays.
    left: Option<EventSeq>,
}

impl Delivery {
    pub(crate) fn new(store: Store, region: &str, config: TargetConfig) -> io::Result<Self> {
        let sink: Box<dyn Sink> = match &config.kind {
            TargetKind::Webhook(webhook) => Box::new(Webhook::new(webhook.clone(), config.parallel)?),
            TargetKind::Nats(nats) => Box::new(Nats::new(nats.clone(), config.timeout)?),
        };
        Ok(Self {
            store,
            who: Authenticated::user("events", Frontend::Admin),
            region: region.to_owned(),
            config,
            sink,
            health: Arc::default(),
        })
    }

    pub(crate) fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Delivers until it is dropped.
    pub(crate) async fn run(self) {
        let mut added = self.store.events_added();
        let mut from = EventSeq(0);
        let mut refused = HashSet::new();
        let mut pause = self.config.pause_min;
        loop {
            added.borrow_and_update();
            let events = match self.store.events_next(&self.who, &self.config.name, from, WINDOW).await {
                Ok(events) => events,
                Err(error) => {
                    tracing::error!(target_name = %self.config.name, %error, "events cannot be read");
                    tokio::time::sleep(self.config.pause_max).await;
                    continue;
                }
            };
            let Some(last) = events.last().map(|event| event.seq) else {
                if added.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let round = self.round(events, &mut refused).await;
            if !round.fates.is_empty() {
                pause = self.config.pause_min;
                let done = self.store.events_done(&self.who, &self.config.name, &round.fates).await;
                if let Err(error) = done {
                    // They are told again: at least once.
                    tracing::error!(target_name = %self.config.name, %error, "told events stay in their queue");
                    tokio::time::sleep(self.config.pause_max).await;
                    continue;
                }
            }
            from = round.left.unwrap_or(EventSeq(last.0 + 1));
            if round.failed {
                tokio::time::sleep(pause).await;
                if round.fates.is_empty() {
                    pause = (pause * 2).min(self.config.pause_max);
                }
            }
        }
    }

    async fn round(&self, events: Vec<Event>, refused: &mut HashSet<LaneKey>) -> Round {
        let all: Vec<EventSeq> = events.iter().map(|event| event.seq).collect();
        let failures = AtomicUsize::new(0);
        let lanes = lanes(events, refused);
        let here: HashSet<LaneKey> = lanes.iter().map(|(key, _)| key.clone()).collect();
        refused.retain(|key| here.contains(key));
        let lanes = stream::iter(lanes).map(|(key, lane)| {
            let failures = &failures;
            async move {
                if failures.load(Ordering::Relaxed) >= self.config.parallel.max(1) {
                    return (key, Vec::new(), false);
                }
                let (fates, failed) = self.lane(lane).await;
                if failed {
                    failures.fetch_add(1, Ordering::Relaxed);
                }
                (key, fates, failed)
            }
        });
        let told: Vec<_> = lanes.buffer_unordered(self.config.parallel.max(1)).collect().await;
        let mut round = Round::default();
        for (key, fates, failed) in told {
            if failed {
                round.failed = true;
                refused.insert(key);
            } else if !fates.is_empty() {
                refused.remove(&key);
            }
            round.fates.extend(fates);
        }
        let gone: HashSet<EventSeq> = round.fates.iter().map(|(seq, _)| *seq).collect();
        round.left = all.into_iter().find(|seq| !gone.contains(seq));
        round
    }

    /// Tells the events of one key; whether it was ended by a failure.
    async fn lane(&self, lane: Lane) -> (Vec<(EventSeq, EventFate)>, bool) {
        let mut fates = Vec::with_capacity(lane.len());
        for event in lane {
            match self.tell(&event).await {
                Ok(()) => {
                    self.health.is_well();
                    fates.push((event.seq, EventFate::Delivered));
                }
                Err(error) => {
                    self.health.failed(&error);
                    if self.is_too_old(&event) {
                        tracing::warn!(
                            target_name = %self.config.name, bucket = %event.bucket, key = %event.key,
                            kind = event.kind.name(), seq = event.seq.0, %error, "an event is given up"
                        );
                        fates.push((event.seq, EventFate::Dead));
                    } else {
                        tracing::debug!(target_name = %self.config.name, seq = event.seq.0, %error, "an event was refused");
                        return (fates, true);
                    }
                }
            }
        }
        (fates, false)
    }

    async fn tell(&self, event: &Event) -> Result<(), SinkError> {
        let message = message(event, &self.region, self.store.now());
        match tokio::time::timeout(self.config.timeout, self.sink.send(&message)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(SinkError(format!("no answer within {:?}", self.config.timeout))),
        }
    }

    fn is_too_old(&self, event: &Event) -> bool {
        let age = self.store.now().0.saturating_sub(event.at.0);
        Duration::from_nanos(u64::try_from(age).unwrap_or(0)) >= self.config.give_up_after
    }
}

/// Events by key, keys in order of their oldest; those that were refused before come last.
fn lanes(events: Vec<Event>, refused: &HashSet<LaneKey>) -> Vec<(LaneKey, Lane)> {
    let mut places: HashMap<LaneKey, usize> = HashMap::new();
    let mut lanes: Vec<(LaneKey, Lane)> = Vec::new();
    for event in events {
        let key = (event.bucket.clone(), event.key.clone());
        let place = *places.entry(key.clone()).or_insert_with(|| {
            lanes.push((key, Vec::new()));
            lanes.len() - 1
        });
        lanes[place].1.push(event);
    }
    lanes.sort_by_key(|(key, _)| refused.contains(key));
    lanes
}
