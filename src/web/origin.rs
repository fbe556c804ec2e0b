//! Whether a browser's request comes from our own page.
//!
//! Every browser that matters says so in `Sec-Fetch-Site`, and all of them send `Origin` with a POST. A request with a session
//! that carries neither is refused: a browser it is not, and other programs have tokens.

use http::header::{HeaderName, ORIGIN};
use http::{HeaderMap, Uri};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The request comes from elsewhere, or does not say from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request does not come from this page")]
pub struct CrossSite;

/// Checks that a state-changing request comes from a page of the origin it is sent to.
///
/// # Errors
/// [`CrossSite`], unless `Sec-Fetch-Site` is `same-origin` or, in its absence, `Origin` names `authority` or the public
/// origin.
pub fn check(headers: &HeaderMap, authority: &str, public_origin: Option<&str>) -> Result<(), CrossSite> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("(not text)"));
    match (text(&SEC_FETCH_SITE), text(&ORIGIN)) {
        (Some("same-origin"), origin) if origin.is_none_or(|origin| is_ours(origin, authority, public_origin)) => {
            Ok(())
        }
        (None, Some(origin)) if is_ours(origin, authority, public_origin) => Ok(()),
        _ => Err(CrossSite),
    }
}

/// Whether a browser says that a page of another machine is behind a request. Pages of this one, whatever their port, are the
/// person's own programs.
pub fn is_of_a_foreign_page(headers: &HeaderMap) -> bool {
    match (headers.get(ORIGIN), headers.get(&SEC_FETCH_SITE)) {
        (Some(origin), _) => !origin.to_str().is_ok_and(is_of_this_machine),
        (None, Some(site)) => site != "same-origin" && site != "none",
        (None, None) => false,
    }
}

fn is_of_this_machine(origin: &str) -> bool {
    let origin: Option<Uri> = origin.parse().ok();
    let host = origin.as_ref().filter(|origin| origin.scheme().is_some()).and_then(Uri::host);
    host.is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].iter().any(|own| host.eq_ignore_ascii_case(own)))
}

/// The scheme is left to `public_origin`: behind a proxy that ends TLS this process cannot know it.
fn is_ours(origin: &str, authority: &str, public_origin: Option<&str>) -> bool {
    let origin = origin.to_ascii_lowercase();
    let named = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    named.is_some_and(|named| named == authority.to_ascii_lowercase())
        || public_origin.is_some_and(|ours| ours == origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_page_is_told_from_programs_and_pages_of_this_machine() {
        let foreign = |named: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in named {
                headers.insert(HeaderName::from_static(name), http::HeaderValue::from_static(value));
            }
            is_of_a_foreign_page(&headers)
        };
        for own in ["http://localhost:6274", "https://LOCALHOST", "http://127.0.0.1:8080", "http://[::1]:3000"] {
            assert!(!foreign(&[("origin", own)]), "{own}");
            assert!(!foreign(&[("origin", own), ("sec-fetch-site", "cross-site")]), "{own}");
        }
        for other in [
            "null",
            "",
            "http://evil.example",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example:80",
            "localhost",
            "file://",
        ] {
            assert!(foreign(&[("origin", other)]), "{other}");
            assert!(foreign(&[("origin", other), ("sec-fetch-site", "same-origin")]), "{other}");
        }
        for (site, want) in [("cross-site", true), ("same-site", true), ("same-origin", false), ("none", false)] {
            assert_eq!(foreign(&[("sec-fetch-site", site)]), want, "{site}");
        }
        assert!(!foreign(&[]));
    }

    #[test]
    fn only_our_own_page_may_change_things() {
        let public = Some("https://approvals.example.com");
        let check = |site: Option<&'static str>, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(site) = site {
                headers.insert(SEC_FETCH_SITE, http::HeaderValue::from_static(site));
            }
            if let Some(origin) = origin {
                headers.insert(ORIGIN, http::HeaderValue::from_static(origin));
            }
            check(&headers, "localhost:8081", public).is_ok()
        };
        for (site, origin, want) in [
            (Some("same-origin"), Some("http://localhost:8081"), true),
            (Some("same-origin"), None, true),
            (Some("same-origin"), Some("https://approvals.example.com"), true),
            (None, Some("http://localhost:8081"), true),
            (None, Some("https://approvals.example.com"), true),
            (Some("same-origin"), Some("http://evil.example"), false),
            (Some("cross-site"), Some("http://localhost:8081"), false),
            (Some("same-site"), None, false),
            (Some("none"), None, false),
            (None, Some("null"), false),
            (None, Some("http://localhost:8082"), false),
            (None, Some("localhost:8081"), false),
            (None, None, false),
        ] {
            assert_eq!(check(site, origin), want, "{site:?} {origin:?}");
        }
    }
}
