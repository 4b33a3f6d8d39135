//! An export that misbehaves on order: it wraps another one and holds calls until they are released,
//! fails the next ones, and counts what reaches it. For tests of whatever stands in front.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use super::{
    ByteRange, Context, Export, ExportError, ExportErrorKind, Extent, Persist, Piece, Properties, Zeroing,
};

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names of the calls")]
pub enum Verb {
    Read,
    Write,
    Flush,
    Trim,
    WriteZeroes,
    Cache,
    BlockStatus,
}

/// The wrapper.
pub struct FaultyExport {
    inner: Arc<dyn Export>,
    properties: Properties,
    failures: Mutex<HashMap<Verb, (ExportErrorKind, usize)>>,
    held: Mutex<Option<Verb>>,
    gate: Semaphore,
    waiting: AtomicUsize,
    arrived: Notify,
    calls: Mutex<HashMap<Verb, usize>>,
    explode: AtomicBool,
}

impl FaultyExport {
    /// Behaves like the other one until told otherwise.
    pub fn new(inner: Arc<dyn Export>) -> Arc<Self> {
        let properties = inner.properties().clone();
        Self::with_properties(inner, properties)
    }
    /// The same, pretending to have other properties.
    pub fn with_properties(inner: Arc<dyn Export>, properties: Properties) -> Arc<Self> {
        Arc::new(Self {
            inner,
            properties,
            failures: Mutex::default(),
            held: Mutex::default(),
            gate: Semaphore::new(0),
            waiting: AtomicUsize::new(0),
            arrived: Notify::new(),
            calls: Mutex::default(),
            explode: AtomicBool::new(false),
        })
    }
    /// Lets calls of this kind wait until [`FaultyExport::release`].
    pub fn hold(&self, verb: Verb) {
        *self.held.lock() = Some(verb);
    }
    /// Lets this many held calls go on.
    pub fn release(&self, count: usize) {
        self.gate.add_permits(count);
    }
    /// Returns once this many calls are held at the same time.
    pub async fn held(&self, count: usize) {
        loop {
            let arrived = self.arrived.notified();
            if self.waiting.load(Ordering::Acquire) >= count {
                return;
            }
            arrived.await;
        }
    }
    /// Fails the next calls of this kind.
    pub fn fail(&self, verb: Verb, kind: ExportErrorKind, count: usize) {
        self.failures.lock().insert(verb, (kind, count));
    }
    /// Panics in the next call, as a bug in an export would.
    pub fn explode(&self) {
        self.explode.store(true, Ordering::Release);
    }
    /// How many calls of this kind came.
    pub fn calls(&self, verb: Verb) -> usize {
        self.calls.lock().get(&verb).copied().unwrap_or(0)
    }

    async fn enter(&self, verb: Verb) -> Result<(), ExportError> {
        *self.calls.lock().entry(verb).or_default() += 1;
        if self.explode.swap(false, Ordering::AcqRel) {
            // Not in the first poll, which happens on the connection's own task.
            tokio::task::yield_now().await;
            panic!("an export with a bug, made for a test");
        }
        let held = *self.held.lock() == Some(verb);
        if held {
            let waiting = Waiting::begin(self);
            let passed = self.gate.acquire().await;
            drop(waiting);
            passed
                .map_err(|_| ExportError::new(ExportErrorKind::ShuttingDown, "the gate is closed"))?
                .forget();
        }
        let mut failures = self.failures.lock();
        match failures.get_mut(&verb) {
            Some((kind, left)) if *left > 0 => {
                *left -= 1;
                Err(ExportError::new(*kind, "failed on order"))
            }
            _ => Ok(()),
        }
    }
}

/// Counts a call as held, also when the call is dropped.
struct Waiting<'a>(&'a FaultyExport);

impl<'a> Waiting<'a> {
    fn begin(export: &'a FaultyExport) -> Self {
        export.waiting.fetch_add(1, Ordering::AcqRel);
        export.arrived.notify_waiters();
        Self(export)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[async_trait]
impl Export for FaultyExport {
    fn properties(&self) -> &Properties {
        &self.properties
    }
    async fn read(&self, range: ByteRange) -> Result<Vec<Piece>, ExportError> {
        self.enter(Verb::Read).await?;
        self.inner.read(range).await
    }
    async fn write(&self, start: u64, data: Bytes, persist: Persist) -> Result<(), ExportError> {
        self.enter(Verb::Write).await?;
        self.inner.write(start, data, persist).await
    }
    async fn flush(&self) -> Result<(), ExportError> {
        self.enter(Verb::Flush).await?;
        self.inner.flush().await
    }
    async fn trim(&self, range: ByteRange, persist: Persist) -> Result<(), ExportError> {
        self.enter(Verb::Trim).await?;
        self.inner.trim(range, persist).await
    }
    async fn write_zeroes(&self, range: ByteRange, how: Zeroing) -> Result<(), ExportError> {
        self.enter(Verb::WriteZeroes).await?;
        self.inner.write_zeroes(range, how).await
    }
    async fn cache(&self, range: ByteRange) -> Result<(), ExportError> {
        self.enter(Verb::Cache).await?;
        self.inner.cache(range).await
    }
    async fn block_status(
        &self,
        context: &Context,
        range: ByteRange,
        extents_max: usize,
    ) -> Result<Vec<Extent>, ExportError> {
        self.enter(Verb::BlockStatus).await?;
        self.inner.block_status(context, range, extents_max).await
    }
}
