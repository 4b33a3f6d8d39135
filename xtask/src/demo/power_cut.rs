//! `cargo xtask power-cut`: the data directory's file system loses power in the middle of a load.
//!
//! Everything of the stack (journal, catalog, segments, chain, miners) is on a loop-mounted ext4 or
//! XFS image; the record of what was acknowledged is not. A cut freezes the gateway, so that nothing
//! is acknowledged any more, makes the kernel forget what was not synced, and only then kills the
//! process. What comes back must hold every acknowledged object, over all cuts.

use super::image::{self, Image, Kind};
use super::kill_loop::{SEAL_AGE_MS, compare_dispersed, load_for_a_while, programs};
use super::load::{Acknowledged, Load};
use super::options::{Chance, Options, Work};
use super::stack::Stack;
use super::story::Story;
use crate::run::Result;

/// Rounds, unless told otherwise; they alternate between the kinds.
const ROUNDS: u32 = 10;
const ROUNDS_SMALL: u32 = 2;

/// One file system with a stack on it. Fields drop in this order: first the process, then the mount.
struct Site {
    stack: Stack,
    load: Load,
    image: Image,
}

/// See `cargo xtask help`.
pub fn power_cut(args: &[String]) -> Result<()> {
    let options = Options::read(
        args,
        &["--rounds", "--small", "--release", "--debug", "--bin-dir", "--keep", "--seed"],
    )?;
    image::check()?;
    let rounds = options.rounds.unwrap_or(if options.small { ROUNDS_SMALL } else { ROUNDS });
    let mut story = Story::begin(&format!("power cuts, {rounds} rounds, --seed {}", options.seed));
    let (gateway, s3load) = programs(&mut story, &options)?;
    let work = Work::new("power-cut", options.keep)?;
    let mut sites = Vec::new();
    for kind in [Kind::Ext4, Kind::Xfs] {
        story.step(&format!("make an image with {}, start the stack on it", kind.name()), || {
            let folder = work.path.join(kind.name().to_owned() + "-outside");
            std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            let image = Image::make(kind, &work.path)?;
            let mut stack = Stack::new(&gateway, &image.point().join("data"), &folder)
                .with_flags(&["--seal-age-ms", SEAL_AGE_MS]);
            let load = Load::new(&s3load, stack.ready_file(), &folder.join("record"));
            let (_, waited) = stack.start()?;
            sites.push(Site { stack, load, image });
            Ok(format!("ready after {:.2} s", waited.as_secs_f64()))
        })?;
    }
    let mut chance = Chance::new(options.seed);
    let mut puts = 0;
    for round in 1..=rounds {
        let count = sites.len();
        let site = &mut sites[(round as usize - 1) % count];
        story.step(
            &format!("round {round}, {}: load, cut, mount, start, compare", site.image.kind().name()),
            || {
                let acknowledged = cut(site, &mut chance)?;
                puts += acknowledged.puts;
                let (_, waited) = site.stack.start()?;
                let ready = waited.as_secs_f64();
                Ok(format!(
                    "{acknowledged}; ready after {ready:.2} s\n               {}",
                    site.load.verify()?
                ))
            },
        )?;
    }
    if puts == 0 {
        return Err("no PUT was acknowledged in any round, so nothing was tried".to_owned());
    }
    for site in &sites {
        let title = "flush --level finalized, cache drop, compare with what the miners hold";
        let kind = site.image.kind().name();
        story.step(&format!("{kind}: {title}"), || compare_dispersed(&site.stack, &site.load))?;
    }
    story.step("stop both stacks", || {
        sites.iter_mut().try_for_each(|site| site.stack.stop().map(|_| ()))?;
        Ok(String::new())
    })?;
    story.end(&format!("{puts} acknowledged PUTs over {rounds} power cuts: every object is as it must be"));
    Ok(())
}

fn cut(site: &mut Site, chance: &mut Chance) -> Result<Acknowledged> {
    let running = load_for_a_while(&site.load, chance)?;
    site.stack.freeze()?;
    site.image.cut()?;
    site.stack.kill()?;
    let acknowledged = running.end()?;
    site.image.come_back()?;
    Ok(acknowledged)
}
