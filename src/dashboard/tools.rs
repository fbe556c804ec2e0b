//! Tool definitions that nobody has accepted: what changed, and the form that accepts one.
//!
//! Everything an upstream wrote is shown as inert text; what is not shown says how much it is, and both definitions can be opened
//! whole beneath.

use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};

use crate::domain::call;
use crate::domain::identity::ReviewerRole;
use crate::domain::time::Timestamp;
use crate::domain::tools::diff::{Diff, ShownValue};
use crate::domain::tools::{Acceptor, Definition, DefinitionDigest, StandingName, Tool, ToolChange};
use crate::gate;
use crate::gate::tools::change_of;
use crate::problem::{Code, Problem};
use crate::store::tools::{ToolAccepted, ToolFilter};
use crate::web::query::encode;
use crate::web::session::SignedIn;
use crate::web::text::{grouped, visible};

use super::layout::{Frame, Place};
use super::{TOOLS, Visit, invalid, layout, parts, see_other};

/// Tools on one page: a definition may be long.
const PAGE: u32 = 20;

/// `GET /dashboard/tools`
pub(super) async fn show(visit: Visit) -> Result<Response, Problem> {
    visit.query.only(&["view", "cursor", "accepted"]).map_err(|error| invalid(&error))?;
    let parameter = |name| visit.query.single(name).map_err(|error| invalid(&error));
    let all = match parameter("view")? {
        None | Some("changed") => false,
        Some("all") => true,
        Some(_) => return Err(invalid(&"`view` must be changed or all")),
    };
    let standings = if all { Vec::new() } else { vec![StandingName::New, StandingName::Changed] };
    let after = match parameter("cursor")?.map(|cursor| cursor.split_once('/')) {
        None => None,
        Some(Some((upstream, name))) => Some((upstream.to_owned(), name.to_owned())),
        Some(None) => return Err(invalid(&"`cursor` is none of this list")),
    };
    let (session, gate) = (visit.session()?, visit.gate());
    let (pending, seq, now) = layout::figures(gate).await?;
    let filter = ToolFilter { upstream: None, standings };
    let page = gate.store().tools(filter, after, PAGE).await.map_err(gate::Error::from)?;
    let title = if all { "All tools" } else { "Changed tools" };
    let content = html! {
        h1 { (title) }
        @if visit.query.has("accepted") { p.notice role="status" { "The definition is accepted." } }
        p.hint {
            "What upstreams say their tools are. A definition that is new or has changed stands here until it is accepted: by an admin, "
            "or by approving a call that shows the whole change. "
            @if all { a href=(TOOLS) { "Show only what changed" } } @else { a href={ (TOOLS) "?view=all" } { "Show all tools" } }
        }
        @if page.tools.is_empty() {
            section.state {
                @if all { h2 { "No tools were listed yet" } p { "Tools appear here once an MCP upstream has listed them." } }
                @else { h2 { "Nothing has changed" } p { "Every definition that was listed is accepted." } }
            }
        } @else {
            ol.rows aria-label=(title) { @for tool in &page.tools { (row(tool, session, now)) } }
        }
        nav.pager aria-label="Pages" {
            @if let Some((upstream, name)) = &page.next {
                a rel="next" href={ (TOOLS) "?" @if all { "view=all&" } "cursor=" (encode(&format!("{upstream}/{name}"))) } { "Next page" }
            }
        }
    };
    let tools = gate.unaccepted_tools();
    let frame = Frame { session, place: Place::Tools, title, pending, tools, now, seq };
    Ok(layout::page(StatusCode::OK, &frame, &content))
}

/// `POST /dashboard/tools/accept`
pub(super) async fn accept(visit: Visit) -> Result<Response, Problem> {
    let session = visit.session()?;
    if session.reviewer.role != ReviewerRole::Admin {
        return Err(Problem::new(Code::Forbidden, "only an admin accepts a definition here; nothing was accepted"));
    }
    let field = |name| visit.field(name)?.ok_or_else(|| invalid(&format!("`{name}` is missing")));
    let digest = call::from_hex(field("digest")?).map_err(|error| invalid(&format!("`digest`: {error}")))?;
    let (upstream, name) = (field("upstream")?, field("name")?);
    match visit.gate().accept_tool(upstream, name, DefinitionDigest(digest), &session.reviewer).await? {
        ToolAccepted::Changed(_) | ToolAccepted::Same(_) => Ok(see_other(&format!("{TOOLS}?accepted="))),
        ToolAccepted::NotCurrent(_) => {
            let detail = "the upstream lists another definition by now, so nothing was accepted; reload the page and read the present one";
            Err(Problem::new(Code::DefinitionChanged, detail))
        }
        ToolAccepted::Missing => Err(Problem::new(Code::NotFound, "no upstream has listed a tool of this name")),
    }
}

fn row(tool: &Tool, session: &SignedIn, now: Timestamp) -> Markup {
    html! {
        li.row data-tool=(visible(&tool.name)) data-standing=(tool.standing().as_str()) {
            div.row-head {
                h2 { (visible(&tool.name)) }
                span.badge { (tool.standing().as_str()) }
            }
            dl.facts {
                div { dt { "Upstream" } dd { (visible(&tool.upstream)) } }
                div { dt { "First listed" } dd { (parts::time(tool.first_seen, now)) } }
                div { dt { "This definition" } dd { "since " (parts::time(tool.changed_at, now)) } }
                div { dt { "Accepted" } dd { (accepted(tool, now)) } }
            }
            p.hint { "SHA-256 " code { (tool.current.digest) } }
            @if let Some(change) = change_of(tool) { (difference(&change)) }
            details {
                summary { "Whole definition" @if tool.accepted_before().is_some() { "s" } }
                @if let Some(before) = tool.accepted_before() { h3 { "Accepted" } (definition(before)) h3 { "Now" } }
                (definition(&tool.current))
            }
            @if tool.standing() != StandingName::Accepted { (form(tool, session)) }
        }
    }
}

fn accepted(tool: &Tool, now: Timestamp) -> Markup {
    html! {
        @match tool.accepted_by() {
            None => "never",
            Some(by) => {
                @match &by.who {
                    Acceptor::Baseline => "as listed first",
                    Acceptor::Reviewer(id) => { "by " (visible(id)) },
                }
                @if tool.standing() == StandingName::Changed { " (the definition before)" }
                ", " (parts::time(by.at, now))
            }
        }
    }
}

fn difference(change: &ToolChange) -> Markup {
    let Diff { changes, more_changes } = &change.diff;
    html! {
        dl.facts.wide.diff {
            @for change in changes {
                div {
                    dt { code { @if change.path.is_empty() { "the whole definition" } @else { (visible(&change.path)) } } }
                    dd {
                        (side("−", "before", change.before.as_ref()))
                        (side("+", "now", change.after.as_ref()))
                    }
                }
            }
        }
        @if *more_changes > 0 {
            p.warning { (grouped(*more_changes)) " more changes are not shown here. Read both definitions before you accept." }
        }
    }
}

fn side(sign: &str, word: &str, value: Option<&ShownValue>) -> Markup {
    html! {
        @if let Some(ShownValue { json, more_characters }) = value {
            pre class={ "side " (word) } aria-label=(word) { span aria-hidden="true" { (sign) " " } code { (parts::readable_json(json)) } }
            @if *more_characters > 0 { p.hidden-part { "… " (grouped(*more_characters)) " more characters are not shown." } }
        }
    }
}

fn definition(definition: &Definition) -> Markup {
    let hidden = usize::try_from(definition.bytes).unwrap_or(usize::MAX).saturating_sub(definition.text.len());
    html! {
        pre { code { (parts::readable_json(&definition.text)) } }
        @if hidden > 0 {
            p.hidden-part { "… " (grouped(hidden)) " more bytes are not kept; the digest covers them." }
        }
    }
}

fn form(tool: &Tool, session: &SignedIn) -> Markup {
    html! {
        @if session.reviewer.role == ReviewerRole::Admin {
            form.decide method="post" action={ (TOOLS) "/accept" } {
                (layout::csrf(session))
                input type="hidden" name="upstream" value=(tool.upstream);
                input type="hidden" name="name" value=(tool.name);
                input type="hidden" name="digest" value=(tool.current.digest);
                button.approve type="submit" { "Accept this definition" }
            }
        } @else {
            p.cannot { "An admin accepts definitions here. Approving a parked call that shows the whole change accepts it as well." }
        }
    }
}
