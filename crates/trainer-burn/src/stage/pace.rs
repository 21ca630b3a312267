//! How fast a stage is.

use std::time::{Duration, Instant};

/// A clock with a count: how much was done since it was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    since: Instant,
    count: u64,
}

impl Pace {
    /// Starts now, with `count` done already.
    pub fn start(count: u64) -> Self {
        Self { since: Instant::now(), count }
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// What was done per second since the start, with `count` done now; starts again.
    pub fn restart(&mut self, count: u64) -> f64 {
        let now = Instant::now();
        let seconds = now.duration_since(self.since).as_secs_f64().max(1e-9);
        let per_second = (count - self.count) as f64 / seconds;
        *self = Self { since: now, count };
        per_second
    }
}
