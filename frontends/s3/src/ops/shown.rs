//! The store's values in s3s's words.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gw_store::{Checksum, ChecksumAlgorithm, ChecksumKind, Encryption, Etag, Expiry};
use s3s::dto;

use crate::dates::system_time;
use crate::digest;
use crate::percent;

/// An entity tag.
pub(crate) fn etag(etag: &Etag) -> dto::ETag {
    dto::ETag::Strong(etag.to_string())
}

/// A user, as owner.
pub(crate) fn owner(name: &str) -> dto::Owner {
    dto::Owner { display_name: Some(name.to_owned()), id: Some(name.to_owned()) }
}

/// A length in s3s's signed type. The store's objects are at most 5 TiB.
pub(crate) fn length(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// `x-amz-expiration`
pub(crate) fn expiration(expiry: Option<&Expiry>) -> Option<String> {
    let expiry = expiry?;
    let at = httpdate::fmt_http_date(system_time(expiry.at));
    Some(format!("expiry-date=\"{at}\", rule-id=\"{}\"", percent::encode(&expiry.rule)))
}

/// AWS's word for how a checksum was taken.
pub(crate) fn kind_word(kind: ChecksumKind) -> &'static str {
    match kind {
        ChecksumKind::FullObject => dto::ChecksumType::FULL_OBJECT,
        ChecksumKind::Composite => dto::ChecksumType::COMPOSITE,
    }
}

/// Checksums as text, one place for each algorithm, as s3s's outputs have them.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) crc32: Option<String>,
    pub(crate) crc32c: Option<String>,
    pub(crate) crc64nvme: Option<String>,
    pub(crate) sha1: Option<String>,
    pub(crate) sha256: Option<String>,
    pub(crate) kind: Option<dto::ChecksumType>,
}

impl Shown {
    /// `parts`: how many parts a composite one was taken over; AWS appends it.
    pub(crate) fn of(checksums: &[Checksum], parts: Option<u32>) -> Self {
        let mut shown = Self::default();
        for checksum in checksums {
            let mut text = STANDARD.encode(&checksum.value);
            if let (ChecksumKind::Composite, Some(parts)) = (checksum.kind, parts) {
                text = format!("{text}-{parts}");
            }
            let place = match checksum.algorithm {
                ChecksumAlgorithm::Crc32 => &mut shown.crc32,
                ChecksumAlgorithm::Crc32c => &mut shown.crc32c,
                ChecksumAlgorithm::Crc64Nvme => &mut shown.crc64nvme,
                ChecksumAlgorithm::Sha1 => &mut shown.sha1,
                ChecksumAlgorithm::Sha256 => &mut shown.sha256,
            };
            *place = Some(text);
            shown.kind = Some(dto::ChecksumType::from_static(kind_word(checksum.kind)));
        }
        shown
    }
}

/// How many parts an object's tag says it was made of.
pub(crate) fn part_count(etag: &Etag) -> Option<u32> {
    match etag {
        Etag::Parts(_, count) => Some(*count),
        Etag::Md5(_) | Etag::Opaque(_) => None,
    }
}

/// Fills the five checksum fields of one of s3s's outputs.
macro_rules! show_checksums {
    ($output:expr, $shown:expr) => {{
        let shown: $crate::ops::shown::Shown = $shown;
        $output.checksum_crc32 = shown.crc32;
        $output.checksum_crc32c = shown.crc32c;
        $output.checksum_crc64nvme = shown.crc64nvme;
        $output.checksum_sha1 = shown.sha1;
        $output.checksum_sha256 = shown.sha256;
        shown.kind
    }};
}
pub(crate) use show_checksums;

/// How an object's data key is kept, for the answer.
#[derive(Debug, Default)]
pub(crate) struct Encrypted {
    pub(crate) managed: Option<dto::ServerSideEncryption>,
    pub(crate) kms_key: Option<String>,
    pub(crate) bucket_key: Option<bool>,
    pub(crate) customer_algorithm: Option<String>,
    pub(crate) customer_md5: Option<String>,
}

impl Encrypted {
    pub(crate) fn of(encryption: Option<&Encryption>) -> Self {
        match encryption {
            None => Self::default(),
            Some(Encryption::Managed) => Self {
                managed: Some(dto::ServerSideEncryption::from_static(dto::ServerSideEncryption::AES256)),
                ..Self::default()
            },
            Some(Encryption::Kms { key, bucket_key, .. }) => Self {
                managed: Some(dto::ServerSideEncryption::from_static(dto::ServerSideEncryption::AWS_KMS)),
                kms_key: Some(key.clone()),
                bucket_key: Some(*bucket_key),
                ..Self::default()
            },
            Some(Encryption::Customer { key_md5 }) => Self {
                customer_algorithm: Some("AES256".to_owned()),
                customer_md5: Some(STANDARD.encode(key_md5)),
                ..Self::default()
            },
        }
    }
}

/// Fills the fields of one of s3s's outputs that say how it is encrypted.
macro_rules! show_encryption {
    ($output:expr, $encrypted:expr) => {{
        let encrypted: $crate::ops::shown::Encrypted = $encrypted;
        $output.server_side_encryption = encrypted.managed;
        $output.ssekms_key_id = encrypted.kms_key;
        $output.bucket_key_enabled = encrypted.bucket_key;
        $output.sse_customer_algorithm = encrypted.customer_algorithm;
        $output.sse_customer_key_md5 = encrypted.customer_md5;
    }};
}
pub(crate) use show_encryption;

/// In a listing: only how it was computed.
pub(crate) fn listed_checksum(
    checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
) -> (Option<Vec<dto::ChecksumAlgorithm>>, Option<dto::ChecksumType>) {
    match checksum {
        None => (None, None),
        Some((algorithm, kind)) => (
            Some(vec![dto::ChecksumAlgorithm::from_static(digest::word(algorithm))]),
            Some(dto::ChecksumType::from_static(kind_word(kind))),
        ),
    }
}

#[cfg(test)]
mod tests {
    use gw_store::{Checksum, ChecksumAlgorithm, ChecksumKind};

    use super::Shown;

    #[test]
    fn composite_checksums_say_over_how_many_parts() {
        let checksum = |kind| Checksum { algorithm: ChecksumAlgorithm::Crc32, kind, value: vec![0; 4] };
        assert_eq!(Shown::of(&[checksum(ChecksumKind::Composite)], Some(3)).crc32.unwrap(), "AAAAAA==-3");
        let full = Shown::of(&[checksum(ChecksumKind::FullObject)], Some(3));
        assert_eq!((full.crc32.unwrap().as_str(), full.kind.unwrap().as_str()), ("AAAAAA==", "FULL_OBJECT"));
    }
}
