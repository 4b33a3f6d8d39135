//! Any `Files` by paths, as a kernel would walk them: every lookup is forgotten again.

use std::collections::BTreeMap;
use std::sync::Arc;

use gw_store::files::{
    Caller, DirEntry, Errno, FileAttr, FileId, FileKind, Files, FilesResult, Found, HandleId, OpenFlags,
    RenameMode, SetAttr,
};
use gw_store::{MountBuckets, MountOptions, StoreFiles};
use gw_types::{Authenticated, Frontend};

use crate::support::Here;

pub const ROOT_USER: Caller = Caller { uid: 0, gid: 0, pid: 1, umask: 0 };
pub const WRITE: OpenFlags =
    OpenFlags { read: true, write: true, append: false, truncate: false, sync: false, exclusive: false };

#[derive(Clone)]
pub struct Paths {
    pub files: Arc<dyn Files>,
    pub caller: Caller,
}

/// A found inode, forgotten when it goes.
pub struct Looked {
    files: Arc<dyn Files>,
    pub found: Option<Found>,
    pub id: FileId,
}

impl Drop for Looked {
    fn drop(&mut self) {
        if self.found.is_some() {
            self.files.forget(self.id, 1);
        }
    }
}

fn split(path: &str) -> (&str, &[u8]) {
    match path.rsplit_once('/') {
        Some((parent, name)) => (parent, name.as_bytes()),
        None => ("", path.as_bytes()),
    }
}

impl Paths {
    pub fn new(files: Arc<dyn Files>) -> Self {
        Self { files, caller: ROOT_USER }
    }
    fn keep(&self, found: Found) -> Looked {
        Looked { files: self.files.clone(), found: Some(found), id: found.attr.id }
    }
    pub fn look(&self, path: &str) -> FilesResult<Looked> {
        let mut at = Looked { files: self.files.clone(), found: None, id: FileId::ROOT };
        for name in path.split('/').filter(|name| !name.is_empty()) {
            at = self.keep(self.files.lookup(&self.caller, at.id, name.as_bytes())?);
        }
        Ok(at)
    }
    pub fn stat(&self, path: &str) -> FilesResult<FileAttr> {
        let looked = self.look(path)?;
        self.files.getattr(looked.id)
    }
    pub fn mkdir(&self, path: &str, mode: u32) -> FilesResult<Looked> {
        let (parent, name) = split(path);
        let parent = self.look(parent)?;
        Ok(self.keep(self.files.mkdir(&self.caller, parent.id, name, mode)?))
    }
    /// Makes and closes an empty file.
    pub async fn touch(&self, path: &str) -> FilesResult<()> {
        let (_looked, handle) = self.create(path, 0o644)?;
        self.files.release(handle).await
    }
    pub fn create(&self, path: &str, mode: u32) -> FilesResult<(Looked, HandleId)> {
        let (parent, name) = split(path);
        let parent = self.look(parent)?;
        let flags = OpenFlags { exclusive: true, ..WRITE };
        let (found, handle) = self.files.create(&self.caller, parent.id, name, mode, flags)?;
        Ok((self.keep(found), handle))
    }
    pub fn mknod(&self, path: &str, kind: FileKind, mode: u32, rdev: u32) -> FilesResult<()> {
        let (parent, name) = split(path);
        let parent = self.look(parent)?;
        let found = self.files.mknod(&self.caller, parent.id, name, kind, mode, rdev)?;
        drop(self.keep(found));
        Ok(())
    }
    pub fn symlink(&self, path: &str, target: &str) -> FilesResult<()> {
        let (parent, name) = split(path);
        let parent = self.look(parent)?;
        drop(self.keep(self.files.symlink(&self.caller, parent.id, name, target.as_bytes())?));
        Ok(())
    }
    pub fn link(&self, old: &str, new: &str) -> FilesResult<()> {
        let old = self.look(old)?;
        let (parent, name) = split(new);
        let parent = self.look(parent)?;
        drop(self.keep(self.files.link(&self.caller, old.id, parent.id, name)?));
        Ok(())
    }
    pub fn unlink(&self, path: &str) -> FilesResult<()> {
        let (parent, name) = split(path);
        let parent = self.look(parent)?;
        self.files.unlink(&self.caller, parent.id, name)
    }
    pub fn rmdir(&self, path: &str) -> FilesResult<()> {
        let (parent, name) = split(path);
        let parent = self.look(parent)?;
        self.files.rmdir(&self.caller, parent.id, name)
    }
    pub fn rename(&self, old: &str, new: &str, mode: RenameMode) -> FilesResult<()> {
        let (old_parent, old_name) = split(old);
        let (new_parent, new_name) = split(new);
        let (from, to) = (self.look(old_parent)?, self.look(new_parent)?);
        self.files.rename(&self.caller, (from.id, old_name), (to.id, new_name), mode)
    }
    pub fn set(&self, path: &str, set: SetAttr) -> FilesResult<FileAttr> {
        let looked = self.look(path)?;
        self.files.setattr(&self.caller, looked.id, None, &set)
    }
    /// Entries but the dots, in pages of `page`.
    pub fn list(&self, path: &str, page: usize) -> FilesResult<Vec<DirEntry>> {
        let looked = self.look(path)?;
        let handle = self.files.opendir(&self.caller, looked.id)?;
        let mut all = Vec::new();
        let mut cookie = 0;
        loop {
            let entries = self.files.readdir(handle, cookie, page, false)?;
            let Some(last) = entries.last() else { break };
            cookie = last.cookie;
            all.extend(entries.into_iter().filter(|entry| entry.name != b"." && entry.name != b".."));
        }
        self.files.releasedir(handle);
        Ok(all)
    }
    pub fn names(&self, path: &str) -> Vec<String> {
        let mut names: Vec<_> = self
            .list(path, 7)
            .unwrap()
            .into_iter()
            .map(|entry| String::from_utf8_lossy(&entry.name).into_owned())
            .collect();
        names.sort();
        names
    }
}

/// Kind and bytes of everything, by path.
pub type Contents = BTreeMap<String, (FileKind, Vec<u8>)>;

impl Paths {
    pub async fn contents(&self) -> Contents {
        self.try_contents().await.unwrap()
    }

    pub async fn try_contents(&self) -> FilesResult<Contents> {
        let mut all = Contents::new();
        let mut todo = vec![String::new()];
        while let Some(at) = todo.pop() {
            for entry in self.list(&at, 5)? {
                let name = String::from_utf8(entry.name).unwrap();
                let path = if at.is_empty() { name } else { format!("{at}/{name}") };
                let bytes = match entry.kind {
                    FileKind::Regular => self.whole(entry.id).await?,
                    _ => Vec::new(),
                };
                if entry.kind == FileKind::Directory {
                    todo.push(path.clone());
                }
                all.insert(path, (entry.kind, bytes));
            }
        }
        Ok(all)
    }

    async fn whole(&self, id: FileId) -> FilesResult<Vec<u8>> {
        let len = self.files.getattr(id)?.size;
        let flags = OpenFlags { read: true, ..OpenFlags::default() };
        let handle = self.files.open(&self.caller, id, flags)?;
        let bytes = self.files.read(handle, 0, len as u32 + 10).await;
        self.files.release(handle).await?;
        let bytes = bytes?;
        assert_eq!(bytes.len() as u64, len);
        Ok(bytes.to_vec())
    }
}

/// The bucket of `here`, mounted.
pub async fn mount(here: &Here) -> Paths {
    Paths::new(Arc::new(mount_files(here).await))
}

pub async fn mount_files(here: &Here) -> StoreFiles {
    let who = Authenticated::user("root", Frontend::Admin);
    let options = MountOptions::new(who, MountBuckets::One(here.bucket.clone()));
    here.store.mount(options).await.unwrap()
}

pub fn errno<T>(result: FilesResult<T>) -> Errno {
    match result {
        Ok(_) => panic!("this should have failed"),
        Err(error) => error.errno,
    }
}
