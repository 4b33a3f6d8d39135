//! Steps, each with its number, its time and what came of it.

use std::time::{Duration, Instant};

use crate::run::Result;

/// A command that is under way.
pub struct Story {
    begun: Instant,
    steps: u32,
}

impl Story {
    /// Begins with a title.
    pub fn begin(title: &str) -> Self {
        println!("== {title}");
        Self { begun: Instant::now(), steps: 0 }
    }
    /// One step. What it returns is shown; an error ends the story and says at which step.
    pub fn step(&mut self, title: &str, act: impl FnOnce() -> Result<String>) -> Result<()> {
        self.steps += 1;
        println!("{:>3}. {title}", self.steps);
        let begun = Instant::now();
        let said = act().map_err(|error| format!("{title}: {error}"))?;
        println!("     {:6.1} s  {said}", begun.elapsed().as_secs_f64());
        Ok(())
    }
    /// Ends well.
    pub fn end(self, said: &str) {
        println!("== {said} ({:.0} s)", self.begun.elapsed().as_secs_f64());
    }
}

/// Asks `probe` every few milliseconds until it has something, or until `time` is over.
pub fn wait_for<T>(time: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let until = Instant::now() + time;
    loop {
        if let Some(found) = probe()? {
            return Ok(Some(found));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        // Not `sleep`: that is banned for async workers, of which there are none here.
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Does nothing for a while.
pub fn wait(time: Duration) {
    // The probe never finds anything and never fails.
    wait_for(time, || Ok(None::<()>)).ok();
}

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64)
}
