//! The reviewers' page: the queue, the history, one approval, deciding about one or many, changed tools, signing in and out.
//!
//! Server-rendered and complete without script: forms post, answers redirect. With script, one small module keeps the page
//! true while it is open. Everything an agent wrote is shown as inert text by [`crate::web::text`], in full or with the number of
//! characters that are hidden; what was not shown in full cannot be approved from a list.
//!
//! It deliberately holds no rule of its own about who may decide what: it asks the same functions that the decision itself asks,
//! and what they refuse is shown as it stands.
//!
//! Invariants: a `GET` changes nothing; a `POST` comes from this page (same origin) and, once signed in, carries the session's
//! form token.

mod assets;
mod bulk;
mod decide;
mod detail;
mod layout;
mod parts;
mod queue;
mod row;
mod sign_in;
mod tools;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawPathParams, Request, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{MethodFilter, on};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};

use crate::domain::id::ApprovalId;
use crate::gate::{self, Gate};
use crate::problem::{Code, Problem, REQUEST_ID_HEADER, SOURCE_HEADER, Source};
use crate::telemetry::metrics::AuthMethod;
use crate::web::headers::{Kind, protect};
use crate::web::query::{Pairs, encode};
use crate::web::session::SignedIn;
use crate::web::{Shared, body, host, origin};

/// The queue: where a reviewer begins.
pub const HOME: &str = "/dashboard/approvals";
/// Tool definitions that nobody has accepted.
pub const TOOLS: &str = "/dashboard/tools";
/// Where a reviewer signs in.
pub const SIGN_IN: &str = "/dashboard/sign-in";
/// The longest form, in bytes: a bulk decision about as many approvals as one may name.
const FORM_BYTES_MAX: usize = 64 << 10;
/// The longest address to come back to after signing in.
const NEXT_CHARS_MAX: usize = 2_048;

/// Who may open a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody who reaches the listener under one of its names.
    Anyone,
    /// A reviewer with a session.
    SignedIn,
}

type Shown = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send>>;

/// One page or form.
pub struct Page {
    /// The HTTP method.
    pub method: Method,
    /// The path.
    pub path: &'static str,
    /// Who may open it.
    pub access: Access,
    handler: fn(Visit) -> Shown,
}

const fn page(method: Method, path: &'static str, access: Access, handler: fn(Visit) -> Shown) -> Page {
    Page { method, path, access, handler }
}

/// Every page and form; router and tests read this.
pub static PAGES: &[Page] = &[
    page(Method::GET, "/", Access::Anyone, |_| Box::pin(async { Ok(see_other(HOME)) })),
    page(Method::GET, "/dashboard", Access::Anyone, |_| Box::pin(async { Ok(see_other(HOME)) })),
    page(Method::GET, HOME, Access::SignedIn, |visit| Box::pin(queue::show(visit))),
    page(Method::GET, "/dashboard/approvals/{id}", Access::SignedIn, |visit| Box::pin(detail::show(visit))),
    page(Method::POST, "/dashboard/approvals/{id}/decide", Access::SignedIn, |visit| Box::pin(decide::decide(visit))),
    page(Method::POST, "/dashboard/approvals/{id}/resolve", Access::SignedIn, |visit| Box::pin(decide::resolve(visit))),
    page(Method::POST, "/dashboard/bulk/review", Access::SignedIn, |visit| Box::pin(bulk::review(visit))),
    page(Method::POST, "/dashboard/bulk/decide", Access::SignedIn, |visit| Box::pin(bulk::decide(visit))),
    page(Method::GET, TOOLS, Access::SignedIn, |visit| Box::pin(tools::show(visit))),
    page(Method::POST, "/dashboard/tools/accept", Access::SignedIn, |visit| Box::pin(tools::accept(visit))),
    page(Method::GET, SIGN_IN, Access::Anyone, |visit| Box::pin(sign_in::show(visit))),
    page(Method::POST, SIGN_IN, Access::Anyone, |visit| Box::pin(sign_in::sign_in(visit))),
    page(Method::POST, "/dashboard/sign-out", Access::SignedIn, |visit| Box::pin(sign_in::sign_out(visit))),
    page(Method::GET, "/dashboard/once/{token}", Access::Anyone, |visit| Box::pin(sign_in::show_once(visit))),
    page(Method::POST, "/dashboard/once/{token}", Access::Anyone, |visit| Box::pin(sign_in::once(visit))),
    page(Method::GET, "/dashboard/assets/{name}", Access::Anyone, |visit| Box::pin(assets::serve(visit))),
];

/// An admitted visit.
struct Visit {
    shared: Arc<Shared>,
    signed_in: Option<SignedIn>,
    path: Vec<(String, String)>,
    /// Path and query as asked for, to come back to.
    address: String,
    query: Pairs,
    form: Pairs,
}

impl Visit {
    fn gate(&self) -> &Gate {
        &self.shared.gate
    }

    /// The session; pages that need one are not run without it.
    fn session(&self) -> Result<&SignedIn, Problem> {
        self.signed_in.as_ref().ok_or_else(|| Problem::new(Code::Unauthenticated, "sign in first"))
    }

    fn segment(&self, name: &str) -> &str {
        self.path.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    fn id(&self) -> Result<ApprovalId, Problem> {
        self.segment("id").parse().map_err(|_| no_approval())
    }

    /// A field of the form that may stand once; empty is as good as absent.
    fn field(&self, name: &str) -> Result<Option<&str>, Problem> {
        self.form.single(name).map_err(|error| invalid(&error))
    }
}

/// The router of the page, with the fallback for everything that neither the page nor the API has.
pub fn router(shared: &Arc<Shared>) -> Router {
    let mut router = Router::new();
    for page in PAGES {
        let filter = MethodFilter::try_from(page.method.clone()).expect("the table has only methods that axum knows");
        let handler = move |State(shared): State<Arc<Shared>>, path: RawPathParams, request: Request| async move {
            let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            answer(&shared, page, path, request).await
        };
        router = router.route(page.path, on(filter, handler));
    }
    let nowhere = |State(shared): State<Arc<Shared>>, request: Request| async move {
        let problem = Problem::new(Code::NoRoute, "there is nothing at this address");
        let response = if request.uri().path().starts_with("/dashboard") {
            layout::trouble(None, &problem)
        } else {
            problem.into_response()
        };
        finish(&shared, response, Kind::Page)
    };
    router.fallback(nowhere).with_state(shared.clone())
}

async fn answer(shared: &Arc<Shared>, page: &Page, path: Vec<(String, String)>, request: Request) -> Response {
    let (parts, raw_body) = request.into_parts();
    let kind = if page.path.starts_with("/dashboard/assets/") { Kind::Asset } else { Kind::Page };
    let signed_in = match admit(shared, &parts).await {
        Ok(signed_in) => signed_in,
        Err(problem) => return finish(shared, layout::trouble(None, &problem), Kind::Page),
    };
    let shown = match visit(shared, page, path, parts, raw_body, signed_in.clone()).await {
        Ok(Entry::Visit(visit)) => (page.handler)(visit).await,
        Ok(Entry::Elsewhere(response)) => Ok(response),
        Err(problem) => Err(problem),
    };
    match shown {
        Ok(response) => finish(shared, response, kind),
        Err(problem) => finish(shared, layout::trouble(signed_in.as_ref(), &problem), Kind::Page),
    }
}

/// What holds for every visit: our own host name, and for posts our own page. Returns who is signed in.
async fn admit(shared: &Shared, parts: &Parts) -> Result<Option<SignedIn>, Problem> {
    let settings = shared.settings.load_full();
    let authority = host::authority(&parts.uri, &parts.headers).unwrap_or_default();
    if !host::is_allowed(authority, &settings.allowed_hosts) {
        let detail = "this page does not answer under this Host; add the name to `admin.allowed_hosts`";
        return Err(Problem::new(Code::CrossSite, detail));
    }
    let from_here = origin::check(&parts.headers, authority, settings.public_origin.as_deref());
    if parts.method == Method::POST && from_here.is_err() {
        shared.gate.metrics().auth_failure(AuthMethod::Csrf);
        return Err(Problem::new(Code::CrossSite, "this form was not sent by this page; open the page and try again"));
    }
    Ok(shared.signed_in(&parts.headers).await.map_err(gate::Error::from)?)
}

enum Entry {
    Visit(Visit),
    Elsewhere(Response),
}

async fn visit(
    shared: &Arc<Shared>,
    page: &Page,
    path: Vec<(String, String)>,
    parts: Parts,
    raw_body: axum::body::Body,
    signed_in: Option<SignedIn>,
) -> Result<Entry, Problem> {
    let address = parts.uri.path_and_query().map_or(HOME, http::uri::PathAndQuery::as_str).to_owned();
    if page.access == Access::SignedIn && signed_in.is_none() {
        if page.method == Method::GET {
            return Ok(Entry::Elsewhere(see_other(&format!("{SIGN_IN}?next={}", encode(&address)))));
        }
        return Err(Problem::new(
            Code::Unauthenticated,
            "you are signed out, so nothing was done; sign in and try again",
        ));
    }
    let query = Pairs::parse(parts.uri.query().unwrap_or_default()).map_err(|error| invalid(&error))?;
    let form = if page.method == Method::POST { read_form(&parts.headers, raw_body).await? } else { Pairs::default() };
    if let (&Method::POST, Access::SignedIn, Some(session)) = (&page.method, page.access, &signed_in) {
        let token = form.single("csrf").map_err(|error| invalid(&error))?;
        if !session.csrf_matches(token) {
            shared.gate.metrics().auth_failure(AuthMethod::Csrf);
            let detail = "the form is not of this session, so nothing was done; reload the page and try again";
            return Err(Problem::new(Code::CrossSite, detail));
        }
    }
    Ok(Entry::Visit(Visit { shared: shared.clone(), signed_in, path, address, query, form }))
}

async fn read_form(headers: &HeaderMap, raw_body: axum::body::Body) -> Result<Pairs, Problem> {
    if body::media_type(headers).as_deref() != Some("application/x-www-form-urlencoded") {
        return Err(Problem::new(Code::UnsupportedMediaType, "this takes the page's own forms"));
    }
    let bytes = body::read(raw_body, FORM_BYTES_MAX).await.map_err(|error| match error {
        body::Error::TooLarge(_) => Problem::new(Code::TooLarge, error.to_string()),
        body::Error::Late => Problem::new(Code::RequestTimeout, error.to_string()),
        body::Error::Broken => Problem::new(Code::BodyIncomplete, error.to_string()),
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|error| invalid(&error))?;
    Pairs::parse(text).map_err(|error| invalid(&error))
}

fn finish(shared: &Shared, mut response: Response, kind: Kind) -> Response {
    let id = shared.gate.new_request_id(shared.gate.now()).to_string();
    let headers = response.headers_mut();
    protect(headers, kind);
    headers.insert(REQUEST_ID_HEADER, HeaderValue::from_str(&id).expect("an id is ASCII"));
    headers.insert(SOURCE_HEADER, Source::Gateway.header());
    response
}

fn see_other(address: &str) -> Response {
    Redirect::to(address).into_response()
}

fn invalid(error: &impl ToString) -> Problem {
    Problem::new(Code::InvalidRequest, error.to_string())
}

fn no_approval() -> Problem {
    Problem::new(Code::NotFound, "there is no such approval; it may be the id of another gateway")
}

/// An address to come back to, if it is one of this page's own.
fn own_address(address: &str) -> Option<&str> {
    let below =
        |page: &str| address.strip_prefix(page).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    let own = below(HOME) || below(TOOLS);
    let plain = address.len() <= NEXT_CHARS_MAX && address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    (own && plain).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_page_are_come_back_to() {
        for (address, want) in [
            ("/dashboard/approvals", true),
            ("/dashboard/approvals?view=history&q=x", true),
            ("/dashboard/approvals/apr_1", true),
            ("/dashboard/tools?view=all", true),
            ("/dashboard/approvalsx", false),
            ("//evil.example/dashboard/approvals", false),
            ("https://evil.example", false),
            ("/dashboard/approvals/\\evil", false),
            ("/dashboard/approvals/\r\nset-cookie: x", false),
            ("/v1/approvals", false),
            ("", false),
        ] {
            assert_eq!(own_address(address).is_some(), want, "{address}");
        }
    }

    #[test]
    fn only_a_post_changes_anything_and_every_post_but_signing_in_needs_a_session() {
        for page in PAGES {
            assert!([Method::GET, Method::POST].contains(&page.method), "{}", page.path);
            if page.method == Method::POST && page.access == Access::Anyone {
                assert!(page.path == SIGN_IN || page.path == "/dashboard/once/{token}", "{}", page.path);
            }
        }
    }
}
