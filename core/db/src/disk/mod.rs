//! The disk port over a real file system.

mod file;
pub use file::FileDisk;
