//! The certificate of the S3 listener: read from its files, and read again when they change.
//!
//! A renewal writes two files one after the other, so what is read in between may not fit together.
//! Such a pair is left, with a warning, and looked at again at the next turn: the listener goes on
//! with the pair it has. Turns come every ten seconds and with SIGHUP; files are compared by their
//! content, because tools that renew keep neither times nor inodes. Dropping this ends the turns.

use std::fs;
use std::path::Path;
use std::time::Duration;

use gw_s3::ServerTls;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::config::TlsSection;
use crate::error::{Context, Error, Result};

/// Between two looks at the files.
const TURN: Duration = Duration::from_secs(10);
/// A chain of certificates has a few kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A certificate in use, and the task that keeps it fresh.
pub struct Certificate {
    tls: ServerTls,
    keeper: JoinHandle<()>,
}

/// What the two files held.
#[derive(Clone, PartialEq, Eq)]
struct Pair {
    chain: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Pair {
    fn read(files: &TlsSection) -> Result<Self> {
        Ok(Self {
            chain: read(&files.cert, "s3.tls.cert")?,
            key: Zeroizing::new(read(&files.key, "s3.tls.key")?),
        })
    }
}

fn read(path: &Path, key: &str) -> Result<Vec<u8>> {
    let doing = || format!("reading {key} = {}", path.display());
    let len = fs::metadata(path).context(doing)?.len();
    if len > FILE_BYTES_MAX {
        return Err(Error::new(format!("{} has {len} bytes: that is no certificate or key", path.display())));
    }
    fs::read(path).context(doing)
}

fn naming(files: &TlsSection) -> String {
    format!("s3.tls with cert {} and key {}", files.cert.display(), files.key.display())
}

impl Certificate {
    /// Reads both files, and from then on whenever they change.
    pub fn load(files: TlsSection) -> Result<Self> {
        let pair = Pair::read(&files)?;
        let tls = ServerTls::from_pem(&pair.chain, &pair.key).context(|| naming(&files))?;
        let mut hangup = signal(SignalKind::hangup()).context(|| "waiting for signals".to_owned())?;
        let shown = tls.clone();
        let keeper = tokio::spawn(async move {
            let mut turns = Turns { files, tls: shown, seen: pair };
            loop {
                let asked = tokio::select! {
                    () = tokio::time::sleep(TURN) => false,
                    _ = hangup.recv() => true,
                };
                turns.turn(asked);
            }
        });
        Ok(Self { tls, keeper })
    }

    /// What the listener shows; it changes with the files.
    pub fn tls(&self) -> ServerTls {
        self.tls.clone()
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

struct Turns {
    files: TlsSection,
    tls: ServerTls,
    /// What was last tried, good or bad.
    seen: Pair,
}

impl Turns {
    /// Looks at the files once; `asked` says more about it.
    fn turn(&mut self, asked: bool) {
        let pair = match Pair::read(&self.files) {
            Ok(pair) if pair == self.seen && !asked => return,
            Ok(pair) => pair,
            Err(error) => {
                tracing::warn!(%error, "the certificate cannot be read; the one in use stays");
                return;
            }
        };
        match self.tls.replace(&pair.chain, &pair.key) {
            Ok(()) => tracing::info!(cert = %self.files.cert.display(), "the certificate was loaded again"),
            Err(error) => tracing::warn!(
                %error, cert = %self.files.cert.display(), "the new certificate is not used; the one in use stays"
            ),
        }
        self.seen = pair;
    }
}

#[cfg(test)]
mod tests {
    use super::{Certificate, Pair, TlsSection, Turns};

    #[tokio::test]
    async fn a_pair_that_does_not_fit_is_left_until_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let files = TlsSection { cert: folder.path().join("c.pem"), key: folder.path().join("k.pem") };
        let make = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (first, second) = (make(), make());
        let error = Certificate::load(files.clone()).err().unwrap().to_string();
        assert!(error.contains("s3.tls.cert") && error.contains("c.pem"), "{error}");
        std::fs::write(&files.cert, first.cert.pem()).unwrap();
        std::fs::write(&files.key, second.signing_key.serialize_pem()).unwrap();
        let error = Certificate::load(files.clone()).err().unwrap().to_string();
        assert!(error.contains("certificate and key"), "{error}");
        std::fs::write(&files.key, first.signing_key.serialize_pem()).unwrap();
        let loaded = Certificate::load(files.clone()).unwrap();

        let mut turns = Turns { files: files.clone(), tls: loaded.tls(), seen: Pair::read(&files).unwrap() };
        std::fs::write(&files.cert, second.cert.pem()).unwrap();
        turns.turn(false);
        assert!(turns.seen == Pair::read(&files).unwrap());
        std::fs::write(&files.key, second.signing_key.serialize_pem()).unwrap();
        turns.turn(false);
        std::fs::remove_file(&files.key).unwrap();
        turns.turn(true);
        assert!(turns.seen.chain == second.cert.pem().into_bytes());
    }
}
