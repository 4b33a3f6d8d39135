//! What the admin API answers about buckets.
//!
//! A bucket is emptied step by step, each request a second of work at most, so that whoever asks sees how
//! far it is and may stop at any time; a bucket that is half empty is a bucket like any other.

use std::time::{Duration, Instant};

use gw_s3::InventoryDone;
use gw_store::{InventoryEvery, InventoryInfo, Quota, VersionId, VersionListRequest};
use gw_types::BucketName;

use super::routes::{Gateway, Verb, admin, bad, read};
use super::wire::{BucketLine, Cleared, InventoryLine, InventoryMade, LockedAsk, LockedLine, QuotaSet};

/// Work of one request that gives way in between, and of one that does not.
const STEP: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(200);

fn named(name: &str) -> Verb<BucketName> {
    BucketName::new(name).map_err(|error| bad(error.to_string()))
}

impl Gateway {
    pub(super) async fn buckets(&self) -> Verb<Vec<BucketLine>> {
        let status = self.core.store.status(&admin()).await?;
        Ok(status.buckets.iter().map(bucket_line).collect())
    }

    pub(super) async fn quota(&self, name: &str, body: &[u8]) -> Verb<BucketLine> {
        let set: QuotaSet = read(body)?;
        let bucket = named(name)?;
        let info = self.core.store.bucket_head(&admin(), &bucket).await?;
        let quota = Quota {
            bytes_max: set.bytes_max.unwrap_or(info.settings.quota.bytes_max),
            objects_max: set.objects_max.unwrap_or(info.settings.quota.objects_max),
        };
        if quota != info.settings.quota {
            self.core.store.bucket_quota_set(&admin(), &bucket, quota).await?;
        }
        let usage = self.core.store.bucket_usage(&admin(), &bucket).await?;
        Ok(BucketLine {
            name: name.to_owned(),
            owner: info.owner,
            objects: usage.objects,
            bytes: usage.bytes,
            bytes_max: quota.bytes_max,
            objects_max: quota.objects_max,
        })
    }

    pub(super) async fn inventory_list(&self, name: &str) -> Verb<Vec<InventoryLine>> {
        let found = self.core.store.bucket_inventories(&admin(), &named(name)?).await?;
        Ok(found.into_iter().map(inventory_line).collect())
    }

    /// Answers when the list is there.
    pub(super) async fn inventory_run(&self, name: &str, id: &str) -> Verb<InventoryMade> {
        let InventoryDone { target, manifest, lines } = self.inventories.run(&named(name)?, id).await?;
        Ok(InventoryMade { target, manifest, lines })
    }

    pub(super) async fn bucket_delete(&self, name: &str) -> Verb<()> {
        Ok(self.core.store.bucket_delete(&admin(), &named(name)?).await?)
    }

    /// Takes away what it can in a second.
    pub(super) async fn bucket_clear(&self, name: &str) -> Verb<Cleared> {
        let (bucket, begun) = (named(name)?, Instant::now());
        let mut sum = Cleared::default();
        while !sum.done && begun.elapsed() < STEP {
            let step = self.core.store.bucket_clear(&admin(), &bucket).await?;
            sum.objects += step.objects;
            sum.versions += step.versions;
            sum.markers += step.markers;
            sum.unlisted += step.unlisted;
            sum.done = step.done;
        }
        Ok(sum)
    }

    /// Counts what is under lock, as far as a moment goes.
    pub(super) fn bucket_locked(&self, name: &str, body: &[u8]) -> Verb<LockedLine> {
        let (ask, begun): (LockedAsk, _) = (read(body)?, Instant::now());
        let mut request = VersionListRequest::new(named(name)?);
        request.version_marker = ask.version.as_deref().map(VersionId::parse).transpose()?;
        request.key_marker = ask.key;
        let mut locked = 0;
        loop {
            let (count, next) = self.core.store.bucket_locked(&admin(), &request)?;
            locked += count;
            let Some(next) = next else { return Ok(LockedLine { locked, next: None }) };
            if begun.elapsed() >= LOOK {
                let version = next.version_marker.map(|version| version.to_string());
                return Ok(LockedLine { locked, next: Some(LockedAsk { key: next.key_marker, version }) });
            }
            request = next;
        }
    }
}

pub(super) fn bucket_line(bucket: &gw_store::BucketStatus) -> BucketLine {
    BucketLine {
        name: bucket.name.to_string(),
        owner: bucket.owner.clone(),
        objects: bucket.usage.objects,
        bytes: bucket.usage.bytes,
        bytes_max: bucket.quota.bytes_max,
        objects_max: bucket.quota.objects_max,
    }
}

fn inventory_line(info: InventoryInfo) -> InventoryLine {
    let InventoryInfo { inventory, state } = info;
    InventoryLine {
        id: inventory.id,
        enabled: inventory.enabled,
        every: match inventory.every {
            InventoryEvery::Day => "day",
            InventoryEvery::Week => "week",
        }
        .to_owned(),
        target: inventory.target,
        prefix: inventory.target_prefix,
        last: state.last.map(|run| run.started.iso_seconds()),
        running: state.running.map(|run| run.started.iso_seconds()),
    }
}
