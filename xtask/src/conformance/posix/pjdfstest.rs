//! pjdfstest, in its Rust form (a crate) and in its C form (shell scripts around one program).

use std::path::Path;
use std::process::Command;

use super::{Outcome, Tools, spoken, target};
use crate::run::{Result, run};

fn group_of(user: &str) -> Result<String> {
    Ok(crate::run::output(Command::new("id").args(["-gn", user]))?.trim().to_owned())
}

/// The crate.
pub fn pjdfstest(tools: &Tools, at: &Path) -> Result<Outcome> {
    let config = target().join("conformance/pjdfstest.toml");
    let text = format!(
        "[features]\nposix_fallocate = {{}}\nrename_ctime = {{}}\nutime_now = {{}}\nutimensat = {{}}\n\
         [settings]\nnaptime = 0.001\nallow_remount = false\n\
         [dummy_auth]\nentries = [[\"nobody\", \"{}\"], [\"daemon\", \"{}\"]]\n",
        group_of("nobody")?,
        group_of("daemon")?
    );
    std::fs::write(&config, text).map_err(|error| error.to_string())?;
    let mut command = Command::new(tools.bin.join("pjdfstest"));
    command.arg("-c").arg(&config).arg("-p").arg(at);
    let text = spoken(&mut command)?;
    // Summary: 0 failed, 16 skipped, 382 passed, 0 expected failures, 398 total
    let count = |what: &str| {
        let summary = text.lines().find(|line| line.starts_with("Summary:"))?;
        summary.split([':', ',']).find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok())
    };
    let (Some(passed), Some(skipped)) = (count("passed"), count("skipped")) else {
        return Err(format!("pjdfstest came to no end:\n{text}"));
    };
    let failures = text
        .lines()
        .filter_map(|line| line.strip_suffix("FAILED").map(|name| name.trim().to_owned()))
        .collect();
    Ok(Outcome { suite: "pjdfstest (Rust)".to_owned(), passed, skipped, failures })
}

/// The C suite, checked out in `suite`.
pub fn c_suite(suite: &Path, at: &Path) -> Result<Outcome> {
    let suite = suite.canonicalize().map_err(|error| format!("{}: {error}", suite.display()))?;
    if !suite.join("pjdfstest").exists() {
        // Debian: apt-get install autoconf automake build-essential
        let build = "autoreconf -ifs && ./configure && make pjdfstest";
        run(Command::new("sh").args(["-c", build]).current_dir(&suite))?;
    }
    let mut prove = Command::new("prove");
    prove.arg("-rQ").arg(suite.join("tests")).current_dir(at);
    let text = spoken(&mut prove)?;
    // Files=238, Tests=8798, 77 wallclock secs …
    let total = text
        .lines()
        .find(|line| line.starts_with("Files="))
        .and_then(|line| line.split(", ").find_map(|part| part.strip_prefix("Tests=")?.parse::<u64>().ok()));
    let total = total.ok_or_else(|| format!("prove came to no end:\n{text}"))?;
    let mut failures = Vec::new();
    let mut file = String::new();
    for line in text.lines() {
        if let Some((name, _)) = line.split_once("(Wstat:") {
            file = name.rsplit("tests/").next().unwrap_or(name).trim().to_owned();
        }
        if let Some((_, numbers)) =
            line.split_once("Failed test:").or_else(|| line.split_once("Failed tests:"))
        {
            failures.extend(numbered(numbers).map(|number| format!("{file} {number}")));
        } else if line.contains("Non-zero exit") || line.contains("Bad plan") {
            failures.push(format!("{file}: {}", line.trim()));
        }
    }
    if failures.is_empty() && !text.contains("Result: PASS") {
        failures.push(text);
    }
    let passed = total.saturating_sub(failures.len() as u64);
    Ok(Outcome { suite: "pjdfstest (C)".to_owned(), passed, skipped: 0, failures })
}

/// `1, 3-5` as 1, 3, 4, 5.
fn numbered(text: &str) -> impl Iterator<Item = u64> {
    text.split(',').flat_map(|part| {
        let ends = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
        let ends = ends.0.parse().ok().zip(ends.1.parse().ok());
        ends.map_or(0..0, |(first, last): (u64, u64)| first..last + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::numbered;

    #[test]
    fn numbers_of_failed_tests_are_read() {
        assert_eq!(numbered("  3-5, 9, 12-12").collect::<Vec<_>>(), [3, 4, 5, 9, 12]);
        assert_eq!(numbered("").count(), 0);
    }
}
