//! The list: what is pending, and what was decided.

use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};

use crate::domain::approval::{Risk, Status};
use crate::domain::id::ApprovalId;
use crate::domain::time::Timestamp;
use crate::gate;
use crate::problem::Problem;
use crate::store::Sort;
use crate::web::listing::{Listing, PARAMETERS, SLA_STATES};
use crate::web::query::{Pairs, encode};
use crate::web::session::SignedIn;

use super::layout::{Frame, Place};
use super::{HOME, Visit, invalid, layout, parts, row};

/// Which of the two lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Pending,
    History,
}

/// `GET /dashboard/approvals`
pub(super) async fn show(visit: Visit) -> Result<Response, Problem> {
    let session = visit.session()?;
    let known: Vec<&str> = PARAMETERS.iter().copied().chain(["view", "decided"]).collect();
    visit.query.only(&known).map_err(|error| invalid(&error))?;
    let view = match visit.query.single("view").map_err(|error| invalid(&error))? {
        None | Some("pending") => View::Pending,
        Some("history") => View::History,
        Some(_) => return Err(invalid(&"`view` must be pending or history")),
    };
    let Listing { mut filter, after, limit } = Listing::parse(&visit.query).map_err(|error| invalid(&error))?;
    match view {
        View::Pending => {
            if visit.query.has("status") {
                return Err(invalid(&"`status` chooses among what is closed: add `view=history`"));
            }
            filter.statuses = vec![Status::Pending];
            // What has waited longest comes first, unless asked otherwise.
            if !visit.query.has("sort") {
                filter.sort = Sort::Oldest;
            }
        }
        View::History => {
            if filter.statuses.contains(&Status::Pending) {
                return Err(invalid(&"the history has what is closed: leave out `view` for what is pending"));
            }
            if filter.statuses.is_empty() {
                filter.statuses = Status::ALL.into_iter().filter(|status| *status != Status::Pending).collect();
            }
        }
    }
    let (pending, seq, now) = layout::figures(visit.gate()).await?;
    let tools = visit.gate().unaccepted_tools();
    let page = visit.gate().store().list(filter, after, limit, now).await.map_err(gate::Error::from)?;
    let (title, place) = match view {
        View::Pending => ("Pending approvals", Place::Pending),
        View::History => ("History", Place::History),
    };
    let content = html! {
        h1 { (title) }
        @if let Some(notice) = notice(&visit, now).await? { (notice) }
        (filters(view, &visit.query))
        @if page.approvals.is_empty() {
            (empty(view, &visit.query))
        } @else {
            @if view == View::Pending { (bulk_bar(session)) }
            ol.rows #rows aria-label=(title) {
                @for approval in &page.approvals { (row::row(approval, session, now, &visit.address)) }
            }
        }
        (pager(&visit.query, page.next))
    };
    Ok(layout::page(StatusCode::OK, &Frame { session, place, title, pending, tools, now, seq }, &content))
}

/// What the decision that led back here came to, as the store has it now.
async fn notice(visit: &Visit, now: Timestamp) -> Result<Option<Markup>, Problem> {
    let Some(text) = visit.query.single("decided").map_err(|error| invalid(&error))? else { return Ok(None) };
    let id: ApprovalId = text.parse().map_err(|error| invalid(&format!("`decided`: {error}")))?;
    let approval = visit.gate().approval(id).await?;
    Ok(approval.map(|approval| {
        html! {
            p.notice role="status" {
                a href={ (HOME) "/" (id) } { (crate::web::text::visible(&approval.subject.name)) }
                ": " (parts::decision(&approval.state, now))
                @if approval.status() == Status::Pending {
                    " (your vote counts; still needed: " (parts::slots(&crate::domain::approval::rules::still_needed(&approval))) ")"
                }
            }
        }
    }))
}

fn bulk_bar(session: &SignedIn) -> Markup {
    html! {
        form.bulk-bar #bulk method="post" action="/dashboard/bulk/review" {
            (layout::csrf(session))
            button type="submit" { "Decide about the selected…" }
            span.hint { "Critical ones are decided one by one." }
        }
    }
}

fn empty(view: View, query: &Pairs) -> Markup {
    let filtered = query.iter().any(|(name, value)| PARAMETERS.contains(&name) && !value.is_empty());
    html! {
        section.state {
            @match (view, filtered) {
                (_, true) => {
                    h2 { "Nothing matches" }
                    p { "No approval fits these filters. " a href=(address(view)) { "Show all" } }
                }
                (View::Pending, false) => {
                    h2 { "Nothing waits for you" }
                    p { "Calls that need approval appear here as they come in." }
                }
                (View::History, false) => {
                    h2 { "Nothing was decided yet" }
                    p { "Decided, expired and withdrawn approvals are kept here." }
                }
            }
        }
    }
}

const fn address(view: View) -> &'static str {
    match view {
        View::Pending => "/dashboard/approvals",
        View::History => "/dashboard/approvals?view=history",
    }
}

/// The filters, as a form whose answer is an address to share.
fn filters(view: View, query: &Pairs) -> Markup {
    let value = |name| query.single(name).ok().flatten().unwrap_or_default();
    let text = |name: &'static str, label: &'static str| {
        html! { label { (label) input type="text" name=(name) value=(value(name)) maxlength="256" autocomplete="off"; } }
    };
    let choice = |name: &'static str, label: &'static str, options: &[&'static str]| {
        html! {
            label { (label) select name=(name) {
                option value="" { "any" }
                @for option in options { option value=(option) selected[value(name) == *option] { (option.replace('_', " ")) } }
            } }
        }
    };
    let closed: Vec<&str> =
        Status::ALL.iter().filter(|status| **status != Status::Pending).map(|status| status.as_str()).collect();
    let open = query.iter().any(|(name, value)| !value.is_empty() && !matches!(name, "view" | "decided" | "cursor"));
    html! {
        details.filters open[open] {
            summary { "Filters" }
            form method="get" action=(HOME) role="search" {
                @if view == View::History {
                    input type="hidden" name="view" value="history";
                    (choice("status", "Status", &closed))
                }
                (text("q", "Text"))
                (text("tool", "Tool"))
                (text("rule", "Rule"))
                (text("agent", "Agent"))
                (choice("risk", "Risk", &Risk::ALL.map(Risk::as_str)))
                (choice("sla", "SLA", &SLA_STATES.map(|(_, name)| name)))
                (text("trace_id", "Trace"))
                (text("since", "Since (RFC 3339)"))
                (text("until", "Until (RFC 3339)"))
                (choice("sort", "Order", &["newest", "oldest"]))
                button type="submit" { "Apply" }
                a href=(address(view)) { "Clear" }
            }
        }
    }
}

fn pager(query: &Pairs, next: Option<ApprovalId>) -> Markup {
    let link = |cursor: Option<String>| {
        let kept = query.iter().filter(|(name, value)| !matches!(*name, "cursor" | "decided") && !value.is_empty());
        let pairs = kept.map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        format!("{HOME}?{}", pairs.chain(cursor.map(|id| format!("cursor={id}"))).collect::<Vec<_>>().join("&"))
    };
    html! {
        nav.pager aria-label="Pages" {
            @if query.has("cursor") { a href=(link(None)) { "First page" } }
            @if let Some(next) = next { a rel="next" href=(link(Some(next.to_string()))) { "Next page" } }
        }
    }
}
