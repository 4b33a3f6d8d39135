//! A bucket's inventories, between AWS's documents and the store's.
//!
//! Lists are made as CSV; ORC and Parquet are refused, and so is the column of access lists.

use gw_store::{Inventory, InventoryEvery, InventoryField, InventorySeal, StoreErrorKind};
use gw_types::BucketName;
use s3s::dto;
use s3s::{S3Request, S3Response, S3Result};

use super::Operations;
use super::ask::{Ask, argument, bucket, not_implemented};
use super::wants::{key_name, malformed};
use crate::errors::from_store;

const CURRENT: &str = "Current";
const ALL: &str = "All";
const DAILY: &str = "Daily";
const WEEKLY: &str = "Weekly";
pub(crate) const ARN: &str = "arn:aws:s3:::";

/// AWS's words for columns, in the order of [`InventoryField`].
pub(crate) const FIELDS: [(InventoryField, &str); 14] = [
    (InventoryField::Size, "Size"),
    (InventoryField::LastModified, "LastModifiedDate"),
    (InventoryField::Etag, "ETag"),
    (InventoryField::StorageClass, "StorageClass"),
    (InventoryField::Multipart, "IsMultipartUploaded"),
    (InventoryField::Replication, "ReplicationStatus"),
    (InventoryField::Encryption, "EncryptionStatus"),
    (InventoryField::LockUntil, "ObjectLockRetainUntilDate"),
    (InventoryField::LockMode, "ObjectLockMode"),
    (InventoryField::LegalHold, "ObjectLockLegalHoldStatus"),
    (InventoryField::Tiering, "IntelligentTieringAccessTier"),
    (InventoryField::BucketKey, "BucketKeyStatus"),
    (InventoryField::Checksum, "ChecksumAlgorithm"),
    (InventoryField::Owner, "ObjectOwner"),
];

impl Operations {
    pub(super) async fn show_inventory(
        &self,
        request: S3Request<dto::GetBucketInventoryConfigurationInput>,
    ) -> S3Result<S3Response<dto::GetBucketInventoryConfigurationOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let name = bucket(&input.bucket)?;
        self.expect_owner(&ask, &name, input.expected_bucket_owner.as_deref()).await?;
        let all = self.store.bucket_inventories(ask.who, &name).await.map_err(from_store)?;
        let found = all.into_iter().find(|info| info.inventory.id == input.id);
        let found = found.ok_or_else(|| from_store(StoreErrorKind::NoSuchInventory.into()))?;
        Ok(S3Response::new(dto::GetBucketInventoryConfigurationOutput {
            inventory_configuration: Some(shown(found.inventory)),
        }))
    }

    /// All of a bucket's fit into one answer (AWS: pages of 100).
    pub(super) async fn list_inventories(
        &self,
        request: S3Request<dto::ListBucketInventoryConfigurationsInput>,
    ) -> S3Result<S3Response<dto::ListBucketInventoryConfigurationsOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let name = bucket(&input.bucket)?;
        self.expect_owner(&ask, &name, input.expected_bucket_owner.as_deref()).await?;
        if input.continuation_token.is_some() {
            return Err(argument("The continuation token provided is incorrect"));
        }
        let all = self.store.bucket_inventories(ask.who, &name).await.map_err(from_store)?;
        let list: Vec<_> = all.into_iter().map(|info| shown(info.inventory)).collect();
        Ok(S3Response::new(dto::ListBucketInventoryConfigurationsOutput {
            continuation_token: None,
            inventory_configuration_list: (!list.is_empty()).then_some(list),
            is_truncated: Some(false),
            next_continuation_token: None,
        }))
    }

    pub(super) async fn set_inventory(
        &self,
        request: S3Request<dto::PutBucketInventoryConfigurationInput>,
    ) -> S3Result<S3Response<dto::PutBucketInventoryConfigurationOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let name = bucket(&input.bucket)?;
        self.expect_owner(&ask, &name, input.expected_bucket_owner.as_deref()).await?;
        let inventory = read(input.inventory_configuration)?;
        if inventory.id != input.id {
            return Err(argument("The id of the request and that of the configuration differ."));
        }
        self.store
            .bucket_inventory_set(ask.who, &name, &input.id, Some(inventory))
            .await
            .map_err(from_store)?;
        Ok(S3Response::new(dto::PutBucketInventoryConfigurationOutput::default()))
    }

    pub(super) async fn remove_inventory(
        &self,
        request: S3Request<dto::DeleteBucketInventoryConfigurationInput>,
    ) -> S3Result<S3Response<dto::DeleteBucketInventoryConfigurationOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let name = bucket(&input.bucket)?;
        self.expect_owner(&ask, &name, input.expected_bucket_owner.as_deref()).await?;
        self.store.bucket_inventory_set(ask.who, &name, &input.id, None).await.map_err(from_store)?;
        Ok(S3Response::new(dto::DeleteBucketInventoryConfigurationOutput::default()))
    }
}

fn read(document: dto::InventoryConfiguration) -> S3Result<Inventory> {
    let target = document.destination.s3_bucket_destination;
    if target.format.as_str() != dto::InventoryFormat::CSV {
        return Err(match target.format.as_str() {
            dto::InventoryFormat::ORC | dto::InventoryFormat::PARQUET => {
                not_implemented("This gateway makes inventories as CSV only.")
            }
            _ => malformed(),
        });
    }
    let name = target.bucket.strip_prefix(ARN).ok_or_else(malformed)?;
    BucketName::new(name).map_err(|_| malformed())?;
    let seal = match target.encryption {
        None => InventorySeal::Unsaid,
        Some(dto::InventoryEncryption { ssekms: Some(kms), sses3: None }) => {
            InventorySeal::Kms(key_name(&kms.key_id))
        }
        Some(dto::InventoryEncryption { ssekms: None, sses3: Some(_) }) => InventorySeal::Managed,
        Some(_) => return Err(malformed()),
    };
    let all_versions = match document.included_object_versions.as_str() {
        ALL => true,
        CURRENT => false,
        _ => return Err(malformed()),
    };
    let every = match document.schedule.frequency.as_str() {
        DAILY => InventoryEvery::Day,
        WEEKLY => InventoryEvery::Week,
        _ => return Err(malformed()),
    };
    let mut fields = Vec::new();
    for wanted in document.optional_fields.iter().flatten() {
        match FIELDS.iter().find(|(_, word)| *word == wanted.as_str()) {
            Some((field, _)) => fields.push(*field),
            None if wanted.as_str() == dto::InventoryOptionalField::OBJECT_ACCESS_CONTROL_LIST => {
                return Err(not_implemented("Inventories of this gateway do not list access control lists."));
            }
            None => return Err(malformed()),
        }
    }
    fields.sort();
    fields.dedup();
    Ok(Inventory {
        id: document.id,
        enabled: document.is_enabled,
        all_versions,
        every,
        prefix: document.filter.map(|filter| filter.prefix).unwrap_or_default(),
        fields,
        target: name.to_owned(),
        target_prefix: target.prefix.unwrap_or_default(),
        seal,
    })
}

fn shown(inventory: Inventory) -> dto::InventoryConfiguration {
    let words = inventory.fields.iter().filter_map(|field| {
        let (_, word) = FIELDS.iter().find(|(known, _)| known == field)?;
        Some(dto::InventoryOptionalField::from_static(word))
    });
    let words: Vec<_> = words.collect();
    let encryption = match inventory.seal {
        InventorySeal::Unsaid => None,
        InventorySeal::Managed => {
            Some(dto::InventoryEncryption { ssekms: None, sses3: Some(dto::SSES3::default()) })
        }
        InventorySeal::Kms(key_id) => {
            Some(dto::InventoryEncryption { ssekms: Some(dto::SSEKMS { key_id }), sses3: None })
        }
    };
    let target = dto::InventoryS3BucketDestination {
        account_id: None,
        bucket: format!("{ARN}{}", inventory.target),
        encryption,
        format: dto::InventoryFormat::from_static(dto::InventoryFormat::CSV),
        prefix: (!inventory.target_prefix.is_empty()).then_some(inventory.target_prefix),
    };
    let versions = if inventory.all_versions { ALL } else { CURRENT };
    let frequency = match inventory.every {
        InventoryEvery::Day => DAILY,
        InventoryEvery::Week => WEEKLY,
    };
    dto::InventoryConfiguration {
        destination: dto::InventoryDestination { s3_bucket_destination: target },
        filter: (!inventory.prefix.is_empty()).then_some(dto::InventoryFilter { prefix: inventory.prefix }),
        id: inventory.id,
        included_object_versions: dto::InventoryIncludedObjectVersions::from_static(versions),
        is_enabled: inventory.enabled,
        optional_fields: (!words.is_empty()).then_some(words),
        schedule: dto::InventorySchedule { frequency: dto::InventoryFrequency::from_static(frequency) },
    }
}
