//! Calls that the gateway sends by itself.

use crate::domain::approval::{Approval, Execution, ReleaseMode, State};
use crate::domain::id::ApprovalId;

use super::release::NoPermit;
use super::{Error, Gate};

/// How many detached releases run at once; the others wait their turn.
pub(super) const DETACHED_RELEASES_MAX: usize = 64;

impl Gate {
    /// Starts the release of a detached call, if that is what the approval now asks for. One that was tried and came back waits
    /// for the sweep.
    pub(super) fn release_if_ready(&self, approval: &Approval) {
        let detached = approval.call().is_some_and(|call| call.release == ReleaseMode::Detached);
        let untried = matches!(approval.execution, Execution::Held);
        if detached && untried && matches!(approval.state, State::Approved(_)) {
            self.start_detached(approval.id);
        }
    }

    /// Releases a detached call in a task of its own. Whether its permit is to be had is found out there.
    pub(super) fn start_detached(&self, id: ApprovalId) {
        let gate = self.clone();
        self.spawn("detached release", async move {
            if let Err(error) = gate.release_detached(id).await {
                tracing::error!(approval = %id, %error, "a detached call could not be released; it will be tried again");
            }
        });
    }

    async fn release_detached(&self, id: ApprovalId) -> Result<(), Error> {
        let Ok(_turn) = self.detached_turns().acquire_owned().await else {
            return Ok(());
        };
        let (Some(approval), Some(request)) = (self.approval(id).await?, self.stored_request(id).await?) else {
            return Err(Error::Vanished(id));
        };
        match self.take_permit(&approval, &request).await? {
            Ok(permit) => self.sender().send(permit, request).await,
            // Another task was first, or policy forbids it by now: either way it is recorded.
            Err(NoPermit::BlockedNow(..) | NoPermit::Refused(..)) => {}
        }
        Ok(())
    }
}
