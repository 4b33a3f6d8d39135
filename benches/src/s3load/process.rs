//! What a process of this machine has spent, from `/proc` (proc(5)).

use std::time::Duration;

/// `/proc` counts processor time in ticks of this length: USER_HZ is 100 on every Linux platform we
/// know, whatever the kernel's own HZ.
const TICK: Duration = Duration::from_millis(10);

/// A process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Processor time of all its threads, in user and kernel mode.
    pub cpu: Duration,
    /// Memory it holds now.
    pub rss_bytes: u64,
    /// The most it ever held.
    pub rss_peak_bytes: u64,
}

/// Looks at a process; `None` when it is gone or this is not Linux.
pub fn look(pid: u32) -> Option<Spent> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Spent {
        cpu: cpu(&stat)?,
        rss_bytes: kibibytes(&status, "VmRSS:")?,
        rss_peak_bytes: kibibytes(&status, "VmHWM:")?,
    })
}

/// The sum over several processes; `None` when there is none, or one is gone.
pub fn look_at_all(pids: &[u32]) -> Option<Spent> {
    let each = pids.iter().map(|pid| look(*pid)).collect::<Option<Vec<Spent>>>()?;
    each.into_iter().reduce(|all, one| Spent {
        cpu: all.cpu + one.cpu,
        rss_bytes: all.rss_bytes + one.rss_bytes,
        rss_peak_bytes: all.rss_peak_bytes + one.rss_peak_bytes,
    })
}

fn cpu(stat: &str) -> Option<Duration> {
    // The second field is the name in parentheses and may hold anything; utime and stime are fields 14
    // and 15, so 11 and 12 after it.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u32>().ok()? + fields.next()?.parse::<u32>().ok()?;
    Some(TICK * ticks)
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(name))?;
    let number: u64 = line[name.len()..].trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(number << 10)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{cpu, kibibytes};

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_confuse() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 5 0 0";
        assert_eq!(cpu(stat), Some(Duration::from_secs(2)));
        assert_eq!(cpu("7 (a"), None);
    }

    #[test]
    fn memory_is_in_kibibytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(kibibytes(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(kibibytes(status, "VmSwap:"), None);
    }
}
