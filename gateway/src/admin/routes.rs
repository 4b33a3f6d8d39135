//! What the admin API answers, from the running gateway.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use gw_chain::{CESS_SS58_PREFIX, ss58_encode};
use gw_data::DataError;
use gw_events::RunningEvents;
use gw_s3::{Inventories, LostLines, S3Metrics};
use gw_store::{ByteRange, EventQueue, StoreError, StoreErrorKind};
use gw_types::ports::{Chain, ChainHead, Receipt, Territory};
use gw_types::{
    Authenticated, BucketName, Frontend, Level, ObjectKey, PortError, PortErrorKind, TerritoryName,
};
use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::buckets::bucket_line;
use super::server::{Answer, Routes};
use super::wire::{
    BucketLine, ChainLine, Compacted, CompactionLine, DealLine, DiskCacheLine, DispersalLine, Dropped,
    EventLine, Flush, Flushed, KeyLine, KmsAdd, KmsLine, Landed, LocksLine, Marks, MountAsk, MountLine,
    PlacedFragment, PlacedRange, PlacementAnswer, PlacementQuery, RoomLine, Segments, Staging, Status,
    TerritoryAct, TerritoryLine, UnmountAsk,
};
use crate::core::Core;
use crate::mounts::Mounts;
use crate::mounts::options::MountSpec;

const PLACEMENT_NOTE: &str =
    "miners hold sealed bytes: computing near them saves network only where a gateway or its cache runs too";

/// Steers the development network, where there is one.
#[async_trait]
pub trait DevControl: Send + Sync {
    /// `dev miner I …` with the act as JSON.
    async fn miner(&self, index: u16, act: &[u8]) -> crate::error::Result<()>;
}

/// The running gateway, as the admin API sees it.
pub struct Gateway {
    pub core: Arc<Core>,
    pub s3: Arc<S3Metrics>,
    pub events: Arc<RunningEvents>,
    pub inventories: Arc<Inventories>,
    /// Lines that the access log has lost, where there is one.
    pub access_lost: Option<LostLines>,
    /// Parts that are development stand-ins.
    pub simulated: Vec<String>,
    pub dev: Option<Arc<dyn DevControl>>,
    pub mounts: Arc<Mounts>,
}

/// An error of a verb, as it is answered.
pub(super) struct Refused(pub(super) StatusCode, pub(super) String);

pub(super) type Verb<T> = Result<T, Refused>;

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        let status = match error.kind() {
            StoreErrorKind::NoSuchBucket
            | StoreErrorKind::NoSuchKey
            | StoreErrorKind::NoSuchInventory
            | StoreErrorKind::NoSuchUser => StatusCode::NOT_FOUND,
            StoreErrorKind::UserExists
            | StoreErrorKind::Leased
            | StoreErrorKind::Locked
            | StoreErrorKind::BucketNotEmpty
            | StoreErrorKind::PreconditionFailed => StatusCode::CONFLICT,
            StoreErrorKind::AccessDenied => StatusCode::FORBIDDEN,
            StoreErrorKind::InvalidArgument | StoreErrorKind::InvalidRange => StatusCode::BAD_REQUEST,
            StoreErrorKind::Internal | StoreErrorKind::Corrupt => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, error.to_string())
    }
}

impl From<PortError> for Refused {
    fn from(error: PortError) -> Self {
        let status = match error.kind() {
            PortErrorKind::NotFound => StatusCode::NOT_FOUND,
            PortErrorKind::Refused | PortErrorKind::Full => StatusCode::CONFLICT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, error.to_string())
    }
}

impl From<DataError> for Refused {
    fn from(error: DataError) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

pub(super) fn bad(message: impl Into<String>) -> Refused {
    Refused(StatusCode::BAD_REQUEST, message.into())
}

#[async_trait]
impl Routes for Gateway {
    async fn open(&self, path: &str) -> Option<Answer> {
        match path {
            "/healthz" => Some(Answer::text(StatusCode::OK, "ok\n")),
            "/readyz" => Some(self.ready()),
            "/metrics" => Some(Answer::text(StatusCode::OK, self.metrics() + &self.quota_metrics().await)),
            _ => None,
        }
    }

    async fn admin(&self, method: Method, path: &[&str], body: Bytes) -> Answer {
        let answer = match (method, path) {
            (Method::GET, ["v1", "status"]) => json(self.status().await),
            (Method::POST, ["v1", "flush"]) => json(self.flush(&body).await),
            (Method::POST, ["v1", "compact"]) => json(self.compact().await),
            (Method::POST, ["v1", "placement"]) => json(self.placement(&body).await),
            (Method::GET, ["v1", "territories"]) => json(self.territories().await),
            (Method::POST, ["v1", "territories"]) => json(self.territory_act(&body).await),
            (Method::GET, ["v1", "users"]) => json(self.users().await),
            (Method::POST, ["v1", "users"]) => json(self.user_add(&body).await),
            (Method::DELETE, ["v1", "users", name]) => json(self.user_remove(name).await),
            (Method::POST, ["v1", "users", name, "quota"]) => json(self.user_set(name, &body).await),
            (Method::POST, ["v1", "iam"]) => json(self.iam(&body).await),
            (Method::GET, ["v1", "kms"]) => json(self.kms_keys()),
            (Method::POST, ["v1", "kms"]) => json(self.kms_add(&body).await),
            (Method::GET, ["v1", "buckets"]) => json(self.buckets().await),
            (Method::POST, ["v1", "buckets", name, "quota"]) => json(self.quota(name, &body).await),
            (Method::DELETE, ["v1", "buckets", name]) => json(self.bucket_delete(name).await),
            (Method::POST, ["v1", "buckets", name, "clear"]) => json(self.bucket_clear(name).await),
            (Method::POST, ["v1", "buckets", name, "locked"]) => json(self.bucket_locked(name, &body)),
            (Method::GET, ["v1", "buckets", name, "inventories"]) => json(self.inventory_list(name).await),
            (Method::POST, ["v1", "buckets", name, "inventories", id]) => {
                json(self.inventory_run(name, id).await)
            }
            (Method::GET, ["v1", "mounts"]) => json(Ok(self.mounts.lines())),
            (Method::POST, ["v1", "mounts"]) => json(self.mount(&body).await),
            (Method::POST, ["v1", "mounts", "end"]) => json(self.unmount(&body).await),
            (Method::GET, ["v1", "volumes"]) => json(self.volumes().await),
            (Method::POST, ["v1", "volumes"]) => json(self.volume_act(&body).await),
            (Method::GET, ["v1", "exports"]) => json(self.exports().await),
            (Method::POST, ["v1", "cache", "drop"]) => json(self.drop_cache().await),
            (Method::POST, ["v1", "dev", "miners", index]) => json(self.dev_miner(index, &body).await),
            _ => Err(Refused(StatusCode::NOT_FOUND, "there is no such path in the admin API".to_owned())),
        };
        answer.unwrap_or_else(|Refused(status, error)| Answer::refusal(status, error))
    }
}

fn json<T: Serialize>(outcome: Verb<T>) -> Verb<Answer> {
    outcome.map(|value| Answer::json(&value))
}

pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Verb<T> {
    serde_json::from_slice(body)
        .map_err(|error| bad(format!("the request is not what was expected: {error}")))
}

pub(super) fn admin() -> Authenticated {
    Authenticated::user("admin", Frontend::Admin)
}

impl Gateway {
    fn ready(&self) -> Answer {
        let journal = self.core.db.health().poisoned.map(|error| error.to_string());
        let segments =
            self.core.data.status().map_or_else(|error| Some(error.to_string()), |status| status.poisoned);
        match journal.or(segments) {
            None => Answer::text(StatusCode::OK, "ready\n"),
            Some(error) => {
                Answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("read-only until a restart: {error}\n"))
            }
        }
    }

    pub(super) fn event_lines(&self) -> Vec<EventLine> {
        let health = self.events.health();
        let line = |queue: EventQueue| {
            let well = health.iter().find(|health| health.target == queue.target);
            EventLine {
                pending: queue.pending,
                delivered: queue.delivered,
                dead: queue.dead,
                dropped: queue.dropped,
                failures: well.map_or(0, |health| health.failures),
                last_error: match well {
                    Some(health) => health.last_error.clone(),
                    None if queue.pending > 0 => Some("no [[notify]] has this name".to_owned()),
                    None => None,
                },
                target: queue.target,
            }
        };
        // What cannot be read shows in everything else.
        self.core.store.event_queues(&admin()).unwrap_or_default().into_iter().map(line).collect()
    }

    async fn mount(&self, body: &[u8]) -> Verb<MountLine> {
        let ask: MountAsk = read(body)?;
        let spec =
            MountSpec::parse(ask.at, ask.bucket, &ask.options).map_err(|error| bad(error.to_string()))?;
        self.mounts.add(spec).await.map_err(|error| bad(error.to_string()))
    }

    async fn unmount(&self, body: &[u8]) -> Verb<String> {
        let ask: UnmountAsk = read(body)?;
        self.mounts.remove(&ask.at).await.map_err(|error| bad(error.to_string()))
    }

    async fn status(&self) -> Verb<Status> {
        let store = self.core.store.status(&admin()).await?;
        let health = self.core.db.health();
        let data = self.core.data.status()?;
        let marks = self.core.dispersal.marks();
        let dispersal = self.core.dispersal.status();
        let key = self.core.ports.keys.evidence();
        let chain = self.chain_line().await;
        let mut alarms: Vec<String> = Vec::new();
        alarms.extend(
            health.poisoned.map(|error| format!("the journal is read-only until a restart: {error}")),
        );
        alarms.extend(data.poisoned.clone().map(|error| format!("a segment file failed: {error}")));
        alarms.extend((health.disk_full || data.disk_full).then(|| "the local disk is full".to_owned()));
        alarms.extend(chain.error.clone().map(|error| format!("the chain does not answer: {error}")));
        alarms.extend(
            (data.lost > 0)
                .then(|| format!("{} segments are missing from this disk and the network", data.lost)),
        );
        alarms.extend(data.disk_cache.off.clone().map(|why| {
            format!("the disk cache is off until `cache drop` or a restart; reads go on without it: {why}")
        }));
        alarms.extend(dispersal.waiting_for.clone());
        alarms.extend(self.core.care.alarms());
        alarms.extend(self.inventories.alarms());
        let events = self.event_lines();
        alarms.extend(events.iter().filter_map(EventLine::alarm));
        let totals = [data.open, data.sealed, data.dispersed, data.finalized];
        let buckets: Vec<BucketLine> = store.buckets.iter().map(bucket_line).collect();
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            simulated: self.simulated.clone(),
            alarms,
            watermarks: Marks {
                appended: self.core.db.appended().0,
                staged: self.core.db.staged().0,
                dispersed: marks.dispersed.0,
                finalized: marks.finalized.0,
            },
            events,
            users: store.users,
            objects: store.usage.objects,
            object_bytes: store.usage.bytes,
            buckets,
            segments: Segments {
                open: data.open.count,
                sealed: data.sealed.count,
                dispersed: data.dispersed.count,
                finalized: data.finalized.count,
                used_bytes: totals.iter().map(|total| total.used_bytes).sum(),
                // What refers to a moved segment is counted there, and its bytes in their new home.
                live_bytes: totals.iter().map(|total| total.live_bytes).sum::<u64>() + data.moved.live_bytes,
            },
            staging: Staging {
                used_bytes: data.staging_used_bytes,
                max_bytes: data.staging_bytes_max,
                cache_bytes: data.cache_bytes,
                fetched_bytes: data.reads.fetched_bytes,
                asked_bytes: data.reads.asked_bytes,
            },
            disk_cache: DiskCacheLine {
                bytes: data.disk_cache.bytes,
                max_bytes: data.disk_cache.bytes_max,
                hits: data.disk_cache.hits,
                misses: data.disk_cache.misses,
            },
            dispersal: dispersal_line(&dispersal),
            compaction: compaction_line(&dispersal),
            chain,
            locks: self.locks_line(),
            key: KeyLine { kind: key.kind, simulated: key.simulated, fingerprint: key.fingerprint },
        })
    }

    async fn chain_line(&self) -> ChainLine {
        let chain = &self.core.ports.chain;
        let account = ss58_encode(chain.account(), CESS_SS58_PREFIX);
        let asked = async {
            let head = chain.head().await?;
            let balance = chain.balance().await?;
            let territory = chain.territory(&self.core.territory).await?;
            Ok::<_, PortError>((head, balance, territory))
        };
        match asked.await {
            Ok((head, balance, territory)) => ChainLine {
                account,
                block: head.block,
                balance: balance.to_string(),
                territory: territory.map(|territory| territory_line(&territory, head)),
                error: None,
            },
            Err(error) => ChainLine { account, error: Some(error.to_string()), ..ChainLine::default() },
        }
    }

    fn locks_line(&self) -> LocksLine {
        let (until, held, policy) = self.core.care.locks();
        let until = until.map(gw_types::Timestamp::iso_seconds);
        LocksLine { until, held, renew: policy.as_str().to_owned() }
    }

    async fn flush(&self, body: &[u8]) -> Verb<Flushed> {
        let flush: Flush = read(body)?;
        let lsn = self.core.store.flush(&admin(), flush.level).await?;
        Ok(Flushed { lsn: lsn.0 })
    }

    async fn compact(&self) -> Verb<Compacted> {
        match self.core.dispersal.compact().await {
            Ok(done) => Ok(compacted(&done)),
            Err(error) => Err(Refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
        }
    }

    async fn placement(&self, body: &[u8]) -> Verb<PlacementAnswer> {
        let query: PlacementQuery = read(body)?;
        let bucket = BucketName::new(query.bucket).map_err(|error| bad(error.to_string()))?;
        let key = ObjectKey::new(query.key).map_err(|error| bad(error.to_string()))?;
        let range = match query.range {
            None => ByteRange::All,
            Some((first, last)) => ByteRange::Between(first, last),
        };
        let placement = self.core.store.placement(&admin(), &bucket, &key, None, range).await?;
        let ranges = placement.ranges.into_iter().map(|placed| PlacedRange {
            first: placed.range.start,
            last: placed.range.end.saturating_sub(1),
            segment: placed.segment.0,
            state: format!("{:?}", placed.state).to_lowercase(),
            local: placed.local,
            fragment: placed.fragment.get(),
            fragment_first: placed.fragment_range.start,
            fragment_last: placed.fragment_range.end.saturating_sub(1),
            fid: placed.fid.map(|fid| fid.to_string()),
            fragments: placed
                .fragments
                .into_iter()
                .map(|fragment| PlacedFragment {
                    index: fragment.index.get(),
                    data: fragment.index.is_data(),
                    miner: ss58_encode(fragment.miner.account, CESS_SS58_PREFIX),
                    endpoint: fragment.miner.endpoint,
                })
                .collect(),
        });
        Ok(PlacementAnswer {
            size: placement.size,
            etag: placement.etag.to_string(),
            ranges: ranges.collect(),
            note: PLACEMENT_NOTE.to_owned(),
        })
    }

    async fn territories(&self) -> Verb<Vec<TerritoryLine>> {
        let chain = &self.core.ports.chain;
        let head = chain.head().await?;
        let territories = chain.territories().await?;
        Ok(territories.iter().map(|territory| territory_line(territory, head)).collect())
    }

    async fn territory_act(&self, body: &[u8]) -> Verb<Landed> {
        let named =
            |name: String| TerritoryName::new(name).ok_or_else(|| bad("a territory name has 1 to 63 bytes"));
        let chain: &dyn Chain = &*self.core.ports.chain;
        let receipt = match read(body)? {
            TerritoryAct::Mint { name, gib, days } => chain.mint_territory(&named(name)?, gib, days).await?,
            TerritoryAct::Expand { name, gib } => chain.expand_territory(&named(name)?, gib).await?,
            TerritoryAct::Renew { name, days } => chain.renew_territory(&named(name)?, days).await?,
        };
        Ok(landed(&receipt))
    }

    fn kms_keys(&self) -> Verb<Vec<KmsLine>> {
        let keys = self.core.store.kms_key_list(&admin())?;
        let line =
            |key: gw_store::KmsKeyInfo| KmsLine { name: key.name, created: key.created.unix_seconds() };
        Ok(keys.into_iter().map(line).collect())
    }

    async fn kms_add(&self, body: &[u8]) -> Verb<()> {
        let add: KmsAdd = read(body)?;
        Ok(self.core.store.kms_key_add(&admin(), &add.name).await?)
    }

    async fn drop_cache(&self) -> Verb<Dropped> {
        let status = self.core.data.status()?;
        let (cache_bytes, disk_cache_bytes) = (status.cache_bytes, status.disk_cache.bytes);
        self.core.data.drop_cache();
        let evicted = self
            .core
            .dispersal
            .evict()
            .await
            .map_err(|error| Refused(StatusCode::INTERNAL_SERVER_ERROR, format!("evicting: {error}")))?;
        Ok(Dropped {
            cache_bytes,
            disk_cache_bytes,
            segments_evicted: evicted.evicted,
            segments_kept: evicted.kept,
        })
    }

    async fn dev_miner(&self, index: &str, body: &[u8]) -> Verb<()> {
        let Some(dev) = &self.dev else { return Err(bad("this gateway runs no development miners")) };
        let index = index.parse().map_err(|_| bad("miners are numbered from 0"))?;
        dev.miner(index, body).await.map_err(|error| bad(error.to_string()))
    }
}

fn dispersal_line(status: &gw_dispersal::DispersalStatus) -> DispersalLine {
    let deal = |(fid, deal): (&gw_types::Fid, &gw_dispersal::DealProgress)| DealLine {
        fid: fid.to_string(),
        segments: deal.segments as u64,
        state: deal.phase.to_owned(),
        columns_held: deal.columns_held as u64,
    };
    DispersalLine {
        deals: status.deals.iter().map(deal).collect(),
        deals_active: status.deals_done,
        miners_healthy: status.miners_healthy as u64,
        miners_known: status.miners_known as u64,
        waiting_for: status.waiting_for.clone(),
    }
}

fn compaction_line(status: &gw_dispersal::DispersalStatus) -> CompactionLine {
    let seen = &status.compaction;
    CompactionLine {
        phase: format!("{:?}", seen.phase).to_lowercase(),
        victims: seen.victims,
        segments_left: seen.segments_left,
        segments: seen.segments,
        live_bytes: seen.live_bytes,
        dead_bytes: seen.dead_bytes,
        log_segments: seen.log_segments,
        done: compacted(&seen.done),
        room: status.room.map(|room| RoomLine {
            free_bytes: room.free_bytes,
            reserve_bytes: room.reserve_bytes,
            bodies_bytes: room.bodies_bytes,
            full: room.is_full,
        }),
    }
}

fn compacted(done: &gw_dispersal::Compacted) -> Compacted {
    Compacted {
        deals: done.deals,
        freed_bytes: done.freed_bytes,
        taken_bytes: done.taken_bytes,
        moved_bytes: done.moved_bytes,
        hindrance: done.hindrance.clone(),
    }
}

fn territory_line(territory: &Territory, head: ChainHead) -> TerritoryLine {
    let bytes = |size: u128| u64::try_from(size).unwrap_or(u64::MAX);
    let blocks_left = u64::from(territory.deadline.saturating_sub(head.block));
    TerritoryLine {
        name: territory.name.to_string(),
        state: format!("{:?}", territory.state).to_lowercase(),
        total_bytes: bytes(territory.total),
        used_bytes: bytes(territory.used),
        locked_bytes: bytes(territory.locked),
        remaining_bytes: bytes(territory.remaining),
        deadline_block: territory.deadline,
        days_left: u32::try_from(blocks_left * u64::from(head.block_seconds) / 86_400).unwrap_or(u32::MAX),
    }
}

fn landed(receipt: &Receipt) -> Landed {
    Landed { block: receipt.block, block_hash: receipt.block_hash.to_string(), fee: receipt.fee.to_string() }
}

/// For the flush verb's progress bar.
pub fn mark(marks: &Marks, level: Level) -> u64 {
    match level {
        Level::Staged => marks.staged,
        Level::Dispersed => marks.dispersed,
        Level::Finalized => marks.finalized,
    }
}
