//! Mounting and unmounting: the calls, and what the kernel says is mounted where.
//!
//! Root mounts by mount(2) itself. Anybody else goes through `fusermount3`, which is set-uid root.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{getegid, geteuid};

use crate::config::MountOptions;

/// The type that `mount` shows, and whose helper `mount.fuse` looks for.
pub const MOUNT_KIND: &str = "fuse.cess-gateway";
/// What mountinfo writes as octal numbers in paths.
const ESCAPES: [(&str, char); 4] = [("\\040", ' '), ("\\011", '\t'), ("\\012", '\n'), ("\\134", '\\')];

/// A line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountLine {
    /// `MAJOR:MINOR`.
    pub device: String,
    /// The type, with its subtype.
    pub kind: String,
}

/// The topmost mount on exactly this path.
pub fn mounted(at: &Path) -> io::Result<Option<MountLine>> {
    Ok(find(&std::fs::read_to_string("/proc/self/mountinfo")?, at))
}

fn find(mountinfo: &str, at: &Path) -> Option<MountLine> {
    mountinfo.lines().rev().find_map(|line| {
        // 36 35 98:0 /root /mount/point options [optional] - type source options (proc(5))
        let (front, back) = line.split_once(" - ")?;
        let mut fields = front.split(' ').skip(2);
        let (device, path) = (fields.next()?, fields.nth(1)?);
        let kind = back.split(' ').next()?;
        let path = ESCAPES
            .iter()
            .fold(path.to_owned(), |path, (code, plain)| path.replace(code, &plain.to_string()));
        (Path::new(&path) == at).then(|| MountLine { device: device.to_owned(), kind: kind.to_owned() })
    })
}

/// The path itself, without looking at what may be a dead mount.
pub fn resolved(at: &Path) -> io::Result<PathBuf> {
    let at = std::path::absolute(at)?;
    match (at.parent(), at.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.canonicalize()?.join(name)),
        _ => at.canonicalize(),
    }
}

/// Whether this process may call mount(2) and umount(2).
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Opens a connection to the kernel and mounts it.
pub fn mount_here(at: &Path, options: &MountOptions) -> io::Result<File> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
    let mut flags = MsFlags::empty();
    for (allowed, flag) in [
        (options.set_uid, MsFlags::MS_NOSUID),
        (options.devices, MsFlags::MS_NODEV),
        (options.execute, MsFlags::MS_NOEXEC),
        (!options.read_only, MsFlags::MS_RDONLY),
    ] {
        if !allowed {
            flags |= flag;
        }
    }
    let mut data = format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions",
        device.as_raw_fd(),
        geteuid(),
        getegid()
    );
    if options.allow_other {
        data.push_str(",allow_other");
    }
    mount(Some(options.source.as_str()), at, Some(MOUNT_KIND), flags, Some(data.as_str()))?;
    Ok(device)
}

/// What an attempt to unmount came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It is gone, or was not there.
    Gone,
    /// Somebody uses it.
    Busy,
}

/// Unmounts when nobody uses it.
pub fn unmount(at: &Path) -> io::Result<Attempt> {
    match umount2(at, MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(Attempt::Gone),
        Err(Errno::EBUSY) => Ok(Attempt::Busy),
        Err(Errno::EPERM) => {
            fusermount(&["-u"], at).map(|done| if done { Attempt::Gone } else { Attempt::Busy })
        }
        Err(error) => Err(error.into()),
    }
}

/// What became of a connection that was to be cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// What is still open on it gets errors.
    Off,
    /// It is out of the tree and serves those who have something open: only root may do more, or the
    /// owner where fusectl is mounted.
    Lingers,
}

/// Takes it out of the tree whoever uses it, and ends the connection as far as this process may.
pub fn cut_off(at: &Path) -> io::Result<Cut> {
    // Ends the connection (fuse_umount_begin); that the mount then is still busy is no news.
    let ended = match umount2(at, MntFlags::MNT_FORCE | MntFlags::UMOUNT_NOFOLLOW) {
        Err(Errno::EPERM) => abort(at).is_ok(),
        _ => true,
    };
    match umount2(at, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
        Err(Errno::EPERM) => {
            fusermount(&["-u", "-z"], at)?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(if ended { Cut::Off } else { Cut::Lingers })
}

/// Ends a connection by the control file that belongs to whoever mounted it.
fn abort(at: &Path) -> io::Result<()> {
    let line = mounted(at)?.ok_or(io::ErrorKind::NotFound)?;
    let number = line.device.rsplit(':').next().unwrap_or_default();
    std::fs::write(format!("/sys/fs/fuse/connections/{number}/abort"), "1")
}

fn fusermount(args: &[&str], at: &Path) -> io::Result<bool> {
    let mut command = Command::new("fusermount3");
    let status = command.args(args).arg("--").arg(at).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    Ok(status.success())
}

/// How far the kernel reads ahead on this mount; only root may say.
pub fn read_ahead(at: &Path, bytes: u32) -> io::Result<()> {
    let Some(line) = mounted(at)? else { return Ok(()) };
    std::fs::write(format!("/sys/class/bdi/{}/read_ahead_kb", line.device), (bytes >> 10).to_string())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{MountLine, find};

    #[test]
    fn the_topmost_mount_of_a_path_is_found() {
        let table = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
                     30 22 0:51 / /mnt/a\\040b rw,nosuid shared:7 - fuse.other x rw\n\
                     31 30 0:52 / /mnt/a\\040b rw - fuse.cess-gateway cess-gateway rw,user_id=0\n";
        let found = find(table, Path::new("/mnt/a b"));
        let expected = MountLine { device: "0:52".to_owned(), kind: "fuse.cess-gateway".to_owned() };
        assert_eq!(found, Some(expected));
        assert_eq!(find(table, Path::new("/mnt")), None);
    }
}
