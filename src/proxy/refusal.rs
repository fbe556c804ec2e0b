//! What is refused before policy has a say: malformed, oversized, unauthenticated, unroutable. Each is counted by reason and
//! written to the trail.

use http::Method;
use http::header::{ALLOW, HeaderValue};

use crate::auth;
use crate::domain::audit::{Actor, Event, EventKind};
use crate::domain::id::RequestId;
use crate::gate::{self, Gate};
use crate::problem::{Code, Problem};
use crate::protocol::head::{HeadError, Reason};
use crate::protocol::json::JsonError;
use crate::protocol::mcp::{Fault, FaultKind};
use crate::protocol::target::TargetError;
use crate::telemetry::metrics::RejectReason;

use super::body::ReadError;
use super::routes::NearMiss;

/// A refusal on its way to the caller.
#[derive(Debug)]
pub(super) struct Refusal {
    problem: Problem,
    /// `None` for failures of the gateway's own, which are not the caller's input, and for what the listener has counted.
    reason: Option<RejectReason>,
}

impl Refusal {
    fn new(reason: RejectReason, code: Code, detail: impl Into<String>) -> Self {
        Self { problem: Problem::new(code, detail), reason: Some(reason) }
    }

    pub(super) fn internal(detail: &str) -> Self {
        Self { problem: Problem::new(Code::Internal, detail), reason: None }
    }

    pub(super) fn no_route(path: &str) -> Self {
        let detail = format!("no route of the gateway's configuration matches `{}`", path.escape_debug());
        Self::new(RejectReason::NoRoute, Code::NoRoute, detail)
    }

    pub(super) fn foreign_page() -> Self {
        let detail = "a web page of another site may call nothing without a credential";
        Self::new(RejectReason::CrossSite, Code::CrossSite, detail)
    }

    pub(super) fn below_mcp_endpoint(path: &str) -> Self {
        let detail =
            format!("an MCP upstream is one endpoint, and nothing below it is reached: `{}`", path.escape_debug());
        Self::new(RejectReason::NoRoute, Code::NoRoute, detail)
    }

    pub(super) fn idempotency_key() -> Self {
        let detail = "send `Idempotency-Key` once, with 1 to 255 visible characters";
        Self::new(RejectReason::Header, Code::InvalidRequest, detail)
    }

    pub(super) fn body_not_allowed(method: &Method) -> Self {
        let detail = format!("this call is judged by its body, and {method} must not carry one");
        Self::new(RejectReason::BodyNotAllowed, Code::BodyNotAllowed, detail)
    }

    pub(super) fn mcp_method(method: &Method) -> Self {
        let detail = format!("an MCP endpoint takes POST, and GET and DELETE without a body; not this {method}");
        let problem = Self::new(RejectReason::Method, Code::MethodNotAllowed, detail);
        Self { problem: problem.problem.header(ALLOW, HeaderValue::from_static("POST, GET, DELETE")), ..problem }
    }

    pub(super) fn mcp_session() -> Self {
        let detail =
            "`Mcp-Session-Id` is missing, or names no session of this endpoint; begin a new one with `initialize`";
        Self::new(RejectReason::Header, Code::NotFound, detail)
    }

    pub(super) fn empty_json() -> Self {
        let detail = "the body is empty, which is no JSON; send a JSON value, or leave out `Content-Type`";
        Self::new(RejectReason::BadJson, Code::BadJson, detail)
    }

    pub(super) fn variant(key: &str) -> Self {
        let detail =
            format!("the key `{}` could be taken for one that a rule reads; spell it exactly", key.escape_debug());
        Self::new(RejectReason::ConfusableKey, Code::ConfusableKey, detail)
    }

    /// Counts it and writes it to the trail. A refusal stands even when the trail cannot be written: nothing is let through.
    pub(super) async fn account(&self, gate: &Gate, request: RequestId, actor: Actor) {
        let Some(reason) = self.reason else { return };
        gate.metrics().rejected(reason);
        let mut detail = serde_json::Map::new();
        detail.insert("code".into(), self.problem.code().as_str().into());
        detail.insert("detail".into(), self.problem.detail().into());
        detail.insert("request_id".into(), request.to_string().into());
        tracing::info!(code = self.problem.code().as_str(), detail = self.problem.detail(), "refused");
        let event = Event { at: gate.now(), kind: EventKind::InputRefused, actor, approval: None, detail };
        gate.record_refusal(event).await;
    }

    /// Whether it is a failure of the gateway's own, and not the caller's input.
    pub(super) const fn is_ours(&self) -> bool {
        self.reason.is_none()
    }

    pub(super) fn into_problem(self) -> Problem {
        self.problem
    }
}

impl From<HeadError> for Refusal {
    fn from(error: HeadError) -> Self {
        let detail = error.to_string();
        let (reason, code) = match (error.reason(), error.code()) {
            (Reason::MethodNotAllowed, _) => (RejectReason::Method, Code::MethodNotAllowed),
            (Reason::NotImplemented, _) => (RejectReason::Method, Code::MethodNotImplemented),
            (Reason::TargetTooLong, _) => (RejectReason::TooLarge, Code::TargetTooLong),
            (Reason::HeadersTooLarge, _) => (RejectReason::TooLarge, Code::HeadersTooLarge),
            (Reason::UnsupportedMedia, _) => (RejectReason::MediaType, Code::UnsupportedMediaType),
            (Reason::ExpectationFailed, _) => (RejectReason::Header, Code::ExpectationFailed),
            (Reason::VersionNotSupported, _) => (RejectReason::Framing, Code::VersionNotSupported),
            (Reason::BadRequest, "host") => (RejectReason::Host, Code::Host),
            (Reason::BadRequest, "path" | "query") => (RejectReason::Path, Code::Path),
            (Reason::BadRequest, "method_override") => (RejectReason::MethodOverride, Code::MethodOverride),
            (Reason::BadRequest, "header_name") => (RejectReason::Header, Code::Framing),
            (Reason::BadRequest, _) => (RejectReason::Framing, Code::Framing),
        };
        let refusal = Self::new(reason, code, detail);
        match code {
            Code::MethodNotAllowed => {
                let allow = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
                Self { problem: refusal.problem.header(ALLOW, allow), ..refusal }
            }
            _ => refusal,
        }
    }
}

impl From<TargetError> for Refusal {
    fn from(error: TargetError) -> Self {
        HeadError::Target(error).into()
    }
}

impl From<NearMiss> for Refusal {
    fn from(error: NearMiss) -> Self {
        Self::new(RejectReason::Path, Code::Path, error.to_string())
    }
}

impl From<auth::Error> for Refusal {
    fn from(error: auth::Error) -> Self {
        Self::new(RejectReason::Unauthenticated, Code::Unauthenticated, error.to_string())
    }
}

impl From<JsonError> for Refusal {
    fn from(error: JsonError) -> Self {
        let (reason, code) = match error.code() {
            "duplicate_key" => (RejectReason::DuplicateKey, Code::DuplicateKey),
            "confusable_key" => (RejectReason::ConfusableKey, Code::ConfusableKey),
            "too_deep" => (RejectReason::TooDeep, Code::TooDeep),
            "too_large" => (RejectReason::TooLarge, Code::TooLarge),
            _ => (RejectReason::BadJson, Code::BadJson),
        };
        Self::new(reason, code, error.to_string())
    }
}

impl From<&Fault> for Refusal {
    fn from(fault: &Fault) -> Self {
        let (reason, code) = match fault.kind {
            FaultKind::Envelope | FaultKind::Params => (RejectReason::BadJson, Code::InvalidMessage),
            FaultKind::Batch => (RejectReason::Batch, Code::Batch),
            FaultKind::Confusable => (RejectReason::ConfusableKey, Code::ConfusableKey),
            FaultKind::Header | FaultKind::Version => (RejectReason::HeaderMismatch, Code::HeaderMismatch),
            FaultKind::ToolName => (RejectReason::ToolName, Code::ToolName),
        };
        Self::new(reason, code, fault.detail.clone())
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        let (reason, code) = match error {
            ReadError::TooLarge { .. } => (Some(RejectReason::TooLarge), Code::TooLarge),
            ReadError::TimedOut { .. } => (Some(RejectReason::Timeout), Code::RequestTimeout),
            ReadError::Incomplete => (Some(RejectReason::Framing), Code::BodyIncomplete),
            ReadError::Reset => (None, Code::BodyIncomplete),
        };
        Self { problem: Problem::new(code, error.to_string()), reason }
    }
}

impl From<gate::Error> for Refusal {
    fn from(error: gate::Error) -> Self {
        Self { problem: Problem::from(error), reason: None }
    }
}
