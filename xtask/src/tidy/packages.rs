//! Packages of others: where they come from, under which licence, and which are not wanted.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Finding, licence, list, text};
use crate::run::{Result, cargo, output};

/// Not wanted anywhere in the tree, with the reason.
const BANNED: &[(&str, &str)] = &[
    ("openssl-sys", "TLS is rustls"),
    ("native-tls", "TLS is rustls"),
    ("configfs-tsm", "AGPL-3.0"),
    ("tdx-quote", "AGPL-3.0"),
    ("wasmtime", "the development chain runs natively"),
    ("librocksdb-sys", "the catalog engines are sled and fjall"),
];

/// Checks every package that is built for some target. The lock file also names optional packages
/// that no feature of ours turns on; those are not in the tree and not our concern.
pub fn check(resolved: &Value) -> Result<Vec<Finding>> {
    let tree = built()?;
    let mut findings = Vec::new();
    for package in list(resolved, "packages") {
        let name = text(package, "name");
        if !tree.contains(&format!("{name} v{}", text(package, "version"))) {
            continue;
        }
        let source = package.get("source").and_then(Value::as_str);
        if let Some((_, reason)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            findings.push(format!("{name} is banned: {reason}"));
        }
        let Some(source) = source else { continue };
        if !source.starts_with("registry+") && !source.starts_with("sparse+") {
            findings.push(format!("{name} comes from {source}; only registries are allowed"));
        }
        let expression = text(package, "license");
        if !licence::is_allowed(expression, name) {
            findings.push(format!("{name}: licence {expression:?} is not on the list"));
        }
    }
    Ok(findings)
}

fn built() -> Result<BTreeSet<String>> {
    let mut tree = cargo();
    tree.args(["tree", "--workspace", "--target", "all", "--locked", "--prefix", "none", "--format", "{p}"]);
    let words = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    Ok(output(&mut tree)?.lines().map(words).collect())
}
