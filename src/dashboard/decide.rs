//! The forms that decide and settle.

use axum::response::Response;
use maud::{Markup, html};

use crate::domain::approval::{Approval, Refusal, Settlement, State, Status};
use crate::domain::call::{self, PayloadHash};
use crate::domain::identity::Channel;
use crate::gate::decisions::{Batch, Outcome, Ruling, Verb};
use crate::problem::{self, Problem};
use crate::web::REASON_CHARS_MAX;
use crate::web::text::visible;

use super::layout::{Frame, Place};
use super::{HOME, Visit, detail, invalid, layout, no_approval, own_address, parts, row, see_other};

/// `POST /dashboard/approvals/{id}/decide`
pub(super) async fn decide(visit: Visit) -> Result<Response, Problem> {
    let id = visit.id()?;
    let (verb, reason) = (verb(&visit)?, text(&visit, "reason")?);
    if verb == Verb::Reject && reason.is_none() {
        return Err(invalid(&"a rejection needs a reason: it is what the caller is told"));
    }
    // What was on the page when the button was pressed; a form without it was not made by the page.
    let hash = visit.field("payload_sha256")?.ok_or_else(|| invalid(&"`payload_sha256` is missing"))?;
    let hash = call::from_hex(hash).map_err(|error| invalid(&format!("`payload_sha256`: {error}")))?;
    let ruling = Ruling {
        verb,
        channel: Channel::Dashboard,
        reason,
        payload_sha256: Some(PayloadHash(hash)),
        batch: Batch::Single,
    };
    match visit.gate().decide(id, &visit.session()?.reviewer, ruling).await? {
        Outcome::Stands(_) => {
            let back = visit.field("back")?.and_then(own_address);
            Ok(see_other(&match back {
                Some(list) => with_notice(list, &id.to_string()),
                None => format!("{HOME}/{id}?decided={id}"),
            }))
        }
        Outcome::Refused(approval, refusal) => refused(&visit, &approval, &refusal).await,
        Outcome::Missing => Err(no_approval()),
    }
}

/// `POST /dashboard/approvals/{id}/resolve`
pub(super) async fn resolve(visit: Visit) -> Result<Response, Problem> {
    let id = visit.id()?;
    let outcome = match visit.field("outcome")? {
        Some("committed") => Settlement::Committed,
        Some("not_committed") => Settlement::NotCommitted,
        _ => return Err(invalid(&"`outcome` must be committed or not_committed")),
    };
    let note = text(&visit, "note")?.ok_or_else(|| invalid(&"the note is missing: say how you found out"))?;
    match visit.gate().resolve(id, &visit.session()?.reviewer, outcome, note).await? {
        Outcome::Stands(_) => Ok(see_other(&format!("{HOME}/{id}"))),
        Outcome::Refused(approval, refusal) => refused(&visit, &approval, &refusal).await,
        Outcome::Missing => Err(no_approval()),
    }
}

/// The decision that a form asks for.
pub(super) fn verb(visit: &Visit) -> Result<Verb, Problem> {
    match visit.field("decision")? {
        Some("approved") => Ok(Verb::Approve),
        Some("rejected") => Ok(Verb::Reject),
        _ => Err(invalid(&"`decision` must be approved or rejected")),
    }
}

/// A text that a reviewer wrote; blank is none.
pub(super) fn text(visit: &Visit, field: &'static str) -> Result<Option<String>, Problem> {
    let text = visit.field(field)?.map(str::trim).filter(|text| !text.is_empty());
    if text.is_some_and(|text| text.chars().count() > REASON_CHARS_MAX) {
        return Err(invalid(&format!("`{field}` must have at most {REASON_CHARS_MAX} characters")));
    }
    Ok(text.map(str::to_owned))
}

/// The list's address with the approval whose outcome it should tell, in place of an earlier one.
fn with_notice(list: &str, id: &str) -> String {
    let (path, query) = list.split_once('?').unwrap_or((list, ""));
    let kept = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("decided="));
    let pairs: Vec<&str> = kept.collect();
    let kept = pairs.iter().fold(String::new(), |query, pair| query + pair + "&");
    format!("{path}?{kept}decided={id}")
}

/// The approval as it stands, with what was in the way on top.
async fn refused(visit: &Visit, approval: &Approval, refusal: &Refusal) -> Result<Response, Problem> {
    let session = visit.session()?;
    let (pending, seq, now) = layout::figures(visit.gate()).await?;
    let tools = visit.gate().unaccepted_tools();
    let status = problem::refused(approval, refusal).code().status();
    let reason: Markup = html! {
        @match refusal {
            Refusal::AlreadyClosed(_) => { "Already " (parts::decision(&approval.state, now)) ". Your decision was not recorded." }
            Refusal::PayloadMismatch => "The input is not the one you were shown. Nothing was decided; read it again below.",
            Refusal::NotUnknown => "The outcome is not unknown, so there is nothing to settle.",
            Refusal::OwnCall | Refusal::NotAnApprover { .. } => (row::why_not(refusal)),
            other => { "Nothing was decided: " (visible(&other.to_string())) "." }
        }
    };
    let content = html! {
        div.conflict role="alert" { p { (reason) } p { a href=(HOME) { "Back to the pending approvals" } } }
        (detail::content(approval, session, now, &[], false))
    };
    let place = if approval.status() == Status::Pending { Place::Pending } else { Place::History };
    let title = if approval.state == State::Pending { "Nothing was decided" } else { "Already decided" };
    Ok(layout::page(status, &Frame { session, place, title, pending, tools, now, seq }, &content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_keeps_the_filters_and_names_one_decision() {
        assert_eq!(with_notice("/dashboard/approvals", "a"), "/dashboard/approvals?decided=a");
        assert_eq!(with_notice("/dashboard/approvals?q=x&decided=b", "a"), "/dashboard/approvals?q=x&decided=a");
    }
}
