//! Users, groups, roles and managed policies of an account, as callers see them and as rows hold them.
//!
//! AWS: "IAM API Reference"; names, paths and limits are its own ("IAM and STS quotas").

use gw_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::Secret;

/// What an entity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IamKind {
    /// Somebody with keys of their own.
    User,
    /// Users with policies in common.
    Group,
    /// What others may become for a while.
    Role,
    /// A policy that may be attached to many.
    Policy,
}

/// One of an account's entities.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IamEntity {
    /// Its name, unique among its kind in the account whatever the case of its letters.
    pub name: String,
    /// `/`, or `/some/folders/`.
    pub path: String,
    /// Unique for ever, as `AIDA...`.
    pub id: String,
    /// When it was made.
    pub created: Timestamp,
    /// What people say about it.
    pub description: String,
    /// Inline policies by name, in order of name.
    pub inline: Vec<(String, String)>,
    /// ARNs of managed policies.
    pub attached: Vec<String>,
    /// Tags.
    pub tags: Vec<(String, String)>,
    /// What only its kind has.
    pub body: IamBody,
}

/// What only one kind of entity has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IamBody {
    /// A user.
    User {
        /// Its access keys, two at most.
        access_keys: Vec<String>,
        /// Its groups, in lower case.
        groups: Vec<String>,
        /// Sessions made before this time are over.
        sessions_after: Timestamp,
    },
    /// A group. Who is in it stands with its users.
    Group,
    /// A role.
    Role {
        /// The policy that says who may assume it.
        trust: String,
        /// Longest life of a session in seconds.
        session_seconds_max: u32,
        /// Sessions made before this time are over.
        sessions_after: Timestamp,
    },
    /// A managed policy.
    Policy {
        /// Five at most.
        versions: Vec<PolicyVersion>,
        /// Number of the version that counts.
        default: u32,
        /// When it was last changed.
        updated: Timestamp,
    },
}

/// A version of a managed policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// From 1; a new one is higher than all there are.
    pub number: u32,
    /// Its text.
    pub document: String,
    /// When it was made.
    pub created: Timestamp,
}

impl IamEntity {
    /// Its kind.
    pub fn kind(&self) -> IamKind {
        match self.body {
            IamBody::User { .. } => IamKind::User,
            IamBody::Group => IamKind::Group,
            IamBody::Role { .. } => IamKind::Role,
            IamBody::Policy { .. } => IamKind::Policy,
        }
    }
    /// Its ARN in an account.
    pub fn arn(&self, account: &str) -> String {
        let kind = self.kind().word();
        format!("arn:aws:iam::{account}:{kind}{}{}", self.path, self.name)
    }
}

impl IamKind {
    /// As ARNs have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Role => "role",
            Self::Policy => "policy",
        }
    }
    /// As names of actions have it.
    pub fn title(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
            Self::Role => "Role",
            Self::Policy => "Policy",
        }
    }
}

/// An entity to make.
#[derive(Clone, Debug)]
pub struct IamSpec {
    /// 1..=64 (policies and groups 128) of letters, digits and `+=,.@_-`.
    pub name: String,
    /// `None`: `/`.
    pub path: Option<String>,
    /// At most 1000 characters.
    pub description: String,
    /// At most 50.
    pub tags: Vec<(String, String)>,
    /// What its kind needs.
    pub what: IamWhat,
}

/// What an entity of one kind is made with.
#[derive(Clone, Debug)]
pub enum IamWhat {
    /// A user.
    User,
    /// A group.
    Group,
    /// A role with its policy of trust and the longest life of a session in seconds.
    Role {
        /// Who may assume it.
        trust: String,
        /// 3600..=43200.
        session_seconds_max: u32,
    },
    /// A managed policy with its first version.
    Policy {
        /// Its text.
        document: String,
    },
}

/// A change of an entity.
#[derive(Clone, Debug)]
pub enum IamChange {
    /// Another name or path.
    Rename {
        /// `None`: as it is.
        name: Option<String>,
        /// `None`: as it is.
        path: Option<String>,
    },
    /// Sets an inline policy.
    PutPolicy {
        /// Its name.
        name: String,
        /// Its text.
        document: String,
    },
    /// Removes an inline policy.
    DeletePolicy {
        /// Its name.
        name: String,
    },
    /// Attaches a managed policy.
    Attach {
        /// Its ARN.
        policy: String,
    },
    /// Detaches one.
    Detach {
        /// Its ARN.
        policy: String,
    },
    /// Puts a user into a group.
    Join {
        /// The group.
        group: String,
    },
    /// Takes it out.
    Leave {
        /// The group.
        group: String,
    },
    /// Says anew who may assume a role.
    Trust {
        /// The policy.
        document: String,
    },
    /// What people say about a role, and how long its sessions may last.
    Describe {
        /// `None`: as it is.
        description: Option<String>,
        /// `None`: as it is.
        session_seconds_max: Option<u32>,
    },
    /// Sets tags.
    Tag(Vec<(String, String)>),
    /// Removes tags by name.
    Untag(Vec<String>),
    /// Adds a version of a managed policy.
    NewVersion {
        /// Its text.
        document: String,
        /// Whether it counts from now on.
        default: bool,
    },
    /// Makes a version the one that counts.
    DefaultVersion(u32),
    /// Removes a version that does not count.
    DeleteVersion(u32),
    /// Ends all sessions of a user or a role that there are.
    RevokeSessions,
}

/// A page of entities to ask for.
#[derive(Clone, Debug, Default)]
pub struct IamListRequest {
    /// Only those whose path begins so.
    pub path_prefix: String,
    /// Only those behind this name.
    pub after: Option<String>,
    /// At most so many; at most 1000.
    pub max: usize,
}

/// A page of entities, in order of name.
#[derive(Clone, Debug)]
pub struct IamPage {
    /// They.
    pub entities: Vec<IamEntity>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// How much an account has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IamSummary {
    /// Users.
    pub users: u64,
    /// Groups.
    pub groups: u64,
    /// Roles.
    pub roles: u64,
    /// Managed policies.
    pub policies: u64,
    /// Access keys of the account itself.
    pub access_keys: u64,
}

/// When and for what an access key was last used. Kept to the quarter of an hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    /// When.
    pub at: Timestamp,
    /// `s3`, `iam` or `sts`.
    pub service: String,
    /// Region of the signature.
    pub region: String,
}

/// A role to assume.
#[derive(Clone, Debug)]
pub struct AssumeRole {
    /// Its ARN.
    pub role_arn: String,
    /// 2..=64 of letters, digits and `+=,.@_-`.
    pub session_name: String,
    /// 900..=43200, and no more than the role allows. `None`: 3600.
    pub seconds: Option<u32>,
    /// Bounds the session further.
    pub policy: Option<String>,
    /// ARNs of managed policies that do.
    pub policy_arns: Vec<String>,
    /// What the trust's condition `sts:ExternalId` asks for.
    pub external_id: Option<String>,
}

/// Credentials that end.
#[derive(Clone, Debug)]
pub struct TemporaryCredential {
    /// Begins with `ASIA`.
    pub access_key: String,
    /// For the signature.
    pub secret: Secret,
    /// Goes with every request.
    pub token: String,
    /// Until when.
    pub expires: Timestamp,
    /// Who they are.
    pub arn: String,
    /// Unique name of the same.
    pub user_id: String,
}

/// Who a principal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub account: String,
    /// The principal's ARN.
    pub arn: String,
    /// Unique name.
    pub user_id: String,
}
