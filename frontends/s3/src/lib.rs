//! The S3 frontend: Amazon's API over the store, for every client that speaks it.
//!
//! ```text
//! tls        certificates that may be replaced              ServerTls
//! socket     time limits on bytes, TCP_NODELAY            PatientSocket
//! hyper      HTTP/1.1 and HTTP/2
//! layer      request id, access line, metrics, error documents
//! cors       preflights, and what lets pages of other origins see an answer
//! guard      form of credentials, host, sizes; frames and pace of the body
//! form       browser uploads: their fields and policy become a PUT
//! verify     SigV4 by s3s; one typed principal, made once in the gate
//! ops        s3s's operations -> gw_store::Store
//! ```
//!
//! A request passes these in order and none can be skipped: an operation cannot be called without a
//! principal, a body cannot be committed before its digests are compared (`digest`), and every
//! decision about objects is the store's. s3s and hyper are known nowhere else in the workspace.
//!
//! What is left out for now answers plainly that it is (501, or AWS's error for a bucket that never
//! had the setting): replication and transitions of
//! storage classes.
//!
//! s3s logs every S3 error at ERROR, a plain 404 too, and at DEBUG it prints what must not be in a
//! log. Whoever sets up tracing adds [`LOG_DIRECTIVE`]; failures that are ours are logged by this
//! crate.

mod access_lines;
mod access_log;
mod budget;
mod config;
mod cors;
mod dates;
mod digest;
mod document;
mod errors;
mod form;
mod guard;
mod iam;
mod inventory;
mod layer;
mod metrics;
mod ops;
mod percent;
mod refusal;
mod said;
mod server;
mod socket;
mod tls;
mod trail;
mod verify;
mod website;
mod xml;

pub use access_lines::{AccessLines, LostLines};
pub use config::{EventArn, Limits, LogLimits, NewBuckets, S3Config};
pub use iam::{IamActs, IamRefusal};
pub use inventory::{Inventories, InventoryDone};
pub use metrics::S3Metrics;
pub use server::{RunningS3, S3Server};
pub use tls::ServerTls;

/// What a tracing filter must contain, whatever else it says.
pub const LOG_DIRECTIVE: &str = "s3s=off";
