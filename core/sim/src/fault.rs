//! A disk that fails on demand, around any other.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use gw_types::ports::{Disk, DiskEntry, DiskFile};
use gw_types::{PortError, PortErrorKind, PortResult};
use parking_lot::Mutex;

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultOp {
    /// [`Disk::create`].
    Create,
    /// [`Disk::open`].
    Open,
    /// [`Disk::remove`].
    Remove,
    /// [`Disk::rename`].
    Rename,
    /// [`Disk::sync_dir`].
    SyncDir,
    /// [`DiskFile::write_at`].
    Write,
    /// [`DiskFile::read_at`].
    Read,
    /// [`DiskFile::sync`].
    Sync,
    /// [`DiskFile::set_len`].
    SetLen,
}

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The device reports an error; nothing was done.
    Eio,
    /// No room; nothing was done.
    Enospc,
    /// It was done, and an error is reported all the same.
    DoneButEio,
    /// It never comes back ([`FaultOp::Read`]; all other calls fail as with [`Fault::Eio`]).
    Hangs,
}

#[derive(Debug)]
struct Rule {
    op: FaultOp,
    /// Part of the names it applies to.
    part: String,
    /// Calls that still pass.
    pass: u64,
    /// Calls that fail then.
    fail: u64,
    fault: Fault,
}

#[derive(Debug, Default)]
struct Plan {
    rules: Vec<Rule>,
    hits: u64,
}

impl Plan {
    fn draw(&mut self, op: FaultOp, name: &str) -> Option<Fault> {
        for rule in self.rules.iter_mut().filter(|rule| rule.op == op && name.contains(&rule.part)) {
            if rule.pass > 0 {
                rule.pass -= 1;
            } else if rule.fail > 0 {
                rule.fail -= 1;
                self.hits += 1;
                return Some(rule.fault);
            }
        }
        None
    }
}

fn error(op: FaultOp, name: &str, fault: Fault) -> PortError {
    let what = format!("{op:?} of {name:?} (injected)");
    match fault {
        Fault::Enospc => PortError::from_io(what, std::io::Error::from(std::io::ErrorKind::StorageFull)),
        Fault::Eio | Fault::Hangs => PortError::definite(PortErrorKind::Unavailable, what),
        Fault::DoneButEio => PortError::unknown(PortErrorKind::Unavailable, what),
    }
}

/// Fails chosen calls; all others go to the disk inside. Clones share the plan.
#[derive(Clone, Debug)]
pub struct FaultDisk {
    inner: Arc<dyn Disk>,
    plan: Arc<Mutex<Plan>>,
}

impl FaultDisk {
    /// Fails nothing yet.
    pub fn new(inner: Arc<dyn Disk>) -> Self {
        Self { inner, plan: Arc::default() }
    }
    /// The call of this kind after `pass` more ones fails, once.
    pub fn fail(&self, op: FaultOp, pass: u64, fault: Fault) {
        self.fail_named(op, "", pass, 1, fault);
    }
    /// As [`FaultDisk::fail`], but all calls from then on fail.
    pub fn fail_from(&self, op: FaultOp, pass: u64, fault: Fault) {
        self.fail_named(op, "", pass, u64::MAX, fault);
    }
    /// The `fail` calls after `pass` more ones on files whose name contains `part`.
    pub fn fail_named(&self, op: FaultOp, part: &str, pass: u64, fail: u64, fault: Fault) {
        self.plan.lock().rules.push(Rule { op, part: part.into(), pass, fail, fault });
    }
    /// Fails nothing any more.
    pub fn heal(&self) {
        self.plan.lock().rules.clear();
    }
    /// How many calls have been failed.
    pub fn hits(&self) -> u64 {
        self.plan.lock().hits
    }

    fn file(&self, name: &str, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(FaultFile { name: name.into(), inner, plan: self.plan.clone() })
    }
}

/// Does the act unless it must fail before, and reports the failure if it must fail after.
fn with_fault<T>(
    plan: &Mutex<Plan>,
    op: FaultOp,
    name: &str,
    act: impl FnOnce() -> PortResult<T>,
) -> PortResult<T> {
    let fault = plan.lock().draw(op, name);
    match fault {
        None => act(),
        Some(Fault::DoneButEio) => act().and(Err(error(op, name, Fault::DoneButEio))),
        Some(fault) => Err(error(op, name, fault)),
    }
}

#[async_trait]
impl Disk for FaultDisk {
    fn create(&self, name: &str) -> PortResult<Arc<dyn DiskFile>> {
        with_fault(&self.plan, FaultOp::Create, name, || Ok(self.file(name, self.inner.create(name)?)))
    }
    fn open(&self, name: &str) -> PortResult<Arc<dyn DiskFile>> {
        with_fault(&self.plan, FaultOp::Open, name, || Ok(self.file(name, self.inner.open(name)?)))
    }
    fn remove(&self, name: &str) -> PortResult<()> {
        with_fault(&self.plan, FaultOp::Remove, name, || self.inner.remove(name))
    }
    fn rename(&self, from: &str, to: &str) -> PortResult<()> {
        with_fault(&self.plan, FaultOp::Rename, to, || self.inner.rename(from, to))
    }
    fn list(&self, folder: &str) -> PortResult<Vec<DiskEntry>> {
        self.inner.list(folder)
    }
    async fn sync_dir(&self, folder: &str) -> PortResult<()> {
        let fault = self.plan.lock().draw(FaultOp::SyncDir, folder);
        if fault.is_none_or(|fault| fault == Fault::DoneButEio) {
            self.inner.sync_dir(folder).await?;
        }
        fault.map_or(Ok(()), |fault| Err(error(FaultOp::SyncDir, folder, fault)))
    }
    fn free_bytes(&self) -> PortResult<u64> {
        self.inner.free_bytes()
    }
}

#[derive(Debug)]
struct FaultFile {
    name: String,
    inner: Arc<dyn DiskFile>,
    plan: Arc<Mutex<Plan>>,
}

#[async_trait]
impl DiskFile for FaultFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> PortResult<()> {
        with_fault(&self.plan, FaultOp::Write, &self.name, || self.inner.write_at(offset, bytes))
    }
    async fn read_at(&self, offset: u64, len: usize) -> PortResult<Bytes> {
        let fault = self.plan.lock().draw(FaultOp::Read, &self.name);
        match fault {
            None => self.inner.read_at(offset, len).await,
            Some(Fault::Hangs) => std::future::pending().await,
            Some(fault) => Err(error(FaultOp::Read, &self.name, fault)),
        }
    }
    async fn sync(&self) -> PortResult<()> {
        let fault = self.plan.lock().draw(FaultOp::Sync, &self.name);
        if fault.is_none_or(|fault| fault == Fault::DoneButEio) {
            self.inner.sync().await?;
        }
        fault.map_or(Ok(()), |fault| Err(error(FaultOp::Sync, &self.name, fault)))
    }
    fn len(&self) -> PortResult<u64> {
        self.inner.len()
    }
    fn set_len(&self, len: u64) -> PortResult<()> {
        with_fault(&self.plan, FaultOp::SetLen, &self.name, || self.inner.set_len(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemDisk;

    #[tokio::test]
    async fn the_chosen_call_fails_and_the_others_pass() {
        let disk = FaultDisk::new(Arc::new(MemDisk::new()));
        let file = disk.create("one").unwrap();
        disk.fail(FaultOp::Write, 1, Fault::Enospc);
        disk.fail_from(FaultOp::Sync, 0, Fault::Eio);
        file.write_at(0, b"a").unwrap();
        assert_eq!(file.write_at(1, b"b").unwrap_err().kind(), PortErrorKind::Full);
        file.write_at(1, b"b").unwrap();
        assert!(file.sync().await.is_err() && file.sync().await.is_err());
        assert_eq!(disk.hits(), 3);
        disk.heal();
        file.sync().await.unwrap();
    }
}
