//! Keeps the gauges that come from the store near the truth, and an eye on the machine's clock.

use std::sync::Arc;
use std::time::Duration;

use crate::gate::Gate;
use crate::telemetry::clock::SteadyClock;

/// How old those gauges may be.
const INTERVAL: Duration = Duration::from_secs(2);
/// How far the machine's clock may be set before somebody is told.
const CLOCK_SET_MILLIS: u64 = 1000;

/// Reads the queue's figures, the store's size and the machine's clock until the process drains.
pub(super) async fn run(gate: Gate, clock: Arc<SteadyClock>) {
    let mut told = 0;
    loop {
        if let Err(error) = gate.refresh_gauges().await {
            tracing::warn!(%error, "the queue's figures could not be read");
        }
        let ahead = clock.wall_ahead_millis();
        if ahead.abs_diff(told) >= CLOCK_SET_MILLIS {
            told = ahead;
            tracing::warn!(
                ahead_seconds = ahead / 1000,
                "the machine's clock was set; the gateway keeps the time it started with, so that nothing ends early or late, \
                 until it is restarted"
            );
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = gate.draining() => return,
        }
    }
}
