//! The approvals API: one table of routes, one way through which every request goes.
//!
//! The table ([`table::ROUTES`]) says of each operation who may call it, which parameters and which body it takes and what it
//! answers. The router, the OpenAPI document and the coverage tests all read that table, so none of them can say something else.
//! Nothing here decides anything: the use cases are [`crate::gate`]'s.
//!
//! Order of a request, each step refusing before the next one looks: host, identity, role, same origin (for sessions), parameters,
//! body. Identity comes from authentication and never from a body. A `GET` changes nothing.

mod access;
mod approvals;
mod audit;
mod context;
mod decisions;
mod events;
pub mod openapi;
mod policy;
pub mod route;
mod system;
pub mod table;
mod tools;
pub mod wire;

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawPathParams, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, on};
use http::HeaderValue;

use crate::problem::{Code, Problem, REQUEST_ID_HEADER, SOURCE_HEADER, Source};
use crate::web::headers::{Kind, protect};
use crate::web::listing::TEXT_CHARS_MAX;
use crate::web::query::Pairs;
use crate::web::{Shared, body};

use context::Context;
use route::{Body, Parameter, Role, Route};

/// Where the API is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// The admin listener: everything.
    Admin,
    /// The proxy listener, below `/_holdpoint`: what agents may call, for agents alone.
    AgentOnly,
}

impl Surface {
    /// What stands before every path.
    pub const fn prefix(self) -> &'static str {
        match self {
            Surface::Admin => "",
            Surface::AgentOnly => "/_holdpoint",
        }
    }

    /// Whether the operation is served here.
    pub fn serves(self, route: &Route) -> bool {
        match self {
            Surface::Admin => true,
            Surface::AgentOnly => route.who.contains(&Role::Agent),
        }
    }
}

/// The router of a surface. What is not in the table answers with a problem document as well; on the admin side an unknown path
/// is left to the fallback of the page's router, with which this one is merged.
pub fn router(shared: &Arc<Shared>, surface: Surface) -> Router {
    let mut router = Router::new();
    for route in table::ROUTES.iter().filter(|route| surface.serves(route)) {
        let filter = MethodFilter::try_from(route.method.clone()).expect("the table has only methods that axum knows");
        let handler = move |State(shared): State<Arc<Shared>>, path: RawPathParams, request: Request| async move {
            let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            answer(&shared, surface, route, path, request).await
        };
        router = router.route(&format!("{}{}", surface.prefix(), route.path), on(filter, handler));
    }
    if surface == Surface::AgentOnly {
        router = router.fallback(|State(shared): State<Arc<Shared>>| async move {
            let problem = Problem::new(Code::NoRoute, "agents have nothing at this path; see the API's reference");
            finish(&shared, problem.into_response())
        });
    }
    router
        .method_not_allowed_fallback(|State(shared): State<Arc<Shared>>| async move {
            let problem =
                Problem::new(Code::MethodNotAllowed, "this path does not take this method; see /openapi.json");
            finish(&shared, problem.into_response())
        })
        .with_state(shared.clone())
}

async fn answer(
    shared: &Arc<Shared>,
    surface: Surface,
    route: &'static Route,
    path: Vec<(String, String)>,
    request: Request,
) -> Response {
    let response = match admit(shared, surface, route, path, request).await {
        Ok(context) => (route.handler)(context).await.unwrap_or_else(Problem::into_response),
        Err(problem) => problem.into_response(),
    };
    finish(shared, response)
}

/// Everything that must hold before an operation runs.
async fn admit(
    shared: &Arc<Shared>,
    surface: Surface,
    route: &'static Route,
    path: Vec<(String, String)>,
    request: Request,
) -> Result<Context, Problem> {
    let (parts, raw_body) = request.into_parts();
    let caller = access::admit(shared, surface, route, &parts).await?;
    let query = Pairs::parse(parts.uri.query().unwrap_or_default()).map_err(|error| invalid(&error))?;
    let known: Vec<&str> = route.query.iter().map(|parameter| parameter.name).collect();
    query.only(&known).map_err(|error| invalid(&error))?;
    let is_empty = |parameter: &&Parameter| query.all(parameter.name).any(str::is_empty);
    if let Some(empty) = route.query.iter().filter(|parameter| !parameter.may_be_empty()).find(is_empty) {
        return Err(invalid(&format!("`{}` is empty; leave it out, or give it a value", empty.name)));
    }
    let is_long =
        |parameter: &&Parameter| query.all(parameter.name).any(|value| value.chars().count() > TEXT_CHARS_MAX);
    if let Some(long) = route.query.iter().find(is_long) {
        return Err(invalid(&format!("`{}` has more than {TEXT_CHARS_MAX} characters", long.name)));
    }
    let body = match route.body {
        // What an operation has no use for is not read.
        Body::None => bytes::Bytes::new(),
        Body::Optional(_) | Body::Required(_) | Body::Context(_) => {
            let limit = match route.body {
                Body::Context(_) => shared.settings.load().body_bytes_max,
                _ => route::BODY_BYTES_MAX,
            };
            let body = body::read(raw_body, limit).await.map_err(|error| unreadable(&error))?;
            if !body.is_empty() && body::media_type(&parts.headers).as_deref() != Some("application/json") {
                return Err(Problem::new(
                    Code::UnsupportedMediaType,
                    "send the body as `Content-Type: application/json`",
                ));
            }
            body
        }
    };
    Ok(Context { shared: shared.clone(), surface, caller, path, query, headers: parts.headers, body })
}

fn invalid(error: &impl ToString) -> Problem {
    Problem::new(Code::InvalidRequest, error.to_string())
}

fn unreadable(error: &body::Error) -> Problem {
    let code = match error {
        body::Error::TooLarge(_) => Code::TooLarge,
        body::Error::Late => Code::RequestTimeout,
        body::Error::Broken => Code::BodyIncomplete,
    };
    Problem::new(code, error.to_string())
}

/// What every answer carries.
fn finish(shared: &Shared, mut response: Response) -> Response {
    let id = shared.gate.new_request_id(shared.gate.now()).to_string();
    let headers = response.headers_mut();
    protect(headers, Kind::Data);
    headers.insert(REQUEST_ID_HEADER, HeaderValue::from_str(&id).expect("an id is ASCII"));
    headers.entry(SOURCE_HEADER).or_insert_with(|| Source::Gateway.header());
    response
}
