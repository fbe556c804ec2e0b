//! The frame around every page.

use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use maud::{DOCTYPE, Markup, html};

use crate::domain::time::Timestamp;
use crate::gate::{self, Gate};
use crate::problem::{Code, Problem};
use crate::web::session::SignedIn;
use crate::web::text::visible;

use super::{HOME, SIGN_IN, TOOLS, assets};

/// Which entry of the navigation a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Pending,
    History,
    Tools,
}

/// What the frame of a signed-in page needs to know.
pub(super) struct Frame<'a> {
    pub(super) session: &'a SignedIn,
    pub(super) place: Place,
    pub(super) title: &'a str,
    pub(super) pending: u64,
    /// Tools whose definition nobody has accepted.
    pub(super) tools: usize,
    pub(super) now: Timestamp,
    /// The newest record of the trail that the page shows; live updates begin behind it.
    pub(super) seq: u64,
}

/// The figures that every signed-in page carries: pending approvals and the head of the trail. The head is read first, so that
/// what happens in between is seen again rather than missed.
pub(super) async fn figures(gate: &Gate) -> Result<(u64, u64, Timestamp), Problem> {
    let now = gate.now();
    let seq = gate.store().audit_head().await.map_err(gate::Error::from)?;
    let figures = gate.store().figures(now).await.map_err(gate::Error::from)?;
    Ok((figures.pending.iter().map(|(_, _, count)| count).sum(), seq, now))
}

/// A page for somebody who is signed in.
pub(super) fn page(status: StatusCode, frame: &Frame<'_>, content: &Markup) -> Response {
    let Frame { session, place, title, pending, tools, now, seq } = frame;
    let current = |of: Place| (*place == of).then_some("page");
    let markup = html! {
        (DOCTYPE)
        html lang="en" data-now=(now.as_millis()) data-seq=(seq) {
            (head(&format!("({pending}) {title}")))
            body {
                a.skip href="#main" { "Skip to the content" }
                header.bar {
                    a.brand href=(HOME) { "Holdpoint" }
                    nav aria-label="Approvals" {
                        a href=(HOME) aria-current=[current(Place::Pending)] {
                            "Pending " span.count id="pending-count" { (pending) }
                        }
                        a href={ (HOME) "?view=history" } aria-current=[current(Place::History)] { "History" }
                        a href=(TOOLS) aria-current=[current(Place::Tools)] {
                            "Tools" @if *tools > 0 { " " span.count title="Definitions that nobody has accepted" { (tools) } }
                        }
                    }
                    form.sign-out method="post" action="/dashboard/sign-out" {
                        (csrf(session))
                        span.who { "Signed in as " strong { (visible(&session.reviewer.id)) } }
                        button type="submit" { "Sign out" }
                    }
                }
                div #live role="status" aria-live="polite" {}
                main #main tabindex="-1" { (content) }
            }
        }
    };
    respond(status, markup)
}

/// A page for somebody who is not signed in.
pub(super) fn plain(status: StatusCode, title: &str, content: &Markup) -> Response {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body {
                header.bar { a.brand href=(HOME) { "Holdpoint" } }
                main #main tabindex="-1" { (content) }
            }
        }
    };
    respond(status, markup)
}

/// What went wrong, as a page. Without the figures: when the store is gone, this still has to be shown.
pub(super) fn trouble(session: Option<&SignedIn>, problem: &Problem) -> Response {
    let code = problem.code();
    let content = html! {
        section.state {
            h1 { (code.title()) }
            p { (visible(problem.detail())) }
            p.hint {
                "Code " code { (code.as_str()) } ". "
                @if code == Code::Unauthenticated || (code == Code::CrossSite && session.is_none()) {
                    a href=(SIGN_IN) { "Sign in" }
                } @else {
                    a href=(HOME) { "Back to the pending approvals" }
                }
            }
        }
    };
    plain(code.status(), code.title(), &content)
}

/// The hidden field that shows that a form is of this session.
pub(super) fn csrf(session: &SignedIn) -> Markup {
    html! { input type="hidden" name="csrf" value=(session.csrf); }
}

fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) " · Holdpoint" }
            link rel="icon" href=(assets::icon()) type="image/svg+xml";
            link rel="stylesheet" href=(assets::style());
            script type="module" src=(assets::script()) {}
        }
    }
}

fn respond(status: StatusCode, markup: Markup) -> Response {
    (status, [(CONTENT_TYPE, "text/html; charset=utf-8")], markup.into_string()).into_response()
}
