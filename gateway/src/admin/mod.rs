//! The admin API: JSON over HTTP, on a 0600 unix socket for the command line and, where asked for,
//! on TCP with a token. `wire` is what both sides say.

mod buckets;
pub mod client;
mod metrics;
pub mod routes;
pub mod server;
mod users;
pub mod volumes;
pub mod wire;
