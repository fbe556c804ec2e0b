//! Approvals as rows, and SQLite's errors as the store's.

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};

use crate::domain::approval::{Approval, rules};
use crate::domain::id::ApprovalId;
use crate::domain::time::Timestamp;
use crate::store::Error;

pub(super) fn unavailable(what: impl Into<String>) -> Error {
    Error::Unavailable(what.into())
}

pub(super) fn corrupt(what: impl Into<String>) -> Error {
    Error::Corrupt(what.into())
}

/// Whose fault it is: the disk's and its neighbours', or what is written on it.
#[expect(clippy::needless_pass_by_value, reason = "used as a function for `map_err`")]
pub(super) fn failed(error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch
            | ErrorCode::TooBig,
        ) => corrupt(error.to_string()),
        Some(_) => unavailable(error.to_string()),
        // Not from SQLite: a row that could not be read as what it must be.
        None => corrupt(error.to_string()),
    }
}

/// A count or a sequence number from a row: SQLite has signed integers only.
pub(super) fn natural(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// As SQLite keeps it; what is beyond 2^63 compares as the largest there is.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The columns that repeat what is in the body and change with it.
struct Moving {
    version: i64,
    state: &'static str,
    execution: Option<&'static str>,
    waiting: u32,
    closed_at: Option<i64>,
    ready_at: Option<i64>,
    ready_until: Option<i64>,
    body: String,
}

impl Moving {
    fn of(approval: &Approval) -> Result<Self, Error> {
        let ready = rules::ready(approval);
        Ok(Self {
            version: integer(approval.version),
            state: approval.status().as_str(),
            execution: approval.execution.as_str(),
            waiting: approval.caller.waiting,
            closed_at: approval.state.closed_at().map(Timestamp::as_millis),
            ready_at: ready.map(|(from, _)| from.as_millis()),
            ready_until: ready.and_then(|(_, until)| until).map(Timestamp::as_millis),
            body: serde_json::to_string(approval).map_err(|error| corrupt(error.to_string()))?,
        })
    }
}

pub(super) fn insert(conn: &Connection, approval: &Approval) -> Result<(), Error> {
    let moving = Moving::of(approval)?;
    let (subject, terms) = (&approval.subject, &approval.terms);
    let sql = "INSERT INTO approvals (id, version, state, execution, waiting, closed_at, ready_at, ready_until, body, \
               agent, name, rule, risk, trace_id, idempotency_key, fingerprint, created_at, sla_at, expires_at) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";
    let mut statement = conn.prepare_cached(sql).map_err(failed)?;
    let written = statement.execute(params![
        approval.id.to_string(),
        moving.version,
        moving.state,
        moving.execution,
        moving.waiting,
        moving.closed_at,
        moving.ready_at,
        moving.ready_until,
        moving.body,
        subject.agent.0,
        subject.name,
        terms.rule,
        terms.risk.as_str(),
        subject.trace_id,
        subject.idempotency_key,
        subject.fingerprint.0,
        approval.created_at.as_millis(),
        terms.sla_at.map(Timestamp::as_millis),
        terms.expires_at.as_millis(),
    ]);
    written.map(|_| ()).map_err(failed)
}

/// Writes `next` over exactly the version and state that it was computed from; false when another was there.
pub(super) fn update(conn: &Connection, before: &Approval, next: &Approval) -> Result<bool, Error> {
    let moving = Moving::of(next)?;
    let sql = "UPDATE approvals SET version = ?1, state = ?2, execution = ?3, waiting = ?4, closed_at = ?5, \
               ready_at = ?6, ready_until = ?7, body = ?8 WHERE id = ?9 AND version = ?1 - 1 AND state = ?10";
    let mut statement = conn.prepare_cached(sql).map_err(failed)?;
    let written = statement.execute(params![
        moving.version,
        moving.state,
        moving.execution,
        moving.waiting,
        moving.closed_at,
        moving.ready_at,
        moving.ready_until,
        moving.body,
        before.id.to_string(),
        before.status().as_str(),
    ]);
    written.map(|rows| rows == 1).map_err(failed)
}

/// Reads `version, state, body`. A body that disagrees with the columns beside it was not written by this store.
pub(super) fn decode(version: u64, state: &str, body: &str) -> Result<Approval, Error> {
    let approval: Approval =
        serde_json::from_str(body).map_err(|error| corrupt(format!("an approval cannot be read: {error}")))?;
    if approval.version == version && approval.status().as_str() == state {
        Ok(approval)
    } else {
        Err(corrupt(format!("approval {} does not match the columns beside it", approval.id)))
    }
}

/// As [`decode`], from columns `0..3` of a row.
pub(super) fn decode_row(row: &Row<'_>) -> Result<Approval, Error> {
    let version = natural(row, 0).map_err(failed)?;
    let state = row.get_ref(1).map_err(failed)?.as_str().map_err(|error| corrupt(error.to_string()))?;
    let body = row.get_ref(2).map_err(failed)?.as_str().map_err(|error| corrupt(error.to_string()))?;
    decode(version, state, body)
}

pub(super) fn load(conn: &Connection, id: ApprovalId) -> Result<Option<Approval>, Error> {
    let mut statement =
        conn.prepare_cached("SELECT version, state, body FROM approvals WHERE id = ?1").map_err(failed)?;
    let mut rows = statement.query([id.to_string()]).map_err(failed)?;
    rows.next().map_err(failed)?.map(decode_row).transpose()
}

/// An id from a column of text.
pub(super) fn id(text: &str) -> Result<ApprovalId, Error> {
    text.parse().map_err(|_| corrupt(format!("`{text}` is not an approval's id")))
}

/// One row or none.
pub(super) fn one<T>(
    conn: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, Error> {
    let mut statement = conn.prepare_cached(sql).map_err(failed)?;
    statement.query_row(params, read).optional().map_err(failed)
}
