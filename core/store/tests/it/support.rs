//! What most tests need: a store on model ports, and short words for common acts.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use gw_store::{
    BucketOptions, ByteRange, DeleteTarget, FinishOptions, PutOptions, PutOutcome, ReadOptions, Store,
    StoreError, StoreErrorKind, StoreResult, VersionId, Versioning, WriteConditions,
};
use gw_types::ports::{DataKey, KeyEvidence, Keys, WrappedBucketKey, WrappedDataKey};
use gw_types::{Authenticated, BucketName, Frontend, ObjectKey, PortError, PortErrorKind, PortResult};

/// A key tree that wraps by XOR: enough to notice a map under the wrong bucket key.
#[derive(Debug, Default)]
pub struct TestKeys {
    counter: AtomicU64,
}

impl TestKeys {
    fn fresh(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.random(&mut bytes).unwrap();
        bytes
    }
}

const CHECK: [u8; 8] = *b"commited";

fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b.iter().cycle()).map(|(a, b)| a ^ b).collect()
}

#[async_trait]
impl Keys for TestKeys {
    async fn new_bucket_key(&self) -> PortResult<WrappedBucketKey> {
        Ok(WrappedBucketKey(self.fresh().to_vec()))
    }
    async fn new_data_key(&self, bucket: &WrappedBucketKey) -> PortResult<(DataKey, WrappedDataKey)> {
        let key = self.fresh();
        let mut plain = key.to_vec();
        plain.extend_from_slice(&CHECK);
        Ok((DataKey::new(key), WrappedDataKey(xor(&plain, &bucket.0))))
    }
    async fn unwrap(&self, bucket: &WrappedBucketKey, data: &WrappedDataKey) -> PortResult<DataKey> {
        let plain = xor(&data.0, &bucket.0);
        match plain.strip_suffix(&CHECK) {
            Some(key) => Ok(DataKey::new(key.try_into().unwrap())),
            None => Err(PortError::definite(PortErrorKind::Corrupt, "another bucket's key")),
        }
    }
    async fn rewrap(
        &self,
        from: &WrappedBucketKey,
        to: &WrappedBucketKey,
        data: &WrappedDataKey,
    ) -> PortResult<WrappedDataKey> {
        self.unwrap(from, data).await?;
        Ok(WrappedDataKey(xor(&xor(&data.0, &from.0), &to.0)))
    }
    async fn seal_record(&self, purpose: &str, plain: &[u8]) -> PortResult<Vec<u8>> {
        let mut sealed = purpose.as_bytes().to_vec();
        sealed.push(0);
        sealed.extend(plain.iter().map(|byte| byte ^ 0xa5));
        Ok(sealed)
    }
    async fn open_record(&self, purpose: &str, sealed: &[u8]) -> PortResult<Vec<u8>> {
        let rest = sealed.strip_prefix(purpose.as_bytes()).and_then(|rest| rest.strip_prefix(&[0]));
        match rest {
            Some(rest) => Ok(rest.iter().map(|byte| byte ^ 0xa5).collect()),
            None => Err(PortError::definite(PortErrorKind::Corrupt, "sealed for another purpose")),
        }
    }
    fn random(&self, out: &mut [u8]) -> PortResult<()> {
        for byte in out {
            let mut mixed = self.counter.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            *byte = (mixed ^ mixed >> 27) as u8;
        }
        Ok(())
    }
    fn evidence(&self) -> KeyEvidence {
        KeyEvidence { kind: "software".to_owned(), simulated: true, fingerprint: String::new() }
    }
}

pub fn admin() -> Authenticated {
    Authenticated::user("root", Frontend::Admin)
}

/// A user of the S3 frontend; add it first where it must make buckets.
pub fn user(name: &str) -> Authenticated {
    Authenticated::user(name, Frontend::S3)
}

pub fn name(bucket: &str) -> BucketName {
    BucketName::new(bucket).unwrap()
}

pub fn key(key: &str) -> ObjectKey {
    ObjectKey::new(key).unwrap()
}

pub fn kind<T: std::fmt::Debug>(result: StoreResult<T>) -> StoreErrorKind {
    result.unwrap_err().kind()
}

/// One admin in one bucket: what most tests use.
#[derive(Clone, Debug)]
pub struct Here {
    pub store: Store,
    pub who: Authenticated,
    pub bucket: BucketName,
}

impl Here {
    pub async fn new(store: Store, bucket: &str) -> Self {
        let here = Self { store, who: admin(), bucket: name(bucket) };
        here.store.bucket_create(&here.who, &here.bucket, BucketOptions::default()).await.unwrap();
        here
    }
    pub async fn versioned(store: Store, bucket: &str) -> Self {
        let here = Self::new(store, bucket).await;
        here.versioning(Versioning::Enabled).await;
        here
    }
    pub async fn versioning(&self, versioning: Versioning) {
        self.store.bucket_versioning_set(&self.who, &self.bucket, versioning).await.unwrap();
    }
    pub async fn put(&self, at: &str, body: &[u8]) -> PutOutcome {
        self.put_if(at, body, WriteConditions::default()).await.unwrap()
    }
    pub async fn put_if(
        &self,
        at: &str,
        body: &[u8],
        conditions: WriteConditions,
    ) -> StoreResult<PutOutcome> {
        self.put_with(at, body, PutOptions { conditions, ..PutOptions::default() }).await
    }
    pub async fn put_with(&self, at: &str, body: &[u8], options: PutOptions) -> StoreResult<PutOutcome> {
        let mut writer = self.store.put(&self.who, &self.bucket, &key(at), options).await?;
        if !body.is_empty() {
            writer.write(Bytes::copy_from_slice(body)).await?;
        }
        writer.finish(FinishOptions::default()).await
    }
    pub async fn get(&self, at: &str) -> StoreResult<Vec<u8>> {
        self.get_version(at, None).await
    }
    pub async fn get_version(&self, at: &str, version: Option<VersionId>) -> StoreResult<Vec<u8>> {
        let options = ReadOptions { version, ..ReadOptions::default() };
        let read = self.store.get(&self.who, &self.bucket, &key(at), options).await?;
        collect(read.body(ByteRange::All)?).await
    }
    pub async fn delete(&self, at: &str) -> gw_store::DeleteOutcome {
        self.delete_version(at, None).await.unwrap()
    }
    pub async fn delete_version(
        &self,
        at: &str,
        version: Option<VersionId>,
    ) -> StoreResult<gw_store::DeleteOutcome> {
        self.store.delete(&self.who, &self.bucket, target(at, version), None).await
    }
    pub async fn usage(&self) -> gw_store::Usage {
        self.store.bucket_usage(&self.who, &self.bucket).await.unwrap()
    }
}

pub fn target(at: &str, version: Option<VersionId>) -> DeleteTarget {
    DeleteTarget { key: key(at), version, conditions: WriteConditions::default(), bypass_governance: false }
}

pub async fn collect(mut body: gw_store::ObjectBody) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    while let Some(next) = body.next().await {
        bytes.extend_from_slice(&next?);
    }
    Ok(bytes)
}
