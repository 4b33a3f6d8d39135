//! The disk port over a real file system, and the suite that every disk runs.

pub mod conformance;
mod file;

pub use file::FileDisk;
