//! Delivery of event notifications: from the store's queues to the targets of the operator.
//!
//! ```text
//! store     an event is a row of the commit that makes it true; one queue for each target
//! deliver   one task for each target: oldest first, in order for each key, several keys at once
//! sink      a webhook (HTTP or HTTPS POST) or a JetStream subject of NATS
//! ```
//!
//! An event leaves its queue only when the target has taken it, so each is told **at least once**: a
//! stop or a crash in between tells it again, under the same number. Events of one key are told in
//! the order of the commits; a key whose event is refused waits, others go on. What a target has
//! refused for as long as it may ([`TargetConfig::give_up_after`]) is given up and counted as dead.
//!
//! Absent on purpose: no event is held in memory beyond the window that is being told, and no target
//! is named by a client, only by the operator, so nobody can make the gateway call an address.

mod config;
mod deliver;
mod message;
mod nats;
mod sink;
mod webhook;

use std::io;
use std::sync::Arc;

use gw_store::Store;
use tokio::task::JoinHandle;

pub use config::{NatsConfig, SecretText, TargetConfig, TargetKind, WebhookConfig};
pub use deliver::TargetHealth;

use deliver::Delivery;

/// Tasks that deliver. Dropping it stops them; what is under way is told again at the next start.
#[derive(Debug)]
pub struct RunningEvents {
    targets: Vec<(String, Arc<deliver::Health>)>,
    tasks: Vec<JoinHandle<()>>,
}

impl RunningEvents {
    /// Begins to deliver to all targets.
    ///
    /// # Errors
    /// When a target's configuration cannot be used: no HTTP address, credentials that do not parse,
    /// an HTTPS address on a machine without root certificates.
    pub fn start(store: &Store, region: &str, targets: Vec<TargetConfig>) -> io::Result<Self> {
        let mut running = Self { targets: Vec::new(), tasks: Vec::new() };
        for target in targets {
            let name = target.name.clone();
            let delivery = Delivery::new(store.clone(), region, target)?;
            running.targets.push((name, delivery.health()));
            running.tasks.push(tokio::spawn(delivery.run()));
        }
        Ok(running)
    }
    /// How each target has behaved since the start.
    pub fn health(&self) -> Vec<TargetHealth> {
        self.targets.iter().map(|(name, health)| health.shown(name)).collect()
    }
    /// Stops all tasks, without waiting for them.
    pub fn halt(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }
    /// Stops all tasks and waits until they are gone.
    pub async fn stop(mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            // Stopped or already gone: there is nothing to do about either.
            let _ = task.await;
        }
    }
}

impl Drop for RunningEvents {
    fn drop(&mut self) {
        self.halt();
    }
}
