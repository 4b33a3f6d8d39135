//! A mount to run suites in: of a namespace in memory, of the development gateway, or somebody's.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Asked, target};
use crate::demo::{Aws, Ready, Stack, wait_for};
use crate::run::{Result, cargo, run};

const START_TIMEOUT: Duration = Duration::from_secs(120);
/// The bucket that suites run in.
const BUCKET: &str = "suites";

/// A mount to run in.
pub struct Place {
    /// Inside of the mount, where files can be made.
    at: PathBuf,
    server: Server,
    /// Everything of ours, outside of the mount.
    scratch: Option<PathBuf>,
}

enum Server {
    /// Somebody's mount.
    None,
    Memory(Child),
    Gateway(Box<Stack>, Ready),
}

impl Place {
    /// What is asked for, with or without the writeback cache.
    pub fn new(asked: &Asked, writeback: bool) -> Result<Self> {
        if let Some(at) = &asked.mount {
            return Ok(Self { at: at.clone(), server: Server::None, scratch: None });
        }
        // Short: the suites make sockets, whose paths have at most 107 bytes.
        let scratch = std::env::temp_dir().join(format!("px{}-{}", std::process::id(), u8::from(writeback)));
        let at = scratch.join("mnt");
        std::fs::create_dir_all(&at).map_err(|error| error.to_string())?;
        if !asked.gateway {
            let child = memory(asked, &at, writeback)?;
            let mut place = Self { at: at.clone(), server: Server::Memory(child), scratch: Some(scratch) };
            place.wait_for_mount(&at)?;
            return Ok(place);
        }
        let (stack, ready) = gateway(asked, &scratch, &at, writeback)?;
        // A directory of the root is a bucket.
        let bucket = at.join(BUCKET);
        let server = Server::Gateway(Box::new(stack), ready);
        let place = Self { at: bucket.clone(), server, scratch: Some(scratch) };
        std::fs::create_dir_all(&bucket).map_err(|error| format!("making a bucket: {error}"))?;
        Ok(place)
    }

    fn wait_for_mount(&mut self, at: &Path) -> Result<()> {
        let Server::Memory(child) = &mut self.server else { return Ok(()) };
        let mounted = wait_for(START_TIMEOUT, || match child.try_wait() {
            Ok(Some(status)) => Err(format!("the server ended at once: {status}")),
            _ => Ok(is_mounted(at).then_some(())),
        })?;
        mounted.ok_or_else(|| "the server does not get ready".to_owned())
    }

    /// A folder of the mount for one suite.
    ///
    /// The Rust suite cannot make its longest paths below a very short one, so names are long here.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let at = self.at.join(name);
        std::fs::create_dir_all(&at).map_err(|error| format!("{}: {error}", at.display()))?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&at, mode).map_err(|error| format!("{}: {error}", at.display()))?;
        Ok(at)
    }

    /// Whether S3 answers the bytes that the mount reads; nothing to do where there is no S3.
    pub fn compare_with_s3(&self, file: &Path) -> Result<()> {
        let (Server::Gateway(_, ready), Some(scratch)) = (&self.server, &self.scratch) else { return Ok(()) };
        let key = file.strip_prefix(&self.at).map_err(|error| format!("{}: {error}", file.display()))?;
        let copy = scratch.join("by-s3");
        let from = format!("s3://{BUCKET}/{}", key.display());
        Aws::new(ready).s3(&["cp", "--quiet", &from, &copy.to_string_lossy()])?;
        let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        let (by_s3, by_mount) = (read(&copy)?, read(file)?);
        match by_s3.iter().zip(&by_mount).position(|(one, other)| one != other) {
            _ if by_s3 == by_mount => Ok(()),
            Some(at) => Err(format!("S3 and mount differ from byte {at} on")),
            None => Err(format!("S3 has {} bytes, the mount {}", by_s3.len(), by_mount.len())),
        }
    }
}

fn is_mounted(at: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table.lines().any(|line| line.split(' ').nth(4) == at.to_str())
}

/// Builds a program of ours, unless told where it is. `--workspace` keeps the set of features the same as
/// for the tests; without it cargo would build most dependencies a second time.
fn built(asked: &Asked, name: &str, what: &str, folder: &str) -> Result<PathBuf> {
    if let Some(at) = &asked.bin_dir {
        return Ok(at.join(name));
    }
    let mut build = cargo();
    build.args(["build", "--workspace", "--locked", "--quiet", what, name]);
    if asked.release {
        build.arg("--release");
    }
    run(&mut build)?;
    Ok(target().join(if asked.release { "release" } else { "debug" }).join(folder).join(name))
}

fn memory(asked: &Asked, at: &Path, writeback: bool) -> Result<Child> {
    let program = built(asked, "fuse_memory", "--example", "examples")?;
    let mut server = Command::new(program);
    server.args(["--allow-other", "--suid", "--dev"]).arg(at).stdout(Stdio::null());
    if writeback {
        server.arg("--writeback");
    }
    server.spawn().map_err(|error| format!("fuse_memory: {error}"))
}

fn gateway(asked: &Asked, scratch: &Path, at: &Path, writeback: bool) -> Result<(Stack, Ready)> {
    let program = built(asked, "cess-gateway", "--bin", "")?;
    let options = if writeback { "allow_other,suid,dev,writeback" } else { "allow_other,suid,dev" };
    let flags = ["--mount", &at.to_string_lossy(), "--mount-options", options];
    let mut stack = Stack::new(&program, &scratch.join("data"), scratch).with_flags(&flags);
    let (ready, _) = stack.start()?;
    Ok((stack, ready))
}

impl Drop for Place {
    fn drop(&mut self) {
        match &mut self.server {
            Server::None => {}
            // The servers unmount when they are told to end; what is then left is taken away here.
            Server::Memory(child) => {
                let _ = Command::new("kill").arg(child.id().to_string()).status();
                let _ = child.wait();
            }
            Server::Gateway(stack, _) => {
                let _ = stack.stop();
            }
        }
        let Some(scratch) = &self.scratch else { return };
        if is_mounted(&scratch.join("mnt")) {
            let _ = Command::new("umount").arg("-l").arg(scratch.join("mnt")).status();
        }
        let _ = std::fs::remove_dir_all(scratch);
    }
}
