//! Revisions without sessions, 2026-07-28 and newer: every client of an upstream shares one child.

use std::time::Duration;

use http::request::Parts;
use http::{Response, StatusCode};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::answer::{self, HEADER_MISMATCH, INVALID_REQUEST, METHOD_NOT_FOUND, REVISION_HEADER};
use super::link::{Link, Reply};
use super::mailbox::StdioBody;
use super::matching::Naming;
use super::message::{Kind, Message, Spot};
use super::program::{Children, respond};
use super::sessions::START_TIMEOUT;
use crate::connect::error::{Failure, NotSentReason, SendError};
use std::sync::Arc;

/// What a client asks first to learn whether the server speaks this revision.
const PROBE: &str = "server/discover";
/// How long that may take. A child that speaks only older revisions may never answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a child that did not know the probe is taken for one of older revisions.
const PROBE_MEMORY: Duration = Duration::from_secs(60);
/// The errors by which a server of this revision refuses a request as a whole, with 400.
const REFUSALS: [i64; 3] = [HEADER_MISMATCH, -32021, -32022];
/// The pause after a child has ended by itself; doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A child that lived this long has ended for a new reason.
const STEADY: Duration = Duration::from_secs(60);
/// What is left of a pause when a request waits for its end.
const PAUSE_WAIT_MAX: Duration = Duration::from_secs(1);

/// The child that all clients share.
#[derive(Default)]
pub(super) struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    link: Option<Arc<Link>>,
    /// How often in a row the child has ended by itself.
    ends: u32,
    not_before: Option<Instant>,
    older_until: Option<Instant>,
}

impl Shared {
    /// Takes a message that names its revision itself.
    pub(super) async fn post(
        &self,
        children: &Children,
        head: &Parts,
        message: &Message,
        deadline: Instant,
    ) -> Result<Response<StdioBody>, SendError> {
        let Kind::Request { id, method } = &message.kind else {
            let none = "in this revision a client sends requests only; close a request's stream to cancel it";
            return Ok(answer::refused(StatusCode::BAD_REQUEST, None, INVALID_REQUEST, none));
        };
        let named = head.headers.get(REVISION_HEADER).and_then(|value| value.to_str().ok());
        if named != message.revision.as_deref() {
            let differs = "`MCP-Protocol-Version` is not the revision that the body names";
            return Ok(answer::refused(StatusCode::BAD_REQUEST, Some(&id.id), HEADER_MISMATCH, differs));
        }
        if method == PROBE {
            return self.probe(children, message, id, deadline).await;
        }
        let link = self.link(children, deadline).await?;
        let reply = link.ask(message, id, deadline).await.inspect_err(|error| {
            if matches!(error, SendError::TimedOut) && link.is_mute_since(START_TIMEOUT) {
                link.end.cancel();
            }
        })?;
        Ok(respond(reply, id, status_of))
    }

    /// A child of older revisions may answer the probe with any error, end, or say nothing. Asking does nothing else, so
    /// each of these is answered as a server that does not know the method would, and clients begin a session instead.
    async fn probe(
        &self,
        children: &Children,
        message: &Message,
        id: &Spot,
        deadline: Instant,
    ) -> Result<Response<StdioBody>, SendError> {
        let unknown = || {
            let older = "the program behind this upstream speaks an older revision; send `initialize`";
            answer::refused(StatusCode::NOT_FOUND, Some(&id.id), METHOD_NOT_FOUND, older)
        };
        if self.0.lock().await.older_until.is_some_and(|until| Instant::now() < until) {
            return Ok(unknown());
        }
        let link = self.link(children, deadline).await?;
        let soon = Instant::now() + PROBE_TIMEOUT;
        let response = match link.ask(message, id, deadline.min(soon)).await {
            Ok(Reply::Answer(text)) => match error_of(&text) {
                Some(code) if !REFUSALS.contains(&code) => answer::json(StatusCode::NOT_FOUND, text),
                _ => return Ok(respond(Reply::Answer(text), id, status_of)),
            },
            Ok(reply @ (Reply::Events(..) | Reply::IdInUse)) => return Ok(respond(reply, id, status_of)),
            Err(error @ SendError::NotSent(_)) => return Err(error),
            Err(SendError::Lost(_)) => unknown(),
            // Not its silence but the caller's patience.
            Err(SendError::TimedOut) if deadline < soon => return Err(SendError::TimedOut),
            Err(SendError::TimedOut) => unknown(),
        };
        self.0.lock().await.older_until = Some(Instant::now() + PROBE_MEMORY);
        if link.idle_for(false).is_some() {
            link.end.cancel();
        }
        Ok(response)
    }

    /// The child, started if there is none. Whoever comes while it is being started waits for the same.
    async fn link(&self, children: &Children, deadline: Instant) -> Result<Arc<Link>, SendError> {
        let not_sent = |reason| SendError::NotSent(Failure::of(reason));
        let locked = timeout_at(deadline, self.0.lock()).await;
        let mut state = locked.map_err(|_| not_sent(NotSentReason::TimedOut))?;
        if let Some(link) = &state.link {
            if link.is_up() {
                return Ok(link.clone());
            }
            let over = link.over();
            state.link = None;
            if let Some(over) = over.filter(|over| !over.wanted) {
                state.ends = if over.lived >= STEADY { 1 } else { state.ends.saturating_add(1) };
                state.not_before = Some(over.at + pause(state.ends));
            }
        }
        if let Some(not_before) = state.not_before {
            if not_before.saturating_duration_since(Instant::now()) > PAUSE_WAIT_MAX || not_before > deadline {
                return Err(not_sent(NotSentReason::Restarting));
            }
            sleep_until(not_before).await;
        }
        let link = children.launch(Naming::Unique, deadline, || {}).await?;
        state.link = Some(link.clone());
        Ok(link)
    }
}

/// How long a child that has ended by itself for the nth time in a row stays away.
fn pause(ends: u32) -> Duration {
    PAUSE_MIN.saturating_mul(1_u32 << ends.saturating_sub(1).min(16)).min(PAUSE_MAX)
}

/// The status that goes with an answer.
fn status_of(text: &str) -> StatusCode {
    match error_of(text) {
        Some(METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        Some(code) if REFUSALS.contains(&code) => StatusCode::BAD_REQUEST,
        Some(_) | None => StatusCode::OK,
    }
}

fn error_of(text: &str) -> Option<i64> {
    match Message::read(text.as_bytes()).ok()?.kind {
        Kind::Response { error, .. } => error,
        Kind::Request { .. } | Kind::Notification { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_a_limit() {
        let pauses: Vec<u64> = (1..=8).map(|ends| u64::try_from(pause(ends).as_millis()).expect("short")).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(pause(u32::MAX), PAUSE_MAX);
    }

    #[test]
    fn the_status_follows_the_error() {
        let error = |code: i64| format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":""}}}}"#);
        for (code, status) in [(-32601, 404), (-32020, 400), (-32021, 400), (-32022, 400), (-32602, 200), (7, 200)] {
            assert_eq!(status_of(&error(code)), status, "{code}");
        }
        assert_eq!(status_of(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), 200);
    }
}
