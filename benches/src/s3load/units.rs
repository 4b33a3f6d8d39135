//! Sizes and durations as people write them, and random choices.

use std::time::Duration;

/// Bytes: `4096`, `4KiB`, `4K`, `1MiB`, `2GiB` (all powers of 1024).
pub fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let number: u64 =
        digits.parse().map_err(|_| format!("{text:?} is not a number of bytes such as 4KiB"))?;
    let shift = match text[digits.len()..].trim() {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        unit => return Err(format!("{unit:?} is not a unit: use B, KiB, MiB or GiB")),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text:?} is too many bytes"))
}

/// A duration: `500ms`, `10s`, `2m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let number: u64 = digits.parse().map_err(|_| format!("{text:?} is not a duration such as 10s"))?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "" | "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        unit => Err(format!("{unit:?} is not a unit: use ms, s or m")),
    }
}

/// Sizes with weights: `4KiB`, or `4KiB:90,1MiB:10`.
#[derive(Clone, Debug)]
pub struct Sizes(Vec<(u64, u64)>);

impl Sizes {
    /// Reads `SIZE[:WEIGHT],…`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let one = |part: &str| -> Result<(u64, u64), String> {
            let (size, weight) = part.split_once(':').unwrap_or((part, "1"));
            let weight = weight.parse().map_err(|_| format!("{weight:?} is not a weight"))?;
            Ok((bytes(size)?, weight))
        };
        let sizes = text.split(',').map(one).collect::<Result<Vec<_>, _>>()?;
        if sizes.iter().map(|(_, weight)| weight).sum::<u64>() == 0 {
            return Err("all weights are 0".to_owned());
        }
        Ok(Self(sizes))
    }
    /// The size that `chance`, any number, chooses.
    pub fn pick(&self, chance: u64) -> u64 {
        pick(&self.0, chance)
    }
    /// The largest of them.
    pub fn max(&self) -> u64 {
        self.0.iter().map(|(size, _)| *size).max().unwrap_or(0)
    }
}

/// One of `choices` by weight. They are not empty and some weight is not 0.
pub fn pick<T: Copy>(choices: &[(T, u64)], chance: u64) -> T {
    let total: u64 = choices.iter().map(|(_, weight)| weight).sum();
    let mut left = chance % total.max(1);
    for (choice, weight) in choices {
        if left < *weight {
            return *choice;
        }
        left -= weight;
    }
    choices[choices.len() - 1].0
}

/// xorshift64*: good enough to choose keys, and the same at every run.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Begins a sequence; any seed will do.
    pub fn new(seed: u64) -> Self {
        Self(mix(seed).max(1))
    }
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    /// A number below `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        (self.draw() >> 11) % end.max(1)
    }
}

/// Spreads neighbouring numbers over all of u64 (the finaliser of splitmix64).
pub fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Chance, Sizes, bytes, duration};

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(bytes("4KiB"), Ok(4096));
        assert_eq!(bytes("128M"), Ok(128 << 20));
        assert!(bytes("4KB").is_err() && bytes("").is_err() && bytes("99999999999GiB").is_err());
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("2h").is_err());
    }

    #[test]
    fn weights_are_kept() {
        let sizes = Sizes::parse("1K:90,1M:10").unwrap();
        let mut chance = Chance::new(1);
        let large = (0..10_000).filter(|_| sizes.pick(chance.draw() >> 7) == 1 << 20).count();
        assert!((800..1200).contains(&large), "{large} of 10000 where 1000 were expected");
        assert!(Sizes::parse("1K:0").is_err());
    }
}
