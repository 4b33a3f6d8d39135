//! The real aws cli, with nothing of the user's configuration in its way.

use std::process::Command;

use super::stack::Ready;
use crate::run::{Result, output};

/// The cli against one gateway.
pub struct Aws {
    ready: Ready,
}

/// The version that is installed, or what to do about it.
pub fn version() -> Result<String> {
    let version = output(Command::new("aws").arg("--version"));
    let version = version.map_err(|error| {
        format!(
            "the aws cli is needed and was not found on PATH: pip install awscli ({})",
            first_line(&error)
        )
    })?;
    Ok(version.split_whitespace().next().unwrap_or_default().to_owned())
}

impl Aws {
    /// Of the gateway that said it is ready.
    pub fn new(ready: &Ready) -> Self {
        Self { ready: ready.clone() }
    }
    /// `aws s3 …`.
    pub fn s3(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new("aws");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            command.env_remove(name);
        }
        let Ready { s3, region, access_key, secret_key } = &self.ready;
        command
            .env("AWS_ACCESS_KEY_ID", access_key)
            .env("AWS_SECRET_ACCESS_KEY", secret_key)
            .env("AWS_DEFAULT_REGION", region)
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("NO_PROXY", "127.0.0.1")
            .args(["--endpoint-url", s3, "s3"])
            .args(args);
        output(&mut command)
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
