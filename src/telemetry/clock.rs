//! The wall clock; the one place that reads it.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::ClockId;

use crate::domain::time::{Clock, Timestamp};

/// Counts the time that passes and nobody can set. Where there is one, a clock that also runs while the machine sleeps: what
/// was to end meanwhile has ended.
#[cfg(target_os = "linux")]
const UNSET: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const UNSET: ClockId = ClockId::Monotonic;

/// Reads the operating system's clock, for commands that look at it once. It may step in either direction.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else is handed")]
    fn now(&self) -> Timestamp {
        let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
        };
        Timestamp::from_millis(millis)
    }
}

/// The clock of the running gateway: the wall clock as it stood at the start, and from there on the time that has passed.
///
/// Whoever sets the machine's clock, by hours or by years and in either direction, thereby ends nothing that has time left and
/// gives nothing its time back. The price: a clock that was wrong at the start is wrong until the next one.
#[derive(Debug)]
pub struct SteadyClock {
    /// What the wall clock showed when [`UNSET`] stood at 0, had it never been set.
    origin: i64,
}

impl SteadyClock {
    /// Starts from what the wall clock shows now.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: SystemClock.now().as_millis().saturating_sub(passed()) }
    }

    /// By how many milliseconds the wall clock is ahead of this one (negative: behind): how far it was set since the start.
    #[must_use]
    pub fn wall_ahead_millis(&self) -> i64 {
        SystemClock.now().as_millis().saturating_sub(self.now().as_millis())
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.origin.saturating_add(passed()))
    }
}

/// Milliseconds on [`UNSET`].
fn passed() -> i64 {
    let time = rustix::time::clock_gettime(UNSET);
    time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_reads_milliseconds_since_the_epoch() {
        let earliest = Timestamp::parse("2026-01-01T00:00:00Z").expect("a literal");
        let latest = Timestamp::parse("2200-01-01T00:00:00Z").expect("a literal");
        for now in [SystemClock.now(), SteadyClock::start().now()] {
            assert!(earliest < now && now < latest, "{now}");
        }
    }

    #[test]
    fn the_steady_clock_runs_and_never_backwards() {
        let clock = SteadyClock::start();
        let begin = clock.now();
        let mut last = begin;
        while last.since(begin).as_millis() < 5 {
            let now = clock.now();
            assert!(now >= last, "{now} after {last}");
            last = now;
        }
    }

    #[test]
    fn it_says_how_far_the_wall_clock_was_set() {
        let mut clock = SteadyClock::start();
        clock.origin -= 7_200_000;
        let ahead = clock.wall_ahead_millis();
        assert!((7_190_000..7_300_000).contains(&ahead), "{ahead}");
    }
}
