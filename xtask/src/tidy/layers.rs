//! Who may know whom: a table of the workspace's packages, and the packages of others that live in
//! one place only (rules 1-6 of ARCHITECTURE.md).

use serde_json::Value;

use super::{Finding, list, text};
use crate::run::Result;

/// Each package and the packages of ours it may depend on outside tests.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("gw-types", &[]),
    ("gw-clock", &["gw-types"]),
    ("gw-codec", &["gw-types"]),
    ("gw-miner-wire", &["gw-types"]),
    ("gw-sim", &["gw-types", "gw-codec"]),
    ("gw-db", &["gw-types"]),
    ("gw-data", &["gw-types", "gw-codec", "gw-db"]),
    ("gw-dispersal", &["gw-types", "gw-codec", "gw-db", "gw-data"]),
    ("gw-store", &["gw-types", "gw-db", "gw-data"]),
    // The trait that it implements stands in the store's face.
    ("gw-memory-files", &["gw-types", "gw-store"]),
    ("gw-tee", &["gw-types", "gw-codec"]),
    ("gw-chain", &["gw-types"]),
    ("gw-devchain", &["gw-types"]),
    ("gw-miner-client", &["gw-types", "gw-miner-wire"]),
    // The library knows the port only; its binary connects to the chain.
    ("cess-miner", &["gw-types", "gw-clock", "gw-miner-wire", "gw-chain"]),
    ("gw-s3", &["gw-types", "gw-store"]),
    ("gw-nbd", &["gw-types", "gw-store"]),
    ("gw-fuse", &["gw-types", "gw-store"]),
    ("gw-events", &["gw-types", "gw-store"]),
    ("xtask", &[]),
    ("examples", &[]),
];

/// Packages that name concrete adapters or measure everything: they may know all.
const MAY_KNOW_ALL: &[&str] = &["gateway", "benches", "fuzz"];

/// Packages of others that could be replaced, and who may name them outside tests.
const HOME: &[(&str, &[&str])] = &[
    ("s3s", &["gw-s3"]),
    ("fuser", &["gw-fuse"]),
    ("nbd", &["gw-nbd"]),
    ("async-nats", &["gw-events"]),
    ("hyper-rustls", &["gw-events"]),
    ("tokio-rustls", &["gw-nbd", "gw-s3"]),
    ("rustls-webpki", &["gw-nbd"]),
    ("subxt", &["gw-chain"]),
    ("subxt-rpcs", &["gw-chain", "gw-devchain", "gateway"]),
    ("sled", &["gw-db", "gw-devchain"]),
    ("fjall", &["gw-db"]),
    ("reed-solomon-erasure", &["gw-codec"]),
    ("rusty_erasure", &["gw-codec"]),
    ("aes-gcm-siv", &["gw-codec"]),
    ("aws-sigv4", &["gw-s3", "fuzz"]),
    ("clap", &["gateway", "cess-miner"]),
];

/// Packages of ours that do no I/O (rule 4), and what would be I/O.
const PURE: &[&str] = &["gw-types", "gw-codec", "gw-miner-wire"];
const IO: &[&str] = &["tokio", "hyper", "hyper-util", "getrandom", "rand", "rustix", "tempfile"];

/// Checks the normal dependencies of each workspace package against the tables.
pub fn check(workspace: &Value) -> Result<Vec<Finding>> {
    let packages = list(workspace, "packages");
    let ours: Vec<&str> = packages.iter().map(|package| text(package, "name")).collect();
    let mut findings = Vec::new();
    for package in packages {
        let name = text(package, "name");
        let normal = list(package, "dependencies")
            .iter()
            .filter(|dependency| dependency.get("kind").is_none_or(Value::is_null))
            .map(|dependency| text(dependency, "name"));
        for dependency in normal {
            findings.extend(judge(name, dependency, &ours));
        }
        if !MAY_KNOW_ALL.contains(&name) && !MAY_KNOW.iter().any(|(known, _)| *known == name) {
            findings.push(format!("{name} has no line in the table of xtask/src/tidy/layers.rs"));
        }
    }
    Ok(findings)
}

fn judge(name: &str, dependency: &str, ours: &[&str]) -> Option<Finding> {
    let all = MAY_KNOW_ALL.contains(&name);
    if ours.contains(&dependency) {
        let known = MAY_KNOW.iter().find(|(package, _)| *package == name).map_or(&[][..], |(_, may)| *may);
        let allowed = all || known.contains(&dependency);
        return (!allowed).then(|| format!("{name} may not know {dependency}"));
    }
    if PURE.contains(&name) && IO.contains(&dependency) {
        return Some(format!("{name} does no I/O, so it may not use {dependency}"));
    }
    let (_, homes) = HOME.iter().find(|(package, _)| *package == dependency)?;
    let allowed = homes.contains(&name) || name == "benches";
    (!allowed).then(|| format!("{dependency} lives in {homes:?}, not in {name}"))
}

#[cfg(test)]
mod tests {
    use super::judge;

    const OURS: &[&str] = &["gw-s3", "gw-store", "gw-chain", "gw-types"];

    #[test]
    fn a_frontend_may_not_know_the_chain() {
        assert!(judge("gw-s3", "gw-chain", OURS).is_some());
        assert!(judge("gw-s3", "gw-store", OURS).is_none());
    }

    #[test]
    fn a_replaceable_package_stays_at_home() {
        assert!(judge("gw-store", "sled", OURS).is_some());
        assert!(judge("gw-db", "sled", OURS).is_none());
    }

    #[test]
    fn types_do_no_io() {
        assert!(judge("gw-types", "tokio", OURS).is_some());
    }
}
