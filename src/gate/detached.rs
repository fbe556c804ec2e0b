//! Calls that the gateway sends by itself.
//!
//! Each is taken up once, however often it is found, and waits for a turn with its own upstream: one that answers slowly, or never
//! ends its answers, holds up nobody else's.

use std::sync::Arc;

use dashmap::{DashMap, DashSet};
use tokio::sync::Semaphore;

use crate::domain::approval::{Approval, Execution, ReleaseMode, State};
use crate::domain::id::ApprovalId;

use super::release::NoPermit;
use super::{Error, Gate};

/// How many detached releases to one upstream run at once; the others to it wait their turn.
const RELEASES_PER_UPSTREAM_MAX: usize = 64;

/// The detached calls that this process has taken up.
#[derive(Debug, Default)]
pub(super) struct Detached {
    /// As many as there are approved detached calls that have no outcome yet.
    taken_up: Arc<DashSet<ApprovalId>>,
    /// By the upstream's name; as many as approvals name.
    turns: DashMap<String, Arc<Semaphore>>,
}

/// A call is taken up until this is dropped.
#[derive(Debug)]
struct TakenUp {
    id: ApprovalId,
    among: Arc<DashSet<ApprovalId>>,
}

impl Detached {
    /// `None` when it is taken up already.
    fn take_up(&self, id: ApprovalId) -> Option<TakenUp> {
        self.taken_up.insert(id).then(|| TakenUp { id, among: self.taken_up.clone() })
    }

    /// How many calls are taken up.
    pub(super) fn count(&self) -> usize {
        self.taken_up.len()
    }

    fn turns(&self, upstream: &str) -> Arc<Semaphore> {
        if let Some(turns) = self.turns.get(upstream) {
            return turns.clone();
        }
        let turns = self.turns.entry(upstream.to_owned());
        turns.or_insert_with(|| Arc::new(Semaphore::new(RELEASES_PER_UPSTREAM_MAX))).clone()
    }
}

impl Drop for TakenUp {
    fn drop(&mut self) {
        self.among.remove(&self.id);
    }
}

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

    /// Releases a detached call in a task of its own, unless one is at it. Whether its permit is to be had is found out there.
    pub(super) fn start_detached(&self, id: ApprovalId) {
        let Some(taken_up) = self.detached().take_up(id) else { return };
        let gate = self.clone();
        self.spawn("detached release", async move {
            if let Err(error) = gate.release_detached(id).await {
                tracing::error!(approval = %id, %error, "a detached call could not be released; it will be tried again");
            }
            drop(taken_up);
        });
    }

    async fn release_detached(&self, id: ApprovalId) -> Result<(), Error> {
        let approval = self.approval(id).await?.ok_or(Error::Vanished(id))?;
        let Some(call) = approval.call() else { return Ok(()) };
        // What is begun now may not end before the process does, and would be unknown. What is not begun stays approved and unsent,
        // and goes out after the next start.
        let _turn = tokio::select! {
            biased;
            () = self.inner.drain.cancelled() => return Ok(()),
            turn = self.detached().turns(&call.upstream).acquire_owned() => turn.expect("turns are never closed"),
        };
        // Read again: the turn may have been long in coming.
        let (Some(approval), Some(request)) = (self.approval(id).await?, self.stored_request(id).await?) else {
            return Err(Error::Vanished(id));
        };
        if self.is_draining() {
            return Ok(());
        }
        match self.take_permit(&approval, &request).await? {
            Ok(permit) => self.sender().send(permit, request).await,
            // Another task was first, or policy forbids it by now: either way it is recorded.
            Err(NoPermit::BlockedNow(..) | NoPermit::Refused(..)) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    #[test]
    fn a_call_is_taken_up_once_until_it_is_done_with() {
        let detached = Detached::default();
        let [one, other] = [1, 2].map(|number| ApprovalId::new(Timestamp::from_millis(0), [number; 16]));
        let taken_up = detached.take_up(one).expect("nobody is at it");
        assert!(detached.take_up(one).is_none());
        let beside = detached.take_up(other).expect("nobody is at it");
        assert_eq!(detached.count(), 2);
        drop(taken_up);
        assert!(detached.take_up(one).is_some());
        drop(beside);
        assert_eq!(detached.count(), 0);
    }

    #[tokio::test]
    async fn an_upstream_whose_turns_are_all_taken_leaves_the_others_theirs() {
        let detached = Detached::default();
        let slow = detached.turns("slow");
        let all = u32::try_from(RELEASES_PER_UPSTREAM_MAX).expect("a small number");
        let _taken = slow.acquire_many(all).await.expect("it is never closed");
        assert!(detached.turns("slow").try_acquire_owned().is_err());
        assert!(detached.turns("quick").try_acquire_owned().is_ok());
    }
}
