//! An upstream that speaks MCP: of everything that passes, a `tools/call` is a call.
//!
//! The body is judged, never the headers. What policy lets through goes on byte for byte and its answer comes back as it is; a call
//! that is held keeps its caller the way its revision bears, and one that is not sent is answered with a result that the model can
//! read.

mod answer;
mod ask;
mod call;
mod finished;
mod hold;
mod inflight;
mod kept;
mod listing;
mod pipe;
mod relay;
mod resume;
mod rewrite;
mod rounds;
mod sessions;
mod several;
mod stream;
mod tasks;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderValue};
use http::{Method, Response};
use http_body::Body as _;
use tracing::{Instrument as _, Span};

use crate::domain::audit::Actor;
use crate::domain::call::Protocol;
use crate::domain::id::RequestId;
use crate::domain::policy::CompiledPolicy;
use crate::domain::value::Value;
use crate::gate::held::HeldRequest;
use crate::gate::release::admit_message;
use crate::protocol::head::Framing;
use crate::protocol::json;
use crate::protocol::mcp::{
    self as protocol, CANCELLED, Fault, Id, Message, Revision, TASKS_LIST, TOOLS_CALL, TOOLS_LIST, sse,
};
use crate::protocol::trace::TraceParent;
use crate::telemetry::stopwatch::Stopwatch;

use super::Proxy;
use super::body::{AnswerBody, read_whole};
use super::call::{Unread, check_body};
use super::refusal::Refusal;
use super::routes::{Upstream, well_known};
use super::surface::Surface;
use super::upstream::{self, Outgoing};
use listing::Asked;
use rewrite::{Edit, Rewrite};
use tasks::TaskRequest;

pub(super) use finished::Finished;
pub(super) use inflight::InFlight;
pub(super) use rounds::Rounds;
pub(super) use stream::ChannelBody;

/// A message as it arrived, its body read.
struct Post {
    /// The call that it may be; its tool is not known yet.
    request: HeldRequest,
    upstream: Arc<Upstream>,
    trace: TraceParent,
    /// How long route or agent let a held call keep its caller.
    inline_budget: Option<Duration>,
}

/// A message that was refused before anything was judged.
struct Refused {
    refusal: Refusal,
    /// The JSON-RPC error to answer with.
    rpc_code: i32,
    id: Option<Id>,
    /// The revision that was asked for and is not known.
    requested: Option<Box<str>>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, rpc_code: -32600, id: None, requested: None }
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self {
            refusal: Refusal::from(&fault),
            rpc_code: fault.rpc_code,
            id: fault.id,
            requested: fault.requested.map(String::into_boxed_str),
        }
    }
}

impl Post {
    fn body(&self) -> &Bytes {
        static EMPTY: Bytes = Bytes::new();
        self.request.body.as_ref().unwrap_or(&EMPTY)
    }

    /// A tool as policy and reviewers know it.
    fn tool<'c>(&self, call: &protocol::ToolCall<'c>) -> Cow<'c, str> {
        match self.upstream.mcp.as_ref().map_or("", |settings| settings.tool_prefix.as_str()) {
            "" => call.name.into(),
            prefix => format!("{prefix}{}", call.name).into(),
        }
    }

    fn accepts_stream(&self) -> bool {
        accepts_stream(&self.request.headers)
    }

    /// The session that the caller says it is in. Part of a key, never of a decision.
    fn session(&self) -> &[u8] {
        self.request.headers.get(protocol::SESSION).map_or(&[], HeaderValue::as_bytes)
    }

    fn outgoing(self) -> Outgoing {
        let HeldRequest { agent, method, target, headers, body, .. } = self.request;
        Outgoing::judged(&self.upstream, method, &target, headers, body).of(agent)
    }
}

impl Proxy {
    /// Answers a request to an MCP upstream. Most are calls that policy lets through with nothing to say about them: those are on
    /// their way first, and whatever is not is boxed, so that they do not carry the room for it.
    pub(super) async fn mcp(
        self: Arc<Self>,
        id: RequestId,
        surface: Arc<Surface>,
        policy: Arc<CompiledPolicy>,
        call: Box<Unread>,
        watch: Stopwatch,
    ) -> Response<AnswerBody> {
        let (agent, trace) = (call.agent.clone(), call.trace);
        let span = || tracing::info_span!("request", request_id = %id, trace_id = trace.trace_id());
        // Documents are only read.
        let is_message =
            call.method == Method::POST && call.several.is_none() && well_known(call.target.path()).is_none();
        let answered = match is_message {
            true => self.mcp_post(&surface, &policy, call, watch, span).await,
            false => Box::pin(self.mcp_other(&surface, &policy, *call, watch)).instrument(span()).await,
        };
        match answered {
            Ok(response) => response,
            Err(refused) => {
                let account = refused.refusal.account(&self.gate, id, Actor::Agent(agent.0));
                Box::pin(account).instrument(span()).await;
                answer::refused(refused)
            }
        }
    }

    /// What is no message to one server.
    async fn mcp_other(
        &self,
        surface: &Surface,
        policy: &Arc<CompiledPolicy>,
        call: Unread,
        watch: Stopwatch,
    ) -> Result<Response<AnswerBody>, Refused> {
        let several = call.several.clone();
        match call.method {
            // Only a stream is taken up again, by the one server that it is from.
            _ if several.is_some() && (call.method != Method::GET || resume::resumed(&call.headers).is_none()) => {
                let servers = several.as_deref().unwrap_or_default();
                self.mcp_several(surface, policy, call, servers, watch).await
            }
            // An event stream, the end of a session, a browser's question: nothing is called by these.
            Method::GET | Method::DELETE | Method::OPTIONS | Method::HEAD
                if has_no_body(&call)
                    && (call.method != Method::DELETE || well_known(call.target.path()).is_none()) =>
            {
                if call.method == Method::GET
                    && let Some(event) = resume::resumed(&call.headers).map(str::to_owned)
                {
                    return Ok(self.mcp_resume(surface, &call, &event).await);
                }
                let Unread { agent, upstream, method, headers, target, .. } = call;
                let outgoing = Outgoing::judged(&upstream, method, &target, headers, None).of(agent);
                let sent = upstream::send(admit_message(), &upstream, outgoing).await;
                Ok(sent.unwrap_or_else(super::answer::own))
            }
            _ => Err(Refusal::mcp_method(&call.method).into()),
        }
    }

    /// A message to one server: read, and sent on when it is a call that is let through silently.
    async fn mcp_post(
        &self,
        surface: &Surface,
        policy: &Arc<CompiledPolicy>,
        call: Box<Unread>,
        watch: Stopwatch,
        span: impl Fn() -> Span,
    ) -> Result<Response<AnswerBody>, Refused> {
        let post = read(call, surface).await?;
        // Judged on a view of its own: the bytes go on as they came.
        let body = post.body().clone();
        let value = strict(&body)?;
        let message = protocol::read(&value)?;
        protocol::check_method(&post.request.headers, &message)?;
        if let Message::Request { id, method: TOOLS_CALL, params } = &message
            && let Some((permit, about)) = self.admit_call_silently(policy, &post, *params)
        {
            post.upstream.metrics.overhead(watch.elapsed());
            let upstream = post.upstream.clone();
            let sent = upstream::send(permit, &upstream, post.outgoing()).await;
            return Ok(sent.unwrap_or_else(|problem| about(id.clone()).answer(problem)));
        }
        Box::pin(self.mcp_message(surface, policy, post, message, watch)).instrument(span()).await
    }

    /// Everything that is not let through silently.
    async fn mcp_message(
        &self,
        surface: &Surface,
        policy: &Arc<CompiledPolicy>,
        post: Post,
        message: Message<'_>,
        watch: Stopwatch,
    ) -> Result<Response<AnswerBody>, Refused> {
        let metrics = post.upstream.metrics.clone();
        match message {
            Message::Request { id, method: TOOLS_CALL, params } => {
                let judged = self.mcp_call(surface, policy, post, &id, params, watch).await;
                judged.map_err(|refused| Refused { id: Some(id), ..refused })
            }
            Message::Notification { method: CANCELLED, params } if self.cancel_held(&post, params) => {
                Ok(answer::accepted())
            }
            Message::Request { id, method, params } => {
                metrics.overhead(watch.elapsed());
                if let Some(task) = own_task(method, params) {
                    let asked = task_request(&post, id.clone(), method, task, params);
                    return match asked {
                        Ok(asked) => Ok(self.mcp_task(asked).await),
                        Err(fault) => Err(Refused { id: Some(id), ..fault.into() }),
                    };
                }
                let edit = self.edit_of(policy, &post, method, params).await;
                let response = pass(post).await.unwrap_or_else(|problem| answer::failed(&id, problem));
                Ok(match edit {
                    Some(edit) => {
                        Rewrite { id, edit, takes_errors: method == TASKS_LIST, call: None }
                            .apply(response, &self.tracker)
                            .await
                    }
                    None => response,
                })
            }
            Message::Notification { .. } | Message::Response => {
                metrics.overhead(watch.elapsed());
                Ok(pass(post).await.unwrap_or_else(super::answer::own))
            }
        }
    }

    /// What is to be changed in the answer to a request that is no call.
    async fn edit_of(
        &self,
        policy: &Arc<CompiledPolicy>,
        post: &Post,
        method: &str,
        params: Option<&Value<'_>>,
    ) -> Option<Edit> {
        let meta = params.and_then(|params| params.member("_meta"));
        let asked = |revision| Asked {
            gate: self.gate.clone(),
            policy: policy.clone(),
            upstream: post.upstream.clone(),
            request: HeldRequest { body: None, ..post.request.clone() },
            revision,
        };
        match method {
            // The revision is agreed in the answer to this one.
            "initialize" => Some(asked(Revision::November2025)).filter(Asked::offers_tasks).map(Asked::capabilities),
            "server/discover" => Some(asked(Revision::July2026)).filter(Asked::offers_tasks).map(Asked::capabilities),
            TOOLS_LIST => {
                // What the server makes of a revision that nobody knows is its own matter.
                let revision = protocol::check_version(&post.request.headers, meta).unwrap_or(Revision::March2025);
                let continues = params.is_some_and(|params| params.member("cursor").is_some());
                Some(asked(revision).list(continues))
            }
            TASKS_LIST if policy.can_hold() => {
                let own = self.own_tasks(&post.request.agent, &post.upstream.name).await;
                Some(tasks::append(own))
            }
            _ => None,
        }
    }

    /// Takes back a call of the same caller that is held; `false` when none is, and the upstream must hear of it.
    fn cancel_held(&self, post: &Post, params: Option<&Value<'_>>) -> bool {
        let id = params.and_then(|params| params.member("requestId")).and_then(Id::of);
        id.is_some_and(|id| self.in_flight.cancel(&post.request.agent, &post.upstream.name, post.session(), &id))
    }
}

/// Over HTTP/2 only the end of the stream says so.
fn has_no_body(call: &Unread) -> bool {
    match call.framing {
        Framing::Absent => true,
        Framing::Stream => call.body.is_end_stream(),
        Framing::Chunked | Framing::Length(_) => false,
    }
}

/// The task that a request is about, where the gateway keeps it.
fn own_task<'v>(method: &str, params: Option<&'v Value<'v>>) -> Option<&'v str> {
    match params?.member("taskId")? {
        Value::String(task) if method.starts_with("tasks/") && tasks::is_ours(task) => Some(task),
        _ => None,
    }
}

/// Reads a request about a task. `Mcp-Name` may be missing, since clients exist that forget it, but must not contradict.
fn task_request<'a>(
    post: &'a Post,
    id: Id,
    method: &'a str,
    task: &'a str,
    params: Option<&'a Value<'a>>,
) -> Result<TaskRequest<'a>, Fault> {
    let headers = &post.request.headers;
    let revision = protocol::check_version(headers, params.and_then(|params| params.member("_meta")))?;
    protocol::check_given_names(headers, method, task)?;
    let (agent, upstreams) = (post.request.agent.clone(), vec![post.upstream.name.clone()]);
    Ok(TaskRequest { id, method, task, agent, upstreams, revision, streams: post.accepts_stream() })
}

/// Forwards a message that is no call.
async fn pass(post: Post) -> Result<Response<AnswerBody>, crate::problem::Problem> {
    let upstream = post.upstream.clone();
    upstream::send(admit_message(), &upstream, post.outgoing()).await
}

/// Reads a message's bytes strictly.
fn strict(body: &Bytes) -> Result<Value<'_>, Refused> {
    let read = json::read(body, &json::Limits::default());
    read.map_err(|error| Refused { refusal: Refusal::from(error), rpc_code: -32700, id: None, requested: None })
}

/// Reads the body whole. A message that cannot be judged is refused, whatever it is.
async fn read(call: Box<Unread>, surface: &Surface) -> Result<Post, Refusal> {
    let Unread { agent, upstream, target, inline_budget, method, mut headers, trace, body, .. } = *call;
    let bytes = read_whole(body, surface.body_bytes_max, surface.body_timeout).await?;
    check_body(&method, &headers, &bytes)?;
    // Answers are read here; they are small, and the caller's connection is near.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let inline_budget = surface.inline_budgets.get(&agent).copied().or(inline_budget);
    let request = HeldRequest {
        agent,
        upstream: upstream.name.clone(),
        tool: String::new(),
        method,
        target,
        headers,
        body: Some(bytes),
        protocol: Protocol::Mcp,
    };
    Ok(Post { request, upstream, trace, inline_budget })
}

fn accepts_stream(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| {
        value
            .split(',')
            .any(|range| range.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(sse::MEDIA_TYPE)))
    })
}

/// The revision of a call, and the checks of what its headers say.
fn check_headers(headers: &HeaderMap, call: &protocol::ToolCall<'_>) -> Result<Revision, Fault> {
    let revision = protocol::check_version(headers, call.meta)?;
    protocol::check_names(headers, revision, TOOLS_CALL, call.name)?;
    Ok(revision)
}
