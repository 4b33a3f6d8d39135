//! What dispersal stands on, and its limits.

use std::sync::Arc;
use std::time::Duration;

use gw_data::{Data, MapRows};
use gw_db::Db;
use gw_types::TerritoryName;
use gw_types::ports::{Chain, Clock, Keys, Miners, Striper};

/// Everything dispersal asks of others.
#[derive(Clone, Debug)]
pub struct DispersalPorts {
    /// The journal and its rows.
    pub db: Arc<Db>,
    /// Segments and their files.
    pub data: Arc<Data>,
    /// Whose rows hold maps: compaction must find every one.
    pub maps: Arc<dyn MapRows>,
    /// The chain, for the account that pays.
    pub chain: Arc<dyn Chain>,
    /// The miners' API.
    pub miners: Arc<dyn Miners>,
    /// The erasure code.
    pub striper: Arc<dyn Striper>,
    /// Seals log parts.
    pub keys: Arc<dyn Keys>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// Limits and patience.
#[derive(Clone, Debug)]
pub struct DispersalConfig {
    /// Where space comes from.
    pub territory: TerritoryName,
    /// A segment that is not full is sealed after this long, and the log is cut.
    pub seal_age: Duration,
    /// A waiter gives others this long to join before segments are sealed for it.
    pub linger: Duration,
    /// Segments of a deal of small data; few, so that a trickle is safe soon.
    pub deal_segments_max: usize,
    /// Segments of a deal of large bodies; many, so that fids per account stay under 10,000 (they
    /// stand in one vector on chain). At most 1000.
    pub bulk_deal_segments_max: usize,
    /// Fragments sent at once, over all deals; each is 8 MiB in memory.
    pub sends_max: usize,
    /// How often the chain is asked about a deal when no event says anything.
    pub poll: Duration,
    /// First pause after a failure that may pass; doubles up to `retry_max`.
    pub retry: Duration,
    /// Longest pause after a failure.
    pub retry_max: Duration,
    /// Blocks after which a declaration that an earlier life of the process has sent cannot land any
    /// more: its mortality (256 blocks in gw-chain) and some for the time before it was signed. Only
    /// a deal that was interrupted between sending and seeing waits so long. A chain whose pool lives
    /// in this process forgets it with the process: one block is enough there.
    pub lapse_blocks: u32,
    /// How often dead deals are collected, placements compared with the chain, and looked for something
    /// to compact.
    pub upkeep: Duration,
    /// Space of the territory that bodies may not take, so that deleting and compacting have some: at
    /// least two segments. `None`: two deals of large bodies, but at most an eighth of the territory.
    pub territory_reserve_bytes: Option<u64>,
    /// Free space of the territory below which compaction begins by itself; 0: never for that reason.
    /// `None`: twice the reserve.
    pub compact_room_bytes: Option<u64>,
    /// Share of dead bytes in Active deals above which compaction begins by itself, in percent; 100:
    /// never for that reason.
    pub compact_dead_percent: u8,
    /// Deals younger than this are not compacted for their share of dead bytes alone.
    pub compact_age: Duration,
}

impl DispersalConfig {
    /// The defaults of ARCHITECTURE.md for one territory.
    pub fn new(territory: TerritoryName) -> Self {
        Self {
            territory,
            seal_age: Duration::from_secs(3600),
            linger: Duration::from_secs(2),
            deal_segments_max: 8,
            bulk_deal_segments_max: 64,
            sends_max: 6,
            poll: Duration::from_secs(6),
            retry: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
            lapse_blocks: 320,
            upkeep: Duration::from_secs(60),
            territory_reserve_bytes: None,
            compact_room_bytes: None,
            compact_dead_percent: 50,
            compact_age: Duration::from_secs(3600),
        }
    }
}
