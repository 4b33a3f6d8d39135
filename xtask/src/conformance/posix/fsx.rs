//! fsx: random operations on one file, compared with what it should hold.
//!
//! The crate `fsx` runs always; the program of xfstests (Debian has none: `make` in a checkout of
//! xfstests, then `--fsx DIR/ltp/fsx`) where it is named. When a run on the gateway has ended well, the
//! file is fetched by S3 and compared with what the mount reads, byte by byte.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::place::Place;
use super::{Asked, Outcome, Tools, spoken, target};
use crate::run::Result;

/// Every operation that Linux has, bytes through descriptors and through mappings.
const CONFIG: &str = "flen = 262144\n[weights]\nclose_open = 1\ninvalidate = 1\ntruncate = 10\nfsync = 2\n\
    fdatasync = 2\nread = 10\nwrite = 10\nmapread = 10\nmapwrite = 10\nfallocate = 1\npunch_hole = 3\n\
    copy_file_range = 3\nsendfile = 1\nposix_fadvise = 1\n";
/// Longest file of the C program: its default.
const C_FILE_BYTES: &str = "262144";
/// The C program closes and opens the file again once in so many operations.
const C_REOPEN_EVERY: &str = "200";

/// All seeds, by all programs there are.
pub fn fsx(asked: &Asked, tools: &Tools, place: &Place, writeback: bool) -> Result<Vec<Outcome>> {
    let folder = place.folder("fsx")?;
    let config = target().join("conformance/fsx.toml");
    std::fs::write(&config, CONFIG).map_err(|error| error.to_string())?;
    let cache = if writeback { "writeback cache" } else { "page cache" };
    let (seeds, operations) =
        (asked.first_seed..asked.first_seed + asked.seeds, asked.operations.to_string());
    let mut outcomes = Vec::new();
    let in_rust = |seed: u64, file: &Path| {
        let mut command = Command::new(tools.bin.join("fsx"));
        command.args(["-q", "-N", &operations, "-S", &seed.to_string(), "-f"]);
        command.arg(&config).arg("-P").arg(std::env::temp_dir()).arg(file);
        command
    };
    outcomes.push(runs(&format!("fsx, {cache}"), seeds.clone(), &folder, place, &in_rust)?);
    if let Some(program) = &asked.fsx {
        let program = program.canonicalize().map_err(|error| format!("{}: {error}", program.display()))?;
        let in_c = |seed: u64, file: &Path| {
            let mut command = Command::new(&program);
            command.args(["-q", "-N", &operations, "-S", &seed.to_string(), "-l", C_FILE_BYTES]);
            command.args(["-c", C_REOPEN_EVERY, "-P"]).arg(std::env::temp_dir()).arg(file);
            command
        };
        outcomes.push(runs(&format!("fsx (C), {cache}"), seeds, &folder, place, &in_c)?);
    }
    Ok(outcomes)
}

fn runs(
    name: &str,
    seeds: std::ops::Range<u64>,
    folder: &Path,
    place: &Place,
    command: &dyn Fn(u64, &Path) -> Command,
) -> Result<Outcome> {
    let mut outcome = Outcome { suite: name.to_owned(), passed: 0, skipped: 0, failures: Vec::new() };
    for seed in seeds {
        let file = folder.join(format!("seed-{seed}"));
        let begun = Instant::now();
        let text = spoken(&mut command(seed, &file))?;
        let mut said = text.lines().rev().take(3).collect::<Vec<_>>().join(" / ");
        let mut passed = text.contains("A-OK") || text.contains("All operations completed");
        if passed && let Err(error) = place.compare_with_s3(&file) {
            (passed, said) = (false, error);
        }
        println!(
            "{name}, seed {seed}: {} ({:.0} s)",
            if passed { "ok" } else { &said },
            begun.elapsed().as_secs_f64()
        );
        if passed {
            outcome.passed += 1;
            std::fs::remove_file(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        } else {
            outcome.failures.push(format!("seed {seed}: {said}"));
        }
    }
    Ok(outcome)
}
