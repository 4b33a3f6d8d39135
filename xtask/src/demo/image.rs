//! A file system that can lose power: an image on a loop device, cut off by the shutdown ioctl.
//!
//! The ioctl (`EXT4_IOC_SHUTDOWN`, `XFS_IOC_GOINGDOWN`, the same number) with the flag "no log flush"
//! makes the kernel forget everything that was not synced, as a power cut would: after a new mount,
//! synced bytes are there and others are not. It needs root, and Python 3 to call it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Result, output};

/// Sparse: only what is written takes room.
const IMAGE_BYTES: u64 = 12 << 30;
/// `_IOR('X', 125, __u32)` of linux/fs/ext4/ext4.h and xfs_fs.h, with ..._GOING_FLAGS_NOLOGFLUSH.
const SHUTDOWN: &str = "\
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";

/// A kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ext4,
    Xfs,
}

impl Kind {
    /// As `mount` and `mkfs` call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }
}

/// An image and where it is mounted. It is unmounted when this is dropped.
pub struct Image {
    kind: Kind,
    file: PathBuf,
    point: PathBuf,
    is_mounted: bool,
}

/// What must be there, or a sentence about what is not.
pub fn check() -> Result<()> {
    let user = output(Command::new("id").arg("-u"))?;
    if user.trim() != "0" {
        return Err("power cuts need root: they mount images and shut file systems down".to_owned());
    }
    let tools = [
        ("mkfs.ext4", "e2fsprogs"),
        ("mkfs.xfs", "xfsprogs"),
        ("mount", "mount"),
        ("umount", "mount"),
        ("python3", "python3"),
    ];
    for (tool, package) in tools {
        output(Command::new("sh").args(["-c", "command -v \"$1\"", "sh", tool]))
            .map_err(|_| format!("{tool} is needed: apt-get install {package}"))?;
    }
    Ok(())
}

impl Image {
    /// Makes and mounts an empty file system below `work`.
    pub fn make(kind: Kind, work: &Path) -> Result<Self> {
        let name = kind.name();
        let (file, point) = (work.join(format!("{name}.img")), work.join(name));
        let failed = |error: std::io::Error| format!("{}: {error}", file.display());
        File::create(&file).and_then(|image| image.set_len(IMAGE_BYTES)).map_err(failed)?;
        fs::create_dir_all(&point).map_err(failed)?;
        let mut mkfs = Command::new(format!("mkfs.{name}"));
        output(mkfs.arg("-q").arg(&file))?;
        let mut image = Self { kind, file, point, is_mounted: false };
        image.mount()?;
        Ok(image)
    }
    /// Where it is mounted.
    pub fn point(&self) -> &Path {
        &self.point
    }
    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }
    /// Cuts the power and brings it back. No process may use the file system any more, or it must be
    /// frozen until [`Self::come_back`].
    pub fn cut(&self) -> Result<()> {
        output(Command::new("python3").args(["-c", SHUTDOWN]).arg(&self.point)).map(|_| ())
    }
    /// Unmounts what was cut, and mounts what is left of it.
    pub fn come_back(&mut self) -> Result<()> {
        self.unmount()?;
        self.mount()
    }

    fn mount(&mut self) -> Result<()> {
        output(Command::new("mount").args(["-o", "loop"]).arg(&self.file).arg(&self.point))?;
        self.is_mounted = true;
        Ok(())
    }
    fn unmount(&mut self) -> Result<()> {
        output(Command::new("umount").arg(&self.point))?;
        self.is_mounted = false;
        Ok(())
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if self.is_mounted
            && let Err(error) = self.unmount()
        {
            eprintln!("xtask: {} is still mounted: {error}", self.point.display());
        }
    }
}
