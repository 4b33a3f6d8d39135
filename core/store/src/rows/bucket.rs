//! Tables 0x12 and 0x14: a bucket by name. What it holds is a row of its own ([`crate::Usage`]),
//! because every put rewrites that and none rewrites this.

use gw_types::ports::WrappedBucketKey;
use gw_types::{InodeId, StreamId, Timestamp};
use serde::{Deserialize, Serialize};

use super::FORM;
use crate::api::{BucketRules, BucketSettings};
use crate::error::{StoreError, StoreResult};

/// Version byte of a row with rules behind it.
const FORM_WITH_RULES: u8 = 2;

/// A bucket. Its number is its root directory.
///
/// ```text
///   1 | the fields below but the rules
///   2 | the same                       | rules
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BucketRow {
    pub(crate) root: InodeId,
    pub(crate) owner: String,
    pub(crate) created: Timestamp,
    /// Stream that its commits belong to.
    pub(crate) stream: StreamId,
    pub(crate) key: WrappedBucketKey,
    pub(crate) settings: BucketSettings,
    /// Written behind the rest, and only where there are any.
    #[serde(skip)]
    pub(crate) rules: BucketRules,
}

impl BucketRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let plain = super::encode(self);
        if self.rules == BucketRules::default() {
            return plain;
        }
        let mut out = plain;
        out[0] = FORM_WITH_RULES;
        postcard::to_extend(&self.rules, out)
            .expect("rules hold no type that postcard cannot write, and a Vec grows")
    }

    pub(crate) fn decode(value: &[u8]) -> StoreResult<Self> {
        let broken = |error| StoreError::corrupt("a bucket row does not decode").with_source(error);
        match value.split_first() {
            Some((form @ (&FORM | &FORM_WITH_RULES), body)) => {
                let (mut row, rest): (Self, _) = postcard::take_from_bytes(body).map_err(broken)?;
                if *form == FORM_WITH_RULES {
                    row.rules = postcard::from_bytes(rest).map_err(broken)?;
                }
                Ok(row)
            }
            _ => Err(StoreError::corrupt("a bucket row has a form this version does not know")),
        }
    }
}

#[cfg(test)]
mod tests {
    use gw_types::ports::WrappedBucketKey;
    use gw_types::{InodeId, StreamId, Timestamp};

    use super::BucketRow;
    use crate::api::{
        BucketEncryption, BucketRules, BucketSettings, DefaultRetention, Grant, Grantee, LockMode,
        LockPeriod, ObjectLock, Ownership, Permission, PublicBlock,
    };

    fn row(rules: BucketRules) -> BucketRow {
        BucketRow {
            root: InodeId(4096),
            owner: "o".to_owned(),
            created: Timestamp(1_000_000_000),
            stream: StreamId(1),
            key: WrappedBucketKey(vec![0xcc]),
            settings: BucketSettings { region: "cess-1".to_owned(), ..BucketSettings::default() },
            rules,
        }
    }

    #[test]
    fn a_bucket_without_rules_is_written_as_before_there_were_any() {
        let plain = row(BucketRules::default());
        assert_eq!(plain.encode(), super::super::encode(&plain));
        assert_eq!(BucketRow::decode(&plain.encode()).unwrap(), plain);
    }

    #[test]
    fn rules_stand_behind_the_rest() {
        let rules = BucketRules {
            ownership: Some(Ownership::ObjectWriter),
            public_block: Some(PublicBlock { ignore_acls: true, ..PublicBlock::default() }),
            acl: Some(vec![Grant { grantee: Grantee::AllUsers, permission: Permission::Read }]),
            policy: Some(300),
            lock: Some(ObjectLock {
                default: Some(DefaultRetention { mode: LockMode::Compliance, period: LockPeriod::Years(2) }),
            }),
            encrypt: Some(BucketEncryption::Kms { key: Some("k".to_owned()), bucket_key: true }),
            requester_pays: false,
            lifecycle: Some(5),
            cors: true,
            notify: Some(6),
            logging: true,
        };
        let row = row(rules);
        let bytes = row.encode();
        let golden = "028020016f80a8d6b9070101cc00000006636573732d310001020100010000010101010 1ac020101010102010101016b0100010501010601";
        assert_eq!(hex::encode(&bytes), golden.replace(' ', ""));
        assert_eq!(BucketRow::decode(&bytes).unwrap(), row);
        for cut in 0..bytes.len() {
            assert!(BucketRow::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}
