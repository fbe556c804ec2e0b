//! What operators do to a store that no gateway is using: upgrades, and sealing anew under another key.

use std::path::Path;

use rusqlite::Connection;

use super::ledger::{Known, Ledger};
use super::rows::{self, failed};
use super::schema;
use crate::domain::approval::{Command, Doubt};
use crate::domain::id::ApprovalId;
use crate::domain::time::Timestamp;
use crate::store::{Applied, Error};

/// How many sealed messages are written anew in one transaction.
const BATCH: u32 = 200;

/// Where what is sealed is kept.
const TABLES: [&str; 2] = ["requests", "results"];

/// The schema that this version writes.
pub const SCHEMA: u32 = schema::KNOWN;

/// The schema of the store at `path`. Nothing is changed, and a gateway may serve it.
///
/// # Errors
/// [`Error::TooNew`], [`Error::Corrupt`] when it is no store, [`Error::Unavailable`] when it cannot be read.
pub fn schema_of(path: &Path) -> Result<u32, Error> {
    schema::looker(path).map(|(_, found)| found)
}

/// A store that exists, taken for the time of some upkeep.
pub struct Upkeep {
    conn: Connection,
    _lock: schema::FileLock,
}

/// What sealing anew came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Messages written anew.
    pub resealed: u64,
    /// Approvals whose stored request no key at hand opens.
    pub lost_requests: Vec<ApprovalId>,
    /// Approvals whose kept answer no key at hand opens.
    pub lost_results: Vec<ApprovalId>,
}

impl Upkeep {
    /// Takes the store and brings its schema up to date: each step in one transaction, so that a crash leaves the old
    /// schema or the new one. Makes no store where there is none.
    ///
    /// # Errors
    /// As [`super::SqliteStore::open`].
    pub fn begin(path: &Path) -> Result<Self, Error> {
        let path = std::fs::canonicalize(path)
            .map_err(|error| rows::unavailable(format!("{}: cannot find the file: {error}", path.display())))?;
        let lock = schema::lock(&path)?;
        schema::looker(&path)?;
        Ok(Self { conn: schema::writer(&path, None)?, _lock: lock })
    }

    /// Writes everything that is sealed anew, as `seal` makes it; what `seal` cannot open is left and listed.
    ///
    /// # Errors
    /// A store that cannot be read or written. What was written anew before stays so; both ways can be opened.
    pub fn reseal(&mut self, seal: impl Fn(ApprovalId, &[u8]) -> Option<Vec<u8>>) -> Result<Resealed, Error> {
        let mut done = Resealed::default();
        for table in TABLES {
            let mut after = String::new();
            loop {
                let batch = self.batch(table, &after)?;
                let Some((last, _)) = batch.last() else { break };
                after.clone_from(last);
                let transaction = self.conn.transaction().map_err(failed)?;
                for (approval, sealed) in batch {
                    let id = rows::id(&approval)?;
                    match seal(id, &sealed) {
                        Some(anew) => {
                            let sql = format!("UPDATE {table} SET sealed = ?1 WHERE approval = ?2");
                            transaction.execute(&sql, (anew, approval)).map_err(failed)?;
                            done.resealed += 1;
                        }
                        None if table == "requests" => done.lost_requests.push(id),
                        None => done.lost_results.push(id),
                    }
                }
                transaction.commit().map_err(failed)?;
            }
        }
        Ok(done)
    }

    fn batch(&self, table: &str, after: &str) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let sql = format!("SELECT approval, sealed FROM {table} WHERE approval > ?1 ORDER BY approval LIMIT {BATCH}");
        let mut statement = self.conn.prepare(&sql).map_err(failed)?;
        let rows = statement.query_map([after], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }

    /// Gives up what no key opens: closes the approvals whose stored request is lost, as far as they are open, and deletes
    /// what cannot be read. One transaction. How many approvals were closed.
    ///
    /// # Errors
    /// A store that cannot be read or written; then nothing has changed.
    pub fn give_up(&mut self, lost: &Resealed, reason: &str, now: Timestamp) -> Result<u64, Error> {
        let mut known = Known::load(&self.conn)?;
        let transaction = self.conn.transaction().map_err(failed)?;
        let mut ledger = Ledger { conn: &transaction, known: &mut known };
        let command = Command::Void { reason: reason.to_owned(), doubt: Doubt::None };
        let mut closed = 0;
        for id in &lost.lost_requests {
            if let Applied::Changed(_) = ledger.apply(*id, &command, now)? {
                closed += 1;
            }
        }
        for (table, ids) in [("requests", &lost.lost_requests), ("results", &lost.lost_results)] {
            for id in ids {
                let sql = format!("DELETE FROM {table} WHERE approval = ?1");
                transaction.execute(&sql, [id.to_string()]).map_err(failed)?;
            }
        }
        ledger.write_head()?;
        transaction.commit().map_err(failed)?;
        Ok(closed)
    }

    /// Writes the log into the database and lets the store go.
    ///
    /// # Errors
    /// A log that cannot be written into the database; it is kept and written at the next start.
    pub fn end(self) -> Result<(), Error> {
        self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)
    }
}

/// One sealed message for each key that sealed any.
pub(super) fn one_of_each_key(conn: &Connection) -> Result<Vec<(ApprovalId, Vec<u8>)>, Error> {
    let mut samples = Vec::new();
    for table in TABLES {
        let sql = format!("SELECT DISTINCT substr(sealed, 1, 2) FROM {table}");
        let mut statement = conn.prepare(&sql).map_err(failed)?;
        let keys = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).map_err(failed)?;
        let keys: Vec<Vec<u8>> = keys.collect::<Result<_, _>>().map_err(failed)?;
        for key in keys {
            let sql = format!("SELECT approval, sealed FROM {table} WHERE substr(sealed, 1, 2) = ?1 LIMIT 1");
            let sample = rows::one(conn, &sql, [key], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
            if let Some((approval, sealed)) = sample {
                samples.push((rows::id(&approval)?, sealed));
            }
        }
    }
    Ok(samples)
}
