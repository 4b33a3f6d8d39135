//! Who asks, and for what. One typed principal is made once at the border of each frontend; one
//! `authorize()` in the store decides for all of them (architecture section 7).

use std::sync::Arc;

/// The frontend that made a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frontend {
    /// SigV4, header or presigned.
    S3,
    /// The mount's uid map.
    Fuse,
    /// Peer credentials, client certificate or token.
    Nbd,
    /// The 0600 admin socket or the admin token.
    Admin,
}

/// A principal whose claim was verified. Frontends make one after verifying a signature, a mount
/// or a socket's peer; everything behind them takes it by reference and cannot be called without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    user: Option<Arc<str>>,
    frontend: Frontend,
}

impl Authenticated {
    /// A verified user, by the name it has in the store (`user add NAME`).
    pub fn user(name: impl Into<Arc<str>>, frontend: Frontend) -> Self {
        Self { user: Some(name.into()), frontend }
    }
    /// Somebody who presented no credentials at all.
    pub fn anonymous(frontend: Frontend) -> Self {
        Self { user: None, frontend }
    }
    /// `None` for the anonymous principal.
    pub fn name(&self) -> Option<&str> {
        self.user.as_deref()
    }
    /// Where it came in.
    pub fn frontend(&self) -> Frontend {
        self.frontend
    }
}

/// What a principal wants to do, in the words of AWS's `s3:` actions that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// s3:ListAllMyBuckets
    ListBuckets,
    /// s3:CreateBucket
    CreateBucket,
    /// s3:DeleteBucket
    DeleteBucket,
    /// s3:ListBucket, s3:ListBucketVersions, s3:ListBucketMultipartUploads
    ListBucket,
    /// s3:Get* and s3:Put* of a bucket's settings
    ConfigureBucket,
    /// s3:GetObject, s3:GetObjectVersion, s3:GetObjectAttributes
    GetObject,
    /// s3:PutObject, s3:AbortMultipartUpload, s3:ListMultipartUploadParts
    PutObject,
    /// s3:DeleteObject, s3:DeleteObjectVersion
    DeleteObject,
    /// Users, quotas, territories, keys: the admin's own.
    Administer,
}
