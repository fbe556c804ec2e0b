//! The proxy listener's request, phase by phase: checked, recognised, routed, named, judged, and then sent, parked or refused.

pub mod answer;
pub mod body;
mod call;
pub mod expected;
mod mcp;
mod refusal;
pub mod routes;
pub mod surface;
pub mod upstream;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

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
use crate::domain::time::Timestamp;
use crate::domain::tools::Claims;
use crate::gate::held::HeldRequest;
use crate::gate::intake::{Body, Entry, Shown};
use crate::gate::parking::{Entered, Held, Order, Patience, RuleTerms};
use crate::gate::waiting::Waiting;
use crate::gate::{Gate, release::Permit};
use crate::problem::{Problem, REQUEST_ID_HEADER};
use crate::protocol::head::{CheckedHead, HeadView, check_head};
use crate::protocol::json;
use crate::telemetry::stopwatch::Stopwatch;

use body::{AnswerBody, CallBody};
use call::{Recognised, Rest, Unread};
use refusal::Refusal;
use routes::Upstream;
use surface::Surface;
use upstream::{Outgoing, Passing};

/// Everything a request needs.
pub struct Proxy {
    gate: Gate,
    surface: Arc<ArcSwap<Surface>>,
    /// The agents' part of the API, below [`answer::OWN_PREFIX`].
    api: axum::Router,
    tracker: TaskTracker,
    /// Held MCP calls that their callers can take back.
    in_flight: mcp::InFlight,
    /// Tasks whose calls were sent at once.
    finished: mcp::Finished,
    /// Held and approved MCP calls that take several requests.
    rounds: mcp::Rounds,
}

/// A request that is being answered. Whoever handles a call ends it with an answer, or is dropped because the caller left, which
/// the parts that hold something note by themselves; a handler that panics does neither.
struct Outcome(Arc<Proxy>);

impl Drop for Outcome {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.gate.metrics().abandoned();
        }
    }
}

/// The answer to a request, under way. Small, so that it is cheap to move: most calls are a call to the upstream and no more.
#[must_use = "nothing is answered until this is awaited"]
pub struct Answering {
    work: Work,
    id: RequestId,
    _outcome: Outcome,
}

enum Work {
    /// Sent on by its head alone.
    Passing(Passing),
    /// Anything else.
    Other(Pin<Box<dyn Future<Output = Response<AnswerBody>> + Send>>),
}

impl Future for Answering {
    type Output = Result<Response<AnswerBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let mut response = match &mut this.work {
            Work::Passing(passing) => ready!(Pin::new(passing).poll(cx)),
            Work::Other(work) => ready!(work.as_mut().poll(cx)),
        };
        let header = HeaderValue::from_bytes(&this.id.to_bytes()).expect("an id is ASCII");
        response.headers_mut().insert(REQUEST_ID_HEADER, header);
        Poll::Ready(Ok(response))
    }
}

impl Proxy {
    /// A proxy over `gate`, by the configuration that `surface` holds at each moment.
    pub fn new(gate: Gate, surface: Arc<ArcSwap<Surface>>, api: axum::Router, tracker: TaskTracker) -> Self {
        Self {
            gate,
            surface,
            api,
            tracker,
            in_flight: mcp::InFlight::default(),
            finished: mcp::Finished::default(),
            rounds: mcp::Rounds::default(),
        }
    }

    /// Answers one request. What its head alone says is judged at once, without a step of its own.
    pub fn handle(self: Arc<Self>, request: Request<Incoming>) -> Answering {
        let outcome = Outcome(self.clone());
        let now = self.gate.now();
        let id = self.gate.new_request_id(now);
        let work = self.begin(id, now, request);
        Answering { work, id, _outcome: outcome }
    }

    /// Checks and recognises a call by one configuration, taken here and kept to the call's end: who calls, where to, and what policy
    /// says. One whose head alone lets it through is on its way when this returns, its body unread: that is the path of most calls,
    /// which logs nothing and allocates little.
    fn begin(self: Arc<Self>, id: RequestId, now: Timestamp, request: Request<Incoming>) -> Work {
        let surface = self.surface.load();
        let (mut parts, body) = request.into_parts();
        let head = match check(&parts, &surface) {
            Ok(head) => head,
            Err(refusal) => return self.refused(id, Actor::Unauthenticated, refusal),
        };
        if head.target.path().strip_prefix(answer::OWN_PREFIX).is_some_and(|rest| rest.starts_with('/')) {
            return Work::Other(Box::pin(self.own_api(parts, body)));
        }
        let call = match Recognised::new(&surface, &parts.method, &mut parts.headers, head) {
            Ok(call) => call,
            Err((actor, refusal)) => return self.refused(id, actor, refusal),
        };
        let watch = Stopwatch::start();
        if call.destination.upstream.mcp.is_some() {
            let call = Box::new(call.with(parts.method, parts.headers, body));
            let surface = arc_swap::Guard::into_inner(surface);
            let policy = surface.policy.clone();
            return Work::Other(Box::pin(self.mcp(id, surface, policy, call, watch)));
        }
        let permit = {
            let entry = Entry::new(&self.gate, &surface.policy, call.facts(&parts.method, &parts.headers), now);
            match entry.judge(Body::Unread, watch) {
                Decision::Verdict(verdict) if verdict.kind == VerdictKind::Allowed => {
                    entry.admit_silently(&verdict, &call.destination.upstream.metrics)
                }
                Decision::Verdict(_) | Decision::NeedsBody => None,
            }
        };
        let Some(permit) = permit else {
            let call = Box::new(call.with(parts.method, parts.headers, body));
            let surface = arc_swap::Guard::into_inner(surface);
            let policy = surface.policy.clone();
            return Work::Other(Box::pin(self.answer(id, surface, policy, call, watch)));
        };
        let upstream = call.destination.upstream;
        let uri = upstream.uri(&call.destination.target, parts.uri.path_and_query());
        let body = CallBody::passing(body, surface.body_timeout);
        let outgoing = Outgoing { method: parts.method, uri, headers: parts.headers, body, agent: None };
        upstream.metrics.overhead(watch.elapsed());
        match upstream::forward(permit, upstream, outgoing, Stopwatch::start()) {
            Ok(passing) => Work::Passing(passing),
            Err(problem) => Work::Other(Box::pin(sent(Err(problem)))),
        }
    }

    /// Answers a call that its head alone does not let through.
    async fn answer(
        self: Arc<Self>,
        id: RequestId,
        surface: Arc<Surface>,
        policy: Arc<CompiledPolicy>,
        call: Box<Unread>,
        watch: Stopwatch,
    ) -> Response<AnswerBody> {
        let span = tracing::info_span!("request", request_id = %id, trace_id = call.trace.trace_id());
        let agent = call.agent.clone();
        let judged = async {
            // Boxed, both: what a call is judged by, and what follows a wait, takes no memory while the call is held.
            let answered = match Box::pin(self.judge_and_act(surface, policy, call, watch)).await {
                Ok(Acted::Answered(response)) => return *response,
                Ok(Acted::Parked(parked)) => self.hold(parked).await,
                Err(refusal) => Err(refusal),
            };
            match answered {
                Ok(response) => *response,
                Err(refusal) => Box::pin(self.refuse(id, Actor::Agent(agent.0), refusal)).await,
            }
        };
        judged.instrument(span).await
    }

    /// The agents' part of the API: its own router, with its own authentication, under a prefix that no route can have.
    async fn own_api(self: Arc<Self>, parts: Parts, body: Incoming) -> Response<AnswerBody> {
        let request = Request::from_parts(parts, axum::body::Body::new(body));
        match self.api.clone().oneshot(request).await {
            Ok(response) => response.map(AnswerBody::Api),
            Err(never) => match never {},
        }
    }

    /// Every other call: what its head alone settles, and what needs its body.
    async fn judge_and_act(
        &self,
        surface: Arc<Surface>,
        policy: Arc<CompiledPolicy>,
        call: Box<Unread>,
        watch: Stopwatch,
    ) -> Result<Acted, Refusal> {
        let permit = {
            let entry = Entry::new(&self.gate, &policy, call.facts(), self.gate.now());
            match entry.judge(Body::Unread, Stopwatch::start()) {
                Decision::Verdict(verdict) => match verdict.kind {
                    VerdictKind::Blocked => {
                        return Ok(Acted::answered(answer::own(answer::blocked(&entry.deny(&verdict).await))));
                    }
                    VerdictKind::Allowed | VerdictKind::Audit => Some(entry.admit(&verdict).await?),
                    VerdictKind::WaitingForApproval => None,
                },
                Decision::NeedsBody => None,
            }
        };
        match permit {
            Some(permit) => Ok(Acted::answered(sent(call.pass(permit, &surface, watch)).await)),
            None => self.read_and_act(&surface, &policy, *call, watch).await,
        }
    }

    /// The whole body is read, strictly, before anything is decided.
    async fn read_and_act(
        &self,
        surface: &Surface,
        policy: &CompiledPolicy,
        call: Unread,
        watch: Stopwatch,
    ) -> Result<Acted, Refusal> {
        let (request, context) = call.read(surface).await?;
        let upstream = context.upstream.clone();
        let act = {
            let entry = Entry::new(&self.gate, policy, request.facts(Claims::NoTool), self.gate.now());
            let value = match request.body.as_deref() {
                Some(bytes) if !bytes.is_empty() => Some(json::read(bytes, &json::Limits::default())?),
                Some(_) | None => None,
            };
            if let Some(key) = value.as_ref().and_then(|args| entry.confusable_key(args)) {
                return Err(Refusal::variant(&key));
            }
            let body = value.as_ref().map_or(Body::Absent, Body::Read);
            let Decision::Verdict(verdict) = entry.judge(body, Stopwatch::start()) else {
                return Err(Refusal::internal("policy asked again for a body that was read"));
            };
            match verdict.kind {
                VerdictKind::Blocked => {
                    return Ok(Acted::answered(answer::own(answer::blocked(&entry.deny(&verdict).await))));
                }
                VerdictKind::Allowed | VerdictKind::Audit => Act::Send(entry.admit(&verdict).await?),
                VerdictKind::WaitingForApproval => {
                    let patience = context.patience(verdict.approval().hold, surface);
                    let (rule, shown) = entry.order(&verdict, body, None).await?;
                    Act::Park(Box::new((rule, shown)), patience)
                }
            }
        };
        upstream.metrics.overhead(watch.elapsed());
        match act {
            Act::Send(permit) => {
                let HeldRequest { method, target, headers, body, .. } = request;
                let uri = upstream.uri(&target, None);
                let outgoing = Outgoing { method, uri, headers, body: CallBody::judged(body), agent: None };
                let response = sent(upstream::forward(permit, &upstream, outgoing, Stopwatch::start())).await;
                Ok(Acted::answered(response))
            }
            Act::Park(terms, patience) => {
                let (rule, shown) = *terms;
                let Rest { idempotency_key, trace, .. } = context;
                let trace_id = Some(trace.trace_id());
                let order = Order { request, rule, shown, idempotency_key, trace_id, patience };
                match self.gate.enter(order).await? {
                    Entered::Settled(held) => Ok(Acted::answered(self.tell(*held, upstream, patience).await)),
                    Entered::Waiting(waiting) => {
                        Ok(Acted::Parked(Box::new(ParkedCall { waiting, upstream, patience })))
                    }
                }
            }
        }
    }

    /// Waits with the caller, and answers it.
    async fn hold(&self, parked: Box<ParkedCall>) -> Result<Box<Response<AnswerBody>>, Refusal> {
        let ParkedCall { waiting, upstream, patience } = *parked;
        let held = waiting.to_the_end(patience).await?;
        Ok(Box::new(Box::pin(self.tell(*held, upstream, patience)).await))
    }

    async fn tell(&self, held: Held, upstream: Arc<Upstream>, patience: Patience) -> Response<AnswerBody> {
        match held {
            Held::Permitted(permit, request) => {
                let released = upstream::release(permit, upstream, request, self.tracker.clone());
                released.await.unwrap_or_else(answer::own)
            }
            Held::Answered(approval, kept) => answer::replayed(&approval, kept),
            Held::Refused(approval) => answer::own(answer::refused(&approval, self.gate.now())),
            Held::BlockedNow(approval, reason) => answer::own(answer::blocked_now(&approval, &reason)),
            Held::Pending(approval) => answer::pending(&approval, patience),
            Held::Spent(approval) => answer::own(answer::spent(&approval)),
            Held::KeyReused(approval) => answer::own(answer::key_reused(&approval)),
            Held::Full(overflow) => answer::own(answer::full(overflow)),
            Held::Draining(approval) => answer::own(answer::draining(approval.as_ref())),
        }
    }

    fn refused(self: Arc<Self>, id: RequestId, actor: Actor, refusal: Refusal) -> Work {
        Work::Other(Box::pin(async move { self.refuse(id, actor, refusal).await }))
    }

    /// Answers what is refused before policy: counted by reason, written to the trail.
    async fn refuse(&self, id: RequestId, actor: Actor, refusal: Refusal) -> Response<AnswerBody> {
        refusal.account(&self.gate, id, actor).await;
        answer::own(refusal.into_problem())
    }
}

/// The answer to a call that was sent, or why it was not.
async fn sent(passing: Result<Passing, Problem>) -> Response<AnswerBody> {
    match passing {
        Ok(passing) => passing.await,
        Err(problem) => answer::own(problem),
    }
}

/// The checks that need nothing but the head.
fn check(parts: &Parts, surface: &Surface) -> Result<CheckedHead, Refusal> {
    let view = HeadView { method: &parts.method, uri: &parts.uri, version: parts.version, headers: &parts.headers };
    Ok(check_head(&view, &surface.head_limits)?)
}

/// What became of a call.
enum Acted {
    Answered(Box<Response<AnswerBody>>),
    Parked(Box<ParkedCall>),
}

impl Acted {
    fn answered(response: Response<AnswerBody>) -> Self {
        Acted::Answered(Box::new(response))
    }
}

/// A call that waits.
struct ParkedCall {
    waiting: Box<Waiting>,
    upstream: Arc<Upstream>,
    patience: Patience,
}

/// What becomes of a judged call that is not refused.
enum Act {
    Send(Permit),
    Park(Box<(RuleTerms, Shown)>, Patience),
}
