//! Revisions with sessions, 2025-03-26 to 2025-11-25: each session has a child for itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::HeaderValue;
use http::request::Parts;
use http::{Response, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;

use super::answer::{self, INVALID_REQUEST, REVISION_HEADER, SESSION_HEADER};
use super::link::{Link, Reply};
use super::mailbox::StdioBody;
use super::matching::Naming;
use super::message::{Kind, Message, Spot};
use super::program::{Children, respond};
use crate::connect::error::{BoxError, Failure, NotSentReason, SendError};
use crate::domain::identity::AgentId;

/// How long a child may take to answer `initialize`.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of randomness in the id of a session.
const SESSION_ID_BYTES: usize = 24;
/// The revisions that a client may name in a session, beside the one that it was begun in.
const REVISIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// The sessions of one upstream; each ends with its child.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<String, Arc<Session>>>);

struct Session {
    link: Arc<Link>,
    /// Who began it, and nobody else finds it.
    owner: Option<AgentId>,
    /// The revision that client and child agreed on, where the answer showed it.
    revision: Option<String>,
}

/// Ends a child that no session has taken over.
struct Unclaimed(Option<Arc<Link>>);

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(link) = self.0.take() {
            link.end.cancel();
        }
    }
}

impl Sessions {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<String, Arc<Session>>) -> T) -> T {
        // Nothing in here panics half way.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins a session with a child of its own. Where that fails, nothing is left of the child.
    pub(super) async fn initialize(
        self: &Arc<Self>,
        children: &Children,
        head: &Parts,
        message: &Message,
        id: &Spot,
        deadline: Instant,
    ) -> Result<Response<StdioBody>, SendError> {
        if head.headers.contains_key(SESSION_HEADER) {
            let begun = "a session cannot be initialized twice; leave `Mcp-Session-Id` out";
            return Ok(answer::refused(StatusCode::BAD_REQUEST, Some(&id.id), INVALID_REQUEST, begun));
        }
        let name = session_id()?;
        let (sessions, closing) = (self.clone(), name.clone());
        let on_close = move || sessions.with(|sessions| drop(sessions.remove(&closing)));
        let link = children.launch(Naming::Kept, deadline, on_close).await?;
        let mut unclaimed = Unclaimed(Some(link.clone()));
        let reply = link.ask(message, id, deadline.min(Instant::now() + START_TIMEOUT)).await?;
        let revision = match &reply {
            Reply::Answer(text) => match agreed(text) {
                Some(agreed) => agreed.protocol_version,
                // The child refuses: there is no session.
                None => return Ok(respond(reply, id, |_| StatusCode::OK)),
            },
            Reply::Events(..) | Reply::IdInUse => None,
        };
        let mut response = respond(reply, id, |_| StatusCode::OK);
        let header = HeaderValue::from_str(&name).expect("hexadecimal digits are a header value");
        response.headers_mut().insert(SESSION_HEADER, header);
        unclaimed.0 = None;
        let session = Session { link: link.clone(), owner: head.extensions.get().cloned(), revision };
        self.with(|sessions| sessions.insert(name.clone(), Arc::new(session)));
        if link.over().is_some() {
            self.with(|sessions| drop(sessions.remove(&name)));
        }
        Ok(response)
    }

    /// Takes a message within a session.
    pub(super) async fn post(
        &self,
        head: &Parts,
        message: &Message,
        deadline: Instant,
    ) -> Result<Response<StdioBody>, SendError> {
        let session = match self.find(head) {
            Ok(session) => session,
            Err(refusal) => return Ok(*refusal),
        };
        match &message.kind {
            Kind::Request { id, .. } => {
                let reply = session.link.ask(message, id, deadline).await?;
                Ok(respond(reply, id, |_| StatusCode::OK))
            }
            Kind::Notification { .. } | Kind::Response { .. } => {
                session.link.tell(message, deadline).await?;
                Ok(answer::empty(StatusCode::ACCEPTED))
            }
        }
    }

    /// Listens to what belongs to no POST.
    pub(super) fn listen(&self, head: &Parts) -> Response<StdioBody> {
        let session = match self.find(head) {
            Ok(session) => session,
            Err(refusal) => return *refusal,
        };
        match session.link.listen() {
            Some((mailbox, listening)) => answer::events(mailbox, listening),
            None => {
                let taken = "this session has a stream for such messages already";
                answer::refused(StatusCode::CONFLICT, None, INVALID_REQUEST, taken)
            }
        }
    }

    /// Ends a session.
    pub(super) fn end(&self, head: &Parts) -> Response<StdioBody> {
        match self.find(head) {
            Ok(session) => {
                session.link.end.cancel();
                answer::empty(StatusCode::NO_CONTENT)
            }
            Err(refusal) => *refusal,
        }
    }

    fn find(&self, head: &Parts) -> Result<Arc<Session>, Box<Response<StdioBody>>> {
        let refused = |status, message: &str| Err(Box::new(answer::refused(status, None, INVALID_REQUEST, message)));
        let headers = &head.headers;
        let revision = headers.get(REVISION_HEADER).map(|value| value.to_str().unwrap_or_default());
        let mut names = headers.get_all(SESSION_HEADER).iter();
        let name = match (names.next(), names.next()) {
            (Some(name), None) => name.to_str().unwrap_or_default(),
            // A revision without sessions has neither of the other methods.
            (None, _) if revision.is_some_and(|revision| revision > REVISIONS[3]) => {
                return Err(Box::new(answer::method_not_allowed("POST")));
            }
            (None, _) => {
                return refused(StatusCode::BAD_REQUEST, "`Mcp-Session-Id` is missing; send `initialize` first");
            }
            (Some(_), Some(_)) => return refused(StatusCode::BAD_REQUEST, "`Mcp-Session-Id` is given twice"),
        };
        let found = self.with(|sessions| sessions.get(name).cloned());
        let is_theirs = |session: &Arc<Session>| session.owner.as_ref() == head.extensions.get::<AgentId>();
        let found = found.filter(|session| session.link.is_up() && is_theirs(session));
        let Some(session) = found else {
            return refused(StatusCode::NOT_FOUND, "there is no such session; send `initialize` again");
        };
        match revision {
            Some(named) if !REVISIONS.contains(&named) && session.revision.as_deref() != Some(named) => {
                refused(StatusCode::BAD_REQUEST, "`MCP-Protocol-Version` names no revision of this session")
            }
            Some(_) | None => Ok(session),
        }
    }
}

/// A text that nobody guesses.
fn session_id() -> Result<String, SendError> {
    let mut bytes = [0; SESSION_ID_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| SendError::NotSent(Failure::from(NotSentReason::Start, BoxError::from(error.to_string()))))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[derive(Deserialize)]
struct Answered {
    result: Option<Agreed>,
}

#[derive(Deserialize)]
struct Agreed {
    #[serde(rename = "protocolVersion")]
    protocol_version: Option<String>,
}

fn agreed(text: &str) -> Option<Agreed> {
    serde_json::from_str::<Answered>(text).ok()?.result
}
