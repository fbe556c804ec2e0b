//! Request heads: what is accepted is framed in one way for every reader, names one host, and what is left for the upstream
//! says nothing that is not for it.
//!
//! An input is a request as it stands on the wire, up to the empty line.

use holdpoint::protocol::head::{
    CheckedHead, Framing, HeadLimits, HeadView, check_head, check_json_content_type, check_no_content_encoding,
    strip_for_caller, strip_for_upstream,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

use super::target;

/// What must never reach an upstream, each by a way that some server knows to change what a request means.
const NEVER_SENT: [&str; 20] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
    "holdpoint-agent",
];
/// What `Connection` must not be able to take away.
const ALWAYS_SENT: [&str; 8] =
    ["authorization", "content-type", "content-length", "host", "cookie", "idempotency-key", "mcp-method", "mcp-name"];

/// Checks one head.
pub(crate) fn check(data: &[u8]) {
    let Some(request) = Request::read(data) else { return };
    let Request { method, uri, version, headers } = &request;
    let view = HeadView { method, uri, version: *version, headers };
    match check_head(&view, &HeadLimits::default()) {
        Ok(head) => request.check_accepted(&head),
        Err(error) => assert!(!error.to_string().is_empty() && !error.to_string().contains(char::is_control)),
    }
    check_stripped(headers);
    if check_json_content_type(headers).is_ok() {
        let types: Vec<_> = headers.get_all("content-type").iter().map(|value| text(value).to_lowercase()).collect();
        let [only] = types.as_slice() else { panic!("{types:?}") };
        assert!(only.starts_with("application/json") && !only.contains(','), "{only}");
        assert!(only.matches("charset").count() == only.matches("utf-8").count(), "{only}");
    }
    assert_eq!(check_no_content_encoding(headers).is_ok(), headers.get("content-encoding").is_none());
}

struct Request {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

impl Request {
    /// Takes a head apart as an HTTP library does; `None` for what none would hand on.
    fn read(data: &[u8]) -> Option<Self> {
        let head = data.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).take_while(|line| !line.is_empty());
        let mut lines = head;
        let mut start = lines.next()?.split(|byte| *byte == b' ');
        let (method, uri, version) = (start.next()?, start.next()?, start.next()?);
        let version = match version {
            b"HTTP/0.9" => Version::HTTP_09,
            b"HTTP/1.0" => Version::HTTP_10,
            b"HTTP/1.1" => Version::HTTP_11,
            b"HTTP/2" => Version::HTTP_2,
            b"HTTP/3" => Version::HTTP_3,
            _ => return None,
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            headers.try_append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?).ok()?;
        }
        Some(Self { method: Method::from_bytes(method).ok()?, uri: Uri::try_from(uri).ok()?, version, headers })
    }

    fn all(&self, name: &str) -> Vec<String> {
        self.headers.get_all(name).iter().map(text).collect()
    }

    fn check_accepted(&self, head: &CheckedHead) {
        assert!(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].contains(&self.method.as_str()));
        let sent = self.uri.path_and_query().map(http::uri::PathAndQuery::as_str);
        assert_eq!(Some(head.target.as_str()), sent);
        target::check_accepted(head.target.as_str(), &head.target);
        let limits = HeadLimits::default();
        let bytes: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        assert!(self.headers.len() <= limits.header_count && bytes <= limits.header_bytes);
        assert!(self.headers.keys().all(|name| !name.as_str().contains('_')), "a CGI server reads it as another");
        self.check_framing(head.framing);
        self.check_host();
        let overrides = ["_method", "x-http-method-override", "_httpmethod"];
        let overriding =
            head.target.query_pairs().iter().find(|(name, _)| overrides.contains(&name.to_lowercase().as_str()));
        assert_eq!(overriding, None);
        let mut stripped = self.headers.clone();
        strip_for_upstream(&mut stripped);
        assert!(head.noted.not_for_upstream || stripped == self.headers, "something is not for the upstream");
        let there = |name: &str| self.headers.contains_key(name);
        assert_eq!(
            (head.noted.upgrade, head.noted.prefer, head.noted.idempotency_key, head.noted.traceparent),
            (there("upgrade"), there("prefer"), there("idempotency-key"), there("traceparent"))
        );
    }

    /// Nobody finds another end of the body.
    fn check_framing(&self, framing: Framing) {
        let (lengths, encodings) = (self.all("content-length"), self.all("transfer-encoding"));
        match framing {
            Framing::Length(length) => {
                assert!(encodings.is_empty(), "{encodings:?}");
                let [written] = lengths.as_slice() else { panic!("{lengths:?}") };
                assert!(!written.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit()), "{written}");
                assert_eq!(written.trim_start_matches('0').parse().unwrap_or(0), length);
            }
            Framing::Chunked => {
                assert!(lengths.is_empty() && self.version == Version::HTTP_11);
                assert!(encodings.len() == 1 && encodings[0].eq_ignore_ascii_case("chunked"), "{encodings:?}");
            }
            Framing::Absent | Framing::Stream => assert!(lengths.is_empty() && encodings.is_empty()),
        }
        assert_eq!(framing == Framing::Stream, self.version == Version::HTTP_2 && lengths.is_empty());
    }

    /// Everybody finds the same host.
    fn check_host(&self) {
        let mut hosts = self.all("host");
        assert!(hosts.len() <= 1 && (hosts.len() == 1 || self.version == Version::HTTP_2), "{hosts:?}");
        hosts.extend(self.uri.authority().map(|authority| authority.as_str().to_owned()));
        let first = hosts.first().expect("a host").to_lowercase();
        assert!(hosts.iter().all(|host| host.to_lowercase() == first), "{hosts:?}");
        assert!(!first.contains(['@', '/', '\\', ' ', ',', '?', '#', '%']), "{first}");
    }
}

/// What is taken out, and that nothing else is.
fn check_stripped(headers: &HeaderMap) {
    let mut upstream = headers.clone();
    strip_for_upstream(&mut upstream);
    for name in NEVER_SENT {
        assert!(!upstream.contains_key(name), "`{name}` would be sent");
    }
    assert!(upstream.keys().all(|name| !name.as_str().starts_with("holdpoint-")));
    let mut caller = headers.clone();
    strip_for_caller(&mut caller);
    assert!(!caller.contains_key("connection") && !caller.contains_key("transfer-encoding"));
    for (stripped, again) in [(&upstream, strip_for_upstream as fn(&mut HeaderMap)), (&caller, strip_for_caller)] {
        for name in ALWAYS_SENT {
            assert!(stripped.get_all(name).iter().eq(headers.get_all(name).iter()), "`{name}` was changed");
        }
        for name in stripped.keys() {
            assert!(stripped.get_all(name).iter().eq(headers.get_all(name).iter()), "`{name}` was changed");
        }
        let mut twice = stripped.clone();
        again(&mut twice);
        assert_eq!(&twice, stripped, "something was left to take out");
    }
}
