//! What `cargo xtask clients` was told.

use std::path::PathBuf;

use super::list::Client;
use crate::run::{Result, root};

/// Its flags.
#[derive(Debug, Default)]
pub struct Options {
    small: bool,
    only: Vec<String>,
    /// Install what is missing first.
    pub install: bool,
    /// Print one JSON array at the end instead of lines.
    pub json: bool,
    /// Leave all files where they are.
    pub keep: bool,
    debug: bool,
    bin_dir: Option<PathBuf>,
    folder: Option<PathBuf>,
}

impl Options {
    /// Reads them; strange ones are refused.
    pub fn read(args: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(flag) = args.next() {
            let mut value = || args.next().cloned().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--small" => options.small = true,
                "--install" => options.install = true,
                "--json" => options.json = true,
                "--keep" => options.keep = true,
                "--debug" => options.debug = true,
                "--bin-dir" => options.bin_dir = Some(value()?.into()),
                "--folder" => options.folder = Some(value()?.into()),
                "--only" => options.only.extend(value()?.split(',').map(str::to_owned)),
                other => return Err(format!("there is no flag {other:?} here")),
            }
        }
        Ok(options)
    }

    /// The form for CI.
    pub fn is_small(&self) -> bool {
        self.small
    }

    /// Whether the client is asked for.
    pub fn wants(&self, client: &Client) -> bool {
        let is_named = self.only.is_empty() || self.only.iter().any(|name| name == client.name);
        is_named && (client.is_small || !self.small)
    }

    /// Whether it is a failure when one is not here: not where the whole list is tried.
    pub fn all_must_be_here(&self) -> bool {
        self.small || self.install || !self.only.is_empty()
    }

    /// Where clients are installed.
    pub fn folder(&self) -> PathBuf {
        self.folder.clone().unwrap_or_else(|| root().join("target").join("clients"))
    }

    /// How the gateway is built.
    pub fn build(&self) -> crate::demo::Options {
        crate::demo::Options::for_build(self.debug, self.bin_dir.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::Options;
    use crate::clients::list::CLIENTS;

    fn count(line: &str) -> usize {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let options = Options::read(&args).unwrap();
        CLIENTS.iter().filter(|client| options.wants(client)).count()
    }

    #[test]
    fn clients_are_chosen_by_name_and_size() {
        assert_eq!(count(""), CLIENTS.len());
        assert_eq!(count("--only boto3,restic --json"), 2);
        assert_eq!(count("--only nobody"), 0);
        assert!((1..CLIENTS.len()).contains(&count("--small")));
        assert!(Options::read(&["--smal".to_owned()]).is_err());
    }
}
