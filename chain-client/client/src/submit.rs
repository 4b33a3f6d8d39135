//! From a call to a receipt: sign, hand over, watch, read the verdict.
//!
//! ```text
//!  snapshot -> turn -> nonce, sign -> hand over -> accepted -> ... -> finalized -> events
//!  `------- failures here are definite -------´   `------- failures here are unknown ------´
//! ```
//!
//! The turn ([`crate::nonce`]) is held only until the node has accepted or refused the extrinsic.
//! When the node says that the number does not fit, the chain is asked and the call is signed anew,
//! a bounded number of times. After acceptance the wait is bounded by `finality_timeout`; whatever
//! goes wrong there leaves the outcome unknown, because the node still holds the extrinsic, until it
//! is final or its mortality ends. Once it is in a finalized block, its events decide: success, or a
//! definite refusal.
//!
//! A call whose fate is unknown is not executed twice by being made again: see [`crate::nonce`]. As
//! long as the first extrinsic can still come into a block, the repetition carries its number. If
//! the pool still holds the first, or its number was spent meanwhile, the repetition is not sent and
//! the answer is Unknown once more, because the first may have succeeded: look again.

use std::sync::atomic::{AtomicU64, Ordering};

use gw_types::ports::Receipt;
use gw_types::{Hash32, PortError, PortErrorKind, PortResult};
use sp_crypto_hashing::blake2_256;
use subxt::client::OnlineClientAtBlockImpl;
use subxt::config::substrate::H256;
use subxt::config::{DefaultExtrinsicParamsBuilder, Hasher};
use subxt::dynamic::Value;
use subxt::events::{Events, Phase};
use subxt::ext::scale_decode::DecodeAsFields;
use subxt::ext::scale_encode::EncodeAsFields;
use subxt::ext::scale_value::ValueDef;
use subxt::transactions::{SubmittableTransaction, TransactionProgress, TransactionStatus};
use subxt::utils::AccountId32;
use subxt::{ArcMetadata, SubstrateConfig};
use subxt_rpcs::Error as RpcsError;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use crate::calls::{self, Call};
use crate::fault::{Fault, Submission, assert_definite, dispatch_error, unknown_fate};
use crate::link::{Connection, Link};
use crate::nonce::{CallHash, NonceLane, Pending, Turn};
use crate::signer::Signer;
use crate::snapshot::{Snapshot, block_number, bounded};
use crate::wire::event;

/// How often a call is signed anew because its number did not fit.
const NONCE_ATTEMPTS: u32 = 8;
/// How far a number may be ahead of the finalized state. The same for all lives of an account: a fence
/// of this life passes the calls of the one before.
const NONCE_WINDOW: u64 = 16;
/// Attempts at a fence: more than one only while somebody else's calls take its numbers.
const FENCE_ROUNDS: u32 = 4;
/// How often the result of a finalized call is asked for.
const VERDICT_ATTEMPTS: u32 = 3;
const METHOD_NOT_FOUND: i32 = -32601;

type Progress = TransactionProgress<SubstrateConfig, OnlineClientAtBlockImpl<SubstrateConfig>>;
type Signed = SubmittableTransaction<SubstrateConfig, OnlineClientAtBlockImpl<SubstrateConfig>>;

/// What sends the calls of one account.
#[derive(Debug)]
pub(crate) struct Sender {
    signer: Signer,
    lane: NonceLane,
    in_flight: Semaphore,
    /// A number that the finalized state has reached.
    finalized: AtomicU64,
}

/// A call that is final and succeeded.
pub(crate) struct Landed {
    pub(crate) receipt: Receipt,
    events: Events<SubstrateConfig>,
    index: u32,
}

impl Landed {
    /// The first event of this call with that name.
    pub(crate) fn find<E: DecodeAsFields>(&self, pallet: &str, name: &str) -> Result<Option<E>, Fault> {
        find(&self.events, self.index, pallet, name)
    }
}

impl Sender {
    pub(crate) fn new(signer: Signer, calls_in_flight_max: usize) -> Self {
        let in_flight = Semaphore::new(calls_in_flight_max.clamp(1, NONCE_WINDOW as usize));
        Self { signer, lane: NonceLane::default(), in_flight, finalized: AtomicU64::new(0) }
    }

    pub(crate) fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Sends a call and waits until it is final.
    pub(crate) async fn send<A>(&self, link: &Link, call: &Call<A>) -> PortResult<Landed>
    where
        A: EncodeAsFields + Send + Sync,
    {
        let name = format!("{}.{}", call.pallet_name(), call.call_name());
        let _permit = self.in_flight.acquire().await.expect("this semaphore is never closed");
        let (progress, pending) = self.hand_over(link, call, &name).await?;
        let hash = progress.extrinsic_hash();
        let block = watch(progress, link, &name).await?;
        pending.landed();
        verdict(link, &name, block, hash).await
    }

    async fn hand_over<A>(
        &self,
        link: &Link,
        call: &Call<A>,
        name: &str,
    ) -> PortResult<(Progress, Pending<'_>)>
    where
        A: EncodeAsFields + Send + Sync,
    {
        let snapshot = link.snapshot().await.map_err(assert_definite)?;
        let misshapen = |error| {
            PortError::definite(PortErrorKind::Refused, format!("{name}: does not fit this chain: {error}"))
        };
        let call_hash = blake2_256(&snapshot.at.transactions().call_data(call).map_err(misshapen)?);
        let lapses = snapshot.at.block_number() + link.config().mortality_blocks;
        let turn = self.lane.turn().await;
        let doubt = turn.doubt(call_hash, snapshot.at.block_number());
        if let Some(nonce) = doubt {
            self.check_doubt(&snapshot, &turn, call_hash, nonce, name).await?;
        }
        let mut at_least = 0;
        let mut misfit = None;
        for _ in 0..NONCE_ATTEMPTS {
            let mut nonce = match doubt.or(turn.known()) {
                Some(nonce) => nonce,
                None => turn.learn(self.ask_nonce(&snapshot).await.map_err(|fault| fault.error)?, at_least),
            };
            if misfit == Some(nonce) {
                // The chain repeats itself: it answers from finalized blocks, and newer ones are ahead.
                nonce = turn.learn(nonce, nonce + 1);
            }
            self.check_window(&snapshot, nonce, name).await?;
            let signed =
                self.sign(&snapshot, call, nonce, link.config().mortality_blocks).map_err(misshapen)?;
            turn.sending(call_hash, nonce, lapses);
            match offer(&signed, &snapshot, name).await {
                Ok(progress) => return Ok((progress, turn.accepted(call_hash, nonce))),
                Err(Submission::WrongNonce | Submission::NonceTaken) if doubt.is_some() => {
                    return Err(unknown_fate(name, "it was made again while the first is on its way"));
                }
                Err(Submission::WrongNonce) => {
                    tracing::debug!(call = name, nonce, "the nonce does not fit, asking the chain");
                    turn.settled(call_hash, nonce);
                    misfit = Some(nonce);
                }
                Err(Submission::NonceTaken) => {
                    turn.settled(call_hash, nonce);
                    at_least = nonce + 1;
                }
                Err(Submission::Refused(error)) => {
                    // The refusal is of this extrinsic; the one in doubt stays in doubt.
                    if doubt.is_none() {
                        turn.refused(call_hash, nonce);
                    }
                    return Err(error);
                }
                Err(Submission::Unknown(error)) => {
                    link.lost(&snapshot.connection).await;
                    return Err(error);
                }
            }
        }
        let message = format!(
            "{name}: no nonce fits after {NONCE_ATTEMPTS} attempts; another program uses this account"
        );
        Err(PortError::definite(PortErrorKind::Unavailable, message))
    }

    /// No number is handed out that is further ahead of the finalized state than the window:
    /// [`Sender::fence`] counts on it.
    async fn check_window(&self, snapshot: &Snapshot, nonce: u64, name: &str) -> PortResult<()> {
        if nonce < self.finalized.load(Ordering::Relaxed) + NONCE_WINDOW {
            return Ok(());
        }
        let finalized = self.finalized_nonce(snapshot).await.map_err(|fault| fault.error)?;
        if nonce < finalized + NONCE_WINDOW {
            return Ok(());
        }
        let message = format!("{name}: {} calls of this account wait to become final", nonce - finalized);
        Err(PortError::definite(PortErrorKind::Unavailable, message))
    }

    /// Until no call that was handed over before can be executed any more.
    ///
    /// A lost call has a number, and an account's numbers are executed in order and once. None that was
    /// ever handed out lies beyond the finalized number by more than the window. So once calls that do
    /// nothing have moved the finalized number by a whole window, every number of a lost call is spent:
    /// by that call, and then it is in a finalized block, or by another.
    pub(crate) async fn fence(&self, link: &Link) -> PortResult<()> {
        let snapshot = link.snapshot().await.map_err(assert_definite)?;
        let mut finalized = self.finalized_nonce(&snapshot).await.map_err(|fault| fault.error)?;
        let target = finalized + NONCE_WINDOW;
        let mut failure = None;
        for round in 0..FENCE_ROUNDS {
            let spends = (finalized..target).map(|number| async move {
                let call = calls::remark(&format!("fence {target} {number} {round}"));
                self.send(link, &call).await
            });
            let outcomes = futures::future::join_all(spends).await;
            failure = outcomes.into_iter().find_map(Result::err).or(failure);
            let snapshot = link.snapshot().await.map_err(assert_definite)?;
            finalized = self.finalized_nonce(&snapshot).await.map_err(|fault| fault.error)?;
            if finalized >= target {
                return Ok(());
            }
        }
        let message = format!("the account's number stands at {finalized} and must pass {target}");
        Err(failure.unwrap_or_else(|| PortError::definite(PortErrorKind::Unavailable, message)))
    }

    /// Before a call in doubt is made again under its number: that number must not be spent.
    async fn check_doubt(
        &self,
        snapshot: &Snapshot,
        turn: &Turn<'_>,
        call: CallHash,
        nonce: u64,
        name: &str,
    ) -> PortResult<()> {
        if self.finalized_nonce(snapshot).await.map_err(|fault| fault.error)? > nonce {
            // Whoever looks from now on sees what it did, so the next repetition is a new call.
            turn.settled(call, nonce);
            return Err(unknown_fate(
                name,
                "it was made again, and the first may have become final meanwhile",
            ));
        }
        Ok(())
    }

    /// The number that the pool expects next; where the node does not serve that question, the
    /// number in the finalized state.
    async fn ask_nonce(&self, snapshot: &Snapshot) -> Result<u64, Fault> {
        const WHAT: &str = "asking for the account's nonce";
        let account = AccountId32(self.signer.account().0);
        let asking = snapshot.connection.methods.system_account_next_index(&account);
        match bounded(snapshot.request_timeout, WHAT, asking).await? {
            Ok(nonce) => return Ok(nonce),
            Err(RpcsError::User(answer)) if answer.code == METHOD_NOT_FOUND => {}
            Err(error) => return Err(Fault::from_rpc(WHAT)(error)),
        }
        self.finalized_nonce(snapshot).await
    }

    async fn finalized_nonce(&self, snapshot: &Snapshot) -> Result<u64, Fault> {
        const WHAT: &str = "asking for the account's nonce";
        let account = AccountId32(self.signer.account().0);
        let transactions = snapshot.at.transactions();
        let nonce = bounded(snapshot.request_timeout, WHAT, transactions.account_nonce(&account)).await?;
        let nonce = nonce.map_err(|error| Fault::from_nonce(&error))?;
        self.finalized.fetch_max(nonce, Ordering::Relaxed);
        Ok(nonce)
    }

    fn sign<A>(
        &self,
        snapshot: &Snapshot,
        call: &Call<A>,
        nonce: u64,
        mortality_blocks: u64,
    ) -> Result<Signed, subxt::error::ExtrinsicError>
    where
        A: EncodeAsFields,
    {
        let params = DefaultExtrinsicParamsBuilder::<SubstrateConfig>::new()
            .mortal_from_unchecked(mortality_blocks, snapshot.at.block_number(), snapshot.at.block_hash())
            .nonce(nonce)
            .build();
        snapshot.at.transactions().create_signable_offline(call, params)?.sign(self.signer.pair())
    }
}

async fn offer(signed: &Signed, snapshot: &Snapshot, name: &str) -> Result<Progress, Submission> {
    match timeout(snapshot.request_timeout, signed.submit_and_watch()).await {
        Ok(Ok(progress)) => Ok(progress),
        Ok(Err(error)) => Err(Submission::of(name, &error)),
        Err(_) => Err(Submission::Unknown(unknown_fate(name, "it did not answer in time"))),
    }
}

/// Waits until the call is in a finalized block; gives that block.
async fn watch(mut progress: Progress, link: &Link, name: &str) -> PortResult<H256> {
    let limit = link.config().finality_timeout;
    let deadline = Instant::now() + limit;
    loop {
        let status = match timeout_at(deadline, progress.next()).await {
            Ok(Some(Ok(status))) => status,
            Ok(Some(Err(error))) => {
                return Err(unknown_fate(name, format_args!("the connection failed: {error}")));
            }
            Ok(None) => return Err(unknown_fate(name, "the connection ended")),
            Err(_) => {
                return Err(unknown_fate(
                    name,
                    format_args!("it was not final within {} s", limit.as_secs()),
                ));
            }
        };
        match status {
            TransactionStatus::InFinalizedBlock(block) => return Ok(block.block_hash()),
            TransactionStatus::Error { message }
            | TransactionStatus::Invalid { message }
            | TransactionStatus::Dropped { message } => {
                return Err(unknown_fate(name, format_args!("the pool gave it up: {message}")));
            }
            TransactionStatus::Validated
            | TransactionStatus::Broadcasted
            | TransactionStatus::NoLongerInBestBlock
            | TransactionStatus::InBestBlock(_) => {}
        }
    }
}

/// Reads what became of a finalized call. The block is final, so asking again is harmless; if no
/// answer comes, the outcome is unknown.
async fn verdict(link: &Link, name: &str, block: H256, extrinsic: H256) -> PortResult<Landed> {
    let mut failure = None;
    for _ in 0..VERDICT_ATTEMPTS {
        let connection = match link.connection().await {
            Ok(connection) => connection,
            Err(error) => {
                failure = Some(error);
                break;
            }
        };
        match find_call(link, &connection, block, extrinsic).await {
            Ok((landed, metadata)) => return judge(name, landed, &metadata),
            Err(fault) => {
                if fault.connection_lost {
                    link.lost(&connection).await;
                }
                failure = Some(fault.error);
            }
        }
    }
    let why = failure.map(|error| error.to_string()).unwrap_or_default();
    Err(unknown_fate(name, format_args!("it became final and its result could not be read: {why}")))
}

async fn find_call(
    link: &Link,
    connection: &Connection,
    block_hash: H256,
    extrinsic: H256,
) -> Result<(Landed, ArcMetadata), Fault> {
    const WHAT: &str = "reading the block of a call";
    let limit = link.config().request_timeout;
    let missing = || {
        PortError::definite(
            PortErrorKind::Unavailable,
            format!("{WHAT}: the node does not have {block_hash:?}"),
        )
    };
    let details = bounded(limit, WHAT, connection.methods.chain_get_block(Some(block_hash))).await?;
    let block = details.map_err(Fault::from_rpc(WHAT))?.ok_or_else(missing)?.block;
    let number = block.header.number;
    let at = bounded(limit, WHAT, connection.client.at_block_hash_and_number(block_hash, number)).await?;
    let at = at.map_err(|error| Fault::from_block(&error))?;
    let index = block.extrinsics.iter().position(|body| at.hasher().hash(&body.0) == extrinsic);
    let index = index.and_then(|index| u32::try_from(index).ok());
    let index = index.ok_or_else(|| {
        Fault::corrupt(format!("{WHAT}: it is not in block {number}, which the node named"))
    })?;
    let events =
        bounded(limit, WHAT, at.events().fetch()).await?.map_err(|error| Fault::from_events(&error))?;
    let fee = find::<event::TransactionFeePaid>(&events, index, "TransactionPayment", "TransactionFeePaid")?;
    let receipt = Receipt {
        block: block_number(number)?,
        block_hash: Hash32(block_hash.0),
        fee: fee.map_or(0, |fee| fee.actual_fee),
    };
    Ok((Landed { receipt, events, index }, at.metadata()))
}

/// Turns a dispatch error, plain or of the call inside a sudo, into the refusal that it is.
fn judge(name: &str, landed: Landed, metadata: &ArcMetadata) -> PortResult<Landed> {
    let unreadable =
        |fault: Fault| unknown_fate(name, format_args!("its result could not be read: {}", fault.error));
    if let Some(failed) =
        landed.find::<event::ExtrinsicFailed>("System", "ExtrinsicFailed").map_err(unreadable)?
    {
        return Err(dispatch_error(name, &failed.dispatch_error, metadata));
    }
    let sudo = landed.find::<event::Sudid>("Sudo", "Sudid").map_err(unreadable)?;
    if let Some(error) = sudo.as_ref().and_then(|sudo| error_inside(&sudo.sudo_result)) {
        return Err(dispatch_error(name, error, metadata));
    }
    Ok(landed)
}

/// The `Err(..)` of a `Result`.
fn error_inside(result: &Value) -> Option<&Value> {
    match &result.value {
        ValueDef::Variant(variant) if variant.name == "Err" => variant.values.values().next(),
        _ => None,
    }
}

fn find<E: DecodeAsFields>(
    events: &Events<SubstrateConfig>,
    index: u32,
    pallet: &str,
    name: &str,
) -> Result<Option<E>, Fault> {
    for event in events.iter() {
        let event = event.map_err(|error| Fault::from_events(&error))?;
        let ours = event.phase() == Phase::ApplyExtrinsic(index);
        if ours && event.pallet_name() == pallet && event.event_name() == name {
            let fields =
                event.decode_fields_unchecked_as::<E>().map_err(|error| Fault::from_events(&error))?;
            return Ok(Some(fields));
        }
    }
    Ok(None)
}
