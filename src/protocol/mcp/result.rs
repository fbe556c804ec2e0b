//! Answers of the gateway's own, as JSON-RPC text.
//!
//! A call that was not sent is answered with a *result* that says so: every client hands it to the model, while an error status or
//! a protocol error ends the session or the run in several. It never carries `structuredContent`, which clients check against the
//! tool's schema.

use serde_json::{Map, Value, json};

use super::META_DECISION;
use super::message::Id;
use super::revision::Revision;

/// What became of a call that the gateway answers itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Policy blocks it.
    Denied,
    /// A reviewer rejected it.
    Rejected,
    /// Nobody decided in time.
    Expired,
    /// Nobody has decided yet.
    Pending,
    /// It was taken back before anybody decided.
    Cancelled,
    /// Approved; the upstream did not take it.
    ApprovedNotExecuted,
    /// It was sent under this approval before.
    AlreadyExecuted,
    /// It was sent and nobody knows what it did.
    Unknown,
    /// A limit was reached, or the gateway cannot take it now.
    Unavailable,
}

impl Status {
    /// The word in `_meta`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Pending => "pending",
            Self::Cancelled => "cancelled",
            Self::ApprovedNotExecuted => "approved_not_executed",
            Self::AlreadyExecuted => "already_executed",
            Self::Unknown => "unknown",
            Self::Unavailable => "unavailable",
        }
    }

    /// Whether the call ran: `None` when nobody knows.
    pub const fn executed(self) -> Option<bool> {
        match self {
            Self::AlreadyExecuted => Some(true),
            Self::Unknown => None,
            Self::Denied
            | Self::Rejected
            | Self::Expired
            | Self::Pending
            | Self::Cancelled
            | Self::ApprovedNotExecuted
            | Self::Unavailable => Some(false),
        }
    }

    /// Whether the same call may be made again as it is.
    pub const fn retryable(self) -> bool {
        matches!(self, Self::Expired | Self::Pending | Self::ApprovedNotExecuted | Self::Unavailable)
    }
}

/// What a call's caller is told in place of its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What became of it.
    pub status: Status,
    /// In words, for the model: whether it ran and what to do next.
    pub text: String,
    /// The approval, if there is one.
    pub approval: Option<String>,
    /// The rule.
    pub rule: Option<String>,
    /// When asking again makes sense, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

/// The result that stands in for a tool's, as an object.
pub fn tool_result(decision: &Decision, revision: Revision) -> Value {
    let mut about = Map::new();
    about.insert("status".into(), decision.status.as_str().into());
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            about.insert(key.to_owned(), value);
        }
    };
    put("approvalId", decision.approval.clone().into());
    put("rule", decision.rule.clone().into());
    put("executed", decision.status.executed().into());
    put("retryable", decision.status.retryable().into());
    put("retryAfterMs", decision.retry_after_ms.into());
    let mut result = json!({
        "content": [{ "type": "text", "text": decision.text }],
        "isError": true,
        "_meta": { META_DECISION: about },
    });
    if revision.is_stateless() {
        result["resultType"] = "complete".into();
    }
    result
}

/// A response with this result.
pub fn response(id: &Id, result: &Value) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, id.as_json())
}

/// A response with an error. `id` is `null` when the request could not be told.
pub fn error(id: Option<&Id>, rpc_code: i32, message: &str, data: &Value) -> String {
    let id = id.map_or("null", Id::as_json);
    let message = Value::from(message);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{rpc_code},"message":{message},"data":{data}}}}}"#)
}

/// A progress notification under the caller's token.
pub fn progress(token: &str, progress: f64, message: &str) -> String {
    let (progress, message) = (Value::from(progress), Value::from(message));
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{progress},"message":{message}}}}}"#
    )
}
