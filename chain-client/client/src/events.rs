//! What finalized blocks say, as a stream.
//!
//! The subscription stands before [`stream`] returns, so nothing after that is missed. The node may
//! announce only some finalized heads; the blocks in between are read too, in order. The events of a
//! block come before the block itself: whoever has seen `Block(n)` has seen everything up to n.
//!
//! The stream reads one block at a time, when it is polled; at most one block of events waits in it.
//! A reader so slow that 1024 announcements pile up loses the subscription. The stream ends when the
//! connection does, or at the first block that cannot be read; subscribe again, and look at what
//! matters, because the time in between is not made up for.

use std::collections::VecDeque;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use gw_types::ports::{ChainEvent, ChainHead};
use gw_types::{AccountId, PortResult};
use subxt::SubstrateConfig;
use subxt::config::Header;
use subxt::config::substrate::H256;
use subxt::config::substrate::SubstrateHeader;
use subxt::events::Event;
use subxt_rpcs::client::RpcSubscription;

use crate::fault::Fault;
use crate::link::{Connection, Link};
use crate::snapshot::{block_number, bounded};
use crate::wire::{event, fid, hash};

struct Reader {
    connection: Connection,
    heads: RpcSubscription<SubstrateHeader<H256>>,
    request_timeout: Duration,
    block_seconds: u32,
    /// The first block not yet read, and the newest announced one.
    next: u64,
    announced: u64,
    ready: VecDeque<ChainEvent>,
}

/// Events from now on.
pub(crate) async fn stream(link: &Link) -> PortResult<BoxStream<'static, ChainEvent>> {
    let mut again = true;
    let reader = loop {
        let connection = link.connection().await?;
        match Reader::open(link, &connection).await {
            Ok(reader) => break reader,
            Err(fault) if fault.connection_lost && again => {
                link.lost(&connection).await;
                again = false;
            }
            Err(fault) => return Err(fault.error),
        }
    };
    let events = stream::unfold(reader, |mut reader| async move {
        match reader.step().await {
            Ok(event) => event.map(|event| (event, reader)),
            Err(fault) => {
                tracing::debug!(error = %fault.error, "the stream of chain events ends");
                None
            }
        }
    });
    Ok(events.boxed())
}

impl Reader {
    async fn open(link: &Link, connection: &Connection) -> Result<Self, Fault> {
        const WHAT: &str = "subscribing to finalized heads";
        let limit = link.config().request_timeout;
        let methods = &connection.methods;
        let heads = bounded(limit, WHAT, methods.chain_subscribe_finalized_heads()).await?;
        let heads = heads.map_err(Fault::from_rpc(WHAT))?;
        let now = bounded(limit, WHAT, connection.client.at_current_block()).await?;
        let now = now.map_err(|error| Fault::from_block(&error))?.block_number();
        Ok(Self {
            connection: connection.clone(),
            heads,
            request_timeout: limit,
            block_seconds: link.config().block_seconds,
            next: now + 1,
            announced: now,
            ready: VecDeque::new(),
        })
    }

    async fn step(&mut self) -> Result<Option<ChainEvent>, Fault> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if self.next <= self.announced {
                self.read_block(self.next).await?;
                self.next += 1;
                continue;
            }
            // Not bounded: a chain may rest. The connection's pings end it when the node is gone.
            let Some(head) = self.heads.next().await else {
                return Ok(None);
            };
            let head = head.map_err(Fault::from_rpc("waiting for finalized heads"))?;
            self.announced = self.announced.max(Header::number(&head));
        }
    }

    async fn read_block(&mut self, number: u64) -> Result<(), Fault> {
        const WHAT: &str = "reading the events of a block";
        let at = bounded(self.request_timeout, WHAT, self.connection.client.at_block(number)).await?;
        let at = at.map_err(|error| Fault::from_block(&error))?;
        let events = bounded(self.request_timeout, WHAT, at.events().fetch()).await?;
        let events = events.map_err(|error| Fault::from_events(&error))?;
        for event in events.iter() {
            let event = event.map_err(|error| Fault::from_events(&error))?;
            match translate(&event) {
                Ok(event) => self.ready.extend(event),
                // The chain takes any 64 bytes for a fid; one that is not hex cannot be ours.
                Err(fault) => tracing::debug!(error = %fault.error, "an event that is not ours"),
            }
        }
        let head = ChainHead { block: block_number(number)?, block_seconds: self.block_seconds };
        self.ready.push_back(ChainEvent::Block(head));
        Ok(())
    }
}

fn translate(event: &Event<'_, SubstrateConfig>) -> Result<Option<ChainEvent>, Fault> {
    if event.pallet_name() != "FileBank" {
        return Ok(None);
    }
    Ok(Some(match event.event_name() {
        "TransferReport" => {
            let fields: event::TransferReport = fields(event)?;
            ChainEvent::Reported { miner: AccountId(fields.acc), fid: fid(&fields.deal_hash)? }
        }
        "StorageCompleted" => ChainEvent::Completed { fid: fid(&fields::<event::OfFile>(event)?.file_hash)? },
        "DeleteFile" => ChainEvent::Deleted { fid: fid(&fields::<event::OfFile>(event)?.file_hash)? },
        "RecoveryCompleted" => {
            ChainEvent::Repaired { fragment: hash(&fields::<event::RecoveryCompleted>(event)?.order_id)? }
        }
        _ => return Ok(None),
    }))
}

fn fields<E: subxt::ext::scale_decode::DecodeAsFields>(
    event: &Event<'_, SubstrateConfig>,
) -> Result<E, Fault> {
    event.decode_fields_unchecked_as().map_err(|error| Fault::from_events(&error))
}
