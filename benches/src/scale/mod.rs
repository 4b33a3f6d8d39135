//! scale: what a store of millions of objects costs, on each catalog engine.
//!
//! One store is filled for each engine, in a process of its own so that its memory is its own: the
//! real `gw-store` on the real database, journal and engine, with small bodies under random names in a
//! thousand directories, from many writers that wait until their object is staged. Only the segment
//! files are left out ([`world`]): the disk drops what is written to them, because they are the same
//! bytes whatever the engine. Then, in the middle of further PUTs, the process is killed with SIGKILL,
//! and others open what it left: after the kill, after a clean stop, and with the catalog deleted.
//! They look rows up and scan, and check on the way that every object is there.
//!
//! It decides nothing by itself: it prints figures ([`report`]).

pub mod cli;
pub mod fill;
pub mod lists;
pub mod open;
pub mod report;
pub mod world;

/// What ends the tool.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or a child process.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A port.
    #[error(transparent)]
    Port(#[from] gw_types::PortError),
    /// The database.
    #[error(transparent)]
    Db(#[from] gw_db::DbError),
    /// The data layer.
    #[error(transparent)]
    Data(#[from] gw_data::DataError),
    /// The store.
    #[error(transparent)]
    Store(#[from] gw_store::StoreError),
    /// What a child process said.
    #[error("a line that a child process printed: {0}")]
    Line(#[from] serde_json::Error),
    /// Something is not as it must be.
    #[error("{0}")]
    Wrong(String),
}

/// A result of the tool.
pub type Result<T> = std::result::Result<T, Error>;

/// Names what was being done when a file or process failed.
pub(crate) fn doing(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Io { doing: what.into(), source }
}
