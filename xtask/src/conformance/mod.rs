//! `cargo xtask conformance nbd`: real clients of others against the NBD server.
//!
//! The example `nbd_file` serves sparse files, `nbd_volume` volumes of a store; nbdinfo, nbdcopy, nbdsh, qemu-img, qemu-io, qemu-nbd,
//! fio, nbd-client and nbdkit come to it over unix sockets, TCP, TLS and socket activation, and what
//! they read is compared with what was written. A program that is not installed is skipped and said
//! to be. On Debian: `apt-get install libnbd-bin python3-libnbd qemu-utils qemu-block-extra fio
//! nbd-client nbdkit openssl`.

mod clients;
mod place;
mod posix;
mod s3;
mod s3_areas;
mod s3_others;
mod s3_server;
mod volumes;

use std::path::PathBuf;
use std::process::Command;

pub use posix::posix;
pub use s3::s3;
pub use volumes::volume_kill;

use self::place::Place;
use crate::run::{Result, cargo, root, run};

/// One client, or one way of using it.
struct Step {
    name: &'static str,
    /// Programs without which it is skipped.
    needs: &'static [&'static str],
    run: fn(&Place) -> Result<()>,
}

const STEPS: &[Step] = &[
    Step { name: "nbdinfo: sizes, flags, contexts, list, map", needs: &["nbdinfo"], run: clients::nbdinfo },
    Step { name: "nbdcopy: in and out, 4 connections", needs: &["nbdcopy"], run: clients::nbdcopy },
    Step { name: "nbdcopy: synchronous, without extents", needs: &["nbdcopy"], run: clients::nbdcopy_plain },
    Step { name: "nbdsh: simple, structured, extended", needs: &["nbdsh"], run: clients::nbdsh },
    Step { name: "nbdsh: systemd socket activation", needs: &["nbdsh"], run: clients::activation },
    Step { name: "qemu-img: info, convert, compare, map", needs: &["qemu-img"], run: clients::qemu_img },
    Step { name: "qemu-img: dirty context", needs: &["qemu-img", "qemu-io"], run: clients::qemu_dirty },
    Step { name: "qemu-io: patterns, zeroes, discard, FUA", needs: &["qemu-io"], run: clients::qemu_io },
    Step { name: "qemu-nbd --list", needs: &["qemu-nbd"], run: clients::qemu_nbd_list },
    Step { name: "fio nbd engine: verify crc32c", needs: &["fio"], run: clients::fio },
    Step { name: "nbd-client -list", needs: &["nbd-client"], run: clients::nbd_client },
    Step { name: "nbdkit as proxy, with filters", needs: &["nbdkit", "nbdcopy"], run: clients::nbdkit },
    Step {
        name: "TLS with client certificates",
        needs: &["openssl", "nbdcopy", "nbdinfo"],
        run: clients::tls,
    },
];

/// Runs all steps; with `--release` against an optimised server.
pub fn nbd(args: &[String]) -> Result<()> {
    let release = match args {
        [] => false,
        [flag] if flag == "--release" => true,
        other => return Err(format!("conformance nbd [--release], not {other:?}")),
    };
    let (files, volumes) = (example("nbd_file", release)?, example("nbd_volume", release)?);
    let (mut passed, mut skipped, mut failed) = (0, 0, 0);
    let of_files = STEPS.iter().map(|step| (step, &files));
    for (step, server) in of_files.chain(volumes::STEPS.iter().map(|step| (step, &volumes))) {
        if let Some(missing) = step.needs.iter().find(|program| !is_installed(program)) {
            skipped += 1;
            println!("skipped  {} ({missing} is not installed)", step.name);
            continue;
        }
        let outcome = Place::new(server).and_then(|place| (step.run)(&place));
        match outcome {
            Ok(()) => {
                passed += 1;
                println!("ok       {}", step.name);
            }
            Err(error) => {
                failed += 1;
                println!("FAILED   {}\n{error}", step.name);
            }
        }
    }
    println!("{passed} ok, {failed} failed, {skipped} skipped");
    if failed == 0 { Ok(()) } else { Err(format!("{failed} clients are not content")) }
}

/// Builds one of the server's examples.
fn example(name: &str, release: bool) -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--locked", "-p", "gw-nbd", "--example", name]);
    if release {
        build.arg("--release");
    }
    run(&mut build)?;
    let target: PathBuf =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    Ok(target.join(if release { "release" } else { "debug" }).join("examples").join(name))
}

fn is_installed(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    found.is_ok_and(|output| output.status.success())
}
