//! A `tools/call`: judged by its body, then sent, answered, or held.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;

use crate::domain::call::Fingerprint;
use crate::domain::policy::{CompiledPolicy, Decision, HOLD_DEFAULT, VerdictKind};
use crate::domain::value::Value;
use crate::gate::held::HeldRequest;
use crate::gate::intake::{Body, Call, Entry, Shown};
use crate::gate::parking::{Entered, Held, Order, Patience, RuleTerms};
use crate::gate::release::{Permit, admit_continuation};
use crate::problem::{APPROVAL_HEADER, Problem};
use crate::protocol::json;
use crate::protocol::mcp::{Id, Revision, TASKS_EXTENSION, ToolCall, bound_beside_arguments};
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
use super::kept::Kept;
use super::rewrite::Rewrite;
use super::rounds::State;
use super::{Post, Refused, check_headers};
use super::{rounds, tasks};

/// How long a held call waits before its answer becomes an event stream: what is decided at once is answered plainly.
const BEFORE_STREAM: Duration = Duration::from_secs(1);
/// How long a held call keeps a caller that asked for progress, unless route or agent say otherwise: below the four minutes after
/// which hosts give up, whatever is reported to them.
const WITH_PROGRESS: Duration = Duration::from_secs(230);

/// How a held call's caller is kept.
struct Keeping {
    budget: Duration,
    token: Option<String>,
    trace_id: String,
    round: u32,
}

/// What becomes of a judged call.
enum Act {
    Answer(Problem),
    /// The tool is hidden from this agent: to it there is none.
    Hidden,
    Send(Permit),
    Park(Box<(RuleTerms, Shown)>, Duration),
}

/// A call that waits, and how its caller can be answered.
pub(super) struct HeldCall {
    pub(super) about: About,
    pub(super) upstream: Arc<Upstream>,
    pub(super) waiting: Kept,
    pub(super) cancellable: Cancellable,
    /// How long the caller is kept.
    pub(super) budget: Duration,
    /// The caller's progress token, as JSON text.
    pub(super) token: Option<String>,
    /// Which request of the same call this is.
    pub(super) round: u32,
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
        post.request.tool = post.tool(&call).into_owned();
        let about = About { id: id.clone(), tool: post.request.tool.clone(), revision };
        let token = call.progress_token.map(|token| {
            let mut text = String::new();
            token.write_json(&mut text);
            text
        });
        let round = match call.request_state.filter(|state| rounds::is_ours(state)) {
            None => None,
            Some(text) => {
                let fingerprint = post.request.fingerprint();
                match self.rounds.take(&self.gate, &post.request.agent, text, fingerprint) {
                    Ok(state) => Some(state),
                    Err(error) => return Ok(answer::rpc(id, -32602, &error.to_string())),
                }
            }
        };
        if let Some(state) = &round {
            post.request.body = rounds::with_state(post.body(), state.sent()).or(post.request.body);
        }
        let act = match self.judge_call(policy, &post, &call, params).await {
            Ok(act) => act,
            Err(refusal) if refusal.is_ours() => return Ok(about.answer(refusal.into_problem())),
            Err(refusal) => return Err(refusal.into()),
        };
        post.upstream.metrics.overhead(watch.elapsed());
        match act {
            Act::Answer(problem) => Ok(about.answer(problem)),
            Act::Send(_) | Act::Park(..)
                if let Some(approved) = round.as_ref().filter(|state| state.sent().is_some()).map(State::call) =>
            {
                Ok(self.go_on(post, &about, approved).await)
            }
            Act::Hidden => Ok(answer::unknown_tool(id, call.name)),
            Act::Send(permit) => {
                let (upstream, agent) = (post.upstream.clone(), post.request.agent.clone());
                let sent = upstream::send(permit, &upstream, post.outgoing()).await;
                let response = sent.unwrap_or_else(|problem| about.answer(problem));
                if call.task.is_none() || revision != Revision::November2025 {
                    return Ok(response);
                }
                let edit = tasks::wrap(self.finished.clone(), agent, self.gate.clone());
                Ok(Rewrite::of_call(&about, edit).apply(response, &self.tracker).await)
            }
            Act::Park(terms, _) if wants_task(&call, revision) => {
                let trace_id = trace_of(&call, &post.trace);
                post.request.body = Some(without_task(post.body())?);
                Ok(Box::pin(self.hold_as_task(post, about, *terms, trace_id)).await)
            }
            Act::Park(terms, hold) => {
                // A rule that says less than usual means it.
                let with_token = if token.is_some() && hold >= HOLD_DEFAULT { hold.max(WITH_PROGRESS) } else { hold };
                let most = if revision.is_stateless() { rounds::ROUND_MAX } else { surface.wait_max };
                let budget = post.inline_budget.unwrap_or(with_token).min(most).min(surface.wait_max);
                let trace_id = trace_of(&call, &post.trace);
                let round = round.map_or(1, |state| state.round());
                let keeping = Keeping { budget, token, trace_id, round };
                Ok(Box::pin(self.hold_call(surface, post, about, *terms, keeping)).await)
            }
        }
    }

    /// Lets a call through that needs nothing else done about it, and that policy has nothing to say about; with what it takes to
    /// say why it could not be sent. `None` leaves it, and whatever is wrong with it, to [`Proxy::mcp_call`].
    pub(super) fn admit_call_silently<'a>(
        &self,
        policy: &CompiledPolicy,
        post: &'a Post,
        params: Option<&'a Value<'_>>,
    ) -> Option<(Permit, impl FnOnce(Id) -> About + use<>)> {
        let call = ToolCall::read(params).ok()?;
        if call.task.is_some() || call.request_state.is_some() {
            return None;
        }
        let revision = check_headers(&post.request.headers, &call).ok()?;
        let tool = post.tool(&call);
        let entry = self.entry_of(policy, post, &call, &tool);
        if call.arguments.is_some_and(|arguments| entry.confusable_key(arguments).is_some()) {
            return None;
        }
        let body = call.arguments.map_or(Body::Absent, Body::Read);
        let permit = match entry.judge(body, Stopwatch::start()) {
            Decision::Verdict(verdict) => entry.admit_silently(&verdict, &post.upstream.metrics)?,
            Decision::NeedsBody => return None,
        };
        let tool = tool.into_owned();
        Some((permit, move |id| About { id, tool, revision }))
    }

    fn entry_of<'a>(
        &'a self,
        policy: &'a CompiledPolicy,
        post: &'a Post,
        call: &ToolCall<'a>,
        tool: &'a str,
    ) -> Entry<'a> {
        let upstream = &post.upstream.name;
        let (standing, claims) = self.gate.tool_known(upstream, call.name);
        let facts = Call { tool, ..post.request.facts(claims) };
        let entry = Entry::new(&self.gate, policy, facts, self.gate.now());
        entry.for_tool(call.name, standing, post.upstream.on_tool_change)
    }

    async fn judge_call(
        &self,
        policy: &CompiledPolicy,
        post: &Post,
        call: &ToolCall<'_>,
        params: Option<&Value<'_>>,
    ) -> Result<Act, Refusal> {
        let entry = self.entry_of(policy, post, call, &post.request.tool);
        if let Some(key) = call.arguments.and_then(|args| entry.confusable_key(args)) {
            return Err(Refusal::variant(&key));
        }
        let hides = post.upstream.mcp.as_ref().is_some_and(|settings| settings.hides_blocked);
        if hides
            && let Decision::Verdict(verdict) = entry.judge(Body::Unread, Stopwatch::start())
            && verdict.kind == VerdictKind::Blocked
        {
            entry.deny(&verdict).await;
            return Ok(Act::Hidden);
        }
        let body = call.arguments.map_or(Body::Absent, Body::Read);
        let Decision::Verdict(verdict) = entry.judge(body, Stopwatch::start()) else {
            return Err(Refusal::internal("policy asked again for a body that was read"));
        };
        Ok(match verdict.kind {
            VerdictKind::Blocked => Act::Answer(plain::blocked(&entry.deny(&verdict).await)),
            VerdictKind::Allowed | VerdictKind::Audit => Act::Send(entry.admit(&verdict).await?),
            VerdictKind::WaitingForApproval => Act::Park(
                Box::new(entry.order(&verdict, body, bound_beside_arguments(params)).await?),
                verdict.approval().hold,
            ),
        })
    }

    async fn hold_call(
        &self,
        surface: &Surface,
        post: Post,
        about: About,
        terms: (RuleTerms, Shown),
        keeping: Keeping,
    ) -> Response<AnswerBody> {
        let Keeping { budget, token, trace_id, round } = keeping;
        let streams = post.accepts_stream();
        let cancellable = self.in_flight.note(&post.request.agent, &post.upstream.name, post.session(), &about.id);
        let upstream = post.upstream.clone();
        let order = order(post.request, terms, trace_id, Patience::Wait(budget));
        let waiting = match Box::pin(self.gate.enter(order)).await {
            Ok(Entered::Settled(held)) => return Box::pin(self.conclude(*held, &about, &upstream)).await,
            Ok(Entered::Waiting(waiting)) => Kept::new(&self.gate, waiting, about.revision),
            Err(error) => return about.answer(Problem::from(error)),
        };
        let mut held = HeldCall { about, upstream, waiting, cancellable, budget, token, round };
        let inline = if streams { BEFORE_STREAM.min(budget) } else { budget };
        let decided = tokio::select! {
            decided = held.waiting.wait(inline) => decided,
            () = held.cancellable.cancelled() => return Box::pin(self.withdrawn(held)).await,
        };
        match decided {
            Ok(Some(decided)) => {
                let HeldCall { about, upstream, waiting, cancellable, .. } = held;
                cancellable.forget();
                waiting.settled();
                Box::pin(self.conclude(*decided, &about, &upstream)).await
            }
            Ok(None) if streams && inline < budget => {
                held.budget = budget.saturating_sub(inline);
                Hold::new(self, surface, held).respond()
            }
            Ok(None) => {
                let HeldCall { about, waiting, .. } = held;
                match Box::pin(waiting.give_up()).await {
                    Ok(approval) => {
                        answer::json(self.rounds.over(&self.gate, &about, &approval, round), &approval.id.to_string())
                    }
                    Err(error) => about.answer(Problem::from(error)),
                }
            }
            Err(error) => held.about.answer(Problem::from(error)),
        }
    }

    /// Parks a call that the gateway will send itself; its caller follows it as a task.
    async fn hold_as_task(
        &self,
        post: Post,
        about: About,
        terms: (RuleTerms, Shown),
        trace_id: String,
    ) -> Response<AnswerBody> {
        let (agent, upstream) = (post.request.agent.clone(), post.upstream.clone());
        let order = order(post.request, terms, trace_id, Patience::RespondAsync);
        let response = match self.gate.enter(order).await {
            Ok(Entered::Waiting(waiting)) => match waiting.give_up().await {
                Ok(approval) => return tasks::created(&about.id, about.revision, &approval),
                Err(error) => about.answer(Problem::from(error)),
            },
            Ok(Entered::Settled(held)) => self.conclude(*held, &about, &upstream).await,
            Err(error) => about.answer(Problem::from(error)),
        };
        if about.revision.is_stateless() {
            return response;
        }
        let edit = tasks::wrap(self.finished.clone(), agent, self.gate.clone());
        Rewrite::of_call(&about, edit).apply(response, &self.tracker).await
    }

    /// Answers plainly: nothing has been written to the caller yet, so the upstream's answer passes as it is, whatever its status.
    async fn conclude(&self, held: Held, about: &About, upstream: &Arc<Upstream>) -> Response<AnswerBody> {
        if let Some(problem) = answer::problem_of(&held, self.gate.now()) {
            return about.answer(problem);
        }
        match held {
            Held::Permitted(permit, request) => {
                let (agent, fingerprint) = (request.agent.clone(), request.fingerprint());
                match upstream::release(permit, upstream.clone(), request, self.tracker.clone()).await {
                    Ok(response) if about.revision.is_stateless() => {
                        let edit = self.rounds.carry(self.gate.clone(), agent, approval_of(&response), fingerprint);
                        Rewrite::of_call(about, edit).apply(response, &self.tracker).await
                    }
                    Ok(response) => response,
                    Err(problem) => about.answer(problem),
                }
            }
            Held::Answered(approval, kept) => match about.kept(&kept) {
                Some(text) => answer::json(text, &approval.id.to_string()),
                None => about.answer(plain::spent(&approval)),
            },
            _ => about.answer(Problem::new(crate::problem::Code::Internal, "the gateway lost track of the call")),
        }
    }

    /// Sends on the answer to a server's question about a call that was approved and sent.
    async fn go_on(&self, post: Post, about: &About, fingerprint: Fingerprint) -> Response<AnswerBody> {
        let (upstream, agent) = (post.upstream.clone(), post.request.agent.clone());
        let sent = upstream::send(admit_continuation(), &upstream, post.outgoing()).await;
        let response = sent.unwrap_or_else(|problem| about.answer(problem));
        let edit = self.rounds.carry(self.gate.clone(), agent, String::new(), fingerprint);
        Rewrite::of_call(about, edit).apply(response, &self.tracker).await
    }

    /// The caller has taken the call back: nobody reads what is answered now, but an answer there must be.
    async fn withdrawn(&self, held: HeldCall) -> Response<AnswerBody> {
        let HeldCall { about, waiting, .. } = held;
        match waiting.withdraw().await {
            Ok(approval) => about.answer(plain::refused(&approval, self.gate.now())),
            Err(error) => about.answer(Problem::from(error)),
        }
    }
}

/// An order to park; MCP knows no idempotency keys, identical calls join by themselves.
fn order(request: HeldRequest, (rule, shown): (RuleTerms, Shown), trace_id: String, patience: Patience) -> Order {
    Order { request, rule, shown, idempotency_key: None, trace_id: Some(trace_id), patience }
}

/// The approval under which a released call was answered.
pub(super) fn approval_of(response: &Response<AnswerBody>) -> String {
    let id = response.headers().get(APPROVAL_HEADER).and_then(|id| id.to_str().ok());
    id.unwrap_or_default().to_owned()
}

/// Whether the caller wants to follow the call as a task, or can.
fn wants_task(call: &ToolCall<'_>, revision: Revision) -> bool {
    match revision {
        Revision::March2025 | Revision::June2025 => false,
        Revision::November2025 => call.task.is_some(),
        Revision::July2026 => call.client_has_extension(TASKS_EXTENSION),
    }
}

/// The message as the upstream is to get it: the task is the gateway's.
fn without_task(body: &Bytes) -> Result<Bytes, Refusal> {
    let mut value = json::read(body, &json::Limits::default())?;
    if let Value::Object(members) = &mut value
        && let Some((_, Value::Object(params))) = members.iter_mut().find(|(key, _)| key == "params")
    {
        params.retain(|(key, _)| key != "task");
    }
    let mut text = String::with_capacity(body.len());
    value.write_json(&mut text);
    Ok(text.into())
}

/// The caller's trace: `_meta` says it where no header does.
fn trace_of(call: &ToolCall<'_>, header: &TraceParent) -> String {
    let meta = call.traceparent().and_then(TraceParent::parse);
    meta.map_or_else(|| header.trace_id(), |trace| trace.trace_id())
}
