//! The embedded store: SQLite in one file, for one process.
//!
//! One thread writes, with group commit and a full sync before it acknowledges; a few threads read. The file is opened
//! by one process at a time ([`Error::InUse`]); programs that only look use [`SqliteStore::open_read_only`].
//!
//! It does not decide anything, does not encrypt (requests and results arrive sealed), and never deletes an approval or
//! a record of the trail.

mod check;
mod copy;
mod ledger;
mod query;
mod reader;
mod restore;
mod rows;
mod schema;
mod tools;
mod upkeep;
mod writer;

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::tools::{AcceptTool, Listed, ListedUpstream, Listing, ToolAccepted, ToolFilter, ToolPage};
use super::{
    Applied, AuditFilter, Error, Filter, Page, Park, Parked, QueueFigures, Recovery, Session, Store, StoreSize,
    StoredRequest, StoredResult,
};
use crate::domain::approval::{Approval, Command};
use crate::domain::audit::{BadRecord, Event, Head, Record};
use crate::domain::id::ApprovalId;
use crate::domain::time::Timestamp;
use crate::domain::tools::Tool;
use ledger::Ledger;
use reader::Readers;
use rows::unavailable;

pub use copy::{Copied, CopyError, backup};
pub use restore::{Existing, Restored, restore};
pub use upkeep::{Resealed, SCHEMA, Upkeep, schema_of};

/// How many writes may wait for the writer; whoever comes then waits for room.
const QUEUE_MAX: usize = 4096;
/// How many approvals one request settles after a start. Each request keeps what it changes until it ends, to undo it, and every
/// statement in it walks along that: one request for a long queue would take minutes.
const RECOVER_MAX: usize = 32;
/// How many of those requests are asked for together, to be committed together.
const RECOVER_TOGETHER: usize = 16;

/// How the store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Threads that read, at least one; each has a connection of its own.
    pub readers: usize,
    /// How large the database may grow; a write beyond it is refused as on a full disk. `None`: as large as the disk.
    pub bytes_max: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { readers: 2, bytes_max: None }
    }
}

/// The store in one SQLite file.
///
/// Dropping it works off what is queued, writes the log into the database and ends its threads; it blocks that long.
pub struct SqliteStore {
    path: PathBuf,
    queue: Option<mpsc::Sender<writer::Job>>,
    writer: Option<JoinHandle<()>>,
    distrusted: CancellationToken,
    readers: Readers,
    // Last, so that it is let go of when nothing writes any more.
    _lock: Option<schema::FileLock>,
}

impl SqliteStore {
    /// Opens the store, and makes it (readable by its owner alone) when there is none. Brings an older schema up to
    /// date; checks that the audit trail ends where it should.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process has it, [`Error::TooNew`] when a newer version made it,
    /// [`Error::Corrupt`] when it is no store or its trail was cut or edited at its end, and [`Error::Unavailable`]
    /// when folder, file or disk do not let it.
    pub fn open(path: &Path, options: Options) -> Result<Self, Error> {
        let path = schema::create(path)?;
        let lock = schema::lock(&path)?;
        let conn = schema::writer(&path, options.bytes_max)?;
        let distrusted = CancellationToken::new();
        let writer = writer::Writer::new(conn, distrusted.clone())?;
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let thread = std::thread::Builder::new().name("store-write".to_owned()).spawn(move || writer.run(jobs));
        let thread = thread.map_err(|error| unavailable(format!("cannot start a thread: {error}")))?;
        let readers = Self::start_readers(&path, options)?;
        Ok(Self { path, queue: Some(queue), writer: Some(thread), distrusted, readers, _lock: Some(lock) })
    }

    /// Opens a store that another process may be serving, to look at it. Checks nothing but the schema, so that a
    /// damaged trail can be examined. Every write is [`Error::Unavailable`].
    ///
    /// # Errors
    /// As [`SqliteStore::open`], and [`Error::Unavailable`] when there is no file or its schema is older.
    pub fn open_read_only(path: &Path, options: Options) -> Result<Self, Error> {
        let path = std::fs::canonicalize(path)
            .map_err(|error| unavailable(format!("{}: cannot find the file: {error}", path.display())))?;
        let readers = Self::start_readers(&path, options)?;
        Ok(Self { path, queue: None, writer: None, distrusted: CancellationToken::new(), readers, _lock: None })
    }

    /// Reads the whole audit trail from one snapshot; where it ends, or the first record that is not what was written. With
    /// an `anchor`, a record known from elsewhere, the trail must hold exactly that one.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn verify_trail(&self, anchor: Option<Head>) -> Result<Result<Head, BadRecord>, Error> {
        self.readers.read(move |conn| check::trail(conn, anchor)).await
    }

    /// One sealed message for each key that sealed any, with the approval it belongs to.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn one_of_each_key(&self) -> Result<Vec<(ApprovalId, Vec<u8>)>, Error> {
        self.readers.read(upkeep::one_of_each_key).await
    }

    /// Returns when nothing is written any more until the file is read anew: after a sync or a commit that failed in a way that
    /// leaves open what is on disk, or when the writing thread has ended.
    pub async fn distrusted(&self) {
        self.distrusted.cancelled().await;
    }

    /// Works off what is queued, writes the log into the database and ends the threads; blocks that long.
    pub fn close(self) {
        drop(self);
    }

    fn start_readers(path: &Path, options: Options) -> Result<Readers, Error> {
        let connections: Result<Vec<_>, _> = (0..options.readers.max(1)).map(|_| schema::reader(path)).collect();
        Readers::start(connections?)
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Ledger<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let queue = self.queue.as_ref().ok_or_else(|| unavailable("it is open for reading only"))?;
        let (job, answer) = writer::job(work);
        let stopped = || unavailable("its writer has stopped");
        queue.send(job).await.map_err(|_| stopped())?;
        // A writer that went away with the job in hand may or may not have committed it.
        answer.await.map_err(|_| Error::Unsure("its writer stopped".to_owned()))?
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // Readers first: a reader's snapshot would keep the log from being written into the database.
        self.readers.stop();
        self.queue = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the writing thread of the store panicked");
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn park(&self, park: Park, now: Timestamp) -> Result<Parked, Error> {
        self.write(move |ledger| ledger.park(&park, now)).await
    }

    async fn apply(&self, id: ApprovalId, command: Command, now: Timestamp) -> Result<Applied, Error> {
        self.write(move |ledger| ledger.apply(id, &command, now)).await
    }

    async fn finish(
        &self,
        id: ApprovalId,
        command: Command,
        result: Option<StoredResult>,
        now: Timestamp,
    ) -> Result<Applied, Error> {
        self.write(move |ledger| ledger.finish(id, &command, result.as_ref(), now)).await
    }

    async fn record(&self, event: Event) -> Result<(), Error> {
        self.write(move |ledger| ledger.append(&event)).await
    }

    async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, Error> {
        self.readers.read(move |conn| rows::load(conn, id)).await
    }

    async fn list(&self, filter: Filter, after: Option<ApprovalId>, limit: u32, now: Timestamp) -> Result<Page, Error> {
        self.readers.read(move |conn| query::list(conn, &filter, after, limit, now)).await
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<(ApprovalId, Timestamp)>, Error> {
        self.readers.read(move |conn| query::due(conn, now, limit)).await
    }

    async fn ready(&self, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>, Error> {
        self.readers.read(move |conn| query::ready(conn, now, limit)).await
    }

    async fn request(&self, id: ApprovalId) -> Result<Option<StoredRequest>, Error> {
        self.readers.read(move |conn| query::request(conn, id)).await
    }

    async fn result(&self, id: ApprovalId, now: Timestamp) -> Result<Option<StoredResult>, Error> {
        self.readers.read(move |conn| query::result(conn, id, now)).await
    }

    async fn figures(&self, now: Timestamp) -> Result<QueueFigures, Error> {
        self.readers.read(move |conn| query::figures(conn, now)).await
    }

    async fn audit(&self, filter: AuditFilter, limit: u32) -> Result<Vec<Record>, Error> {
        self.readers.read(move |conn| query::audit(conn, &filter, limit)).await
    }

    async fn audit_head(&self) -> Result<u64, Error> {
        self.readers.read(|conn| query::audit_head(conn).map(|head| head.seq)).await
    }

    async fn recover(&self, now: Timestamp) -> Result<Recovery, Error> {
        let found = self.readers.read(query::in_flight).await?;
        let mut recovery = Recovery::default();
        for many in found.chunks(RECOVER_MAX * RECOVER_TOGETHER) {
            let parts = many.chunks(RECOVER_MAX).map(|some| {
                let some = some.to_vec();
                self.write(move |ledger| ledger.recover(&some, now))
            });
            for part in try_join_all(parts).await? {
                recovery.unknown += part.unknown;
                recovery.left += part.left;
            }
        }
        Ok(recovery)
    }

    async fn forget(&self, now: Timestamp) -> Result<u64, Error> {
        self.write(move |ledger| ledger.forget(now)).await
    }

    async fn open_session(&self, session: Session, event: Event) -> Result<(), Error> {
        self.write(move |ledger| ledger.open_session(&session, &event)).await
    }

    async fn session(&self, id_sha256: [u8; 32], now: Timestamp) -> Result<Option<Session>, Error> {
        self.readers.read(move |conn| query::session(conn, id_sha256, now)).await
    }

    async fn close_session(&self, id_sha256: [u8; 32], event: Event) -> Result<(), Error> {
        self.write(move |ledger| ledger.close_session(id_sha256, &event)).await
    }

    async fn list_tools(&self, listing: Listing, now: Timestamp) -> Result<Listed, Error> {
        self.write(move |ledger| ledger.list_tools(&listing, now)).await
    }

    async fn accept_tool(&self, wanted: AcceptTool, now: Timestamp) -> Result<ToolAccepted, Error> {
        self.write(move |ledger| ledger.accept_tool(&wanted, now)).await
    }

    async fn tool(&self, upstream: String, name: String) -> Result<Option<Tool>, Error> {
        self.readers.read(move |conn| tools::one(conn, &upstream, &name)).await
    }

    async fn tools(&self, filter: ToolFilter, after: Option<(String, String)>, limit: u32) -> Result<ToolPage, Error> {
        self.readers.read(move |conn| tools::page(conn, &filter, after.as_ref(), limit)).await
    }

    async fn listed_upstreams(&self) -> Result<Vec<ListedUpstream>, Error> {
        self.readers.read(tools::upstreams).await
    }

    async fn check(&self) -> Result<(), Error> {
        self.write(|ledger| ledger.probe()).await
    }

    async fn size(&self) -> Result<StoreSize, Error> {
        let path = self.path.clone();
        let measure = move |conn: &rusqlite::Connection| {
            // A log that is not there has no bytes.
            let length = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
            let used_bytes = length(&path) + length(&schema::beside(&path, "-wal"));
            Ok(StoreSize { used_bytes, free_bytes: query::free_bytes(conn)? })
        };
        self.readers.read(measure).await
    }
}
