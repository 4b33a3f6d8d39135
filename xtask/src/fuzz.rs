//! `cargo xtask fuzz`: libFuzzer over the targets of `fuzz/`, one after the other.
//!
//! Coverage only, no address sanitizer: there is no unsafe code of ours on these paths, and so the stable
//! compiler will do. What libFuzzer finds worth keeping goes to `target/fuzz/corpus/TARGET` and is used
//! again; a finding ends the run and its input stays in `fuzz/libfuzzer/artifacts/TARGET`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::run::{Result, cargo, output, root, run};

/// See `cargo xtask help`.
pub fn fuzz(args: &[String]) -> Result<()> {
    let (mut only, mut seconds) = (None, 3600_u32);
    let mut args = args.iter();
    while let Some(flag) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--only" => only = Some(value()?.clone()),
            "--seconds" => {
                let text = value()?;
                seconds = text.parse().map_err(|_| format!("{text:?} is not a number of seconds"))?;
            }
            _ => return Err(format!("there is no flag {flag:?} here; there is --only A,B and --seconds N")),
        }
    }
    output(cargo().args(["fuzz", "--version"]))
        .map_err(|_| "cargo-fuzz is not there: cargo install cargo-fuzz --locked")?;
    let all = targets(&root().join("fuzz/corpus"))?;
    let chosen: Vec<&String> = match &only {
        Some(only) => {
            let wanted: Vec<&str> = only.split(',').collect();
            if let Some(unknown) = wanted.iter().find(|name| !all.iter().any(|known| known == *name)) {
                return Err(format!("there is no target {unknown:?}; there is {}", all.join(", ")));
            }
            all.iter().filter(|name| wanted.contains(&name.as_str())).collect()
        }
        None => all.iter().collect(),
    };
    for target in chosen {
        one(target, seconds)?;
    }
    Ok(())
}

fn targets(corpus: &Path) -> Result<Vec<String>> {
    let failed = |error: std::io::Error| format!("{}: {error}", corpus.display());
    let names = fs::read_dir(corpus)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()).map_err(failed));
    let mut names = names.collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn one(target: &str, seconds: u32) -> Result<()> {
    let found = root().join("target/fuzz/corpus").join(target);
    fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
    let mut command: Command = cargo();
    command.args(["fuzz", "run", "--fuzz-dir", "fuzz/libfuzzer", "--sanitizer", "none", target]).arg(&found);
    command.arg(root().join("fuzz/corpus").join(target));
    command.args(["--", "-timeout=60", "-rss_limit_mb=6144", "-max_len=4096", "-print_final_stats=1"]);
    command.arg(format!("-max_total_time={seconds}"));
    run(&mut command)
}
