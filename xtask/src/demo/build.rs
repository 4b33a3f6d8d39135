//! Building our own programs, and finding where cargo put them.

use std::path::PathBuf;

use serde_json::Value;

use super::options::Options;
use crate::run::{Result, cargo, output};

/// Builds one of our binaries, unless told where it is, and returns its path.
///
/// `--workspace` keeps the set of features the same as for the tests; without it cargo would build
/// most dependencies a second time.
pub fn build(name: &str, options: &Options) -> Result<PathBuf> {
    if let Some(folder) = &options.bin_dir {
        let path = folder.join(name);
        return if path.is_file() { Ok(path) } else { Err(format!("there is no {}", path.display())) };
    }
    let mut command = cargo();
    command.args(["build", "--workspace", "--locked", "--quiet", "--bin", name]);
    command.arg("--message-format=json-render-diagnostics").stderr(std::process::Stdio::inherit());
    if !options.debug {
        command.arg("--release");
    }
    executable(&output(&mut command)?, name).ok_or_else(|| format!("cargo built no {name}"))
}

fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = artifacts.filter(|artifact| artifact["target"]["name"] == name);
    ours.filter_map(|artifact| artifact["executable"].as_str().map(PathBuf::from)).next_back()
}

#[cfg(test)]
mod tests {
    use super::executable;

    #[test]
    fn the_executable_of_the_named_target_is_found() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"other"},"executable":"/t/other"}
{"reason":"compiler-artifact","target":{"name":"s3load"},"executable":"/t/s3load"}
{"reason":"compiler-artifact","target":{"name":"s3load"},"executable":null}"#;
        assert_eq!(executable(messages, "s3load").unwrap().to_str(), Some("/t/s3load"));
        assert_eq!(executable(messages, "missing"), None);
    }
}
