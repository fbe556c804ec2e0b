//! Who is let in: the checks before an operation runs, on both surfaces.

use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::auth::{self, TOKEN_HEADER};
use crate::domain::identity::{Channel, Principal, Reviewer, ReviewerRole};
use crate::gate;
use crate::problem::{Code, Problem};
use crate::telemetry::metrics::AuthMethod;
use crate::web::session::CSRF_HEADER;
use crate::web::{MetricsAccess, Shared, host, origin};

use super::Surface;
use super::context::{Caller, forbidden};
use super::route::{Effect, Role, Route};

/// Admits a request to an operation, or says why not.
pub(super) async fn admit(shared: &Shared, surface: Surface, route: &Route, parts: &Parts) -> Result<Caller, Problem> {
    let settings = shared.settings.load_full();
    let authority = host::authority(&parts.uri, &parts.headers);
    if surface == Surface::Admin && !route.who.contains(&Role::Anyone) {
        // Probes reach a process by its address; everything that says something is for the configured names.
        let known = authority.is_some_and(|authority| host::is_allowed(authority, &settings.allowed_hosts));
        if !known {
            let detail = "this listener does not answer under this Host; add the name to `admin.allowed_hosts`";
            return Err(Problem::new(Code::CrossSite, detail));
        }
    }
    if route.who.contains(&Role::Anyone) {
        return Ok(Caller::Anyone);
    }
    let has_credential = parts.headers.contains_key(AUTHORIZATION) || parts.headers.contains_key(TOKEN_HEADER);
    if surface == Surface::Admin && !has_credential && shared.has_session_cookie(&parts.headers) {
        let signed_in = shared.signed_in(&parts.headers).await.map_err(gate::Error::from)?;
        let Some(signed_in) = signed_in else {
            shared.gate.metrics().auth_failure(AuthMethod::Session);
            return Err(unauthenticated("the session is over; sign in again"));
        };
        if route.effect == Effect::Writes {
            let token = parts.headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok());
            let same_origin = origin::check(&parts.headers, authority.unwrap_or(""), settings.public_origin.as_deref());
            if same_origin.is_err() || !signed_in.csrf_matches(token) {
                shared.gate.metrics().auth_failure(AuthMethod::Csrf);
                let detail = "a session may change things only from the page itself, with its `X-CSRF-Token`";
                return Err(Problem::new(Code::CrossSite, detail));
            }
        }
        return permit(surface, route, Caller::Reviewer(signed_in.reviewer, Channel::Dashboard));
    }
    if route.who.contains(&Role::Metrics) && settings.metrics == MetricsAccess::Open && !has_credential {
        return Ok(Caller::Metrics);
    }
    let caller = match shared.authenticator.load().authenticate(&parts.headers) {
        Ok(Principal::Agent(agent)) => Caller::Agent(agent),
        Ok(Principal::Reviewer(reviewer)) => Caller::Reviewer(reviewer, Channel::Api),
        Ok(Principal::Metrics) => Caller::Metrics,
        Err(error) => {
            shared.gate.metrics().auth_failure(match error {
                auth::Error::Missing => AuthMethod::None,
                auth::Error::Invalid => AuthMethod::Token,
            });
            return Err(unauthenticated(&error.to_string()));
        }
    };
    permit(surface, route, caller)
}

/// Lets the caller in when the row names its role.
fn permit(surface: Surface, route: &Route, caller: Caller) -> Result<Caller, Problem> {
    let allowed = match &caller {
        Caller::Anyone => false,
        Caller::Agent(_) => route.who.contains(&Role::Agent),
        Caller::Reviewer(..) if surface == Surface::AgentOnly => {
            return Err(forbidden("this listener is for agents; reviewers use the admin listener"));
        }
        Caller::Reviewer(reviewer, _) => {
            route.who.contains(&Role::Reviewer) || (route.who.contains(&Role::Admin) && is_admin(reviewer))
        }
        Caller::Metrics => route.who.contains(&Role::Metrics),
    };
    if allowed { Ok(caller) } else { Err(forbidden(&format!("this is for {}", names(route.who)))) }
}

fn is_admin(reviewer: &Reviewer) -> bool {
    match reviewer.role {
        ReviewerRole::Admin => true,
        ReviewerRole::Reviewer => false,
    }
}

fn names(who: &[Role]) -> String {
    let names = who.iter().map(|role| match role {
        Role::Anyone => "everybody",
        Role::Agent => "agents",
        Role::Reviewer => "reviewers",
        Role::Admin => "admins",
        Role::Metrics => "the metrics token",
    });
    names.collect::<Vec<_>>().join(" and ")
}

fn unauthenticated(detail: &str) -> Problem {
    Problem::new(Code::Unauthenticated, detail)
}
