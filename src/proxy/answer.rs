//! What the caller of a parked call is told.

use http::header::{HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};

use crate::domain::approval::{Approval, Canceller, Execution, PermitFate, ReleaseMode, State};
use crate::domain::time::Timestamp;
use crate::gate::intake::Denial;
use crate::gate::parking::{Overflow, Patience};
use crate::gate::release::KeptAnswer;
use crate::problem::{APPROVAL_HEADER, Code, OUTCOME_HEADER, Problem, SOURCE_HEADER, Source};
use crate::protocol::head::strip_for_caller;
use crate::store::QueueLimit;

use super::body::AnswerBody;

/// Where the agents' part of the API stands on the proxy listener.
pub const OWN_PREFIX: &str = "/_holdpoint";
/// What a caller is asked to wait before it comes back for a pending approval, in seconds.
const RETRY_PENDING_SECONDS: u64 = 5;
/// The same, when a limit was reached or the gateway goes down.
const RETRY_BUSY_SECONDS: u64 = 10;

/// Where an agent follows its approval.
pub fn location(approval: &Approval) -> HeaderValue {
    let text = format!("{OWN_PREFIX}/v1/approvals/{}", approval.id);
    HeaderValue::from_str(&text).expect("a path with an id is ASCII")
}

/// Nobody has decided yet.
pub fn pending(approval: &Approval, patience: Patience) -> Response<AnswerBody> {
    let detached = approval.call().is_some_and(|call| call.release == ReleaseMode::Detached);
    if patience == Patience::RespondAsync && detached {
        return accepted(approval);
    }
    own(still_pending(approval))
}

/// The same as a problem: what has happened, and what to do next.
pub fn still_pending(approval: &Approval) -> Problem {
    let detached = approval.call().is_some_and(|call| call.release == ReleaseMode::Detached);
    let then = match detached {
        true => "the gateway sends the call once it is approved and keeps the answer; follow `Location`",
        false => "the call has not been sent; send the identical request again and it joins this approval",
    };
    Problem::new(Code::ApprovalPending, format!("nobody has decided yet: {then}"))
        .about(approval)
        .with("rule", approval.terms.rule.clone())
        .with("expires_at", approval.terms.expires_at.to_string())
        .header(LOCATION, location(approval))
        .retry_after(RETRY_PENDING_SECONDS)
}

/// The caller asked not to wait, and the gateway owns the call.
fn accepted(approval: &Approval) -> Response<AnswerBody> {
    let document = serde_json::json!({
        "approval": approval.id.to_string(),
        "status": approval.status().as_str(),
        "expires_at": approval.terms.expires_at.to_string(),
        "detail": "the gateway sends the call once it is approved and keeps the answer; follow `Location`",
    });
    let mut response = Response::new(AnswerBody::from(bytes::Bytes::from(document.to_string())));
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(LOCATION, location(approval));
    headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_PENDING_SECONDS));
    headers.insert("preference-applied", HeaderValue::from_static("respond-async"));
    headers.insert(SOURCE_HEADER, Source::Gateway.header());
    name_approval(headers, approval);
    response
}

/// A reason as the part of a sentence that goes on.
fn unpointed(reason: &str) -> &str {
    reason.trim_end().trim_end_matches('.')
}

/// Blocked by policy.
pub fn blocked(denial: &Denial) -> Problem {
    let by = match &denial.rule {
        Some(rule) => format!("rule `{rule}` blocks this call"),
        None => "no rule allows this call and the policy blocks by default".to_owned(),
    };
    let said = denial.reason.as_deref().map_or_else(String::new, |reason| format!(": {}", unpointed(reason)));
    Problem::new(Code::Blocked, format!("{by}{said}. It was not sent; do not send it again unchanged"))
        .with("rule", denial.rule.clone())
        .with("reason", denial.reason.clone())
        .with("policy_revision", denial.revision.clone())
}

/// Rejected, expired or withdrawn.
pub fn refused(approval: &Approval, now: Timestamp) -> Problem {
    let rule = approval.terms.rule.clone();
    let problem = match &approval.state {
        State::Rejected(decision) => {
            let reason = decision.reason.clone();
            let said = reason.as_deref().map_or_else(String::new, |reason| format!(": {}", unpointed(reason)));
            let problem = Problem::new(
                Code::Rejected,
                format!(
                    "reviewer {} rejected the call{said}. It was not sent; do not send it again unchanged",
                    decision.by
                ),
            )
            .with("reason", reason)
            .with("decided_by", decision.by.clone())
            .with("decided_at", decision.at.to_string());
            let remembered_until = decision.at.plus(approval.terms.reject_memory);
            match remembered_until.since(now).as_secs() {
                0 => problem,
                seconds => problem.retry_after(seconds),
            }
        }
        State::Cancelled { by, reason, .. } => {
            let who = match by {
                Canceller::Agent => "the caller withdrew the request",
                Canceller::Policy => "a newer policy blocks the call",
                Canceller::Operator => "an operator closed the request",
            };
            let code = match by {
                Canceller::Agent | Canceller::Operator => Code::Cancelled,
                Canceller::Policy => Code::Blocked,
            };
            let unsent = match by {
                Canceller::Agent | Canceller::Policy => ". The call was not sent",
                // Its reason says what is known.
                Canceller::Operator => "",
            };
            let said = reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
            Problem::new(code, format!("{who}{said}{unsent}")).with("reason", reason.clone())
        }
        State::Expired { .. } | State::Pending | State::Approved(_) => Problem::new(
            Code::Expired,
            format!(
                "nobody decided before {}. The call was not sent; sending it again asks again",
                approval.terms.expires_at
            ),
        ),
    };
    problem.about(approval).with("rule", rule)
}

/// Approved once, blocked by the policy of the moment it would have been sent.
pub fn blocked_now(approval: &Approval, reason: &str) -> Problem {
    let detail = format!("the call was approved, but a newer policy blocks it: {reason}. It was not sent");
    Problem::new(Code::Blocked, detail).about(approval).with("rule", approval.terms.rule.clone())
}

/// The call was sent before, its sending came to nothing, or nobody came for it in time.
pub fn spent(approval: &Approval) -> Problem {
    let detached = approval.call().is_some_and(|call| call.release == ReleaseMode::Detached);
    let problem = match &approval.execution {
        Execution::Failed { reason, permit: PermitFate::Returned, .. } if detached => {
            Problem::new(Code::UpstreamUnreachable, format!("the call was approved and nothing was sent: {reason}"))
                .with("outcome", "failed")
        }
        Execution::None | Execution::Held | Execution::Failed { permit: PermitFate::Returned, .. } => unused(approval),
        Execution::Failed { reason, permit: PermitFate::Spent, .. } => {
            let detail = format!(
                "the call was approved and did not run: {reason}. Its approval is used up; sending the call again asks again"
            );
            Problem::new(Code::NoResult, detail).with("outcome", "failed")
        }
        Execution::Unknown { reason, .. } => Problem::new(
            Code::OutcomeUnknown,
            format!("the call was sent and its outcome is unknown: {reason}. Do not send it again blindly"),
        )
        .with("outcome", "unknown"),
        sent @ (Execution::Releasing { .. } | Execution::Succeeded { .. } | Execution::Resolved { .. }) => {
            Problem::new(
                Code::AlreadyReleased,
                "the call has been sent under this approval already; follow `Location` for its outcome",
            )
            .with("outcome", sent.as_str())
        }
    };
    problem.about(approval).header(LOCATION, location(approval))
}

/// Approved, and nobody who waited for it can be served: as a rule its grant is over.
fn unused(approval: &Approval) -> Problem {
    let until = match approval.grant_expires_at() {
        Some(until) => format!("until {until} the identical call is sent, and after that it asks again"),
        None => "the identical call asks again".to_owned(),
    };
    Problem::new(Code::NoResult, format!("the call was approved and has not been sent: {until}"))
        .with("outcome", approval.execution.as_str())
}

/// The key belongs to another call.
pub fn key_reused(approval: &Approval) -> Problem {
    let detail = "this `Idempotency-Key` was used for another call; use a new key for a new call";
    Problem::new(Code::IdempotencyKeyReused, detail).about(approval)
}

/// A limit was reached.
pub fn full(overflow: Overflow) -> Problem {
    let (limit, detail) = match overflow {
        Overflow::Queue(QueueLimit::PerAgent) => {
            ("pending_per_agent_max", "this agent has as many calls waiting for approval as it may")
        }
        Overflow::Queue(QueueLimit::Total) => ("pending_total_max", "the approval queue is full"),
        Overflow::HeldBytes => ("held_bytes_max", "waiting calls hold as much memory as they may"),
    };
    Problem::new(Code::QueueFull, detail).with("limit", limit).retry_after(RETRY_BUSY_SECONDS)
}

/// The gateway goes down.
pub fn draining(approval: Option<&Approval>) -> Problem {
    let problem = Problem::new(Code::Draining, "the gateway is shutting down; send the identical request again")
        .retry_after(RETRY_BUSY_SECONDS);
    match approval {
        Some(approval) => problem.about(approval).header(LOCATION, location(approval)),
        None => problem,
    }
}

/// The kept answer of a call that the gateway sent itself.
pub fn replayed(approval: &Approval, answer: KeptAnswer) -> Response<AnswerBody> {
    if answer.too_large {
        let detail =
            format!("the upstream answered {} with a body larger than `limits.response_bytes_max`", answer.status);
        let problem = Problem::new(Code::ResultTooLarge, detail).with("upstream_status", answer.status);
        return own(problem.about(approval));
    }
    let mut response = Response::new(AnswerBody::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    for (name, value) in answer.headers {
        // Both were read from a real answer; what no longer parses is dropped rather than invented.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    from_upstream(response.headers_mut(), Some(approval));
    response
}

/// Marks an answer as the upstream's and takes out what only this hop may say.
pub fn from_upstream(headers: &mut HeaderMap, approval: Option<&Approval>) {
    strip_for_caller(headers);
    headers.insert(SOURCE_HEADER, Source::Upstream.header());
    if let Some(approval) = approval {
        name_approval(headers, approval);
    }
}

fn name_approval(headers: &mut HeaderMap, approval: &Approval) {
    headers.insert(APPROVAL_HEADER, HeaderValue::from_str(&approval.id.to_string()).expect("an id is ASCII"));
}

/// An answer of the gateway's own.
pub fn own(problem: Problem) -> Response<AnswerBody> {
    problem.into_http().map(AnswerBody::from)
}

/// What a caller is told when its released call failed on the way.
pub fn not_sent(reason: &str) -> Problem {
    Problem::new(Code::UpstreamUnreachable, format!("nothing was sent: {reason}")).with("outcome", "failed")
}

/// What a caller is told when nobody knows what its call did.
pub fn lost(code: Code, reason: &str) -> Problem {
    let detail = format!(
        "the call was sent and its outcome is unknown: {reason}. It may have run; do not send it again blindly"
    );
    Problem::new(code, detail).with("outcome", "unknown").header(OUTCOME_HEADER, HeaderValue::from_static("unknown"))
}
