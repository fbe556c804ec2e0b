//! What one request does inside the writer's transaction.
//!
//! Every function here runs in a savepoint of its own: an `Err` undoes all that it did, and only that. Nothing here
//! commits; nothing is acknowledged before the transaction around it is on disk.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::rows::{self, corrupt, failed};
use crate::domain::approval::attach::{Attachment, KEY_TAKEN_OVER, choose, taken_over};
use crate::domain::approval::{self, Approval, Command, Doubt, Execution, State, Step, Transition, transition};
use crate::domain::audit::{ChainHash, Event, Head};
use crate::domain::id::ApprovalId;
use crate::domain::time::Timestamp;
use crate::store::{Applied, Error, Park, Parked, QueueLimit, Recovery, Session, StoredResult};

/// How many approvals of one agent with one fingerprint (and as many with one key) are looked at, newest first. An
/// older one that still stands would be missed, and the call asks again: the safe side.
const SAME_MAX: u32 = 128;
/// How many rows [`Ledger::forget`] deletes of each kind in one transaction.
const FORGET_MAX: u32 = 1000;

/// What the writer knows beside the file: the end of the trail, and how many are pending.
pub(super) struct Known {
    pub(super) head: Head,
    pending_total: u64,
    pending_by_agent: HashMap<String, u64>,
    /// The changes of the request being worked on, to be taken back if it fails.
    since_savepoint: Vec<(String, Change)>,
}

#[derive(Clone, Copy)]
enum Change {
    Parked,
    Closed,
}

impl Known {
    /// Reads it from the file, and checks that the trail ends where the file says.
    pub(super) fn load(conn: &Connection) -> Result<Self, Error> {
        let mut by_agent = HashMap::new();
        let sql =
            "SELECT agent, count(*) FROM approvals INDEXED BY approvals_queue WHERE state = 'pending' GROUP BY agent";
        let mut statement = conn.prepare_cached(sql).map_err(failed)?;
        let mut found = statement.query([]).map_err(failed)?;
        while let Some(row) = found.next().map_err(failed)? {
            by_agent.insert(row.get(0).map_err(failed)?, rows::natural(row, 1).map_err(failed)?);
        }
        let pending_total = by_agent.values().sum();
        let head = super::query::audit_end(conn)?;
        Ok(Self { head, pending_total, pending_by_agent: by_agent, since_savepoint: Vec::new() })
    }

    fn note(&mut self, agent: &str, change: Change) {
        self.count(agent, change);
        self.since_savepoint.push((agent.to_owned(), change));
    }

    fn count(&mut self, agent: &str, change: Change) {
        match change {
            Change::Parked => {
                self.pending_total += 1;
                *self.pending_by_agent.entry(agent.to_owned()).or_default() += 1;
            }
            Change::Closed => {
                self.pending_total = self.pending_total.saturating_sub(1);
                if let Some(count) = self.pending_by_agent.get_mut(agent) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        self.pending_by_agent.remove(agent);
                    }
                }
            }
        }
    }
}

/// The writer's connection inside a transaction, with what it knows.
pub(super) struct Ledger<'a> {
    pub(super) conn: &'a Connection,
    pub(super) known: &'a mut Known,
}

impl Ledger<'_> {
    /// Runs one request in its own savepoint. `Err(Broken)` means that the savepoint itself failed, or that SQLite
    /// rolled the whole transaction back: nothing of the group stands.
    pub(super) fn within_savepoint<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<Result<T, Error>, Broken> {
        self.run("SAVEPOINT request")?;
        let head = self.known.head;
        self.known.since_savepoint.clear();
        let done = work(self);
        if done.is_err() {
            self.known.head = head;
            while let Some((agent, change)) = self.known.since_savepoint.pop() {
                let back = match change {
                    Change::Parked => Change::Closed,
                    Change::Closed => Change::Parked,
                };
                self.known.count(&agent, back);
            }
            if self.conn.is_autocommit() {
                return Err(Broken(done.err().map_or_else(String::new, |error| error.to_string())));
            }
            self.run("ROLLBACK TO request")?;
        }
        self.run("RELEASE request")?;
        Ok(done)
    }

    fn run(&self, sql: &str) -> Result<(), Broken> {
        self.conn.prepare_cached(sql).and_then(|mut statement| statement.execute([])).map(|_| ()).map_err(broken)
    }

    pub(super) fn park(&mut self, park: &Park, now: Timestamp) -> Result<Parked, Error> {
        let mut same = self.same_as(&park.approval)?;
        for old in &mut same {
            let overdue = old.state == State::Pending && now >= old.terms.expires_at;
            if overdue {
                let deadline = old.terms.expires_at;
                if let Applied::Changed(next) = self.change(old.clone(), &Command::Expire { deadline }, now)? {
                    *old = next;
                }
            }
        }
        match choose(&park.approval, &same, now) {
            Attachment::Ask => self.ask(park, &same, now),
            Attachment::Pending(old) if park.approval.caller.waiting == 0 => Ok(Parked::Attached(old.clone())),
            Attachment::Pending(old) => match self.change(old.clone(), &Command::CallerJoined, now)? {
                Applied::Changed(next) | Applied::Same(next) => Ok(Parked::Attached(next)),
                Applied::Refused(_, refusal) => Err(corrupt(format!("a caller could not join: {refusal}"))),
                Applied::Missing => Err(corrupt("a pending approval is gone")),
            },
            Attachment::Grant(old) => Ok(Parked::Granted(old.clone())),
            Attachment::Remembered(old) => Ok(Parked::Remembered(old.clone())),
            Attachment::Spent(old) => Ok(Parked::Spent(old.clone())),
            Attachment::KeyReused(old) => Ok(Parked::KeyReused(old.clone())),
            Attachment::Standing(old) => Ok(Parked::Standing(old.clone())),
        }
    }

    fn ask(&mut self, park: &Park, same: &[Approval], now: Timestamp) -> Result<Parked, Error> {
        let parked = self.create(park)?;
        if matches!(parked, Parked::Created(_)) {
            for old in taken_over(&park.approval, same) {
                let void = Command::Void { reason: KEY_TAKEN_OVER.to_owned(), doubt: Doubt::None };
                self.change(old.clone(), &void, now)?;
            }
        }
        Ok(parked)
    }

    fn create(&mut self, park: &Park) -> Result<Parked, Error> {
        let approval = &park.approval;
        let agent = &approval.subject.agent.0;
        if self.known.pending_total >= park.pending_total_max {
            return Ok(Parked::Full(QueueLimit::Total));
        }
        if self.known.pending_by_agent.get(agent).copied().unwrap_or(0) >= park.pending_per_agent_max {
            return Ok(Parked::Full(QueueLimit::PerAgent));
        }
        if approval.state != State::Pending || approval.version != 0 {
            return Err(corrupt("only a new, pending approval can be parked"));
        }
        rows::insert(self.conn, approval)?;
        if let Some(request) = &park.request {
            self.execute(
                "INSERT INTO requests (approval, sealed) VALUES (?1, ?2)",
                params![approval.id.to_string(), request.sealed],
            )?;
        }
        self.append(&approval::created(approval))?;
        self.known.note(agent, Change::Parked);
        Ok(Parked::Created(approval.clone()))
    }

    fn same_as(&self, new: &Approval) -> Result<Vec<Approval>, Error> {
        let mut same: Vec<Approval> = Vec::new();
        let (agent, fingerprint) = (&new.subject.agent.0, new.subject.fingerprint.0);
        let mut read = |sql: &str, params: &[&dyn rusqlite::ToSql]| {
            let mut statement = self.conn.prepare_cached(sql).map_err(failed)?;
            let mut rows = statement.query(params).map_err(failed)?;
            while let Some(row) = rows.next().map_err(failed)? {
                let old = rows::decode_row(row)?;
                if same.iter().all(|other| other.id != old.id) {
                    same.push(old);
                }
            }
            Ok::<(), Error>(())
        };
        // The row's number grows as rows are added and stands at the end of each index: newest first without sorting.
        let by_call = "SELECT version, state, body FROM approvals INDEXED BY approvals_same \
                       WHERE agent = ?1 AND fingerprint = ?2 ORDER BY rowid DESC LIMIT ?3";
        read(by_call, params![agent, fingerprint, SAME_MAX])?;
        if let Some(key) = &new.subject.idempotency_key {
            let by_key = "SELECT version, state, body FROM approvals INDEXED BY approvals_key \
                          WHERE agent = ?1 AND idempotency_key = ?2 ORDER BY rowid DESC LIMIT ?3";
            read(by_key, params![agent, key, SAME_MAX])?;
        }
        Ok(same)
    }

    pub(super) fn apply(&mut self, id: ApprovalId, command: &Command, now: Timestamp) -> Result<Applied, Error> {
        match rows::load(self.conn, id)? {
            Some(approval) => self.change(approval, command, now),
            None => Ok(Applied::Missing),
        }
    }

    fn change(&mut self, approval: Approval, command: &Command, now: Timestamp) -> Result<Applied, Error> {
        let Transition { next, event } = match transition(&approval, command, now) {
            Ok(Step::Change(change)) => *change,
            Ok(Step::Same) => return Ok(Applied::Same(approval)),
            Err(refusal) => return Ok(Applied::Refused(approval, refusal)),
        };
        if !rows::update(self.conn, &approval, &next)? {
            return Err(corrupt(format!("approval {} changed under its only writer", approval.id)));
        }
        if let Some(event) = event {
            self.append(&event)?;
        }
        if approval.state == State::Pending && next.state != State::Pending {
            self.known.note(&next.subject.agent.0, Change::Closed);
            self.accept_shown_definition(&next, now)?;
        }
        Ok(Applied::Changed(next))
    }

    pub(super) fn finish(
        &mut self,
        id: ApprovalId,
        command: &Command,
        result: Option<&StoredResult>,
        now: Timestamp,
    ) -> Result<Applied, Error> {
        let applied = self.apply(id, command, now)?;
        if let (Applied::Changed(_), Some(result)) = (&applied, result) {
            self.execute(
                "INSERT OR REPLACE INTO results (approval, expires_at, sealed) VALUES (?1, ?2, ?3)",
                params![id.to_string(), result.expires_at.as_millis(), result.sealed],
            )?;
        }
        Ok(applied)
    }

    /// Puts one record at the end of the trail.
    pub(super) fn append(&mut self, event: &Event) -> Result<(), Error> {
        let record = self.known.head.next(event);
        self.execute(
            "INSERT INTO audit (seq, approval, event, hash) VALUES (?1, ?2, ?3, ?4)",
            params![rows::integer(record.seq), event.approval.map(|id| id.to_string()), record.event, record.hash.0],
        )?;
        self.known.head = Head { seq: record.seq, hash: record.hash };
        Ok(())
    }

    /// Writes down where the trail ends; once for each group, before its commit.
    pub(super) fn write_head(&self) -> Result<(), Error> {
        let Head { seq, hash: ChainHash(hash) } = self.known.head;
        self.execute("UPDATE meta SET head_seq = ?1, head_hash = ?2", params![rows::integer(seq), hash])
    }

    /// Approvals that could still come to something: pending, approved and unsent, being sent.
    pub(super) fn unsettled(&self) -> Result<Vec<ApprovalId>, Error> {
        let sql = "SELECT id FROM approvals WHERE state = 'pending' \
                   OR (state = 'approved' AND execution IN ('held', 'releasing', 'failed')) ORDER BY id";
        let mut statement = self.conn.prepare(sql).map_err(failed)?;
        let ids = statement.query_map([], |row| row.get::<_, String>(0)).map_err(failed)?;
        ids.map(|text| rows::id(&text.map_err(failed)?)).collect()
    }

    /// Settles some of what [`query::in_flight`](super::query::in_flight) found.
    pub(super) fn recover(&mut self, ids: &[ApprovalId], now: Timestamp) -> Result<Recovery, Error> {
        let mut recovery = Recovery::default();
        for id in ids {
            let Some(mut approval) = rows::load(self.conn, *id)? else { continue };
            if matches!(approval.execution, Execution::Releasing { .. }) {
                let reason = "the gateway ended while the call was being sent".to_owned();
                if let Applied::Changed(next) = self.change(approval.clone(), &Command::LoseTrack { reason }, now)? {
                    recovery.unknown += 1;
                    approval = next;
                }
            }
            if approval.caller.waiting > 0 {
                recovery.left += 1;
            }
            while approval.caller.waiting > 0 {
                match self.change(approval.clone(), &Command::CallerLeft, now)? {
                    Applied::Changed(next) => approval = next,
                    Applied::Same(_) | Applied::Refused(..) | Applied::Missing => break,
                }
            }
        }
        Ok(recovery)
    }

    pub(super) fn forget(&mut self, now: Timestamp) -> Result<u64, Error> {
        let now = now.as_millis();
        let mut forgotten = 0;
        // As `rules::grant_lasts` has it, but for a clock that stands before the decision: such a grant is over by that clock only.
        // What is read from the body is read last, of grants that nobody has used.
        let spent = "DELETE FROM requests WHERE approval IN (SELECT r.approval FROM requests r \
                     JOIN approvals a ON a.id = r.approval WHERE NOT (a.state = 'pending' \
                     OR (a.state = 'approved' AND (a.execution = 'releasing' \
                     OR (a.ready_at IS NOT NULL AND a.ready_until IS NULL) \
                     OR ((a.execution = 'held' OR (a.execution = 'failed' \
                     AND json_extract(a.body, '$.execution.failed.permit') = 'returned')) \
                     AND (a.waiting > 0 OR ?1 < a.closed_at + json_extract(a.body, '$.terms.grant_ttl.secs') * 1000 \
                     + json_extract(a.body, '$.terms.grant_ttl.nanos') / 1000000))))) LIMIT ?2)";
        let results = "DELETE FROM results WHERE approval IN \
                       (SELECT approval FROM results WHERE expires_at <= ?1 LIMIT ?2)";
        let sessions = "DELETE FROM sessions WHERE id_sha256 IN \
                        (SELECT id_sha256 FROM sessions WHERE expires_at <= ?1 LIMIT ?2)";
        for sql in [spent, results, sessions] {
            let mut statement = self.conn.prepare_cached(sql).map_err(failed)?;
            forgotten += statement.execute(params![now, FORGET_MAX]).map_err(failed)? as u64;
        }
        Ok(forgotten)
    }

    pub(super) fn open_session(&mut self, session: &Session, event: &Event) -> Result<(), Error> {
        self.execute(
            "INSERT INTO sessions (id_sha256, reviewer, csrf, expires_at) VALUES (?1, ?2, ?3, ?4)",
            params![session.id_sha256, session.reviewer, session.csrf, session.expires_at.as_millis()],
        )?;
        self.append(event)
    }

    /// Ending a session that is not there writes no record: nothing happened.
    pub(super) fn close_session(&mut self, id_sha256: [u8; 32], event: &Event) -> Result<(), Error> {
        let mut statement = self.conn.prepare_cached("DELETE FROM sessions WHERE id_sha256 = ?1").map_err(failed)?;
        match statement.execute([id_sha256]).map_err(failed)? {
            0 => Ok(()),
            _ => self.append(event),
        }
    }

    /// A write that changes nothing anybody reads.
    pub(super) fn probe(&mut self) -> Result<(), Error> {
        self.execute("UPDATE meta SET probes = probes + 1", [])
    }

    pub(super) fn execute(&self, sql: &str, params: impl rusqlite::Params) -> Result<(), Error> {
        let mut statement = self.conn.prepare_cached(sql).map_err(failed)?;
        statement.execute(params).map(|_| ()).map_err(failed)
    }
}

/// The group's transaction is gone; why.
pub(super) struct Broken(pub(super) String);

#[expect(clippy::needless_pass_by_value, reason = "used as a function for `map_err`")]
fn broken(error: rusqlite::Error) -> Broken {
    Broken(error.to_string())
}
