//! No lost commit: eight writers race for each of many commits while the gateway is killed and started.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::install::install;
use super::list::CLIENTS;
use super::options::Options;
use super::place::Place;
use crate::demo::{Stack, Story, Work, build, wait_for};
use crate::run::Result;

const JOB: &str = include_str!("jobs/race.py");
/// All commits are made by then, on any machine.
const RACE_MAX: Duration = Duration::from_secs(1200);
/// Between two kills: the gateway must get something done.
const LIFE: Duration = Duration::from_secs(4);

/// `cargo xtask race`
pub fn race(args: &[String]) -> Result<()> {
    let options = Options::read(args)?;
    let commits = if options.is_small() { 60 } else { 1000 };
    let client = CLIENTS.iter().find(|client| client.name == "boto3").ok_or("boto3 is not in the list")?;
    let mut story =
        Story::begin(&format!("8 writers race for {commits} commits; the gateway is killed meanwhile"));
    let folder = options.folder();
    install(client, &folder)?;
    let program = build("cess-gateway", &options.build())?;
    let work = Work::new("race", options.keep)?;
    let mut stack = Stack::new(&program, &work.path.join("data"), &work.path);
    let (ready, _) = stack.start()?;
    let place = Place { ready, folder, work: work.path.clone(), build: options.build() };
    let script = work.path.join("race.py");
    std::fs::write(&script, JOB).map_err(|error| format!("{}: {error}", script.display()))?;
    let mut command = place.python(client, &script)?;
    command.env("COMMITS", commits.to_string());
    let mut kills = 0;
    story.step("race, kill -9, start, again", || {
        let mut writers =
            command.arg("write").stdin(Stdio::null()).spawn().map_err(|error| format!("python: {error}"))?;
        let begun = Instant::now();
        let status = loop {
            let ended = wait_for(LIFE, || writers.try_wait().map_err(|error| error.to_string()))?;
            if let Some(status) = ended {
                break status;
            }
            if begun.elapsed() > RACE_MAX {
                writers.kill().and_then(|()| writers.wait()).map_err(|error| error.to_string())?;
                return Err(format!("not done after {} s", RACE_MAX.as_secs()));
            }
            stack.kill()?;
            stack.start()?;
            kills += 1;
        };
        if status.success() {
            Ok(format!("{kills} kills"))
        } else {
            Err(format!("a writer failed: {status}"))
        }
    })?;
    story.step("who has won what", || {
        let mut judge = place.python(client, &script)?;
        crate::run::output(judge.env("COMMITS", commits.to_string()).arg("judge"))
            .map(|said| said.trim().to_owned())
    })?;
    stack.stop()?;
    story.end("exactly one winner each");
    Ok(())
}
