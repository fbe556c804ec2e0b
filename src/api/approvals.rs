//! Creating, following, listing and withdrawing approvals.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use sha2::{Digest as _, Sha256};

use crate::domain::approval::{Approval, Canceller, Execution, State, Status};
use crate::domain::call::PayloadHash;
use crate::domain::duration;
use crate::domain::identity::AgentId;
use crate::gate::decisions::{ACTION_EXPIRES_IN_MAX, Created, NewAction, Outcome};
use crate::gate::release::KeptAnswer;
use crate::problem::{self, APPROVAL_HEADER, Code, Problem, SOURCE_HEADER, Source};
use crate::protocol::fingerprint::{CallParts, fingerprint};
use crate::protocol::trace::TraceParent;
use crate::store::QueueLimit;
use crate::web::REASON_CHARS_MAX;
use crate::web::listing::Listing;

use super::context::{Caller, Context, not_found, reply};
use super::invalid;
use super::wire::approval::{Approval as ApprovalView, PublicApproval};
use super::wire::{self, ApprovalList};

/// The longest action, in characters.
const ACTION_CHARS_MAX: usize = 256;
/// The longest trace id, in characters.
const TRACE_ID_CHARS_MAX: usize = 128;
/// The longest idempotency key, in characters.
const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;
/// When to look again at something that is still pending, in seconds.
const LOOK_AGAIN_SECONDS: u64 = 5;

/// `POST /v1/approvals`
pub(super) async fn create(context: Context) -> Result<Response, Problem> {
    let body: wire::CreateApproval = context.json()?;
    let action = new_action(context.agent()?, &context.headers, body)?;
    let (status, approval) = match context.gate().create_action(action).await? {
        Created::New(approval) => (StatusCode::CREATED, approval),
        // A repeat is answered like the first: the caller cannot tell which of the two got through.
        Created::Standing(approval) => (StatusCode::CREATED, approval),
        Created::KeyReused(approval) => {
            let detail = "this `Idempotency-Key` was used for another action; use a new key for a new action";
            return Err(Problem::new(Code::IdempotencyKeyReused, detail).about(&approval));
        }
        Created::Full(limit) => {
            let detail = match limit {
                QueueLimit::PerAgent => "this agent has too many pending approvals (`limits.pending_per_agent_max`)",
                QueueLimit::Total => "too many approvals are pending (`limits.pending_total_max`)",
            };
            return Err(Problem::new(Code::QueueFull, detail).retry_after(LOOK_AGAIN_SECONDS));
        }
    };
    let mut response = reply(status, &PublicApproval::new(&approval))?;
    let location = format!("{}/v1/approvals/{}", context.surface.prefix(), approval.id);
    response.headers_mut().insert(LOCATION, HeaderValue::from_str(&location).expect("ids and prefixes are ASCII"));
    Ok(response)
}

fn new_action(agent: &AgentId, headers: &HeaderMap, body: wire::CreateApproval) -> Result<NewAction, Problem> {
    let wire::CreateApproval { action, context, trace_id, expires_in } = body;
    if action.trim().is_empty() || action.chars().count() > ACTION_CHARS_MAX {
        return Err(invalid(&"`action` must have 1 to 256 characters that are not all spaces"));
    }
    if trace_id.as_ref().is_some_and(|id| id.chars().count() > TRACE_ID_CHARS_MAX) {
        return Err(invalid(&"`trace_id` must have at most 128 characters"));
    }
    let expires_in = match expires_in {
        Some(text) => Some(duration::parse(&text).map_err(|error| invalid(&format!("`expires_in`: {error}")))?),
        None => None,
    };
    if expires_in.is_some_and(|time| time == Duration::ZERO || time > ACTION_EXPIRES_IN_MAX) {
        return Err(invalid(&"`expires_in` must be more than nothing and at most 7d"));
    }
    let raw = context.as_ref().map(|context| context.get());
    let parts = CallParts {
        agent: &agent.0,
        upstream: "",
        tool: &action,
        method: "",
        target: "",
        body: raw.map(str::as_bytes),
    };
    let fingerprint = fingerprint(&parts);
    let raw = raw.unwrap_or("{}").to_owned();
    Ok(NewAction {
        agent: agent.clone(),
        payload_sha256: PayloadHash(Sha256::digest(raw.as_bytes()).into()),
        context: raw,
        fingerprint,
        trace_id: trace_id.or_else(|| trace_id_of(headers)),
        expires_in,
        idempotency_key: idempotency_key(headers)?,
        action,
    })
}

fn trace_id_of(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("traceparent")?.to_str().ok()?;
    Some(TraceParent::parse(value)?.trace_id())
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(key) if (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len()) => Ok(Some(key.to_owned())),
            _ => Err(invalid(&"`Idempotency-Key` must be 1 to 255 visible ASCII characters")),
        },
        (Some(_), Some(_)) => Err(invalid(&"`Idempotency-Key` stands more than once")),
    }
}

/// `GET /v1/approvals/{id}`
pub(super) async fn read(context: Context) -> Result<Response, Problem> {
    // Who may see it is settled before anything waits.
    let mut approval = context.approval().await?;
    let wait = context.wait()?;
    if !wait.is_zero() {
        approval = context.gate().wait(approval.id, wait).await?.ok_or_else(not_found)?;
    }
    let mut response = match &context.caller {
        Caller::Reviewer(..) => reply(StatusCode::OK, &ApprovalView::new(&approval, context.gate().now()))?,
        Caller::Agent(_) | Caller::Anyone | Caller::Metrics => reply(StatusCode::OK, &PublicApproval::new(&approval))?,
    };
    if approval.status() == Status::Pending {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(LOOK_AGAIN_SECONDS));
    }
    Ok(response)
}

/// `GET /v1/approvals/{id}/result`
pub(super) async fn result(context: Context) -> Result<Response, Problem> {
    let approval = context.approval().await?;
    let gate = context.gate();
    let kept = match gate.store().result(approval.id, gate.now()).await.map_err(crate::gate::Error::from)? {
        Some(stored) => gate.open_result(&stored, approval.id)?,
        None => return Err(no_result(&approval)),
    };
    if kept.too_large {
        let detail = "the call ran; its answer was larger than `limits.response_bytes_max` and was not kept";
        return Err(Problem::new(Code::ResultTooLarge, detail).about(&approval).with("upstream_status", kept.status));
    }
    replay(&approval, kept)
}

fn no_result(approval: &Approval) -> Problem {
    let detail = match (approval.status(), &approval.execution) {
        (Status::Pending, _) => "it is still pending; the result is here once it was approved and sent",
        (Status::Cancelled, _) if matches!(approval.state, State::Cancelled { by: Canceller::Operator, .. }) => {
            "an operator closed it; its reason says what is known"
        }
        (Status::Rejected | Status::Expired | Status::Cancelled, _) => "it was never sent, so there is no result",
        (Status::Approved, Execution::None) => "it is an action of its caller's own: there is no call to have a result",
        (Status::Approved, Execution::Held | Execution::Releasing { .. }) => "it has not finished yet; ask again",
        (Status::Approved, Execution::Failed { .. }) => "nothing was sent, so there is no result",
        (Status::Approved, Execution::Unknown { .. } | Execution::Resolved { .. }) => {
            "the answer was lost; the approval's outcome says what is known"
        }
        (Status::Approved, Execution::Succeeded { .. }) => {
            "the result went to the connection that waited for it, or its time is over"
        }
    };
    Problem::new(Code::NoResult, detail).about(approval)
}

/// The upstream's answer as it was kept.
fn replay(approval: &Approval, kept: KeptAnswer) -> Result<Response, Problem> {
    let broken = || Problem::new(Code::Internal, "the kept result cannot be replayed").about(approval);
    let mut response = Response::new(Body::from(kept.body));
    *response.status_mut() = StatusCode::from_u16(kept.status).map_err(|_| broken())?;
    for (name, value) in kept.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| broken())?;
        response.headers_mut().append(name, HeaderValue::from_bytes(&value).map_err(|_| broken())?);
    }
    let id = HeaderValue::from_str(&approval.id.to_string()).expect("an id is ASCII");
    response.headers_mut().insert(APPROVAL_HEADER, id);
    response.headers_mut().insert(SOURCE_HEADER, Source::Upstream.header());
    Ok(response)
}

/// `GET /v1/approvals`
pub(super) async fn list(context: Context) -> Result<Response, Problem> {
    let Listing { filter, after, limit } = Listing::parse(&context.query).map_err(|error| invalid(&error))?;
    let (gate, now) = (context.gate(), context.gate().now());
    let page = gate.store().list(filter, after, limit, now).await.map_err(crate::gate::Error::from)?;
    let list = ApprovalList {
        approvals: page.approvals.iter().map(|approval| ApprovalView::new(approval, now)).collect(),
        next_cursor: page.next.map(|id| id.to_string()),
    };
    reply(StatusCode::OK, &list)
}

/// `POST /v1/approvals/{id}/cancel`
pub(super) async fn cancel(context: Context) -> Result<Response, Problem> {
    let agent = context.agent()?;
    let body: wire::Cancel = if context.body.is_empty() { wire::Cancel::default() } else { context.json()? };
    let reason = reason(body.reason)?;
    match context.gate().withdraw(context.id()?, agent, reason).await? {
        Outcome::Stands(approval) => reply(StatusCode::OK, &PublicApproval::new(&approval)),
        Outcome::Refused(approval, refusal) => Err(problem::refused(&approval, &refusal)),
        Outcome::Missing => Err(not_found()),
    }
}

/// A reason as a person or program may give it: bounded, and nothing when it is blank.
pub(super) fn reason(reason: Option<String>) -> Result<Option<String>, Problem> {
    match reason {
        Some(reason) if reason.chars().count() > REASON_CHARS_MAX => {
            Err(invalid(&format!("`reason` must have at most {REASON_CHARS_MAX} characters")))
        }
        reason => Ok(reason.filter(|reason| !reason.trim().is_empty())),
    }
}
