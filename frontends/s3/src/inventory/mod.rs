//! Making inventories: the lists that buckets want of themselves, put as objects where they want them.
//!
//! ```text
//!   PREFIX/SOURCE/ID/data/UUID.csv.gz               the lines, at most LINES_MAX in each
//!   PREFIX/SOURCE/ID/hive/dt=YYYY-MM-DD-HH-MM/symlink.txt   where they are, for Hive
//!   PREFIX/SOURCE/ID/YYYY-MM-DDTHH-MMZ/manifest.checksum    MD5 of the manifest
//!   PREFIX/SOURCE/ID/YYYY-MM-DDTHH-MMZ/manifest.json        put last: with it the list is there
//! ```
//!
//! (AWS: "Locating your inventory list".) A list is read from the store a page at a time and compressed
//! into an object that is being put, so memory does not grow with the bucket. The store notes when a list
//! was begun before the first object is put, and that moment makes all names: a gateway that is stopped
//! in the middle takes the list up again at its next pass and writes over what it had. Whether the
//! manifest of a list that is taken up is there already is looked at first. One list is made at a time.

mod report;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gw_store::{ReadOptions, Store, StoreError, StoreErrorKind, StoreResult};
use gw_types::{Authenticated, BucketName, Frontend, ObjectKey};
use parking_lot::Mutex;

use report::Report;

/// From the start to the first pass.
const FIRST: Duration = Duration::from_secs(60);

/// A list that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryDone {
    /// The bucket it is in.
    pub target: String,
    /// Key of its manifest there.
    pub manifest: String,
    /// How many lines it has.
    pub lines: u64,
}

/// Makes the lists of all buckets.
#[derive(Debug)]
pub struct Inventories {
    store: Arc<Store>,
    who: Authenticated,
    /// One list at a time.
    turn: tokio::sync::Mutex<()>,
    /// Why a list waits, by bucket and id.
    waiting: Mutex<BTreeMap<(String, String), String>>,
}

impl Inventories {
    /// Makes nothing yet.
    pub fn new(store: Arc<Store>) -> Self {
        let who = Authenticated::user("inventory", Frontend::Admin);
        Self { store, who, turn: tokio::sync::Mutex::default(), waiting: Mutex::default() }
    }

    /// Passes for ever, `every` so often; the first a minute after the start.
    pub async fn keep(&self, every: Duration) {
        tokio::time::sleep(FIRST).await;
        loop {
            self.pass().await;
            tokio::time::sleep(every).await;
        }
    }

    /// Makes every list that is due. One that fails is logged and left to the next pass.
    pub async fn pass(&self) {
        let due = match self.store.inventories_due(&self.who) {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "inventories wait for the next pass");
                return;
            }
        };
        self.waiting
            .lock()
            .retain(|(bucket, id), _| due.iter().any(|(name, due)| name.as_str() == bucket && due == id));
        for (bucket, id) in due {
            let at = (bucket.to_string(), id.clone());
            match self.make(&bucket, &id, true).await {
                Ok(done) => {
                    tracing::info!(%bucket, id, lines = done.lines, "an inventory was made");
                    self.waiting.lock().remove(&at);
                }
                // It was removed meanwhile.
                Err(error) if error.kind() == StoreErrorKind::NoSuchInventory => {}
                Err(error) => {
                    tracing::warn!(%bucket, id, %error, "an inventory waits for the next pass");
                    self.waiting.lock().insert(at, error.to_string());
                }
            }
        }
    }

    /// Makes a list now, besides those of the schedule.
    pub async fn run(&self, bucket: &BucketName, id: &str) -> StoreResult<InventoryDone> {
        self.make(bucket, id, false).await
    }

    /// Sentences, where a list could not be made.
    pub fn alarms(&self) -> Vec<String> {
        let waiting = self.waiting.lock();
        waiting
            .iter()
            .map(|((bucket, id), why)| {
                format!("inventory {id} of bucket {bucket} waits for the next pass: {why}")
            })
            .collect()
    }

    async fn make(&self, bucket: &BucketName, id: &str, scheduled: bool) -> StoreResult<InventoryDone> {
        let _turn = self.turn.lock().await;
        let (inventory, run) = self.store.inventory_begin(&self.who, bucket, (id, scheduled)).await?;
        let mut report = Report::new((&self.store, &self.who), (bucket, &inventory), run)?;
        let (target, manifest) = (inventory.target.clone(), report.manifest_key().to_owned());
        if !self.is_there(&target, &manifest, run.started).await? {
            let mut after = None;
            loop {
                let page = self.store.inventory_page(&self.who, bucket, &inventory, after.as_ref())?;
                report.add(&page.entries).await?;
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            report.finish().await?;
        }
        self.store.inventory_done(&self.who, bucket, (id, run)).await?;
        Ok(InventoryDone { target, manifest, lines: report.lines() })
    }

    /// Whether a run that is taken up was all but done.
    async fn is_there(
        &self,
        target: &str,
        manifest: &str,
        started: gw_types::Timestamp,
    ) -> StoreResult<bool> {
        let target = BucketName::new(target).map_err(|_| StoreError::from(StoreErrorKind::NoSuchBucket))?;
        let key = ObjectKey::new(manifest).map_err(|_| StoreError::from(StoreErrorKind::NoSuchKey))?;
        match self.store.head(&self.who, &target, &key, ReadOptions::default()).await {
            Ok(info) => Ok(info.last_modified >= started),
            Err(error) if error.kind() == StoreErrorKind::NoSuchKey => Ok(false),
            Err(error) => Err(error),
        }
    }
}
