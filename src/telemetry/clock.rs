//! The wall clock of the running gateway; the one place that reads it.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::domain::time::{Clock, Timestamp};

/// Reads the operating system's clock. It may step in either direction: whoever compares two readings says what a
/// step back means.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_reads_milliseconds_since_the_epoch() {
        let now = SystemClock.now();
        let earliest = Timestamp::parse("2026-01-01T00:00:00Z").expect("a literal");
        let latest = Timestamp::parse("2200-01-01T00:00:00Z").expect("a literal");
        assert!(earliest < now && now < latest, "{now}");
    }
}
