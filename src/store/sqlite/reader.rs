//! A few threads that read, each with a connection of its own that cannot write.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::rows::unavailable;
use crate::store::Error;

/// How many reads may wait for a thread; whoever comes then waits for room.
const QUEUE_MAX: usize = 256;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// The reading side of the store.
pub(super) struct Readers {
    queue: Option<mpsc::Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts one thread for each connection.
    pub(super) fn start(connections: Vec<Connection>) -> Result<Self, Error> {
        let (queue, jobs) = mpsc::channel::<Job>(QUEUE_MAX);
        let jobs = Arc::new(Mutex::new(jobs));
        let mut threads = Vec::with_capacity(connections.len());
        for conn in connections {
            let jobs = Arc::clone(&jobs);
            let work = move || {
                // Whoever holds the lock waits for the next read; the others wait for the lock. It is let go of before
                // the read begins. A poisoned lock means that a thread panicked while waiting: stop as it did.
                while let Some(job) = jobs.lock().ok().and_then(|mut jobs| jobs.blocking_recv()) {
                    job(&conn);
                }
            };
            let thread = std::thread::Builder::new().name("store-read".to_owned()).spawn(work);
            threads.push(thread.map_err(|error| unavailable(format!("cannot start a thread: {error}")))?);
        }
        Ok(Self { queue: Some(queue), threads })
    }

    /// Runs one read.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let closed = || unavailable("it is closed");
        let (sender, receiver) = oneshot::channel();
        // Nobody listens any more when the caller is gone; a read leaves nothing behind.
        let job: Job = Box::new(move |conn| drop(sender.send(read(conn))));
        self.queue.as_ref().ok_or_else(closed)?.send(job).await.map_err(|_| closed())?;
        receiver.await.map_err(|_| closed())?
    }

    /// Lets the reads in the queue finish and ends the threads.
    pub(super) fn stop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a reading thread of the store panicked");
            }
        }
    }
}
