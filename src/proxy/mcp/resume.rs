//! Event streams of held calls that broke and are taken up again, on 2025-11-25: the first event has an id, and a GET that names it
//! goes on waiting where the stream left off.
//!
//! The id says what is waited for, sealed for the agent: nothing is kept for streams that are gone, and an id outlives a restart.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response};
use serde::{Deserialize, Serialize};

use crate::domain::id::ApprovalId;
use crate::domain::identity::AgentId;
use crate::domain::value::{Number, Value};
use crate::gate::Gate;
use crate::gate::parking::Entered;
use crate::problem::Problem;
use crate::protocol::json;
use crate::protocol::mcp::{Id, Revision};

use super::super::Proxy;
use super::super::body::AnswerBody;
use super::super::call::Unread;
use super::super::surface::Surface;
use super::answer::{self, About};
use super::call::HeldCall;
use super::hold::Hold;
use super::kept::Kept;

/// What the gateway's event ids begin with; every other one is the upstream's.
const PREFIX: &str = "hp1.";
/// How soon a client should come back, in milliseconds.
pub(super) const RETRY_MS: u64 = 3_000;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a stream was about.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    approval: ApprovalId,
    /// The request's id, as JSON text.
    id: String,
    tool: String,
    token: Option<String>,
    budget: Duration,
}

/// The id of the first event of a held call's stream; `None` on revisions whose clients do not know what to do with it.
pub(super) fn event_id(gate: &Gate, call: &HeldCall) -> Option<String> {
    if call.about.revision != Revision::November2025 {
        return None;
    }
    let waiting = call.waiting.waiting();
    let place = Place {
        approval: waiting.id(),
        id: call.about.id.as_json().to_owned(),
        tool: call.about.tool.clone(),
        token: call.token.clone(),
        budget: call.budget,
    };
    let text = serde_json::to_vec(&place).expect("a place has no failing serialiser");
    let sealed = gate.seal_for(waiting.agent(), &text).ok()?;
    Some(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed)))
}

/// The id of one of the gateway's events that a GET goes on from.
pub(super) fn resumed(headers: &HeaderMap) -> Option<&str> {
    headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).filter(|id| id.starts_with(PREFIX))
}

fn open(gate: &Gate, agent: &AgentId, event: &str) -> Option<Place> {
    let sealed = URL_SAFE_NO_PAD.decode(event.strip_prefix(PREFIX)?).ok()?;
    serde_json::from_slice(&gate.open_for(agent, &sealed)?).ok()
}

impl Proxy {
    /// Goes on waiting where a stream broke.
    pub(super) async fn mcp_resume(&self, surface: &Surface, call: &Unread, event: &str) -> Response<AnswerBody> {
        let unknown = || {
            super::super::answer::own(Problem::new(
                crate::problem::Code::NotFound,
                "`Last-Event-ID` names no stream of a held call; make the call again",
            ))
        };
        let Some(place) = open(&self.gate, &call.agent, event) else { return unknown() };
        let Some(id) = read_id(&place.id) else { return unknown() };
        let about = About { id, tool: place.tool, revision: Revision::November2025 };
        let waiting = match self.gate.rejoin(place.approval, &call.agent, |body| with_id(body, &about.id)).await {
            Ok(Some(Entered::Waiting(waiting))) => waiting,
            Ok(Some(Entered::Settled(held))) => {
                return match answer::problem_of(&held, self.gate.now()) {
                    Some(problem) => about.answer(problem),
                    None => unknown(),
                };
            }
            Ok(None) => return unknown(),
            Err(error) => return about.answer(Problem::from(error)),
        };
        // The one server of the route, or one of several.
        let mut servers = call.several.as_deref().unwrap_or(std::slice::from_ref(&call.upstream)).iter();
        let held = waiting.request();
        let Some(upstream) = held.and_then(|held| servers.find(|server| server.name == held.upstream)).cloned() else {
            return unknown();
        };
        let session = call.headers.get(crate::protocol::mcp::SESSION).map_or(&[][..], |value| value.as_bytes());
        let cancellable = self.in_flight.note(&call.agent, &upstream.name, session, &about.id);
        let waiting = Kept::new(&self.gate, waiting, about.revision);
        let held =
            HeldCall { about, upstream, waiting, cancellable, budget: place.budget, token: place.token, round: 1 };
        Hold::new(self, surface, held).respond()
    }
}

fn read_id(text: &str) -> Option<Id> {
    Id::of(&json::read(text.as_bytes(), &json::Limits::default()).ok()?)
}

/// The stored message under the id of the request that is answered now: another identical call may have asked first.
fn with_id(body: &[u8], id: &Id) -> Option<Bytes> {
    let mut message = json::read(body, &json::Limits::default()).ok()?;
    if let Value::Object(members) = &mut message
        && let Some((_, value)) = members.iter_mut().find(|(key, _)| key == "id")
    {
        let text = id.as_json().to_owned();
        *value = match text.strip_prefix('"') {
            Some(_) => Value::String(serde_json::from_str::<String>(&text).ok()?.into()),
            None => Value::Number(Number::from_checked(text)),
        };
    }
    let mut text = String::with_capacity(body.len());
    message.write_json(&mut text);
    Some(text.into())
}
