//! Quorum, SLA, and how long a grant lasts.
//!
//! Nothing here changes an approval; [`transition`](super::transition) asks these questions and the page shows the
//! answers, so both say the same.

use std::collections::BTreeSet;
use std::time::Duration;

use super::transition::Refusal;
use super::{Approval, Execution, PermitFate, ReleaseMode, SlaState, Slot, State, Vote};
use crate::domain::identity::Reviewer;
use crate::domain::time::Timestamp;

/// How long the gateway waits before it tries a detached call again whose permit came back.
pub const DETACHED_RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Whether the votes fill every slot: each person fills at most one, however many groups the person is in.
///
/// An approval without slots, or whose slots need nobody, is a gate that no vote opens.
pub fn quorum(slots: &[Slot], votes: &[Vote]) -> bool {
    let needed: u64 = slots.iter().map(|slot| u64::from(slot.count)).sum();
    needed > 0 && Seating::of(slots, votes).open().is_empty()
}

/// The slots that are still open, with how many people each still needs.
///
/// Where a voter could fill several slots this shows one of the ways to seat everybody; [`may_approve`] considers all.
pub fn still_needed(approval: &Approval) -> Vec<Slot> {
    Seating::of(&approval.terms.approvers, &approval.votes).open()
}

/// Whether `reviewer` is one of the people who decide about this approval: may reject it, and may approve it while a
/// slot is open for them.
///
/// # Errors
/// [`Refusal::OwnCall`], [`Refusal::NotAnApprover`]. Says nothing about whether it is still pending.
pub fn may_decide(approval: &Approval, reviewer: &Reviewer) -> Result<(), Refusal> {
    not_own_call(approval, reviewer)?;
    let slots = &approval.terms.approvers;
    if slots.iter().any(|slot| slot.count > 0 && admits(slot, &reviewer.groups)) {
        Ok(())
    } else {
        Err(Refusal::NotAnApprover { needed: describe(slots) })
    }
}

/// Whether a vote of `reviewer` would bring the approval nearer to its quorum.
///
/// # Errors
/// [`Refusal::OwnCall`], [`Refusal::NotAnApprover`] also when the slots for the reviewer's groups are filled.
pub fn may_approve(approval: &Approval, reviewer: &Reviewer) -> Result<(), Refusal> {
    may_decide(approval, reviewer)?;
    let mut seating = Seating::of(&approval.terms.approvers, &approval.votes);
    if seating.seat(&reviewer.groups) {
        Ok(())
    } else {
        Err(Refusal::NotAnApprover { needed: describe(&seating.open()) })
    }
}

/// Nobody decides about a call made under their own identity.
///
/// # Errors
/// [`Refusal::OwnCall`]
pub fn not_own_call(approval: &Approval, reviewer: &Reviewer) -> Result<(), Refusal> {
    if reviewer.id == approval.subject.agent.0 { Err(Refusal::OwnCall) } else { Ok(()) }
}

/// What the SLA badge shows at `now`. A store that filters by it must say the same.
pub fn sla_state(approval: &Approval, now: Timestamp) -> SlaState {
    match (&approval.state, approval.terms.sla_at) {
        (State::Expired { .. }, _) => SlaState::Expired,
        // Past its time, and nobody has written it down yet.
        (State::Pending, _) if now >= approval.terms.expires_at => SlaState::Expired,
        (State::Pending | State::Approved(_) | State::Rejected(_) | State::Cancelled { .. }, None) => SlaState::Ok,
        (State::Pending, Some(sla_at)) if now >= sla_at => SlaState::Breached,
        (State::Pending, Some(sla_at)) if now >= due_soon_from(approval.created_at, sla_at) => SlaState::DueSoon,
        (State::Pending, Some(_)) => SlaState::Ok,
        (State::Approved(decision) | State::Rejected(decision), Some(sla_at)) => late(decision.at, sla_at),
        (State::Cancelled { at, .. }, Some(sla_at)) => late(*at, sla_at),
    }
}

fn late(at: Timestamp, sla_at: Timestamp) -> SlaState {
    if at >= sla_at { SlaState::Breached } else { SlaState::Ok }
}

/// From when on less than a quarter of the time to the SLA is left.
pub fn due_soon_from(created_at: Timestamp, sla_at: Timestamp) -> Timestamp {
    let quarter = sla_at.since(created_at).as_millis() / 4;
    // One millisecond on: exactly a quarter left is not less than a quarter.
    let quarter = i64::try_from(quarter).unwrap_or(i64::MAX);
    Timestamp::from_millis(sla_at.as_millis().saturating_sub(quarter).saturating_add(1))
}

/// Whether an approved call whose permit is free may still be sent at `now`.
///
/// A grant lasts `grant_ttl` from the decision, and as long as somebody waits who was there before it was over. A
/// detached call that was never tried has no limit: the gateway sends it as soon as it can, after a long outage too.
///
/// Before the decision there was no grant: where the clock stands there, it was set back, and how much of the grant's time is
/// over cannot be told. Then it is over.
pub fn grant_lasts(approval: &Approval, now: Timestamp) -> bool {
    let State::Approved(decision) = &approval.state else { return false };
    let until = decision.at.plus(approval.terms.grant_ttl);
    let untried = matches!(approval.execution, Execution::Held);
    let detached = approval.call().is_some_and(|call| call.release == ReleaseMode::Detached);
    (untried && detached) || approval.caller.waiting > 0 || (decision.at <= now && now < until)
}

/// From when until when the gateway itself should send this detached call; `None` when it should not.
/// The end is `None` when there is none.
pub fn ready(approval: &Approval) -> Option<(Timestamp, Option<Timestamp>)> {
    let detached = approval.call().is_some_and(|call| call.release == ReleaseMode::Detached);
    match (&approval.state, &approval.execution) {
        (State::Approved(decision), Execution::Held) if detached => Some((decision.at, None)),
        (State::Approved(_), Execution::Failed { at, permit: PermitFate::Returned, .. }) if detached => {
            Some((at.plus(DETACHED_RETRY_PAUSE), approval.grant_expires_at()))
        }
        (
            State::Approved(_) | State::Pending | State::Rejected(_) | State::Expired { .. } | State::Cancelled { .. },
            _,
        ) => None,
    }
}

fn admits(slot: &Slot, groups: &[String]) -> bool {
    slot.group.as_ref().is_none_or(|group| groups.contains(group))
}

fn describe(slots: &[Slot]) -> String {
    let groups: BTreeSet<&str> =
        slots.iter().filter(|slot| slot.count > 0).map(|slot| slot.group.as_deref().unwrap_or("any group")).collect();
    if groups.is_empty() {
        return "no group: the rule names no approver".to_owned();
    }
    groups.into_iter().collect::<Vec<_>>().join(" or ")
}

/// Who sits where: a maximum matching of people to slots, found one augmenting path at a time.
struct Seating<'a> {
    slots: &'a [Slot],
    /// For each slot the groups of the people who fill it; never longer than the slot's count.
    seated: Vec<Vec<&'a [String]>>,
}

impl<'a> Seating<'a> {
    fn of(slots: &'a [Slot], votes: &'a [Vote]) -> Self {
        let mut seating = Self { slots, seated: vec![Vec::new(); slots.len()] };
        let mut people = BTreeSet::new();
        for vote in votes {
            if people.insert(vote.by.as_str()) {
                seating.seat(&vote.groups);
            }
        }
        seating
    }

    /// Seats one more person, moving others if that helps. False leaves everybody where they were.
    fn seat(&mut self, groups: &'a [String]) -> bool {
        let mut tried = vec![false; self.slots.len()];
        self.place(groups, &mut tried)
    }

    /// Depth is bounded by the number of slots: each is tried once.
    fn place(&mut self, groups: &'a [String], tried: &mut [bool]) -> bool {
        for index in 0..self.slots.len() {
            if tried[index] || !admits(&self.slots[index], groups) {
                continue;
            }
            tried[index] = true;
            if (self.seated[index].len() as u64) < u64::from(self.slots[index].count) {
                self.seated[index].push(groups);
                return true;
            }
            for chair in 0..self.seated[index].len() {
                let sitting = self.seated[index][chair];
                if self.place(sitting, tried) {
                    self.seated[index][chair] = groups;
                    return true;
                }
            }
        }
        false
    }

    fn open(&self) -> Vec<Slot> {
        let left = |(slot, seated): (&Slot, &Vec<_>)| {
            let count = slot.count.saturating_sub(u32::try_from(seated.len()).unwrap_or(u32::MAX));
            (count > 0).then(|| Slot { group: slot.group.clone(), count })
        };
        self.slots.iter().zip(&self.seated).filter_map(left).collect()
    }
}

#[cfg(test)]
mod tests;
