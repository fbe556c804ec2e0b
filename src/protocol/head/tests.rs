//! Which heads pass, which are refused and as what, and which fields cross the gateway.

use super::{
    CheckedHead, Framing, HeadError, HeadLimits, HeadView, Noted, Prefer, Reason, check_head, check_json_content_type,
    check_no_content_encoding, strip_for_caller, strip_for_upstream,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use std::time::Duration;

const HOST: (&str, &str) = ("host", "gw.example:8080");

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name: HeaderName = name.parse().expect("a header name");
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
    }
    map
}

fn checked(version: Version, method: &str, uri: &str, fields: &[(&str, &str)]) -> Result<CheckedHead, HeadError> {
    let method = Method::from_bytes(method.as_bytes()).expect("a method token");
    let uri: Uri = uri.parse().expect("a target that the HTTP library lets through");
    let headers = headers(fields);
    check_head(&HeadView { method: &method, uri: &uri, version, headers: &headers }, &HeadLimits::default())
}

/// An HTTP/1.1 POST with a Host and these fields is refused with `code`.
#[track_caller]
fn check_refused(code: &str, fields: &[(&str, &str)]) {
    let all: Vec<_> = [HOST].iter().chain(fields).copied().collect();
    let error = checked(Version::HTTP_11, "POST", "/x", &all).expect_err("refused");
    assert_eq!((error.code(), error.reason()), (code, Reason::BadRequest), "{fields:?}: {error}");
}

#[test]
fn a_plain_request_passes() {
    let fields = [("host", "GW.Example:8080"), ("content-length", "12"), ("expect", "100-continue")];
    let head = checked(Version::HTTP_11, "POST", "/refunds?dry=1", &fields).expect("plain");
    assert_eq!(head.target.as_str(), "/refunds?dry=1");
    assert_eq!((head.framing, head.noted), (Framing::Length(12), Noted { not_for_upstream: true, ..Noted::default() }));
    let head = checked(Version::HTTP_11, "GET", "/", &[HOST, ("upgrade", "websocket")]).expect("plain");
    assert_eq!((head.framing, head.noted.upgrade), (Framing::Absent, true));
    let head = checked(Version::HTTP_11, "PUT", "/", &[HOST, ("transfer-encoding", "chunked")]).expect("plain");
    assert_eq!(head.framing, Framing::Chunked);
}

#[test]
fn methods_pass_in_exactly_their_own_spelling() {
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        assert!(checked(Version::HTTP_11, method, "/", &[HOST]).is_ok(), "{method}");
    }
    let check = |method: &str, reason: Reason| {
        let error = checked(Version::HTTP_11, method, "/", &[HOST]).expect_err(method);
        assert_eq!((error.code(), error.reason()), ("method", reason), "{method}");
    };
    for method in ["post", "PoSt", "get", "PROPFIND", "MKCOL", "trace", "X"] {
        check(method, Reason::NotImplemented);
    }
    check("TRACE", Reason::MethodNotAllowed);
    check("CONNECT", Reason::MethodNotAllowed);
}

#[test]
fn exactly_one_valid_host_is_wanted() {
    let check = |version: Version, uri: &str, hosts: &[&str], expected: Result<(), &str>| {
        let fields: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        let found = checked(version, "GET", uri, &fields);
        let found = found.as_ref().map(drop).map_err(|error| error.code());
        assert_eq!(found, expected, "{uri} {hosts:?}");
    };
    for host in ["a", "a.b-c.example.", "127.0.0.1:80", "[::1]", "[2001:db8::1]:8443", "my_service:1"] {
        check(Version::HTTP_11, "/", &[host], Ok(()));
        check(Version::HTTP_10, "/", &[host], Ok(()));
    }
    for host in [
        "",
        " ",
        "a:",
        "a:x",
        "a:70000",
        "a:+1",
        "u@a",
        "u:p@a",
        "a/b",
        "a?b",
        "a#b",
        "a b",
        "a,b",
        "a\\b",
        "a%41",
        ":80",
        "é",
        "[::1",
        "::1",
        "[]",
        "[::1]x",
        "[1.2.3.4]",
        "[fe80::1%25eth0]",
        "a:80:80",
    ] {
        check(Version::HTTP_11, "/", &[host], Err("host"));
    }
    check(Version::HTTP_11, "/", &[&"a".repeat(254)], Err("host"));
    check(Version::HTTP_11, "/", &[], Err("host"));
    check(Version::HTTP_10, "/", &[], Err("host"));
    check(Version::HTTP_11, "/", &["a", "a"], Err("host"));
    check(Version::HTTP_11, "/", &["a", "b"], Err("host"));
    check(Version::HTTP_2, "https://a:1/", &[], Ok(()));
    check(Version::HTTP_2, "https://a:1/", &["A:1"], Ok(()));
    check(Version::HTTP_2, "https://a:1/", &["b:1"], Err("host"));
    check(Version::HTTP_2, "https://a/", &["a", "a"], Err("host"));
    check(Version::HTTP_2, "https://u@a/", &[], Err("host"));
    check(Version::HTTP_2, "/", &[], Err("host"));
}

#[test]
fn what_is_in_a_head_is_noted() {
    let noted = |name: &str| {
        let head = checked(Version::HTTP_11, "POST", "/", &[HOST, ("content-length", "1"), (name, "x")]);
        head.expect("plain").noted
    };
    let none = Noted::default();
    assert_eq!(noted("x-other"), none);
    assert_eq!(noted("authorization"), none);
    assert_eq!(noted("upgrade"), Noted { upgrade: true, not_for_upstream: true, ..none });
    assert_eq!(noted("prefer"), Noted { prefer: true, ..none });
    assert_eq!(noted("idempotency-key"), Noted { idempotency_key: true, ..none });
    assert_eq!(noted("traceparent"), Noted { traceparent: true, ..none });
    for name in ["connection", "te", "holdpoint-token", "holdpoint-x", "x-forwarded-for", "x-real-ip", "forwarded"] {
        assert_eq!(noted(name), Noted { not_for_upstream: true, ..none }, "{name}");
    }
}

#[test]
fn an_absolute_target_counts_only_for_the_host_it_was_sent_to() {
    let check = |uri: &str, expected: Result<&str, &str>| {
        let found = checked(Version::HTTP_11, "GET", uri, &[HOST]);
        let found = found.as_ref().map(|head| head.target.as_str()).map_err(|error| error.code());
        assert_eq!(found, expected, "{uri}");
    };
    check("http://gw.example:8080/a?b", Ok("/a?b"));
    check("http://GW.example:8080/a", Ok("/a"));
    check("http://gw.example:8080", Ok("/"));
    check("http://other.example/a", Err("host"));
    check("http://gw.example/a", Err("host"));
    check("http://u@gw.example:8080/a", Err("host"));
    check("ftp://gw.example:8080/a", Err("path"));
    check("gw.example:8080", Err("path"));
    check("*", Err("path"));
    check("//gw.example:8080/a", Err("path"));
    check("/a/../b", Err("path"));
    check("/a?b=%zz", Err("query"));
    let error = checked(Version::HTTP_11, "GET", &format!("/{}", "a".repeat(9000)), &[HOST]).expect_err("long");
    assert_eq!(error.reason(), Reason::TargetTooLong);
}

#[test]
fn a_body_is_delimited_in_one_way_only() {
    const TE: &str = "transfer-encoding";
    const CL: &str = "content-length";
    for fields in [
        &[(TE, "gzip, chunked")][..],
        &[(TE, "chunked, chunked")],
        &[(TE, "chunked"), (TE, "chunked")],
        &[(TE, "identity")],
        &[(TE, "")],
        &[(TE, "xchunked")],
        &[(TE, "chunked;q=1")],
        &[(TE, "chunked"), (CL, "5")],
        &[(CL, "5"), (TE, "chunked")],
        &[(CL, "5"), (CL, "5")],
        &[(CL, "5"), (CL, "6")],
        &[(CL, "5, 5")],
        &[(CL, "+5")],
        &[(CL, "-5")],
        &[(CL, "0x5")],
        &[(CL, "5 ")],
        &[(CL, "")],
        &[(CL, "99999999999999999999")],
        &[(CL, "00000000000000000005")],
    ] {
        let all: Vec<_> = [HOST].iter().chain(fields).copied().collect();
        let found = checked(Version::HTTP_11, "POST", "/x", &all);
        assert_eq!(found.expect_err("refused").code(), "framing", "{fields:?}");
    }
    for version in [Version::HTTP_10, Version::HTTP_2] {
        let found = checked(version, "POST", "http://gw.example:8080/x", &[HOST, (TE, "chunked")]);
        assert_eq!(found.expect_err("refused").code(), "framing", "{version:?}");
    }
    let stream = checked(Version::HTTP_2, "POST", "http://gw.example:8080/x", &[]).expect("plain");
    assert_eq!(stream.framing, Framing::Stream);
}

#[test]
fn names_that_fold_into_others_are_refused() {
    check_refused("header_name", &[("transfer_encoding", "chunked")]);
    check_refused("header_name", &[("content_length", "1")]);
    check_refused("header_name", &[("x_y", "")]);
}

#[test]
fn method_overrides_in_the_query_are_refused() {
    for query in [
        "_method=DELETE",
        "a=1&_METHOD=x",
        "%5Fmethod=PUT",
        "_method",
        "_method[]=x",
        ".method=x",
        "+_method=x",
        "-method=x",
        "X-HTTP-Method-Override=PUT",
        "_HttpMethod=PUT",
        "$httpMethod=PUT",
        "x_http_method=x",
    ] {
        let error = checked(Version::HTTP_11, "POST", &format!("/x?{query}"), &[HOST]).expect_err(query);
        assert_eq!((error.code(), error.reason()), ("method_override", Reason::BadRequest), "{query}");
    }
    for query in ["method=x", "a=_method", "_methods=x", "http_method=GET"] {
        assert!(checked(Version::HTTP_11, "POST", &format!("/x?{query}"), &[HOST]).is_ok(), "{query}");
    }
}

#[test]
fn other_expectations_and_versions_are_refused() {
    for fields in [&[HOST, ("expect", "200-ok")][..], &[HOST, ("expect", "100-continue"), ("expect", "100-continue")]] {
        let error = checked(Version::HTTP_11, "POST", "/x", fields).expect_err("refused");
        assert_eq!((error.code(), error.reason()), ("expect", Reason::ExpectationFailed));
    }
    for version in [Version::HTTP_09, Version::HTTP_3] {
        let error = checked(version, "GET", "/x", &[HOST]).expect_err("refused");
        assert_eq!((error.code(), error.reason()), ("version", Reason::VersionNotSupported));
    }
}

#[test]
fn header_limits_refuse_one_beyond_them() {
    let (method, uri) = (Method::GET, Uri::from_static("/"));
    let headers = headers(&[("host", "a"), ("x-a", "12")]);
    let view = HeadView { method: &method, uri: &uri, version: Version::HTTP_11, headers: &headers };
    let check = |header_count: usize, header_bytes: usize, refused: bool| {
        let found = check_head(&view, &HeadLimits { header_count, header_bytes });
        assert_eq!(found.as_ref().err().map(HeadError::reason), refused.then_some(Reason::HeadersTooLarge));
    };
    // `host: a` and `x-a: 12` with their line ends.
    check(2, 9 + 9, false);
    check(1, 9 + 9, true);
    check(2, 9 + 8, true);
}

#[test]
fn only_plain_json_can_be_judged() {
    for value in [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        "application/json; charset=UTF-8",
        "application/json ; charset=\"utf-8\"",
    ] {
        assert_eq!(check_json_content_type(&headers(&[("content-type", value)])), Ok(()), "{value}");
    }
    for values in [
        &[][..],
        &["text/plain"],
        &["application/json", "application/json"],
        &["application/json", "text/plain"],
        &[""],
        &["application/json;"],
        &["application/json; charset=utf-16"],
        &["application/json; charset=utf-8; x=y"],
        &["application/json; boundary=x"],
        &["application/json, text/plain"],
        &["application/vnd.api+json"],
        &["application/jsonp"],
        &["multipart/form-data; boundary=application/json"],
        &["application/json; charset"],
        &["application/json; charset=\"utf-8"],
        &["application/é"],
    ] {
        let fields: Vec<_> = values.iter().map(|value| ("content-type", *value)).collect();
        let error = check_json_content_type(&headers(&fields)).expect_err("refused");
        assert_eq!((error.code(), error.reason()), ("content_type", Reason::UnsupportedMedia), "{values:?}");
    }
    assert_eq!(check_no_content_encoding(&headers(&[HOST])), Ok(()));
    for value in ["gzip", "identity", "", "gzip, gzip"] {
        let error = check_no_content_encoding(&headers(&[("content-encoding", value)])).expect_err("refused");
        assert_eq!((error.code(), error.reason()), ("content_encoding", Reason::UnsupportedMedia), "{value}");
    }
}

#[track_caller]
fn check_left(strip: fn(&mut HeaderMap), fields: &[(&str, &str)], left: &[&str]) {
    let mut map = headers(fields);
    strip(&mut map);
    let mut names: Vec<&str> = map.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, left, "{fields:?}");
}

#[test]
fn hop_by_hop_fields_end_at_the_gateway() {
    let fields = [
        ("connection", "close, X-Mine , te"),
        ("connection", "keep-alive"),
        ("x-mine", "1"),
        ("x-mine", "2"),
        ("keep-alive", "1"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("http2-settings", "x"),
        ("proxy-authorization", "x"),
        ("proxy-authenticate", "x"),
        ("proxy-connection", "x"),
        ("expect", "100-continue"),
        ("x-other", "3"),
        ("holdpoint-approval", "apr_1"),
        ("Holdpoint-Source", "policy"),
    ];
    check_left(strip_for_upstream, &fields, &["x-other"]);
    check_left(strip_for_caller, &fields, &["x-other"]);
}

#[test]
fn connection_cannot_remove_what_is_end_to_end() {
    let fields = [
        (
            "connection",
            "Authorization, host, Cookie, content-type, content-length, accept, idempotency-key, mcp-session-id, if-match",
        ),
        ("authorization", "x"),
        ("host", "a"),
        ("cookie", "x"),
        ("content-type", "x"),
        ("content-length", "0"),
        ("accept", "*/*"),
        ("idempotency-key", "x"),
        ("mcp-session-id", "x"),
        ("if-match", "x"),
    ];
    let left = [
        "accept",
        "authorization",
        "content-length",
        "content-type",
        "cookie",
        "host",
        "idempotency-key",
        "if-match",
        "mcp-session-id",
    ];
    check_left(strip_for_upstream, &fields, &left);
    check_left(strip_for_caller, &[("connection", "set-cookie, ,\u{e9}"), ("set-cookie", "x")], &["set-cookie"]);
}

#[test]
fn overrides_do_not_reach_an_upstream_and_are_nothing_to_a_caller() {
    let fields = [
        ("x-http-method-override", "DELETE"),
        ("x-http-method", "DELETE"),
        ("x-method-override", "DELETE"),
        ("x-original-url", "/admin"),
        ("x-rewrite-url", "/admin"),
        ("x-original-host", "b"),
        ("x-forwarded-host", "b"),
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-prefix", "/x"),
        ("x-forwarded-anything", "1"),
        ("forwarded", "for=x"),
        ("x-real-ip", "1.1.1.1"),
        ("x-request-id", "kept"),
    ];
    check_left(strip_for_upstream, &fields, &["x-request-id"]);
    check_left(strip_for_caller, &[("x-real-ip", "1.1.1.1")], &["x-real-ip"]);
}

#[test]
fn preferences_are_read_as_far_as_they_are_known() {
    let check = |values: &[&str], respond_async: bool, wait: Option<u64>| {
        let fields: Vec<_> = values.iter().map(|value| ("prefer", *value)).collect();
        let expected = Prefer { respond_async, wait: wait.map(Duration::from_secs) };
        assert_eq!(Prefer::read(&headers(&fields)), expected, "{values:?}");
    };
    check(&[], false, None);
    check(&["respond-async"], true, None);
    check(&["wait=30"], false, Some(30));
    check(&["Respond-Async, WAIT = \"10\"; x=y"], true, Some(10));
    check(&["return=minimal", "wait=5", "respond-async"], true, Some(5));
    check(&["wait=5, wait=9"], false, Some(5));
    check(&["wait=x, wait=-1, wait=, wait, wait=99999999999, wait=7"], false, Some(7));
    check(&["foo=\"a, respond-async, wait=3\""], false, None);
    check(&["foo=\"a\\\", respond-async\", wait=3"], false, Some(3));
    check(&["foo=\"unclosed, respond-async"], false, None);
    check(&["respond-asynchronously, xwait=1"], false, None);
}
