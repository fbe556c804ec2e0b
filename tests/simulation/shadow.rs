//! The shadow model: an independent account of what may be true. It knows who voted, who withdrew, which policy says what and
//! what reached the upstream, and compares every change of the store with that, step by step. It computes no transition.

mod answers;
mod sends;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use holdpoint::domain::approval::{Approval, Command, Execution, PermitFate, ReleaseMode, State as Decided, Status};
use holdpoint::domain::audit::Event;
use holdpoint::domain::id::ApprovalId;
use holdpoint::domain::time::Timestamp;

use crate::model::State;
use crate::tables::table;

pub(crate) use answers::Answer;
pub(crate) use sends::{Parcel, Reached};

/// How many agents' reviewers there are: who, with which groups. The last one is also an agent.
pub(crate) const PEOPLE: [(&str, &[&str]); 5] = [
    ("alice", &["finance"]),
    ("bob", &["finance", "ops"]),
    ("carol", &["ops"]),
    ("dave", &[]),
    ("bot-1", &["finance"]),
];

/// One request to the store as it was carried out.
pub(crate) struct Seen<'a> {
    /// By which gateway.
    pub(crate) node: usize,
    /// Which method.
    pub(crate) name: &'static str,
    /// About which approval.
    pub(crate) id: Option<ApprovalId>,
    /// With which command.
    pub(crate) command: Option<&'a Command>,
    /// Whether it may change anything.
    pub(crate) writes: bool,
    /// The approval that the answer speaks of.
    pub(crate) told: Option<&'a Approval>,
    /// What goes wrong with it.
    pub(crate) fault: Option<&'static str>,
}

/// A decision on its way, noted before the gateway hears of it.
struct Ballot {
    who: &'static str,
    approves: bool,
}

/// When an approval was closed, and who was told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closed {
    at: u64,
    /// The gateway that was told that its command did it, and when: it wakes those who wait there.
    told: Option<(usize, u64)>,
}

/// The account.
#[derive(Default)]
pub(crate) struct Shadow {
    /// Everything that happened, for whoever looks for the cause.
    pub(crate) log: Vec<String>,
    /// The first thing that must not be.
    pub(crate) violation: Option<String>,
    /// How often each thing happened that the simulation is about.
    pub(crate) figures: BTreeMap<String, u64>,
    /// The time of the simulation in milliseconds.
    pub(crate) millis: u64,
    seen: BTreeMap<ApprovalId, Approval>,
    trail: Vec<[u8; 32]>,
    ballots: BTreeMap<ApprovalId, Vec<Ballot>>,
    settlers: BTreeMap<ApprovalId, BTreeSet<&'static str>>,
    withdrawals: BTreeSet<(ApprovalId, String)>,
    in_force: BTreeMap<usize, String>,
    replaced: BTreeMap<(usize, String), u64>,
    /// Every revision that any gateway has loaded.
    loaded: BTreeSet<String>,
    closed: BTreeMap<ApprovalId, Closed>,
    /// Releases that a recovery ended while they went on elsewhere, or whose end could not be written down.
    untold: BTreeSet<ApprovalId>,
    parcels: BTreeMap<ApprovalId, Vec<Parcel>>,
    callers: BTreeMap<u64, Option<String>>,
}

impl Shadow {
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        let line = line();
        self.log.push(format!("{:>7} {line}", self.millis));
    }

    pub(crate) fn count(&mut self, what: impl Into<String>) {
        *self.figures.entry(what.into()).or_default() += 1;
    }

    /// Notes what must not be. Only the first counts: what follows may follow from it.
    pub(crate) fn wrong(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.note(|| format!("WRONG {what}"));
        self.violation.get_or_insert(what);
    }

    pub(crate) fn must(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.wrong(otherwise());
        }
    }

    // What people and gateways are about to do.

    pub(crate) fn votes(&mut self, id: ApprovalId, who: &'static str, approves: bool) {
        self.ballots.entry(id).or_default().push(Ballot { who, approves });
    }

    pub(crate) fn settles(&mut self, id: ApprovalId, who: &'static str) {
        self.settlers.entry(id).or_default().insert(who);
    }

    pub(crate) fn withdraws(&mut self, id: ApprovalId, agent: &str) {
        self.withdrawals.insert((id, agent.to_owned()));
    }

    pub(crate) fn loads(&mut self, node: usize, revision: &str) {
        if let Some(before) = self.in_force.insert(node, revision.to_owned())
            && before != revision
        {
            self.replaced.insert((node, before), self.millis);
        }
        self.loaded.insert(revision.to_owned());
    }

    /// Whether the gateway has this revision, or had it until this very moment.
    fn has(&self, node: usize, revision: &str) -> bool {
        self.in_force.get(&node).is_some_and(|now| now == revision)
            || self.replaced.get(&(node, revision.to_owned())) == Some(&self.millis)
    }

    /// A gateway asks for a permit on the strength of this revision.
    pub(crate) fn release_asked(&mut self, node: usize, revision: &str) {
        let has = self.has(node, revision);
        self.must(has, || format!("gateway {node} takes a permit by revision {revision}, which is not in force"));
    }

    /// A gateway has been told that its command changed this approval.
    pub(crate) fn gateway_knows(&mut self, node: usize, changed: &Approval) {
        let millis = self.millis;
        if changed.status() != Status::Pending
            && let Some(closed) = self.closed.get_mut(&changed.id)
            && closed.told.is_none()
        {
            closed.told = Some((node, millis));
        }
    }

    // What the store did.

    /// Compares the store after one request with the store before it.
    pub(crate) fn observe(&mut self, seen: &Seen<'_>, state: &State) {
        if seen.writes || seen.fault.is_some() {
            self.note(|| {
                let command = seen.command.map_or_else(String::new, |command| format!(" {}", name_of(command)));
                let fault = seen.fault.map_or_else(String::new, |fault| format!(" ({fault})"));
                let about = seen.told.map(|told| told.id).or(seen.id).map_or_else(String::new, |id| format!(" {id}"));
                format!("gateway {} {}{command}{about}{fault}", seen.node, seen.name)
            });
        }
        if let Some(fault) = seen.fault {
            self.count(format!("fault: {fault}"));
        }
        if let Some(told) = seen.told {
            let stored = state.approvals.get(&told.id);
            self.must(stored == Some(told), || {
                format!("{} was told {}, stored is {}", seen.name, brief(told), stored.map_or("nothing".into(), brief))
            });
        }
        if seen.writes {
            self.compare(seen, state);
        }
    }

    fn compare(&mut self, seen: &Seen<'_>, state: &State) {
        let events = self.new_records(state);
        for id in self.seen.keys().copied().collect::<Vec<_>>() {
            self.must(state.approvals.contains_key(&id), || format!("{id} is lost"));
        }
        for (id, new) in &state.approvals {
            let old = self.seen.remove(id);
            let about: Vec<&Event> = events.iter().filter(|event| event.approval == Some(*id)).collect();
            // What looks untouched is compared whole at the end: it would take most of the time.
            let untouched = old.as_ref().is_some_and(|old| looks_same(old, new)) && about.is_empty();
            if !untouched {
                self.step(seen, old.as_ref(), new, &about);
            }
            self.seen.insert(*id, if untouched { old.unwrap_or_else(|| new.clone()) } else { new.clone() });
        }
    }

    /// The records that came to the trail, which goes on where it was.
    fn new_records(&mut self, state: &State) -> Vec<Event> {
        let known = self.trail.len();
        let last = known.checked_sub(1).and_then(|last| state.trail.get(last));
        self.must(last.map(|(_, record)| record.hash.0) == self.trail.last().copied(), || {
            "the trail was cut".to_owned()
        });
        let mut events = Vec::new();
        for (place, (_, record)) in state.trail.iter().enumerate().skip(known) {
            let follows = record.previous.0 == self.trail.last().copied().unwrap_or_default();
            let whole = record.seq == place as u64 + 1 && record.is_intact();
            self.must(follows && whole, || format!("record {} does not follow", record.seq));
            self.trail.push(record.hash.0);
            events.push(serde_json::from_str(&record.event).expect("an event"));
        }
        events
    }

    /// What must be true of the store when everything has come to rest, after all gateways were started anew.
    pub(crate) fn close(&mut self, state: &State, slack: std::time::Duration, now: Timestamp) {
        for (id, stored) in &state.approvals {
            let same = self.seen.get(id) == Some(stored);
            self.must(same, || format!("{id} was changed by nobody: {}", brief(stored)));
            let overdue = stored.status() == Status::Pending && now >= stored.terms.expires_at.plus(slack);
            self.must(!overdue, || format!("{} should have expired", brief(stored)));
            let releasing = matches!(stored.execution, Execution::Releasing { .. });
            self.must(!releasing, || format!("{} is still being sent", brief(stored)));
            let waits = stored.caller.waiting > 0;
            self.must(!waits, || format!("{}: somebody waits, and nobody is there", brief(stored)));
        }
        self.owes_nothing(state, slack, now);
        let hashes = state.trail.iter().map(|(_, record)| record.hash.0);
        let kept = self.trail.iter().copied().eq(hashes);
        self.must(kept, || "the trail is not the one that was written".to_owned());
        let hanging: Vec<u64> =
            self.callers.iter().filter(|(_, end)| end.is_none()).map(|(caller, _)| *caller).collect();
        self.must(hanging.is_empty(), || format!("callers without an answer: {hanging:?}"));
    }

    /// What the gateway itself should have sent `slack` ago has been sent: the account's own rule for it.
    pub(crate) fn owes_nothing(&mut self, state: &State, slack: std::time::Duration, now: Timestamp) {
        for stored in state.approvals.values() {
            let detached = stored.call().is_some_and(|call| call.release == ReleaseMode::Detached);
            let (Decided::Approved(decision), true) = (&stored.state, detached) else { continue };
            let owed = match &stored.execution {
                Execution::Held => now >= decision.at.plus(slack),
                Execution::Failed { at, permit: PermitFate::Returned, .. } => {
                    now >= at.plus(slack) && now < decision.at.plus(stored.terms.grant_ttl)
                }
                _ => false,
            };
            self.must(!owed, || format!("{} should have been sent by the gateway itself", brief(stored)));
        }
    }

    /// The approvals that are known, in the order of their ids, with what they were last seen as.
    pub(crate) fn known(&self) -> &BTreeMap<ApprovalId, Approval> {
        &self.seen
    }
}

/// Whether an approval looks the same without reading its texts.
fn looks_same(old: &Approval, new: &Approval) -> bool {
    old.version == new.version
        && old.status() == new.status()
        && old.state.closed_at() == new.state.closed_at()
        && old.execution.as_str() == new.execution.as_str()
        && old.votes.len() == new.votes.len()
        && old.caller == new.caller
}

/// An approval in a line.
pub(crate) fn brief(approval: &Approval) -> String {
    let who = match &approval.state {
        Decided::Approved(decision) | Decided::Rejected(decision) => format!(" by {}", decision.by),
        Decided::Cancelled { by, .. } => format!(" by {by:?}"),
        Decided::Pending | Decided::Expired { .. } => String::new(),
    };
    let votes: Vec<&str> = approval.votes.iter().map(|vote| vote.by.as_str()).collect();
    format!(
        "{} v{} {} {}{who} {:?} votes {votes:?} waiting {}",
        approval.id,
        approval.version,
        approval.subject.name,
        approval.status(),
        approval.execution,
        approval.caller.waiting
    )
}

pub(crate) fn name_of(command: &Command) -> &'static str {
    match command {
        Command::Approve { .. } => "approve",
        Command::Reject { .. } => "reject",
        Command::Expire { .. } => "expire",
        Command::Cancel { .. } => "cancel",
        Command::MarkStale { .. } => "mark stale",
        Command::CallerJoined => "caller joined",
        Command::CallerLeft => "caller left",
        Command::BeginRelease { .. } => "begin release",
        Command::RefuseRelease { .. } => "refuse release",
        Command::Succeed { .. } => "succeed",
        Command::Fail { .. } => "fail",
        Command::LoseTrack { .. } => "lose track",
        Command::Void { .. } => "void",
        Command::Resolve { .. } => "resolve",
    }
}

/// Whether distinct people fill every slot: tries everybody everywhere.
fn fills(slots: &[(Option<&str>, u32)], people: &[&str]) -> bool {
    let Some((&(group, count), rest)) = slots.split_first() else { return true };
    if count == 0 {
        return fills(rest, people);
    }
    people.iter().enumerate().any(|(place, person)| {
        let groups = PEOPLE.iter().find(|(name, _)| name == person).map_or(&[][..], |(_, groups)| groups);
        let admitted = group.is_none_or(|group| groups.contains(&group));
        let others = [&people[..place], &people[place + 1..]].concat();
        let still = [&[(group, count - 1)], rest].concat();
        admitted && fills(&still, &others)
    })
}

/// Who must approve a call of this tool that was parked under this revision; `None` for an action, which anybody may approve.
fn slots_of(approval: &Approval) -> Vec<(Option<&'static str>, u32)> {
    let ask = table(&approval.terms.policy_revision).and_then(|table| table.ask(&approval.subject.name));
    match (approval.call(), ask) {
        (None, _) => vec![(None, 1)],
        (Some(_), Some(ask)) => ask.approvers.clone(),
        // Nothing is parked by a policy that does not ask: nobody could open it.
        (Some(_), None) => vec![(Some("nobody"), 1)],
    }
}
