//! What changes the model. The rules are the domain's own; here is only what a transaction adds to them.

use std::time::Duration;

use holdpoint::domain::approval::attach::{Attachment, KEY_TAKEN_OVER, choose, taken_over};
use holdpoint::domain::approval::{
    self, Approval, Caller, Command, Doubt, Execution, PermitFate, State as Decided, Status, Step, transition,
};
use holdpoint::domain::audit::Event;
use holdpoint::domain::id::ApprovalId;
use holdpoint::domain::time::Timestamp;
use holdpoint::store::{Applied, Error, Park, Parked, QueueLimit, Recovery, Session, StoredResult};

use super::{Model, Plant, State};

/// How far ahead timers run when that is planted.
const AHEAD: Duration = Duration::from_secs(2);

pub(super) fn ahead(now: Timestamp) -> Timestamp {
    now.plus(AHEAD)
}

/// A transaction: the state as it will be, unless it fails. Only what a method may touch is copied.
pub(super) struct Draft<'a> {
    state: &'a mut State,
    plant: Option<Plant>,
    undo: Vec<Undo>,
}

enum Undo {
    Approval(ApprovalId, Option<Box<Approval>>),
    Record,
}

impl Model {
    pub(super) fn write<T>(&self, work: impl FnOnce(&mut Draft<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let mut state = self.lock();
        state.writes += 1;
        let mut draft = Draft { state: &mut state, plant: self.plant, undo: Vec::new() };
        let done = work(&mut draft);
        if done.is_err() {
            draft.roll_back();
        }
        done
    }
}

fn corrupt(what: &str) -> Error {
    Error::Corrupt(what.to_owned())
}

impl Draft<'_> {
    fn roll_back(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Approval(id, Some(before)) => drop(self.state.approvals.insert(id, *before)),
                Undo::Approval(id, None) => drop(self.state.approvals.remove(&id)),
                Undo::Record => drop(self.state.trail.pop()),
            }
        }
    }

    fn put(&mut self, approval: Approval) {
        let id = approval.id;
        let before = self.state.approvals.insert(id, approval);
        self.undo.push(Undo::Approval(id, before.map(Box::new)));
    }

    pub(super) fn append(&mut self, event: &Event) {
        let record = self.state.head().next(event);
        self.state.trail.push((event.approval, record));
        self.undo.push(Undo::Record);
    }

    pub(super) fn park(&mut self, park: &Park, now: Timestamp) -> Result<Parked, Error> {
        let new = &park.approval;
        let key = new.subject.idempotency_key.as_ref();
        let is_same = |old: &&Approval| {
            let same_key = key.is_some() && old.subject.idempotency_key.as_ref() == key;
            old.subject.agent == new.subject.agent && (same_key || old.subject.fingerprint == new.subject.fingerprint)
        };
        let mut same: Vec<Approval> = self.state.approvals.values().filter(is_same).cloned().collect();
        for old in &mut same {
            let deadline = old.terms.expires_at;
            if old.state == Decided::Pending
                && now >= deadline
                && let Applied::Changed(next) = self.change(old, &Command::Expire { deadline }, now)
            {
                *old = next;
            }
        }
        Ok(match choose(new, &same, now) {
            Attachment::Ask => return self.ask(park, &same, now),
            Attachment::Pending(old) if new.caller.waiting == 0 => Parked::Attached(old.clone()),
            Attachment::Pending(old) => match self.change(old, &Command::CallerJoined, now) {
                Applied::Changed(next) | Applied::Same(next) => Parked::Attached(next),
                Applied::Refused(..) | Applied::Missing => return Err(corrupt("a caller could not join")),
            },
            Attachment::Grant(old) => Parked::Granted(old.clone()),
            Attachment::Remembered(old) => Parked::Remembered(old.clone()),
            Attachment::Spent(old) => Parked::Spent(old.clone()),
            Attachment::KeyReused(old) => Parked::KeyReused(old.clone()),
            Attachment::Standing(old) => Parked::Standing(old.clone()),
        })
    }

    fn ask(&mut self, park: &Park, same: &[Approval], now: Timestamp) -> Result<Parked, Error> {
        let parked = self.create(park)?;
        if matches!(parked, Parked::Created(_)) {
            for old in taken_over(&park.approval, same) {
                self.change(old, &Command::Void { reason: KEY_TAKEN_OVER.to_owned(), doubt: Doubt::None }, now);
            }
        }
        Ok(parked)
    }

    fn create(&mut self, park: &Park) -> Result<Parked, Error> {
        let new = &park.approval;
        let pending = |old: &&Approval| old.state == Decided::Pending;
        let all = self.state.approvals.values().filter(pending);
        let (mut total, mut own) = (0, 0);
        for old in all {
            total += 1;
            own += u64::from(old.subject.agent == new.subject.agent);
        }
        if total >= park.pending_total_max {
            return Ok(Parked::Full(QueueLimit::Total));
        }
        if own >= park.pending_per_agent_max {
            return Ok(Parked::Full(QueueLimit::PerAgent));
        }
        if new.state != Decided::Pending || new.version != 0 {
            return Err(corrupt("only a new, pending approval can be parked"));
        }
        if self.state.approvals.contains_key(&new.id) {
            return Err(corrupt("there is an approval with this id"));
        }
        self.put(new.clone());
        self.append(&approval::created(new));
        // Last, as nothing takes it back.
        if let Some(request) = &park.request {
            self.state.requests.insert(new.id, request.clone());
        }
        Ok(Parked::Created(new.clone()))
    }

    pub(super) fn apply(&mut self, id: ApprovalId, command: &Command, now: Timestamp) -> Result<Applied, Error> {
        let Some(approval) = self.state.approvals.get(&id).cloned() else { return Ok(Applied::Missing) };
        Ok(self.change(&approval, command, now))
    }

    fn change(&mut self, stands: &Approval, command: &Command, now: Timestamp) -> Applied {
        let (from, at) = match self.plant {
            Some(plant) => (planted(plant, stands, command), if is_early(plant, command) { ahead(now) } else { now }),
            None => (stands.clone(), now),
        };
        let change = match transition(&from, command, at) {
            Ok(Step::Change(change)) => *change,
            Ok(Step::Same) => return Applied::Same(stands.clone()),
            Err(refusal) => return Applied::Refused(stands.clone(), refusal),
        };
        let mut next = change.next;
        let now_and_then = self.state.writes.is_multiple_of(7);
        if self.plant == Some(Plant::EarlyExpiry) && next.status() == Status::Expired {
            next.state = Decided::Expired { at: now };
        }
        if self.plant == Some(Plant::QuorumOfOne) {
            next.terms = stands.terms.clone();
        }
        if self.plant == Some(Plant::LostCommit) && now_and_then {
            return Applied::Changed(next);
        }
        self.put(next.clone());
        if let Some(event) = &change.event
            && !(self.plant == Some(Plant::SilentChange) && now_and_then)
        {
            self.append(event);
        }
        if self.plant == Some(Plant::WakesNobody) && stands.status() != next.status() {
            return Applied::Same(next);
        }
        Applied::Changed(next)
    }

    pub(super) fn finish(
        &mut self,
        id: ApprovalId,
        command: &Command,
        result: Option<StoredResult>,
        now: Timestamp,
    ) -> Result<Applied, Error> {
        let applied = self.apply(id, command, now)?;
        if let (Applied::Changed(_), Some(result)) = (&applied, result) {
            self.state.results.insert(id, result);
        }
        Ok(applied)
    }

    pub(super) fn recover(&mut self, now: Timestamp) -> Result<Recovery, Error> {
        let mut recovery = Recovery::default();
        let in_flight = |old: &&Approval| matches!(old.execution, Execution::Releasing { .. });
        let live = |old: &&Approval| old.caller.waiting > 0 || in_flight(old);
        let found: Vec<Approval> = self.state.approvals.values().filter(live).cloned().collect();
        for mut approval in found {
            if in_flight(&&approval) {
                let reason = "the gateway ended while the call was being sent".to_owned();
                let command = match self.plant {
                    Some(Plant::RecoveryForgets) => Command::Fail { reason, permit: PermitFate::Returned },
                    Some(_) | None => Command::LoseTrack { reason },
                };
                if let Applied::Changed(next) = self.change(&approval, &command, now) {
                    recovery.unknown += 1;
                    approval = next;
                }
            }
            recovery.left += u64::from(approval.caller.waiting > 0);
            while approval.caller.waiting > 0 {
                match self.change(&approval, &Command::CallerLeft, now) {
                    Applied::Changed(next) => approval = next,
                    Applied::Same(_) | Applied::Refused(..) | Applied::Missing => break,
                }
            }
        }
        Ok(recovery)
    }

    pub(super) fn forget(&mut self, now: Timestamp) -> u64 {
        let State { approvals, requests, results, sessions, .. } = &mut *self.state;
        let before = requests.len() + results.len() + sessions.len();
        requests.retain(|id, _| approvals.get(id).is_some_and(|approval| may_be_sent(approval, now)));
        results.retain(|_, result| now < result.expires_at);
        sessions.retain(|_, session| now < session.expires_at);
        if self.plant == Some(Plant::Resurrection)
            && let Some(refused) = approvals.values_mut().find(|approval| approval.status() == Status::Rejected)
        {
            refused.state = Decided::Pending;
            refused.caller = Caller::default();
        }
        (before - requests.len() - results.len() - sessions.len()) as u64
    }

    pub(super) fn open_session(&mut self, session: Session, event: &Event) -> Result<(), Error> {
        if self.state.sessions.contains_key(&session.id_sha256) {
            return Err(corrupt("there is a session with this id"));
        }
        self.append(event);
        self.state.sessions.insert(session.id_sha256, session);
        Ok(())
    }

    pub(super) fn close_session(&mut self, id_sha256: [u8; 32], event: &Event) {
        if self.state.sessions.remove(&id_sha256).is_some() {
            self.append(event);
        }
    }
}

/// Whether the stored request of an approval may still be needed.
fn may_be_sent(approval: &Approval, now: Timestamp) -> bool {
    let releasing = matches!(approval.execution, Execution::Releasing { .. });
    match approval.status() {
        Status::Pending => true,
        Status::Approved if releasing => true,
        Status::Approved => {
            let free = match approval.execution {
                Execution::Held => true,
                Execution::Failed { permit, .. } => permit == PermitFate::Returned,
                _ => false,
            };
            let in_time = approval.grant_expires_at().is_some_and(|until| now < until);
            free && (in_time || approval::rules::grant_lasts(approval, now))
        }
        Status::Rejected | Status::Expired | Status::Cancelled => false,
    }
}

fn is_early(plant: Plant, command: &Command) -> bool {
    plant == Plant::EarlyExpiry && matches!(command, Command::Expire { .. })
}

/// What the transition is computed from when a fault is planted.
fn planted(plant: Plant, stands: &Approval, command: &Command) -> Approval {
    let mut from = stands.clone();
    let decides = matches!(
        command,
        Command::Approve { .. } | Command::Reject { .. } | Command::Expire { .. } | Command::Cancel { .. }
    );
    match plant {
        Plant::DecideOverwrites if decides && matches!(stands.execution, Execution::Held) => {
            from.state = Decided::Pending;
        }
        Plant::DoubleTake if matches!(stands.execution, Execution::Releasing { .. }) => {
            if matches!(command, Command::BeginRelease { .. }) {
                from.execution = Execution::Held;
            }
        }
        Plant::QuorumOfOne => from.terms.approvers.truncate(1),
        Plant::DecideOverwrites
        | Plant::DoubleTake
        | Plant::LostCommit
        | Plant::Resurrection
        | Plant::RecoveryForgets
        | Plant::SilentChange
        | Plant::EarlyExpiry
        | Plant::WakesNobody => {}
    }
    if plant == Plant::QuorumOfOne
        && let Some(slot) = from.terms.approvers.first_mut()
    {
        slot.count = 1;
    }
    from
}
