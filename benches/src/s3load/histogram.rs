//! Latencies in a fixed amount of memory.
//!
//! Log-linear buckets: each power of two of nanoseconds is cut into 64, so a quantile is at most 1.6 %
//! too high, whatever the number of samples.

use std::time::Duration;

/// Buckets to a power of two.
const PARTS: u64 = 64;
/// Longer times count as this: 2^42 ns are 73 minutes, far above any time-out here.
const LONGEST_NS: u64 = (1 << 42) - 1;
const BUCKETS: usize = (PARTS * 36 + 2 * PARTS) as usize;

/// How often which time was seen.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// Empty until the first time is counted: many workers see one kind of request only.
    counts: Vec<u64>,
    count: u64,
    longest: u64,
}

impl Histogram {
    /// Counts one time.
    pub fn add(&mut self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(LONGEST_NS).min(LONGEST_NS);
        self.counts.resize(BUCKETS, 0);
        self.counts[bucket(nanoseconds)] += 1;
        self.count += 1;
        self.longest = self.longest.max(nanoseconds);
    }
    /// Adds what another has seen.
    pub fn merge(&mut self, other: &Self) {
        self.counts.resize(BUCKETS, 0);
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.longest = self.longest.max(other.longest);
    }
    /// How many times were counted.
    pub fn count(&self) -> u64 {
        self.count
    }
    /// The longest time seen, exactly.
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest)
    }
    /// The time that `part` (0 to 1) of all samples do not exceed; zero without samples.
    pub fn quantile(&self, part: f64) -> Duration {
        let rank = ((self.count as f64 * part).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper_bound(index as u64).min(self.longest));
            }
        }
        Duration::ZERO
    }
}

fn bucket(nanoseconds: u64) -> usize {
    let shift = nanoseconds.checked_ilog2().map_or(0, |power| u64::from(power).saturating_sub(6));
    (PARTS * shift + (nanoseconds >> shift)) as usize
}

fn upper_bound(index: u64) -> u64 {
    let shift = (index / PARTS).saturating_sub(1);
    ((index - PARTS * shift + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BUCKETS, Histogram, LONGEST_NS, bucket, upper_bound};

    #[test]
    fn a_bucket_is_never_wider_than_two_percent() {
        for power in 0..42 {
            for nanoseconds in [1u64 << power, (1 << power) + 1, (1 << (power + 1)) - 1] {
                let above = upper_bound(bucket(nanoseconds) as u64);
                assert!(
                    above >= nanoseconds && above <= nanoseconds + nanoseconds / 64,
                    "{nanoseconds}: {above}"
                );
            }
        }
        assert!(bucket(LONGEST_NS) < BUCKETS);
    }

    #[test]
    fn quantiles_are_those_of_the_samples() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|micros| histogram.add(Duration::from_micros(micros)));
        let near = |part, micros: f64| {
            let got = histogram.quantile(part).as_secs_f64() * 1e6;
            assert!((micros..micros * 1.02).contains(&got), "{part}: {got} and not {micros}");
        };
        near(0.5, 500.0);
        near(0.99, 990.0);
        assert_eq!(histogram.quantile(1.0), Duration::from_millis(1));
        assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
    }

    #[test]
    fn merged_is_as_if_counted_together() {
        let (mut one, mut two) = (Histogram::default(), Histogram::default());
        one.add(Duration::from_micros(5));
        two.add(Duration::from_micros(50));
        one.merge(&two);
        assert_eq!((one.count(), one.longest()), (2, Duration::from_micros(50)));
    }
}
