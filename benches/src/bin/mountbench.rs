//! What a mount costs a program: the same calls in several folders, in turns, in the same run.
//!
//! ```sh
//! cargo build --release -p gw-fuse --example fuse_memory
//! mkdir -p /tmp/m && target/release/examples/fuse_memory --allow-other /tmp/m &
//! cargo run --release -p benches --bin mountbench -- ext4=/var/tmp memory=/tmp/m gateway=/mnt/cess/bucket
//! ```
//!
//! One thread. Each phase runs in each folder in turn, and that several times; a cell is the median of
//! all its calls, in microseconds, and beside it the ratio to the second folder, which is meant to be
//! the floor: a namespace in memory behind the same kernel protocol. Sequential phases are in MiB/s.

#![expect(clippy::print_stdout, reason = "a command line tool speaks to a terminal")]

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;

/// Options.
#[derive(Parser)]
struct Options {
    /// Folders to compare, as NAME=DIR; the second is the floor.
    #[arg(required = true, value_parser = named)]
    folders: Vec<(String, PathBuf)>,
    /// Files of each phase and round.
    #[arg(long, default_value_t = 500)]
    count: usize,
    /// Rounds.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// MiB of the sequential phases.
    #[arg(long, default_value_t = 64)]
    mib: usize,
}

type Anything<T> = Result<T, Box<dyn Error>>;

fn named(text: &str) -> Result<(String, PathBuf), String> {
    let (name, folder) = text.split_once('=').ok_or("say NAME=DIR")?;
    Ok((name.to_owned(), folder.into()))
}

const BLOCK: usize = 4096;
/// Bytes of the file that direct reads and writes go to.
const DIRECT_BYTES: usize = 8 << 20;

/// One phase in one folder: the times of its calls in microseconds, or MiB/s with a minus sign.
type Phase = fn(&Path, &Options) -> Anything<Vec<f64>>;

const PHASES: &[(&str, Phase)] = &[
    ("mkdir", |at, o| each(o, |n| fs::create_dir(at.join(format!("d{n}"))))),
    ("create+close", |at, o| each(o, |n| File::create_new(at.join(format!("f{n}"))).map(drop))),
    ("open+write 4k+close", |at, o| each(o, |n| fs::write(at.join(format!("f{n}")), [7; BLOCK]))),
    ("stat", |at, o| each(o, |n| fs::metadata(at.join(format!("f{n}"))).map(drop))),
    ("open+read 4k+close", |at, o| each(o, |n| fs::read(at.join(format!("f{n}"))).map(drop))),
    ("rename", |at, o| each(o, |n| fs::rename(at.join(format!("f{n}")), at.join(format!("r{n}"))))),
    ("link", |at, o| each(o, |n| fs::hard_link(at.join(format!("r{n}")), at.join(format!("l{n}"))))),
    ("unlink", |at, o| each(o, |n| fs::remove_file(at.join(format!("l{n}"))))),
    ("4k O_DIRECT write", |at, o| direct(at, o, true)),
    ("4k O_DIRECT read", |at, o| direct(at, o, false)),
    ("write 1M, fsync (MiB/s)", |at, o| {
        let file = File::create(at.join("large"))?;
        rate(o, || {
            for _ in 0..o.mib {
                (&file).write_all(&vec![3; 1 << 20])?;
            }
            file.sync_all()?;
            Ok(())
        })
    }),
    ("read 1M, from cache (MiB/s)", |at, o| {
        let mut file = File::open(at.join("large"))?;
        let mut bytes = vec![0; 1 << 20];
        rate(o, || {
            while file.read(&mut bytes)? > 0 {}
            Ok(())
        })
    }),
];

fn each(options: &Options, mut call: impl FnMut(usize) -> std::io::Result<()>) -> Anything<Vec<f64>> {
    let mut times = Vec::with_capacity(options.count);
    for number in 0..options.count {
        let begun = Instant::now();
        call(number)?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(times)
}

fn rate(options: &Options, work: impl FnOnce() -> Anything<()>) -> Anything<Vec<f64>> {
    let begun = Instant::now();
    work()?;
    Ok(vec![-(options.mib as f64 / begun.elapsed().as_secs_f64())])
}

fn direct(at: &Path, options: &Options, write: bool) -> Anything<Vec<f64>> {
    let path = at.join("direct");
    if !path.exists() {
        fs::write(&path, vec![1; DIRECT_BYTES])?;
        File::open(&path)?.sync_all()?;
    }
    let flags = rustix::fs::OFlags::DIRECT.bits() as i32;
    let file = OpenOptions::new().read(true).write(write).custom_flags(flags).open(&path)?;
    // Direct bytes have to begin at a block in memory too.
    let mut buffer = vec![5; 2 * BLOCK];
    let start = buffer.as_ptr().align_offset(BLOCK);
    let block = buffer.get_mut(start..start + BLOCK).ok_or("memory that cannot be aligned")?;
    let mut place: u64 = 1;
    each(options, |_| {
        // A walk over all blocks in no order (a multiplier that is prime to their number).
        place = (place * 1103 + 7) % (DIRECT_BYTES / BLOCK) as u64;
        let offset = place * BLOCK as u64;
        if write { file.write_all_at(block, offset) } else { file.read_exact_at(block, offset) }
    })
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2].abs()
}

fn main() -> Anything<()> {
    let options = Options::parse();
    let mut results: Vec<Vec<Vec<f64>>> = vec![vec![Vec::new(); options.folders.len()]; PHASES.len()];
    for round in 0..options.rounds {
        let places: Vec<PathBuf> = options
            .folders
            .iter()
            .map(|(_, folder)| folder.join(format!("mountbench-{}-{round}", std::process::id())))
            .collect();
        for place in &places {
            fs::create_dir(place)?;
        }
        for (phase, (name, work)) in PHASES.iter().enumerate() {
            for (folder, place) in places.iter().enumerate() {
                let times = work(place, &options).map_err(|error| format!("{name}: {error}"))?;
                results[phase][folder].extend(times);
            }
        }
        for place in &places {
            fs::remove_dir_all(place)?;
        }
    }
    println!(
        "| p50, us | {} |",
        options.folders.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" | ")
    );
    println!("|---{}|", "|---".repeat(options.folders.len()));
    for ((name, _), mut folders) in PHASES.iter().zip(results) {
        let medians: Vec<f64> = folders.iter_mut().map(|times| median(times)).collect();
        let floor = medians.get(1).copied().filter(|floor| *floor > 0.0);
        let cells = medians.iter().map(|value| match floor {
            Some(floor) => format!("{value:.1} ({:.2})", value / floor),
            None => format!("{value:.1}"),
        });
        println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    Ok(())
}
