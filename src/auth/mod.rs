//! Credentials to identities. Tokens are compared by their SHA-256, in constant time, and never kept.
//!
//! An agent's credential travels in `Holdpoint-Token` or in `Authorization: Bearer`; a reviewer's in `Authorization: Bearer`.
//! What authenticates is a [`Principal`]; what a body claims about identity is never looked at.

use std::sync::Mutex;

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::domain::identity::{AgentId, Principal, Reviewer};

/// The header for an agent's credential when `Authorization` belongs to the upstream.
pub const TOKEN_HEADER: HeaderName = HeaderName::from_static("holdpoint-token");
/// The longest token that is hashed; longer ones are refused unread.
const TOKEN_BYTES_MAX: usize = 1024;

/// A credential's digest and whom it stands for.
#[derive(Debug, Clone)]
pub struct Credential {
    /// SHA-256 of the token.
    pub token_sha256: [u8; 32],
    /// Whose it is.
    pub principal: Principal,
}

/// Whether callers without any credential are let in as the agent `anonymous`. The default refuses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Anonymous {
    /// They are refused.
    #[default]
    Refused,
    /// They are the agent `anonymous`.
    Admitted,
}

/// Why nobody could be authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no credential.
    #[error("no credential: send `Authorization: Bearer TOKEN`")]
    Missing,
    /// It is malformed, doubled or not known.
    #[error("the credential is not known")]
    Invalid,
}

/// Where an agent's credential stood, so that exactly it is kept from the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialPlace {
    /// `Authorization`: never forwarded.
    Authorization,
    /// `Holdpoint-Token`: `Authorization` is the upstream's and passes.
    HoldpointToken,
    /// There was none.
    None,
}

/// A digest in words: comparing four of them takes a fraction of comparing 32 bytes, and no less constant a time.
type Words = [u64; 4];

/// All credentials of one configuration.
#[derive(Debug)]
pub struct Authenticator {
    credentials: Vec<(Words, Principal)>,
    reviewers: Vec<Reviewer>,
    /// Whom callers without any credential are let in as; `None` when they are refused.
    anonymous: Option<Principal>,
    one_time: Mutex<Vec<([u8; 32], Reviewer)>>,
}

impl Authenticator {
    /// From the credentials of a configuration and the reviewers it names.
    pub fn new(credentials: Vec<Credential>, anonymous: Anonymous) -> Self {
        let reviewers = credentials.iter().filter_map(|credential| match &credential.principal {
            Principal::Reviewer(reviewer) => Some(reviewer.clone()),
            Principal::Agent(_) | Principal::Metrics => None,
        });
        let reviewers = reviewers.collect();
        let anonymous = match anonymous {
            Anonymous::Admitted => Some(Principal::Agent(AgentId(AgentId::ANONYMOUS.to_owned()))),
            Anonymous::Refused => None,
        };
        let in_words = |credential: Credential| (words(&credential.token_sha256), credential.principal);
        let credentials = credentials.into_iter().map(in_words).collect();
        Self { credentials, reviewers, anonymous, one_time: Mutex::default() }
    }

    /// Who sent an API request.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, Error> {
        self.identify(headers).map(|(principal, _)| principal.clone())
    }

    /// Which agent sent a call, and where its credential stood. A reviewer's token calls no tools.
    pub fn agent(&self, headers: &HeaderMap) -> Result<(&AgentId, CredentialPlace), Error> {
        match self.identify(headers)? {
            (Principal::Agent(agent), place) => Ok((agent, place)),
            (Principal::Reviewer(_) | Principal::Metrics, _) => Err(Error::Invalid),
        }
    }

    fn identify(&self, headers: &HeaderMap) -> Result<(&Principal, CredentialPlace), Error> {
        if let Some(token) = single(headers, &TOKEN_HEADER)? {
            return Ok((self.find(token).ok_or(Error::Invalid)?, CredentialPlace::HoldpointToken));
        }
        let bearer = match single(headers, &AUTHORIZATION)? {
            Some(value) => {
                let (scheme, token) = value.split_once(' ').ok_or(Error::Invalid)?;
                Some(scheme.eq_ignore_ascii_case("bearer").then_some(token.trim()).ok_or(Error::Invalid)?)
            }
            None => None,
        };
        match bearer.map(|token| self.find(token)) {
            Some(Some(principal)) => Ok((principal, CredentialPlace::Authorization)),
            // An unknown bearer token is a mistake to name, not a caller without a credential.
            Some(None) => Err(Error::Invalid),
            None => self.anonymous.as_ref().map(|agent| (agent, CredentialPlace::None)).ok_or(Error::Missing),
        }
    }

    /// Looks at every credential, so that the time taken says nothing about which one matched.
    fn find(&self, token: &str) -> Option<&Principal> {
        if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let digest = words(&sha256(token.as_bytes()));
        let mut found = None;
        for (known, principal) in &self.credentials {
            if bool::from(known.ct_eq(&digest)) {
                found = Some(principal);
            }
        }
        found
    }

    /// Who signs in on the page with this token, if it is a reviewer's.
    pub fn sign_in(&self, token: &str) -> Option<Reviewer> {
        match self.find(token.trim())? {
            Principal::Reviewer(reviewer) => Some(reviewer.clone()),
            Principal::Agent(_) | Principal::Metrics => None,
        }
    }

    /// A reviewer by id, with the groups and the role configured at this moment.
    pub fn reviewer(&self, id: &str) -> Option<Reviewer> {
        self.reviewers.iter().find(|reviewer| reviewer.id == id).cloned()
    }

    /// Makes a link that signs `reviewer` in once.
    pub fn offer_one_time_link(&self, token: &str, reviewer: Reviewer) {
        self.one_time().push((sha256(token.as_bytes()), reviewer));
    }

    /// Uses a one-time link up.
    pub fn one_time_link(&self, token: &str) -> Option<Reviewer> {
        let digest = sha256(token.as_bytes());
        let mut links = self.one_time();
        let place = links.iter().position(|(known, _)| bool::from(known.ct_eq(&digest)))?;
        Some(links.swap_remove(place).1)
    }

    fn one_time(&self) -> std::sync::MutexGuard<'_, Vec<([u8; 32], Reviewer)>> {
        // A panic while the list was held leaves a whole list: links are moved in and out in one step.
        self.one_time.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// SHA-256, as tokens are kept.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn words(digest: &[u8; 32]) -> Words {
    std::array::from_fn(|word| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest[8 * word..8 * (word + 1)]);
        u64::from_ne_bytes(bytes)
    })
}

/// The only value of a header; two of it are as bad as a wrong one.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Error> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Error::Invalid),
        (Some(_), Some(_)) => Err(Error::Invalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::identity::ReviewerRole;

    fn authenticator(anonymous: Anonymous) -> Authenticator {
        let reviewer = Reviewer { id: "alice".into(), groups: vec![], role: ReviewerRole::Reviewer };
        Authenticator::new(
            vec![
                Credential { token_sha256: sha256(b"bot"), principal: Principal::Agent(AgentId("bot".into())) },
                Credential { token_sha256: sha256(b"alice"), principal: Principal::Reviewer(reviewer) },
            ],
            anonymous,
        )
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(*name, http::HeaderValue::from_static(value));
            headers
        })
    }

    #[test]
    fn an_agent_is_who_its_token_says() {
        let bot = AgentId("bot".into());
        let check = |pairs: &[_], want| assert_eq!(authenticator(Anonymous::Refused).agent(&headers(pairs)), want);
        check(&[("authorization", "Bearer bot")], Ok((&bot, CredentialPlace::Authorization)));
        check(&[("authorization", "bearer bot")], Ok((&bot, CredentialPlace::Authorization)));
        check(
            &[("holdpoint-token", "bot"), ("authorization", "Basic eA==")],
            Ok((&bot, CredentialPlace::HoldpointToken)),
        );
        check(&[], Err(Error::Missing));
        check(&[("authorization", "Bearer ")], Err(Error::Invalid));
        check(&[("authorization", "Basic bot")], Err(Error::Invalid));
        check(&[("authorization", "Bearer bo")], Err(Error::Invalid));
        check(&[("authorization", "Bearer alice")], Err(Error::Invalid));
        check(&[("authorization", "Bearer bot"), ("authorization", "Bearer bot")], Err(Error::Invalid));
        check(&[("holdpoint-token", "alice"), ("authorization", "Bearer bot")], Err(Error::Invalid));
    }

    #[test]
    fn only_the_absence_of_a_credential_is_anonymous() {
        let open = authenticator(Anonymous::Admitted);
        assert_eq!(open.agent(&headers(&[])).map(|(agent, _)| agent.0.as_str()), Ok("anonymous"));
        assert_eq!(open.agent(&headers(&[("authorization", "Bearer wrong")])), Err(Error::Invalid));
    }

    #[test]
    fn a_one_time_link_works_once() {
        let auth = authenticator(Anonymous::Refused);
        let alice = auth.reviewer("alice").expect("configured");
        auth.offer_one_time_link("link", alice.clone());
        assert_eq!(auth.one_time_link("other"), None);
        assert_eq!(auth.one_time_link("link"), Some(alice));
        assert_eq!(auth.one_time_link("link"), None);
    }
}
