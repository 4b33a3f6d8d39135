//! A key tree and a striper that misbehave on demand, around any others.
//!
//! Both are served by somebody else one day (an enclave, a worker behind a channel), so they may be
//! away, answer late or never, do their work and lose the answer, or give a wrong one.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use gw_types::ports::{DataKey, KeyEvidence, Keys, StripeHashes, Striper, WrappedBucketKey, WrappedDataKey};
use gw_types::{FragmentIndex, PortError, PortErrorKind, PortResult};
use parking_lot::Mutex;

/// A verb of one of the two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortOp {
    /// [`Keys::new_bucket_key`].
    NewBucketKey,
    /// [`Keys::new_data_key`].
    NewDataKey,
    /// [`Keys::unwrap`].
    Unwrap,
    /// [`Keys::rewrap`].
    Rewrap,
    /// [`Keys::seal_record`].
    SealRecord,
    /// [`Keys::open_record`].
    OpenRecord,
    /// [`Keys::random`].
    Random,
    /// [`Striper::hash`].
    Hash,
    /// [`Striper::fragment`].
    Fragment,
    /// [`Striper::rebuild`].
    Rebuild,
}

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortFault {
    /// Nobody is there; nothing was done.
    Away,
    /// It was done, and the answer is lost.
    Lost,
    /// It never comes back ([`PortOp::Random`], which cannot wait, fails as with [`PortFault::Away`]).
    Hangs,
    /// The answer is another than it should be.
    Lies,
}

#[derive(Debug)]
struct Rule {
    op: PortOp,
    /// Calls that still pass.
    pass: u64,
    /// Calls that go wrong then.
    fail: u64,
    fault: PortFault,
}

/// Which calls go wrong. Clones share it.
#[derive(Clone, Debug, Default)]
struct Plan(Arc<Mutex<(Vec<Rule>, u64)>>);

impl Plan {
    fn add(&self, op: PortOp, pass: u64, fail: u64, fault: PortFault) {
        self.0.lock().0.push(Rule { op, pass, fail, fault });
    }

    fn draw(&self, op: PortOp) -> Option<PortFault> {
        let (rules, hits) = &mut *self.0.lock();
        for rule in rules.iter_mut().filter(|rule| rule.op == op) {
            if rule.pass > 0 {
                rule.pass -= 1;
            } else if rule.fail > 0 {
                rule.fail -= 1;
                *hits += 1;
                return Some(rule.fault);
            }
        }
        None
    }

    /// Does the act as the plan wants it; `lie` changes a right answer into a wrong one.
    async fn act<T>(
        &self,
        op: PortOp,
        act: impl Future<Output = PortResult<T>>,
        lie: impl FnOnce(T) -> T,
    ) -> PortResult<T> {
        match self.draw(op) {
            None => act.await,
            Some(PortFault::Away) => Err(away(op)),
            Some(PortFault::Hangs) => std::future::pending().await,
            Some(PortFault::Lies) => Ok(lie(act.await?)),
            Some(PortFault::Lost) => {
                act.await?;
                let what = format!("the answer to {op:?} is lost (injected)");
                Err(PortError::unknown(PortErrorKind::Unavailable, what))
            }
        }
    }
}

fn away(op: PortOp) -> PortError {
    PortError::definite(PortErrorKind::Unavailable, format!("nobody answers {op:?} (injected)"))
}

/// Another byte than it was, wherever there is one.
fn flipped(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(byte) = bytes.last_mut() {
        *byte ^= 0x55;
    }
    bytes
}

macro_rules! faulty {
    ($(#[$doc:meta])* $name:ident, $port:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            inner: Arc<dyn $port>,
            plan: Plan,
        }

        impl $name {
            /// Nothing goes wrong yet.
            pub fn new(inner: Arc<dyn $port>) -> Self {
                Self { inner, plan: Plan::default() }
            }
            /// The `fail` calls of this kind after `pass` more ones go wrong.
            pub fn fail(&self, op: PortOp, pass: u64, fail: u64, fault: PortFault) {
                self.plan.add(op, pass, fail, fault);
            }
            /// Nothing goes wrong any more.
            pub fn heal(&self) {
                self.plan.0.lock().0.clear();
            }
            /// How many calls went wrong.
            pub fn hits(&self) -> u64 {
                self.plan.0.lock().1
            }
        }
    };
}

faulty!(
    /// Keys of which chosen calls go wrong; all others go to those inside. Clones share the plan.
    FaultKeys, Keys
);
faulty!(
    /// A striper of which chosen calls go wrong; all others go to the one inside. Clones share the plan.
    FaultStriper, Striper
);

#[async_trait]
impl Keys for FaultKeys {
    async fn new_bucket_key(&self) -> PortResult<WrappedBucketKey> {
        let lie = |key: WrappedBucketKey| WrappedBucketKey(flipped(key.0));
        self.plan.act(PortOp::NewBucketKey, self.inner.new_bucket_key(), lie).await
    }
    async fn new_data_key(&self, bucket: &WrappedBucketKey) -> PortResult<(DataKey, WrappedDataKey)> {
        let lie = |(key, wrapped): (DataKey, WrappedDataKey)| (key, WrappedDataKey(flipped(wrapped.0)));
        self.plan.act(PortOp::NewDataKey, self.inner.new_data_key(bucket), lie).await
    }
    async fn unwrap(&self, bucket: &WrappedBucketKey, data: &WrappedDataKey) -> PortResult<DataKey> {
        let lie = |key: DataKey| DataKey::new(key.expose().map(|byte| byte ^ 0x55));
        self.plan.act(PortOp::Unwrap, self.inner.unwrap(bucket, data), lie).await
    }
    async fn rewrap(
        &self,
        from: &WrappedBucketKey,
        to: &WrappedBucketKey,
        data: &WrappedDataKey,
    ) -> PortResult<WrappedDataKey> {
        let lie = |wrapped: WrappedDataKey| WrappedDataKey(flipped(wrapped.0));
        self.plan.act(PortOp::Rewrap, self.inner.rewrap(from, to, data), lie).await
    }
    async fn seal_record(&self, purpose: &str, plain: &[u8]) -> PortResult<Vec<u8>> {
        self.plan.act(PortOp::SealRecord, self.inner.seal_record(purpose, plain), flipped).await
    }
    async fn open_record(&self, purpose: &str, sealed: &[u8]) -> PortResult<Vec<u8>> {
        self.plan.act(PortOp::OpenRecord, self.inner.open_record(purpose, sealed), flipped).await
    }
    fn random(&self, out: &mut [u8]) -> PortResult<()> {
        match self.plan.draw(PortOp::Random) {
            None => self.inner.random(out),
            Some(PortFault::Away | PortFault::Hangs) => Err(away(PortOp::Random)),
            Some(PortFault::Lost) => {
                self.inner.random(out)?;
                Err(PortError::unknown(PortErrorKind::Unavailable, "the answer is lost (injected)"))
            }
            Some(PortFault::Lies) => {
                out.fill(0);
                Ok(())
            }
        }
    }
    fn evidence(&self) -> KeyEvidence {
        self.inner.evidence()
    }
}

#[async_trait]
impl Striper for FaultStriper {
    async fn hash(&self, segment: Bytes) -> PortResult<StripeHashes> {
        let lie = |mut hashes: StripeHashes| {
            hashes.fragments[0].0[0] ^= 0x55;
            hashes
        };
        self.plan.act(PortOp::Hash, self.inner.hash(segment), lie).await
    }
    async fn fragment(&self, segment: Bytes, index: FragmentIndex) -> PortResult<Bytes> {
        self.plan.act(PortOp::Fragment, self.inner.fragment(segment, index), wrong).await
    }
    async fn rebuild(
        &self,
        columns: Vec<(FragmentIndex, Bytes)>,
        wanted: FragmentIndex,
    ) -> PortResult<Bytes> {
        self.plan.act(PortOp::Rebuild, self.inner.rebuild(columns, wanted), wrong).await
    }
}

fn wrong(bytes: Bytes) -> Bytes {
    let mut bytes = BytesMut::from(bytes);
    if let Some(byte) = bytes.first_mut() {
        *byte ^= 0x55;
    }
    bytes.freeze()
}
