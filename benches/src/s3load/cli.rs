//! The command line of s3load.

use clap::{Parser, Subcommand};
use serde::Serialize;

use super::load::{LoadArgs, Op, load, read_mix};
use super::verify::{VerifyArgs, verify};
use super::writer::{RecordArgs, record};
use super::{Error, Result};

/// Load for an S3 server over bare connections, and checks of what it acknowledged.
#[derive(Debug, Parser)]
#[command(name = "s3load", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Put objects, key after key
    Put(LoadArgs),
    /// Get whole objects at random
    Get(LoadArgs),
    /// Get ranges of objects at random
    Range(LoadArgs),
    /// Ask for heads at random
    Head(LoadArgs),
    /// List the first page
    List(LoadArgs),
    /// Delete objects, key after key
    Delete(LoadArgs),
    /// Upload objects in parts, each over one connection
    Multipart(LoadArgs),
    /// A mix of kinds
    Mixed(LoadArgs),
    /// Put, overwrite and delete, and note what was acknowledged
    Record(RecordArgs),
    /// Hold all objects against such a record
    Verify(VerifyArgs),
}

/// What a command has to say.
#[derive(Debug)]
pub struct Outcome {
    /// For standard output.
    pub text: String,
    /// Whether all was as it should be.
    pub good: bool,
}

/// Runs the command.
pub fn run(cli: &Cli) -> Result<Outcome> {
    let one = |name: &str, args: &LoadArgs, op: Op| {
        let report = load(name, args, vec![(op, 1)])?;
        outcome(&report, args.json, report.is_good())
    };
    match &cli.command {
        Command::Put(args) => one("put", args, Op::Put),
        Command::Get(args) => one("get", args, Op::Get),
        Command::Range(args) => one("range", args, Op::Range),
        Command::Head(args) => one("head", args, Op::Head),
        Command::List(args) => one("list", args, Op::List),
        Command::Delete(args) => one("delete", args, Op::Delete),
        Command::Multipart(args) => one("multipart", args, Op::Multipart),
        Command::Mixed(args) => {
            let report = load("mixed", args, read_mix(&args.mix)?)?;
            outcome(&report, args.json, report.is_good())
        }
        Command::Record(args) => outcome(&record(args)?, args.json, true),
        Command::Verify(args) => {
            let verified = verify(args)?;
            outcome(&verified, args.json, verified.violations == 0)
        }
    }
}

fn outcome<T: Serialize + std::fmt::Display>(value: &T, json: bool, good: bool) -> Result<Outcome> {
    let text = if json {
        serde_json::to_string_pretty(value).map_err(|error| Error::Usage(format!("writing JSON: {error}")))?
    } else {
        value.to_string()
    };
    Ok(Outcome { text, good })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
