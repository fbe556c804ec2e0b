//! Signing in with a reviewer token or a one-time link, and signing out.
//!
//! Guessing is bounded by a fixed delay and by how many attempts are looked at together; tokens have 256 random bits anyway.

use axum::response::Response;
use http::StatusCode;
use http::header::{HeaderValue, SET_COOKIE};
use maud::{Markup, html};

use crate::domain::identity::Reviewer;
use crate::gate;
use crate::problem::{Code, Problem};
use crate::telemetry::metrics::AuthMethod;
use crate::web::SIGN_IN_DELAY;
use crate::web::session::SignIn;

use super::{HOME, SIGN_IN, Visit, invalid, layout, own_address, see_other};

/// How long an attempt waits for its turn before it is refused.
const TURN_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// `GET /dashboard/sign-in`
pub(super) async fn show(visit: Visit) -> Result<Response, Problem> {
    visit.query.only(&["next"]).map_err(|error| invalid(&error))?;
    let next = visit.query.single("next").map_err(|error| invalid(&error))?.and_then(own_address);
    Ok(layout::plain(StatusCode::OK, "Sign in", &form(next.unwrap_or(HOME), None)))
}

fn form(next: &str, trouble: Option<&str>) -> Markup {
    html! {
        section.sign-in {
            h1 { "Sign in" }
            @if let Some(trouble) = trouble { p.conflict role="alert" { (trouble) } }
            form method="post" action=(SIGN_IN) {
                input type="hidden" name="next" value=(next);
                label { "Reviewer token" input type="password" name="token" required maxlength="1024" autocomplete="current-password" autofocus; }
                button type="submit" { "Sign in" }
            }
            p.hint { "Tokens are made with " code { "holdpoint token new" } " and listed under " code { "reviewers" } " in the configuration." }
            // A link from elsewhere does not bring the session cookie along; one from here does.
            p.hint { "Signed in already? " a href=(next) { "Continue" } }
        }
    }
}

/// `POST /dashboard/sign-in`
pub(super) async fn sign_in(visit: Visit) -> Result<Response, Problem> {
    let next = visit.field("next")?.and_then(own_address).unwrap_or(HOME).to_owned();
    let token = visit.field("token")?.unwrap_or_default().to_owned();
    let found = attempt(&visit, AuthMethod::Token, |visit| visit.shared.authenticator.load().sign_in(&token)).await?;
    match found {
        Some(reviewer) => welcome(&visit, &reviewer, SignIn::Token, &next).await,
        None => {
            let content = form(&next, Some("This token is not a reviewer's. Check that it was pasted whole."));
            Ok(layout::plain(Code::Unauthenticated.status(), "Sign in", &content))
        }
    }
}

/// `GET /dashboard/once/{token}`: looks at nothing, so that whatever opens links ahead of their reader uses none up.
pub(super) async fn show_once(visit: Visit) -> Result<Response, Problem> {
    let content = html! {
        section.sign-in {
            h1 { "Sign in once" }
            p { "This link signs you in as a reviewer. It works one time." }
            form method="post" action=(visit.address) { button type="submit" autofocus { "Sign in" } }
        }
    };
    Ok(layout::plain(StatusCode::OK, "Sign in once", &content))
}

/// `POST /dashboard/once/{token}`
pub(super) async fn once(visit: Visit) -> Result<Response, Problem> {
    let token = visit.segment("token").to_owned();
    let found =
        attempt(&visit, AuthMethod::Link, |visit| visit.shared.authenticator.load().one_time_link(&token)).await?;
    match found {
        Some(reviewer) => welcome(&visit, &reviewer, SignIn::OneTimeLink, HOME).await,
        None => Err(Problem::new(Code::Unauthenticated, "this link was used already, or never was one")),
    }
}

/// `POST /dashboard/sign-out`
pub(super) async fn sign_out(visit: Visit) -> Result<Response, Problem> {
    let cookie = visit.shared.sign_out(visit.session()?).await.map_err(gate::Error::from)?;
    Ok(with_cookie(see_other(SIGN_IN), cookie))
}

async fn attempt(
    visit: &Visit,
    method: AuthMethod,
    look: impl FnOnce(&Visit) -> Option<Reviewer> + Send,
) -> Result<Option<Reviewer>, Problem> {
    let busy = || Problem::new(Code::TooManyAttempts, "too many are signing in at once; try again").retry_after(5);
    let turn = tokio::time::timeout(TURN_TIMEOUT, visit.shared.sign_in_attempts.acquire()).await;
    let _turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
    let found = look(visit);
    if found.is_none() {
        visit.gate().metrics().auth_failure(method);
        // The turn is kept meanwhile: that is what bounds the rate.
        tokio::time::sleep(SIGN_IN_DELAY).await;
    }
    Ok(found)
}

async fn welcome(visit: &Visit, reviewer: &Reviewer, by: SignIn, next: &str) -> Result<Response, Problem> {
    let cookie = visit.shared.sign_in(reviewer, by).await.map_err(gate::Error::from)?;
    Ok(with_cookie(see_other(next), cookie))
}

fn with_cookie(mut response: Response, cookie: HeaderValue) -> Response {
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
}
