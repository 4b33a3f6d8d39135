//! An RPC client that does what networks and nodes do: loses requests, loses answers, hangs, says
//! no, cuts subscriptions. Poisons are prescribed for a method and used up one by one, in order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use futures::{StreamExt, stream};
use gw_devchain::InProcess;
use subxt_rpcs::client::{RawRpcFuture, RawRpcSubscription, RawValue, RpcClientT};
use subxt_rpcs::{Error, UserError};

#[derive(Clone, Debug)]
pub enum Poison {
    /// The node never gets it.
    LoseRequest,
    /// The node gets it and its answer is lost.
    LoseAnswer,
    /// The connection breaks, and the node gets it when the test says so.
    Keep,
    /// The node never answers.
    Hang,
    /// The node answers with this error and does nothing.
    Answer(i32, &'static str),
    /// The subscription ends after so many notifications.
    EndAfter(usize),
    /// The subscription stands and stays silent.
    Silence,
    /// Nothing happens to this one.
    Pass,
}

#[derive(Clone)]
pub struct Toxic {
    inner: InProcess,
    poisons: Arc<Mutex<VecDeque<(&'static str, Poison)>>>,
    calls: Arc<Mutex<Vec<String>>>,
    kept: Arc<Mutex<Vec<Subscription>>>,
}

/// Subscribe, its parameters, unsubscribe.
type Subscription = (String, Option<Box<RawValue>>, String);

impl Toxic {
    pub fn new(inner: InProcess) -> Self {
        Self { inner, poisons: Arc::default(), calls: Arc::default(), kept: Arc::default() }
    }

    /// Gives the node what was kept from it. Whether it took all of it.
    pub async fn deliver(&self) -> bool {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap());
        let mut all = true;
        for (sub, params, unsub) in kept {
            all &= self.inner.subscribe_raw(&sub, params, &unsub).await.is_ok();
        }
        all
    }

    /// The next call of `method` that is not yet spoken for gets `poison`.
    pub fn poison(&self, method: &'static str, poison: Poison) {
        self.poisons.lock().unwrap().push_back((method, poison));
    }

    /// How often `method` was called.
    pub fn calls(&self, method: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|called| *called == method).count()
    }

    fn take(&self, method: &str) -> Poison {
        self.calls.lock().unwrap().push(method.to_owned());
        let mut poisons = self.poisons.lock().unwrap();
        let place = poisons.iter().position(|(of, _)| *of == method);
        place.and_then(|place| poisons.remove(place)).map_or(Poison::Pass, |(_, poison)| poison)
    }
}

fn broken() -> Error {
    Error::Client("the connection was reset by the peer".into())
}

fn answer(code: i32, message: &str) -> Error {
    Error::User(UserError { code, message: message.to_owned(), data: None })
}

impl RpcClientT for Toxic {
    fn request_raw<'a>(
        &'a self,
        method: &'a str,
        params: Option<Box<RawValue>>,
    ) -> RawRpcFuture<'a, Box<RawValue>> {
        Box::pin(async move {
            match self.take(method) {
                Poison::LoseRequest | Poison::Keep => Err(broken()),
                Poison::Hang => std::future::pending().await,
                Poison::Answer(code, message) => Err(answer(code, message)),
                Poison::LoseAnswer => {
                    self.inner.request_raw(method, params).await?;
                    Err(broken())
                }
                Poison::Pass | Poison::EndAfter(_) | Poison::Silence => {
                    self.inner.request_raw(method, params).await
                }
            }
        })
    }

    fn subscribe_raw<'a>(
        &'a self,
        sub: &'a str,
        params: Option<Box<RawValue>>,
        unsub: &'a str,
    ) -> RawRpcFuture<'a, RawRpcSubscription> {
        Box::pin(async move {
            let poison = self.take(sub);
            match poison {
                Poison::LoseRequest => return Err(broken()),
                Poison::Keep => {
                    self.kept.lock().unwrap().push((sub.to_owned(), params, unsub.to_owned()));
                    return Err(broken());
                }
                Poison::Hang => std::future::pending().await,
                Poison::Answer(code, message) => return Err(answer(code, message)),
                _ => {}
            }
            let mut opened = self.inner.subscribe_raw(sub, params, unsub).await?;
            match poison {
                Poison::LoseAnswer => return Err(broken()),
                Poison::EndAfter(count) => opened.stream = opened.stream.take(count).boxed(),
                Poison::Silence => opened.stream = stream::pending().boxed(),
                _ => {}
            }
            Ok(opened)
        })
    }
}
