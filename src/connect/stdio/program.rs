//! One upstream's program: takes requests as a Streamable HTTP server does, and hands them to the child they are for.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use http::header::ACCEPT;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::{self, INVALID_REQUEST, PARSE_ERROR};
use super::keeper::{self, Terms};
use super::link::{Link, Reply};
use super::mailbox::StdioBody;
use super::matching::Naming;
use super::message::{Kind, Malformed, Message, Spot};
use super::process::{CommandLine, Process};
use super::sessions::Sessions;
use super::shared::Shared;
use crate::connect::error::{BoxError, Failure, NotSentReason, SendError};

/// How long a request may wait for a child that is just ending to make room.
const ROOM_WAIT: Duration = Duration::from_secs(5);
/// More than any head is waited for; keeps sums of times in range.
const HEAD_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What is run behind an upstream, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramOptions {
    /// What is run.
    pub command: CommandLine,
    /// Children at the same time.
    pub children_max: usize,
    /// How long a child may have nothing to do before it is ended.
    pub idle_timeout: Duration,
    /// The longest message, in either direction.
    pub line_bytes_max: usize,
}

/// One upstream's program. Cloning is cheap and shares the children.
#[derive(Clone)]
pub struct Program(Arc<Inner>);

struct Inner {
    children: Children,
    sessions: Arc<Sessions>,
    shared: Shared,
}

/// Starts and counts the children of one upstream.
pub(super) struct Children {
    upstream: Arc<str>,
    options: ProgramOptions,
    room: Arc<Semaphore>,
    /// Every child that takes up room, and some that no longer do.
    links: Mutex<Vec<Weak<Link>>>,
    tracker: TaskTracker,
    retired: CancellationToken,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Program").field(&self.0.children.options).finish()
    }
}

impl Program {
    /// A program behind the upstream of this name; starts nothing yet. Children run as tasks of `tracker`, and end when they
    /// have nothing to do after `retired` is cancelled.
    pub(super) fn new(
        upstream: &str,
        options: ProgramOptions,
        tracker: TaskTracker,
        retired: CancellationToken,
    ) -> Self {
        let children = Children {
            upstream: upstream.into(),
            room: Arc::new(Semaphore::new(options.children_max)),
            links: Mutex::default(),
            options,
            tracker,
            retired,
        };
        Self(Arc::new(Inner { children, sessions: Arc::default(), shared: Shared::default() }))
    }

    /// Answers `request` as a Streamable HTTP server does, its head within `head_timeout`.
    ///
    /// # Errors
    /// See [`SendError`]; [`SendError::NotSent`] means that no byte of the message was written to a child.
    pub(in crate::connect) async fn send<B>(
        &self,
        request: Request<B>,
        head_timeout: Duration,
    ) -> Result<Response<StdioBody>, SendError>
    where
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let deadline = Instant::now() + head_timeout.min(HEAD_TIMEOUT_MAX);
        let (head, body) = request.into_parts();
        if head.uri.path() != "/" {
            let elsewhere = "the MCP endpoint of this upstream is the path of its route itself";
            return Ok(answer::refused(StatusCode::NOT_FOUND, None, INVALID_REQUEST, elsewhere));
        }
        match head.method {
            Method::POST => {
                if !accepts(&head.headers, &["application/json", "text/event-stream"]) {
                    return Ok(not_acceptable("`Accept` must name `application/json` and `text/event-stream`"));
                }
                match self.read(body, deadline).await? {
                    Ok(message) => self.post(&head, &message, deadline).await,
                    Err(refusal) => Ok(refusal),
                }
            }
            Method::GET if !accepts(&head.headers, &["text/event-stream"]) => {
                Ok(not_acceptable("`Accept` must name `text/event-stream`"))
            }
            Method::GET => Ok(self.0.sessions.listen(&head)),
            Method::DELETE => Ok(self.0.sessions.end(&head)),
            _ => Ok(answer::method_not_allowed("GET, POST, DELETE")),
        }
    }

    /// The message in a body; the inner error is the answer to what holds none.
    async fn read<B>(&self, body: B, deadline: Instant) -> Result<Result<Message, Response<StdioBody>>, SendError>
    where
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let not_sent = |reason| SendError::NotSent(Failure::of(reason));
        let limited = Limited::new(body, self.0.children.options.line_bytes_max);
        let bytes = match timeout_at(deadline, limited.collect()).await {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let longer = "the message is longer than this upstream takes";
                return Ok(Err(answer::refused(StatusCode::PAYLOAD_TOO_LARGE, None, INVALID_REQUEST, longer)));
            }
            Ok(Err(error)) => {
                return Err(SendError::NotSent(Failure::from(NotSentReason::RequestBody, error)));
            }
            Err(_) => return Err(not_sent(NotSentReason::RequestBody)),
        };
        Ok(Message::read(&bytes).map_err(|malformed| {
            let code = if malformed == Malformed::NotJson { PARSE_ERROR } else { INVALID_REQUEST };
            answer::refused(StatusCode::BAD_REQUEST, None, code, &malformed.to_string())
        }))
    }

    async fn post(&self, head: &Parts, message: &Message, deadline: Instant) -> Result<Response<StdioBody>, SendError> {
        let Inner { children, sessions, shared } = &*self.0;
        match &message.kind {
            _ if message.revision.is_some() => shared.post(children, head, message, deadline).await,
            Kind::Request { id, method } if method == "initialize" => {
                sessions.initialize(children, head, message, id, deadline).await
            }
            _ => sessions.post(head, message, deadline).await,
        }
    }
}

impl Children {
    /// Starts a child; `on_close` is told when it takes no more requests.
    pub(super) async fn launch(
        &self,
        naming: Naming,
        deadline: Instant,
        on_close: impl FnOnce() + Send + 'static,
    ) -> Result<Arc<Link>, SendError> {
        let room = self.room(deadline).await?;
        let (process, pipes) = Process::start(&self.options.command).map_err(|error| {
            tracing::error!(upstream = %self.upstream, %error, "the program could not be started");
            SendError::NotSent(Failure::from(NotSentReason::Start, error))
        })?;
        let (link, jobs) = Link::new(self.upstream.clone(), naming);
        let terms = Terms {
            idle_timeout: self.options.idle_timeout,
            retired: self.retired.child_token(),
            line_bytes_max: self.options.line_bytes_max,
        };
        self.links(|links| links.push(Arc::downgrade(&link)));
        let kept = keeper::keep(self.upstream.clone(), process, pipes, link.clone(), jobs, terms, on_close);
        self.tracker.spawn(async move {
            kept.await;
            drop(room);
        });
        Ok(link)
    }

    fn links<T>(&self, work: impl FnOnce(&mut Vec<Weak<Link>>) -> T) -> T {
        // Nothing in here panics half way.
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|link| link.strong_count() > 0);
        work(&mut links)
    }

    async fn room(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, SendError> {
        let full = || SendError::NotSent(Failure::of(NotSentReason::ChildrenMax));
        if let Ok(room) = self.room.clone().try_acquire_owned() {
            return Ok(room);
        }
        // Gone for its clients, and not yet from the machine.
        let is_ending = |link: &Weak<Link>| link.upgrade().is_some_and(|link| !link.is_up());
        if !self.links(|links| links.iter().any(is_ending)) {
            return Err(full());
        }
        let soon = deadline.min(Instant::now() + ROOM_WAIT);
        match timeout_at(soon, self.room.clone().acquire_owned()).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) | Err(_) => Err(full()),
        }
    }
}

/// The reply to a request, as Streamable HTTP; `status` judges an answer that comes alone.
pub(super) fn respond(reply: Reply, id: &Spot, status: impl FnOnce(&str) -> StatusCode) -> Response<StdioBody> {
    match reply {
        Reply::Answer(text) => answer::json(status(&text), text),
        Reply::Events(mailbox, post) => answer::events(mailbox, post),
        Reply::IdInUse => {
            let used = "a request with this id is still being answered";
            answer::refused(StatusCode::BAD_REQUEST, Some(&id.id), INVALID_REQUEST, used)
        }
    }
}

fn not_acceptable(message: &str) -> Response<StdioBody> {
    answer::refused(StatusCode::NOT_ACCEPTABLE, None, INVALID_REQUEST, message)
}

/// Whether the caller accepts every one of `types`; one that does not say accepts anything.
fn accepts(headers: &HeaderMap, types: &[&str]) -> bool {
    let mut given = headers.get_all(ACCEPT).iter().peekable();
    if given.peek().is_none() {
        return true;
    }
    let ranges: Vec<String> = given
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        .collect();
    types.iter().all(|wanted| {
        let family = wanted.split('/').next().unwrap_or_default();
        ranges.iter().any(|range| range == wanted || range == "*/*" || range.strip_suffix("/*") == Some(family))
    })
}
