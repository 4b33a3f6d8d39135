//! Flags of the commands, and where their files go.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::run::Result;

/// What a command was told. Flags that a command does not know are refused, not passed over.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// The form for CI: less of everything.
    pub small: bool,
    /// Programs with debug assertions, faster to build and slower to run.
    pub debug: bool,
    /// Where programs are that were built before; nothing is built then.
    pub bin_dir: Option<PathBuf>,
    /// Leave all files where they are.
    pub keep: bool,
    /// The gateway's data directory, when it should not be a temporary one.
    pub data_dir: Option<PathBuf>,
    /// Times a loop runs.
    pub rounds: Option<u32>,
    /// Chooses everything that is random.
    pub seed: u64,
}

impl Options {
    /// For whoever only builds programs.
    pub fn for_build(debug: bool, bin_dir: Option<PathBuf>) -> Self {
        Self { small: false, debug, bin_dir, keep: false, data_dir: None, rounds: None, seed: 0 }
    }

    /// Reads `args`, of which only the flags in `known` may be used.
    pub fn read(args: &[String], known: &[&str]) -> Result<Self> {
        let mut options = Self { seed: clock_seed(), ..Self::for_build(false, None) };
        let mut args = args.iter();
        while let Some(flag) = args.next() {
            if !known.contains(&flag.as_str()) {
                return Err(format!("there is no flag {flag:?} here; there is {}", known.join(", ")));
            }
            let mut value = || args.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--small" => options.small = true,
                "--debug" => options.debug = true,
                "--keep" => options.keep = true,
                "--bin-dir" => options.bin_dir = Some(value()?.into()),
                "--data-dir" => options.data_dir = Some(value()?.into()),
                "--rounds" => options.rounds = Some(number(value()?)?),
                "--seed" => options.seed = number(value()?)?,
                // `--release` is the default and may be said.
                _ => {}
            }
        }
        Ok(options)
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}

fn clock_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs().wrapping_mul(1000) + u64::from(now.subsec_millis())
}

/// A temporary folder of one run. It goes when this is dropped, unless it is to be kept.
pub struct Work {
    /// Where it is.
    pub path: PathBuf,
    keep: bool,
}

impl Work {
    /// Makes an empty folder named after the command and this process.
    pub fn new(name: &str, keep: bool) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("cess-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path, keep })
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.keep {
            println!("kept: {}", self.path.display());
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("xtask: {} could not be removed: {error}", self.path.display());
        }
    }
}

/// xorshift64*: the same choices for the same seed.
pub struct Chance(u64);

impl Chance {
    /// Begins a sequence.
    pub fn new(seed: u64) -> Self {
        Self((seed ^ 0x9e37_79b9_7f4a_7c15).max(1))
    }
    /// A number from `first` to `end`, without `end`.
    pub fn within(&mut self, first: u64, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        first + (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 20) % (end - first).max(1)
    }
    /// `count` different numbers below `end`, in order.
    pub fn some_of(&mut self, count: u64, end: u64) -> Vec<u64> {
        let mut chosen = std::collections::BTreeSet::new();
        while (chosen.len() as u64) < count.min(end) {
            chosen.insert(self.within(0, end));
        }
        chosen.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Chance, Options};

    fn read(line: &str) -> Result<Options, String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::read(&args, &["--small", "--rounds", "--seed"])
    }

    #[test]
    fn flags_are_read_and_strange_ones_refused() {
        let options = read("--small --rounds 3 --seed 9").unwrap();
        assert_eq!((options.small, options.rounds, options.seed), (true, Some(3), 9));
        assert!(read("--keep").unwrap_err().contains("--small, --rounds, --seed"));
        assert!(read("--rounds").is_err() && read("--rounds many").is_err());
    }

    #[test]
    fn a_choice_has_no_doubles() {
        let chosen = Chance::new(1).some_of(8, 14);
        assert_eq!(chosen.len(), 8);
        assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]) && chosen[7] < 14);
        assert_eq!(chosen, Chance::new(1).some_of(8, 14));
    }
}
