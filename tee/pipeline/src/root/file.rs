//! The root key's file.
//!
//! ```text
//!  0            8            9          12
//!  +------------+------------+----------+------ - - -+---------------------------------+
//!  | "CGWROOT1" | protection | zero (3) | body       | SHA-256 of all that is before   |
//!  +------------+------------+----------+------ - - -+---------------------------------+
//!   protection 0, plain        body = root key (32)                             76 bytes in all
//!   protection 1, passphrase   body =                                          182 bytes in all
//!      +--------------+--------------+-------------+-----------+------------------------+
//!      | memory (u32) | passes (u32) | lanes (u32) | salt (32) | wrapped root key (94)  |
//!      +--------------+--------------+-------------+-----------+------------------------+
//!      big endian; memory in KiB; wrapping key = Argon2id 1.3 (RFC 9106) of the passphrase's UTF-8
//!      bytes; wrapped as gw_codec::wrap draws it, with everything before it as the context
//! ```
//!
//! The checksum is there to tell a damaged file from a wrong passphrase; it protects nothing else.
//!
//! A key is written once and never over another: the bytes go to a new file of mode 0600 beside the
//! target, are synced, and get the target's name by a hard link, which fails where the name is
//! taken. A crash leaves the whole file or none (and perhaps the nameless-looking `.new` one, which
//! may be deleted). Reading refuses a file that group or others may touch.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use gw_codec::hash::sha256;
use gw_codec::wrap::{self, KeyKind, WRAPPED_KEY_BYTES};
use gw_types::PortError;
use zeroize::Zeroizing;

use super::RootKey;
use crate::entropy::{OsEntropy, draw};

const MAGIC: &[u8; 8] = b"CGWROOT1";
const MAGIC_WITHOUT_VERSION: &[u8] = b"CGWROOT";
const PLAIN: u8 = 0;
const PASSPHRASE: u8 = 1;
const HEADER_BYTES: usize = 12;
const SALT_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 32;
/// More than any version of the format needs; what is longer is no key file.
const FILE_BYTES_MAX: u64 = 4096;

/// Why a root key could not be made, written or read. Each message says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// No random bytes.
    #[error("no random bytes for a key")]
    Random(#[source] PortError),
    /// The file system refused.
    #[error("{}: {what}", path.display())]
    Io {
        /// The key's path.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// How it failed.
        source: io::Error,
    },
    /// There is something under that name; a key is never written over.
    #[error("{} exists already; a root key is never overwritten", .0.display())]
    Exists(PathBuf),
    /// There is no such file.
    #[error("{} does not exist; `cess-gateway key init` makes a new root key, `key recovery` restores one", .0.display())]
    Missing(PathBuf),
    /// Not a regular file.
    #[error("{} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// Group or others may read or write it.
    #[error("{} may be read or written by others (mode {mode:04o}); run: chmod 600 {}", path.display(), path.display())]
    Permissions {
        /// The key's path.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It does not begin as a key file does.
    #[error("{} is not a root key file", .0.display())]
    Format(PathBuf),
    /// A later version wrote it.
    #[error("{} was written by a newer version of cess-gateway", .0.display())]
    Version(PathBuf),
    /// It begins as a key file, but its bytes have changed since it was written.
    #[error("{} is damaged (its checksum does not fit); use the recovery copy", .0.display())]
    Damaged(PathBuf),
    /// The key is wrapped.
    #[error("{} is protected by a passphrase and none was given", .0.display())]
    PassphraseNeeded(PathBuf),
    /// The key is not wrapped: whoever gave a passphrase is mistaken about its protection.
    #[error("{} is not protected by a passphrase, but one was given", .0.display())]
    PassphraseNotNeeded(PathBuf),
    /// It does not open.
    #[error("wrong passphrase for {}", .0.display())]
    WrongPassphrase(PathBuf),
    /// An empty passphrase protects nothing.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// Argon2 parameters out of bounds, in the call or in the file.
    #[error("passphrase cost out of bounds: memory 8 KiB per lane to 1 GiB, passes 1 to 100, lanes 1 to 64")]
    Cost,
}

/// How a key file is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// By its permissions alone.
    Plain,
    /// And by a passphrase.
    Passphrase,
}

/// What a guess at the passphrase costs (Argon2id).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassphraseCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for PassphraseCost {
    /// The second recommendation of RFC 9106 section 4: 64 MiB, 3 passes, 4 lanes.
    fn default() -> Self {
        Self { memory_kib: 64 << 10, passes: 3, lanes: 4 }
    }
}

impl PassphraseCost {
    const BYTES: usize = 12;

    /// The bounds keep a forged file from taking all memory or hours.
    fn argon2(self) -> Result<Argon2<'static>, RootKeyError> {
        if self.memory_kib > 1 << 20 || self.passes > 100 || self.lanes > 64 {
            return Err(RootKeyError::Cost);
        }
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .map_err(|_| RootKeyError::Cost)?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }

    fn derive(self, passphrase: &str, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, RootKeyError> {
        if passphrase.is_empty() {
            return Err(RootKeyError::EmptyPassphrase);
        }
        let mut key = Zeroizing::new([0; 32]);
        self.argon2()?
            .hash_password_into(passphrase.as_bytes(), salt, key.as_mut_slice())
            .map_err(|_| RootKeyError::Cost)?;
        Ok(key)
    }

    fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        for (out, value) in bytes.chunks_mut(4).zip([self.memory_kib, self.passes, self.lanes]) {
            out.copy_from_slice(&value.to_be_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Self { memory_kib: word(0), passes: word(4), lanes: word(8) }
    }
}

impl RootKey {
    /// Writes the key to a new file, plain or wrapped by `passphrase` at the default cost. Durable
    /// when it returns. After an error the file is whole or not there, and what stood under that name
    /// before is untouched.
    pub fn write_new(&self, path: &Path, passphrase: Option<&str>) -> Result<(), RootKeyError> {
        self.write_new_at_cost(path, passphrase, PassphraseCost::default())
    }

    /// [`RootKey::write_new`] at another cost. It stands in the file, so reading needs no hint.
    pub fn write_new_at_cost(
        &self,
        path: &Path,
        passphrase: Option<&str>,
        cost: PassphraseCost,
    ) -> Result<(), RootKeyError> {
        let bytes = match passphrase {
            None => encode(PLAIN, self.expose()),
            Some(passphrase) => self.encode_wrapped(passphrase, cost)?,
        };
        write_new_file(path, &bytes)
    }

    /// Reads a key file. `passphrase` must be given exactly when it is protected by one (see
    /// [`RootKey::protection`]).
    pub fn load(path: &Path, passphrase: Option<&str>) -> Result<Self, RootKeyError> {
        let bytes = read_file(path)?;
        match (protection(path, &bytes)?, passphrase) {
            (Protection::Plain, None) => {
                plain_body(&bytes).ok_or_else(|| RootKeyError::Format(path.to_owned()))
            }
            (Protection::Passphrase, Some(passphrase)) => unwrap_body(path, &bytes, passphrase),
            (Protection::Plain, Some(_)) => Err(RootKeyError::PassphraseNotNeeded(path.to_owned())),
            (Protection::Passphrase, None) => Err(RootKeyError::PassphraseNeeded(path.to_owned())),
        }
    }

    /// How the file is protected, so that a caller knows whether to ask for a passphrase.
    pub fn protection(path: &Path) -> Result<Protection, RootKeyError> {
        protection(path, &read_file(path)?)
    }

    fn encode_wrapped(
        &self,
        passphrase: &str,
        cost: PassphraseCost,
    ) -> Result<Zeroizing<Vec<u8>>, RootKeyError> {
        let salt = draw::<SALT_BYTES>(&OsEntropy).map_err(RootKeyError::Random)?;
        let nonce = draw(&OsEntropy).map_err(RootKeyError::Random)?;
        let front = [cost.encode().as_slice(), &salt].concat();
        let wrapping = cost.derive(passphrase, &salt)?;
        let context = [header(PASSPHRASE).as_slice(), &front].concat();
        let wrapped = wrap::wrap(&wrapping, KeyKind::Root, &context, nonce, self.expose());
        Ok(encode(PASSPHRASE, &[front.as_slice(), &wrapped].concat()))
    }
}

fn header(protection: u8) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..MAGIC.len()].copy_from_slice(MAGIC);
    header[MAGIC.len()] = protection;
    header
}

fn encode(protection: u8, body: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(HEADER_BYTES + body.len() + CHECKSUM_BYTES));
    bytes.extend_from_slice(&header(protection));
    bytes.extend_from_slice(body);
    let checksum = sha256(&bytes);
    bytes.extend_from_slice(&checksum.0);
    bytes
}

/// Checks everything that can be checked without the passphrase.
fn protection(path: &Path, bytes: &[u8]) -> Result<Protection, RootKeyError> {
    if !bytes.starts_with(MAGIC_WITHOUT_VERSION) {
        return Err(RootKeyError::Format(path.to_owned()));
    }
    let damaged = || RootKeyError::Damaged(path.to_owned());
    let (front, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(damaged)?;
    if sha256(front).0 != *checksum {
        return Err(damaged());
    }
    match front.first_chunk::<HEADER_BYTES>() {
        Some(found) if *found == header(PLAIN) => Ok(Protection::Plain),
        Some(found) if *found == header(PASSPHRASE) => Ok(Protection::Passphrase),
        _ => Err(RootKeyError::Version(path.to_owned())),
    }
}

fn plain_body(bytes: &[u8]) -> Option<RootKey> {
    let body = body(bytes)?.try_into().ok()?;
    Some(RootKey::from_bytes(&Zeroizing::new(body)))
}

fn unwrap_body(path: &Path, bytes: &[u8], passphrase: &str) -> Result<RootKey, RootKeyError> {
    let format = || RootKeyError::Format(path.to_owned());
    let (cost, rest) = body(bytes).and_then(<[u8]>::split_first_chunk).ok_or_else(format)?;
    let (salt, wrapped) = rest.split_first_chunk::<SALT_BYTES>().ok_or_else(format)?;
    if wrapped.len() != WRAPPED_KEY_BYTES {
        return Err(format());
    }
    let wrapping = PassphraseCost::decode(cost).derive(passphrase, salt)?;
    let context = &bytes[..HEADER_BYTES + PassphraseCost::BYTES + SALT_BYTES];
    wrap::unwrap(&wrapping, KeyKind::Root, context, wrapped)
        .map(|key| RootKey::from_bytes(&key))
        .map_err(|_| RootKeyError::WrongPassphrase(path.to_owned()))
}

fn body(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(HEADER_BYTES..bytes.len().checked_sub(CHECKSUM_BYTES)?)
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, RootKeyError> {
    let io = |what| move |error| io_error(path, what, error);
    // Asked by name first: opening a pipe would wait for its other end.
    if !fs::metadata(path).map_err(io("reading its attributes"))?.is_file() {
        return Err(RootKeyError::NotAFile(path.to_owned()));
    }
    let file = File::open(path).map_err(io("opening"))?;
    let mode = file.metadata().map_err(io("reading its attributes"))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(RootKeyError::Permissions { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize));
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(io("reading"))?;
    Ok(bytes)
}

fn write_new_file(path: &Path, bytes: &[u8]) -> Result<(), RootKeyError> {
    let name = path.file_name().ok_or_else(|| RootKeyError::NotAFile(path.to_owned()))?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let tag = u64::from_be_bytes(draw(&OsEntropy).map_err(RootKeyError::Random)?);
    let staged = folder.join(format!(".{}.{tag:016x}.new", name.to_string_lossy()));
    let written = write_staged(path, &staged, bytes);
    let removed = fs::remove_file(&staged);
    written?;
    removed.map_err(|error| io_error(path, "removing the staged copy", error))?;
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| io_error(path, "syncing its folder", error))
}

fn write_staged(path: &Path, staged: &Path, bytes: &[u8]) -> Result<(), RootKeyError> {
    let io = |what| move |error| io_error(path, what, error);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(staged);
    let mut file = file.map_err(io("creating"))?;
    file.write_all(bytes).map_err(io("writing"))?;
    file.sync_all().map_err(io("syncing"))?;
    fs::hard_link(staged, path).map_err(io("giving it its name"))
}

fn io_error(path: &Path, what: &'static str, source: io::Error) -> RootKeyError {
    match source.kind() {
        io::ErrorKind::AlreadyExists => RootKeyError::Exists(path.to_owned()),
        io::ErrorKind::NotFound if what != "creating" => RootKeyError::Missing(path.to_owned()),
        _ => RootKeyError::Io { path: path.to_owned(), what, source },
    }
}
