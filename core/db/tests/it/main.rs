//! The promises of the database, on model ports.

mod basics;
