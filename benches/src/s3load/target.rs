//! Which server is driven, and in whose name: from a ready file, or from flags and environment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::sign::Credentials;
use super::units::duration;
use super::{Error, Result, doing};

/// Where the server is, as given on the command line.
#[derive(Args, Clone, Debug)]
pub struct TargetArgs {
    /// The ready.json of `cess-gateway dev`: endpoint, region, credentials and process
    #[arg(long, value_name = "FILE", conflicts_with_all = ["endpoint", "pid"])]
    pub ready: Option<PathBuf>,
    /// The server, http://host:port (plain HTTP only)
    #[arg(long, value_name = "URL", required_unless_present = "ready", env = "AWS_ENDPOINT_URL")]
    pub endpoint: Option<String>,
    /// The region requests are signed for
    #[arg(long, default_value = "cess-1", env = "AWS_DEFAULT_REGION")]
    pub region: String,
    /// The access key; its secret is read from AWS_SECRET_ACCESS_KEY, never from the command line
    #[arg(long, value_name = "KEY", env = "AWS_ACCESS_KEY_ID", default_value = "")]
    pub access_key: String,
    /// The server's process on this machine, to say what it spent; may be given more than once
    #[arg(long)]
    pub pid: Vec<u32>,
    /// The bucket; it is made where it is missing
    #[arg(long, default_value = "s3load")]
    pub bucket: String,
    /// The longest a single request may take
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
}

/// Where the server is.
#[derive(Clone, Debug)]
pub struct Target {
    /// `host:port`, to connect to and for the `host` header.
    pub authority: String,
    /// Who signs.
    pub credentials: Credentials,
    /// The server's processes, where known.
    pub pids: Vec<u32>,
    /// The bucket.
    pub bucket: String,
    /// The longest a request may take.
    pub timeout: Duration,
}

/// What this tool reads of a ready file.
#[derive(Deserialize)]
struct Ready {
    s3: String,
    region: String,
    access_key: String,
    secret_key: String,
    pid: u32,
}

impl Target {
    /// Reads the ready file, or takes flags and environment.
    pub fn resolve(args: &TargetArgs) -> Result<Self> {
        let (url, credentials, pids) = match &args.ready {
            Some(path) => from_ready(path)?,
            None => from_flags(args)?,
        };
        let authority = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/').to_owned());
        let authority = authority.filter(|rest| rest.contains(':') && !rest.contains('/'));
        let authority =
            authority.ok_or_else(|| Error::Usage(format!("{url:?} is not of the form http://host:port")))?;
        Ok(Self { authority, credentials, pids, bucket: args.bucket.clone(), timeout: args.timeout })
    }
}

fn from_ready(path: &Path) -> Result<(String, Credentials, Vec<u32>)> {
    let text = std::fs::read(path).map_err(doing(format!("reading {}", path.display())))?;
    let ready: Ready = serde_json::from_slice(&text)
        .map_err(|error| Error::Usage(format!("{} is not a ready file: {error}", path.display())))?;
    let Ready { s3, region, access_key, secret_key, pid } = ready;
    Ok((s3, Credentials { access_key, secret_key, region }, vec![pid]))
}

fn from_flags(args: &TargetArgs) -> Result<(String, Credentials, Vec<u32>)> {
    let missing = |what: &str| Error::Usage(format!("{what} is needed where there is no --ready FILE"));
    let url = args.endpoint.clone().ok_or_else(|| missing("--endpoint"))?;
    let secret_key =
        std::env::var("AWS_SECRET_ACCESS_KEY").map_err(|_| missing("AWS_SECRET_ACCESS_KEY (environment)"))?;
    let access_key = args.access_key.clone();
    Ok((url, Credentials { access_key, secret_key, region: args.region.clone() }, args.pid.clone()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::{Target, TargetArgs};

    fn resolve(ready: &str) -> super::Result<Target> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready.json");
        fs::write(&path, ready).unwrap();
        Target::resolve(&TargetArgs {
            ready: Some(path),
            endpoint: None,
            region: String::new(),
            access_key: String::new(),
            pid: Vec::new(),
            bucket: "b".to_owned(),
            timeout: Duration::from_secs(1),
        })
    }

    #[test]
    fn a_ready_file_says_all() {
        let target = resolve(
            r#"{"s3":"http://127.0.0.1:9000","admin":"http://127.0.0.1:1","chain":"ws://127.0.0.1:2",
                "region":"cess-1","access_key":"A","secret_key":"S","pid":7}"#,
        )
        .unwrap();
        assert_eq!((target.authority.as_str(), target.pids.as_slice()), ("127.0.0.1:9000", &[7][..]));
        assert_eq!(target.credentials.region, "cess-1");
        assert!(!format!("{target:?}").contains("\"S\""), "a secret is not shown");
    }

    #[test]
    fn anything_else_is_refused_in_words() {
        let https = r#"{"s3":"https://x","region":"r","access_key":"A","secret_key":"S","pid":7}"#;
        assert!(resolve(https).unwrap_err().to_string().contains("http://host:port"));
        assert!(resolve("{}").unwrap_err().to_string().contains("not a ready file"));
    }
}
