//! A call as the proxy knows it: recognised from its head, then read whole where its verdict needs the body.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method};
use hyper::body::Incoming;

use crate::auth::{CredentialPlace, TOKEN_HEADER};
use crate::domain::audit::Actor;
use crate::domain::call::Protocol;
use crate::domain::identity::AgentId;
use crate::gate::fill_random;
use crate::gate::held::HeldRequest;
use crate::gate::intake::Call;
use crate::gate::parking::Patience;
use crate::protocol::head::{
    CheckedHead, Framing, Prefer, check_json_content_type, check_no_content_encoding, strip_for_upstream,
};
use crate::protocol::trace::TraceParent;

use super::body::read_whole;
use super::refusal::Refusal;
use super::routes::{Destination, Upstream};
use super::surface::Surface;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The longest `Idempotency-Key`.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// A call that has been recognised and named, its body not read yet.
pub(super) struct Recognised<'s> {
    pub(super) agent: AgentId,
    pub(super) destination: Destination<'s>,
    pub(super) tool: String,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    pub(super) prefer: Prefer,
    pub(super) idempotency_key: Option<String>,
    pub(super) trace: TraceParent,
    pub(super) body: Incoming,
}

/// What is left of a request beside the call itself.
pub(super) struct Context {
    pub(super) upstream: Arc<Upstream>,
    prefer: Prefer,
    pub(super) idempotency_key: Option<String>,
    pub(super) trace: TraceParent,
}

impl Context {
    pub(super) fn patience(&self, hold: Duration, surface: &Surface) -> Patience {
        match (self.prefer.respond_async, self.prefer.wait) {
            (true, _) => Patience::RespondAsync,
            (false, wait) => Patience::Wait(wait.map_or(hold, |wait| wait.min(surface.wait_max))),
        }
    }
}

impl<'s> Recognised<'s> {
    /// Who calls what, where: everything that can be known without the body.
    pub(super) fn new(
        surface: &'s Surface,
        parts: Parts,
        body: Incoming,
        head: &CheckedHead,
    ) -> Result<Self, (Actor, Refusal)> {
        let nobody = |refusal| (Actor::Unauthenticated, refusal);
        let (agent, place) =
            surface.authenticator.agent(&parts.headers).map_err(|error| nobody(Refusal::from(error)))?;
        let known = |refusal| (Actor::Agent(agent.0.clone()), refusal);
        let destination = surface
            .routes
            .find(&head.target)
            .ok_or_else(|| known(Refusal::no_route(head.target.path())))?
            .map_err(|error| known(Refusal::from(error)))?;
        let tool = destination.tool(parts.method.as_str()).map_err(|near| known(Refusal::from(near)))?;
        let idempotency_key = idempotency_key(&parts.headers).map_err(known)?;
        let prefer = Prefer::read(&parts.headers);
        let trace = trace_of(&parts.headers);
        let mut headers = parts.headers;
        headers.remove(TOKEN_HEADER);
        if place == CredentialPlace::Authorization {
            headers.remove(AUTHORIZATION);
        }
        strip_for_upstream(&mut headers);
        let child = HeaderValue::from_str(&trace.child(random_span()).to_string());
        headers.insert(TRACEPARENT, child.expect("a trace parent is ASCII"));
        let framing = head.framing;
        Ok(Self {
            agent,
            destination,
            tool,
            method: parts.method,
            headers,
            framing,
            prefer,
            idempotency_key,
            trace,
            body,
        })
    }

    pub(super) fn facts(&self) -> Call<'_> {
        Call {
            agent: &self.agent,
            upstream: &self.destination.upstream.name,
            tool: &self.tool,
            method: &self.method,
            target: &self.destination.target,
            headers: &self.headers,
            protocol: Protocol::Http,
        }
    }

    /// Reads the body whole. What cannot be judged as JSON is refused: a call whose verdict needs its body has one that policy and
    /// reviewer can read, or none.
    pub(super) async fn read(self, surface: &Surface) -> Result<(HeldRequest, Context), Refusal> {
        let body = match self.framing {
            Framing::Absent => None,
            Framing::Length(_) | Framing::Chunked | Framing::Stream => {
                let bytes = read_whole(self.body, surface.body_bytes_max, surface.body_timeout).await?;
                check_body(&self.method, &self.headers, &bytes)?;
                Some(bytes)
            }
        };
        let context = Context {
            upstream: self.destination.upstream.clone(),
            prefer: self.prefer,
            idempotency_key: self.idempotency_key,
            trace: self.trace,
        };
        let request = HeldRequest {
            agent: self.agent,
            upstream: context.upstream.name.clone(),
            tool: self.tool,
            method: self.method,
            target: self.destination.target,
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

/// The caller's trace, or a new one.
fn trace_of(headers: &HeaderMap) -> TraceParent {
    let given = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(TraceParent::parse);
    given.unwrap_or_else(|| {
        let mut id = [0; 16];
        fill_random(&mut id);
        TraceParent::root(id, random_span())
    })
}

fn random_span() -> [u8; 8] {
    let mut span = [0; 8];
    fill_random(&mut span);
    span
}
