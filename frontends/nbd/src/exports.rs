//! Which exports there are, and who may have them.
//!
//! [`Exports`] is asked with an authenticated principal and answers with what it may see; the
//! decision is behind it. [`ExportTable`] is a fixed list with the users of each export, for
//! programs that serve files; [`crate::StoreExports`] are the store's volumes, with their leases.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use gw_types::Authenticated;

use crate::export::{Export, Properties};

/// The exports of a server.
///
/// # Contract
/// [`Exports::describe`] changes nothing and takes nothing: it serves options that only look.
/// [`Exports::attach`] may take a lease; it is given back when the returned export is dropped.
/// Between the two, the properties of a name do not change without a reason.
#[async_trait]
pub trait Exports: Send + Sync + 'static {
    /// What this principal may attach to, in order of names.
    async fn list(&self, who: &Authenticated) -> Vec<Listed>;

    /// What an export is.
    async fn describe(&self, who: &Authenticated, name: &str) -> Result<Described, Refusal>;

    /// The export itself.
    async fn attach(&self, who: &Authenticated, name: &str) -> Result<Attached, Refusal>;
}

/// An entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name by which it is attached.
    pub name: String,
    /// A sentence for people.
    pub description: String,
}

/// What an export is.
#[derive(Clone, Debug)]
pub struct Described {
    /// Its own name: the empty name may stand for another one.
    pub name: String,
    /// Size and abilities.
    pub properties: Properties,
}

/// An export in use.
#[derive(Clone)]
pub struct Attached {
    /// Its own name.
    pub name: String,
    /// The device.
    pub export: Arc<dyn Export>,
}

/// Why an export cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is none of this name, or none that this principal may know of.
    #[error("there is no export of this name")]
    Unknown,
    /// The principal may know of it, but not attach to it.
    #[error("this client may not attach to the export")]
    NotAllowed,
    /// Somebody else holds it.
    #[error("the export is attached elsewhere and has one writer")]
    Busy,
    /// It cannot be had now.
    #[error("the export cannot be had now")]
    Unavailable,
}

/// Who may have an export of an [`ExportTable`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Whoever was let in.
    Anyone,
    /// These users.
    Users(Vec<String>),
}

impl Who {
    fn has(&self, who: &Authenticated) -> bool {
        match self {
            Self::Anyone => true,
            Self::Users(users) => who.name().is_some_and(|name| users.iter().any(|user| user == name)),
        }
    }
}

/// A fixed list of exports. The empty name stands for the only one, when there is only one.
#[derive(Default)]
pub struct ExportTable {
    entries: BTreeMap<String, (Arc<dyn Export>, Who)>,
}

impl ExportTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds an export, or puts it in the place of another one.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, export: Arc<dyn Export>, who: Who) -> Self {
        self.entries.insert(name.into(), (export, who));
        self
    }

    fn find(&self, who: &Authenticated, name: &str) -> Result<(&String, &Arc<dyn Export>), Refusal> {
        let only = || (name.is_empty() && self.entries.len() == 1).then(|| self.entries.first_key_value())?;
        let (name, (export, may)) = self.entries.get_key_value(name).or_else(only).ok_or(Refusal::Unknown)?;
        // Somebody who may not have it does not learn that it is there.
        if may.has(who) { Ok((name, export)) } else { Err(Refusal::Unknown) }
    }
}

#[async_trait]
impl Exports for ExportTable {
    async fn list(&self, who: &Authenticated) -> Vec<Listed> {
        let visible = self.entries.iter().filter(|(_, (_, may))| may.has(who));
        let listed = |(name, (export, _)): (&String, &(Arc<dyn Export>, Who))| Listed {
            name: name.clone(),
            description: export.properties().description.clone(),
        };
        visible.map(listed).collect()
    }
    async fn describe(&self, who: &Authenticated, name: &str) -> Result<Described, Refusal> {
        let (name, export) = self.find(who, name)?;
        Ok(Described { name: name.clone(), properties: export.properties().clone() })
    }
    async fn attach(&self, who: &Authenticated, name: &str) -> Result<Attached, Refusal> {
        let (name, export) = self.find(who, name)?;
        Ok(Attached { name: name.clone(), export: Arc::clone(export) })
    }
}
