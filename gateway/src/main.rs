//! The binary `cess-gateway`: arguments, wiring, signals. Everything it wires lives in other crates;
//! this one names the concrete adapters.

mod access_log;
mod admin;
mod certificate;
mod cli;
mod commands;
mod config;
mod core;
mod datadir;
#[cfg(feature = "dev-chain")]
mod dev;
#[cfg(feature = "dev-chain")]
mod devnet;
mod error;
mod logging;
mod mounts;
mod nbd;
mod notify;
mod ready;
mod run;
mod serve;
mod territory;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Verb};
use crate::error::Result;

#[allow(clippy::print_stderr, reason = "a command's last word goes to the terminal")]
fn main() -> ExitCode {
    let cli = Cli::parse_from(cli::arguments(std::env::args_os()));
    logging::start(cli.reach.verbose);
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cess-gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(cli: Cli) -> Result<()> {
    let Cli { reach, verb } = cli;
    match verb {
        Verb::Dev(args) => match &args.verb {
            Some(cli::DevVerb::Miner(miner)) => commands::dev_miner(&reach, miner).await,
            None => dev(&reach, &args).await,
        },
        Verb::Serve(args) => serve::serve(&args).await,
        Verb::Miner(args) => miner(&args).await,
        Verb::Key(verb) => commands::key(&reach, verb),
        verb => commands::admin(&reach, verb).await,
    }
}

#[cfg(feature = "dev-chain")]
async fn dev(reach: &cli::Reach, args: &cli::DevArgs) -> Result<()> {
    dev::dev(reach, args).await
}

#[cfg(feature = "dev-chain")]
async fn miner(args: &cli::MinerArgs) -> Result<()> {
    devnet::run_miner(args).await
}

#[cfg(not(feature = "dev-chain"))]
async fn dev(_: &cli::Reach, _: &cli::DevArgs) -> Result<()> {
    error::fail("this build has no development chain (feature dev-chain); use `serve`")
}

#[cfg(not(feature = "dev-chain"))]
async fn miner(_: &cli::MinerArgs) -> Result<()> {
    error::fail("this build has no development miners (feature dev-chain); run cess-miner")
}
