//! The one table from what went wrong to what a caller sees: RFC 9457 problem documents.
//!
//! Nothing else in the crate chooses an error's HTTP status. Each code is stable, has a page section in
//! `docs/reference/problems.md`, and says whether sending the same request again is safe and may help.

use axum::response::IntoResponse;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Map, Value};

use crate::domain::approval::{Approval, Refusal};
use crate::gate;
use crate::store;

/// What a caller is asked to wait when the store is away.
const STORE_RETRY_SECONDS: u64 = 5;

/// What every problem's `type` begins with; the rest is the code with dashes.
pub const TYPE_BASE: &str = "https://holdpoint.dev/problems/";

/// The header that says who made an answer.
pub const SOURCE_HEADER: HeaderName = HeaderName::from_static("holdpoint-source");
/// The header that carries the request's id.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("holdpoint-request-id");
/// The header that carries the approval's id.
pub const APPROVAL_HEADER: HeaderName = HeaderName::from_static("holdpoint-approval");
/// The header that says `unknown` when a call may have run.
pub const OUTCOME_HEADER: HeaderName = HeaderName::from_static("holdpoint-outcome");

/// Who is the source of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The gateway itself.
    Gateway,
    /// A policy rule.
    Policy,
    /// A reviewer's decision, or its absence.
    Reviewer,
    /// The upstream.
    Upstream,
}

impl Source {
    /// The header's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Source::Gateway => "gateway",
            Source::Policy => "policy",
            Source::Reviewer => "reviewer",
            Source::Upstream => "upstream",
        }
    }

    /// The header's value.
    pub fn header(self) -> HeaderValue {
        HeaderValue::from_static(self.as_str())
    }
}

/// Whether sending the identical request again is safe and may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Nothing was sent upstream; the same request may succeed later.
    Safe,
    /// Nothing was sent upstream; the same request will fail again.
    Pointless,
    /// The call may have run: sending it again may run it twice.
    Unsafe,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:ident, $source:ident, $retry:ident, $title:literal;)+) => {
        /// A stable problem code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)+ }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$name,)+];

            /// Code, status, source, retry, title: one row a code.
            const fn row(self) -> (&'static str, StatusCode, Source, Retry, &'static str) {
                match self { $(Code::$name => ($code, StatusCode::$status, Source::$source, Retry::$retry, $title),)+ }
            }
        }
    };
}

codes! {
    /// Policy blocked the call.
    Blocked = "blocked", FORBIDDEN, Policy, Pointless, "Policy blocks this call";
    /// A reviewer rejected the call.
    Rejected = "rejected", FORBIDDEN, Reviewer, Pointless, "A reviewer rejected this call";
    /// Nobody decided in time.
    Expired = "expired", FORBIDDEN, Reviewer, Safe, "Nobody decided in time";
    /// It was taken back.
    Cancelled = "cancelled", FORBIDDEN, Gateway, Safe, "The approval was withdrawn";
    /// Nobody has decided yet.
    ApprovalPending = "approval_pending", SERVICE_UNAVAILABLE, Reviewer, Safe, "Waiting for a reviewer";
    /// The call was sent before under the same approval or key.
    AlreadyReleased = "already_released", CONFLICT, Gateway, Unsafe, "This call has been sent already";
    /// The idempotency key belongs to another call.
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY, Gateway, Pointless, "The idempotency key was used for another call";
    /// Too many calls wait already.
    QueueFull = "queue_full", TOO_MANY_REQUESTS, Gateway, Safe, "Too many calls wait for approval";
    /// Too many attempts to sign in at once.
    TooManyAttempts = "too_many_attempts", TOO_MANY_REQUESTS, Gateway, Safe, "Too many attempts to sign in";
    /// Too many event streams are open.
    TooManyStreams = "too_many_streams", TOO_MANY_REQUESTS, Gateway, Safe, "Too many event streams are open";
    /// The store cannot write.
    StoreUnavailable = "store_unavailable", SERVICE_UNAVAILABLE, Gateway, Safe, "The approval store is unavailable";
    /// The gateway is shutting down.
    Draining = "draining", SERVICE_UNAVAILABLE, Gateway, Safe, "The gateway is shutting down";
    /// Something inside failed.
    Internal = "internal", INTERNAL_SERVER_ERROR, Gateway, Pointless, "The gateway failed";
    /// The upstream could not be reached; nothing was sent.
    UpstreamUnreachable = "upstream_unreachable", BAD_GATEWAY, Gateway, Safe, "The upstream could not be reached";
    /// The upstream was lost after the call was sent.
    OutcomeUnknown = "outcome_unknown", BAD_GATEWAY, Gateway, Unsafe, "The call was sent and its outcome is unknown";
    /// The upstream did not answer in time.
    UpstreamTimeout = "upstream_timeout", GATEWAY_TIMEOUT, Gateway, Unsafe, "The upstream did not answer in time";
    /// The kept answer was larger than the limit.
    ResultTooLarge = "result_too_large", BAD_GATEWAY, Gateway, Unsafe, "The call ran and its answer was too large to keep";
    /// The upstream's list of tools is none to be passed on.
    ToolsRefused = "tools_refused", BAD_GATEWAY, Gateway, Safe, "The upstream's list of tools is not acceptable";
    /// The definition that was accepted is not the current one.
    DefinitionChanged = "definition_changed", CONFLICT, Gateway, Pointless, "The tool's definition is another one by now";
    /// No credential, or none that is known.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, Gateway, Pointless, "A valid credential is needed";
    /// The credential does not allow it.
    Forbidden = "forbidden", FORBIDDEN, Gateway, Pointless, "Not allowed";
    /// The request did not come from the page.
    CrossSite = "cross_site", FORBIDDEN, Gateway, Pointless, "Cross-site request refused";
    /// There is none such, or not for this caller.
    NotFound = "not_found", NOT_FOUND, Gateway, Pointless, "Not found";
    /// No route matches the path.
    NoRoute = "no_route", NOT_FOUND, Gateway, Pointless, "No route for this path";
    /// The method is not allowed here.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, Gateway, Pointless, "Method not allowed";
    /// The method is not known.
    MethodNotImplemented = "method_not_implemented", NOT_IMPLEMENTED, Gateway, Pointless, "Method not implemented";
    /// A parameter or a member is wrong.
    InvalidRequest = "invalid_request", BAD_REQUEST, Gateway, Pointless, "The request is not valid";
    /// Somebody decided first.
    AlreadyDecided = "already_decided", CONFLICT, Gateway, Pointless, "Already decided";
    /// What was approved is not what is held.
    PayloadMismatch = "payload_mismatch", CONFLICT, Gateway, Pointless, "The payload is not the one that was shown";
    /// There is no unknown outcome.
    NotUnknown = "not_unknown", CONFLICT, Gateway, Pointless, "The outcome is not unknown";
    /// There is no result yet.
    NoResult = "no_result", CONFLICT, Gateway, Safe, "No result is kept for this approval";
    /// Equal keys in one object.
    DuplicateKey = "duplicate_key", BAD_REQUEST, Gateway, Pointless, "A JSON key stands twice";
    /// Keys that some parser takes for one.
    ConfusableKey = "confusable_key", BAD_REQUEST, Gateway, Pointless, "A JSON key could be taken for another";
    /// Not strict JSON.
    BadJson = "bad_json", BAD_REQUEST, Gateway, Pointless, "The body is not valid JSON";
    /// Nested too deeply.
    TooDeep = "too_deep", BAD_REQUEST, Gateway, Pointless, "The body is nested too deeply";
    /// Over a size limit.
    TooLarge = "too_large", PAYLOAD_TOO_LARGE, Gateway, Pointless, "The request is too large";
    /// Header block too large.
    HeadersTooLarge = "headers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, Gateway, Pointless, "The header block is too large";
    /// The media type cannot be judged.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, Gateway, Pointless, "This body cannot be judged";
    /// A body where none belongs.
    BodyNotAllowed = "body_not_allowed", BAD_REQUEST, Gateway, Pointless, "This method must not carry a body here";
    /// The path is not canonical.
    Path = "path", BAD_REQUEST, Gateway, Pointless, "The request target is not canonical";
    /// Longer than a target may be.
    TargetTooLong = "target_too_long", URI_TOO_LONG, Gateway, Pointless, "The request target is too long";
    /// An expectation other than `100-continue`.
    ExpectationFailed = "expectation_failed", EXPECTATION_FAILED, Gateway, Pointless, "The expectation cannot be met";
    /// A protocol version that is not served.
    VersionNotSupported = "version_not_supported", HTTP_VERSION_NOT_SUPPORTED, Gateway, Pointless, "The protocol version is not served";
    /// Framing or header games.
    Framing = "framing", BAD_REQUEST, Gateway, Pointless, "The request's framing or header block is not acceptable";
    /// The Host is missing, doubled or malformed.
    Host = "host", BAD_REQUEST, Gateway, Pointless, "The Host is not acceptable";
    /// A method override.
    MethodOverride = "method_override", BAD_REQUEST, Gateway, Pointless, "Method overrides are not accepted";
    /// The tool's name is outside the alphabet.
    ToolName = "tool_name", BAD_REQUEST, Gateway, Pointless, "The tool's name is not acceptable";
    /// Several JSON-RPC messages in one body.
    Batch = "batch", BAD_REQUEST, Gateway, Pointless, "Batches are not accepted";
    /// The body is no JSON-RPC message that the gateway can judge.
    InvalidMessage = "invalid_message", BAD_REQUEST, Gateway, Pointless, "The body is no acceptable JSON-RPC message";
    /// A protocol header contradicts the body.
    HeaderMismatch = "header_mismatch", BAD_REQUEST, Gateway, Pointless, "A header contradicts the body";
    /// The body did not arrive in time.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT, Gateway, Safe, "The request did not arrive in time";
    /// The client broke off.
    BodyIncomplete = "body_incomplete", BAD_REQUEST, Gateway, Safe, "The body ended early";
}

impl Code {
    /// The stable code.
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status that goes with it.
    pub const fn status(self) -> StatusCode {
        self.row().1
    }

    /// Whether and how a retry makes sense.
    pub const fn retry(self) -> Retry {
        self.row().3
    }

    /// The short text that goes with every problem of this code.
    pub const fn title(self) -> &'static str {
        self.row().4
    }
}

/// A problem on its way to a caller.
#[derive(Debug, Clone)]
pub struct Problem {
    code: Code,
    detail: String,
    /// Boxed, so that a `Result` with a problem in it stays small.
    fields: Box<Map<String, Value>>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of this code; `detail` says what is wrong with this very request and what to do.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), fields: Box::default(), headers: Vec::new() }
    }

    /// Its code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// What is wrong with this very request.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Adds a member to the document.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.to_owned(), value.into());
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds `Retry-After` in whole seconds, at least one.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// Names the approval it is about, in the document and in a header.
    #[must_use]
    pub fn about(self, approval: &Approval) -> Self {
        let id = approval.id.to_string();
        let header = HeaderValue::from_str(&id).expect("an id is ASCII");
        self.with("approval", id).with("status", approval.status().as_str()).header(APPROVAL_HEADER, header)
    }

    /// A field of the document as text.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }

    /// The document.
    pub fn document(&self) -> Value {
        let (code, status, _, retry, title) = self.code.row();
        let mut document = Map::new();
        document.insert("type".into(), format!("{TYPE_BASE}{}", code.replace('_', "-")).into());
        document.insert("title".into(), title.into());
        document.insert("status".into(), status.as_u16().into());
        document.insert("detail".into(), self.detail.clone().into());
        document.insert("code".into(), code.into());
        document.insert("retryable".into(), (retry == Retry::Safe).into());
        for (field, value) in self.fields.iter() {
            // The approval's own status is a member of its own: the document's `status` is HTTP's.
            let field = if field == "status" { "approval_status" } else { field };
            document.insert(field.to_owned(), value.clone());
        }
        Value::Object(document)
    }

    /// The answer.
    pub fn into_http(self) -> Response<Bytes> {
        let (_, status, source, _, _) = self.code.row();
        let mut response = Response::new(Bytes::from(crate::domain::text::inert_json(self.document().to_string())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(SOURCE_HEADER, source.header());
        if matches!(self.code, Code::OutcomeUnknown | Code::UpstreamTimeout) {
            headers.insert(OUTCOME_HEADER, HeaderValue::from_static("unknown"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"holdpoint\""));
        }
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> axum::response::Response {
        self.into_http().map(|body| axum::body::Body::new(Full::new(body)))
    }
}

impl From<gate::Error> for Problem {
    fn from(error: gate::Error) -> Self {
        tracing::error!(%error, "the gate failed"); // The cause is for the log alone.
        match error {
            gate::Error::Store(why) => {
                let detail = match why {
                    store::Error::Unsure(_) => {
                        "whether this was written down cannot be told; the gateway ends, look again later"
                    }
                    _ => "the approval store cannot be used at this moment; nothing was decided",
                };
                Problem::new(Code::StoreUnavailable, format!("{detail}; nothing was sent"))
                    .retry_after(STORE_RETRY_SECONDS)
            }
            gate::Error::List(refused) => Problem::new(Code::ToolsRefused, refused.to_string()),
            gate::Error::Vanished(_) | gate::Error::Unreadable(_) | gate::Error::Seal | gate::Error::TaskLost => {
                Problem::new(Code::Internal, "the gateway failed; nothing was sent by this request")
            }
        }
    }
}

/// What a refused command says to whoever gave it. The standing decision goes with it.
pub fn refused(approval: &Approval, refusal: &Refusal) -> Problem {
    let code = match refusal {
        Refusal::AlreadyClosed(_) | Refusal::Overdue | Refusal::NotDue => Code::AlreadyDecided,
        Refusal::OwnCall | Refusal::NotAnApprover { .. } | Refusal::OtherAgent => Code::Forbidden,
        Refusal::PayloadMismatch => Code::PayloadMismatch,
        Refusal::NotApproved
        | Refusal::OtherCall
        | Refusal::PermitSpent
        | Refusal::GrantOver
        | Refusal::NotReleasing => Code::AlreadyReleased,
        Refusal::NotUnknown => Code::NotUnknown,
        Refusal::NoteMissing => Code::InvalidRequest,
    };
    Problem::new(code, refusal.to_string()).about(approval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_spelled_alike() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            let text = code.as_str();
            assert!(seen.insert(text), "{text} stands twice");
            assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{text}");
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{text}");
        }
    }

    #[test]
    fn a_problem_names_its_code_and_whether_to_retry() {
        let problem = Problem::new(Code::QueueFull, "50 calls of `bot` wait").retry_after(0).with("limit", 50);
        let document = problem.document();
        assert_eq!(document["code"], "queue_full");
        assert_eq!(document["type"], "https://holdpoint.dev/problems/queue-full");
        assert_eq!(document["retryable"], true);
        assert_eq!(document["limit"], 50);
        let response = problem.into_http();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert_eq!(response.headers()[SOURCE_HEADER], "gateway");
    }

    #[test]
    fn what_may_have_run_says_so_in_a_header() {
        let response = Problem::new(Code::OutcomeUnknown, "connection reset").into_http();
        assert_eq!(response.headers()[OUTCOME_HEADER], "unknown");
        let known = Problem::new(Code::AlreadyReleased, "it ran under another request").into_http();
        assert!(!known.headers().contains_key(OUTCOME_HEADER));
    }
}
