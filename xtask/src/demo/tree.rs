//! A tree of real files, and the digests that tell whether it came back.
//!
//! The Rust toolchain that builds this project brings what is needed: a few files of 60 to 200 MB and
//! tens of thousands of small ones (its documentation, where it is installed; else our own sources).
//! Digests are those of `sha256sum`, not of our own code.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Result, output, root};

/// Files up to this size count as small.
const SMALL_BYTES_MAX: u64 = 512 << 10;
/// So many names go to one `sha256sum`.
const NAMES_MAX: usize = 500;

/// SHA-256 in hex by path within the tree.
pub type Digests = BTreeMap<String, String>;

/// How much to take.
pub struct Extent {
    /// Of the largest files: how many bytes of each, at most.
    pub large: &'static [u64],
    /// How many small files.
    pub small: usize,
}

/// A few minutes of work.
pub const FULL: Extent = Extent { large: &[u64::MAX, u64::MAX, u64::MAX], small: 3000 };
/// Seconds.
pub const SMALL: Extent = Extent { large: &[24 << 20, 12 << 20], small: 58 };

/// Copies files into `folder`; returns how many and their bytes.
pub fn plant(folder: &Path, extent: &Extent) -> Result<(usize, u64)> {
    let sysroot = PathBuf::from(output(Command::new("rustc").args(["--print", "sysroot"]))?.trim());
    let (mut files, mut bytes) = (0, 0);
    let mut copied = |count: u64| {
        files += 1;
        bytes += count;
    };
    let mut toolchain = all_files(&sysroot)?;
    toolchain.sort_by_key(|(path, size)| (std::cmp::Reverse(*size), path.clone()));
    for ((path, _), bytes_max) in toolchain.iter().zip(extent.large) {
        let name = path.file_name().unwrap_or_default();
        copied(copy(path, &folder.join("large").join(name), *bytes_max)?);
    }
    let (base, small) = small_files(&sysroot, toolchain)?;
    let every = (small.len() / extent.small).max(1);
    for path in small.iter().step_by(every).take(extent.small) {
        let name = path.strip_prefix(&base).map_err(|error| error.to_string())?;
        copied(copy(path, &folder.join("small").join(name), u64::MAX)?);
    }
    for (name, text) in [("empty", ""), ("ünïcode & odd (1)+=.txt", "a name with almost everything\n")] {
        let path = folder.join("odd names").join(name);
        write(&path, text.as_bytes())?;
        copied(text.len() as u64);
    }
    Ok((files, bytes))
}

/// Documentation of the toolchain, or our own sources; sorted by path.
fn small_files(sysroot: &Path, toolchain: Vec<(PathBuf, u64)>) -> Result<(PathBuf, Vec<PathBuf>)> {
    let small = |files: Vec<(PathBuf, u64)>, folder: &Path| -> Vec<PathBuf> {
        let fits = |(path, size): &(PathBuf, u64)| *size <= SMALL_BYTES_MAX && path.starts_with(folder);
        let mut paths: Vec<_> = files.into_iter().filter(fits).map(|(path, _)| path).collect();
        paths.sort();
        paths
    };
    let documentation = sysroot.join("share/doc");
    let found = small(toolchain, &documentation);
    if found.len() >= 100 {
        return Ok((documentation, found));
    }
    let root = root();
    let found = small(all_files(&root)?, &root);
    Ok((root, found))
}

/// Every regular file below `folder` but those of builds and of git, with its size.
fn all_files(folder: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        let name = entry.file_name();
        if kind.is_dir() && name != "target" && name != "cess-data" && name != ".git" {
            files.extend(all_files(&entry.path())?);
        } else if kind.is_file() {
            files.push((entry.path(), entry.metadata().map_err(failed)?.len()));
        }
    }
    Ok(files)
}

fn copy(from: &Path, to: &Path, bytes_max: u64) -> Result<u64> {
    let failed = |error: std::io::Error| format!("copying {} to {}: {error}", from.display(), to.display());
    fs::create_dir_all(to.parent().unwrap_or(to)).map_err(failed)?;
    let mut source = File::open(from).map_err(failed)?.take(bytes_max);
    let mut target = File::create(to).map_err(failed)?;
    std::io::copy(&mut source, &mut target).map_err(failed)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(path.parent().unwrap_or(path)).map_err(failed)?;
    File::create(path).and_then(|mut file| file.write_all(bytes)).map_err(failed)
}

/// The digest of every file below `folder`.
pub fn digests(folder: &Path) -> Result<Digests> {
    let mut names = Vec::new();
    for (path, _) in all_files(folder)? {
        let name = path.strip_prefix(folder).map_err(|error| error.to_string())?;
        names.push(name.to_str().ok_or_else(|| format!("{} is not UTF-8", name.display()))?.to_owned());
    }
    let mut digests = Digests::new();
    for names in names.chunks(NAMES_MAX) {
        // --zero: without it, names with odd characters would come escaped.
        let sums = output(Command::new("sha256sum").arg("--zero").arg("--").args(names).current_dir(folder))?;
        for line in sums.split_terminator('\0') {
            let (digest, name) = line.split_once("  ").ok_or_else(|| format!("sha256sum said {line:?}"))?;
            digests.insert(name.to_owned(), digest.to_owned());
        }
    }
    Ok(digests)
}

/// Fails at the first file that is missing, too many or different.
pub fn compare(wanted: &Digests, got: &Digests) -> Result<String> {
    for (name, digest) in wanted {
        match got.get(name) {
            None => return Err(format!("{name} did not come back")),
            Some(other) if other != digest => {
                return Err(format!("{name} came back different: SHA-256 {other} and not {digest}"));
            }
            Some(_) => {}
        }
    }
    if let Some(name) = got.keys().find(|name| !wanted.contains_key(*name)) {
        return Err(format!("{name} came back and was never there"));
    }
    Ok(format!("all {} SHA-256 digests are the same", wanted.len()))
}

#[cfg(test)]
mod tests {
    use super::{Digests, compare};

    fn digests(files: &[(&str, &str)]) -> Digests {
        files.iter().map(|(name, digest)| ((*name).to_owned(), (*digest).to_owned())).collect()
    }

    #[test]
    fn the_first_difference_is_named() {
        let wanted = digests(&[("a", "1"), ("b", "2")]);
        assert!(compare(&wanted, &wanted.clone()).is_ok());
        let missing = compare(&wanted, &digests(&[("a", "1")])).unwrap_err();
        assert_eq!(missing, "b did not come back");
        let changed = compare(&wanted, &digests(&[("a", "1"), ("b", "3")])).unwrap_err();
        assert!(changed.starts_with("b came back different"));
        let strange = compare(&wanted, &digests(&[("a", "1"), ("b", "2"), ("c", "3")])).unwrap_err();
        assert!(strange.starts_with("c came back and was never"));
    }
}
