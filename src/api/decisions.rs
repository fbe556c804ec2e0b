//! Deciding, one by one and in bulk, and settling unknown outcomes.

use std::collections::HashSet;

use axum::response::Response;
use futures_util::future::join_all;
use http::StatusCode;

use crate::domain::approval::{Approval, Refusal, Risk, Settlement, Status};
use crate::domain::call::{self, PayloadHash};
use crate::domain::id::ApprovalId;
use crate::domain::identity::Reviewer;
use crate::gate::decisions::{Batch, Outcome, Ruling, Verb};
use crate::gate::{self, Gate};
use crate::problem::{self, Problem};
use crate::web::{BULK_MAX, REASON_CHARS_MAX};

use super::approvals::reason;
use super::context::{Context, not_found, reply};
use super::invalid;
use super::wire::approval::{Approval as ApprovalView, DecidedBy};
use super::wire::{self, BulkAnswer, BulkLine, BulkResult, Decision, ResolvedOutcome};

impl Decision {
    fn verb(self) -> Verb {
        match self {
            Decision::Approved => Verb::Approve,
            Decision::Rejected => Verb::Reject,
        }
    }
}

/// `POST /v1/approvals/{id}`
pub(super) async fn decide(context: Context) -> Result<Response, Problem> {
    let (reviewer, channel) = context.reviewer()?;
    let id = context.id()?;
    let body: wire::Decide = context.json()?;
    let payload_sha256 = match body.payload_sha256 {
        Some(text) => {
            let hash = call::from_hex(&text).map_err(|error| invalid(&format!("`payload_sha256`: {error}")))?;
            Some(PayloadHash(hash))
        }
        None => None,
    };
    let verb = body.decision.verb();
    let ruling = Ruling { verb, channel, reason: reason(body.reason)?, payload_sha256, batch: Batch::Single };
    answer(&context, context.gate().decide(id, reviewer, ruling).await?)
}

/// `POST /v1/approvals/{id}/resolve`
pub(super) async fn resolve(context: Context) -> Result<Response, Problem> {
    let (reviewer, _) = context.reviewer()?;
    let id = context.id()?;
    let body: wire::Resolve = context.json()?;
    if body.note.trim().is_empty() || body.note.chars().count() > REASON_CHARS_MAX {
        return Err(invalid(&format!("`note` must say how it was found out, in 1 to {REASON_CHARS_MAX} characters")));
    }
    let outcome = match body.outcome {
        ResolvedOutcome::Committed => Settlement::Committed,
        ResolvedOutcome::NotCommitted => Settlement::NotCommitted,
    };
    answer(&context, context.gate().resolve(id, reviewer, outcome, body.note).await?)
}

fn answer(context: &Context, outcome: Outcome) -> Result<Response, Problem> {
    match outcome {
        Outcome::Stands(approval) => reply(StatusCode::OK, &ApprovalView::new(&approval, context.gate().now())),
        Outcome::Refused(approval, refusal) => Err(refused(&approval, &refusal)),
        Outcome::Missing => Err(not_found()),
    }
}

/// A refusal, with the decision that stands: who, what, when.
fn refused(approval: &Approval, refusal: &Refusal) -> Problem {
    let problem = problem::refused(approval, refusal);
    let problem = match refusal {
        Refusal::PayloadMismatch => problem.with("payload_sha256", approval.subject.payload_sha256.to_string()),
        _ => problem,
    };
    let standing = DecidedBy::of(&approval.state).and_then(|standing| serde_json::to_value(standing).ok());
    match standing {
        Some(serde_json::Value::Object(mut standing)) => {
            standing.insert("status".to_owned(), approval.status().as_str().into());
            problem.with("standing", standing)
        }
        _ => problem,
    }
}

/// `POST /v1/approvals/bulk-decide`
pub(super) async fn bulk(context: Context) -> Result<Response, Problem> {
    let (reviewer, channel) = context.reviewer()?;
    let body: wire::BulkDecide = context.json()?;
    if !(1..=BULK_MAX).contains(&body.ids.len()) {
        return Err(invalid(&format!("`ids` must name 1 to {BULK_MAX} approvals")));
    }
    let mut seen = HashSet::new();
    if let Some(twin) = body.ids.iter().find(|id| !seen.insert(id.as_str())) {
        return Err(invalid(&format!("`ids` names `{}` twice", crate::web::text::excerpt(twin, 64))));
    }
    let verb = body.decision.verb();
    let ruling = Ruling { verb, channel, reason: reason(body.reason)?, payload_sha256: None, batch: Batch::Bulk };
    // Together, so that the store can write them in few commits; each for itself, so that none depends on another.
    let lines = body.ids.iter().map(|id| bulk_line(context.gate(), id, reviewer, ruling.clone()));
    reply(StatusCode::OK, &BulkAnswer { results: join_all(lines).await })
}

async fn bulk_line(gate: &Gate, text: &str, reviewer: &Reviewer, ruling: Ruling) -> BulkLine {
    let line = |result, approval: Option<&Approval>, detail| BulkLine {
        id: text.to_owned(),
        result,
        status: approval.map(|approval| approval.status().as_str()),
        detail,
    };
    let Ok(id) = text.parse::<ApprovalId>() else {
        return line(BulkResult::NotFound, None, Some("this is no approval id".to_owned()));
    };
    match decide_in_bulk(gate, id, reviewer, ruling).await {
        Ok(InBulk::Critical(approval)) => {
            let detail = "critical risk is decided one by one".to_owned();
            line(BulkResult::Forbidden, Some(&approval), Some(detail))
        }
        Ok(InBulk::Outcome(Outcome::Stands(approval))) => line(BulkResult::Decided, Some(&approval), None),
        Ok(InBulk::Outcome(Outcome::Refused(approval, refusal))) => {
            let result = match (&refusal, approval.status()) {
                (Refusal::AlreadyClosed(Status::Expired) | Refusal::Overdue, _) => BulkResult::Expired,
                (Refusal::OwnCall | Refusal::NotAnApprover { .. }, _) => BulkResult::Forbidden,
                _ => BulkResult::AlreadyDecided,
            };
            line(result, Some(&approval), Some(refusal.to_string()))
        }
        Ok(InBulk::Outcome(Outcome::Missing)) => line(BulkResult::NotFound, None, None),
        Err(error) => {
            tracing::error!(%error, approval = %id, "a decision in bulk could not be written");
            line(BulkResult::Unavailable, None, Some("the store cannot write; nothing was decided".to_owned()))
        }
    }
}

enum InBulk {
    Critical(Approval),
    Outcome(Outcome),
}

/// Risk is among the terms fixed when the call was parked, so looking at it first races with nothing.
async fn decide_in_bulk(
    gate: &Gate,
    id: ApprovalId,
    reviewer: &Reviewer,
    ruling: Ruling,
) -> Result<InBulk, gate::Error> {
    match gate.approval(id).await? {
        None => Ok(InBulk::Outcome(Outcome::Missing)),
        Some(approval) if approval.terms.risk == Risk::Critical && approval.status() == Status::Pending => {
            Ok(InBulk::Critical(approval))
        }
        Some(_) => Ok(InBulk::Outcome(gate.decide(id, reviewer, ruling).await?)),
    }
}
