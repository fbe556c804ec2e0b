//! What one change of one approval may be.

use std::collections::BTreeSet;

use holdpoint::domain::approval::{Approval, Canceller, Execution, PermitFate, ReleaseMode, State as Decided, Status};
use holdpoint::domain::audit::{Event, EventKind};

use super::{Closed, Seen, Shadow, brief, fills, slots_of};
use crate::tables::{Act, table};

impl Shadow {
    /// Checks what became of one approval in one request.
    pub(super) fn step(&mut self, seen: &Seen<'_>, old: Option<&Approval>, new: &Approval, events: &[&Event]) {
        match old {
            None => self.appeared(new, events),
            Some(old) => self.moved(seen, old, new, events),
        }
        if self.violation.is_some() {
            self.note(|| format!("{} left {}", seen.name, brief(new)));
        }
    }

    fn appeared(&mut self, new: &Approval, events: &[&Event]) {
        let kinds: Vec<EventKind> = events.iter().map(|event| event.kind).collect();
        let fresh = new.version == 0 && new.state == Decided::Pending && new.votes.is_empty();
        self.must(fresh, || format!("a new approval is {}", brief(new)));
        self.must(kinds == [EventKind::ApprovalCreated], || format!("a new approval has the records {kinds:?}"));
        if new.call().is_some() {
            let asks = table(&new.terms.policy_revision)
                .is_some_and(|table| matches!(table.acts.get(new.subject.name.as_str()), Some(Act::Ask(_))));
            self.must(asks, || format!("{} was parked by a revision that does not ask", brief(new)));
        }
        self.count("parked");
    }

    fn moved(&mut self, seen: &Seen<'_>, old: &Approval, new: &Approval, events: &[&Event]) {
        let fixed = old.id == new.id
            && old.subject == new.subject
            && old.terms == new.terms
            && old.created_at == new.created_at;
        self.must(fixed, || format!("what was asked has changed: {}", brief(new)));
        let mut expected = Vec::new();
        self.decided(old, new, &mut expected);
        self.executed(seen, old, new, &mut expected);
        if old.stale_since != new.stale_since {
            self.must(old.stale_since.is_none(), || format!("{} is stale twice", brief(new)));
            expected.push(EventKind::ApprovalStale);
        }
        let changes = expected.len() as u64;
        let (before, after) = (old.caller.waiting, new.caller.waiting);
        match (before, after) {
            (0, 1..) => {
                expected.push(EventKind::CallerJoined);
                self.came_in_time(new, events);
            }
            (1.., 0) => expected.push(EventKind::CallerLeft),
            (0, 0) | (1.., 1..) => {}
        }
        let moves = changes + u64::from(before.abs_diff(after));
        let versions = new.version.saturating_sub(old.version);
        self.must(versions == moves, || format!("{versions} versions for {moves} changes: {}", brief(new)));
        let several = seen.name == "recover" || seen.name == "park";
        self.must(several || moves <= 1, || format!("one command made {moves} changes: {}", brief(new)));
        let kinds: Vec<EventKind> = events.iter().map(|event| event.kind).collect();
        self.must(kinds == expected, || format!("records {kinds:?} for changes {expected:?}: {}", brief(new)));
    }

    /// Nobody comes to a grant that is over: by waiting they would keep it alive.
    fn came_in_time(&mut self, new: &Approval, events: &[&Event]) {
        let untried = new.call().is_some_and(|call| call.release == ReleaseMode::Detached)
            && matches!(new.execution, Execution::Held);
        let Some(until) = new.grant_expires_at().filter(|_| !untried) else { return };
        let came = events.iter().find(|event| event.kind == EventKind::CallerJoined).map(|event| event.at);
        self.must(came.is_none_or(|came| came < until), || {
            format!("came back to a grant that is over: {}", brief(new))
        });
    }

    /// The decision and the votes for it.
    fn decided(&mut self, old: &Approval, new: &Approval, expected: &mut Vec<EventKind>) {
        let voted = new.votes.len().saturating_sub(old.votes.len());
        let kept = new.votes.starts_with(&old.votes) && voted <= 1;
        self.must(kept, || format!("votes were {:?}, are {:?}", old.votes, new.votes));
        self.must(voted == 0 || old.status() == Status::Pending, || format!("a vote after the end: {}", brief(new)));
        for vote in new.votes.iter().skip(old.votes.len()) {
            self.ballot(new, &vote.by, true);
            let in_time = vote.at < new.terms.expires_at;
            self.must(in_time, || format!("a vote past the deadline: {}", brief(new)));
        }
        if old.state == new.state {
            if voted > 0 {
                expected.push(EventKind::ApprovalVoted);
            }
            return;
        }
        self.must(old.state == Decided::Pending, || format!("was {}, became {}", brief(old), brief(new)));
        self.count(format!("state: {}", new.status()));
        self.closed.insert(new.id, Closed { at: self.millis, told: None });
        let deadline = new.terms.expires_at;
        let at = new.state.closed_at().unwrap_or(deadline);
        let in_time = match new.state {
            Decided::Expired { .. } => at >= deadline,
            Decided::Pending => false,
            Decided::Approved(_) | Decided::Rejected(_) | Decided::Cancelled { .. } => at < deadline,
        };
        self.must(in_time, || format!("closed at {at}, the deadline is {deadline}: {}", brief(new)));
        expected.push(self.closed_by(new));
    }

    /// Whether whoever closed it could.
    fn closed_by(&mut self, new: &Approval) -> EventKind {
        match &new.state {
            Decided::Approved(decision) => {
                let people: BTreeSet<&str> = new.votes.iter().map(|vote| vote.by.as_str()).collect();
                let people: Vec<&str> = people.into_iter().collect();
                let enough = fills(&slots_of(new), &people);
                self.must(enough, || format!("{people:?} do not fill {:?}: {}", slots_of(new), brief(new)));
                self.ballot(new, &decision.by, true);
                EventKind::ApprovalApproved
            }
            Decided::Rejected(decision) => {
                self.ballot(new, &decision.by, false);
                EventKind::ApprovalRejected
            }
            Decided::Expired { .. } => EventKind::ApprovalExpired,
            Decided::Cancelled { by: Canceller::Agent, .. } => {
                let asked = self.withdrawals.contains(&(new.id, new.subject.agent.0.clone()));
                self.must(asked, || format!("its agent withdrew nothing: {}", brief(new)));
                self.count("withdrawn");
                EventKind::ApprovalCancelled
            }
            Decided::Cancelled { by: Canceller::Policy, .. } => {
                let tool = new.subject.name.as_str();
                let blocked = self.loaded.iter().any(|one| table(one).is_some_and(|table| table.blocks(tool)));
                self.must(blocked, || format!("no policy blocks it: {}", brief(new)));
                self.count("closed by a new block");
                EventKind::ApprovalCancelled
            }
            Decided::Cancelled { by: Canceller::Operator, .. } | Decided::Pending => {
                self.wrong(format!("nobody did this: {}", brief(new)));
                EventKind::ApprovalCancelled
            }
        }
    }

    /// Whether this person said so, may say so and did not ask for it.
    fn ballot(&mut self, approval: &Approval, who: &str, approves: bool) {
        let said = self
            .ballots
            .get(&approval.id)
            .is_some_and(|ballots| ballots.iter().any(|ballot| ballot.who == who && ballot.approves == approves));
        self.must(said, || format!("{who} said no such thing: {}", brief(approval)));
        self.must(approval.subject.agent.0 != who, || format!("{who} decided an own call: {}", brief(approval)));
        let admitted = slots_of(approval).iter().any(|slot| fills(&[(slot.0, 1)], &[who]));
        self.must(admitted, || format!("{who} may not decide: {}", brief(approval)));
    }

    /// The call's way.
    fn executed(&mut self, seen: &Seen<'_>, old: &Approval, new: &Approval, expected: &mut Vec<EventKind>) {
        if old.execution == new.execution {
            return;
        }
        let approved = new.status() == Status::Approved && old.status() == Status::Approved;
        self.must(approved, || format!("sent without an approval: {}", brief(new)));
        let free = matches!(old.execution, Execution::Held | Execution::Failed { permit: PermitFate::Returned, .. });
        let releasing = matches!(old.execution, Execution::Releasing { .. });
        let (may, kind) = match &new.execution {
            Execution::Releasing { .. } => (free, EventKind::ReleaseStarted),
            Execution::Succeeded { .. } => (releasing, EventKind::ReleaseSucceeded),
            Execution::Unknown { .. } => (releasing, EventKind::ReleaseUnknown),
            Execution::Failed { .. } if releasing => (true, EventKind::ReleaseFailed),
            Execution::Failed { permit: PermitFate::Spent, .. } => (free, EventKind::ReleaseRefused),
            Execution::Resolved { by, .. } => {
                let said = self.settlers.get(&new.id).is_some_and(|people| people.contains(by.as_str()));
                (said && matches!(old.execution, Execution::Unknown { .. }), EventKind::ReleaseResolved)
            }
            Execution::Held | Execution::None | Execution::Failed { .. } => (false, EventKind::ReleaseFailed),
        };
        self.must(may, || format!("was {}, became {}", brief(old), brief(new)));
        self.count(format!("call: {}", new.execution.as_str().unwrap_or("none")));
        if seen.name == "recover" {
            self.untold.insert(new.id);
        }
        self.outcome_agrees(new);
        expected.push(kind);
    }
}
