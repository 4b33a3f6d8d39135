//! `cargo xtask tidy`: the rules that the compiler does not hold.
//!
//! Rules 1-6 of ARCHITECTURE.md ("who may know whom") stand in [`layers`] as a table; licences,
//! sources and banned packages in [`packages`]; calls that belong to one place in [`sources`].
//! Every finding is printed; any finding fails the command.

mod layers;
mod licence;
mod packages;
mod sources;

use serde_json::Value;

use crate::run::{Result, cargo, output};

/// One broken rule, as it is shown.
pub type Finding = String;

/// Runs all checks.
pub fn tidy() -> Result<()> {
    let workspace = metadata(&["--no-deps"])?;
    let resolved = metadata(&[])?;
    let mut findings = Vec::new();
    findings.extend(layers::check(&workspace)?);
    findings.extend(packages::check(&resolved)?);
    findings.extend(sources::check()?);
    for finding in &findings {
        eprintln!("tidy: {finding}");
    }
    match findings.len() {
        0 => {
            println!("tidy: all rules hold");
            Ok(())
        }
        count => Err(format!("{count} rules broken")),
    }
}

fn metadata(extra: &[&str]) -> Result<Value> {
    let text = output(cargo().args(["metadata", "--format-version", "1", "--locked"]).args(extra))?;
    serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))
}

/// A string member of a JSON object; empty where it is absent.
fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value.get(member).and_then(Value::as_str).unwrap_or_default()
}

/// An array member of a JSON object; empty where it is absent.
fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value.get(member).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
