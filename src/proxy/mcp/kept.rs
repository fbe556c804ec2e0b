//! The place of a held MCP call in the queue, and what its caller's going means for it.

use std::time::Duration;

use crate::domain::approval::Approval;
use crate::gate::parking::Held;
use crate::gate::waiting::Waiting;
use crate::gate::{self, Gate};
use crate::protocol::mcp::Revision;

/// A held call's place in the queue. On a revision without sessions a caller that goes takes its call back; on the others the
/// approval stands, for the next identical call.
pub(super) struct Kept {
    gate: Gate,
    waiting: Option<Box<Waiting>>,
    withdraws: bool,
}

impl Kept {
    pub(super) fn new(gate: &Gate, waiting: Box<Waiting>, revision: Revision) -> Self {
        Self { gate: gate.clone(), waiting: Some(waiting), withdraws: revision.is_stateless() }
    }

    pub(super) fn waiting(&self) -> &Waiting {
        self.waiting.as_ref().expect("only taken by methods that use it up")
    }

    pub(super) async fn wait(&mut self, patience: Duration) -> Result<Option<Box<Held>>, gate::Error> {
        self.waiting.as_mut().expect("only taken by methods that use it up").wait(patience).await
    }

    /// Stops waiting; the approval stands.
    pub(super) async fn give_up(mut self) -> Result<Approval, gate::Error> {
        let waiting = self.waiting.take().expect("only taken by methods that use it up");
        waiting.give_up().await
    }

    /// Stops waiting and takes the approval back, unless somebody else waits on it.
    pub(super) async fn withdraw(mut self) -> Result<Approval, gate::Error> {
        let waiting = self.waiting.take().expect("only taken by methods that use it up");
        withdraw(&self.gate, waiting).await
    }

    /// The call was decided: nothing is left to wait for or to take back.
    pub(super) fn settled(mut self) {
        drop(self.waiting.take());
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let (Some(waiting), true) = (self.waiting.take(), self.withdraws) {
            let gate = self.gate.clone();
            self.gate.spawn("call taken back", async move { drop(withdraw(&gate, waiting).await) });
        }
    }
}

async fn withdraw(gate: &Gate, waiting: Box<Waiting>) -> Result<Approval, gate::Error> {
    let (id, agent) = (waiting.id(), waiting.agent().clone());
    let left = waiting.give_up().await;
    match gate.withdraw_unwatched(id, &agent).await {
        Ok(Some(now)) => Ok(now),
        Ok(None) => left,
        Err(error) => {
            // It stays pending until it expires; nothing is sent without a caller.
            tracing::warn!(approval = %id, %error, "a withdrawn call could not be recorded");
            left
        }
    }
}
