//! The one thread that writes, and its group commit.
//!
//! It takes whatever requests are waiting, works each off in a savepoint of its own, commits them together, and only
//! then acknowledges any of them: one sync pays for all. With nobody else waiting a request is a group of one.
//!
//! What happens when it goes wrong:
//!
//! | when | the group is told | afterwards |
//! | --- | --- | --- |
//! | one request fails | that one, its own error; the others are committed | as before |
//! | the transaction breaks before its commit, or the disk is full at it | `Unavailable`: nothing was written | tries again with the next group |
//! | the commit or a checkpoint fails otherwise | `Unsure` | every write is `Unavailable` until a restart reads the file anew |

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::ledger::{Broken, Known, Ledger};
use super::rows::unavailable;
use crate::store::Error;

/// How many requests one transaction takes.
const GROUP_MAX: usize = 512;
/// After how many requests the log is written into the database: often enough that nobody waits for it for long.
const CHECKPOINT_EVERY: usize = 128;

/// One request: works in the group's transaction, or is told why there is none.
pub(super) type Job = Box<dyn FnOnce(Result<&mut Ledger<'_>, Error>) -> Result<Acknowledge, Broken> + Send>;
/// Tells whoever asked, once it is known whether the group is on disk.
type Acknowledge = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// A request and the place where its answer will be.
pub(super) fn job<T: Send + 'static>(
    work: impl FnOnce(&mut Ledger<'_>) -> Result<T, Error> + Send + 'static,
) -> (Job, oneshot::Receiver<Result<T, Error>>) {
    let (sender, receiver) = oneshot::channel();
    let job: Job = Box::new(move |ledger| {
        let done = match ledger {
            Ok(ledger) => match ledger.within_savepoint(work) {
                Ok(done) => done,
                Err(Broken(why)) => {
                    // Nobody listens when the caller is gone; what it asked for is undone all the same.
                    drop(sender.send(Err(unavailable(why.clone()))));
                    return Err(Broken(why));
                }
            },
            Err(error) => Err(error),
        };
        let acknowledge: Acknowledge = Box::new(move |committed| drop(sender.send(committed.and(done))));
        Ok(acknowledge)
    });
    (job, receiver)
}

/// The writing side of the store.
pub(super) struct Writer {
    conn: Connection,
    known: Known,
    /// Why nothing is written any more.
    untrusted: Option<String>,
    /// Told of it; dropped with the thread, it tells of its end too.
    distrusted: DropGuard,
    since_checkpoint: usize,
}

/// How a group ended.
enum Group {
    Committed,
    /// Nothing of it was written.
    Undone(String),
    /// It may have been written.
    Unsure(String),
}

impl Writer {
    /// `distrusted` is cancelled when nothing is written any more.
    pub(super) fn new(conn: Connection, distrusted: CancellationToken) -> Result<Self, Error> {
        let known = Known::load(&conn)?;
        Ok(Self { conn, known, untrusted: None, distrusted: distrusted.drop_guard(), since_checkpoint: 0 })
    }

    /// Works until every sender is gone and the queue is empty; then leaves the file without a log.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut jobs = Vec::with_capacity(GROUP_MAX);
        while queue.blocking_recv_many(&mut jobs, GROUP_MAX) > 0 {
            self.since_checkpoint += jobs.len();
            self.work_off(&mut jobs);
            if self.since_checkpoint >= CHECKPOINT_EVERY {
                self.checkpoint("PASSIVE");
            }
        }
        self.checkpoint("TRUNCATE");
    }

    fn work_off(&mut self, jobs: &mut Vec<Job>) {
        if let Some(why) = &self.untrusted {
            reject(jobs.drain(..), why);
            return;
        }
        if let Err(error) = self.execute("BEGIN IMMEDIATE") {
            reject(jobs.drain(..), &error.to_string());
            return;
        }
        let mut acknowledgements = Vec::with_capacity(jobs.len());
        let mut waiting = jobs.drain(..);
        let group = self.work_and_commit(&mut waiting, &mut acknowledgements);
        let told = match &group {
            Group::Committed => Ok(()),
            Group::Undone(why) => Err(unavailable(why.clone())),
            Group::Unsure(why) => Err(Error::Unsure(why.clone())),
        };
        match group {
            Group::Committed => {}
            Group::Undone(why) => self.start_over(&why),
            Group::Unsure(why) => self.distrust("commit", &why),
        }
        for acknowledge in acknowledgements {
            acknowledge(told.clone());
        }
        if let Err(error) = told {
            reject(waiting, &error.to_string());
        }
    }

    fn work_and_commit(
        &mut self,
        jobs: &mut impl Iterator<Item = Job>,
        acknowledgements: &mut Vec<Acknowledge>,
    ) -> Group {
        let before = self.known.head;
        let mut ledger = Ledger { conn: &self.conn, known: &mut self.known };
        for job in jobs {
            match job(Ok(&mut ledger)) {
                Ok(acknowledge) => acknowledgements.push(acknowledge),
                Err(Broken(why)) => return Group::Undone(why),
            }
        }
        if ledger.known.head != before
            && let Err(error) = ledger.write_head()
        {
            return Group::Undone(error.to_string());
        }
        match self.execute("COMMIT") {
            Ok(()) => Group::Committed,
            // Nothing can be on disk: the last page of a commit marks it, and that page found no room, or no lock.
            Err(error) if matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy)) => {
                Group::Undone(error.to_string())
            }
            Err(error) => Group::Unsure(error.to_string()),
        }
    }

    /// Takes back what is left of the transaction and reads anew what the file holds.
    fn start_over(&mut self, why: &str) {
        tracing::error!(why, "the store could not write; what was asked is refused");
        if !self.conn.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            self.distrust("rollback", &error.to_string());
            return;
        }
        match Known::load(&self.conn) {
            Ok(known) => self.known = known,
            Err(error) => self.distrust("reading", &error.to_string()),
        }
    }

    /// After a failed sync the kernel may have dropped the pages it could not write, and a second sync would succeed
    /// without them. So nothing more is built on this handle.
    fn distrust(&mut self, what: &str, why: &str) {
        tracing::error!(what, why, "the store is not trusted any more; restart once the disk is sound");
        if !self.conn.is_autocommit() {
            // Its answer changes nothing: the handle is not used again.
            drop(self.execute("ROLLBACK"));
        }
        self.untrusted = Some(format!("{what} failed: {why}"));
        self.distrusted.token().cancel();
    }

    fn checkpoint(&mut self, mode: &str) {
        if self.untrusted.is_some() {
            return;
        }
        self.since_checkpoint = 0;
        match self.conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get::<_, i64>(0)) {
            Ok(_) => {}
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) => {
                self.distrust("checkpoint", &error.to_string());
            }
            // The log keeps what could not be moved; the next checkpoint moves it.
            Err(error) => tracing::warn!(%error, "the store's log could not be written into the database"),
        }
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.conn.prepare_cached(sql)?.execute([]).map(|_| ())
    }
}

fn reject(jobs: impl Iterator<Item = Job>, why: &str) {
    for job in jobs {
        if let Ok(acknowledge) = job(Err(unavailable(why))) {
            acknowledge(Ok(()));
        }
    }
}
