//! What the audit trail says about an approval. Redacted by construction: no event carries the preview or the payload.

use serde_json::{Map, Value, json};

use super::{Approval, Canceller, Decision, ReleaseMode, SubjectKind, rules};
use crate::domain::audit::{Actor, Event, EventKind};
use crate::domain::time::Timestamp;

/// The record of an approval that has just been parked.
pub fn created(approval: &Approval) -> Event {
    let (subject, terms) = (&approval.subject, &approval.terms);
    let mut detail = json!({
        "rule": terms.rule,
        "name": subject.name,
        "agent": subject.agent,
        "risk": terms.risk,
        "payload_sha256": subject.payload_sha256,
        "payload_bytes": subject.payload_bytes,
        "fingerprint": subject.fingerprint,
        "revision": terms.policy_revision,
        "expires_at": terms.expires_at,
    });
    if let Some(trace_id) = &subject.trace_id {
        detail["trace_id"] = json!(trace_id);
    }
    if let SubjectKind::Call(call) = &subject.kind {
        // The target is left out: its query may hold what a rule redacts. The fingerprint binds it.
        detail["upstream"] = json!(call.upstream);
        detail["method"] = json!(call.method);
        detail["release"] = json!(call.release);
    }
    about(approval, EventKind::ApprovalCreated, by_agent(approval), approval.created_at, detail)
}

/// An event about `approval`; `detail` is an object.
pub(super) fn about(approval: &Approval, kind: EventKind, actor: Actor, at: Timestamp, detail: Value) -> Event {
    let detail = match detail {
        Value::Object(detail) => detail,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    };
    Event { at, kind, actor, approval: Some(approval.id), detail }
}

/// A caller came or went.
pub(super) fn caller(approval: &Approval, kind: EventKind, at: Timestamp) -> Event {
    about(approval, kind, by_agent(approval), at, json!({ "status": approval.status() }))
}

/// A decision, or a vote on the way to one. `after` is the approval with the vote in it.
pub(super) fn decided(after: &Approval, kind: EventKind, decision: &Decision) -> Event {
    let mut detail = json!({
        "status": after.status(),
        "rule": after.terms.rule,
        "channel": decision.channel,
        "payload_sha256": after.subject.payload_sha256,
        "votes": after.votes.iter().map(|vote| vote.by.as_str()).collect::<Vec<_>>(),
    });
    if let Some(reason) = &decision.reason {
        detail["reason"] = json!(reason);
    }
    if kind == EventKind::ApprovalVoted {
        detail["still_needed"] = json!(rules::still_needed(after));
    }
    about(after, kind, Actor::Reviewer(decision.by.clone()), decision.at, detail)
}

/// The approval was taken back.
pub(super) fn cancelled(approval: &Approval, by: &Canceller, reason: Option<&str>, at: Timestamp) -> Event {
    let actor = match by {
        Canceller::Agent => by_agent(approval),
        Canceller::Policy | Canceller::Operator => Actor::Gateway,
    };
    let mut detail = json!({ "by": by, "rule": approval.terms.rule });
    if let Some(reason) = reason {
        detail["reason"] = json!(reason);
    }
    about(approval, EventKind::ApprovalCancelled, actor, at, detail)
}

/// Whoever sends the call: its agent on a live request, the gateway for a detached call.
pub(super) fn sender(approval: &Approval) -> Actor {
    match approval.call().map(|call| call.release) {
        Some(ReleaseMode::Detached) => Actor::Gateway,
        Some(ReleaseMode::Attached) | None => by_agent(approval),
    }
}

fn by_agent(approval: &Approval) -> Actor {
    Actor::Agent(approval.subject.agent.0.clone())
}
