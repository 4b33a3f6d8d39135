//! Where a connection stands between two requests: what it is reading, and what it waits for.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Share;
use super::session::{Payload, Refused};
use crate::wire::request::Request;

/// The state of reading.
pub enum Intake {
    /// The next bytes are a header.
    Header,
    /// A header was read; the request waits for room.
    Admit(Admission),
    /// A payload is being collected.
    Payload {
        /// Whose.
        request: Request,
        /// Where it is collected, from a pool: it may be longer than the payload.
        buffer: Vec<u8>,
        /// How many bytes have come.
        filled: usize,
        /// How many there are.
        len: usize,
        /// Its share of the budgets.
        share: Share,
    },
    /// A payload is being thrown away.
    Discard {
        /// Whose.
        request: Request,
        /// How many bytes are left.
        left: u64,
        /// What is answered then.
        refused: Refused,
        /// Its share of the budgets.
        share: Share,
    },
}

/// A request at the door.
pub struct Admission {
    /// The request.
    pub request: Request,
    /// What follows its header.
    pub payload: Payload,
    /// How much room it needs.
    pub bytes: usize,
    /// The wait for room in the process, once it has begun.
    pub waiting: Option<Pin<Box<dyn Future<Output = OwnedSemaphorePermit> + Send>>>,
    /// The room, once it was found.
    pub permit: Option<OwnedSemaphorePermit>,
}

impl Admission {
    /// Takes room of the process if there is some, else gets in line for it.
    pub fn try_enter(&mut self, budget: &Arc<Semaphore>) -> bool {
        if self.permit.is_some() {
            return true;
        }
        if self.waiting.is_some() {
            return false;
        }
        let permits = u32::try_from(self.bytes).expect("a request is at most 32 MiB and a bit");
        match Arc::clone(budget).try_acquire_many_owned(permits) {
            Ok(permit) => self.permit = Some(permit),
            Err(_) => {
                let budget = Arc::clone(budget);
                self.waiting = Some(Box::pin(async move {
                    budget.acquire_many_owned(permits).await.expect("the budget is never closed")
                }));
            }
        }
        self.permit.is_some()
    }
}

impl Intake {
    /// Whether a request waits for room in the process.
    pub fn waits_for_room(&self) -> bool {
        matches!(self, Self::Admit(Admission { waiting: Some(_), .. }))
    }
    /// Returns once there is room in the process for the request at the door.
    pub async fn room(&mut self) {
        match self {
            Self::Admit(admission) => {
                if let Some(waiting) = &mut admission.waiting {
                    admission.permit = Some(waiting.await);
                    admission.waiting = None;
                }
            }
            _ => std::future::pending().await,
        }
    }
}
