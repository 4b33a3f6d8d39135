//! The promises of the S3 frontend, through sockets, against a store in memory.
//!
//! Two clients ask: aws-sdk-s3, as users do, and `wire`, which writes requests byte by byte with
//! signatures by aws-sigv4, an implementation that shares nothing with the server's.

#![expect(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]

mod auth;
mod backing;
mod bodies;
mod clients;
mod forms;
mod harness;
mod iam;
mod inventories;
mod listing;
mod logs;
mod multipart;
mod objects;
mod rules;
mod server;
mod tls;
mod websites;
mod wire;
