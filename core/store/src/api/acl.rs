//! Access control lists, ownership and the public access block, as callers see them.
//!
//! AWS: "Access control list (ACL) overview", "Controlling ownership of objects", "Blocking public
//! access". A list holds grants to users and groups; what a bucket's ownership makes of it is
//! decided by the store.

use serde::{Deserialize, Serialize};

/// Most grants of one list (AWS).
pub const GRANTS_MAX: usize = 100;

/// Who is granted something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grantee {
    /// One user, by name.
    User(String),
    /// Everybody, with or without credentials.
    AllUsers,
    /// Every user.
    AuthenticatedUsers,
    /// AWS's log delivery group; nobody here.
    LogDelivery,
}

impl Grantee {
    /// Whether strangers are in it.
    pub fn is_public(&self) -> bool {
        matches!(self, Self::AllUsers | Self::AuthenticatedUsers)
    }
}

/// What is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Permission {
    /// All four.
    FullControl,
    /// Listing of a bucket; bytes of an object.
    Read,
    /// Putting and deleting in a bucket; nothing for an object.
    Write,
    /// Reading the list itself.
    ReadAcp,
    /// Changing the list itself.
    WriteAcp,
}

impl Permission {
    /// Whether this one contains `other`.
    pub fn covers(self, other: Self) -> bool {
        self == other || self == Self::FullControl
    }
}

/// One line of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// To whom.
    pub grantee: Grantee,
    /// What.
    pub permission: Permission,
}

/// AWS's ready-made lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannedAcl {
    /// private
    Private,
    /// public-read
    PublicRead,
    /// public-read-write
    PublicReadWrite,
    /// authenticated-read
    AuthenticatedRead,
    /// bucket-owner-read
    BucketOwnerRead,
    /// bucket-owner-full-control
    BucketOwnerFullControl,
    /// log-delivery-write
    LogDeliveryWrite,
}

impl CannedAcl {
    /// `None` for a word AWS does not have.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "private" => Self::Private,
            "public-read" => Self::PublicRead,
            "public-read-write" => Self::PublicReadWrite,
            "authenticated-read" => Self::AuthenticatedRead,
            "bucket-owner-read" => Self::BucketOwnerRead,
            "bucket-owner-full-control" => Self::BucketOwnerFullControl,
            "log-delivery-write" => Self::LogDeliveryWrite,
            _ => return None,
        })
    }

    /// The list, for something that `owner` owns in a bucket of `bucket_owner`. Groups stand before
    /// the owner.
    pub(crate) fn grants(self, owner: &str, bucket_owner: &str) -> Vec<Grant> {
        let grant = |grantee, permission| Grant { grantee, permission };
        let user = |name: &str| Grantee::User(name.to_owned());
        let mut grants = match self {
            Self::Private => vec![],
            Self::PublicRead => vec![grant(Grantee::AllUsers, Permission::Read)],
            Self::PublicReadWrite => {
                vec![grant(Grantee::AllUsers, Permission::Read), grant(Grantee::AllUsers, Permission::Write)]
            }
            Self::AuthenticatedRead => vec![grant(Grantee::AuthenticatedUsers, Permission::Read)],
            Self::BucketOwnerRead if owner != bucket_owner => {
                vec![grant(user(bucket_owner), Permission::Read)]
            }
            Self::BucketOwnerFullControl if owner != bucket_owner => {
                vec![grant(user(bucket_owner), Permission::FullControl)]
            }
            Self::BucketOwnerRead | Self::BucketOwnerFullControl => vec![],
            Self::LogDeliveryWrite => vec![
                grant(Grantee::LogDelivery, Permission::Write),
                grant(Grantee::LogDelivery, Permission::ReadAcp),
            ],
        };
        grants.push(grant(user(owner), Permission::FullControl));
        grants
    }
}

/// A list that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AclRequest {
    /// `x-amz-acl`
    Canned(CannedAcl),
    /// `x-amz-grant-*` or a document.
    Grants(Vec<Grant>),
}

/// A list that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclInfo {
    /// Who owns the bucket or object.
    pub owner: String,
    /// Who may what.
    pub grants: Vec<Grant>,
}

/// Who owns objects that others put into a bucket, and whether lists count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ownership {
    /// The bucket's owner owns all; lists are off.
    BucketOwnerEnforced,
    /// The writer, unless it says `bucket-owner-full-control`.
    BucketOwnerPreferred,
    /// The writer.
    ObjectWriter,
}

impl Ownership {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BucketOwnerEnforced => "BucketOwnerEnforced",
            Self::BucketOwnerPreferred => "BucketOwnerPreferred",
            Self::ObjectWriter => "ObjectWriter",
        }
    }
    /// `None` for another word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::BucketOwnerEnforced, Self::BucketOwnerPreferred, Self::ObjectWriter]
            .into_iter()
            .find(|ownership| ownership.as_str() == word)
    }
}

/// The four switches against access by strangers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicBlock {
    /// Public lists cannot be set.
    pub block_acls: bool,
    /// Public grants do not count.
    pub ignore_acls: bool,
    /// Public policies cannot be set.
    pub block_policy: bool,
    /// A public policy lets in the owner's own only.
    pub restrict_buckets: bool,
}

impl PublicBlock {
    /// All four.
    pub const ALL: Self =
        Self { block_acls: true, ignore_acls: true, block_policy: true, restrict_buckets: true };
}

#[cfg(test)]
mod tests {
    use super::{CannedAcl, Grant, Grantee, Permission};

    #[test]
    fn canned_lists_name_the_owner_last_and_the_bucket_owner_once() {
        let own = CannedAcl::BucketOwnerFullControl.grants("ann", "ann");
        let full = |name: &str| Grant {
            grantee: Grantee::User(name.to_owned()),
            permission: Permission::FullControl,
        };
        assert_eq!(own, vec![full("ann")]);
        assert_eq!(CannedAcl::BucketOwnerFullControl.grants("bob", "ann"), vec![full("ann"), full("bob")]);
        let public = CannedAcl::parse("public-read").unwrap().grants("ann", "ann");
        assert!(public[0].grantee.is_public() && public[1] == full("ann"));
        assert!(CannedAcl::parse("public").is_none());
        assert!(Permission::FullControl.covers(Permission::WriteAcp));
        assert!(!Permission::Write.covers(Permission::Read));
    }
}
