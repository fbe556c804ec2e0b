//! A caller that waits: woken by decisions, noted as gone when it is dropped, and counted while it is there.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::approval::{Approval, Command, Execution, ReleaseMode, State};
use crate::domain::id::ApprovalId;
use crate::domain::identity::AgentId;
use crate::store::Applied;
use crate::telemetry::metrics;

use super::held::{HeldRequest, Packed};
use super::parking::{Held, Patience};
use super::waiters::Waiter;
use super::{Error, Gate, POLL_INTERVAL, UNRECORDED_PAUSE};

/// A caller that waits. Dropped, the store is told that the caller has left.
///
/// Thousands of these are there at once, so they keep of the approval what finds it again: all else stands in the store.
pub struct Waiting {
    gate: Gate,
    id: ApprovalId,
    agent: AgentId,
    rule: Box<str>,
    /// Whether the gateway sends the call.
    detached: bool,
    /// The approval as it was read, until it was looked at.
    unseen: Option<Box<Approval>>,
    request: Packed,
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
        request: Packed,
        waiter: Waiter,
        presence: Option<Presence>,
        held_bytes: HeldBytes,
    ) -> Self {
        Self {
            gate: gate.clone(),
            id: approval.id,
            agent: approval.subject.agent.clone(),
            rule: approval.terms.rule.as_str().into(),
            detached: approval.call().is_some_and(|call| call.release == ReleaseMode::Detached),
            unseen: Some(Box::new(approval)),
            request,
            waiter,
            presence,
            _held_bytes: held_bytes,
        }
    }

    /// The approval that is waited for.
    pub const fn id(&self) -> ApprovalId {
        self.id
    }

    /// Whose call it is.
    pub const fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// The label of the rule that asks for the approval.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The call.
    pub fn request(&self) -> Option<HeldRequest> {
        self.request.open()
    }

    /// Waits as long as the caller has patience, and stops then.
    pub async fn to_the_end(mut self: Box<Self>, patience: Patience) -> Result<Box<Held>, Error> {
        let held = match patience {
            Patience::Wait(wait) => self.wait(wait).await?,
            Patience::RespondAsync => None,
        };
        match held {
            Some(held) => Ok(held),
            // Boxed, here and below: what comes after a wait takes no memory during it.
            None => Box::pin(self.send_away()).await,
        }
    }

    /// The caller's time is over. What was decided in the very moment of its leaving is told after all, where nothing is to be sent.
    async fn send_away(self: Box<Self>) -> Result<Box<Held>, Error> {
        let approval = self.give_up().await?;
        Ok(Box::new(match Gate::is_refusal(&approval.state) {
            true => Held::Refused(approval),
            false => Held::Pending(approval),
        }))
    }

    /// Waits until the caller can be answered, at most `patience`; `None` when that is over. Nothing is lost when it is dropped: a
    /// permit that was taken meanwhile goes back.
    pub async fn wait(&mut self, patience: Duration) -> Result<Option<Box<Held>>, Error> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(approval) = &self.unseen
                && let Some(held) = Box::pin(self.look_at(approval)).await?
            {
                return Ok(Some(held));
            }
            // Only now: a wait that is dropped before is taken up where it was.
            self.unseen = None;
            let look_again = (Instant::now() + POLL_INTERVAL).min(deadline);
            let Self { gate, waiter, .. } = self;
            tokio::select! {
                // In this order: what can be told beats being sent away, at the end of patience too.
                biased;
                () = waiter.woken() => {}
                () = gate.inner.drain.cancelled() => return Ok(Some(Box::pin(self.draining()).await)),
                () = tokio::time::sleep_until(look_again) => if look_again == deadline {
                    return Ok(None);
                },
            }
            self.unseen = Some(Box::pin(self.read()).await?);
        }
    }

    /// What the caller can be told about an approval that looks like this; `None` when it has to wait on.
    async fn look_at(&self, approval: &Approval) -> Result<Option<Box<Held>>, Error> {
        if Gate::is_refusal(&approval.state) {
            return Ok(Some(Box::new(Held::Refused(approval.clone()))));
        }
        if !matches!(approval.state, State::Approved(_)) {
            return Ok(None);
        }
        let held = match (&approval.execution, self.detached) {
            (_, false) => {
                if !self.waiter.is_newest() {
                    tokio::time::sleep(NEWER_FIRST).await;
                }
                match self.gate.release_now(approval, &self.request).await? {
                    Held::Permitted(permit, request) => {
                        Held::Permitted(permit.with_place(self.waiter.place_on_the_way()), request)
                    }
                    held => held,
                }
            }
            // The gateway sends it; wait for the outcome.
            (Execution::Held | Execution::Releasing { .. }, true) => return Ok(None),
            (_, true) => self.gate.replay(approval.clone()).await?,
        };
        Ok(Some(Box::new(held)))
    }

    async fn read(&self) -> Result<Box<Approval>, Error> {
        self.gate.approval(self.id).await?.map(Box::new).ok_or(Error::Vanished(self.id))
    }

    /// The process goes down, and the approval stands: it is named where it can be read.
    async fn draining(&self) -> Box<Held> {
        Box::new(Held::Draining(self.read().await.ok().map(|approval| *approval)))
    }

    /// Stops waiting; on disk when it returns, so that the caller's next request finds the approval free to join. The approval is
    /// as it stands then.
    pub async fn give_up(mut self) -> Result<Approval, Error> {
        let left = match &mut self.presence {
            Some(presence) => presence.leave().await,
            None => None,
        };
        match left.or(self.unseen.take()) {
            Some(approval) => Ok(*approval),
            // It had nobody's leaving to record, or could not.
            None => self.read().await.map(|approval| *approval),
        }
    }
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("approval", &self.id).finish_non_exhaustive()
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

    /// Leaves before the caller is told to come back: its next request must find the approval free to join. The approval as it
    /// stands after that; `None` when it could not be recorded, which is in the log.
    async fn leave(&mut self) -> Option<Box<Approval>> {
        let gate = self.gate.take()?;
        let (task, id) = (gate.clone(), self.id);
        gate.to_its_end(async move { Ok(leave(&task, id).await) }).await.ok().flatten()
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            let (task, id) = (gate.clone(), self.id);
            gate.spawn("caller left", async move { drop(leave(&task, id).await) });
        }
    }
}

async fn leave(gate: &Gate, id: ApprovalId) -> Option<Box<Approval>> {
    if let Ok(left) = record_leaving(gate, id).await {
        return left;
    }
    // A caller that seems to wait keeps a grant alive, and its next request from joining. After a restart `recover` knows that
    // nobody waits.
    let task = gate.clone();
    gate.spawn("caller left, unrecorded", async move {
        while !task.drains_within(UNRECORDED_PAUSE).await {
            if record_leaving(&task, id).await.is_ok() {
                return;
            }
        }
    });
    None
}

async fn record_leaving(gate: &Gate, id: ApprovalId) -> Result<Option<Box<Approval>>, Error> {
    match gate.apply(id, Command::CallerLeft).await {
        Ok(Applied::Changed(approval) | Applied::Same(approval) | Applied::Refused(approval, _)) => {
            Ok(Some(Box::new(approval)))
        }
        Ok(Applied::Missing) => Ok(None),
        Err(error) => {
            tracing::warn!(approval = %id, %error, "a caller's leaving could not be recorded; it will be tried again");
            Err(error)
        }
    }
}

/// Bytes of a call that a waiting caller keeps in memory.
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
