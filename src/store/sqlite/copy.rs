//! Copies of a store: a backup while a gateway serves it.
//!
//! The copy is one snapshot: what was committed before it began is in it, what came later is not. It takes no lock that a
//! writer waits for. The file appears under its name only when it is complete, on disk and checked.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::schema::{self, beside};
use super::{check, query};
use crate::domain::audit::{BadRecord, Head};
use crate::store::Error;

/// How many pages are copied at a time: between two steps nothing is held but the snapshot.
const STEP_PAGES: i32 = 4096;
/// How often a step that found the copy locked is tried again, and how long after.
const BUSY_RETRIES: u32 = 100;
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// A copy of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Where its trail ends.
    pub head: Head,
    /// Its schema.
    pub schema: u32,
    /// Its size.
    pub bytes: u64,
    /// The first record of its trail that is not as it was written, if there is one: so it was in the store.
    pub bad: Option<BadRecord>,
}

/// Why there is no copy, or none was restored.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The store, or the file that should hold one, cannot be used.
    #[error(transparent)]
    Store(#[from] Error),
    /// The file is there.
    #[error("`{}` is there already, and nothing is overwritten: name another file", .0.display())]
    Exists(PathBuf),
    /// A file cannot be made, synchronised or named.
    #[error("`{}`: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What should be restored is damaged.
    #[error("the audit trail in `{}` is damaged and is not restored: {bad}", path.display())]
    Trail {
        /// The backup.
        path: PathBuf,
        /// The first bad record.
        bad: BadRecord,
    },
    /// There is a store in the place.
    #[error(
        "`{}` holds something already ({holds}): with `--force` it is set aside, under a name of its own, and replaced",
        path.display()
    )]
    NotEmpty {
        /// The store's file.
        path: PathBuf,
        /// What it holds.
        holds: String,
    },
    /// The backup is the store.
    #[error("`{}` is the store itself: name the backup", .0.display())]
    Same(PathBuf),
}

/// Copies the store at `from` into the new file `to`, readable by its owner alone. A gateway may serve the store meanwhile.
///
/// # Errors
/// [`CopyError`]; then there is no file `to`. A trail that is damaged is copied as it is: see [`Copied::bad`].
pub fn backup(from: &Path, to: &Path) -> Result<Copied, CopyError> {
    // A name that is taken is taken by whoever made it; this one is ours until the copy replaces it.
    create_new(to).map_err(|error| exists_or_failed(to, error))?;
    let partial = beside(to, ".partial");
    let copied = fresh(&partial).and_then(|()| copy_and_check(from, &partial)).and_then(|copied| {
        put(&partial, to)?;
        Ok(copied)
    });
    if copied.is_err() {
        remove_with_logs(&partial);
        drop(std::fs::remove_file(to));
    }
    copied
}

fn copy_and_check(from: &Path, partial: &Path) -> Result<Copied, CopyError> {
    let (source, schema) = schema::looker(from)?;
    let snapshot = snapshot_into(&source, partial)?;
    drop(source);
    let conn = schema::raw(partial)?;
    let failed = |error| CopyError::Store(schema::at(partial, error));
    // One file without a log beside it, that opens from a read-only medium as well.
    let mode: String =
        conn.pragma_update_and_check(None, "journal_mode", "delete", |row| row.get(0)).map_err(failed)?;
    if mode != "delete" {
        return Err(super::unavailable(format!("{}: its journal mode stays `{mode}`", partial.display())).into());
    }
    check::file(&conn)?;
    let (head, bad) = match check::trail(&conn, None)? {
        Ok(head) => (head, None),
        Err(bad) => (snapshot, Some(bad)),
    };
    drop(conn);
    let bytes = std::fs::metadata(partial).map_err(|source| file_error(partial, source))?.len();
    Ok(Copied { head, schema, bytes, bad })
}

/// Copies one snapshot of `source` into the empty file `to`; where its trail ends.
pub(super) fn snapshot_into(source: &Connection, to: &Path) -> Result<Head, Error> {
    let failed = |error| schema::at(to, error);
    // Reading inside a transaction pins the snapshot for all steps; without it a writer would make the copy start over.
    source.execute_batch("BEGIN").map_err(failed)?;
    let head = query::audit_head(source);
    let copied = head.and_then(|head| {
        let mut conn = schema::raw(to)?;
        let backup = Backup::new(source, &mut conn).map_err(failed)?;
        let mut retries = 0;
        loop {
            match backup.step(STEP_PAGES).map_err(failed)? {
                StepResult::Done => return Ok(head),
                StepResult::Busy | StepResult::Locked if retries < BUSY_RETRIES => {
                    retries += 1;
                    std::thread::sleep(BUSY_PAUSE);
                }
                StepResult::Busy | StepResult::Locked => {
                    return Err(super::unavailable(format!("{}: it stays locked", to.display())));
                }
                _ => {}
            }
        }
    });
    source.execute_batch("COMMIT").map_err(failed)?;
    copied
}

/// Makes the file anew: what stands there is left from a run that was cut off.
pub(super) fn fresh(path: &Path) -> Result<(), CopyError> {
    remove_with_logs(path);
    create_new(path).map_err(|error| exists_or_failed(path, error))
}

fn create_new(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(|_| ())
}

fn exists_or_failed(path: &Path, error: io::Error) -> CopyError {
    match error.kind() {
        io::ErrorKind::AlreadyExists => CopyError::Exists(path.to_owned()),
        _ => file_error(path, error),
    }
}

/// Puts a finished file under its name, for good.
pub(super) fn put(partial: &Path, to: &Path) -> Result<(), CopyError> {
    File::open(partial).and_then(|file| file.sync_all()).map_err(|source| file_error(partial, source))?;
    std::fs::rename(partial, to).map_err(|source| file_error(to, source))?;
    let folder = to.parent().unwrap_or(Path::new(""));
    schema::sync_folder(folder).map_err(|source| file_error(folder, source))
}

pub(super) fn remove_with_logs(path: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        // Usually there is none.
        drop(std::fs::remove_file(beside(path, suffix)));
    }
}

pub(super) fn file_error(path: &Path, source: io::Error) -> CopyError {
    CopyError::File { path: path.to_owned(), source }
}
