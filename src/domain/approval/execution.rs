//! What becomes of the held call: the permit is taken once, and every release ends in one outcome.

use serde_json::json;

use super::transition::{Doubt, Refusal, Step, change};
use super::{Approval, Execution, PermitFate, Settlement, State, event, rules};
use crate::domain::audit::{Actor, EventKind};
use crate::domain::call::Fingerprint;
use crate::domain::identity::{AgentId, Reviewer};
use crate::domain::time::Timestamp;

pub(super) fn begin(
    approval: &Approval,
    agent: &AgentId,
    fingerprint: Fingerprint,
    revision: &str,
    now: Timestamp,
) -> Result<Step, Refusal> {
    if *agent != approval.subject.agent {
        return Err(Refusal::OtherAgent);
    }
    if fingerprint != approval.subject.fingerprint {
        return Err(Refusal::OtherCall);
    }
    permit_is_free(approval)?;
    if !rules::grant_lasts(approval, now) {
        return Err(Refusal::GrantOver);
    }
    let detail = json!({ "revision": revision, "fingerprint": fingerprint });
    let event = event::about(approval, EventKind::ReleaseStarted, event::sender(approval), now, detail);
    Ok(change(approval, Some(event), |next| {
        next.execution = Execution::Releasing { at: now, revision: revision.to_owned() };
    }))
}

pub(super) fn refuse(approval: &Approval, revision: &str, reason: &str, now: Timestamp) -> Result<Step, Refusal> {
    permit_is_free(approval)?;
    let detail = json!({ "revision": revision, "reason": reason });
    let event = event::about(approval, EventKind::ReleaseRefused, Actor::Gateway, now, detail);
    Ok(change(approval, Some(event), |next| {
        next.execution = Execution::Failed { at: now, reason: reason.to_owned(), permit: PermitFate::Spent };
    }))
}

pub(super) fn succeed(approval: &Approval, status: u16, now: Timestamp) -> Result<Step, Refusal> {
    is_releasing(approval)?;
    let event =
        event::about(approval, EventKind::ReleaseSucceeded, Actor::Gateway, now, json!({ "upstream_status": status }));
    Ok(change(approval, Some(event), |next| next.execution = Execution::Succeeded { at: now, status }))
}

pub(super) fn fail(approval: &Approval, reason: &str, permit: PermitFate, now: Timestamp) -> Result<Step, Refusal> {
    is_releasing(approval)?;
    let detail = json!({ "reason": reason, "permit": permit });
    let event = event::about(approval, EventKind::ReleaseFailed, Actor::Gateway, now, detail);
    Ok(change(approval, Some(event), |next| {
        next.execution = Execution::Failed { at: now, reason: reason.to_owned(), permit };
    }))
}

pub(super) fn lose_track(approval: &Approval, reason: &str, now: Timestamp) -> Result<Step, Refusal> {
    is_releasing(approval)?;
    let event = event::about(approval, EventKind::ReleaseUnknown, Actor::Gateway, now, json!({ "reason": reason }));
    Ok(change(approval, Some(event), |next| {
        next.execution = Execution::Unknown { at: now, reason: reason.to_owned() };
    }))
}

/// Takes a permit that nobody has used, or that is being used, out of the world. In doubt the outcome is unknown: the
/// permit may have been used where this store did not see it. A grant that was over by then was not; it is voided all the
/// same, so that no clock brings it back.
pub(super) fn void(approval: &Approval, reason: &str, doubt: Doubt, now: Timestamp) -> Step {
    let unknown = match (is_releasing(approval), permit_is_free(approval), doubt) {
        (Ok(()), _, _) => true,
        (Err(_), Err(_), _) => return Step::Same,
        (Err(_), Ok(()), Doubt::None) => false,
        (Err(_), Ok(()), Doubt::Since(last)) => rules::grant_lasts(approval, last),
    };
    let kind = if unknown { EventKind::ReleaseUnknown } else { EventKind::ReleaseRefused };
    let event = event::about(approval, kind, Actor::Gateway, now, json!({ "reason": reason }));
    let reason = reason.to_owned();
    change(approval, Some(event), |next| {
        next.execution = if unknown {
            Execution::Unknown { at: now, reason }
        } else {
            Execution::Failed { at: now, reason, permit: PermitFate::Spent }
        };
    })
}

/// Any reviewer may say what was found, but not about a call made under the reviewer's own identity.
pub(super) fn resolve(
    approval: &Approval,
    reviewer: &Reviewer,
    outcome: Settlement,
    note: &str,
    now: Timestamp,
) -> Result<Step, Refusal> {
    match &approval.execution {
        Execution::Unknown { .. } => {
            rules::not_own_call(approval, reviewer)?;
            if note.trim().is_empty() {
                return Err(Refusal::NoteMissing);
            }
            let detail = json!({ "outcome": outcome, "note": note });
            let actor = Actor::Reviewer(reviewer.id.clone());
            let event = event::about(approval, EventKind::ReleaseResolved, actor, now, detail);
            Ok(change(approval, Some(event), |next| {
                next.execution =
                    Execution::Resolved { outcome, by: reviewer.id.clone(), at: now, note: note.to_owned() };
            }))
        }
        Execution::Resolved { outcome: found, by, .. } if *found == outcome && *by == reviewer.id => Ok(Step::Same),
        Execution::Resolved { .. }
        | Execution::None
        | Execution::Held
        | Execution::Releasing { .. }
        | Execution::Succeeded { .. }
        | Execution::Failed { .. } => Err(Refusal::NotUnknown),
    }
}

/// Whether there is a permit that nobody has taken, or that came back.
pub(super) fn permit_is_free(approval: &Approval) -> Result<(), Refusal> {
    match (&approval.state, &approval.execution) {
        (State::Approved(_), Execution::Held | Execution::Failed { permit: PermitFate::Returned, .. }) => Ok(()),
        (
            State::Approved(_),
            Execution::None
            | Execution::Releasing { .. }
            | Execution::Succeeded { .. }
            | Execution::Failed { permit: PermitFate::Spent, .. }
            | Execution::Unknown { .. }
            | Execution::Resolved { .. },
        ) => Err(Refusal::PermitSpent),
        (State::Pending | State::Rejected(_) | State::Expired { .. } | State::Cancelled { .. }, _) => {
            Err(Refusal::NotApproved)
        }
    }
}

fn is_releasing(approval: &Approval) -> Result<(), Refusal> {
    match &approval.execution {
        Execution::Releasing { .. } => Ok(()),
        Execution::None
        | Execution::Held
        | Execution::Succeeded { .. }
        | Execution::Failed { .. }
        | Execution::Unknown { .. }
        | Execution::Resolved { .. } => Err(Refusal::NotReleasing),
    }
}
