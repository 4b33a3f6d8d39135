//! Who asks, and for what. One typed principal is made once at the border of each frontend; one
//! `authorize()` in the store decides for all of them (architecture section 7).

use std::fmt;
use std::sync::Arc;

use crate::Timestamp;

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

/// What is known of a request besides its principal, act and object: what conditions of a policy ask
/// for. Looked at only where a policy with conditions stands.
pub trait Circumstances: fmt::Debug + Send + Sync {
    /// All values of a condition key, given in lower case (`aws:sourceip`, `s3:prefix`); none where
    /// the request has no such key.
    fn values(&self, key: &str) -> Vec<String>;
    /// Told when the requester, and not the bucket's owner, pays for the request.
    fn charged(&self) {}
}

/// Who asks within an account. An account owns buckets and objects and may do everything with its
/// own; its users and roles may what policies say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Actor {
    /// The account itself.
    #[default]
    Account,
    /// A user of the account, by name.
    User(Arc<str>),
    /// A session of a role of the account.
    Role {
        /// The role's name.
        role: Arc<str>,
        /// What whoever assumed it called the session.
        session: Arc<str>,
    },
}

impl Actor {
    /// The same whatever a session of it is called.
    #[must_use]
    pub fn without_session(&self) -> Self {
        match self {
            Self::Role { role, .. } => Self::Role { role: Arc::clone(role), session: "".into() },
            other => other.clone(),
        }
    }
}

/// What stands behind temporary credentials.
#[derive(Debug, PartialEq, Eq)]
pub struct Session {
    /// When the credentials were made.
    pub issued: Timestamp,
    /// When they end.
    pub expires: Timestamp,
    /// Policies that bound them further, as JSON; none: they may what the actor may.
    pub policies: Vec<Arc<str>>,
}

/// A principal whose claim was verified. Frontends make one after verifying a signature, a mount
/// or a socket's peer; everything behind them takes it by reference and cannot be called without.
#[derive(Clone, Debug)]
pub struct Authenticated {
    user: Option<Arc<str>>,
    actor: Actor,
    session: Option<Arc<Session>>,
    frontend: Frontend,
    circumstances: Option<Arc<dyn Circumstances>>,
}

/// The same actor of the same account from the same frontend, however it asks.
impl PartialEq for Authenticated {
    fn eq(&self, other: &Self) -> bool {
        self.user == other.user && self.actor == other.actor && self.frontend == other.frontend
    }
}

impl Eq for Authenticated {}

impl Authenticated {
    /// A verified account, by the name it has in the store (`user add NAME`).
    pub fn user(name: impl Into<Arc<str>>, frontend: Frontend) -> Self {
        Self { user: Some(name.into()), actor: Actor::Account, session: None, frontend, circumstances: None }
    }
    /// Narrows an account to a user or a role's session in it.
    #[must_use]
    pub fn acting_as(mut self, actor: Actor) -> Self {
        self.actor = actor;
        self
    }
    /// Says that the credentials were temporary ones.
    #[must_use]
    pub fn in_session(mut self, session: Option<Arc<Session>>) -> Self {
        self.session = session;
        self
    }
    /// Somebody who presented no credentials at all.
    pub fn anonymous(frontend: Frontend) -> Self {
        Self { user: None, actor: Actor::Account, session: None, frontend, circumstances: None }
    }
    /// Adds what policies may ask about the request.
    #[must_use]
    pub fn under(mut self, circumstances: Arc<dyn Circumstances>) -> Self {
        self.circumstances = Some(circumstances);
        self
    }
    /// Who asks within the account.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }
    /// Where the credentials are temporary ones.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }
    /// For logs and for people: `ann`, `ann/bob` for a user of hers, `ann/backup/nightly` for a
    /// session of a role. `None` for the anonymous principal.
    pub fn label(&self) -> Option<Arc<str>> {
        let account = self.user.as_ref()?;
        Some(match &self.actor {
            Actor::Account => Arc::clone(account),
            Actor::User(name) => format!("{account}/{name}").into(),
            Actor::Role { role, session } => format!("{account}/{role}/{session}").into(),
        })
    }
    /// The account: who owns what this principal makes. `None` for the anonymous principal.
    pub fn name(&self) -> Option<&str> {
        self.user.as_deref()
    }
    /// Where it came in.
    pub fn frontend(&self) -> Frontend {
        self.frontend
    }
    /// What policies may ask about the request.
    pub fn circumstances(&self) -> Option<&dyn Circumstances> {
        self.circumstances.as_deref()
    }
}

/// Declares [`Action`] with the name that policies use for each.
macro_rules! actions {
    ($($variant:ident = $name:literal),* $(,)?) => {
        /// What a principal wants to do, in the words of AWS's `s3:` actions.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action {
            $(#[doc = $name] $variant,)*
        }

        impl Action {
            /// The name in a policy.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

actions! {
    ListBuckets = "s3:ListAllMyBuckets",
    CreateBucket = "s3:CreateBucket",
    DeleteBucket = "s3:DeleteBucket",
    ListBucket = "s3:ListBucket",
    ListBucketVersions = "s3:ListBucketVersions",
    ListBucketMultipartUploads = "s3:ListBucketMultipartUploads",
    GetBucketLocation = "s3:GetBucketLocation",
    GetBucketAcl = "s3:GetBucketAcl",
    PutBucketAcl = "s3:PutBucketAcl",
    GetBucketCors = "s3:GetBucketCORS",
    PutBucketCors = "s3:PutBucketCORS",
    GetBucketLogging = "s3:GetBucketLogging",
    PutBucketLogging = "s3:PutBucketLogging",
    GetBucketNotification = "s3:GetBucketNotification",
    PutBucketNotification = "s3:PutBucketNotification",
    GetBucketObjectLockConfiguration = "s3:GetBucketObjectLockConfiguration",
    PutBucketObjectLockConfiguration = "s3:PutBucketObjectLockConfiguration",
    GetBucketOwnershipControls = "s3:GetBucketOwnershipControls",
    PutBucketOwnershipControls = "s3:PutBucketOwnershipControls",
    GetBucketPolicy = "s3:GetBucketPolicy",
    PutBucketPolicy = "s3:PutBucketPolicy",
    DeleteBucketPolicy = "s3:DeleteBucketPolicy",
    GetBucketPolicyStatus = "s3:GetBucketPolicyStatus",
    GetBucketPublicAccessBlock = "s3:GetBucketPublicAccessBlock",
    PutBucketPublicAccessBlock = "s3:PutBucketPublicAccessBlock",
    GetBucketRequestPayment = "s3:GetBucketRequestPayment",
    PutBucketRequestPayment = "s3:PutBucketRequestPayment",
    GetBucketTagging = "s3:GetBucketTagging",
    PutBucketTagging = "s3:PutBucketTagging",
    GetBucketVersioning = "s3:GetBucketVersioning",
    PutBucketVersioning = "s3:PutBucketVersioning",
    GetBucketWebsite = "s3:GetBucketWebsite",
    PutBucketWebsite = "s3:PutBucketWebsite",
    DeleteBucketWebsite = "s3:DeleteBucketWebsite",
    GetEncryptionConfiguration = "s3:GetEncryptionConfiguration",
    PutEncryptionConfiguration = "s3:PutEncryptionConfiguration",
    GetInventoryConfiguration = "s3:GetInventoryConfiguration",
    PutInventoryConfiguration = "s3:PutInventoryConfiguration",
    GetLifecycleConfiguration = "s3:GetLifecycleConfiguration",
    PutLifecycleConfiguration = "s3:PutLifecycleConfiguration",
    GetReplicationConfiguration = "s3:GetReplicationConfiguration",
    GetAccelerateConfiguration = "s3:GetAccelerateConfiguration",
    ConfigureBucket = "cess:ConfigureBucket",
    GetObject = "s3:GetObject",
    GetObjectVersion = "s3:GetObjectVersion",
    GetObjectAttributes = "s3:GetObjectAttributes",
    GetObjectVersionAttributes = "s3:GetObjectVersionAttributes",
    GetObjectAcl = "s3:GetObjectAcl",
    GetObjectVersionAcl = "s3:GetObjectVersionAcl",
    PutObjectAcl = "s3:PutObjectAcl",
    PutObjectVersionAcl = "s3:PutObjectVersionAcl",
    GetObjectTagging = "s3:GetObjectTagging",
    GetObjectVersionTagging = "s3:GetObjectVersionTagging",
    PutObjectTagging = "s3:PutObjectTagging",
    PutObjectVersionTagging = "s3:PutObjectVersionTagging",
    DeleteObjectTagging = "s3:DeleteObjectTagging",
    DeleteObjectVersionTagging = "s3:DeleteObjectVersionTagging",
    GetObjectRetention = "s3:GetObjectRetention",
    PutObjectRetention = "s3:PutObjectRetention",
    GetObjectLegalHold = "s3:GetObjectLegalHold",
    PutObjectLegalHold = "s3:PutObjectLegalHold",
    BypassGovernanceRetention = "s3:BypassGovernanceRetention",
    PutObject = "s3:PutObject",
    AbortMultipartUpload = "s3:AbortMultipartUpload",
    ListMultipartUploadParts = "s3:ListMultipartUploadParts",
    DeleteObject = "s3:DeleteObject",
    DeleteObjectVersion = "s3:DeleteObjectVersion",
    Administer = "cess:Administer",
}
