//! Words in our own sources that belong to one place or to none.

use std::fs;
use std::path::{Path, PathBuf};

use super::Finding;
use crate::run::{Result, root};

/// A word, the folders or files where it may stand, and why.
struct Word {
    word: &'static str,
    may_stand_in: &'static [&'static str],
    reason: &'static str,
}

const WORDS: &[Word] = &[
    Word {
        word: "unbounded",
        may_stand_in: &["xtask/"],
        reason: "every queue has a named maximum (promise 5)",
    },
    Word {
        word: "std::env::",
        may_stand_in: &["gateway/", "xtask/", "examples/", "benches/", "miner/server/src/main.rs"],
        reason: "only binaries read arguments and environment (rule 5)",
    },
    Word {
        word: "SystemTime::now",
        may_stand_in: &[
            "gateway/",
            "xtask/",
            "examples/",
            "benches/",
            "fuzz/",
            "fuzz/",
            "chain-client/devchain/",
            "miner/server/src/main.rs",
            "core/clock/",
        ],
        reason: "time comes from the Clock port (promise 7)",
    },
    Word { word: "std::fs", may_stand_in: NOT_PURE, reason: "types and codecs do no I/O (rule 4)" },
    Word { word: "todo!(", may_stand_in: &["xtask/"], reason: "no unfinished marks" },
    Word { word: "unimplemented!(", may_stand_in: &["xtask/"], reason: "no unfinished marks" },
    Word { word: "#[ignore", may_stand_in: &["xtask/"], reason: "a test that does not run shows nothing" },
];

const NOT_PURE: &[&str] = &[
    "core/db/",
    "core/data/",
    "core/dispersal/",
    "core/store/",
    "core/sim/",
    "tee/pipeline/",
    "miner/server/",
    "miner/client/",
    "chain-client/",
    "frontends/",
    "gateway/",
    "xtask/",
    "examples/",
    "benches/",
];

/// Looks through every `.rs` file of the workspace outside `target`; tests may use what they need.
pub fn check() -> Result<Vec<Finding>> {
    let root = root();
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    let mut findings = Vec::new();
    for file in files {
        let name = file.strip_prefix(&root).unwrap_or(&file).to_string_lossy().into_owned();
        let source = fs::read_to_string(&file).map_err(|error| format!("{name}: {error}"))?;
        findings.extend(read(&name, &source));
    }
    Ok(findings)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && name != "cess-data" && !name.starts_with('.') {
            collect(&path, files)?;
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn read(name: &str, source: &str) -> Vec<Finding> {
    let in_tests = ["/tests/", "/benches/", "/examples/"].iter().any(|folder| name.contains(folder))
        || name.ends_with("tests.rs");
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut findings = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let line = line.split("//").next().unwrap_or_default();
        for word in WORDS {
            let allowed = in_tests && !word.word.starts_with('#')
                || word.may_stand_in.iter().any(|place| name.starts_with(place));
            if !allowed && line.contains(word.word) {
                findings.push(format!("{name}:{}: `{}`: {}", number + 1, word.word, word.reason));
            }
        }
    }
    let top = source.trim_start();
    if name.ends_with("/lib.rs") && !top.is_empty() && !top.starts_with("//!") {
        findings.push(format!("{name}: a crate begins with a paragraph that says what it is for"));
    }
    findings
}
