//! The ready file: written when the gateway serves, removed when it starts and stops.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::datadir::write_secret;
use crate::error::{Context, Result};

/// What a script needs to talk to a gateway that has just started.
#[derive(Clone, Debug, Serialize)]
pub struct Ready {
    /// `http://host:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<String>,
    /// `http://host:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// `nbd://host:port`, `nbd+unix:///?socket=PATH`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nbd: Vec<String>,
    /// `ws://host:port`.
    pub chain: String,
    /// The region clients sign for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Credentials of the first user of `dev`: the reason the file is 0600.
    #[serde(flatten)]
    pub credentials: Option<Credentials>,
    /// Where it is mounted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mount: Vec<PathBuf>,
    /// This process.
    pub pid: u32,
}

/// What the first user signs with.
#[derive(Clone, Debug, Serialize)]
pub struct Credentials {
    pub access_key: String,
    pub secret_key: String,
}

/// Removes the file when dropped.
#[derive(Debug)]
pub struct ReadyFile {
    path: PathBuf,
}

impl ReadyFile {
    /// Takes the path: a file left by an earlier run is removed at once.
    pub fn claim(path: &Path) -> Result<Self> {
        match fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context(|| format!("removing the old {}", path.display())),
        }
        Ok(Self { path: path.to_path_buf() })
    }
    /// Says that the gateway serves.
    pub fn announce(&self, ready: &Ready) -> Result<()> {
        let mut json = serde_json::to_vec_pretty(ready).context(|| "writing the ready file".to_owned())?;
        json.push(b'\n');
        write_secret(&self.path, &json)
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        // Gone already is as good.
        fs::remove_file(&self.path).ok();
    }
}
