//! Opening the file: permissions, the lock against a second process, pragmas, migrations.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use super::rows::{corrupt, unavailable};
use crate::store::Error;

/// `HPNT`: tells this store's files from other programs' SQLite files.
const APPLICATION_ID: i32 = 0x4850_4e54;
/// Each is one transaction; the schema's number is how many of them a file has been through.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/sqlite/0001_approvals.sql"),
    include_str!("../../../migrations/sqlite/0002_keys_ends_and_tools.sql"),
];
/// The schema that this binary writes.
pub(super) const KNOWN: u32 = MIGRATIONS.len() as u32;
/// How long to wait for a lock that another program (a backup, a shell) holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// To what size the log is cut back once it has been written into the database.
const LOG_BYTES_MAX: i64 = 64 * 1024 * 1024;
/// Pages that the writer keeps in memory, in KiB: the indexes over random hashes are written all over.
const WRITER_CACHE_KIB: u32 = 32 * 1024;
/// Prepared statements kept for each connection; more than there are.
const STATEMENTS_MAX: usize = 64;

/// The right to write to one file. The operating system takes it back when the process ends, however it ends.
pub(super) struct FileLock {
    _file: File,
}

/// Makes the file if there is none, readable by its owner alone, and returns its one true path.
///
/// A missing folder is made, but not the folders above it: those are more likely a spelling mistake.
pub(super) fn create(path: &Path) -> Result<PathBuf, Error> {
    let failed = |what: &str, error: io::Error| unavailable(format!("{}: {what}: {error}", path.display()));
    create_folder(path)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed("cannot create the file", error)),
    }
    let path = std::fs::canonicalize(path).map_err(|error| failed("cannot find the file", error))?;
    if path.is_file() { Ok(path) } else { Err(unavailable(format!("{}: not a file", path.display()))) }
}

/// Makes the folder of the file `path` if there is none.
pub(super) fn create_folder(path: &Path) -> Result<(), Error> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) else {
        return Ok(());
    };
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(folder)
        .and_then(|()| sync_folder(folder.parent().unwrap_or(folder)))
        .map_err(|error| unavailable(format!("the folder `{}` cannot be created: {error}", folder.display())))
}

/// A power cut must not lose the name of a folder whose contents were acknowledged. (SQLite does the same for the file.)
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

/// Hands `file` to whoever owns the store at `path`, or its folder when there is none: a command that root runs must not
/// leave files that the gateway cannot open.
pub(super) fn give_to_owner_of(path: &Path, file: &Path) -> Result<(), Error> {
    let failed = |error: io::Error| unavailable(format!("{}: cannot be given to its owner: {error}", file.display()));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let owner = std::fs::metadata(path).or_else(|_| std::fs::metadata(folder)).map_err(failed)?;
    let found = std::fs::metadata(file).map_err(failed)?;
    if (found.uid(), found.gid()) == (owner.uid(), owner.gid()) {
        return Ok(());
    }
    match std::os::unix::fs::chown(file, Some(owner.uid()), Some(owner.gid())) {
        // Only root may give files away, and not to owners from outside its container; anybody else uses the store as far as
        // its owner lets them.
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput) => Ok(()),
        other => other.map_err(failed),
    }
}

/// Takes the lock beside the file, or says that another process has it.
pub(super) fn lock(path: &Path) -> Result<FileLock, Error> {
    let lock = beside(path, ".lock");
    let failed = |error: io::Error| unavailable(format!("{}: cannot lock: {error}", lock.display()));
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock).map_err(failed)?;
    give_to_owner_of(path, &lock)?;
    match file.try_lock() {
        Ok(()) => Ok(FileLock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(Error::InUse),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// `path` with `suffix` behind its file name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The one connection that writes, its schema brought up to date.
pub(super) fn writer(path: &Path, bytes_max: Option<u64>) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = connect(path, flags)?;
    // Before anything is written: a file of a newer version, or of another program, stays as it is.
    let found = recognise(&conn, path)?;
    let mode: String =
        conn.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).map_err(|e| at(path, e))?;
    if mode != "wal" {
        return Err(unavailable(format!(
            "{}: its file system cannot share memory (journal mode `{mode}`)",
            path.display()
        )));
    }
    conn.execute_batch(&format!(
        // NORMAL would not sync at commit: an acknowledged decision could be lost. The writer checkpoints by itself.
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = {LOG_BYTES_MAX}; \
         PRAGMA cache_size = -{WRITER_CACHE_KIB};"
    ))
    .map_err(|error| at(path, error))?;
    migrate(&mut conn, found, path)?;
    if let Some(bytes_max) = bytes_max {
        limit(&conn, bytes_max).map_err(|error| at(path, error))?;
    }
    Ok(conn)
}

fn limit(conn: &Connection, bytes_max: u64) -> rusqlite::Result<()> {
    let page_bytes: i64 = conn.pragma_query_value(None, "page_size", |row| row.get(0))?;
    // SQLite does not go below the pages that there are; then the next page is one too many.
    let pages = (super::rows::integer(bytes_max) / page_bytes.max(1)).max(1);
    conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
}

/// A connection that cannot write.
pub(super) fn reader(path: &Path) -> Result<Connection, Error> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.execute_batch("PRAGMA query_only = ON;").map_err(|error| at(path, error))?;
    match recognise(&conn, path)? {
        KNOWN => Ok(conn),
        found => Err(unavailable(format!(
            "{}: its schema is {found}, this version reads {KNOWN}: run `holdpoint migrate`",
            path.display()
        ))),
    }
}

/// A connection that cannot write, to a store of this schema or an earlier one; and which it is.
pub(super) fn looker(path: &Path) -> Result<(Connection, u32), Error> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.execute_batch("PRAGMA query_only = ON;").map_err(|error| at(path, error))?;
    match recognise(&conn, path)? {
        0 => Err(corrupt(format!("{} is empty: it holds no store", path.display()))),
        found => Ok((conn, found)),
    }
}

/// A connection that writes to a file as it is: no schema is asked for or made.
pub(super) fn raw(path: &Path) -> Result<Connection, Error> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, Error> {
    let conn = Connection::open_with_flags(path, flags).map_err(|error| at(path, error))?;
    conn.busy_timeout(BUSY_TIMEOUT).map_err(|error| at(path, error))?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(|error| at(path, error))?;
    // Without this a statement is planned anew for each value that is bound to it: a tenth of what a park costs.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(|error| at(path, error))?;
    conn.execute_batch(
        "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY;",
    )
    .map_err(|error| at(path, error))?;
    Ok(conn)
}

/// The file's schema number; 0 for an empty file.
fn recognise(conn: &Connection, path: &Path) -> Result<u32, Error> {
    let number = |pragma| conn.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let (application, version) =
        number("application_id").and_then(|id| Ok((id, number("user_version")?))).map_err(|error| at(path, error))?;
    let tables = conn
        .query_row("SELECT 1 FROM sqlite_schema LIMIT 1", [], |_| Ok(()))
        .optional()
        .map_err(|error| at(path, error))?;
    match (application, u32::try_from(version)) {
        (APPLICATION_ID, Ok(found)) if found > KNOWN => Err(Error::TooNew { found, known: KNOWN }),
        (APPLICATION_ID, Ok(found)) => Ok(found),
        (0, Ok(0)) if tables.is_none() => Ok(0),
        _ => Err(corrupt(format!("{} is another program's database: name another file", path.display()))),
    }
}

fn migrate(conn: &mut Connection, found: u32, path: &Path) -> Result<(), Error> {
    for (number, migration) in (1..).zip(MIGRATIONS).skip(found as usize) {
        let apply = |conn: &mut Connection| {
            let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(migration)?;
            // Both live in the file's header, which is part of the transaction: old schema or new, never half.
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", number)?;
            transaction.commit()
        };
        apply(conn).map_err(|error| at(path, error))?;
        tracing::info!(schema = number, path = %path.display(), "the store's schema is up to date");
    }
    Ok(())
}

pub(super) fn at(path: &Path, error: rusqlite::Error) -> Error {
    match super::rows::failed(error) {
        Error::Unavailable(what) => unavailable(format!("{}: {what}", path.display())),
        Error::Corrupt(what) => corrupt(format!("{}: {what}", path.display())),
        other => other,
    }
}
