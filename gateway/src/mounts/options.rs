//! Options of a mount, in the one form that fstab, `mount -o`, the configuration and `dev` share: words
//! with commas between them.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use gw_fuse::IdMap;
use gw_types::Level;

use crate::error::{Context, Result, fail};

/// What is to be mounted, where and how.
#[derive(Clone, Debug)]
pub struct MountSpec {
    /// The directory.
    pub at: PathBuf,
    /// `None`: a directory for each bucket.
    pub bucket: Option<String>,
    /// Whose rights it has; `None`: the gateway's first user, where it has one.
    pub user: Option<String>,
    /// What `fsync` waits for; `None`: the bucket's own level.
    pub level: Option<Level>,
    /// What the kernel is told.
    pub kernel: gw_fuse::MountOptions,
}

/// Words of fstab that are for mount(8) and systemd, or say what is so anyhow.
const IGNORED: &[&str] = &[
    "defaults",
    "auto",
    "noauto",
    "nofail",
    "_netdev",
    "nouser",
    "users",
    "owner",
    "group",
    "async",
    "atime",
    "relatime",
    "noatime",
    "nodiratime",
    "strictatime",
    "lazytime",
    "nolazytime",
    "silent",
    "loud",
];

impl MountSpec {
    /// Reads options.
    pub fn parse(at: PathBuf, bucket: Option<String>, options: &str) -> Result<Self> {
        let mut spec = Self { at, bucket, user: None, level: None, kernel: gw_fuse::MountOptions::default() };
        for option in options.split(',').map(str::trim).filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some((name, _)) if name.starts_with("x-") || name == "comment" => {}
                Some((name, value)) => spec.set(name, value)?,
                None if option.starts_with("x-") || option == "user" || IGNORED.contains(&option) => {}
                None => spec.switch(option)?,
            }
        }
        Ok(spec)
    }

    fn switch(&mut self, word: &str) -> Result<()> {
        let kernel = &mut self.kernel;
        match word {
            "ro" => kernel.read_only = true,
            "rw" => kernel.read_only = false,
            "allow_other" => kernel.allow_other = true,
            "suid" => kernel.set_uid = true,
            "nosuid" => kernel.set_uid = false,
            "dev" => kernel.devices = true,
            "nodev" => kernel.devices = false,
            "exec" => kernel.execute = true,
            "noexec" => kernel.execute = false,
            "writeback" => kernel.cache.writeback = true,
            "nocache" => kernel.cache.pages = false,
            _ => return fail(format!("{word:?} is no option of a mount; docs/FUSE.md lists them")),
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let kernel = &mut self.kernel;
        let number = || value.parse::<u32>().context(|| format!("{name}={value}: a whole number is needed"));
        let millis = || number().map(|millis| Duration::from_millis(millis.into()));
        let seconds = || match number()? {
            0 => fail(format!("{name}=0: at least 1 second")),
            seconds => Ok(Duration::from_secs(seconds.into())),
        };
        match name {
            "bucket" => self.bucket = Some(value.to_owned()),
            "user" => self.user = Some(value.to_owned()),
            "fsname" | "source" => kernel.source = value.to_owned(),
            "level" => self.level = Some(level(value)?),
            "uid_map" => kernel.uids = id_map(value)?,
            "gid_map" => kernel.gids = id_map(value)?,
            "ttl_ms" => kernel.cache.ttl_max = millis()?,
            "negative_ttl_ms" => kernel.cache.negative_ttl = millis()?,
            "readahead_kib" => kernel.cache.readahead_bytes = number()?.saturating_mul(1024),
            "threads" => kernel.threads = number()?.clamp(1, 64) as usize,
            "max_background" => {
                kernel.limits.background_max = u16::try_from(number()?.max(1)).unwrap_or(u16::MAX);
            }
            "request_timeout_s" => kernel.limits.request_timeout = seconds()?,
            "sync_timeout_s" => kernel.limits.sync_timeout = seconds()?,
            "unmount_timeout_s" => kernel.limits.unmount_timeout = seconds()?,
            _ => return fail(format!("{name:?} is no option of a mount; docs/FUSE.md lists them")),
        }
        Ok(())
    }
}

fn level(text: &str) -> Result<Level> {
    match text {
        "staged" => Ok(Level::Staged),
        "dispersed" => Ok(Level::Dispersed),
        "finalized" => Ok(Level::Finalized),
        _ => fail(format!("level={text}: it is staged, dispersed or finalized")),
    }
}

/// Commas separate options, so slashes stand between the ranges of a map.
fn id_map(text: &str) -> Result<IdMap> {
    IdMap::from_str(&text.replace('/', ",")).context(|| "in the options of a mount".to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use gw_types::Level;

    use super::MountSpec;

    fn parse(options: &str) -> Result<MountSpec, String> {
        MountSpec::parse(PathBuf::from("/mnt"), None, options).map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_of_fstab_is_understood() {
        let line = "rw,allow_other,_netdev,nofail,noauto,x-systemd.automount,x-systemd.requires=cess.service,\
                    user=alice,bucket=photos,level=dispersed,uid_map=0:1000:1/1:100000:65536,ttl_ms=250";
        let spec = parse(line).unwrap();
        assert_eq!((spec.user.as_deref(), spec.bucket.as_deref()), (Some("alice"), Some("photos")));
        assert_eq!(spec.level, Some(Level::Dispersed));
        assert!(spec.kernel.allow_other && !spec.kernel.read_only && !spec.kernel.set_uid);
        assert_eq!((spec.kernel.uids.here(0), spec.kernel.uids.here(2)), (1000, 100_001));
        assert_eq!(spec.kernel.cache.ttl_max, Duration::from_millis(250));
        assert!(parse("").unwrap().bucket.is_none());
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (options, word) in [
            ("allow_othr", "allow_othr"),
            ("levl=staged", "levl"),
            ("level=safe", "level=safe"),
            ("threads=many", "threads=many"),
            ("uid_map=1:2", "id map"),
            ("request_timeout_s=0", "request_timeout_s=0"),
        ] {
            let error = parse(options).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
