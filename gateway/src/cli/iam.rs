//! `user key`, `group`, `role` and `policy`: what is in an account.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// In which account
#[derive(Args, Clone, Debug)]
pub struct In {
    /// The account, by its name in `user list`
    #[arg(long = "in", value_name = "ACCOUNT")]
    pub account: String,
}

#[derive(Debug, Subcommand)]
pub enum KeyOfVerb {
    /// Access keys of an account, or of a user in one
    List {
        name: String,
        #[arg(long = "in", value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Make one more; its secret is shown once
    Add {
        name: String,
        #[arg(long = "in", value_name = "ACCOUNT")]
        account: Option<String>,
        /// Write access key and secret to this file (0600, JSON) instead of the terminal
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Switch one off: requests signed with it are refused
    Disable {
        name: String,
        access_key: String,
        #[arg(long = "in", value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Switch one on again
    Enable {
        name: String,
        access_key: String,
        #[arg(long = "in", value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Remove one
    Remove {
        name: String,
        access_key: String,
        #[arg(long = "in", value_name = "ACCOUNT")]
        account: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum GroupVerb {
    /// Groups of an account
    List {
        #[command(flatten)]
        of: In,
    },
    /// Make a group
    Add {
        name: String,
        #[command(flatten)]
        of: In,
    },
    /// Users in a group
    Members {
        name: String,
        #[command(flatten)]
        of: In,
    },
    /// Put a user into a group
    Join {
        name: String,
        user: String,
        #[command(flatten)]
        of: In,
    },
    /// Take a user out of a group
    Leave {
        name: String,
        user: String,
        #[command(flatten)]
        of: In,
    },
    /// Remove a group that is empty and without policies
    Remove {
        name: String,
        #[command(flatten)]
        of: In,
    },
}

#[derive(Debug, Subcommand)]
pub enum RoleVerb {
    /// Roles of an account
    List {
        #[command(flatten)]
        of: In,
    },
    /// Make a role
    Add {
        name: String,
        /// File with the policy that says who may assume it
        #[arg(long, value_name = "FILE")]
        trust: PathBuf,
        /// Longest life of a session in seconds, 3600 to 43200
        #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
        session_seconds_max: u32,
        #[command(flatten)]
        of: In,
    },
    /// End all its sessions at once
    Revoke {
        name: String,
        #[command(flatten)]
        of: In,
    },
    /// Remove a role without policies
    Remove {
        name: String,
        #[command(flatten)]
        of: In,
    },
}

/// Whom a policy is for
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct For {
    /// A user of the account
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// A group of the account
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// A role of the account
    #[arg(long, value_name = "NAME")]
    pub role: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum PolicyVerb {
    /// Managed policies: the account's own, and AWS's that are known here
    List {
        #[command(flatten)]
        of: In,
    },
    /// Make a managed policy from a file
    Add {
        name: String,
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        of: In,
    },
    /// Give a managed policy a new text, which counts from now on
    Update {
        arn: String,
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        of: In,
    },
    /// The text of a managed policy
    Show {
        arn: String,
        #[command(flatten)]
        of: In,
    },
    /// Remove a managed policy that nobody has
    Remove {
        arn: String,
        #[command(flatten)]
        of: In,
    },
    /// Attach a managed policy
    Attach {
        arn: String,
        #[command(flatten)]
        whom: For,
        #[command(flatten)]
        of: In,
    },
    /// Detach one
    Detach {
        arn: String,
        #[command(flatten)]
        whom: For,
        #[command(flatten)]
        of: In,
    },
    /// Set an inline policy from a file
    Put {
        name: String,
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        whom: For,
        #[command(flatten)]
        of: In,
    },
    /// Remove an inline policy
    Delete {
        name: String,
        #[command(flatten)]
        whom: For,
        #[command(flatten)]
        of: In,
    },
    /// What somebody has: attached and inline
    Of {
        #[command(flatten)]
        whom: For,
        #[command(flatten)]
        of: In,
    },
}
