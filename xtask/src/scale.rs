//! `cargo xtask scale`: builds the program `scale` (folder `benches`) and runs it. Flags that are not
//! about building are the program's own.

use std::path::PathBuf;

use serde_json::Value;

use crate::run::{Result, cargo, output, root, run};

/// Measures a store of many objects on each catalog engine.
pub fn scale(args: &[String]) -> Result<()> {
    let debug = args.iter().any(|arg| arg == "--debug");
    let mut build = cargo();
    build.args(["build", "--locked", "--quiet", "--bin", "scale"]);
    build.arg("--message-format=json-render-diagnostics").stderr(std::process::Stdio::inherit());
    if debug {
        // The features of the whole workspace, so that what the tests need is not built twice.
        build.arg("--workspace");
    } else {
        // This package alone: the development chain takes longer to build than the measurement.
        build.args(["-p", "benches", "--release"]);
    }
    let program = executable(&output(&mut build)?).ok_or("cargo built no `scale`")?;
    let mut command = std::process::Command::new(program);
    command.current_dir(root()).args(args.iter().filter(|arg| *arg != "--debug"));
    run(&mut command)
}

fn executable(messages: &str) -> Option<PathBuf> {
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = artifacts.filter(|artifact| artifact["target"]["name"] == "scale");
    ours.filter_map(|artifact| artifact["executable"].as_str().map(PathBuf::from)).next_back()
}

#[cfg(test)]
mod tests {
    use super::executable;

    #[test]
    fn the_program_is_found_in_what_cargo_says() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"s3load"},"executable":"/t/s3load"}
{"reason":"compiler-artifact","target":{"name":"scale"},"executable":"/t/scale"}
not json"#;
        assert_eq!(executable(messages).unwrap().to_str(), Some("/t/scale"));
        assert_eq!(executable(""), None);
    }
}
