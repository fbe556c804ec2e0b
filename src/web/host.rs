//! Under which names the admin listener answers.
//!
//! A page that a reviewer happens to visit can point its own name at 127.0.0.1 and would then be same-origin with us (DNS
//! rebinding). The name in `Host` gives that away.

use http::header::HOST;
use http::{HeaderMap, Uri};

/// The authority (`host[:port]`) that a request is for: `:authority` on HTTP/2, else the only `Host`. `None` when it is
/// missing or doubled.
pub fn authority<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Option<&'r str> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        (None, _) => uri.authority().map(http::uri::Authority::as_str),
        (Some(_), Some(_)) => None,
    }
}

/// The name within an authority: without port, without the trailing dot, lower case; brackets of an IPv6 literal stay.
pub fn name(authority: &str) -> String {
    let name = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((literal, _)) => return format!("[{}]", literal.to_ascii_lowercase()),
        None => authority.split_once(':').map_or(authority, |(name, _)| name),
    };
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Whether the admin listener answers to this authority.
pub fn is_allowed(authority: &str, allowed: &[String]) -> bool {
    let name = name(authority);
    // Userinfo has no place here and would hide the name behind it.
    !authority.contains('@') && allowed.iter().any(|host| self::name(host) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_configured_names_are_answered() {
        let allowed = ["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned()];
        for (authority, want) in [
            ("localhost", true),
            ("LOCALHOST:8081", true),
            ("localhost.:8081", true),
            ("127.0.0.1:8081", true),
            ("[::1]:8081", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("localhost@evil.example", false),
            ("evil.example@localhost", false),
            ("", false),
        ] {
            assert_eq!(is_allowed(authority, &allowed), want, "{authority}");
        }
    }

    #[test]
    fn two_hosts_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(HOST, http::HeaderValue::from_static("localhost"));
        assert_eq!(authority(&Uri::from_static("/"), &headers), Some("localhost"));
        headers.append(HOST, http::HeaderValue::from_static("localhost"));
        assert_eq!(authority(&Uri::from_static("/"), &headers), None);
    }
}
