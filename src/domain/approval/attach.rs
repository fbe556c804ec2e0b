//! What an identical call finds: its own pending approval, a grant, a fresh refusal, or nothing.
//!
//! A call that stands twice is never sent twice on one approval: whatever is chosen here, the permit is taken by
//! `BeginRelease`, once.

use std::time::Duration;

use super::{Approval, Execution, HeldCall, PermitFate, ReleaseMode, State, SubjectKind, execution, rules};
use crate::domain::call::Protocol;
use crate::domain::time::Timestamp;

/// What a new call should do, given the approvals of the same agent that share its fingerprint or its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attachment<'a> {
    /// Nothing that stands: ask.
    Ask,
    /// Its approval is pending and free to wait on.
    Pending(&'a Approval),
    /// Approved, unused, and still in time: take the permit.
    Grant(&'a Approval),
    /// Rejected a moment ago: the same refusal.
    Remembered(&'a Approval),
    /// The same key, and the call is being sent or has been: not again.
    Spent(&'a Approval),
    /// The same key was used for another call.
    KeyReused(&'a Approval),
    /// An action that was asked for with this key before, in whatever state it is by now.
    Standing(&'a Approval),
}

/// Chooses, newest first. `same` are the approvals of the same agent with the same fingerprint or idempotency key.
///
/// A key says more than a fingerprint: it is looked at first. Two calls with two different keys are two calls, even
/// when they are identical; only a rejection is remembered across keys, or a new key would ask again at once.
///
/// A rule may go by what a fingerprint leaves out: a header, the time, what a server says of a tool. So what people decide under one
/// rule says nothing about a call that another rule asks them about.
pub fn choose<'a>(new: &Approval, same: &'a [Approval], now: Timestamp) -> Attachment<'a> {
    let mut newest: Vec<&Approval> = same.iter().filter(|old| old.subject.agent == new.subject.agent).collect();
    newest.sort_by_key(|old| std::cmp::Reverse((old.created_at, old.id)));
    let keyed = newest.iter().copied().filter(|old| shares_key(new, old)).find_map(|old| by_key(new, old, now));
    if let Some(found) = keyed {
        return found;
    }
    match &new.subject.kind {
        SubjectKind::Action => Attachment::Ask,
        SubjectKind::Call(call) => newest
            .into_iter()
            .filter(|old| old.call().is_some() && old.subject.fingerprint == new.subject.fingerprint)
            .find_map(|old| by_fingerprint(new, old, call, now))
            .unwrap_or(Attachment::Ask),
    }
}

/// Why a permit is no more whose key another call has taken over.
pub const KEY_TAKEN_OVER: &str = "the grant was over when the same key asked again";

/// Approvals whose key a call takes over that finds nothing that stands. By this clock their grants are over; by another, or once a
/// clock was set right, they may not be, and both would be sent. So they are voided together with the new call's parking.
pub fn taken_over<'a>(new: &Approval, same: &'a [Approval]) -> impl Iterator<Item = &'a Approval> {
    let is_over = |old: &&Approval| {
        old.subject.agent == new.subject.agent && shares_key(new, old) && execution::permit_is_free(old).is_ok()
    };
    same.iter().filter(is_over)
}

/// What an approval with the same key means; `None` when it does not stand any more and the key is free again.
fn by_key<'a>(new: &Approval, old: &'a Approval, now: Timestamp) -> Option<Attachment<'a>> {
    let identical = old.subject.fingerprint == new.subject.fingerprint;
    let asked_alike = same_question(new, old);
    match (&new.subject.kind, &old.subject.kind) {
        // An action has no end after which it could be asked for again: the key names it for good.
        (SubjectKind::Action, SubjectKind::Action) if identical => return Some(Attachment::Standing(old)),
        (_, SubjectKind::Action) => return Some(Attachment::KeyReused(old)),
        (SubjectKind::Action | SubjectKind::Call(_), SubjectKind::Call(_)) => {}
    }
    let found = match standing(old, now)? {
        Standing::Pending | Standing::Grant if !asked_alike => Attachment::KeyReused(old),
        Standing::Pending => Attachment::Pending(old),
        Standing::Grant => Attachment::Grant(old),
        Standing::Rejected => Attachment::Remembered(old),
        Standing::Spent => Attachment::Spent(old),
    };
    Some(if identical { found } else { Attachment::KeyReused(old) })
}

fn by_fingerprint<'a>(new: &Approval, old: &'a Approval, call: &HeldCall, now: Timestamp) -> Option<Attachment<'a>> {
    let other_key = new.subject.idempotency_key.is_some() && old.subject.idempotency_key.is_some();
    // Several MCP clients give up without closing the stream: whoever asks again cannot be told from whoever asks beside.
    let joins = old.caller.waiting == 0 || call.protocol == Protocol::Mcp;
    let free = joins && !other_key && same_question(new, old);
    // Whoever asks the gateway to send the call itself must not wait on an approval that only a live request uses.
    let release = call.release;
    let would_run = release == ReleaseMode::Attached || old.call().is_some_and(|call| call.release == release);
    match standing(old, now)? {
        Standing::Pending => (free && would_run).then_some(Attachment::Pending(old)),
        Standing::Grant => free.then_some(Attachment::Grant(old)),
        Standing::Rejected => Some(Attachment::Remembered(old)),
        Standing::Spent => None,
    }
}

fn shares_key(new: &Approval, old: &Approval) -> bool {
    new.subject.idempotency_key.is_some() && new.subject.idempotency_key == old.subject.idempotency_key
}

/// Whether one rule asks for both. By another policy the rule may read otherwise by now: then its id says that it is the same.
fn same_question(new: &Approval, old: &Approval) -> bool {
    let (new, old) = (&new.terms, &old.terms);
    new.rule == old.rule && (new.policy_revision != old.policy_revision || new.rule_digest == old.rule_digest)
}

/// What a call's approval still means for an identical call.
enum Standing {
    Pending,
    Grant,
    Rejected,
    Spent,
}

fn standing(old: &Approval, now: Timestamp) -> Option<Standing> {
    let recent = |at: Timestamp, keep: Duration| now < at.plus(keep);
    match (&old.state, &old.execution) {
        (State::Pending, _) => (now < old.terms.expires_at).then_some(Standing::Pending),
        // A clock that was set back to before the decision must not make it last for as long as that.
        (State::Rejected(decision), _) => {
            (decision.at <= now && recent(decision.at, old.terms.reject_memory)).then_some(Standing::Rejected)
        }
        (State::Expired { .. } | State::Cancelled { .. }, _) => None,
        (State::Approved(_), Execution::Held | Execution::Failed { permit: PermitFate::Returned, .. }) => {
            rules::grant_lasts(old, now).then_some(Standing::Grant)
        }
        (State::Approved(_), Execution::Releasing { .. }) => Some(Standing::Spent),
        (
            State::Approved(_),
            Execution::Succeeded { at, .. } | Execution::Unknown { at, .. } | Execution::Resolved { at, .. },
        ) => recent(*at, old.terms.result_ttl).then_some(Standing::Spent),
        // Never sent and never will be: whoever calls again asks again. (`None` is an action's, which has no call.)
        (State::Approved(_), Execution::Failed { permit: PermitFate::Spent, .. } | Execution::None) => None,
    }
}

#[cfg(test)]
mod tests;
