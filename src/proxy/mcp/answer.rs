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
use crate::protocol::mcp::{self as protocol, Decision, Id, Revision, Status, sse};

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
        let value = message_in(kept)?;
        let (member, content) = match (value.get("result"), value.get("error")) {
            (Some(result), _) => ("result", result),
            (None, Some(error)) => ("error", error),
            (None, None) => return None,
        };
        Some(format!(r#"{{"jsonrpc":"2.0","id":{},"{member}":{content}}}"#, self.id.as_json()))
    }
}

/// The response in a kept answer, whether it came as a document or on an event stream.
fn message_in(kept: &KeptAnswer) -> Option<Value> {
    let is_stream =
        |(name, value): &(String, Vec<u8>)| name == "content-type" && value.starts_with(sse::MEDIA_TYPE.as_bytes());
    if !kept.headers.iter().any(is_stream) {
        return serde_json::from_slice(&kept.body).ok();
    }
    let mut reader = sse::Reader::new(kept.body.len());
    reader.push(&kept.body);
    let mut found = None;
    while let Ok(Some(event)) = reader.next_event() {
        let message = event.data.and_then(|data| serde_json::from_str::<Value>(&data).ok());
        found = message.filter(|message| message.get("id").is_some() && message.get("method").is_none()).or(found);
    }
    found
}

/// What the gate said about a parked call that is not to be sent now, as a problem; `None` for a permit.
pub(super) fn problem_of(held: &Held, now: Timestamp) -> Option<Problem> {
    Some(match held {
        Held::Permitted(..) | Held::Answered(..) => return None,
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
    let Refused { refusal, rpc_code, id, requested } = refused;
    let problem = refusal.into_problem();
    let mut data = json!({ "dev.holdpoint/problem": problem.document() });
    if let Some(requested) = requested {
        data["supported"] = Revision::ALL.map(Revision::as_str).as_slice().into();
        data["requested"] = requested.as_ref().into();
    }
    let text = protocol::error(id.as_ref(), rpc_code, problem.detail(), &data);
    in_place_of(problem, text)
}

/// A JSON-RPC error for a request that is no call and could not be forwarded.
pub(super) fn failed(id: &Id, problem: Problem) -> Response<AnswerBody> {
    let text = rpc_text(Some(id), -32603, &problem);
    in_place_of(problem, text)
}

/// A problem as a JSON-RPC error.
pub(super) fn rpc_text(id: Option<&Id>, rpc_code: i32, problem: &Problem) -> String {
    protocol::error(id, rpc_code, problem.detail(), &json!({ "dev.holdpoint/problem": problem.document() }))
}

/// The answer to a problem, status and headers and all, with this text for its document.
fn in_place_of(problem: Problem, text: String) -> Response<AnswerBody> {
    let mut response = answer::own(problem);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *response.body_mut() = AnswerBody::from(Bytes::from(text));
    response
}

/// A JSON-RPC error of the gateway's own, for a request that reached nobody.
pub(super) fn rpc(id: &Id, rpc_code: i32, message: &str) -> Response<AnswerBody> {
    own(protocol::error(Some(id), rpc_code, message, &Value::Null))
}

/// A result of the gateway's own.
pub(super) fn rpc_result(id: &Id, result: &Value) -> Response<AnswerBody> {
    own(protocol::response(id, result))
}

fn own(text: String) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::from(Bytes::from(text)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(SOURCE_HEADER, crate::problem::Source::Gateway.header());
    response
}

/// What a server says of a tool that it has not. The denial is in the trail; the caller learns nothing of it.
pub(super) fn unknown_tool(id: &Id, name: &str) -> Response<AnswerBody> {
    rpc(id, -32602, &format!("Unknown tool: {name}"))
}

/// A notification that the gateway took for itself.
pub(super) fn accepted() -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::from(Bytes::new()));
    *response.status_mut() = StatusCode::ACCEPTED;
    response.headers_mut().insert(SOURCE_HEADER, crate::problem::Source::Gateway.header());
    response
}

/// A session that has ended.
pub(super) fn ended() -> Response<AnswerBody> {
    let mut response = accepted();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// A JSON answer about an approval.
pub(super) fn json(text: String, approval: &str) -> Response<AnswerBody> {
    let mut response = own(text);
    response.headers_mut().insert(APPROVAL_HEADER, HeaderValue::from_str(approval).expect("an id is ASCII"));
    response
}
