//! Measured durations; the one place that reads the monotonic clock.
//!
//! For metrics and logs only: deadlines are the runtime's timers, and times that are stored come from
//! [`Clock`](crate::domain::time::Clock).

use std::time::{Duration, Instant};

/// Runs from [`Stopwatch::start`] on. Never goes backwards.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is what everything else measures with")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// How long it has run.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopwatch_never_runs_backwards_and_does_run() {
        let watch = Stopwatch::start();
        let mut last = Duration::ZERO;
        while last < Duration::from_micros(50) {
            let elapsed = watch.elapsed();
            assert!(elapsed >= last);
            last = elapsed;
        }
    }
}
