//! Objects: put, read, delete, copy.

mod append;
mod copy;
mod current;
mod delete;
mod extras;
mod read;
mod rename;
mod write;

pub use read::{ObjectBody, ObjectRead};
pub use write::ObjectWriter;

pub(crate) use copy::{LOOKS_MAX, Source};
pub(crate) use current::NewObject;
pub(crate) use delete::check_lock;
pub(crate) use extras::{Extra, Spoken};
pub(crate) use read::{check_customer_key, find};
pub(crate) use rename::Renaming;
pub(crate) use write::{BodyTarget, BodyWrite, Locked, check_attributes};
