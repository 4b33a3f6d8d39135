//! Which buckets want their requests written down, and where to.
//!
//! The rule is a document of the bucket. Because every request asks, what is set is kept in memory as
//! well: read at open, and read anew from the newest state after each change, so that a gateway where
//! no bucket logs pays one look at an empty table.

use std::collections::HashMap;
use std::sync::Arc;

use gw_types::{Action, Authenticated, BucketName};
use parking_lot::RwLock;

use crate::api::{BucketLogging, LoggedBucket};
use crate::bucket::bucket_name;
use crate::core::{Core, load_bucket};
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::rows::{self, BucketRow, key};

/// Name of the document.
const LOGGING: &str = "logging";
const PREFIX_BYTES_MAX: usize = 800;
const SCAN_PAGE: usize = 256;

/// Buckets that log, by name.
#[derive(Debug, Default)]
pub(crate) struct Logged(RwLock<HashMap<String, Arc<LoggedBucket>>>);

fn target_refused(message: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::InvalidLogTarget, message)
}

impl Core {
    /// The rule of a bucket, if it has one. The one verb that is asked for every request.
    pub(crate) fn logged(&self, bucket: &str) -> Option<Arc<LoggedBucket>> {
        self.logged.0.read().get(bucket).cloned()
    }

    pub(crate) fn logs_any(&self) -> bool {
        !self.logged.0.read().is_empty()
    }

    /// Reads all rules; once, at open.
    pub(crate) fn load_logged(&self) -> StoreResult<()> {
        let snapshot = self.snapshot();
        let mut from = Vec::new();
        loop {
            let found = rows::under(&snapshot, &key::buckets(""), &from, SCAN_PAGE)?;
            for (row_key, value) in &found {
                if BucketRow::decode(value)?.rules.logging {
                    self.refresh_logged(&bucket_name(row_key)?)?;
                }
            }
            match found.last() {
                Some((last, _)) if found.len() == SCAN_PAGE => from = key::after(last),
                _ => return Ok(()),
            }
        }
    }

    /// Takes over what the newest state says of a bucket. Under the lock, so that of two changes the
    /// newer one stays.
    pub(crate) fn refresh_logged(&self, name: &BucketName) -> StoreResult<()> {
        let mut logged = self.logged.0.write();
        let snapshot = self.snapshot();
        let row = load_bucket(&snapshot, name)?.filter(|row| row.rules.logging);
        match row {
            Some(row) => {
                let logging = rows::must(&snapshot, "logging", &key::document(row.root, LOGGING))?;
                let entry = LoggedBucket { bucket: name.clone(), owner: row.owner, logging };
                logged.insert(name.as_str().to_owned(), Arc::new(entry));
            }
            None => {
                logged.remove(name.as_str());
            }
        }
        Ok(())
    }

    pub(crate) fn bucket_logging(
        &self,
        who: &Authenticated,
        name: &BucketName,
    ) -> StoreResult<Option<BucketLogging>> {
        let snapshot = self.snapshot();
        let row = self.bucket(&snapshot, who, Action::GetBucketLogging, name)?;
        rows::load(&snapshot, "logging", &key::document(row.root, LOGGING))
    }

    /// Sets or takes off the rule. The target is looked at in the same commit.
    pub(crate) async fn bucket_logging_set(
        &self,
        who: &Authenticated,
        name: &BucketName,
        logging: Option<BucketLogging>,
    ) -> StoreResult<()> {
        if logging.as_ref().is_some_and(|logging| logging.prefix.len() > PREFIX_BYTES_MAX) {
            return Err(StoreError::invalid("a prefix of log objects has at most 800 bytes"));
        }
        let document = logging.as_ref().map(rows::encode);
        let done = self.change_rules(who, Action::PutBucketLogging, name, |work, row| {
            if let Some(logging) = &logging {
                let target = BucketName::new(&*logging.target)
                    .map_err(|_| target_refused("The target bucket for logging does not exist"))?;
                let target = load_bucket(&*work.txn, &target)?
                    .ok_or_else(|| target_refused("The target bucket for logging does not exist"))?;
                if target.owner != row.owner {
                    return Err(target_refused(
                        "The owner for the bucket to be logged and the target bucket must be the same.",
                    ));
                }
                if target.rules.requester_pays {
                    return Err(target_refused("The target bucket for logging may not be requester pays."));
                }
            }
            row.rules.logging = document.is_some();
            work.set_document(row.root, LOGGING, document.as_deref())
        });
        let done = done.await;
        self.refresh_logged(name)?;
        done
    }
}
