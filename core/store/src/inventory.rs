//! Inventories: what a bucket wants listed, which lists are due, and the lines of a list.
//!
//! Each inventory is a document of its bucket, and how far it is another. A list is begun in one commit,
//! which notes the moment that names its objects, and done in another; whoever finds one that was begun
//! takes it up under the same names. So a restart between the two writes the same objects again and
//! leaves one list, neither none nor two.
//!
//! Lines come in pages. A page is of one moment; a list is not, since a snapshot that lived as long as a
//! list of ten million lines would keep the local checkpoint from moving. AWS promises no more.

use gw_types::{Action, Authenticated, BucketName, VersionSeq};

use crate::access;
use crate::api::{INVENTORIES_MAX, Inventory, InventoryInfo, InventoryPage, InventoryRun, InventoryState};
use crate::bucket::bucket_name;
use crate::core::{Core, Work, load_bucket};
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::rows::{self, BucketRow, key};

/// Names of documents, before the inventory's id.
const DOCUMENT: &str = "inventory/";
const STATE: &str = "inventory-state/";
const SCAN_PAGE: usize = 256;

fn document(id: &str) -> String {
    format!("{DOCUMENT}{id}")
}

fn state_document(id: &str) -> String {
    format!("{STATE}{id}")
}

fn refused(message: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::InvalidInventoryTarget, message)
}

fn load_all(read: &impl gw_db::Read, row: &BucketRow) -> StoreResult<Vec<InventoryInfo>> {
    let found = rows::under(read, &key::document(row.root, DOCUMENT), &[], INVENTORIES_MAX)?;
    found
        .iter()
        .map(|(_, value)| {
            let inventory: Inventory = rows::decode("inventory", value)?;
            let state = load_state(read, row, &inventory.id)?;
            Ok(InventoryInfo { inventory, state })
        })
        .collect()
}

fn load_state(read: &impl gw_db::Read, row: &BucketRow, id: &str) -> StoreResult<InventoryState> {
    let found = rows::load(read, "inventory state", &key::document(row.root, &state_document(id)))?;
    Ok(found.unwrap_or_default())
}

impl Core {
    /// All inventories of a bucket, by id.
    pub(crate) fn bucket_inventories(
        &self,
        who: &Authenticated,
        name: &BucketName,
    ) -> StoreResult<Vec<InventoryInfo>> {
        let snapshot = self.snapshot();
        let row = self.bucket(&snapshot, who, Action::GetInventoryConfiguration, name)?;
        load_all(&snapshot, &row)
    }

    /// Sets one, or removes it with how far it was. The target is looked at in the same commit.
    pub(crate) async fn bucket_inventory_set(
        &self,
        who: &Authenticated,
        name: &BucketName,
        id: &str,
        inventory: Option<Inventory>,
    ) -> StoreResult<()> {
        if let Some(inventory) = &inventory {
            inventory.check()?;
        }
        self.change_rules(who, Action::PutInventoryConfiguration, name, |work, row| match &inventory {
            Some(inventory) => {
                work.check_inventory(row, inventory)?;
                work.set_document(row.root, &document(id), Some(&rows::encode(inventory)))
            }
            None if work.txn.get(&key::document(row.root, &document(id)))?.is_none() => {
                Err(StoreErrorKind::NoSuchInventory.into())
            }
            None => {
                work.set_document(row.root, &state_document(id), None)?;
                work.set_document(row.root, &document(id), None)
            }
        })
        .await
    }

    /// Inventories whose list is due, or was begun and not done. Admins only.
    pub(crate) fn inventories_due(&self, who: &Authenticated) -> StoreResult<Vec<(BucketName, String)>> {
        let snapshot = self.snapshot();
        access::decide_admin(&snapshot, who)?;
        let (now, mut due, mut from) = (self.clock.now(), Vec::new(), Vec::new());
        loop {
            let found = rows::under(&snapshot, &key::buckets(""), &from, SCAN_PAGE)?;
            for (row_key, value) in &found {
                let row = BucketRow::decode(value)?;
                for InventoryInfo { inventory, state } in load_all(&snapshot, &row)? {
                    let slot = inventory.every.slot(now);
                    let is_due = inventory.enabled && state.done.is_none_or(|done| done < slot);
                    if is_due || state.running.is_some() {
                        due.push((bucket_name(row_key)?, inventory.id));
                    }
                }
            }
            match found.last() {
                Some((last, _)) if found.len() == SCAN_PAGE => from = key::after(last),
                _ => return Ok(due),
            }
        }
    }

    /// Begins a list, or takes up the one that was begun. `scheduled`: it is the list of this day or week.
    pub(crate) async fn inventory_begin(
        &self,
        who: &Authenticated,
        name: &BucketName,
        (id, scheduled): (&str, bool),
    ) -> StoreResult<(Inventory, InventoryRun)> {
        access::decide_admin(&self.snapshot(), who)?;
        let done = self.commit(|work| {
            let row = load_bucket(&*work.txn, name)?.ok_or(StoreErrorKind::NoSuchBucket)?;
            let found = rows::load(&*work.txn, "inventory", &key::document(row.root, &document(id)))?;
            let inventory: Inventory = found.ok_or(StoreErrorKind::NoSuchInventory)?;
            work.check_inventory(&row, &inventory)?;
            let mut state = load_state(&*work.txn, &row, id)?;
            let run = match state.running {
                Some(run) => run,
                None => {
                    let slot = scheduled.then(|| inventory.every.slot(work.now));
                    InventoryRun { slot, started: work.now }
                }
            };
            state.running = Some(run);
            work.set_document(row.root, &state_document(id), Some(&rows::encode(&state)))?;
            work.txn.stream(row.stream);
            Ok((inventory, run, row.stream, row.settings.level))
        })?;
        let (inventory, run, stream, level) = done.value;
        // The names must not be forgotten once objects have them.
        self.settle(done.lsn, stream, level).await?;
        Ok((inventory, run))
    }

    /// Notes that a list is done.
    pub(crate) async fn inventory_done(
        &self,
        who: &Authenticated,
        name: &BucketName,
        (id, run): (&str, InventoryRun),
    ) -> StoreResult<()> {
        access::decide_admin(&self.snapshot(), who)?;
        let done = self.commit(|work| {
            let row = load_bucket(&*work.txn, name)?.ok_or(StoreErrorKind::NoSuchBucket)?;
            if work.txn.get(&key::document(row.root, &document(id)))?.is_none() {
                return Err(StoreErrorKind::NoSuchInventory.into());
            }
            let mut state = load_state(&*work.txn, &row, id)?;
            state.running = state.running.filter(|running| *running != run);
            state.done = state.done.max(run.slot);
            state.last = Some(run);
            work.set_document(row.root, &state_document(id), Some(&rows::encode(&state)))?;
            work.txn.stream(row.stream);
            Ok((row.stream, row.settings.level))
        })?;
        let (stream, level) = done.value;
        self.settle(done.lsn, stream, level).await
    }

    /// The lines of a list behind `after`, a page of them.
    pub(crate) fn inventory_page(
        &self,
        who: &Authenticated,
        name: &BucketName,
        inventory: &Inventory,
        after: Option<&(String, VersionSeq)>,
    ) -> StoreResult<InventoryPage> {
        let snapshot = self.snapshot();
        access::decide_admin(&snapshot, who)?;
        let row = load_bucket(&snapshot, name)?.ok_or(StoreErrorKind::NoSuchBucket)?;
        crate::list::inventory_page(&snapshot, &row, inventory, after)
    }
}

impl Work<'_, '_> {
    /// The target must be there and belong to the same owner; and there is a limit to how many.
    fn check_inventory(&self, row: &BucketRow, inventory: &Inventory) -> StoreResult<()> {
        let target = BucketName::new(&*inventory.target)
            .map_err(|_| refused("The destination bucket does not exist."))?;
        let target = load_bucket(&*self.txn, &target)?
            .ok_or_else(|| refused("The destination bucket does not exist."))?;
        if target.owner != row.owner {
            return Err(refused("The owners of the bucket and of the destination bucket must be the same."));
        }
        let found = rows::under(&*self.txn, &key::document(row.root, DOCUMENT), &[], INVENTORIES_MAX)?;
        let own = key::document(row.root, &document(&inventory.id));
        if found.len() >= INVENTORIES_MAX && !found.iter().any(|(row_key, _)| **row_key == *own) {
            return Err(StoreError::new(
                StoreErrorKind::TooManyInventories,
                format!("a bucket has at most {INVENTORIES_MAX} inventories"),
            ));
        }
        Ok(())
    }
}
