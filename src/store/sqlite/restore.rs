//! Putting a backup in the place of a store.
//!
//! A backup is the past. What was pending in it may have been approved and sent since, and a grant in it may have been used:
//! nothing in it may ever be sent again on the strength of what it says. So everything that could still come to something is
//! closed, with a record of each, before the restored file gets the store's name; what may have been sent is called unknown.
//! Sessions end, because they may have been ended. Until that one rename the old store stands.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::copy::{CopyError, file_error, fresh, put, remove_with_logs, snapshot_into};
use super::ledger::{Known, Ledger};
use super::rows::{self, failed};
use super::schema::{self, beside};
use super::{check, query};
use crate::domain::approval::{Command, Doubt, Execution, Status};
use crate::domain::audit::{Actor, Event, EventKind, Head};
use crate::domain::id::ApprovalId;
use crate::domain::time::Timestamp;
use crate::store::{Applied, Error};

/// What happens to a store that stands in the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// It stays, and nothing is restored.
    #[default]
    Keep,
    /// It gets another name.
    SetAside,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Where the trail of the backup ends; what followed is not in the store.
    pub backup: Head,
    /// The time of the newest record in the backup; `None` in an empty one.
    pub newest: Option<Timestamp>,
    /// Approvals in all.
    pub approvals: u64,
    /// What was pending and is cancelled.
    pub cancelled: Vec<ApprovalId>,
    /// What was approved and unsent, or being sent, and is unknown.
    pub unknown: Vec<ApprovalId>,
    /// Approved, unsent, and past its grant when the backup was made: closed as not sent.
    pub lapsed: u64,
    /// Where the store is now that stood in the place.
    pub set_aside: Option<PathBuf>,
}

/// Puts the backup `from` in the place of the store at `path`.
///
/// # Errors
/// [`CopyError`]; then the store is as it was. [`Error::InUse`] while a gateway runs on it.
pub fn restore(path: &Path, from: &Path, existing: Existing, now: Timestamp) -> Result<Restored, CopyError> {
    schema::create_folder(path)?;
    let path = true_path(path)?;
    let from = std::fs::canonicalize(from).map_err(|source| file_error(from, source))?;
    if from == path {
        return Err(CopyError::Same(path));
    }
    let _lock = schema::lock(&path)?;
    let stands = holds(&path);
    if let (Some(holds), Existing::Keep) = (&stands, existing) {
        return Err(CopyError::NotEmpty { path, holds: holds.clone() });
    }
    let new = beside(&path, ".restoring");
    fresh(&new)?;
    let restored = prepare(&new, &from, &path, now).and_then(|mut restored| {
        if stands.is_some() {
            restored.set_aside = Some(set_aside(&path, now)?);
        }
        // A log of the old file beside the new one would be read as the new one's.
        for suffix in ["-wal", "-shm"] {
            drop(std::fs::remove_file(beside(&path, suffix)));
        }
        schema::give_to_owner_of(&path, &new)?;
        put(&new, &path)?;
        Ok(restored)
    });
    if restored.is_err() {
        remove_with_logs(&new);
    }
    restored
}

/// The path of a file that need not be there.
fn true_path(path: &Path) -> Result<PathBuf, CopyError> {
    if path.exists() {
        return std::fs::canonicalize(path).map_err(|source| file_error(path, source));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = std::fs::canonicalize(folder).map_err(|source| file_error(folder, source))?;
    match path.file_name() {
        Some(name) => Ok(folder.join(name)),
        None => Err(file_error(path, std::io::Error::other("this names no file"))),
    }
}

/// What stands in the place; `None` when nothing is lost with it.
fn holds(path: &Path) -> Option<String> {
    let length = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    if length(path) == 0 && length(&beside(path, "-wal")) == 0 {
        return None;
    }
    match schema::looker(path).and_then(|(conn, _)| query::audit_head(&conn)) {
        Ok(head) if head.seq == 0 => None,
        Ok(head) => Some(format!("a trail of {} records", head.seq)),
        Err(error) => Some(error.to_string()),
    }
}

/// Copies, checks, migrates and voids, all in the file `new`.
fn prepare(new: &Path, from: &Path, path: &Path, now: Timestamp) -> Result<Restored, CopyError> {
    let (source, _) = schema::looker(from)?;
    snapshot_into(&source, new)?;
    drop(source);
    let conn = schema::writer(new, None)?;
    check::file(&conn)?;
    let backup = match check::trail(&conn, None)? {
        Ok(head) => head,
        Err(bad) => return Err(CopyError::Trail { path: from.to_owned(), bad }),
    };
    let approvals = check::approvals(&conn)?;
    let replaced = schema::looker(path).and_then(|(conn, _)| query::audit_head(&conn)).ok();
    let mut known = Known::load(&conn)?;
    let failed_at = |error| CopyError::Store(schema::at(new, error));
    conn.execute_batch("BEGIN IMMEDIATE").map_err(failed_at)?;
    let mut ledger = Ledger { conn: &conn, known: &mut known };
    let restored = void_all(&mut ledger, backup, replaced, now)?;
    conn.execute_batch("COMMIT").map_err(failed_at)?;
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed_at)?;
    drop(conn);
    Ok(Restored { approvals, ..restored })
}

fn void_all(ledger: &mut Ledger<'_>, backup: Head, replaced: Option<Head>, now: Timestamp) -> Result<Restored, Error> {
    let newest = newest(ledger)?;
    ledger.append(&restored_event(backup, newest, replaced, now))?;
    let since = newest.unwrap_or(now);
    let reason = format!(
        "the store was restored from a backup whose newest record is of {since}: it may have been decided and sent since, \
         and must not be sent again on what the backup says"
    );
    let command = Command::Void { reason, doubt: Doubt::Since(since) };
    let mut restored = Restored {
        backup,
        newest,
        approvals: 0,
        cancelled: Vec::new(),
        unknown: Vec::new(),
        lapsed: 0,
        set_aside: None,
    };
    for id in ledger.unsettled()? {
        match ledger.apply(id, &command, now)? {
            Applied::Changed(approval) if approval.status() == Status::Cancelled => restored.cancelled.push(id),
            Applied::Changed(approval) if matches!(approval.execution, Execution::Failed { .. }) => {
                restored.lapsed += 1;
            }
            Applied::Changed(_) => restored.unknown.push(id),
            Applied::Same(_) | Applied::Refused(..) | Applied::Missing => {}
        }
    }
    // Nothing is sent from a stored request any more, and who signed out since stays signed out.
    ledger.conn.execute_batch("DELETE FROM requests; DELETE FROM sessions;").map_err(failed)?;
    ledger.write_head()?;
    Ok(restored)
}

fn restored_event(backup: Head, newest: Option<Timestamp>, replaced: Option<Head>, at: Timestamp) -> Event {
    let mut detail = serde_json::Map::new();
    detail.insert("backup".into(), json!({ "seq": backup.seq, "hash": backup.hash.to_string(), "newest_at": newest }));
    if let Some(head) = replaced.filter(|head| head.seq > 0) {
        detail.insert("replaced".into(), json!({ "seq": head.seq, "hash": head.hash.to_string() }));
    }
    Event { at, kind: EventKind::StoreRestored, actor: Actor::Gateway, approval: None, detail }
}

/// When the newest record was written.
fn newest(ledger: &Ledger<'_>) -> Result<Option<Timestamp>, Error> {
    let text =
        rows::one(ledger.conn, "SELECT event FROM audit ORDER BY seq DESC LIMIT 1", [], |row| row.get::<_, String>(0))?;
    #[derive(serde::Deserialize)]
    struct Dated {
        at: Timestamp,
    }
    let read = |text: String| serde_json::from_str::<Dated>(&text).map(|dated| dated.at);
    text.map(read).transpose().map_err(|error| rows::corrupt(format!("the newest record cannot be read: {error}")))
}

/// Gives the old store another name, with what its log holds. It stays under its own as well, until it is replaced.
fn set_aside(path: &Path, now: Timestamp) -> Result<PathBuf, CopyError> {
    // What is in the log goes into the file. A file that is no store stays as it is.
    if let Ok(conn) = schema::raw(path) {
        drop(conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
    }
    let aside = beside(path, &format!(".replaced-{}", now.as_millis()));
    std::fs::hard_link(path, &aside).map_err(|source| file_error(&aside, source))?;
    let log = beside(path, "-wal");
    if std::fs::metadata(&log).is_ok_and(|metadata| metadata.len() > 0) {
        let log_aside = beside(&aside, "-wal");
        std::fs::hard_link(&log, &log_aside).map_err(|source| file_error(&log_aside, source))?;
    }
    Ok(aside)
}
