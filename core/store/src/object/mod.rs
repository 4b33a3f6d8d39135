//! Objects: put, read, delete, copy.

mod copy;
mod current;
mod delete;
mod document;
mod read;
mod write;

pub use read::{ObjectBody, ObjectRead};
pub use write::ObjectWriter;

pub(crate) use copy::{LOOKS_MAX, Source};
pub(crate) use current::NewObject;
pub(crate) use document::DocumentTarget;
pub(crate) use read::find;
pub(crate) use write::{BodyTarget, BodyWrite, check_attributes};
