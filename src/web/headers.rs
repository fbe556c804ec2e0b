//! The protective headers that every answer carries.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue};

/// What kind of answer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A page for people.
    Page,
    /// Data: nothing in it may ever run.
    Data,
    /// A style sheet, script or picture whose address names its content.
    Asset,
}

/// Pages load their own script, style and pictures, talk to their own origin, and nothing else.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                           form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// Data is displayed by nobody; were a browser to do so, nothing in it acts.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox";

/// Sets the headers, over whatever an answer brought of them.
///
/// `Referrer-Policy` is `same-origin` and not `no-referrer`: under the latter browsers send `Origin: null` with the page's own
/// forms, and the same-origin check could not tell them from a stranger's.
pub fn protect(headers: &mut HeaderMap, kind: Kind) {
    let (policy, cache) = match kind {
        Kind::Page => (PAGE_POLICY, "no-store"),
        Kind::Data => (DATA_POLICY, "no-store"),
        Kind::Asset => (DATA_POLICY, "public, max-age=31536000, immutable"),
    };
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, policy),
        (CACHE_CONTROL, cache),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_run_only_their_own_script_and_are_never_framed_or_cached() {
        let mut headers = HeaderMap::new();
        protect(&mut headers, Kind::Page);
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().expect("text");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("data:"), "{policy}");
        assert_eq!(headers[CACHE_CONTROL], "no-store");
    }

    #[test]
    fn an_answer_cannot_bring_a_weaker_policy() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("script-src *"));
        protect(&mut headers, Kind::Data);
        assert_eq!(headers.get_all(CONTENT_SECURITY_POLICY).iter().count(), 1);
        assert_eq!(headers[CONTENT_SECURITY_POLICY], DATA_POLICY);
    }
}
