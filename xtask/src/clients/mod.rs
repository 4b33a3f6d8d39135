//! The client matrix: the programs and libraries that people use, each doing a real job against the
//! whole stack.
//!
//! Each client is a script under `jobs/` and a line in [`list::CLIENTS`] that says where it comes from
//! and in which version. A script gets the endpoint, the keys, a bucket of its own and a folder by its
//! environment, does its job, checks what came of it by itself, and ends with 0. Python libraries have
//! an environment each, because some of them want different versions of the same packages.
//!
//! ```text
//!   S3_ENDPOINT  http://127.0.0.1:PORT     AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
//!   S3_HOST      127.0.0.1:PORT            AWS_REGION, AWS_DEFAULT_REGION
//!   BUCKET       exists and is empty       WORK   an empty folder, also $HOME
//! ```

mod install;
mod list;
mod options;
mod place;
mod race;

use std::time::{Duration, Instant};

use serde_json::json;

use crate::demo::{Stack, Work, build};
use crate::run::Result;
pub use race::race;

use list::{CLIENTS, Client};
use options::Options;
use place::Place;

/// What came of one client.
struct Outcome {
    client: &'static Client,
    verdict: Verdict,
    time: Duration,
}

#[derive(PartialEq, Eq)]
enum Verdict {
    Passed(String),
    Failed(String),
    /// It is not on this machine.
    Missing(String),
}

/// `cargo xtask clients`
pub fn clients(args: &[String]) -> Result<()> {
    let options = Options::read(args)?;
    let chosen: Vec<&'static Client> = CLIENTS.iter().filter(|client| options.wants(client)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = CLIENTS.iter().map(|client| client.name).collect();
        return Err(format!("no such client; there are {}", names.join(", ")));
    }
    let folder = options.folder();
    if options.install {
        for client in &chosen {
            if let Err(error) = install::install(client, &folder) {
                eprintln!("xtask: {} cannot be installed: {error}", client.name);
            }
        }
    }
    let program = build("cess-gateway", &options.build())?;
    let work = Work::new("clients", options.keep)?;
    let mut stack = Stack::new(&program, &work.path.join("data"), &work.path);
    let (ready, _) = stack.start()?;
    let place = Place { ready, folder, work: work.path.clone(), build: options.build() };
    let mut outcomes = Vec::new();
    for client in chosen {
        let begun = Instant::now();
        let verdict = place.run(client);
        let outcome = Outcome { client, verdict, time: begun.elapsed() };
        if !options.json {
            println!("{}", line(&outcome));
        }
        outcomes.push(outcome);
    }
    let log = stack.log_tail();
    stack.stop()?;
    if options.json {
        println!("{}", report(&outcomes));
    }
    let count = |fits: fn(&Verdict) -> bool| outcomes.iter().filter(|one| fits(&one.verdict)).count();
    let failed = count(|verdict| matches!(verdict, Verdict::Failed(_)));
    let missing = count(|verdict| matches!(verdict, Verdict::Missing(_)));
    let passed = outcomes.len() - failed - missing;
    if !options.json {
        println!("== {passed} clients did their jobs, {failed} failed, {missing} are not here");
    }
    if failed > 0 {
        return Err(format!("{failed} clients failed; the gateway's log ends with\n{log}"));
    }
    if missing > 0 && options.all_must_be_here() {
        return Err(format!("{missing} clients are not here: `cargo xtask clients --install`"));
    }
    Ok(())
}

fn line(outcome: &Outcome) -> String {
    let (word, said) = match &outcome.verdict {
        Verdict::Passed(said) => ("ok     ", said),
        Verdict::Failed(said) => ("FAILED ", said),
        Verdict::Missing(said) => ("missing", said),
    };
    format!("{:<22} {word} {:6.1} s  {said}", outcome.client.name, outcome.time.as_secs_f64())
}

fn report(outcomes: &[Outcome]) -> String {
    let one = |outcome: &Outcome| {
        let (verdict, said) = match &outcome.verdict {
            Verdict::Passed(said) => ("passed", said),
            Verdict::Failed(said) => ("failed", said),
            Verdict::Missing(said) => ("missing", said),
        };
        json!({
            "client": outcome.client.name,
            "verdict": verdict,
            "seconds": outcome.time.as_secs_f64(),
            "said": said,
        })
    };
    serde_json::Value::Array(outcomes.iter().map(one).collect()).to_string()
}
