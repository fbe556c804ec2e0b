//! One approval in the list.

use maud::{Markup, html};

use crate::domain::approval::{Approval, Refusal, Risk, State, rules};
use crate::domain::time::Timestamp;
use crate::web::REASON_CHARS_MAX;
use crate::web::session::SignedIn;
use crate::web::text::{Shortened, grouped, visible};

use super::{HOME, layout, parts};

/// Characters of an input that the list shows.
pub(super) const PREVIEW_CHARS: usize = 400;

/// Whether the list shows all that there is to know before approving; if not, the detail does.
pub(super) fn is_shown_whole(approval: &Approval) -> bool {
    Shortened::new(&approval.subject.preview, PREVIEW_CHARS).hidden == 0
}

/// A row. `back` is the list's own address, to come back to after deciding.
pub(super) fn row(approval: &Approval, session: &SignedIn, now: Timestamp, back: &str) -> Markup {
    let subject = &approval.subject;
    let preview = Shortened::new(&subject.preview, PREVIEW_CHARS);
    let link = format!("{HOME}/{}", approval.id);
    let pending = approval.state == State::Pending;
    html! {
        li.row id=(approval.id) data-approval-id=(approval.id) data-status=(approval.status().as_str()) {
            div.row-head {
                @if pending {
                    input.pick type="checkbox" form="bulk" name="item" value=(approval.id)
                        aria-label={ "Select " (visible(&subject.name)) } disabled[approval.terms.risk == Risk::Critical];
                }
                h2 { a href=(link) { (visible(&subject.name)) } }
                (parts::risk(approval.terms.risk))
                (parts::sla(approval, now))
                @if approval.stale_since.is_some() { span.badge.stale { "rule changed since" } }
            }
            p.summary { (visible(&subject.summary)) }
            pre.preview { code { (preview.shown) } }
            @if preview.hidden > 0 {
                p.hidden-part { "… " (grouped(preview.hidden)) " more characters hidden. " a href=(link) { "Show everything" } }
            }
            (facts(approval, now))
            p.decision data-decision { (parts::decision(&approval.state, now)) }
            @if pending { (controls(approval, session, back, preview.hidden)) }
        }
    }
}

fn facts(approval: &Approval, now: Timestamp) -> Markup {
    let subject = &approval.subject;
    html! {
        dl.facts {
            @if let Some(call) = approval.call() {
                div { dt { "Sent as" } dd { code { (visible(&call.method)) " " (visible(&call.target)) } } }
            }
            div { dt { "Agent" } dd { (visible(&subject.agent.0)) } }
            div { dt { "Trace" } dd { @match &subject.trace_id { Some(id) => code.trace { (visible(id)) }, None => "none" } } }
            div { dt { "Rule" } dd {
                (visible(&approval.terms.rule)) @if let Some(reason) = &approval.terms.reason { ": " (visible(reason)) }
            } }
            div { dt { "Requested" } dd { (parts::time(approval.created_at, now)) } }
            @if let Some(closed_at) = approval.state.closed_at() {
                div { dt { "Closed" } dd { (parts::time(closed_at, now)) } }
                div { dt { "Outcome" } dd { (parts::outcome(&approval.execution)) } }
            }
            div { dt { "Caller" } dd data-caller { (parts::caller(approval, now)) } }
        }
    }
}

fn controls(approval: &Approval, session: &SignedIn, back: &str, hidden: usize) -> Markup {
    let id = approval.id;
    html! {
        @match rules::may_decide(approval, &session.reviewer) {
            Err(refusal) => p.cannot { (why_not(&refusal)) },
            Ok(()) => form.decide method="post" action={ (HOME) "/" (id) "/decide" } {
                (layout::csrf(session))
                input type="hidden" name="payload_sha256" value=(approval.subject.payload_sha256);
                input type="hidden" name="back" value=(back);
                label { "Reason, sent to the caller" input type="text" name="reason" required maxlength=(REASON_CHARS_MAX) autocomplete="off"; }
                // First in the form, so that the Enter key in the reason never approves.
                button.reject type="submit" name="decision" value="rejected" { "Reject" }
                @if hidden > 0 {
                    p.cannot { "Approve is off here: the input is too long for the list. " a href={ (HOME) "/" (id) } { "Open it to approve" } }
                } @else if let Err(refusal) = rules::may_approve(approval, &session.reviewer) {
                    p.cannot { (why_not(&refusal)) }
                } @else {
                    button.approve type="submit" name="decision" value="approved" formnovalidate { "Approve" }
                }
            },
        }
    }
}

/// Why this reviewer may not decide, to the reviewer.
pub(super) fn why_not(refusal: &Refusal) -> Markup {
    html! {
        @match refusal {
            Refusal::OwnCall => "You cannot decide this: the call was made under your own identity.",
            Refusal::NotAnApprover { needed } => { "You cannot approve this: it needs " (visible(needed)) "." }
            other => { "You cannot decide this: " (other) "." }
        }
    }
}
