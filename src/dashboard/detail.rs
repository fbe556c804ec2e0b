//! One approval, whole: everything a reviewer needs before deciding, and everything that happened to it.

use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};

use crate::domain::approval::{Approval, Execution, ReleaseMode, State, Status, rules};
use crate::domain::audit::{Event, Record};
use crate::domain::time::Timestamp;
use crate::gate;
use crate::problem::Problem;
use crate::store::AuditFilter;
use crate::web::REASON_CHARS_MAX;
use crate::web::session::SignedIn;
use crate::web::text::{grouped, visible};

use super::layout::{Frame, Place};
use super::{HOME, Visit, invalid, layout, no_approval, parts, row};

/// Records of the timeline on the page; the API has the others.
const TIMELINE_MAX: u32 = 200;

/// `GET /dashboard/approvals/{id}`
pub(super) async fn show(visit: Visit) -> Result<Response, Problem> {
    visit.query.only(&["decided"]).map_err(|error| invalid(&error))?;
    let (id, gate) = (visit.id()?, visit.gate());
    let (pending, seq, now) = layout::figures(gate).await?;
    let tools = gate.unaccepted_tools();
    let approval = gate.approval(id).await?.ok_or_else(no_approval)?;
    let filter = AuditFilter { approval: Some(id), ..AuditFilter::default() };
    let records = gate.store().audit(filter, TIMELINE_MAX).await.map_err(gate::Error::from)?;
    let session = visit.session()?;
    let content = content(&approval, session, now, &records, visit.query.has("decided"));
    let place = if approval.status() == Status::Pending { Place::Pending } else { Place::History };
    let title = visible(&approval.subject.name);
    Ok(layout::page(StatusCode::OK, &Frame { session, place, title: &title, pending, tools, now, seq }, &content))
}

/// The approval as a page; also shown, with what stands in the way on top, when a decision came too late.
pub(super) fn content(
    approval: &Approval,
    session: &SignedIn,
    now: Timestamp,
    records: &[Record],
    decided: bool,
) -> Markup {
    let subject = &approval.subject;
    html! {
        article.detail data-approval-id=(approval.id) data-status=(approval.status().as_str()) {
            div.row-head {
                h1 { (visible(&subject.name)) }
                (parts::risk(approval.terms.risk))
                (parts::sla(approval, now))
            }
            @if decided && approval.state == State::Pending {
                p.notice role="status" { "Your vote counts. Still needed: " (parts::slots(&rules::still_needed(approval))) }
            }
            p.decision data-decision { (parts::decision(&approval.state, now)) }
            @if let Some(reason) = approval.state.reason() { p.reason { "Reason: " q { (visible(reason)) } } }
            @if let Some(revision) = &approval.stale_since {
                p.warning { "The rule behind this has changed since it was parked (revision " code { (visible(revision)) } "). The terms shown are those it was parked under." }
            }
            p.summary { (visible(&subject.summary)) }
            section aria-labelledby="input-heading" {
                h2 #input-heading { "Input" }
                p.hint { "As it was received, " (grouped(usize::try_from(subject.payload_bytes).unwrap_or(usize::MAX))) " bytes; values that the rule redacts show as such." }
                pre.input tabindex="0" aria-label="Input" { code { (parts::readable_json(&subject.preview)) } }
            }
            (facts(approval, now))
            @if let Execution::Unknown { .. } = approval.execution { (resolve_form(approval, session)) }
            @if approval.state == State::Pending { (decide_form(approval, session)) }
            (timeline(records, now))
        }
    }
}

fn facts(approval: &Approval, now: Timestamp) -> Markup {
    let (subject, terms) = (&approval.subject, &approval.terms);
    let votes = &approval.votes;
    html! {
        dl.facts.wide {
            @if let Some(call) = approval.call() {
                div { dt { "Sent as" } dd { code { (visible(&call.method)) " " (visible(&call.target)) } } }
                div { dt { "Upstream" } dd { (visible(&call.upstream)) } }
                div { dt { "Sent by" } dd {
                    @match call.release {
                        ReleaseMode::Attached => "its caller's own connection",
                        ReleaseMode::Detached => "the gateway, from the stored request",
                    }
                } }
            }
            div { dt { "Payload SHA-256" } dd { code { (subject.payload_sha256) } } }
            div { dt { "Agent" } dd { (visible(&subject.agent.0)) } }
            div { dt { "Caller" } dd data-caller { (parts::caller(approval, now)) } }
            div { dt { "Trace" } dd { @match &subject.trace_id { Some(id) => code.trace { (visible(id)) }, None => "none" } } }
            div { dt { "Rule" } dd { (visible(&terms.rule)) @if let Some(reason) = &terms.reason { ": " (visible(reason)) } } }
            div { dt { "Policy revision" } dd { code { (visible(&terms.policy_revision)) } } }
            div { dt { "Requested" } dd { (parts::time(approval.created_at, now)) } }
            @if let Some(sla_at) = terms.sla_at { div { dt { "Due" } dd { (parts::time(sla_at, now)) } } }
            div { dt { "Expires" } dd { (parts::time(terms.expires_at, now)) } }
            @if let Some(closed_at) = approval.state.closed_at() {
                div { dt { "Closed" } dd { (parts::time(closed_at, now)) } }
            }
            div { dt { "Outcome" } dd data-outcome=(approval.execution.as_str().unwrap_or("none")) aria-live="polite" { (parts::outcome(&approval.execution)) } }
            div { dt { "Needs" } dd { (parts::slots(&terms.approvers)) } }
            div { dt { "Approvals so far" } dd {
                @if votes.is_empty() { "none" } @else {
                    ul { @for vote in votes {
                        li {
                            (visible(&vote.by)) ", " (parts::time(vote.at, now))
                            @if let Some(reason) = &vote.reason { ": " q { (visible(reason)) } }
                        }
                    } }
                }
            } }
            @if approval.state == State::Pending {
                div { dt { "Still needed" } dd { (parts::slots(&rules::still_needed(approval))) } }
            }
        }
    }
}

fn decide_form(approval: &Approval, session: &SignedIn) -> Markup {
    html! {
        section.act aria-labelledby="decide-heading" {
            h2 #decide-heading { "Decide" }
            @match rules::may_decide(approval, &session.reviewer) {
                Err(refusal) => p.cannot { (row::why_not(&refusal)) },
                Ok(()) => form.decide method="post" action={ (HOME) "/" (approval.id) "/decide" } {
                    (layout::csrf(session))
                    input type="hidden" name="payload_sha256" value=(approval.subject.payload_sha256);
                    label { "Reason, sent to the caller; needed to reject" input type="text" name="reason" required maxlength=(REASON_CHARS_MAX) autocomplete="off"; }
                    // First in the form, so that the Enter key in the reason never approves.
                    button.reject type="submit" name="decision" value="rejected" { "Reject" }
                    @if let Err(refusal) = rules::may_approve(approval, &session.reviewer) {
                        p.cannot { (row::why_not(&refusal)) }
                    } @else {
                        button.approve type="submit" name="decision" value="approved" formnovalidate { "Approve" }
                    }
                },
            }
        }
    }
}

fn resolve_form(approval: &Approval, session: &SignedIn) -> Markup {
    html! {
        section.act data-settle aria-labelledby="resolve-heading" {
            h2 #resolve-heading { "Settle the outcome" }
            p { "The call may have run. It is never sent again. Look at the upstream and write down what you found." }
            form.decide method="post" action={ (HOME) "/" (approval.id) "/resolve" } {
                (layout::csrf(session))
                label { "How you found out" input type="text" name="note" required maxlength=(REASON_CHARS_MAX) autocomplete="off"; }
                button type="submit" name="outcome" value="not_committed" { "It did not run" }
                button type="submit" name="outcome" value="committed" { "It ran" }
            }
        }
    }
}

fn timeline(records: &[Record], now: Timestamp) -> Markup {
    html! {
        section aria-labelledby="timeline-heading" {
            h2 #timeline-heading { "Timeline" }
            ol.timeline { @for record in records { (entry(record, now)) } }
            @if records.len() == TIMELINE_MAX as usize {
                p.hint { "These are the first " (TIMELINE_MAX) " events; " code { "GET /v1/approvals/{id}/timeline" } " has all." }
            }
        }
    }
}

fn entry(record: &Record, now: Timestamp) -> Markup {
    let event: Option<Event> = serde_json::from_str(&record.event).ok();
    html! {
        li {
            @match event {
                Some(event) => {
                    strong { (event.kind.as_str().replace('_', " ")) }
                    " by " (visible(&actor(&event.actor)))
                    ", " (parts::time(event.at, now))
                    @if !event.detail.is_empty() {
                        details { summary { "Details" } pre { code { (parts::readable_json(&serde_json::Value::Object(event.detail).to_string())) } } }
                    }
                }
                // A record that this version cannot read is still shown as it stands.
                None => pre { code { (visible(&record.event)) } },
            }
        }
    }
}

fn actor(actor: &crate::domain::audit::Actor) -> String {
    use crate::domain::audit::Actor;
    match actor {
        Actor::Gateway => "the gateway".to_owned(),
        Actor::Agent(id) => format!("agent {id}"),
        Actor::Reviewer(id) => format!("reviewer {id}"),
        Actor::Unauthenticated => "somebody unauthenticated".to_owned(),
    }
}
