//! The link to one child: requests go in, answers come out, each POST gets its own.
//!
//! Invariant: a request counts as sent from the moment before its first byte is written. Only what the writer has never
//! begun is [`SendError::NotSent`].

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::mailbox::{First, Letter, Mailbox};
use super::matching::{Begun, Destination, Matching, Naming, Ticket};
use super::message::{Id, Kind, Message, Spot};
use crate::connect::error::{Failure, LostReason, NotSentReason, SendError};

/// Lines that may wait to be written to one child; who comes later waits outside.
const QUEUED_LINES_MAX: usize = 64;

/// One line for the child.
pub(super) struct Job {
    line: String,
    state: Arc<JobState>,
}

/// How far a line has come.
#[derive(Debug, Default)]
struct JobState(AtomicU8);

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const WITHDRAWN: u8 = 2;

impl JobState {
    /// Of two that try, one succeeds.
    fn leave_waiting(&self, to: u8) -> bool {
        self.0.compare_exchange(WAITING, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    fn is_begun(&self) -> bool {
        self.0.load(Ordering::SeqCst) == BEGUN
    }
}

impl Job {
    fn new(line: String) -> (Self, Arc<JobState>) {
        let state = Arc::new(JobState::default());
        (Self { line, state: state.clone() }, state)
    }

    /// The line with its end, and the right to write it; `None` when it was withdrawn.
    pub(super) fn begin(&mut self) -> Option<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.line).into_bytes();
        bytes.push(b'\n');
        self.state.leave_waiting(BEGUN).then_some(bytes)
    }

    /// Not a single byte could be written.
    pub(super) fn not_begun(&self) {
        self.state.0.store(WITHDRAWN, Ordering::SeqCst);
    }
}

/// The link to one child.
pub(super) struct Link {
    /// The upstream's name, for the log.
    upstream: Arc<str>,
    naming: Naming,
    desk: Mutex<Desk>,
    jobs: mpsc::Sender<Job>,
    /// What belongs to no POST.
    listener: Arc<Mailbox>,
    /// Cancelled to end the child now.
    pub(super) end: CancellationToken,
}

struct Desk {
    matching: Matching<Arc<Mailbox>>,
    listening: bool,
    started: Instant,
    /// When the last POST or listening ended.
    active: Instant,
    answered: bool,
    over: Option<Over>,
}

/// How a link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Over {
    /// The gateway ended it.
    pub(super) wanted: bool,
    /// How long it lasted.
    pub(super) lived: Duration,
    /// When it ended.
    pub(super) at: Instant,
}

/// What a request got.
pub(super) enum Reply {
    /// The answer itself.
    Answer(String),
    /// Events, the answer last.
    Events(Arc<Mailbox>, Post),
    /// Its sender still waits for an answer to the same id.
    IdInUse,
}

/// A request under way; dropping it says that nobody waits for its answer.
pub(super) struct Post {
    link: Arc<Link>,
    ticket: Ticket,
    state: Arc<JobState>,
}

impl Link {
    /// A link, and the lines that its writer is to write.
    pub(super) fn new(upstream: Arc<str>, naming: Naming) -> (Arc<Self>, mpsc::Receiver<Job>) {
        let (jobs, lines) = mpsc::channel(QUEUED_LINES_MAX);
        let now = Instant::now();
        let desk = Desk {
            matching: Matching::new(naming),
            listening: false,
            started: now,
            active: now,
            answered: false,
            over: None,
        };
        let link = Self {
            upstream,
            naming,
            desk: Mutex::new(desk),
            jobs,
            listener: Arc::default(),
            end: CancellationToken::new(),
        };
        (Arc::new(link), lines)
    }

    fn desk<T>(&self, work: impl FnOnce(&mut Desk) -> T) -> T {
        // Nothing in here panics half way.
        work(&mut self.desk.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How it ended, if it has.
    pub(super) fn over(&self) -> Option<Over> {
        self.desk(|desk| desk.over)
    }

    /// Whether it takes requests.
    pub(super) fn is_up(&self) -> bool {
        !self.end.is_cancelled() && !self.jobs.is_closed() && self.over().is_none()
    }

    /// Whether the child has been there for `time` without a single answer.
    pub(super) fn is_mute_since(&self, time: Duration) -> bool {
        self.desk(|desk| !desk.answered && desk.started.elapsed() >= time)
    }

    /// How long nobody has been waiting or listening; `None` while somebody is. With `listeners_count`, who listens to what
    /// belongs to no POST is somebody.
    pub(super) fn idle_for(&self, listeners_count: bool) -> Option<Duration> {
        self.desk(|desk| {
            let busy = !desk.matching.is_empty() || (listeners_count && desk.listening);
            (!busy).then(|| desk.active.elapsed())
        })
    }

    /// Sends a request and waits for what comes first.
    pub(super) async fn ask(
        self: &Arc<Self>,
        request: &Message,
        id: &Spot,
        deadline: Instant,
    ) -> Result<Reply, SendError> {
        let mailbox = Arc::new(Mailbox::default());
        let begun = self.desk(|desk| match desk.over {
            Some(_) => Err(SendError::NotSent(Failure::of(NotSentReason::Closed))),
            None => Ok(desk.matching.begin(request, id, mailbox.clone())),
        })?;
        let Ok(Begun { line, ticket }) = begun else { return Ok(Reply::IdInUse) };
        let (job, state) = Job::new(line);
        let post = Post { link: self.clone(), ticket, state: state.clone() };
        self.queue(job, deadline).await?;
        match timeout_at(deadline, mailbox.first()).await {
            Ok(First::Answer(text)) => Ok(Reply::Answer(text)),
            Ok(First::Events) => Ok(Reply::Events(mailbox, post)),
            Ok(First::Lost(_)) if !state.is_begun() => Err(SendError::NotSent(Failure::of(NotSentReason::Closed))),
            Ok(First::Lost(reason)) => Err(SendError::Lost(Failure::of(reason))),
            Err(_) if state.leave_waiting(WITHDRAWN) => Err(SendError::NotSent(Failure::of(NotSentReason::TimedOut))),
            Err(_) => Err(SendError::TimedOut),
        }
    }

    /// Sends what has no answer.
    pub(super) async fn tell(&self, message: &Message, deadline: Instant) -> Result<(), SendError> {
        self.queue(Job::new(message.line.clone()).0, deadline).await?;
        self.desk(|desk| desk.active = Instant::now());
        Ok(())
    }

    async fn queue(&self, job: Job, deadline: Instant) -> Result<(), SendError> {
        let reason = match timeout_at(deadline, self.jobs.send(job)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(_)) => NotSentReason::Closed,
            Err(_) => NotSentReason::TimedOut,
        };
        Err(SendError::NotSent(Failure::of(reason)))
    }

    /// Listens to what belongs to no POST; `None` when somebody does.
    pub(super) fn listen(self: &Arc<Self>) -> Option<(Arc<Mailbox>, Listening)> {
        let free = self.desk(|desk| !std::mem::replace(&mut desk.listening, true));
        free.then(|| (self.listener.clone(), Listening(self.clone())))
    }

    /// Takes a line of the child.
    pub(super) fn deliver(&self, line: &[u8]) {
        let message = match Message::read(line) {
            Ok(message) => message,
            Err(reason) => {
                return tracing::debug!(upstream = %self.upstream, %reason, "a line of the child is no message");
            }
        };
        let (destination, text) = self.desk(|desk| {
            let routed = desk.matching.route(&message, desk.listening);
            if matches!(routed.0, Destination::Answer(_)) {
                desk.answered = true;
                desk.active = Instant::now();
            }
            routed
        });
        let asks = match &message.kind {
            Kind::Request { id, .. } => Some(id.id.clone()),
            Kind::Notification { .. } | Kind::Response { .. } => None,
        };
        match destination {
            Destination::Answer(mailbox) => mailbox.answer(text),
            Destination::Related(mailbox) => self.post(&mailbox, Letter { text, asks }),
            Destination::Unrelated if self.naming == Naming::Kept => {
                self.post(&self.listener, Letter { text, asks });
            }
            Destination::Unrelated => match asks {
                Some(id) => self.refuse(&id, "no request may be sent to a client in this revision"),
                None => tracing::debug!(upstream = %self.upstream, "a notification belongs to no request; dropped"),
            },
            Destination::Stray => {
                tracing::debug!(upstream = %self.upstream, "an answer that nobody waits for; dropped");
            }
        }
    }

    fn post(&self, mailbox: &Mailbox, letter: Letter) {
        let dropped = mailbox.push(letter);
        if !dropped.is_empty() {
            let count = dropped.len();
            tracing::debug!(upstream = %self.upstream, count, "nobody reads what the child says; the oldest was dropped");
        }
        for id in dropped.into_iter().filter_map(|letter| letter.asks) {
            self.refuse(&id, "the client does not read its messages");
        }
    }

    /// Answers the child in place of a client that never will.
    fn refuse(&self, id: &Id, why: &str) {
        let line = format!(r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":-32601,"message":"{why}"}}}}"#, id.to_json());
        if self.jobs.try_send(Job::new(line).0).is_err() {
            tracing::debug!(upstream = %self.upstream, "the child reads nothing; it gets no refusal either");
        }
    }

    /// An answer that is too long to be read: whoever waits for it waits no more.
    pub(super) fn deliver_too_long(&self, beginning: &[u8]) {
        let answers = super::message::answered_by(beginning);
        let found = answers.as_ref().and_then(|id| self.desk(|desk| desk.matching.take(id)));
        tracing::warn!(
            upstream = %self.upstream,
            answer = found.is_some(),
            "a line of the child is longer than is accepted; dropped"
        );
        if let Some(mailbox) = found {
            mailbox.lose(LostReason::TooLong);
        }
    }

    /// The child is gone, or is about to be: nothing is written to it any more.
    pub(super) fn close(&self, wanted: bool) -> Over {
        let (waiting, over) = self.desk(|desk| {
            let over = *desk.over.get_or_insert(Over { wanted, lived: desk.started.elapsed(), at: Instant::now() });
            (desk.matching.take_all(), over)
        });
        for mailbox in waiting {
            mailbox.lose(LostReason::ClosedEarly);
        }
        self.listener.finish();
        over
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        let waited = self.link.desk(|desk| {
            desk.active = Instant::now();
            desk.matching.end(&self.ticket).is_some()
        });
        // What has not been begun never will be.
        self.state.leave_waiting(WITHDRAWN);
        if !waited || !self.state.is_begun() || self.link.naming == Naming::Kept {
            return;
        }
        let id = self.ticket.id.to_json();
        let line = format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#);
        if self.link.jobs.try_send(Job::new(line).0).is_err() {
            tracing::debug!(upstream = %self.link.upstream, "the child reads nothing; it is not told of a cancellation");
        }
    }
}

/// Somebody listens to what belongs to no POST, until this is dropped.
pub(super) struct Listening(Arc<Link>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.desk(|desk| {
            desk.listening = false;
            desk.active = Instant::now();
        });
    }
}
