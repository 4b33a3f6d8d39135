//! The corpus, and mutations of it, through every target.

use std::fs;
use std::path::PathBuf;

use fuzz::TARGETS;

/// Mutations of each corpus in a plain run; `cargo xtask fuzz` does it in earnest.
const MUTATIONS: usize = 400;

/// SplitMix64: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
    fn mutate(&mut self, data: &[u8]) -> Vec<u8> {
        let mut data = data.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(data.len());
            match self.below(4) {
                0 if !data.is_empty() => data[at] = self.below(256) as u8,
                1 => data.truncate(at),
                2 => data.insert(at.min(data.len()), self.below(256) as u8),
                _ => {
                    let end = (at + self.below(16)).min(data.len());
                    let again = data[at.min(end)..end].to_vec();
                    data.extend_from_slice(&again);
                }
            }
        }
        data
    }
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<PathBuf> =
        fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).expect("a file"))).collect()
}

#[test]
fn whatever_is_sent_is_answered_and_nothing_breaks() {
    for target in TARGETS {
        let files = corpus(target.name);
        assert!(!files.is_empty(), "{} has a corpus", target.name);
        for (number, (path, data)) in files.iter().enumerate() {
            println!("{} {}", target.name, path.display());
            (target.run)(data);
            let mut dice = Dice(number as u64);
            for mutation in 0..MUTATIONS.div_ceil(files.len()) {
                println!("{} {} mutation {mutation}", target.name, path.display());
                (target.run)(&dice.mutate(data));
            }
        }
    }
}
