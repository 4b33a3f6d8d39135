//! `cargo xtask …`: everything the project checks or shows about itself.
//!
//! `cargo xtask help` lists the commands. Each is one file; this one only chooses.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool speaks to a terminal")]

mod clients;
mod conformance;
mod cross;
mod demo;
mod fuzz;
mod peers;
mod run;
mod scale;
mod tidy;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  tidy          dependency directions, licences, sources, banned calls
  demo [--small] [--data-dir D] [--keep] [--debug | --bin-dir B] [--seed N]
                the whole path with the real aws cli: buckets, a tree of files, deals on chain,
                cache dropped, 8 of 14 miners stopped, every byte compared, restart, compared again
  kill-loop [--rounds N] [--small] [--data-dir D] [--keep] [--debug | --bin-dir B] [--seed N]
                kill -9 of the whole stack in the middle of a load of PUTs, restarted, every
                acknowledged object compared
  power-cut [--rounds N] [--small] [--keep] [--debug | --bin-dir B] [--seed N]
                the same with power cuts of loop-mounted ext4 and XFS images; needs root
  figures [--small] [--debug | --bin-dir B] [--keep]
                speed and memory of the whole stack beside their goals: PUT and GET of small
                objects, first byte, packing, cold ranges, memory under 16 large uploads
  fuzz [--only A,B] [--seconds N]
                libFuzzer (cargo-fuzz) over S3's heads, signatures, frames, documents, policies and forms,
                IAM's acts and NBD, N (3600) seconds each, from the corpus in fuzz/corpus
  peers [--rounds N] [--seconds S] [--minio PROGRAM] [--no-radosgw] [--json] [--keep] [--debug | --bin-dir B]
                PUT, GET, HEAD, LIST, DELETE and multipart of the gateway, of Ceph's radosgw (Debian's
                packages) and of MinIO in turn: answers a second and processor time for each
  scale [--objects N] [--engine sled|fjall|both] [--json] [--folder D] [--keep] [--debug]
                what a store of N (2,000,000) small objects costs on each catalog engine: filled,
                killed with SIGKILL, opened, read; about 15 GiB of writes and 4 GiB of disk
  clients [--small | --only A,B] [--install] [--folder D] [--json] [--keep] [--debug | --bin-dir B]
                the client matrix against the whole stack: awscli, boto3, aws-sdk-rust, aws-sdk-js, s3cmd,
                rclone, restic, s5cmd, minio-py, pyarrow, polars, s3fs, DuckDB, DataFusion, chdb,
                deltalake, pyiceberg, lancedb, s3torchconnector, each with a real job; --install puts
                them into D (target/clients), Debian's packages into the system
  race [--small] [--folder D] [--keep] [--debug | --bin-dir B]
                8 writers race for 1,000 commits by If-None-Match and for one head by If-Match (boto3)
                while the gateway is killed and started: exactly one winner each, none forgotten
  conformance nbd [--release]
                nbdinfo, nbdcopy, nbdsh, qemu-img, qemu-io, fio, nbd-client, nbdkit against the NBD
                server, each as far as it is installed
  volume-kill [--rounds N]
                kill -9 of a server of volumes in the middle of writes, started again, every flushed
                block compared; needs nbdsh
  conformance s3 --suite DIR [--python P] [--all | --iam | --only FILE] [--match TEXT] [--timeout S]
                 [--gateway [--debug | --bin-dir B]] [--json] [--keep]
                the generic tests of ceph/s3-tests, checked out in DIR, against the S3 frontend over a
                store in memory, or the whole stack; counts by area; P is a Python with the suite's
                packages (and pytest-timeout for --timeout)
  conformance s3 --mint DIR | --msst DIR [--python P] [--match TEXT] [--debug | --bin-dir B] [--json]
                the tools of minio/mint, or the tests of msst-s3, checked out in DIR, against the
                whole stack
  conformance posix [--suite DIR] [--fsx PROGRAM] [--files memory|gateway | --mount DIR]
                [--only pjdfstest|suite|fsx] [--cache pages|writeback] [--first-seed N] [--seeds N]
                [--ops N] [--release | --bin-dir B] [--json]
                pjdfstest (the crate, and the C suite checked out in DIR) and fsx (the crate, and
                xfstests' PROGRAM) on a mount of a namespace in memory, of the development gateway,
                or of whatever DIR is; on the gateway fsx's file is then compared by S3; needs root
  cross [--ops N] [--seed N]
                N (1,000,000) random calls of S3 and of a mount on one bucket in memory, beside a model
                of both; every answer and every now and then everything is compared
  help          this text
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_else(|| "help".to_owned());
    let rest: Vec<String> = args.collect();
    let result = match command.as_str() {
        "tidy" => tidy::tidy(),
        "demo" => demo::demo(&rest),
        "kill-loop" => demo::kill_loop(&rest),
        "power-cut" => demo::power_cut(&rest),
        "figures" => demo::figures(&rest),
        "volume-kill" => conformance::volume_kill(&rest),
        "fuzz" => fuzz::fuzz(&rest),
        "peers" => peers::peers(&rest),
        "scale" => scale::scale(&rest),
        "cross" => cross::cross(&rest),
        "clients" => clients::clients(&rest),
        "race" => clients::race(&rest),
        "conformance" => match rest.split_first() {
            Some((what, rest)) if what == "nbd" => conformance::nbd(rest),
            Some((what, rest)) if what == "s3" => conformance::s3(rest),
            Some((what, rest)) if what == "posix" => conformance::posix(rest),
            _ => Err("conformance of what? `conformance nbd`, `s3` or `posix`".to_owned()),
        },
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(format!("there is no command {other:?}; `cargo xtask help` lists them")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
