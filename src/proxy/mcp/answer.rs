//! What an MCP caller is told in place of a tool's result: always a result that the model can read, never a status that ends the
//! session.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::domain::time::Timestamp;
use crate::gate::parking::Held;
use crate::gate::release::KeptAnswer;
use crate::problem::{APPROVAL_HEADER, Code, Problem, SOURCE_HEADER};
use crate::protocol::mcp::{self as protocol, Decision, Id, Revision, Status};

use super::super::answer;
use super::super::body::AnswerBody;
use super::Refused;

/// What the caller is asked to wait before it asks again for a pending call, in milliseconds.
const RETRY_PENDING_MS: u64 = 5_000;

/// A tool's call as it is spoken about: who asked for what, in which revision.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) id: Id,
    pub(super) tool: String,
    pub(super) revision: Revision,
}

impl About {
    /// The decision that a problem stands for.
    pub(super) fn decision(&self, problem: &Problem) -> Decision {
        let approval = problem.field("approval").map(str::to_owned);
        let status = status_of(problem.code(), approval.is_some());
        let rule = problem.field("rule").map(str::to_owned);
        let happened = match status.executed() {
            Some(false) => format!("the call `{}` was NOT executed", self.tool),
            Some(true) => format!("the call `{}` was executed before and NOT executed again", self.tool),
            None => format!("the call `{}` may have been executed; its outcome is UNKNOWN", self.tool),
        };
        // The others say in their detail what to do.
        let next = match status {
            Status::Pending => " Make the identical call again later, with the same arguments.",
            Status::ApprovedNotExecuted => " Its approval stands: make the identical call again and it is sent.",
            Status::Unavailable => " Making the call again later is safe.",
            Status::AlreadyExecuted | Status::Unknown => " Do not repeat it; ask a person for its outcome.",
            Status::Denied | Status::Rejected | Status::Cancelled | Status::Expired => "",
        };
        let mut marks = Vec::new();
        marks.extend(approval.as_ref().map(|id| format!("approval {id}")));
        marks.extend(rule.as_ref().map(|rule| format!("rule {rule}")));
        let marks = if marks.is_empty() { String::new() } else { format!(" [{}]", marks.join(", ")) };
        let word = status.as_str().replace('_', " ").to_uppercase();
        let text = format!("{word}: {happened}. {}.{next}{marks}", capital(problem.detail().trim_end_matches('.')));
        let retry_after_ms = (status == Status::Pending).then_some(RETRY_PENDING_MS);
        Decision { status, text, approval, rule, retry_after_ms }
    }

    /// The response that tells a decision, as JSON-RPC text.
    pub(super) fn text(&self, problem: &Problem) -> String {
        protocol::response(&self.id, &protocol::tool_result(&self.decision(problem), self.revision))
    }

    /// The response that tells a decision.
    pub(super) fn answer(&self, problem: Problem) -> Response<AnswerBody> {
        let text = self.text(&problem);
        // The headers say by whom and about which approval, as they do for plain HTTP.
        let mut response = answer::own(problem);
        response.headers_mut().remove(http::header::RETRY_AFTER);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *response.status_mut() = StatusCode::OK;
        *response.body_mut() = AnswerBody::from(Bytes::from(text));
        response
    }

    /// The kept answer of a call that the gateway sent itself, under the id of the request that asks for it now.
    pub(super) fn kept(&self, kept: &KeptAnswer) -> Option<String> {
        let value: Value = serde_json::from_slice(&kept.body).ok()?;
        let (member, content) = match (value.get("result"), value.get("error")) {
            (Some(result), _) => ("result", result),
            (None, Some(error)) => ("error", error),
            (None, None) => return None,
        };
        Some(format!(r#"{{"jsonrpc":"2.0","id":{},"{member}":{content}}}"#, self.id.as_json()))
    }
}

/// What the gate said about a parked call that is not to be sent now, as a problem; `None` for a permit.
pub(super) fn problem_of(held: &Held, now: Timestamp) -> Option<Problem> {
    Some(match held {
        Held::Permitted(_) | Held::Answered(..) => return None,
        Held::Refused(approval) => answer::refused(approval, now),
        Held::BlockedNow(approval, reason) => answer::blocked_now(approval, reason),
        Held::Pending(approval) => answer::still_pending(approval),
        Held::Spent(approval) => answer::spent(approval),
        Held::KeyReused(approval) => answer::key_reused(approval),
        Held::Full(overflow) => answer::full(*overflow),
        Held::Draining(approval) => answer::draining(approval.as_ref()),
    })
}

const fn status_of(code: Code, approved: bool) -> Status {
    match code {
        Code::Blocked => Status::Denied,
        Code::Rejected => Status::Rejected,
        Code::Expired => Status::Expired,
        Code::Cancelled => Status::Cancelled,
        Code::ApprovalPending => Status::Pending,
        Code::AlreadyReleased | Code::ResultTooLarge => Status::AlreadyExecuted,
        Code::OutcomeUnknown | Code::UpstreamTimeout => Status::Unknown,
        Code::UpstreamUnreachable if approved => Status::ApprovedNotExecuted,
        _ => Status::Unavailable,
    }
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// A JSON-RPC error for what was refused before it was judged, with the HTTP status of the refusal.
pub(super) fn refused(refused: Refused) -> Response<AnswerBody> {
    rpc_error(refused.id.as_ref(), refused.rpc_code, refused.refusal.into_problem())
}

/// A JSON-RPC error for a request that is no call and could not be forwarded.
pub(super) fn failed(id: &Id, problem: Problem) -> Response<AnswerBody> {
    rpc_error(Some(id), -32603, problem)
}

fn rpc_error(id: Option<&Id>, rpc_code: i32, problem: Problem) -> Response<AnswerBody> {
    let text = protocol::error(id, rpc_code, problem.detail(), &json!({ "dev.holdpoint/problem": problem.document() }));
    let mut response = answer::own(problem);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *response.body_mut() = AnswerBody::from(Bytes::from(text));
    response
}

/// A notification that the gateway took for itself.
pub(super) fn accepted() -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::from(Bytes::new()));
    *response.status_mut() = StatusCode::ACCEPTED;
    response.headers_mut().insert(SOURCE_HEADER, crate::problem::Source::Gateway.header());
    response
}

/// A JSON answer of the gateway's own about an approval.
pub(super) fn json(text: String, approval: &str) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::from(Bytes::from(text)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(SOURCE_HEADER, crate::problem::Source::Upstream.header());
    headers.insert(APPROVAL_HEADER, HeaderValue::from_str(approval).expect("an id is ASCII"));
    response
}
