//! A call as the proxy knows it: recognised from its head, then read whole where its verdict needs the body.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use hyper::body::Incoming;

use crate::auth::CredentialPlace;
use crate::domain::audit::Actor;
use crate::domain::call::Protocol;
use crate::domain::identity::AgentId;
use crate::domain::tools::Claims;
use crate::gate::fill_random;
use crate::gate::held::HeldRequest;
use crate::gate::intake::Call;
use crate::gate::parking::Patience;
use crate::gate::release::Permit;
use crate::problem::Problem;
use crate::protocol::head::{
    CheckedHead, Framing, Prefer, check_json_content_type, check_no_content_encoding, strip_for_upstream,
};
use crate::protocol::target::RequestTarget;
use crate::protocol::trace::TraceParent;
use crate::telemetry::stopwatch::Stopwatch;
use crate::web::origin;

use super::body::{CallBody, read_whole};
use super::refusal::Refusal;
use super::routes::{Destination, Upstream};
use super::surface::Surface;
use super::upstream::{Outgoing, Passing, forward};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The longest `Idempotency-Key`.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// A call that has been recognised and named from its head. The configuration's own names are borrowed from it.
pub(super) struct Recognised<'s> {
    agent: &'s AgentId,
    pub(super) destination: Destination<'s>,
    tool: Cow<'s, str>,
    framing: Framing,
    prefer: Prefer,
    idempotency_key: Option<String>,
    trace: TraceParent,
}

/// A recognised call on its own, its body not read yet.
pub(super) struct Unread {
    pub(super) agent: AgentId,
    pub(super) upstream: Arc<Upstream>,
    /// All upstreams of a route that has several.
    pub(super) several: Option<Arc<[Arc<Upstream>]>>,
    /// How long the route lets held MCP calls keep their callers.
    pub(super) inline_budget: Option<Duration>,
    pub(super) target: RequestTarget,
    tool: String,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    prefer: Prefer,
    idempotency_key: Option<String>,
    pub(super) trace: TraceParent,
    pub(super) body: Incoming,
}

/// What is left of a request beside the call itself.
pub(super) struct Rest {
    pub(super) upstream: Arc<Upstream>,
    prefer: Prefer,
    pub(super) idempotency_key: Option<String>,
    pub(super) trace: TraceParent,
}

impl Rest {
    pub(super) fn patience(&self, hold: Duration, surface: &Surface) -> Patience {
        match (self.prefer.respond_async, self.prefer.wait) {
            (true, _) => Patience::RespondAsync,
            (false, wait) => Patience::Wait(wait.map_or(hold, |wait| wait.min(surface.wait_max))),
        }
    }
}

impl<'s> Recognised<'s> {
    /// Who calls what, where: everything that can be known without the body. Leaves `headers` as they will be forwarded.
    pub(super) fn new(
        surface: &'s Surface,
        method: &Method,
        headers: &mut HeaderMap,
        head: CheckedHead,
    ) -> Result<Self, (Actor, Refusal)> {
        let nobody = |refusal| (Actor::Unauthenticated, refusal);
        let (agent, place) = surface.authenticator.agent(headers).map_err(|error| nobody(Refusal::from(error)))?;
        let known = |refusal| (Actor::Agent(agent.0.clone()), refusal);
        // Whoever needs no credential is known by nothing but where it runs, and there a browser shows pages of anywhere.
        if place == CredentialPlace::None && origin::is_of_a_foreign_page(headers) {
            return Err(known(Refusal::foreign_page()));
        }
        let noted = head.noted;
        let destination = surface.routes.find(head.target).map_err(|target| known(Refusal::no_route(target.path())))?;
        let tool = match destination.upstream.mcp {
            Some(_) if !destination.is_mcp_endpoint() => {
                return Err(known(Refusal::below_mcp_endpoint(destination.target.path())));
            }
            // Named by its body.
            Some(_) => Cow::Borrowed(""),
            None => destination.tool(method.as_str()).map_err(|near| known(Refusal::from(near)))?,
        };
        let idempotency_key = match noted.idempotency_key {
            true => idempotency_key(headers).map_err(known)?,
            false => None,
        };
        let prefer = if noted.prefer { Prefer::read(headers) } else { Prefer::default() };
        let trace = noted.traceparent.then(|| trace_of(headers)).flatten().unwrap_or_else(new_trace);
        if place == CredentialPlace::Authorization {
            headers.remove(AUTHORIZATION);
        }
        if noted.not_for_upstream {
            strip_for_upstream(headers);
        }
        let child = HeaderValue::from_bytes(&trace.child(random_span()).to_bytes());
        headers.insert(TRACEPARENT, child.expect("a trace parent is ASCII"));
        Ok(Self { agent, destination, tool, framing: head.framing, prefer, idempotency_key, trace })
    }

    pub(super) fn facts<'f>(&'f self, method: &'f Method, headers: &'f HeaderMap) -> Call<'f> {
        Call {
            agent: self.agent,
            upstream: &self.destination.upstream.name,
            tool: &self.tool,
            method,
            target: &self.destination.target,
            headers,
            protocol: Protocol::Http,
            claims: Claims::NoTool,
        }
    }

    /// The call with all that belongs to it.
    pub(super) fn with(self, method: Method, headers: HeaderMap, body: Incoming) -> Unread {
        Unread {
            agent: self.agent.clone(),
            upstream: self.destination.upstream.clone(),
            several: self.destination.several.cloned(),
            inline_budget: self.destination.inline_budget,
            target: self.destination.target,
            tool: self.tool.into_owned(),
            method,
            headers,
            framing: self.framing,
            prefer: self.prefer,
            idempotency_key: self.idempotency_key,
            trace: self.trace,
            body,
        }
    }
}

impl Unread {
    pub(super) fn facts(&self) -> Call<'_> {
        Call {
            agent: &self.agent,
            upstream: &self.upstream.name,
            tool: &self.tool,
            method: &self.method,
            target: &self.target,
            headers: &self.headers,
            protocol: Protocol::Http,
            claims: Claims::NoTool,
        }
    }

    /// Sends the call, its body unread.
    pub(super) fn pass(self, permit: Permit, surface: &Surface, watch: Stopwatch) -> Result<Passing, Problem> {
        let uri = self.upstream.uri(&self.target, None);
        let body = CallBody::passing(self.body, surface.body_timeout);
        let outgoing = Outgoing { method: self.method, uri, headers: self.headers, body, agent: None };
        self.upstream.metrics.overhead(watch.elapsed());
        forward(permit, &self.upstream, outgoing, Stopwatch::start())
    }

    /// Reads the body whole. What cannot be judged as JSON is refused: a call whose verdict needs its body has one that policy and
    /// reviewer can read, or none.
    pub(super) async fn read(self, surface: &Surface) -> Result<(HeldRequest, Rest), Refusal> {
        let body = match self.framing {
            Framing::Absent => None,
            Framing::Length(_) | Framing::Chunked | Framing::Stream => {
                let bytes = read_whole(self.body, surface.body_bytes_max, surface.body_timeout).await?;
                check_body(&self.method, &self.headers, &bytes)?;
                Some(bytes)
            }
        };
        let context = Rest {
            upstream: self.upstream,
            prefer: self.prefer,
            idempotency_key: self.idempotency_key,
            trace: self.trace,
        };
        let request = HeldRequest {
            agent: self.agent,
            upstream: context.upstream.name.clone(),
            tool: self.tool,
            method: self.method,
            target: self.target,
            headers: self.headers,
            body,
            protocol: Protocol::Http,
        };
        Ok((request, context))
    }
}

/// Whether these bytes may be judged: none, or JSON as it is under a method that has a body.
pub(super) fn check_body(method: &Method, headers: &HeaderMap, bytes: &Bytes) -> Result<(), Refusal> {
    if bytes.is_empty() {
        return match headers.contains_key(CONTENT_TYPE) {
            true => Err(Refusal::empty_json()),
            false => Ok(()),
        };
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Err(Refusal::body_not_allowed(method));
    }
    check_json_content_type(headers)?;
    check_no_content_encoding(headers)?;
    Ok(())
}

/// The only `Idempotency-Key`, within its length.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&value.len()) => {
            value.to_str().map(|key| Some(key.to_owned())).map_err(|_| Refusal::idempotency_key())
        }
        (Some(_), _) => Err(Refusal::idempotency_key()),
    }
}

/// The caller's trace, if its header reads as one.
fn trace_of(headers: &HeaderMap) -> Option<TraceParent> {
    headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(TraceParent::parse)
}

fn new_trace() -> TraceParent {
    let mut id = [0; 16];
    fill_random(&mut id);
    TraceParent::root(id, random_span())
}

fn random_span() -> [u8; 8] {
    let mut span = [0; 8];
    fill_random(&mut span);
    span
}
