//! Keeps the gauges that come from the store near the truth.

use std::time::Duration;

use crate::gate::Gate;

/// How old those gauges may be.
const INTERVAL: Duration = Duration::from_secs(2);

/// Reads the queue's figures and the store's size until the process drains.
pub(super) async fn run(gate: Gate) {
    loop {
        if let Err(error) = gate.refresh_gauges().await {
            tracing::warn!(%error, "the queue's figures could not be read");
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = gate.draining() => return,
        }
    }
}
