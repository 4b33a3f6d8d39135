//! Catalog engines: ordered maps that index the journal.
pub mod memory;
mod value;
pub use memory::MemoryCatalog;
