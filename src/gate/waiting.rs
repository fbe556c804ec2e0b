//! A caller that waits: woken by decisions, noted as gone when it is dropped, and counted while it is there.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::domain::approval::{Approval, Command, Execution, ReleaseMode, State};
use crate::domain::id::ApprovalId;
use crate::telemetry::metrics;

use super::held::HeldRequest;
use super::parking::Held;
use super::waiters::Waiter;
use super::{Error, Gate, POLL_INTERVAL, UNRECORDED_PAUSE};

/// A caller that waits. Dropped, the store is told that the caller has left.
pub struct Waiting {
    gate: Gate,
    approval: Approval,
    request: HeldRequest,
    waiter: Waiter,
    presence: Option<Presence>,
    _held_bytes: HeldBytes,
}

/// How long a waiter lets a newer one for the same approval go first.
const NEWER_FIRST: Duration = Duration::from_millis(100);

impl Waiting {
    pub(super) fn new(
        gate: &Gate,
        approval: Approval,
        request: HeldRequest,
        waiter: Waiter,
        presence: Option<Presence>,
        held_bytes: HeldBytes,
    ) -> Self {
        Self { gate: gate.clone(), approval, request, waiter, presence, _held_bytes: held_bytes }
    }

    /// The approval as it was last read.
    pub const fn approval(&self) -> &Approval {
        &self.approval
    }

    /// The call.
    pub const fn request(&self) -> &HeldRequest {
        &self.request
    }

    /// Waits until the caller can be answered, at most `patience`; `None` when that is over. Nothing is lost when it is dropped: a
    /// permit that was taken meanwhile goes back.
    pub async fn wait(&mut self, patience: Duration) -> Result<Option<Held>, Error> {
        let deadline = tokio::time::Instant::now() + patience;
        let gate = self.gate.clone();
        let detached = self.approval.call().is_some_and(|call| call.release == ReleaseMode::Detached);
        loop {
            let approval = &self.approval;
            if Gate::is_refusal(&approval.state) {
                return Ok(Some(Held::Refused(approval.clone())));
            }
            if matches!(approval.state, State::Approved(_)) {
                match (&approval.execution, detached) {
                    (_, false) => {
                        if !self.waiter.is_newest() {
                            tokio::time::sleep(NEWER_FIRST).await;
                        }
                        return Box::pin(gate.release_now(approval, &self.request)).await.map(Some);
                    }
                    // The gateway sends it; wait for the outcome.
                    (Execution::Held | Execution::Releasing { .. }, true) => {}
                    (_, true) => return Box::pin(gate.replay(approval.clone())).await.map(Some),
                }
            }
            let id = approval.id;
            tokio::select! {
                // In this order: what can be told beats being sent away, at the end of patience too.
                biased;
                () = self.waiter.woken() => {}
                () = gate.inner.drain.cancelled() => return Ok(Some(Held::Draining(Some(approval.clone())))),
                () = tokio::time::sleep_until(deadline) => return Ok(None),
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
            self.approval = gate.approval(id).await?.ok_or(Error::Vanished(id))?;
        }
    }

    /// Stops waiting; on disk when it returns, so that the caller's next request finds the approval free to join.
    pub async fn give_up(mut self) -> Approval {
        if let Some(presence) = &mut self.presence {
            presence.leave().await;
        }
        self.approval
    }
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("approval", &self.approval.id).finish_non_exhaustive()
    }
}

/// Tells the store when the caller is no longer there, however that came about.
pub(super) struct Presence {
    gate: Option<Gate>,
    id: ApprovalId,
}

impl Presence {
    pub(super) fn new(gate: &Gate, id: ApprovalId) -> Self {
        Self { gate: Some(gate.clone()), id }
    }

    /// Leaves before the caller is told to come back: its next request must find the approval free to join.
    async fn leave(&mut self) {
        if let Some(gate) = self.gate.take() {
            let id = self.id;
            let task = gate.clone();
            let left = gate.to_its_end(async move {
                leave(&task, id).await;
                Ok(())
            });
            // Whether it could be recorded is in the log; the caller is told to come back either way.
            drop(left.await);
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            let (task, id) = (gate.clone(), self.id);
            gate.spawn("caller left", async move { leave(&task, id).await });
        }
    }
}

async fn leave(gate: &Gate, id: ApprovalId) {
    if has_left(gate, id).await {
        return;
    }
    // A caller that seems to wait keeps a grant alive, and its next request from joining. After a restart `recover` knows that
    // nobody waits.
    let task = gate.clone();
    gate.spawn("caller left, unrecorded", async move {
        while !task.drains_within(UNRECORDED_PAUSE).await {
            if has_left(&task, id).await {
                return;
            }
        }
    });
}

async fn has_left(gate: &Gate, id: ApprovalId) -> bool {
    let applied = gate.apply(id, Command::CallerLeft).await;
    if let Err(error) = &applied {
        tracing::warn!(approval = %id, %error, "a caller's leaving could not be recorded; it will be tried again");
    }
    applied.is_ok()
}

/// Body bytes that a waiting caller keeps in memory.
pub(super) struct HeldBytes {
    gate: Gate,
    bytes: u64,
    _counted: metrics::Held,
}

impl HeldBytes {
    pub(super) fn reserve(gate: &Gate, bytes: u64) -> Option<Self> {
        let max = gate.limits().held_bytes_max;
        let held = &gate.inner.held_bytes;
        let fits = |now: u64| now.checked_add(bytes).filter(|sum| *sum <= max);
        held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Self { gate: gate.clone(), bytes, _counted: gate.metrics().held(bytes) })
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.gate.inner.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
