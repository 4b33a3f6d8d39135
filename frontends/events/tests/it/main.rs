//! The promises of delivery, with real receivers on loopback and a store on model ports.

#![expect(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]

mod backing;
mod delivery;
mod jetstream;
mod nats_server;
mod receiver;
