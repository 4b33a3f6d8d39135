//! Installing clients: into folders of their own, or as packages of the system.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::list::{Client, Source};
use crate::run::{Result, output, run};

/// Folder of a client's environment.
pub fn home(client: &Client, folder: &Path) -> PathBuf {
    folder.join(client.home)
}

/// Installs one, if it is not there in this version.
pub fn install(client: &Client, folder: &Path) -> Result<()> {
    let home = home(client, folder);
    match client.source {
        Source::Python(packages) => python(&home, packages),
        Source::Node(packages) => node(&home, packages),
        Source::Debian { package, program } => debian(package, program),
        Source::Ours(_) => Ok(()),
    }
}

/// Says what a folder holds, so that it is made anew when the list has changed.
fn is_there(home: &Path, packages: &[&str]) -> bool {
    std::fs::read_to_string(home.join("packages.txt")).is_ok_and(|text| text == packages.join("\n"))
}

fn note(home: &Path, packages: &[&str]) -> Result<()> {
    let file = home.join("packages.txt");
    std::fs::write(&file, packages.join("\n")).map_err(|error| format!("{}: {error}", file.display()))
}

fn python(home: &Path, packages: &[&str]) -> Result<()> {
    if is_there(home, packages) {
        return Ok(());
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(home))?;
    run(Command::new(home.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .args(packages))?;
    note(home, packages)
}

fn node(home: &Path, packages: &[&str]) -> Result<()> {
    if is_there(home, packages) {
        return Ok(());
    }
    std::fs::create_dir_all(home).map_err(|error| format!("{}: {error}", home.display()))?;
    run(Command::new("npm")
        .args(["install", "--silent", "--no-audit", "--no-fund"])
        .args(packages)
        .current_dir(home))?;
    note(home, packages)
}

fn debian(package: &str, program: &str) -> Result<()> {
    if output(Command::new("sh").args(["-c", "command -v \"$0\"", program])).is_ok() {
        return Ok(());
    }
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    run(Command::new("apt-get").args(["install", "-y", "-qq", package]))
}
