//! One list: lines to compressed objects, then the manifests that say where they are.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use gw_store::{
    ChecksumAlgorithm, ContentHeaders, Encryption, Etag, FinishOptions, Inventory, InventoryEntry,
    InventoryField, InventoryObject, InventoryRun, InventorySeal, KmsWish, ObjectAttributes, ObjectWants,
    ObjectWriter, PutOptions, Store, StoreError, StoreErrorKind, StoreResult, VersionId,
};
use gw_types::{Authenticated, BucketName, ObjectKey};
use md5::{Digest as _, Md5};

use crate::ops::inventory::{ARN, FIELDS};
use crate::percent;

/// Lines of one data object.
const LINES_MAX: u64 = 1_000_000;
/// Compressed bytes that are handed on at a time.
const BATCH_BYTES: usize = 256 << 10;

/// A data object that is there.
struct File {
    key: String,
    size: u64,
    md5: String,
}

/// A data object that is being put.
struct Open {
    key: String,
    writer: ObjectWriter,
    packed: GzEncoder<Vec<u8>>,
    lines: u64,
    size: u64,
}

/// A list that is being made.
pub(super) struct Report<'a> {
    store: &'a Store,
    who: &'a Authenticated,
    source: &'a BucketName,
    inventory: &'a Inventory,
    target: BucketName,
    run: InventoryRun,
    /// `PREFIX/SOURCE/ID`.
    folder: String,
    manifest: String,
    files: Vec<File>,
    open: Option<Open>,
    lines: u64,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        (store, who): (&'a Store, &'a Authenticated),
        (source, inventory): (&'a BucketName, &'a Inventory),
        run: InventoryRun,
    ) -> StoreResult<Self> {
        let target = BucketName::new(&*inventory.target)
            .map_err(|_| StoreError::from(StoreErrorKind::InvalidInventoryTarget))?;
        let prefix = inventory.target_prefix.trim_end_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        let folder = format!("{prefix}{slash}{source}/{}", inventory.id);
        let (hour, minute) = run.started.hour_minute();
        let manifest = format!("{folder}/{}T{hour:02}-{minute:02}Z/manifest.json", run.started.day());
        Ok(Self {
            store,
            who,
            source,
            inventory,
            target,
            run,
            folder,
            manifest,
            files: Vec::new(),
            open: None,
            lines: 0,
        })
    }

    /// Where the manifest goes.
    pub(super) fn manifest_key(&self) -> &str {
        &self.manifest
    }

    /// Lines so far.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// Takes lines.
    pub(super) async fn add(&mut self, entries: &[InventoryEntry]) -> StoreResult<()> {
        let mut text = String::new();
        for entry in entries {
            if self.open.as_ref().is_some_and(|open| open.lines >= LINES_MAX) {
                self.close().await?;
            }
            if self.open.is_none() {
                self.open = Some(self.begin().await?);
            }
            let Some(open) = &mut self.open else { continue };
            text.clear();
            line(&mut text, self.source, self.inventory, entry);
            open.packed.write_all(text.as_bytes()).map_err(packing)?;
            open.lines += 1;
            self.lines += 1;
            if open.packed.get_ref().len() >= BATCH_BYTES {
                let batch = std::mem::take(open.packed.get_mut());
                open.size += batch.len() as u64;
                open.writer.write(Bytes::from(batch)).await?;
            }
        }
        Ok(())
    }

    /// Ends the last data object and puts the manifests.
    pub(super) async fn finish(&mut self) -> StoreResult<()> {
        self.close().await?;
        let links: String =
            self.files.iter().map(|file| format!("s3://{}/{}\n", self.target, file.key)).collect();
        let (hour, minute) = self.run.started.hour_minute();
        let hive =
            format!("{}/hive/dt={}-{hour:02}-{minute:02}/symlink.txt", self.folder, self.run.started.day());
        self.put(&hive, "text/plain", links).await?;
        let manifest = self.manifest_text();
        let checksum = hex::encode(Md5::digest(manifest.as_bytes()));
        let beside = self.manifest.replace("manifest.json", "manifest.checksum");
        self.put(&beside, "text/plain", checksum).await?;
        let at = self.manifest.clone();
        self.put(&at, "application/json", manifest).await
    }

    async fn begin(&self) -> StoreResult<Open> {
        let InventoryRun { started, .. } = self.run;
        let named = format!("{}/{}/{}/{}", self.source, self.inventory.id, started.0, self.files.len());
        let uuid = uuid(Md5::digest(named.as_bytes()).into());
        let key = format!("{}/data/{uuid}.csv.gz", self.folder);
        let writer =
            self.store.put(self.who, &self.target, &at(&key)?, self.options("application/gzip")).await?;
        let packed = GzEncoder::new(Vec::new(), Compression::default());
        Ok(Open { key, writer, packed, lines: 0, size: 0 })
    }

    async fn close(&mut self) -> StoreResult<()> {
        let Some(Open { key, mut writer, packed, size, .. }) = self.open.take() else { return Ok(()) };
        let rest = packed.finish().map_err(packing)?;
        let size = size + rest.len() as u64;
        writer.write(Bytes::from(rest)).await?;
        let put = writer.finish(FinishOptions::default()).await?;
        let md5 = match put.etag {
            Etag::Md5(md5) => hex::encode(md5),
            other => other.to_string(),
        };
        self.files.push(File { key, size, md5 });
        Ok(())
    }

    fn options(&self, kind: &str) -> PutOptions {
        let headers = ContentHeaders { content_type: Some(kind.to_owned()), ..ContentHeaders::default() };
        let (managed, kms) = match &self.inventory.seal {
            InventorySeal::Unsaid => (false, None),
            InventorySeal::Managed => (true, None),
            InventorySeal::Kms(key) => {
                (false, Some(KmsWish { key: Some(key.clone()), ..KmsWish::default() }))
            }
        };
        PutOptions {
            attributes: ObjectAttributes { headers, ..ObjectAttributes::default() },
            wants: ObjectWants { managed, kms, ..ObjectWants::default() },
            ..PutOptions::default()
        }
    }

    async fn put(&self, key: &str, kind: &str, text: String) -> StoreResult<()> {
        let mut options = self.options(kind);
        options.len_hint = Some(text.len() as u64);
        let mut writer = self.store.put(self.who, &self.target, &at(key)?, options).await?;
        if !text.is_empty() {
            writer.write(Bytes::from(text)).await?;
        }
        writer.finish(FinishOptions::default()).await.map(|_| ())
    }

    fn manifest_text(&self) -> String {
        let files: Vec<_> = self
            .files
            .iter()
            .map(|file| serde_json::json!({ "key": file.key, "size": file.size, "MD5checksum": file.md5 }))
            .collect();
        let manifest = serde_json::json!({
            "sourceBucket": self.source.as_str(),
            "destinationBucket": format!("{ARN}{}", self.target),
            "version": "2016-11-30",
            "creationTimestamp": (self.run.started.0 / 1_000_000).to_string(),
            "fileFormat": "CSV",
            "fileSchema": schema(self.inventory),
            "files": files,
        });
        format!("{manifest:#}")
    }
}

fn at(key: &str) -> StoreResult<ObjectKey> {
    ObjectKey::new(key).map_err(|error| {
        StoreError::new(StoreErrorKind::InvalidArgument, "an inventory's keys would be too long")
            .with_source(error)
    })
}

/// Writing to memory does not fail; a fault of the compressor would be ours.
fn packing(error: std::io::Error) -> StoreError {
    StoreError::from(StoreErrorKind::Internal).with_source(error)
}

/// Bytes as a UUID is written.
fn uuid(bytes: [u8; 16]) -> String {
    let hex = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Names of the columns.
fn schema(inventory: &Inventory) -> String {
    let mut columns = vec!["Bucket", "Key"];
    if inventory.all_versions {
        columns.extend(["VersionId", "IsLatest", "IsDeleteMarker"]);
    }
    let named = inventory.fields.iter().filter_map(|field| FIELDS.iter().find(|(known, _)| known == field));
    columns.extend(named.map(|(_, word)| *word));
    columns.join(", ")
}

/// One line. Every value is quoted, and keys are percent-encoded, so no value holds a quote.
fn line(text: &mut String, source: &BucketName, inventory: &Inventory, entry: &InventoryEntry) {
    let mut value = |value: &str| {
        if !text.is_empty() {
            text.push(',');
        }
        text.push('"');
        text.push_str(&value.replace('"', "\"\""));
        text.push('"');
    };
    value(source.as_str());
    value(&percent::encode(&entry.key));
    if inventory.all_versions {
        match entry.version {
            VersionId::Null => value(""),
            version => value(&version.to_string()),
        }
        value(said(entry.is_latest));
        value(said(entry.object.is_none()));
    }
    for field in &inventory.fields {
        value(&column(*field, entry));
    }
    text.push('\n');
}

fn said(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

fn column(field: InventoryField, entry: &InventoryEntry) -> String {
    if field == InventoryField::LastModified {
        return entry.last_modified.iso_millis();
    }
    let Some(object) = &entry.object else { return String::new() };
    match field {
        InventoryField::Size => object.size.to_string(),
        InventoryField::Etag => object.etag.to_string(),
        InventoryField::StorageClass => object.class.as_str().to_owned(),
        InventoryField::Multipart => said(matches!(object.etag, Etag::Parts(..))).to_owned(),
        InventoryField::Checksum => object.checksum.map(checksum).unwrap_or_default().to_owned(),
        InventoryField::LastModified | InventoryField::Replication | InventoryField::Tiering => String::new(),
        InventoryField::Encryption
        | InventoryField::LockUntil
        | InventoryField::LockMode
        | InventoryField::LegalHold
        | InventoryField::BucketKey
        | InventoryField::Owner => beside(field, object),
    }
}

fn beside(field: InventoryField, object: &InventoryObject) -> String {
    let Some(beside) = &object.beside else { return String::new() };
    match field {
        // Every object is sealed by the gateway, asked for or not.
        InventoryField::Encryption => match &beside.encryption {
            Some(Encryption::Customer { .. }) => "SSE-C",
            Some(Encryption::Kms { .. }) => "SSE-KMS",
            Some(Encryption::Managed) | None => "SSE-S3",
        }
        .to_owned(),
        InventoryField::LockUntil => {
            beside.retention.map(|retention| retention.until.iso_millis()).unwrap_or_default()
        }
        InventoryField::LockMode => {
            beside.retention.map(|retention| retention.mode.as_str()).unwrap_or_default().to_owned()
        }
        InventoryField::LegalHold => match beside.hold {
            Some(true) => "ON",
            Some(false) => "OFF",
            None => "",
        }
        .to_owned(),
        InventoryField::BucketKey => match &beside.encryption {
            Some(Encryption::Kms { bucket_key: true, .. }) => "ENABLED",
            _ => "DISABLED",
        }
        .to_owned(),
        InventoryField::Owner => beside.owner.clone(),
        _ => String::new(),
    }
}

/// AWS's word.
fn checksum(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc32 => "CRC32",
        ChecksumAlgorithm::Crc32c => "CRC32C",
        ChecksumAlgorithm::Crc64Nvme => "CRC64NVME",
        ChecksumAlgorithm::Sha1 => "SHA1",
        ChecksumAlgorithm::Sha256 => "SHA256",
    }
}

#[cfg(test)]
mod tests {
    use gw_store::{
        Etag, Inventory, InventoryEntry, InventoryEvery, InventoryField, InventoryObject, InventorySeal,
        StorageClass, VersionId,
    };
    use gw_types::{BucketName, Timestamp, VersionSeq};

    use super::{line, schema, uuid};

    fn inventory(all_versions: bool, fields: Vec<InventoryField>) -> Inventory {
        Inventory {
            id: "i".to_owned(),
            enabled: true,
            all_versions,
            every: InventoryEvery::Day,
            prefix: String::new(),
            fields,
            target: "t".to_owned(),
            target_prefix: String::new(),
            seal: InventorySeal::Unsaid,
        }
    }

    #[test]
    fn lines_are_aws_s() {
        let object = InventoryObject {
            size: 7,
            etag: Etag::Parts([0x11; 16], 2),
            class: StorageClass::Standard,
            checksum: None,
            beside: None,
        };
        let entry = InventoryEntry {
            key: "a b/\"é".to_owned(),
            version: VersionId::Seq(VersionSeq(1)),
            is_latest: false,
            last_modified: Timestamp(1_500_000_000),
            object: Some(object),
        };
        let source = BucketName::new("src").unwrap();
        let shown = |inventory: &Inventory, entry: &InventoryEntry| {
            let mut text = String::new();
            line(&mut text, &source, inventory, entry);
            text
        };
        assert_eq!(shown(&inventory(false, Vec::new()), &entry), "\"src\",\"a%20b/%22%C3%A9\"\n");
        let all = inventory(
            true,
            vec![
                InventoryField::Size,
                InventoryField::LastModified,
                InventoryField::Etag,
                InventoryField::Multipart,
                InventoryField::Replication,
            ],
        );
        assert_eq!(
            schema(&all),
            "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, IsMultipartUploaded, \
             ReplicationStatus"
        );
        assert_eq!(
            shown(&all, &entry),
            "\"src\",\"a%20b/%22%C3%A9\",\"0000000000000001\",\"false\",\"false\",\"7\",\
             \"1970-01-01T00:00:01.500Z\",\"11111111111111111111111111111111-2\",\"true\",\"\"\n"
        );
        let marker = InventoryEntry { object: None, is_latest: true, version: VersionId::Null, ..entry };
        assert_eq!(
            shown(&all, &marker),
            "\"src\",\"a%20b/%22%C3%A9\",\"\",\"true\",\"true\",\"\",\"1970-01-01T00:00:01.500Z\",\"\",\"\",\"\"\n"
        );
    }

    #[test]
    fn names_of_data_are_uuids() {
        assert_eq!(uuid([0xab; 16]), "abababab-abab-abab-abab-abababababab");
    }
}
