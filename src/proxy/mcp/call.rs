//! A `tools/call`: judged by its body, then sent, answered, or held.

use std::sync::Arc;
use std::time::Duration;

use http::Response;

use crate::domain::policy::{CompiledPolicy, Decision, VerdictKind};
use crate::domain::value::Value;
use crate::gate::intake::{Body, Entry, Shown};
use crate::gate::parking::{Entered, Held, Order, Patience, RuleTerms};
use crate::gate::release::Permit;
use crate::gate::waiting::Waiting;
use crate::problem::Problem;
use crate::protocol::mcp::{Id, ToolCall};
use crate::protocol::trace::TraceParent;
use crate::telemetry::stopwatch::Stopwatch;

use super::super::Proxy;
use super::super::body::AnswerBody;
use super::super::refusal::Refusal;
use super::super::routes::Upstream;
use super::super::surface::Surface;
use super::super::{answer as plain, upstream};
use super::answer::{self, About};
use super::hold::Hold;
use super::inflight::Cancellable;
use super::{Post, Refused, check_headers};

/// How long a held call waits before its answer becomes an event stream: what is decided at once is answered plainly.
const BEFORE_STREAM: Duration = Duration::from_secs(1);
/// How long a held call keeps a caller that asked for progress, unless route or agent say otherwise: below the four minutes after
/// which hosts give up, whatever is reported to them.
const WITH_PROGRESS: Duration = Duration::from_secs(230);

/// What becomes of a judged call.
enum Act {
    Answer(Problem),
    Send(Permit),
    Park(Box<(RuleTerms, Shown)>, Duration),
}

/// A call that waits, and how its caller can be answered.
pub(super) struct HeldCall {
    pub(super) about: About,
    pub(super) upstream: Arc<Upstream>,
    pub(super) waiting: Waiting,
    pub(super) cancellable: Cancellable,
    /// How long the caller is kept.
    pub(super) budget: Duration,
    /// The caller's progress token, as JSON text.
    pub(super) token: Option<String>,
}

impl Proxy {
    /// Judges a call and acts on the verdict.
    pub(super) async fn mcp_call(
        &self,
        surface: &Surface,
        policy: &CompiledPolicy,
        mut post: Post,
        id: &Id,
        params: Option<&Value<'_>>,
        watch: Stopwatch,
    ) -> Result<Response<AnswerBody>, Refused> {
        let call = ToolCall::read(params)?;
        let revision = check_headers(&post.request.headers, &call)?;
        let settings = post.upstream.mcp.as_ref();
        let prefix = settings.map_or("", |settings| settings.tool_prefix.as_str());
        post.request.tool = format!("{prefix}{}", call.name);
        let about = About { id: id.clone(), tool: post.request.tool.clone(), revision };
        let token = call.progress_token.map(|token| {
            let mut text = String::new();
            token.write_json(&mut text);
            text
        });
        let act = match self.judge_call(policy, &post, &call).await {
            Ok(act) => act,
            Err(refusal) if refusal.is_ours() => return Ok(about.answer(refusal.into_problem())),
            Err(refusal) => return Err(refusal.into()),
        };
        post.upstream.metrics.overhead(watch.elapsed());
        match act {
            Act::Answer(problem) => Ok(about.answer(problem)),
            Act::Send(permit) => {
                let upstream = post.upstream.clone();
                let sent = upstream::forward(permit, &upstream, post.outgoing()).await;
                Ok(sent.unwrap_or_else(|problem| about.answer(problem)))
            }
            Act::Park(terms, hold) => {
                let with_token = if token.is_some() { hold.max(WITH_PROGRESS) } else { hold };
                let budget = post.inline_budget.unwrap_or(with_token).min(surface.wait_max);
                let trace_id = trace_of(&call, &post.trace);
                Ok(self.hold_call(surface, post, about, *terms, (budget, token, trace_id)).await)
            }
        }
    }

    async fn judge_call(&self, policy: &CompiledPolicy, post: &Post, call: &ToolCall<'_>) -> Result<Act, Refusal> {
        let entry = Entry::new(&self.gate, policy, post.request.facts());
        if let Some(key) = call.arguments.and_then(|args| entry.confusable_key(args)) {
            return Err(Refusal::variant(&key));
        }
        let body = call.arguments.map_or(Body::Absent, Body::Read);
        let Decision::Verdict(verdict) = entry.judge(body) else {
            return Err(Refusal::internal("policy asked again for a body that was read"));
        };
        Ok(match verdict.kind {
            VerdictKind::Blocked => Act::Answer(plain::blocked(&entry.deny(&verdict).await)),
            VerdictKind::Allowed | VerdictKind::Audit => Act::Send(entry.admit(&verdict).await?),
            VerdictKind::WaitingForApproval => {
                Act::Park(Box::new(entry.order(&verdict, body).await?), verdict.approval().hold)
            }
        })
    }

    async fn hold_call(
        &self,
        surface: &Surface,
        post: Post,
        about: About,
        (rule, shown): (RuleTerms, Shown),
        (budget, token, trace_id): (Duration, Option<String>, String),
    ) -> Response<AnswerBody> {
        let streams = post.accepts_stream();
        let cancellable = self.in_flight.note(&post.request.agent, &post.upstream.name, post.session(), &about.id);
        let upstream = post.upstream.clone();
        let request = post.request.clone();
        let order = Order {
            request: post.request,
            rule,
            shown,
            idempotency_key: None,
            trace_id: Some(trace_id),
            patience: Patience::Wait(budget),
        };
        let waiting = match self.gate.enter(order).await {
            Ok(Entered::Settled(held)) => return self.conclude(*held, &about, &upstream, request).await,
            Ok(Entered::Waiting(waiting)) => *waiting,
            Err(error) => return about.answer(Problem::from(error)),
        };
        let mut held = HeldCall { about, upstream, waiting, cancellable, budget, token };
        let inline = if streams { BEFORE_STREAM.min(budget) } else { budget };
        let decided = tokio::select! {
            decided = held.waiting.wait(inline) => decided,
            () = held.cancellable.cancelled() => return self.withdrawn(held).await,
        };
        match decided {
            Ok(Some(decided)) => {
                held.cancellable.forget();
                let request = held.waiting.request().clone();
                self.conclude(decided, &held.about, &held.upstream, request).await
            }
            Ok(None) if streams && inline < budget => {
                held.budget = budget.saturating_sub(inline);
                Hold::new(self, surface, held).respond()
            }
            Ok(None) => {
                let HeldCall { about, waiting, .. } = held;
                about.answer(plain::still_pending(&waiting.give_up().await))
            }
            Err(error) => held.about.answer(Problem::from(error)),
        }
    }

    /// Answers plainly: nothing has been written to the caller yet, so the upstream's answer passes as it is, whatever its status.
    async fn conclude(
        &self,
        held: Held,
        about: &About,
        upstream: &Arc<Upstream>,
        request: crate::gate::held::HeldRequest,
    ) -> Response<AnswerBody> {
        if let Some(problem) = answer::problem_of(&held, self.gate.now()) {
            return about.answer(problem);
        }
        match held {
            Held::Permitted(permit) => upstream::release(permit, upstream.clone(), request, self.tracker.clone())
                .await
                .unwrap_or_else(|problem| about.answer(problem)),
            Held::Answered(approval, kept) => match about.kept(&kept) {
                Some(text) => answer::json(text, &approval.id.to_string()),
                None => about.answer(plain::spent(&approval)),
            },
            _ => about.answer(Problem::new(crate::problem::Code::Internal, "the gateway lost track of the call")),
        }
    }

    /// The caller has taken the call back: nobody reads what is answered now, but an answer there must be.
    async fn withdrawn(&self, held: HeldCall) -> Response<AnswerBody> {
        let HeldCall { about, waiting, .. } = held;
        let approval = super::hold::withdraw(&self.gate, waiting).await;
        about.answer(plain::refused(&approval, self.gate.now()))
    }
}

/// The caller's trace: `_meta` says it where no header does.
fn trace_of(call: &ToolCall<'_>, header: &TraceParent) -> String {
    let meta = call.traceparent().and_then(TraceParent::parse);
    meta.map_or_else(|| header.trace_id(), |trace| trace.trace_id())
}
