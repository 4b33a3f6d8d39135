//! The chain at work: it takes transactions, makes blocks, and tells what it knows.
//!
//! One task makes blocks: when a transaction is ready (after a short wait for more, and not sooner than
//! `block_min` after the block before), and at each heartbeat. A block is final at once. Whatever executes runs on
//! a blocking thread; a semaphore bounds how many at a time. Readers see a block only when it is on disk.
//!
//! Everybody but the task holds the node weakly or by [`crate::DevChain`], so that dropping that stops it all.

use crate::{
    error::{DevChainError, ExecutionError, RpcFault, StoreError},
    executor::{self, Applied, BlockRun},
    pool::{Pool, Rejected, STATUSES_MAX},
    runtime::{Header, Runtime, UncheckedExtrinsic},
    store::{HISTORY, Store},
};
use codec::{Decode, DecodeAll, Encode};
use parking_lot::Mutex;
use serde_json::Value;
use sp_core::H256;
use sp_runtime::transaction_validity::{TransactionSource, TransactionValidity, TransactionValidityError};
use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::{Notify, Semaphore, mpsc, watch},
    task::JoinHandle,
};

/// How long a ready transaction waits for others.
const BATCH_WINDOW: Duration = Duration::from_millis(10);
/// Most transactions of a block.
const BLOCK_TXS_MAX: usize = 1024;
/// How long transactions are tried for one block.
const BLOCK_TIME_MAX: Duration = Duration::from_secs(2);
/// How many blocking calls run at a time.
const CALLS_MAX: usize = 4;
/// Longest transaction in bytes; one of 1000 segments has 833 kB.
const TX_BYTES_MAX: usize = 2 << 20;
/// After a failed attempt to make a block.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A block that everybody may see.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) hash: H256,
    pub(crate) header: Header,
}

impl Head {
    fn new(header: Header) -> Self {
        Self { hash: header.hash(), header }
    }
}

/// The chain's state.
pub(crate) struct Node {
    pub(crate) store: Store,
    pub(crate) genesis: H256,
    pool: Mutex<Pool>,
    head: watch::Sender<Head>,
    wake: Notify,
    calls: Semaphore,
}

/// How blocks are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) heartbeat: Duration,
    pub(crate) block_min: Duration,
}

impl Node {
    /// On an opened directory that holds a chain.
    pub(crate) fn new(store: Store, best: Header) -> Result<Self, DevChainError> {
        let genesis = store.genesis()?.ok_or(StoreError::Corrupt("no genesis hash"))?;
        let known = store.header(&genesis)?.ok_or(StoreError::Corrupt("the genesis header is missing"))?;
        if known.hash() != genesis || store.hash_of(0)? != Some(genesis) {
            return Err(StoreError::Corrupt("the genesis header has another hash").into());
        }
        let (head, _) = watch::channel(Head::new(best));
        Ok(Self {
            store,
            genesis,
            pool: Mutex::default(),
            head,
            wake: Notify::new(),
            calls: Semaphore::new(CALLS_MAX),
        })
    }

    /// The best block, which is final.
    pub(crate) fn head(&self) -> Head {
        self.head.borrow().clone()
    }

    /// Follows the best block.
    pub(crate) fn heads(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    /// A block's header, by hash; the best one's for none.
    pub(crate) fn header(&self, at: Option<H256>) -> Result<Option<Header>, RpcFault> {
        match at {
            None => Ok(Some(self.head().header)),
            Some(hash) => Ok(self.store.header(&hash)?.filter(|h| h.number <= self.head().header.number)),
        }
    }

    /// The state root of a block whose state is still there.
    pub(crate) fn state_root(&self, at: Option<H256>) -> Result<H256, RpcFault> {
        let header = self.header(at)?.ok_or_else(|| RpcFault::unknown_block("Client error: UnknownBlock"))?;
        if header.number + HISTORY <= self.head().header.number {
            return Err(RpcFault::unknown_block("Client error: UnknownBlock: State already discarded"));
        }
        Ok(header.state_root)
    }

    /// Calls a runtime function and decodes the result.
    pub(crate) fn runtime_call<R: Decode>(
        &self,
        at: Option<H256>,
        method: &'static str,
        data: &[u8],
    ) -> Result<R, RpcFault> {
        Ok(executor::call_as(&self.store, self.state_root(at)?, method, data)?)
    }

    /// The nonce an account should use next, with what waits in the pool.
    pub(crate) fn next_nonce(&self, account: &[u8; 32]) -> Result<u32, RpcFault> {
        let state: u32 = self.runtime_call(None, "AccountNonceApi_account_nonce", account)?;
        Ok(self.pool.lock().next_nonce(account, state))
    }

    /// Takes no further calls, and waits for those that are under way.
    pub(crate) async fn close(&self) {
        // Only fails when it is closed already.
        let places = self.calls.acquire_many(CALLS_MAX as u32).await;
        self.calls.close();
        drop(places);
    }

    /// The transactions that wait.
    pub(crate) fn pending(&self) -> Vec<Vec<u8>> {
        self.pool.lock().pending()
    }

    /// Takes a transaction, encoded with its length; gives its hash. Blocks the thread.
    pub(crate) fn submit(&self, bytes: &[u8]) -> Result<H256, RpcFault> {
        self.submit_with(bytes, None)
    }

    /// As [`Self::submit`], and tells what becomes of it.
    pub(crate) fn submit_watched(&self, bytes: &[u8]) -> Result<mpsc::Receiver<Value>, RpcFault> {
        let (sender, receiver) = mpsc::channel(STATUSES_MAX);
        self.submit_with(bytes, Some(sender))?;
        Ok(receiver)
    }

    fn submit_with(&self, bytes: &[u8], watcher: Option<mpsc::Sender<Value>>) -> Result<H256, RpcFault> {
        if bytes.len() > TX_BYTES_MAX {
            return Err(RpcFault::new(1002, "Extrinsic is too long"));
        }
        let malformed = |error: codec::Error| {
            RpcFault::new(1001, "Extrinsic has invalid format").with_data(error.to_string())
        };
        let extrinsic = UncheckedExtrinsic::decode_all(&mut &bytes[..]).map_err(malformed)?.encode();
        let hash = H256(sp_io::hashing::blake2_256(&extrinsic));
        let head = self.head();
        let data = (TransactionSource::External, RawBytes(&extrinsic), head.hash).encode();
        let validity: TransactionValidity = executor::call_as(
            &self.store,
            head.header.state_root,
            "TaggedTransactionQueue_validate_transaction",
            &data,
        )?;
        let valid = validity.map_err(|error| invalid(&error))?;
        let taken = self.pool.lock().insert(hash, extrinsic, valid, head.header.number, watcher);
        taken.map_err(rejected)?;
        self.wake.notify_one();
        Ok(hash)
    }
}

/// Bytes that are encoded already.
struct RawBytes<'a>(&'a [u8]);

impl Encode for RawBytes<'_> {
    fn encode_to<O: codec::Output + ?Sized>(&self, dest: &mut O) {
        dest.write(self.0);
    }
}

fn invalid(error: &TransactionValidityError) -> RpcFault {
    let code = match error {
        TransactionValidityError::Invalid(_) => 1010,
        TransactionValidityError::Unknown(_) => 1011,
    };
    let message = if code == 1010 { "Invalid Transaction" } else { "Unknown Transaction Validity" };
    RpcFault::new(code, message).with_data(executor::reason(error))
}

fn rejected(why: Rejected) -> RpcFault {
    match why {
        Rejected::Known => RpcFault::new(1013, "Transaction is already imported"),
        Rejected::Underpriced => RpcFault::new(1014, "Priority is too low")
            .with_data("another transaction with this nonce is in the pool and pays as much"),
        Rejected::Full => {
            RpcFault::new(1016, "Immediately Dropped").with_data("the transaction pool is full")
        }
    }
}

/// Runs `work` on a blocking thread, while the chain lives and when one of its few places is free.
pub(crate) async fn blocking<R: Send + 'static>(
    node: &Weak<Node>,
    work: impl FnOnce(&Node) -> Result<R, RpcFault> + Send + 'static,
) -> Result<R, RpcFault> {
    let node = node.upgrade().ok_or_else(RpcFault::stopped)?;
    let place = node.calls.acquire().await.map_err(|_| RpcFault::stopped())?;
    let worker = Arc::clone(&node);
    let outcome = tokio::task::spawn_blocking(move || work(&worker)).await;
    drop(place);
    outcome.map_err(|error| RpcFault::new(-32603, "Internal error").with_data(error.to_string()))?
}

/// The task that makes blocks. It ends when `stop` changes or its sender is gone.
pub(crate) fn spawn_author(node: Arc<Node>, pace: Pace, stop: watch::Receiver<()>) -> JoinHandle<()> {
    tokio::spawn(author(node, pace, stop))
}

async fn author(node: Arc<Node>, pace: Pace, mut stop: watch::Receiver<()>) {
    let mut last = Instant::now();
    loop {
        let heartbeat = last + pace.heartbeat;
        let due = tokio::select! {
            _ = stop.changed() => break,
            () = tokio::time::sleep_until(heartbeat.into()) => true,
            () = node.wake.notified() => {
                let at = (Instant::now() + BATCH_WINDOW).max(last + pace.block_min);
                tokio::select! {
                    _ = stop.changed() => break,
                    () = tokio::time::sleep_until(at.into()) => {}
                }
                // The last block may have taken what this was about.
                node.pool.lock().has_ready()
            }
        };
        if !due {
            continue;
        }
        let worker = Arc::clone(&node);
        match tokio::task::spawn_blocking(move || worker.make_block()).await {
            Ok(Ok(())) => last = Instant::now(),
            Ok(Err(error)) => {
                tracing::error!(%error, source = ?std::error::Error::source(&error), "no block was made");
                last = Instant::now();
                tokio::time::sleep(RETRY_AFTER.min(pace.heartbeat)).await;
            }
            Err(error) => {
                tracing::error!(%error, "the block maker panicked; the development chain stops");
                break;
            }
        }
        if node.pool.lock().has_ready() {
            node.wake.notify_one();
        }
    }
}

impl Node {
    /// Makes a block of what is ready, writes it, and shows it. Blocks the thread.
    fn make_block(&self) -> Result<(), DevChainError> {
        let parent = self.head();
        let ready = self.pool.lock().ready(BLOCK_TXS_MAX);
        let (record, outcomes) = self.build(&parent, ready)?;
        let head = Head::new(record.header.clone());
        self.store.commit(record)?;
        tracing::debug!(number = head.header.number, transactions = outcomes.len(), "block");
        self.head.send_replace(head.clone());
        self.pool.lock().on_block(head.header.number, head.hash, &outcomes);
        Ok(())
    }

    fn build(
        &self,
        parent: &Head,
        ready: Vec<(H256, Vec<u8>)>,
    ) -> Result<(crate::store::BlockRecord, Vec<(H256, Applied)>), ExecutionError> {
        let started = Instant::now();
        let now_ms = unix_ms().max(self.timestamp(parent)?);
        let mut block = BlockRun::start(&self.store, &parent.header, now_ms)?;
        let mut outcomes = Vec::with_capacity(ready.len());
        for (hash, extrinsic) in ready {
            if started.elapsed() > BLOCK_TIME_MAX {
                break;
            }
            let mut applied = block.apply(&extrinsic)?;
            if applied == Applied::Full && block.len() == 1 {
                applied = Applied::Invalid("it does not fit into an empty block".to_owned());
            }
            outcomes.push((hash, applied));
        }
        Ok((block.finish()?, outcomes))
    }

    /// The block's own time, so that no clock that was set back stops the chain.
    fn timestamp(&self, head: &Head) -> Result<u64, ExecutionError> {
        use sp_state_machine::Backend as _;
        let key = pallet_timestamp::Now::<Runtime>::hashed_key();
        let bytes = executor::state(&self.store, head.header.state_root).storage(&key);
        let bytes = bytes.map_err(|error| ExecutionError::Refused(error.to_string()))?;
        Ok(bytes.and_then(|b| u64::decode(&mut &b[..]).ok()).unwrap_or(0))
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
