//! Whether a file is whole: SQLite's own check, the audit chain, and that every approval can be read.

use rusqlite::Connection;
use serde::Deserialize;

use super::rows::{self, corrupt, failed};
use crate::domain::audit::{BadRecord, ChainHash, Fault, Head, Record, verify_from};
use crate::store::Error;

/// Reads the whole trail from one snapshot: every record follows the one before it, is filed under the approval that it is
/// about, and the last is the one that the store wrote down as the last. `anchor` is a record known from elsewhere.
pub(super) fn trail(conn: &Connection, anchor: Option<Head>) -> Result<Result<Head, BadRecord>, Error> {
    conn.execute_batch("BEGIN").map_err(failed)?;
    let found = within_snapshot(conn, anchor);
    conn.execute_batch("COMMIT").map_err(failed)?;
    found
}

fn within_snapshot(conn: &Connection, anchor: Option<Head>) -> Result<Result<Head, BadRecord>, Error> {
    let end = super::query::audit_head(conn)?;
    let mut statement = conn.prepare("SELECT seq, event, hash, approval FROM audit ORDER BY seq").map_err(failed)?;
    let mut found = statement.query([]).map_err(failed)?;
    let mut head = Head::EMPTY;
    let mut previous = ChainHash::GENESIS;
    while let Some(row) = found.next().map_err(failed)? {
        let record = Record {
            seq: rows::natural(row, 0).map_err(failed)?,
            event: row.get(1).map_err(failed)?,
            previous,
            hash: ChainHash(row.get(2).map_err(failed)?),
        };
        previous = record.hash;
        let filed_under: Option<String> = row.get(3).map_err(failed)?;
        if let Err(bad) = one(&mut head, record, filed_under.as_deref(), end, anchor) {
            return Ok(Err(bad));
        }
    }
    Ok(complete(head, end, anchor))
}

/// One record more.
fn one(
    head: &mut Head,
    record: Record,
    filed_under: Option<&str>,
    end: Head,
    anchor: Option<Head>,
) -> Result<(), BadRecord> {
    let (seq, about) = (record.seq, about(&record));
    *head = verify_from(*head, [record])?;
    let bad = |fault| Err(BadRecord { seq, fault });
    if seq > end.seq {
        bad(Fault::Added)
    } else if anchor.is_some_and(|anchor| anchor.seq == seq && anchor.hash != head.hash) {
        bad(Fault::Replaced)
    } else if filed_under != about.as_deref() {
        bad(Fault::Misfiled)
    } else {
        Ok(())
    }
}

fn complete(head: Head, end: Head, anchor: Option<Head>) -> Result<Head, BadRecord> {
    let known = anchor.map_or(end.seq, |anchor| end.seq.max(anchor.seq));
    if head.seq < known {
        Err(BadRecord { seq: head.seq + 1, fault: Fault::CutOff })
    } else if head.hash != end.hash {
        Err(BadRecord { seq: head.seq, fault: Fault::Replaced })
    } else {
        Ok(head)
    }
}

/// The approval that an event says it is about. An event that cannot be read names none.
fn about(record: &Record) -> Option<String> {
    #[derive(Deserialize)]
    struct About {
        approval: Option<String>,
    }
    serde_json::from_str::<About>(&record.event).ok()?.approval
}

/// SQLite's check of pages, indexes and constraints.
pub(super) fn file(conn: &Connection) -> Result<(), Error> {
    let said: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if said != "ok" {
        return Err(corrupt(format!("the integrity check says: {said}")));
    }
    let mut statement = conn.prepare("PRAGMA foreign_key_check").map_err(failed)?;
    let orphan: Option<String> = match statement.query([]).map_err(failed)?.next().map_err(failed)? {
        Some(row) => Some(row.get(0).map_err(failed)?),
        None => None,
    };
    match orphan {
        Some(table) => Err(corrupt(format!("a row of `{table}` belongs to no approval"))),
        None => Ok(()),
    }
}

/// Every approval can be read and agrees with the columns beside it.
pub(super) fn approvals(conn: &Connection) -> Result<u64, Error> {
    let mut statement = conn.prepare("SELECT version, state, body FROM approvals").map_err(failed)?;
    let mut found = statement.query([]).map_err(failed)?;
    let mut count = 0;
    while let Some(row) = found.next().map_err(failed)? {
        rows::decode_row(row)?;
        count += 1;
    }
    Ok(count)
}
