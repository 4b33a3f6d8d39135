//! Named keys (SSE-KMS): 32 random bytes under a name, sealed by the root key.
//!
//! An object put under a named key has its data key, which the bucket's key wraps, sealed once more
//! under the named one: the same lock that a customer's key is, held by the gateway. So such an object
//! opens with bucket key and named key together, and without the named one for nobody. Keys travel in
//! the log as sealed records. Opened they are few, and are kept in memory while the store is open;
//! none is ever removed, because objects cannot be read without theirs.

use std::collections::HashMap;
use std::sync::Arc;

use gw_types::{Authenticated, StreamId};
use parking_lot::RwLock;
use zeroize::Zeroizing;

use crate::access;
use crate::api::{
    BucketEncryption, CustomerKey, Encryption, KmsKeyInfo, KmsWish, ObjectAttributes, ObjectWants,
};
use crate::core::Core;
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::rows::{self, BucketRow, KmsKeyRow, key};

/// The key of who names none (AWS: the managed key `aws/s3`); made when it is first wanted.
pub(crate) const DEFAULT_KEY: &str = "aws/s3";
/// Most named keys.
const KEYS_MAX: usize = 1000;
const NAME_BYTES_MAX: usize = 256;

/// Opened keys by name.
#[derive(Debug, Default)]
pub(crate) struct NamedKeys(RwLock<HashMap<String, Arc<CustomerKey>>>);

fn purpose(name: &str) -> String {
    format!("kms/{name}")
}

fn check_name(name: &str) -> StoreResult<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/.".contains(&byte);
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(StoreError::invalid("a key's name has 1 to 256 letters, digits, or any of -_/."))
}

impl Core {
    /// Opens all keys; once, at open.
    pub(crate) async fn load_kms(&self) -> StoreResult<()> {
        let found = rows::under(&self.snapshot(), &key::kms_keys(), &[], KEYS_MAX)?;
        for (row_key, value) in found {
            let name = std::str::from_utf8(row_key.get(1..).unwrap_or_default())
                .map_err(|_| StoreError::corrupt("a key's name is not text"))?;
            let row: KmsKeyRow = rows::decode("kms key", &value)?;
            let plain = Zeroizing::new(self.keys.open_record(&purpose(name), &row.sealed).await?);
            let plain: [u8; 32] = plain
                .as_slice()
                .try_into()
                .map_err(|_| StoreError::corrupt("a named key has another length"))?;
            self.kms.0.write().insert(name.to_owned(), Arc::new(CustomerKey::held(plain)));
        }
        Ok(())
    }

    /// A named key, opened.
    pub(crate) fn named_key(&self, name: &str) -> StoreResult<Arc<CustomerKey>> {
        self.kms.0.read().get(name).cloned().ok_or_else(|| {
            StoreError::new(StoreErrorKind::NoSuchKmsKey, format!("Key '{name}' does not exist"))
        })
    }

    /// The named key that opens an object of these attributes, if one does.
    pub(crate) fn key_of(&self, attributes: &ObjectAttributes) -> StoreResult<Option<Arc<CustomerKey>>> {
        match attributes.encryption()? {
            Some(Encryption::Kms { key, .. }) => self.named_key(&key).map(Some),
            _ => Ok(None),
        }
    }

    pub(crate) async fn kms_key_add(&self, who: &Authenticated, name: &str) -> StoreResult<()> {
        access::decide_admin(&self.snapshot(), who)?;
        self.new_named_key(name).await
    }

    async fn new_named_key(&self, name: &str) -> StoreResult<()> {
        check_name(name)?;
        let mut plain = Zeroizing::new([0; 32]);
        self.keys.random(plain.as_mut_slice())?;
        let sealed = self.keys.seal_record(&purpose(name), plain.as_slice()).await?;
        let done = self.commit(|work| {
            let row_key = key::kms_key(name);
            if rows::load::<KmsKeyRow>(&*work.txn, "kms key", &row_key)?.is_some() {
                return Err(StoreError::new(StoreErrorKind::UserExists, "there is a key of this name"));
            }
            if rows::under(&*work.txn, &key::kms_keys(), &[], KEYS_MAX)?.len() >= KEYS_MAX {
                return Err(StoreError::invalid("there are 1000 named keys, and no more are kept"));
            }
            work.put_row(row_key, &KmsKeyRow { created: work.now, sealed });
            work.txn.stream(StreamId::default());
            Ok(())
        })?;
        // Nothing may be sealed under a key that a power cut could still take.
        self.settle(done.lsn, StreamId::default(), gw_types::Level::Staged).await?;
        self.kms.0.write().insert(name.to_owned(), Arc::new(CustomerKey::held(*plain)));
        Ok(())
    }

    pub(crate) fn kms_key_list(&self, who: &Authenticated) -> StoreResult<Vec<KmsKeyInfo>> {
        let snapshot = self.snapshot();
        access::decide_admin(&snapshot, who)?;
        let mut keys = Vec::new();
        for (row_key, value) in rows::under(&snapshot, &key::kms_keys(), &[], KEYS_MAX)? {
            let row: KmsKeyRow = rows::decode("kms key", &value)?;
            let name = String::from_utf8_lossy(row_key.get(1..).unwrap_or_default()).into_owned();
            keys.push(KmsKeyInfo { name, created: row.created });
        }
        Ok(keys)
    }

    /// Decides under which key a new body stands besides its bucket's: the client's, a named one, or
    /// none; by what is wanted, else by the bucket's default. `wants` then says which name it is.
    pub(crate) async fn second_key(
        &self,
        bucket: &BucketRow,
        wants: &mut ObjectWants,
    ) -> StoreResult<Option<Arc<CustomerKey>>> {
        if let Some(customer) = &wants.customer_key {
            return Ok(Some(Arc::new(customer.clone())));
        }
        if wants.managed {
            return Ok(None);
        }
        let default = match &bucket.rules.encrypt {
            Some(BucketEncryption::Kms { key, bucket_key }) => Some((key.clone(), *bucket_key)),
            Some(BucketEncryption::Managed) | None => None,
        };
        let (wish, by_default) = match (wants.kms.take(), default) {
            (None, None) => return Ok(None),
            (Some(wish), default) => (wish, default),
            (None, Some(default)) => (KmsWish::default(), Some(default)),
        };
        let (default_key, default_bucket_key) = by_default.unwrap_or_default();
        let name = wish.key.or(default_key).unwrap_or_else(|| DEFAULT_KEY.to_owned());
        let found = match self.named_key(&name) {
            Err(error) if error.kind() == StoreErrorKind::NoSuchKmsKey && name == DEFAULT_KEY => {
                match self.new_named_key(&name).await {
                    Ok(()) => {}
                    // Somebody made it at the same moment.
                    Err(error) if error.kind() == StoreErrorKind::UserExists => {}
                    Err(error) => return Err(error),
                }
                self.named_key(&name)?
            }
            found => found?,
        };
        let bucket_key = wish.bucket_key.unwrap_or(default_bucket_key);
        wants.kms = Some(KmsWish { key: Some(name), bucket_key: Some(bucket_key), context: wish.context });
        Ok(Some(found))
    }
}
