//! What callers are told: exactly one thing, and what the store says too.

use holdpoint::domain::approval::{Approval, Execution, PermitFate, State as Decided, Status};
use holdpoint::domain::id::ApprovalId;
use holdpoint::gate::release::Sent;

use super::{Shadow, brief};
use crate::model::State;

/// How long a chain of slow requests to the store may take before a caller that was woken is told.
const SLOW_MILLIS: u64 = 13_000;
/// How often a caller looks by itself.
const POLL_MILLIS: u64 = 15_000;

/// The end of one call, as its caller sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Policy let it through.
    Passed,
    /// Policy blocked it.
    Blocked,
    /// Sent under an approval: what came of it.
    Released(ApprovalId, Sent),
    /// Sent by the gateway under an approval; its kept answer.
    Kept(Approval, u16),
    /// Rejected, expired or withdrawn.
    Refused(Approval),
    /// Approved, and blocked by the policy of the moment.
    BlockedNow(Approval),
    /// Nobody has decided.
    Pending(Approval),
    /// Sent before, or too late.
    Spent(Approval),
    /// The key is another call's.
    KeyReused(Approval),
    /// Too many wait.
    Full,
    /// The gateway goes down.
    Draining,
    /// The store could not do it.
    Failed(String),
    /// The caller hung up.
    Left,
    /// The gateway was lost.
    Broken,
}

impl Shadow {
    pub(crate) fn caller_begins(&mut self, caller: u64) {
        let twice = self.callers.insert(caller, None).is_some();
        self.must(!twice, || format!("caller {caller} begins twice"));
    }

    /// The one answer of a caller that came at `since` and would wait for `patience` milliseconds.
    pub(crate) fn caller_ends(&mut self, caller: u64, node: usize, span: (u64, u64), answer: &Answer, state: &State) {
        let name = format!("{answer:?}").split('(').next().unwrap_or_default().to_owned();
        self.note(|| format!("caller {caller} {name}"));
        self.count(format!("caller: {name}"));
        let before = self.callers.insert(caller, Some(name.clone()));
        self.must(before == Some(None), || format!("caller {caller} is answered {name} after {before:?}"));
        self.agrees(caller, answer, state);
        self.in_time(caller, node, span, answer);
    }

    fn agrees(&mut self, caller: u64, answer: &Answer, state: &State) {
        let stored = |id: &ApprovalId| state.approvals.get(id);
        let holds = match answer {
            Answer::Released(id, sent) => {
                let untold = self.untold.contains(id);
                stored(id).is_some_and(|now| match (&now.execution, sent) {
                    (Execution::Succeeded { status, .. }, Sent::Answered(told)) => status == told,
                    (Execution::Unknown { .. } | Execution::Resolved { .. }, Sent::Lost(_)) => true,
                    // The permit went back or was spent, and whatever has come of it since.
                    (_, Sent::NotSent(_) | Sent::Refused(_)) => true,
                    // It could not be written down, or another gateway's start has ended it.
                    (Execution::Releasing { .. } | Execution::Unknown { .. } | Execution::Resolved { .. }, _) => untold,
                    (_, Sent::Answered(_) | Sent::Lost(_)) => false,
                })
            }
            Answer::Kept(told, status) => stored(&told.id).is_some_and(
                |now| matches!(now.execution, Execution::Succeeded { status: kept, .. } if kept == *status),
            ),
            Answer::Refused(told) => {
                told.status() != Status::Pending
                    && told.status() != Status::Approved
                    && stored(&told.id).is_some_and(|now| now.state == told.state)
            }
            Answer::BlockedNow(told) => stored(&told.id)
                .is_some_and(|now| matches!(now.execution, Execution::Failed { permit: PermitFate::Spent, .. })),
            Answer::Pending(told) => stored(&told.id).is_some(),
            Answer::Spent(told) => stored(&told.id).is_some_and(|now| matches!(now.state, Decided::Approved(_))),
            Answer::KeyReused(told) => stored(&told.id).is_some_and(|now| now.subject.idempotency_key.is_some()),
            Answer::Failed(why) => !why.contains("task of the gateway"),
            Answer::Passed | Answer::Blocked | Answer::Full | Answer::Draining | Answer::Left | Answer::Broken => true,
        };
        self.must(holds, || {
            let id = match answer {
                Answer::Released(id, _) => Some(*id),
                Answer::Kept(told, _) | Answer::Refused(told) | Answer::BlockedNow(told) => Some(told.id),
                Answer::Pending(told) | Answer::Spent(told) | Answer::KeyReused(told) => Some(told.id),
                _ => None,
            };
            let now = id.and_then(|id| state.approvals.get(&id)).map_or("nothing".to_owned(), brief);
            format!("caller {caller} is told {answer:?}; stored is {now}")
        });
    }

    /// Nobody waits longer than patience lasts, and whoever waits where the decision was made does not sleep through it.
    fn in_time(&mut self, caller: u64, node: usize, (since, patience): (u64, u64), answer: &Answer) {
        let late = self.millis.saturating_sub(since + patience);
        self.must(late < SLOW_MILLIS, || format!("caller {caller} is answered {late} ms after its patience ended"));
        let id = match answer {
            Answer::Refused(told) => told.id,
            Answer::Released(id, _) => *id,
            _ => return,
        };
        let Some(closed) = self.closed.get(&id).copied() else { return };
        let (from, most) = match closed.told {
            Some((by, at)) if by == node => (at, SLOW_MILLIS),
            Some(_) | None => (closed.at, SLOW_MILLIS + POLL_MILLIS),
        };
        let waited = self.millis.saturating_sub(from.max(since));
        self.must(waited < most, || format!("caller {caller} slept {waited} ms through the end of {id}"));
    }
}
