//! How an approval leaves `Pending`: votes, rejection, expiry, withdrawal. It leaves once.

use serde_json::json;

use super::transition::{Refusal, Step, change};
use super::{Approval, Canceller, Decision, State, Vote, event, rules};
use crate::domain::audit::{Actor, EventKind};
use crate::domain::call::PayloadHash;
use crate::domain::identity::{Channel, Reviewer};
use crate::domain::time::Timestamp;

/// What a reviewer says, as authenticated.
pub(super) struct Ballot<'a> {
    pub(super) reviewer: &'a Reviewer,
    pub(super) channel: Channel,
    pub(super) reason: Option<&'a str>,
    pub(super) payload: Option<PayloadHash>,
}

impl Ballot<'_> {
    fn decision(&self, at: Timestamp) -> Decision {
        Decision { by: self.reviewer.id.clone(), at, channel: self.channel, reason: self.reason.map(str::to_owned) }
    }

    /// What the reviewer saw must be what is held, where the reviewer says what it was.
    fn matches_payload(&self, approval: &Approval) -> Result<(), Refusal> {
        match self.payload {
            Some(seen) if seen != approval.subject.payload_sha256 => Err(Refusal::PayloadMismatch),
            Some(_) | None => Ok(()),
        }
    }
}

pub(super) fn approve(approval: &Approval, ballot: &Ballot<'_>, now: Timestamp) -> Result<Step, Refusal> {
    match &approval.state {
        State::Pending => vote(approval, ballot, now),
        State::Approved(decision) => {
            let voted = approval.votes.iter().any(|vote| vote.by == ballot.reviewer.id);
            repeated(approval, ballot, voted || decision.by == ballot.reviewer.id)
        }
        State::Rejected(_) | State::Expired { .. } | State::Cancelled { .. } => closed(approval),
    }
}

pub(super) fn reject(approval: &Approval, ballot: &Ballot<'_>, now: Timestamp) -> Result<Step, Refusal> {
    match &approval.state {
        State::Pending => {
            in_time(approval, now)?;
            rules::may_decide(approval, ballot.reviewer)?;
            ballot.matches_payload(approval)?;
            let decision = ballot.decision(now);
            let mut after = approval.clone();
            after.state = State::Rejected(decision.clone());
            let event = event::decided(&after, EventKind::ApprovalRejected, &decision);
            Ok(change(approval, Some(event), |next| next.state = after.state))
        }
        State::Rejected(decision) => repeated(approval, ballot, decision.by == ballot.reviewer.id),
        State::Approved(_) | State::Expired { .. } | State::Cancelled { .. } => closed(approval),
    }
}

fn vote(approval: &Approval, ballot: &Ballot<'_>, now: Timestamp) -> Result<Step, Refusal> {
    in_time(approval, now)?;
    let repeats = approval.votes.iter().any(|vote| vote.by == ballot.reviewer.id);
    if repeats {
        rules::not_own_call(approval, ballot.reviewer)?;
        ballot.matches_payload(approval)?;
        return Ok(Step::Same);
    }
    rules::may_approve(approval, ballot.reviewer)?;
    ballot.matches_payload(approval)?;
    let decision = ballot.decision(now);
    let mut after = approval.clone();
    after.votes.push(Vote {
        by: ballot.reviewer.id.clone(),
        groups: ballot.reviewer.groups.clone(),
        at: now,
        channel: ballot.channel,
        reason: decision.reason.clone(),
    });
    let kind = if rules::quorum(&after.terms.approvers, &after.votes) {
        after.state = State::Approved(decision.clone());
        EventKind::ApprovalApproved
    } else {
        EventKind::ApprovalVoted
    };
    let event = event::decided(&after, kind, &decision);
    Ok(change(approval, Some(event), |next| {
        next.state = after.state;
        next.votes = after.votes;
    }))
}

/// `deadline` names the generation: a timer that was set for another deadline closes nothing.
pub(super) fn expire(approval: &Approval, deadline: Timestamp, now: Timestamp) -> Result<Step, Refusal> {
    match &approval.state {
        State::Pending if deadline == approval.terms.expires_at && now >= deadline => {
            let detail = json!({ "rule": approval.terms.rule, "expires_at": deadline });
            let event = event::about(approval, EventKind::ApprovalExpired, Actor::Gateway, now, detail);
            Ok(change(approval, Some(event), |next| next.state = State::Expired { at: now }))
        }
        State::Pending => Err(Refusal::NotDue),
        State::Approved(_) | State::Rejected(_) | State::Expired { .. } | State::Cancelled { .. } => closed(approval),
    }
}

pub(super) fn cancel(
    approval: &Approval,
    by: &Canceller,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<Step, Refusal> {
    match &approval.state {
        State::Pending => {
            in_time(approval, now)?;
            let event = event::cancelled(approval, by, reason, now);
            Ok(change(approval, Some(event), |next| {
                next.state = State::Cancelled { by: by.clone(), at: now, reason: reason.map(str::to_owned) };
            }))
        }
        State::Approved(_) | State::Rejected(_) | State::Expired { .. } | State::Cancelled { .. } => closed(approval),
    }
}

/// Takes back what is pending, past its time too: it may have been decided where this store did not see it, and
/// "expired" would say that nobody did.
pub(super) fn void(approval: &Approval, reason: &str, now: Timestamp) -> Step {
    let by = Canceller::Operator;
    let event = event::cancelled(approval, &by, Some(reason), now);
    change(approval, Some(event), |next| {
        next.state = State::Cancelled { by, at: now, reason: Some(reason.to_owned()) };
    })
}

/// Stale once is stale for good: the first revision that changed the rule stays named.
pub(super) fn mark_stale(approval: &Approval, revision: &str, now: Timestamp) -> Result<Step, Refusal> {
    match &approval.state {
        State::Pending => {
            in_time(approval, now)?;
            if approval.stale_since.is_some() {
                return Ok(Step::Same);
            }
            let detail = json!({
                "rule": approval.terms.rule,
                "parked_under": approval.terms.policy_revision,
                "revision": revision,
            });
            let event = event::about(approval, EventKind::ApprovalStale, Actor::Gateway, now, detail);
            Ok(change(approval, Some(event), |next| next.stale_since = Some(revision.to_owned())))
        }
        State::Approved(_) | State::Rejected(_) | State::Expired { .. } | State::Cancelled { .. } => closed(approval),
    }
}

/// The same word by the same person again is no second decision.
fn repeated(approval: &Approval, ballot: &Ballot<'_>, same_person: bool) -> Result<Step, Refusal> {
    if !same_person {
        return closed(approval);
    }
    ballot.matches_payload(approval)?;
    Ok(Step::Same)
}

fn in_time(approval: &Approval, now: Timestamp) -> Result<(), Refusal> {
    if now >= approval.terms.expires_at { Err(Refusal::Overdue) } else { Ok(()) }
}

fn closed(approval: &Approval) -> Result<Step, Refusal> {
    Err(Refusal::AlreadyClosed(approval.status()))
}
