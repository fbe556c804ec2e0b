//! What the gateway tells about itself: metrics, logs, measured durations; and the two clocks it reads.
//!
//! Deliberately decides nothing: a metric or a log line never changes what happens to a call.

pub mod clock;
pub mod logging;
pub mod metrics;
pub mod stopwatch;
