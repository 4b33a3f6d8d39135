//! `cargo xtask kill-loop`: kill -9 in the middle of a load, again and again.
//!
//! Each round puts, overwrites and deletes objects, kills the gateway at a random moment, sometimes
//! kills it once more while it opens, starts it, and compares every object with what was acknowledged
//! in this and all earlier rounds. Now and then local copies are dropped first, so that what was
//! dispersed is read from the miners.

use std::path::PathBuf;
use std::time::Duration;

use super::build::build;
use super::load::{self, Load, Running};
use super::options::{Chance, Options, Work};
use super::stack::Stack;
use super::story::{Story, wait};
use crate::run::Result;

/// Rounds, unless told otherwise.
const ROUNDS: u32 = 20;
const ROUNDS_SMALL: u32 = 3;
/// The moment of a kill, after the load began, in milliseconds.
const KILL_MS: (u64, u64) = (300, 3000);
/// The moment of a second kill, after the process began to open.
const KILL_OPENING_MS: (u64, u64) = (5, 400);
/// Segments are sealed this early, in milliseconds, so that kills and cuts also hit sealing, dispersal
/// and deals.
pub const SEAL_AGE_MS: &str = "4000";
/// One round in this many is killed twice; one in this many drops local copies before reading.
const KILL_TWICE_EVERY: u64 = 3;
const DROP_EVERY: u32 = 4;

/// See `cargo xtask help`.
pub fn kill_loop(args: &[String]) -> Result<()> {
    let options = Options::read(
        args,
        &["--rounds", "--small", "--release", "--debug", "--bin-dir", "--keep", "--data-dir", "--seed"],
    )?;
    let rounds = options.rounds.unwrap_or(if options.small { ROUNDS_SMALL } else { ROUNDS });
    let mut story = Story::begin(&format!("kill -9, {rounds} rounds, --seed {}", options.seed));
    let (gateway, s3load) = programs(&mut story, &options)?;
    let work = Work::new("kill-loop", options.keep)?;
    let data = options.data_dir.clone().unwrap_or_else(|| work.path.join("data"));
    let mut stack = Stack::new(&gateway, &data, &work.path).with_flags(&["--seal-age-ms", SEAL_AGE_MS]);
    let load = Load::new(&s3load, stack.ready_file(), &work.path.join("record"));
    let mut chance = Chance::new(options.seed);
    story.step("start the whole stack", || {
        Ok(format!("ready after {:.2} s", stack.start()?.1.as_secs_f64()))
    })?;
    let mut puts = 0;
    for round in 1..=rounds {
        story.step(&format!("round {round}: load, kill -9, start, compare"), || {
            let acknowledged = load_and_kill(&mut stack, &load, &mut chance)?;
            puts += acknowledged.puts;
            let opened = open_again(&mut stack, &mut chance)?;
            if round % DROP_EVERY == 0 {
                stack.ask(&["cache", "drop"])?;
            }
            Ok(format!("{acknowledged}; {opened}\n               {}", load.verify()?))
        })?;
    }
    if puts == 0 {
        return Err("no PUT was acknowledged in any round, so nothing was tried".to_owned());
    }
    story.step("flush --level finalized, cache drop, compare with what the miners hold", || {
        compare_dispersed(&stack, &load)
    })?;
    story.step("stop as an operator would, start, compare", || {
        stack.stop()?;
        stack.start()?;
        load.verify()
    })?;
    story.end(&format!("{puts} acknowledged PUTs over {rounds} kills: every object is as it must be"));
    Ok(())
}

/// Builds the gateway and the load tool.
pub fn programs(story: &mut Story, options: &Options) -> Result<(PathBuf, PathBuf)> {
    let (mut gateway, mut s3load) = (PathBuf::new(), PathBuf::new());
    story.step("build cess-gateway and s3load", || {
        gateway = build("cess-gateway", options)?;
        s3load = build("s3load", options)?;
        load::check(&s3load)?;
        Ok(gateway.display().to_string())
    })?;
    Ok((gateway, s3load))
}

fn load_and_kill(stack: &mut Stack, load: &Load, chance: &mut Chance) -> Result<load::Acknowledged> {
    let running = load_for_a_while(load, chance)?;
    stack.kill()?;
    running.end()
}

/// Loads until a random moment, and leaves the load running.
pub fn load_for_a_while(load: &Load, chance: &mut Chance) -> Result<Running> {
    let mut running = load.start(chance.within(0, u64::from(u32::MAX)))?;
    wait(Duration::from_millis(chance.within(KILL_MS.0, KILL_MS.1)));
    if running.has_ended()? {
        let acknowledged = running.end()?;
        return Err(format!("the load ended before the gateway did: {acknowledged}"));
    }
    Ok(running)
}

/// Deals that were cut short must have been taken up again, or this never ends well.
pub fn compare_dispersed(stack: &Stack, load: &Load) -> Result<String> {
    stack.ask(&["flush", "--level", "finalized", "--timeout", "600"])?;
    let dropped = stack.ask(&["cache", "drop"])?;
    let evicted = &dropped["segments_evicted"];
    let active = &stack.ask(&["status"])?["dispersal"]["deals_active"];
    Ok(format!(
        "{active} deals became Active since the last start, {evicted} segments evicted\n               {}",
        load.verify()?
    ))
}

fn open_again(stack: &mut Stack, chance: &mut Chance) -> Result<String> {
    let mut said = String::new();
    if chance.within(0, KILL_TWICE_EVERY) == 0 {
        let moment = chance.within(KILL_OPENING_MS.0, KILL_OPENING_MS.1);
        stack.spawn()?;
        wait(Duration::from_millis(moment));
        stack.kill()?;
        said = format!("killed again after {moment} ms; ");
    }
    let (_, waited) = stack.start()?;
    Ok(format!("{said}ready after {:.2} s", waited.as_secs_f64()))
}
