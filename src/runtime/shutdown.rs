//! The signals that end the process.

use tokio::signal::unix::{SignalKind, signal};

/// Returns when the process is asked to end: SIGTERM or SIGINT.
///
/// # Errors
/// When the signals cannot be received.
pub async fn stopped() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
