//! The one function that moves an approval.

use super::decision::Ballot;
use super::{Approval, Caller, Canceller, PermitFate, Settlement, State, Status, decision, event, execution, rules};
use crate::domain::audit::{Event, EventKind};
use crate::domain::call::{Fingerprint, PayloadHash};
use crate::domain::identity::{AgentId, Channel, Reviewer};
use crate::domain::time::Timestamp;

/// What somebody wants to happen to an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A reviewer approves: one vote, which settles it when the quorum is full.
    Approve {
        /// Who, as authenticated.
        reviewer: Reviewer,
        /// How signed in.
        channel: Channel,
        /// For the caller and the trail.
        reason: Option<String>,
        /// What the reviewer saw; must match when given.
        payload_sha256: Option<PayloadHash>,
    },
    /// A reviewer rejects: settles it at once.
    Reject {
        /// Who, as authenticated.
        reviewer: Reviewer,
        /// How signed in.
        channel: Channel,
        /// For the caller and the trail.
        reason: Option<String>,
        /// What the reviewer saw; must match when given.
        payload_sha256: Option<PayloadHash>,
    },
    /// Its time is over. Carries the deadline it was set for, so that a stale timer closes nothing.
    Expire {
        /// The `expires_at` that the timer was set for.
        deadline: Timestamp,
    },
    /// Taken back.
    Cancel {
        /// By whom.
        by: Canceller,
        /// Why.
        reason: Option<String>,
    },
    /// The policy that parked it has changed in a way a reviewer must know.
    MarkStale {
        /// The new revision.
        revision: String,
    },
    /// A live request begins to wait.
    CallerJoined,
    /// A live request stopped waiting.
    CallerLeft,
    /// Takes the permit: the call is about to be sent.
    BeginRelease {
        /// Who sends; must be the agent that asked.
        agent: AgentId,
        /// What is about to be sent; must be what was approved.
        fingerprint: Fingerprint,
        /// The policy revision that judged it again just now.
        revision: String,
    },
    /// The policy of the moment blocks the approved call: the permit is void.
    RefuseRelease {
        /// The blocking revision.
        revision: String,
        /// The blocking rule and its reason.
        reason: String,
    },
    /// The upstream answered.
    Succeed {
        /// Its status code.
        status: u16,
    },
    /// Nothing was sent.
    Fail {
        /// Why.
        reason: String,
        /// Whether a retry may use the permit.
        permit: PermitFate,
    },
    /// It was sent, or may have been, and what it did is not known.
    LoseTrack {
        /// What was seen.
        reason: String,
    },
    /// Nothing may come of it any more: an operator's command on the store, while no gateway runs. Whatever could still be
    /// decided or sent is closed, past its time too.
    Void {
        /// Why, for people.
        reason: String,
        /// Whether it may have been sent without this store knowing.
        doubt: Doubt,
    },
    /// A reviewer settles an unknown outcome.
    Resolve {
        /// Who.
        reviewer: Reviewer,
        /// What was found.
        outcome: Settlement,
        /// How.
        note: String,
    },
}

/// Whether a call may have been sent without the store knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The store has seen everything: what it says was not sent was not sent.
    None,
    /// The store has seen nothing after this moment.
    Since(Timestamp),
}

/// A change: the approval after it and the record of it. Both are written in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The approval after the change, its version one higher.
    pub next: Approval,
    /// What the audit trail says about it. `None` only when the number of waiting callers changes and somebody waits
    /// before and after: nobody's right or knowledge changes with that.
    pub event: Option<Event>,
}

/// The outcome of a command that was not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Something changes.
    Change(Box<Transition>),
    /// It is as the command wants it already (the same decision by the same reviewer again).
    Same,
}

/// Why a command was refused. The caller shows the approval as it stands beside it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Somebody or something was first.
    #[error("already {0}")]
    AlreadyClosed(Status),
    /// It is past its time and must be expired before anything else.
    #[error("past its time")]
    Overdue,
    /// The timer was set for another deadline, or the deadline is not over.
    #[error("not due")]
    NotDue,
    /// Nobody approves a call made under their own identity.
    #[error("the call was made under the reviewer's own identity")]
    OwnCall,
    /// The reviewer is in none of the groups that may decide.
    #[error("needs a member of {needed}")]
    NotAnApprover {
        /// The groups still needed, for people.
        needed: String,
    },
    /// What the reviewer saw is not what is held.
    #[error("the payload is not the one that was shown")]
    PayloadMismatch,
    /// There is no approval to act on.
    #[error("not approved")]
    NotApproved,
    /// Another agent's approval.
    #[error("asked for by another agent")]
    OtherAgent,
    /// Not the call that was approved.
    #[error("not the call that was approved")]
    OtherCall,
    /// The permit was used, or the call is an action.
    #[error("the permit is spent")]
    PermitSpent,
    /// The caller came back too late.
    #[error("the grant is over")]
    GrantOver,
    /// There is no release in flight.
    #[error("no release is in flight")]
    NotReleasing,
    /// There is no unknown outcome to settle.
    #[error("the outcome is not unknown")]
    NotUnknown,
    /// An unknown outcome is settled with a note that says how it was found out.
    #[error("a note is needed that says how the outcome was found out")]
    NoteMissing,
}

/// Applies one command to an approval at `now`.
///
/// Every (command, state, execution) is matched by name: commands here, states and executions in the function for each
/// command. There is no arm for "anything else", so that a new state or command does not compile until every pair has
/// been thought of.
///
/// # Errors
/// A [`Refusal`] changes nothing; the approval stands as it was.
pub fn transition(approval: &Approval, command: &Command, now: Timestamp) -> Result<Step, Refusal> {
    match command {
        Command::Approve { reviewer, channel, reason, payload_sha256 } => {
            let ballot = Ballot { reviewer, channel: *channel, reason: reason.as_deref(), payload: *payload_sha256 };
            decision::approve(approval, &ballot, now)
        }
        Command::Reject { reviewer, channel, reason, payload_sha256 } => {
            let ballot = Ballot { reviewer, channel: *channel, reason: reason.as_deref(), payload: *payload_sha256 };
            decision::reject(approval, &ballot, now)
        }
        Command::Expire { deadline } => decision::expire(approval, *deadline, now),
        Command::Cancel { by, reason } => decision::cancel(approval, by, reason.as_deref(), now),
        Command::MarkStale { revision } => decision::mark_stale(approval, revision, now),
        Command::CallerJoined => caller_joined(approval, now),
        Command::CallerLeft => Ok(caller_left(approval, now)),
        Command::BeginRelease { agent, fingerprint, revision } => {
            execution::begin(approval, agent, *fingerprint, revision, now)
        }
        Command::RefuseRelease { revision, reason } => execution::refuse(approval, revision, reason, now),
        Command::Succeed { status } => execution::succeed(approval, *status, now),
        Command::Fail { reason, permit } => execution::fail(approval, reason, *permit, now),
        Command::LoseTrack { reason } => execution::lose_track(approval, reason, now),
        Command::Void { reason, doubt } => match approval.state {
            State::Pending => Ok(decision::void(approval, reason, now)),
            State::Approved(_) | State::Rejected(_) | State::Expired { .. } | State::Cancelled { .. } => {
                Ok(execution::void(approval, reason, *doubt, now))
            }
        },
        Command::Resolve { reviewer, outcome, note } => execution::resolve(approval, reviewer, *outcome, note, now),
    }
}

/// The change that `edit` makes, one version on.
pub(super) fn change(approval: &Approval, event: Option<Event>, edit: impl FnOnce(&mut Approval)) -> Step {
    let mut next = approval.clone();
    next.version += 1;
    edit(&mut next);
    Step::Change(Box::new(Transition { next, event }))
}

// Waiting is not part of the machine: callers come and go in every state, also after the decision. A grant that is over stays
// over, though: it lasts as long as somebody waits, so whoever comes after its end would bring it back by coming.

fn caller_joined(approval: &Approval, now: Timestamp) -> Result<Step, Refusal> {
    if matches!(approval.state, State::Approved(_)) && !rules::grant_lasts(approval, now) {
        return Err(Refusal::GrantOver);
    }
    let before = approval.caller.waiting;
    let Some(waiting) = before.checked_add(1) else { return Ok(Step::Same) };
    let event = (before == 0).then(|| event::caller(approval, EventKind::CallerJoined, now));
    Ok(change(approval, event, |next| next.caller = Caller { waiting, left_at: None }))
}

fn caller_left(approval: &Approval, now: Timestamp) -> Step {
    let Some(waiting) = approval.caller.waiting.checked_sub(1) else { return Step::Same };
    let last = waiting == 0;
    let event = last.then(|| event::caller(approval, EventKind::CallerLeft, now));
    change(approval, event, |next| next.caller = Caller { waiting, left_at: last.then_some(now) })
}

#[cfg(test)]
mod tests;
