//! Uploads in parts.
//!
//! An upload is a row at its key, its parts are rows under its number. Nothing of it is a name, so
//! listings and mounts do not see it. Completing checks the parts on a snapshot and then, in one
//! commit, only that none was put since; the parts' maps are joined, not copied.

mod complete;
mod part;
mod upload;

pub use part::PartWriter;

pub(crate) use part::PartPlace;
