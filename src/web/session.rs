//! Browsers that are signed in: a random cookie whose digest is in the store, and a token that every form carries.
//!
//! What a session may do is looked up again at every request: a reviewer who has left the configuration is signed out by that.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;

use crate::auth::sha256;
use crate::domain::audit::{Actor, Event, EventKind};
use crate::domain::identity::Reviewer;
use crate::store::{self, Session};

use super::{Cookies, Shared};

/// The header that carries the form token of requests made by script.
pub const CSRF_HEADER: &str = "x-csrf-token";
/// The longest cookie value that is hashed.
const COOKIE_CHARS_MAX: usize = 128;

/// A signed-in reviewer.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Who, with the groups and the role of this moment.
    pub reviewer: Reviewer,
    /// What forms must carry.
    pub csrf: String,
    /// The session's digest.
    pub id_sha256: [u8; 32],
}

/// By what a reviewer signed in; goes to the trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignIn {
    /// A reviewer token typed into the form.
    Token,
    /// A link that works once.
    OneTimeLink,
}

impl SignIn {
    /// The name used in the trail and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            SignIn::Token => "token",
            SignIn::OneTimeLink => "one_time_link",
        }
    }
}

impl Cookies {
    /// The cookie's name. `__Host-` makes browsers insist on `Secure`, on the path and on the absence of a domain.
    pub const fn name(self) -> &'static str {
        match self {
            Cookies::Secure => "__Host-holdpoint",
            Cookies::Plain => "holdpoint_session",
        }
    }

    /// The `Set-Cookie` that stores a value, or, with an empty value and zero seconds, forgets it.
    fn set(self, value: &str, max_age_seconds: u64) -> HeaderValue {
        let secure = match self {
            Cookies::Secure => "; Secure",
            Cookies::Plain => "",
        };
        let name = self.name();
        let text = format!("{name}={value}; Path=/; Max-Age={max_age_seconds}; HttpOnly; SameSite=Strict{secure}");
        HeaderValue::from_str(&text).expect("tokens are base64url and numbers are digits")
    }

    /// The `Set-Cookie` that forgets the session.
    pub fn clear(self) -> HeaderValue {
        self.set("", 0)
    }

    /// The value of the session cookie; `None` when it is missing, doubled or absurdly long.
    fn find(self, headers: &HeaderMap) -> Option<&str> {
        let mut values = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.name())
            .map(|(_, value)| value);
        match (values.next(), values.next()) {
            (Some(value), None) if (1..=COOKIE_CHARS_MAX).contains(&value.len()) => Some(value),
            _ => None,
        }
    }
}

impl SignedIn {
    /// Whether this is the token that the session's forms carry.
    pub fn csrf_matches(&self, token: Option<&str>) -> bool {
        token.is_some_and(|token| bool::from(token.as_bytes().ct_eq(self.csrf.as_bytes())))
    }
}

impl Shared {
    /// Whether the request carries a session cookie at all.
    pub fn has_session_cookie(&self, headers: &HeaderMap) -> bool {
        self.settings.load().cookies.find(headers).is_some()
    }

    /// Who is signed in with this request's cookie.
    ///
    /// # Errors
    /// The store's.
    pub async fn signed_in(&self, headers: &HeaderMap) -> Result<Option<SignedIn>, store::Error> {
        let Some(id_sha256) = self.settings.load().cookies.find(headers).map(|value| sha256(value.as_bytes())) else {
            return Ok(None);
        };
        let Some(session) = self.gate.store().session(id_sha256, self.gate.now()).await? else { return Ok(None) };
        let reviewer = self.authenticator.load().reviewer(&session.reviewer);
        Ok(reviewer.map(|reviewer| SignedIn { reviewer, csrf: session.csrf, id_sha256 }))
    }

    /// Signs a reviewer in. Returns the `Set-Cookie` header; durable before it is returned.
    ///
    /// # Errors
    /// The store's; nobody is signed in then.
    pub async fn sign_in(&self, reviewer: &Reviewer, by: SignIn) -> Result<HeaderValue, store::Error> {
        let settings = self.settings.load_full();
        let now = self.gate.now();
        let value = self.gate.random_token();
        let session = Session {
            id_sha256: sha256(value.as_bytes()),
            reviewer: reviewer.id.clone(),
            csrf: self.gate.random_token(),
            expires_at: now.plus(settings.session_ttl),
        };
        let mut detail = Map::new();
        detail.insert("by".to_owned(), Value::from(by.as_str()));
        let event = Event {
            at: now,
            kind: EventKind::SignedIn,
            actor: Actor::Reviewer(reviewer.id.clone()),
            approval: None,
            detail,
        };
        self.gate.store().open_session(session, event).await?;
        Ok(settings.cookies.set(&value, settings.session_ttl.as_secs()))
    }

    /// Ends a session. Returns the `Set-Cookie` header that forgets it.
    ///
    /// # Errors
    /// The store's; the session still stands then.
    pub async fn sign_out(&self, signed_in: &SignedIn) -> Result<HeaderValue, store::Error> {
        let event = Event {
            at: self.gate.now(),
            kind: EventKind::SignedOut,
            actor: Actor::Reviewer(signed_in.reviewer.id.clone()),
            approval: None,
            detail: Map::new(),
        };
        self.gate.store().close_session(signed_in.id_sha256, event).await?;
        Ok(self.settings.load().cookies.clear())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(cookies: Cookies, values: &[&'static str]) -> Option<String> {
        let headers = values.iter().fold(HeaderMap::new(), |mut headers, value| {
            headers.append(COOKIE, HeaderValue::from_static(value));
            headers
        });
        cookies.find(&headers).map(str::to_owned)
    }

    #[test]
    fn only_one_cookie_of_the_right_name_signs_in() {
        assert_eq!(find(Cookies::Plain, &["a=b; holdpoint_session=x"]).as_deref(), Some("x"));
        assert_eq!(find(Cookies::Secure, &["__Host-holdpoint=x"]).as_deref(), Some("x"));
        assert_eq!(find(Cookies::Secure, &["holdpoint_session=x"]), None);
        assert_eq!(find(Cookies::Plain, &["holdpoint_session=x; holdpoint_session=y"]), None);
        assert_eq!(find(Cookies::Plain, &["holdpoint_session=x", "holdpoint_session=x"]), None);
        assert_eq!(find(Cookies::Plain, &["holdpoint_session="]), None);
    }

    #[test]
    fn the_cookie_is_out_of_reach_of_scripts_and_other_sites() {
        let plain = Cookies::Plain.set("x", 60);
        assert_eq!(plain, "holdpoint_session=x; Path=/; Max-Age=60; HttpOnly; SameSite=Strict");
        let secure = Cookies::Secure.set("x", 60);
        assert_eq!(secure, "__Host-holdpoint=x; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure");
    }
}
