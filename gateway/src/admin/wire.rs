//! What the admin API says: plain JSON, stable names, sizes in bytes, times in Unix seconds.

use gw_types::Level;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `{"error": …}` with an HTTP status of 400 or above.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refusal {
    pub error: String,
}

/// GET /v1/status
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    /// True while any part behind the gateway is a development stand-in.
    pub simulated: Vec<String>,
    /// Empty when all is well; else sentences, most urgent first.
    pub alarms: Vec<String>,
    pub watermarks: Marks,
    /// Queues of events, by target.
    #[serde(default)]
    pub events: Vec<EventLine>,
    pub users: u64,
    pub objects: u64,
    pub object_bytes: u64,
    pub buckets: Vec<BucketLine>,
    pub segments: Segments,
    pub staging: Staging,
    #[serde(default)]
    pub disk_cache: DiskCacheLine,
    pub dispersal: DispersalLine,
    pub compaction: CompactionLine,
    pub chain: ChainLine,
    #[serde(default)]
    pub locks: LocksLine,
    pub key: KeyLine,
}

/// What must stay, and who prolongs the territory for it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LocksLine {
    /// The latest end of a retention, rounded up to a midnight (ISO 8601).
    pub until: Option<String>,
    /// Versions under a legal hold.
    pub held: u64,
    /// When the gateway renews the territory: `never`, `locks` or `always`.
    pub renew: String,
}

/// A target of events: what waits for it and what became of the rest.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EventLine {
    pub target: String,
    pub pending: u64,
    pub delivered: u64,
    pub dead: u64,
    pub dropped: u64,
    /// Tellings that failed since the start.
    pub failures: u64,
    pub last_error: Option<String>,
}

impl EventLine {
    /// A sentence, where somebody should look.
    pub fn alarm(&self) -> Option<String> {
        let error = self.last_error.as_ref()?;
        Some(format!("{} events wait for {}: {error}", self.pending, self.target))
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Marks {
    pub appended: u64,
    pub staged: u64,
    pub dispersed: u64,
    pub finalized: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BucketLine {
    pub name: String,
    pub owner: String,
    pub objects: u64,
    pub bytes: u64,
    pub bytes_max: Option<u64>,
    pub objects_max: Option<u64>,
}

/// Segments by state, and how full they are.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Segments {
    pub open: u64,
    pub sealed: u64,
    pub dispersed: u64,
    pub finalized: u64,
    /// Sealed bytes placed in segments.
    pub used_bytes: u64,
    /// Of them, bytes that something points at.
    pub live_bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Staging {
    pub used_bytes: u64,
    pub max_bytes: u64,
    pub cache_bytes: u64,
    /// Sealed bytes fetched from miners, and asked for by readers, since the start.
    pub fetched_bytes: u64,
    pub asked_bytes: u64,
}

/// Sealed frames from miners, kept on the disk.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct DiskCacheLine {
    pub bytes: u64,
    /// 0: there is none.
    pub max_bytes: u64,
    /// Reads that it served, and that it could not serve, since the start.
    pub hits: u64,
    pub misses: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DispersalLine {
    /// What it is doing now, one line for each deal under way.
    pub deals: Vec<DealLine>,
    pub deals_active: u64,
    pub miners_healthy: u64,
    pub miners_known: u64,
    /// Why nothing moves, when nothing does.
    pub waiting_for: Option<String>,
}

/// How much of what is paid for is dead, and what is done about it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CompactionLine {
    /// `idle`, `looking`, `moving`, `dispersing` or `collecting`.
    pub phase: String,
    /// Deals in hand, and segments of them that are still to be moved.
    pub victims: u64,
    pub segments_left: u64,
    /// Segments in Active deals, those of the log not counted; bytes in them that something refers to,
    /// and bytes that are deleted or were never filled.
    pub segments: u64,
    pub live_bytes: u64,
    pub dead_bytes: u64,
    /// Segments in deals with the log, which are never given back.
    pub log_segments: u64,
    /// What it has done since the start.
    pub done: Compacted,
    /// Room in the territory; null while there is no active one.
    pub room: Option<RoomLine>,
}

/// Bytes of the territory, 96 MiB a segment, unless said otherwise.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct RoomLine {
    pub free_bytes: u64,
    /// Of them, kept for deleting and compacting.
    pub reserve_bytes: u64,
    /// Sealed bytes that bodies may still take.
    pub bodies_bytes: u64,
    /// New bodies are refused.
    pub full: bool,
}

/// POST /v1/compact: what a run gave.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Compacted {
    /// Deals that are gone from the chain.
    pub deals: u64,
    /// Bytes of the territory that they gave back, and that new homes took.
    pub freed_bytes: u64,
    pub taken_bytes: u64,
    /// Sealed bytes that were copied.
    pub moved_bytes: u64,
    /// Why it did not do more, when something was in its way.
    pub hindrance: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DealLine {
    pub fid: String,
    pub segments: u64,
    pub state: String,
    /// Columns held by their miner, of 12.
    pub columns_held: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ChainLine {
    pub account: String,
    pub block: u32,
    /// Planck, as a decimal string: it does not fit a JSON number.
    pub balance: String,
    pub territory: Option<TerritoryLine>,
    /// Why the chain did not answer, when it did not.
    pub error: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TerritoryLine {
    pub name: String,
    pub state: String,
    pub total_bytes: u64,
    pub used_bytes: u64,
    pub locked_bytes: u64,
    pub remaining_bytes: u64,
    pub deadline_block: u32,
    /// Days until it freezes, by the chain's block time.
    pub days_left: u32,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct KeyLine {
    pub kind: String,
    pub simulated: bool,
    pub fingerprint: String,
}

/// POST /v1/flush
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Flush {
    pub level: Level,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Flushed {
    /// Newest commit that is covered.
    pub lsn: u64,
}

/// POST /v1/placement
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlacementQuery {
    pub bucket: String,
    pub key: String,
    /// First and last byte, inclusive.
    pub range: Option<(u64, u64)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlacementAnswer {
    pub size: u64,
    pub etag: String,
    pub ranges: Vec<PlacedRange>,
    /// A caution for data-lake schedulers.
    pub note: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlacedRange {
    pub first: u64,
    pub last: u64,
    pub segment: u64,
    pub state: String,
    /// Whether the segment's file is on the gateway's own disk.
    pub local: bool,
    pub fid: Option<String>,
    /// The data fragment that holds these bytes, sealed, and where in it (inclusive).
    pub fragment: usize,
    pub fragment_first: u32,
    pub fragment_last: u32,
    pub fragments: Vec<PlacedFragment>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlacedFragment {
    pub index: usize,
    pub data: bool,
    pub miner: String,
    pub endpoint: String,
}

/// POST /v1/territories
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "act")]
pub enum TerritoryAct {
    Mint { name: String, gib: u32, days: u32 },
    Expand { name: String, gib: u32 },
    Renew { name: String, days: u32 },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Landed {
    pub block: u32,
    pub block_hash: String,
    /// Planck.
    pub fee: String,
}

/// POST /v1/kms
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KmsAdd {
    pub name: String,
}

/// GET /v1/kms
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KmsLine {
    pub name: String,
    pub created: i64,
}

/// POST /v1/users
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UserAdd {
    pub name: String,
    pub admin: bool,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct UserAdded {
    pub access_key: String,
    pub secret_key: String,
}

/// GET /v1/users
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UserLine {
    pub name: String,
    pub admin: bool,
    pub created: i64,
    pub access_keys: Vec<String>,
    /// What all its buckets hold, and may hold.
    pub objects: u64,
    pub bytes: u64,
    pub bytes_max: Option<u64>,
    pub objects_max: Option<u64>,
    /// Of each of its keys. Null: as configured; 0: no limit.
    pub requests_per_second: Option<u64>,
    pub bytes_per_second: Option<u64>,
}

/// POST /v1/users/NAME/quota: `None` leaves a limit as it is; `Some(None)` lifts a quota, and sets a
/// rate back to what is configured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct UserSet {
    #[serde(default, skip_serializing_if = "Option::is_none", with = "double")]
    pub bytes_max: Option<Option<u64>>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "double")]
    pub objects_max: Option<Option<u64>>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "double")]
    pub requests_per_second: Option<Option<u64>>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "double")]
    pub bytes_per_second: Option<Option<u64>>,
}

/// POST /v1/iam: an act of the IAM API in an account, with the API's parameters. The answer is the
/// API's, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IamAct {
    pub account: String,
    pub action: String,
    pub params: Vec<(String, String)>,
}

/// POST /v1/buckets/NAME/quota: `None` leaves a limit as it is, `Some(None)` lifts it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QuotaSet {
    #[serde(default, skip_serializing_if = "Option::is_none", with = "double")]
    pub bytes_max: Option<Option<u64>>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "double")]
    pub objects_max: Option<Option<u64>>,
}

/// GET /v1/buckets/NAME/inventories
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InventoryLine {
    pub id: String,
    pub enabled: bool,
    /// `day` or `week`.
    pub every: String,
    /// The bucket its lists go to, and the beginning of their keys.
    pub target: String,
    pub prefix: String,
    /// When the newest list was begun, and the one that is being made (ISO 8601).
    pub last: Option<String>,
    pub running: Option<String>,
}

/// POST /v1/buckets/NAME/inventories/ID: a list was made
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InventoryMade {
    pub target: String,
    /// Key of its manifest there.
    pub manifest: String,
    pub lines: u64,
}

/// POST /v1/buckets/NAME/clear: what one step took away
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Cleared {
    pub objects: u64,
    pub versions: u64,
    pub markers: u64,
    /// Files, links and the like that S3 does not list.
    pub unlisted: u64,
    /// Nothing was left.
    pub done: bool,
}

/// POST /v1/buckets/NAME/locked: where to go on, from the answer before
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LockedAsk {
    pub key: Option<String>,
    pub version: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LockedLine {
    /// Versions under retention or legal hold, in the part that was looked at.
    pub locked: u64,
    /// Null: that was all.
    pub next: Option<LockedAsk>,
}

/// POST /v1/cache/drop
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Dropped {
    pub cache_bytes: u64,
    #[serde(default)]
    pub disk_cache_bytes: u64,
    pub segments_evicted: u64,
    /// Segments that stay because they are not finalized yet.
    pub segments_kept: u64,
}

/// POST /v1/mounts, on the socket only
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MountAsk {
    /// An absolute path.
    pub at: PathBuf,
    pub bucket: Option<String>,
    /// As in fstab.
    pub options: String,
}

/// POST /v1/mounts/end, on the socket only
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnmountAsk {
    pub at: PathBuf,
}

/// GET /v1/mounts
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MountLine {
    pub at: PathBuf,
    /// `None`: all of them.
    pub bucket: Option<String>,
    /// Whose rights it has.
    pub user: String,
    /// Handles open through it.
    pub open: u64,
    /// Requests of the kernel answered.
    pub requests: u64,
}

/// `null` and absent are different: serde's usual way to tell them apart.
mod double {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Option<u64>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().and_then(Option::as_ref).serialize(serializer)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<u64>>, D::Error> {
        Option::<u64>::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::QuotaSet;

    #[test]
    fn lifting_a_limit_is_not_leaving_it() {
        let lift: QuotaSet = serde_json::from_str(r#"{"bytes_max":null}"#).unwrap();
        assert_eq!((lift.bytes_max, lift.objects_max), (Some(None), None));
        assert_eq!(serde_json::to_string(&lift).unwrap(), r#"{"bytes_max":null}"#);
    }
}
