//! Which header fields never cross the gateway.
//!
//! Strip first and judge after: then the headers that rules see are the headers that are forwarded. Whoever adds fields
//! of the gateway's own (credentials, forwarding headers, trace context) does so after this.

use http::header::CONNECTION;
use http::{HeaderMap, HeaderName};

/// Fields that are about one connection (RFC 9110 §7.6.1 and its predecessors), and `Expect`, which the gateway answers
/// itself.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields with which a caller could change the method, path, host or origin that an upstream sees.
const OVERRIDES: &[&str] = &[
    "cf-connecting-ip",
    "client-ip",
    "forwarded",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];
/// The same, by the start of their names.
const OVERRIDE_PREFIXES: &[&str] = &["x-forwarded-", "x-envoy-"];

/// Fields of the gateway's own.
const OWN_PREFIX: &str = "holdpoint-";

/// End-to-end fields that a `Connection` header must not remove: who calls, what is meant, how it is read, how often it
/// may happen.
const END_TO_END: &[&str] = &[
    "authorization",
    "cache-control",
    "cookie",
    "date",
    "etag",
    "host",
    "idempotency-key",
    "last-event-id",
    "location",
    "origin",
    "pragma",
    "range",
    "referer",
    "retry-after",
    "set-cookie",
    "traceparent",
    "tracestate",
    "vary",
    "www-authenticate",
    "x-api-key",
];
/// The same, by the start of their names.
const END_TO_END_PREFIXES: &[&str] = &["accept", "access-control-", "content-", "if-", "mcp-", "sec-"];

/// Removes what must not reach an upstream: hop-by-hop fields, those that `Connection` lists (unless they are end-to-end
/// by nature), method and forwarding overrides, and everything named `Holdpoint-…`.
///
/// `Content-Length` stays, and so does `Authorization`: whether that one is the gateway's is for authentication to say.
pub fn strip_for_upstream(headers: &mut HeaderMap) {
    strip(headers, may_reach_upstream);
}

/// Whether a field of this name is forwarded, as far as its name alone says: a `Connection` field may list others.
pub(super) fn may_reach_upstream(name: &str) -> bool {
    may_reach_caller(name) && !OVERRIDES.contains(&name) && !starts_with_any(name, OVERRIDE_PREFIXES)
}

/// Removes what must not reach the caller: hop-by-hop fields, those that `Connection` lists (unless they are end-to-end
/// by nature), and everything named `Holdpoint-…`, which an upstream could only forge.
pub fn strip_for_caller(headers: &mut HeaderMap) {
    strip(headers, may_reach_caller);
}

fn may_reach_caller(name: &str) -> bool {
    !HOP_BY_HOP.contains(&name) && !name.starts_with(OWN_PREFIX)
}

fn strip(headers: &mut HeaderMap, may_cross: impl Fn(&str) -> bool) {
    // `Connection` is itself hop-by-hop: where everything may cross, it lists nothing either.
    if headers.keys().all(|name| may_cross(name.as_str())) {
        return;
    }
    let mut names = connection_options(headers);
    names.extend(headers.keys().filter(|name| !may_cross(name.as_str())).cloned());
    for name in names {
        headers.remove(name);
    }
}

/// The fields that `Connection` lists and may remove.
fn connection_options(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        .filter(|name| !END_TO_END.contains(&name.as_str()) && !starts_with_any(name.as_str(), END_TO_END_PREFIXES))
        .collect()
}

fn starts_with_any(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}
