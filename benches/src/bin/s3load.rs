//! The binary `s3load`: arguments, and what is printed. See [`benches::s3load`].

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool speaks to a terminal")]

use std::process::ExitCode;

use benches::s3load::cli::{Cli, run};
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(outcome) => {
            println!("{}", outcome.text);
            if outcome.good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("s3load: {error}");
            ExitCode::from(2)
        }
    }
}
