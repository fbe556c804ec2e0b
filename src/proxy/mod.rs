//! The proxy listener's request, phase by phase: checked, recognised, routed, named, judged, and then sent, parked or refused.

pub mod answer;
pub mod body;
mod call;
mod mcp;
mod refusal;
pub mod routes;
pub mod surface;
pub mod upstream;

use std::convert::Infallible;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::HeaderValue;
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::Instrument;

use crate::domain::audit::Actor;
use crate::domain::id::RequestId;
use crate::domain::policy::{CompiledPolicy, Decision, VerdictKind};
use crate::gate::held::HeldRequest;
use crate::gate::intake::{Body, Entry, Shown};
use crate::gate::parking::{Held, Order, Patience, RuleTerms};
use crate::gate::{Gate, release::Permit};
use crate::problem::REQUEST_ID_HEADER;
use crate::protocol::head::{CheckedHead, HeadView, check_head};
use crate::protocol::json;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::stopwatch::Stopwatch;

use body::{AnswerBody, CallBody};
use call::{Context, Recognised};
use refusal::Refusal;
use routes::Upstream;
use surface::Surface;
use upstream::Outgoing;

/// Everything a request needs.
pub struct Proxy {
    gate: Gate,
    surface: Arc<ArcSwap<Surface>>,
    /// The agents' part of the API, below [`answer::OWN_PREFIX`].
    api: axum::Router,
    tracker: TaskTracker,
    /// Held MCP calls that their callers can take back.
    in_flight: mcp::InFlight,
}

/// Held while a call is being answered. Whoever handles a call ends it with an answer, or is dropped because the caller left, which
/// the parts that hold something note by themselves; a handler that panics does neither.
struct Outcome<'m> {
    metrics: &'m Metrics,
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.metrics.abandoned();
        }
    }
}

impl Proxy {
    /// A proxy over `gate`, by the configuration that `surface` holds at each moment.
    pub fn new(gate: Gate, surface: Arc<ArcSwap<Surface>>, api: axum::Router, tracker: TaskTracker) -> Self {
        Self { gate, surface, api, tracker, in_flight: mcp::InFlight::default() }
    }

    /// Answers one request.
    pub async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<AnswerBody>, Infallible> {
        let id = self.gate.new_request_id();
        let outcome = Outcome { metrics: self.gate.metrics() };
        let mut response = self.serve(id, request).await;
        drop(outcome);
        let header = HeaderValue::from_str(&id.to_string()).expect("an id is ASCII");
        response.headers_mut().insert(REQUEST_ID_HEADER, header);
        Ok(response)
    }

    async fn serve(&self, id: RequestId, request: Request<Incoming>) -> Response<AnswerBody> {
        let surface = self.surface.load_full();
        let (parts, body) = request.into_parts();
        let head = match check(&parts, &surface) {
            Ok(head) => head,
            Err(refusal) => return Box::pin(self.refuse(id, Actor::Unauthenticated, refusal)).await,
        };
        if head.target.path().strip_prefix(answer::OWN_PREFIX).is_some_and(|rest| rest.starts_with('/')) {
            return Box::pin(self.own_api(parts, body)).await;
        }
        let call = match Recognised::new(&surface, parts, body, &head) {
            Ok(call) => call,
            Err((actor, refusal)) => return Box::pin(self.refuse(id, actor, refusal)).await,
        };
        let policy = self.gate.policy();
        if call.destination.upstream.mcp.is_some() {
            let span = tracing::info_span!("request", request_id = %id, trace_id = call.trace.trace_id());
            return Box::pin(self.mcp(id, &surface, &policy, call, Stopwatch::start()).instrument(span)).await;
        }
        match self.pass_by_head(&surface, &policy, call).await {
            Ok(response) => response,
            Err((call, watch)) => {
                let span = tracing::info_span!("request", request_id = %id, trace_id = call.trace.trace_id());
                let agent = call.agent.clone();
                let judged = async {
                    match self.judge_and_act(&surface, &policy, *call, watch).await {
                        Ok(response) => response,
                        Err(refusal) => self.refuse(id, Actor::Agent(agent.0), refusal).await,
                    }
                };
                // Boxed, as is everything that most calls never come to: a small future is cheap to move.
                Box::pin(judged.instrument(span)).await
            }
        }
    }

    /// The agents' part of the API: its own router, with its own authentication, under a prefix that no route can have.
    async fn own_api(&self, parts: Parts, body: Incoming) -> Response<AnswerBody> {
        let request = Request::from_parts(parts, axum::body::Body::new(body));
        match self.api.clone().oneshot(request).await {
            Ok(response) => response.map(AnswerBody::Api),
            Err(never) => match never {},
        }
    }

    /// Sends a call on whose head alone lets it through, its body unread; hands every other call back to be read. This is the path
    /// of most calls: it logs nothing and allocates little.
    async fn pass_by_head<'s>(
        &self,
        surface: &Surface,
        policy: &CompiledPolicy,
        call: Recognised<'s>,
    ) -> Result<Response<AnswerBody>, (Box<Recognised<'s>>, Stopwatch)> {
        let watch = Stopwatch::start();
        let permit = {
            let entry = Entry::new(&self.gate, policy, call.facts());
            match entry.judge(Body::Unread) {
                Decision::Verdict(verdict) if verdict.kind == VerdictKind::Allowed => entry.admit_silently(&verdict),
                Decision::Verdict(_) | Decision::NeedsBody => None,
            }
        };
        let Some(permit) = permit else {
            return Err((Box::new(call), watch));
        };
        Ok(pass(permit, surface, call, watch).await)
    }

    /// Every other call: what its head alone settles, and what needs its body.
    async fn judge_and_act(
        &self,
        surface: &Surface,
        policy: &CompiledPolicy,
        call: Recognised<'_>,
        watch: Stopwatch,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let permit = {
            let entry = Entry::new(&self.gate, policy, call.facts());
            match entry.judge(Body::Unread) {
                Decision::Verdict(verdict) => match verdict.kind {
                    VerdictKind::Blocked => return Ok(answer::own(answer::blocked(&entry.deny(&verdict).await))),
                    VerdictKind::Allowed | VerdictKind::Audit => Some(entry.admit(&verdict).await?),
                    VerdictKind::WaitingForApproval => None,
                },
                Decision::NeedsBody => None,
            }
        };
        match permit {
            Some(permit) => Ok(pass(permit, surface, call, watch).await),
            None => self.read_and_act(surface, policy, call, watch).await,
        }
    }

    /// The whole body is read, strictly, before anything is decided.
    async fn read_and_act(
        &self,
        surface: &Surface,
        policy: &CompiledPolicy,
        call: Recognised<'_>,
        watch: Stopwatch,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let (request, context) = call.read(surface).await?;
        let upstream = context.upstream.clone();
        let act = {
            let entry = Entry::new(&self.gate, policy, request.facts());
            let value = match request.body.as_deref() {
                Some(bytes) if !bytes.is_empty() => Some(json::read(bytes, &json::Limits::default())?),
                Some(_) | None => None,
            };
            if let Some(key) = value.as_ref().and_then(|args| entry.confusable_key(args)) {
                return Err(Refusal::variant(&key));
            }
            let body = value.as_ref().map_or(Body::Absent, Body::Read);
            let Decision::Verdict(verdict) = entry.judge(body) else {
                return Err(Refusal::internal("policy asked again for a body that was read"));
            };
            match verdict.kind {
                VerdictKind::Blocked => return Ok(answer::own(answer::blocked(&entry.deny(&verdict).await))),
                VerdictKind::Allowed | VerdictKind::Audit => Act::Send(entry.admit(&verdict).await?),
                VerdictKind::WaitingForApproval => {
                    let patience = context.patience(verdict.approval().hold, surface);
                    let (rule, shown) = entry.order(&verdict, body).await?;
                    Act::Park(Box::new((rule, shown)), patience)
                }
            }
        };
        upstream.metrics.overhead(watch.elapsed());
        match act {
            Act::Send(permit) => {
                let HeldRequest { method, target, headers, body, .. } = request;
                let outgoing = Outgoing { method, target, headers, body: CallBody::judged(body) };
                Ok(upstream::forward(permit, &upstream, outgoing).await.unwrap_or_else(answer::own))
            }
            Act::Park(terms, patience) => {
                let (rule, shown) = *terms;
                let Context { idempotency_key, trace, .. } = context;
                let trace_id = Some(trace.trace_id());
                let order = Order { request: request.clone(), rule, shown, idempotency_key, trace_id, patience };
                self.park(order, request, upstream, patience).await
            }
        }
    }

    async fn park(
        &self,
        order: Order,
        request: HeldRequest,
        upstream: Arc<Upstream>,
        patience: Patience,
    ) -> Result<Response<AnswerBody>, Refusal> {
        Ok(match self.gate.park(order).await? {
            Held::Permitted(permit) => {
                upstream::release(permit, upstream, request, self.tracker.clone()).await.unwrap_or_else(answer::own)
            }
            Held::Answered(approval, kept) => answer::replayed(&approval, kept),
            Held::Refused(approval) => answer::own(answer::refused(&approval, self.gate.now())),
            Held::BlockedNow(approval, reason) => answer::own(answer::blocked_now(&approval, &reason)),
            Held::Pending(approval) => answer::pending(&approval, patience),
            Held::Spent(approval) => answer::own(answer::spent(&approval)),
            Held::KeyReused(approval) => answer::own(answer::key_reused(&approval)),
            Held::Full(overflow) => answer::own(answer::full(overflow)),
            Held::Draining(approval) => answer::own(answer::draining(approval.as_ref())),
        })
    }

    /// Answers what is refused before policy: counted by reason, written to the trail.
    async fn refuse(&self, id: RequestId, actor: Actor, refusal: Refusal) -> Response<AnswerBody> {
        refusal.account(&self.gate, id, actor).await;
        answer::own(refusal.into_problem())
    }
}

/// Sends a call whose body nobody needed to read.
async fn pass(permit: Permit, surface: &Surface, call: Recognised<'_>, watch: Stopwatch) -> Response<AnswerBody> {
    let Recognised { method, headers, body, destination, .. } = call;
    let upstream = destination.upstream;
    upstream.metrics.overhead(watch.elapsed());
    let body = CallBody::passing(body, surface.body_timeout);
    let outgoing = Outgoing { method, target: destination.target, headers, body };
    upstream::forward(permit, upstream, outgoing).await.unwrap_or_else(answer::own)
}

/// The checks that need nothing but the head.
fn check(parts: &Parts, surface: &Surface) -> Result<CheckedHead, Refusal> {
    let view = HeadView { method: &parts.method, uri: &parts.uri, version: parts.version, headers: &parts.headers };
    Ok(check_head(&view, &surface.head_limits)?)
}

/// What becomes of a judged call that is not refused.
enum Act {
    Send(Permit),
    Park(Box<(RuleTerms, Shown)>, Patience),
}
