//! Deciding about many: first what it would touch, then one result for each.

use std::collections::{BTreeMap, BTreeSet};

use axum::response::Response;
use futures_util::future::join_all;
use http::StatusCode;
use maud::{Markup, html};

use crate::domain::approval::{Approval, Risk, Status};
use crate::domain::id::ApprovalId;
use crate::domain::identity::{Channel, Reviewer};
use crate::gate::decisions::{Batch, Outcome, Ruling, Verb};
use crate::gate::{self, Gate};
use crate::problem::Problem;
use crate::web::text::visible;
use crate::web::{BULK_MAX, REASON_CHARS_MAX};

use super::layout::{Frame, Place};
use super::{HOME, Visit, decide as single, invalid, layout, parts, row};

/// The approvals that were picked: at least one, at most [`BULK_MAX`], each once.
fn picked(visit: &Visit) -> Result<Vec<ApprovalId>, Problem> {
    let ids: BTreeSet<ApprovalId> = visit
        .form
        .all("item")
        .map(|text| text.parse().map_err(|error| invalid(&format!("`item`: {error}"))))
        .collect::<Result<_, _>>()?;
    if ids.is_empty() || ids.len() > BULK_MAX {
        return Err(invalid(&format!("select 1 to {BULK_MAX} approvals")));
    }
    Ok(ids.into_iter().collect())
}

/// `POST /dashboard/bulk/review`: changes nothing; a `POST` because so many ids do not fit an address.
pub(super) async fn review(visit: Visit) -> Result<Response, Problem> {
    let (session, ids) = (visit.session()?, picked(&visit)?);
    let read = join_all(ids.iter().map(|id| visit.gate().approval(*id))).await;
    let approvals: Vec<Approval> = read.into_iter().filter_map(Result::transpose).collect::<Result<_, _>>()?;
    let (pending, seq, now) = layout::figures(visit.gate()).await?;
    let tools = visit.gate().unaccepted_tools();
    let mut by_tool: BTreeMap<(&str, Risk), usize> = BTreeMap::new();
    for approval in &approvals {
        *by_tool.entry((&approval.subject.name, approval.terms.risk)).or_default() += 1;
    }
    let long = approvals.iter().filter(|approval| !row::is_shown_whole(approval)).count();
    let content = html! {
        h1 { "Decide about " (approvals.len()) " approvals" }
        ul { @for ((name, risk), count) in &by_tool { li { (count) " × " (visible(name)) " " (parts::risk(*risk)) } } }
        @if long > 0 {
            p.warning { (long) " of them have inputs too long for the list. They can be rejected here, and approved only one by one." }
        }
        ol.rows { @for approval in &approvals {
            li.row {
                div.row-head { h2 { a href={ (HOME) "/" (approval.id) } { (visible(&approval.subject.name)) } } (parts::risk(approval.terms.risk)) (parts::sla(approval, now)) }
                p.summary { (visible(&approval.subject.summary)) }
                p { "Agent " (visible(&approval.subject.agent.0)) }
            }
        } }
        form.decide method="post" action="/dashboard/bulk/decide" {
            (layout::csrf(session))
            @for approval in &approvals { input type="hidden" name="item" value=(approval.id); }
            label { "One reason for all, sent to each caller; needed to reject" input type="text" name="reason" required maxlength=(REASON_CHARS_MAX) autocomplete="off"; }
            button.reject type="submit" name="decision" value="rejected" { "Reject " (approvals.len()) }
            button.approve type="submit" name="decision" value="approved" formnovalidate { "Approve " (approvals.len()) }
            a href=(HOME) { "Cancel" }
        }
    };
    let frame = Frame { session, place: Place::Pending, title: "Decide about many", pending, tools, now, seq };
    Ok(layout::page(StatusCode::OK, &frame, &content))
}

/// `POST /dashboard/bulk/decide`
pub(super) async fn decide(visit: Visit) -> Result<Response, Problem> {
    let (session, ids) = (visit.session()?, picked(&visit)?);
    let (verb, reason) = (single::verb(&visit)?, single::text(&visit, "reason")?);
    if verb == Verb::Reject && reason.is_none() {
        return Err(invalid(&"a rejection needs a reason: it is what the callers are told"));
    }
    let ruling = Ruling { verb, channel: Channel::Dashboard, reason, payload_sha256: None, batch: Batch::Bulk };
    let lines = ids.iter().map(|id| one(visit.gate(), *id, &session.reviewer, ruling.clone()));
    let lines = join_all(lines).await;
    let (pending, seq, now) = layout::figures(visit.gate()).await?;
    let tools = visit.gate().unaccepted_tools();
    let content = html! {
        h1 { "Results" }
        ol.results {
            @for (id, line) in ids.iter().zip(&lines) {
                li data-approval-id=(id) { a href={ (HOME) "/" (id) } { (named(*id, line)) } ": " (result(line, now)) }
            }
        }
        p { a href=(HOME) { "Back to the pending approvals" } }
    };
    let frame = Frame { session, place: Place::Pending, title: "Results", pending, tools, now, seq };
    Ok(layout::page(StatusCode::OK, &frame, &content))
}

/// What became of one.
enum Line {
    LeftOut(Box<Approval>, &'static str),
    Outcome(Box<Outcome>),
    Unavailable,
}

async fn one(gate: &Gate, id: ApprovalId, reviewer: &Reviewer, ruling: Ruling) -> Line {
    match try_one(gate, id, reviewer, ruling).await {
        Ok(line) => line,
        Err(error) => {
            tracing::error!(%error, approval = %id, "a decision in bulk could not be written");
            Line::Unavailable
        }
    }
}

/// Risk and input are fixed when the call is parked, so looking at them first races with nothing.
async fn try_one(gate: &Gate, id: ApprovalId, reviewer: &Reviewer, mut ruling: Ruling) -> Result<Line, gate::Error> {
    let Some(approval) = gate.approval(id).await? else { return Ok(Line::Outcome(Box::new(Outcome::Missing))) };
    if approval.status() == Status::Pending {
        if approval.terms.risk == Risk::Critical {
            return Ok(Line::LeftOut(approval.into(), "left out: critical risk is decided one by one"));
        }
        if ruling.verb == Verb::Approve && !row::is_shown_whole(&approval) {
            let why = "left out: its input was not shown in full; open it to approve";
            return Ok(Line::LeftOut(approval.into(), why));
        }
    }
    ruling.payload_sha256 = Some(approval.subject.payload_sha256);
    Ok(Line::Outcome(Box::new(gate.decide(id, reviewer, ruling).await?)))
}

/// What it is about, as on the page before; its id when that is not known.
fn named(id: ApprovalId, line: &Line) -> Markup {
    let approval = match line {
        Line::LeftOut(approval, _) => Some(approval.as_ref()),
        Line::Unavailable => None,
        Line::Outcome(outcome) => match outcome.as_ref() {
            Outcome::Stands(approval) | Outcome::Refused(approval, _) => Some(approval),
            Outcome::Missing => None,
        },
    };
    html! {
        @match approval {
            Some(approval) => { strong { (visible(&approval.subject.name)) } ", " (visible(&approval.subject.summary)) }
            None => code { (id) },
        }
    }
}

fn result(line: &Line, now: crate::domain::time::Timestamp) -> Markup {
    let outcome = match line {
        Line::LeftOut(_, why) => return html! { (why) },
        Line::Unavailable => return html! { "not decided: the store cannot write at this moment" },
        Line::Outcome(outcome) => outcome.as_ref(),
    };
    html! {
        @match outcome {
            Outcome::Missing => "not found",
            Outcome::Stands(approval) => {
                @if approval.status() == Status::Pending {
                    "your vote counts; still needed: " (parts::slots(&crate::domain::approval::rules::still_needed(approval)))
                } @else { (parts::decision(&approval.state, now)) }
            }
            Outcome::Refused(approval, refusal) => {
                @if approval.status() == Status::Pending { "not decided: " (visible(&refusal.to_string())) }
                @else { "already " (parts::decision(&approval.state, now)) }
            }
        }
    }
}
