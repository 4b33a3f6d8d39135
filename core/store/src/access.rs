//! Who may do what: one function decides, for every frontend and every verb.
//!
//! Now by ownership: an admin may everything, everybody else what is in their own buckets, and
//! nobody without a name anything. Policies, ACLs and public access come into [`decide`], which is
//! given all that they need: the state, the principal, the act and its bucket. Every verb asks it
//! on the very state it reads or changes, so a right withdrawn is gone with the next commit.

use gw_db::Read;
use gw_types::{Action, Authenticated, Frontend};

use crate::error::{StoreErrorKind, StoreResult};
use crate::rows::{self, BucketRow, UserRow, key};

/// Whether `who` may do `action`, on `bucket` where the action has one and it exists.
pub(crate) fn decide(
    read: &impl Read,
    who: &Authenticated,
    action: Action,
    bucket: Option<&BucketRow>,
) -> StoreResult<()> {
    let Some(name) = who.name() else {
        return Err(StoreErrorKind::AccessDenied.into());
    };
    if who.frontend() == Frontend::Admin {
        return Ok(());
    }
    if let (Some(bucket), false) = (bucket, action == Action::Administer)
        && bucket.owner == name
    {
        return Ok(());
    }
    let Some(user) = rows::load::<UserRow>(read, "user", &key::user(name))? else {
        return Err(StoreErrorKind::AccessDenied.into());
    };
    let own = matches!(action, Action::ListBuckets | Action::CreateBucket);
    // A name without a bucket is no secret: the verb answers NoSuchBucket.
    let nothing = bucket.is_none() && action != Action::Administer;
    if user.admin || own || nothing { Ok(()) } else { Err(StoreErrorKind::AccessDenied.into()) }
}
