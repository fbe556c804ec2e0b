use std::net::SocketAddr;

use super::*;

#[test]
fn sizes_are_read_and_written_back() {
    for (text, bytes) in [("1", 1), ("1B", 1), ("64KiB", 65_536), ("1MiB", 1 << 20), ("3GiB", 3 << 30), ("1500", 1500)]
    {
        let size = ByteSize::read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(size.0, bytes, "{text}");
        assert_eq!(ByteSize::read(&size.write()), Ok(size), "{}", size.write());
    }
    for text in ["", "0", "-1", "1.5MiB", "1MB", "1mib", "1 MiB", "MiB", "2000GiB", "99999999999999999999"] {
        assert!(ByteSize::read(text).is_err(), "{text}");
    }
}

#[test]
fn only_a_digest_is_taken_for_one_and_it_is_never_quoted() {
    let digest = Sha256Hex::read(&"0f".repeat(32)).expect("a digest");
    assert_eq!(digest.bytes(), [15; 32]);
    for text in ["hp_canary".to_owned(), "F".repeat(64), "0".repeat(63), format!("{} ", "0".repeat(63))] {
        let error = Sha256Hex::read(&text).expect_err("no digest").to_string();
        assert!(!error.contains(&text), "{error}");
    }
}

#[test]
fn hosts_are_read_in_one_form() {
    for (text, shown) in [
        ("Tools.Example.COM.", "tools.example.com"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("::1", "[::1]"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("a_b.internal", "a_b.internal"),
    ] {
        assert_eq!(HostName::parse(text).map(|host| host.to_string()).as_deref(), Ok(shown), "{text}");
    }
    for text in
        ["", "a..b", "-a", "a-", "a b", "a/b", "a:80", "127.1", "0x7f000001", "2130706433", "1.2.3.4.5", "é.example"]
    {
        assert!(HostName::parse(text).is_err(), "{text}");
    }
}

#[test]
fn every_spelling_of_an_own_listener_is_recognised() {
    let reaches = |host: &str, port: u16, listener: &str| {
        let listener: SocketAddr = listener.parse().expect("an address");
        HostName::parse(host).expect("a host").reaches(port, listener)
    };
    for host in ["127.0.0.1", "localhost", "x.localhost", "0.0.0.0", "::ffff:127.0.0.1", "[::]"] {
        assert!(reaches(host, 81, "127.0.0.1:81"), "{host}");
    }
    for host in ["127.0.0.1", "127.9.9.9", "localhost", "::1"] {
        assert!(reaches(host, 81, "0.0.0.0:81"), "{host}");
    }
    assert!(reaches("10.0.0.5", 81, "10.0.0.5:81"));
    assert!(!reaches("10.0.0.6", 81, "10.0.0.5:81"));
    assert!(!reaches("127.0.0.1", 82, "127.0.0.1:81"));
    assert!(!reaches("tools.example", 81, "127.0.0.1:81"));
}

#[test]
fn urls_are_written_in_one_form() {
    for (text, shown) in [
        ("http://H.example:80/", "http://h.example"),
        ("https://h.example:8443/base/", "https://h.example:8443/base"),
        ("http://[::1]:9000", "http://[::1]:9000"),
    ] {
        let url = UpstreamUrl::read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(url.as_str(), shown);
        assert_eq!(format!("{}{}", url.origin(), url.path()), shown);
    }
    for text in [
        "",
        "h",
        "http://",
        "http:///x",
        "http://h:0",
        "http://h:99999",
        "http://h:",
        "http://h/#f",
        "//h",
        "http://h//x",
    ] {
        assert!(UpstreamUrl::read(text).is_err(), "{text}");
    }
}

#[test]
fn calls_are_told_apart_as_servers_do() {
    let shape = |text: &str| CallPattern::read(text).unwrap_or_else(|error| panic!("{text}: {error}")).shape();
    assert_eq!(shape("GET /a/{id}"), shape("GET /A/{name}/"));
    assert_ne!(shape("GET /a/{id}"), shape("GET /a/b"));
    assert_ne!(shape("GET /a"), shape("PUT /a"));
}

#[test]
fn headers_of_the_gateway_cannot_be_set() {
    for name in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "holdpoint-approval",
        "X-Forwarded-For",
        "a b",
        "",
    ] {
        assert!(HeaderText::read(name).is_err(), "{name}");
    }
    assert!(HeaderText::read("Authorization").is_ok());
}

#[test]
fn secrets_keep_their_literals_to_themselves() {
    let text = SecretText::read("Bearer canary ${NAME} $${x} ${file:/run/secret}").expect("it reads");
    let shown = format!("{text:?} {}", text.write());
    assert!(shown.contains("${NAME}") && shown.contains("${file:/run/secret}") && !shown.contains("canary"), "{shown}");
    for text in ["${", "${}", "${file:}", "${1A}", "${A-B}", "${A:-default}", "a ${env:X}"] {
        assert!(SecretText::read(text).is_err(), "{text}");
    }
    let resolved =
        SecretText::read("$${A}$ ${A}").and_then(|text| text.resolve(&[("A", "b")], std::path::Path::new(".")));
    assert_eq!(resolved.map(|resolved| resolved.text.expose().clone()), Ok("${A}$ b".to_owned()));
}

#[test]
fn every_format_of_the_schema_has_its_check() {
    fn formats<'a>(json: &'a serde_json::Value, found: &mut Vec<&'a str>) {
        match json {
            serde_json::Value::Object(members) => {
                found.extend(members.get("format").and_then(serde_json::Value::as_str));
                members.iter().filter(|(name, _)| *name != "default").for_each(|(_, member)| formats(member, found));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| formats(item, found)),
            _ => {}
        }
    }
    let schema = schema();
    let mut found = Vec::new();
    formats(&schema, &mut found);
    // `schemars` marks the width of integers, which their range bounds already.
    for format in found.into_iter().filter(|format| !format.starts_with("uint")) {
        assert!(FORMATS.iter().any(|(known, _)| *known == format), "{format}");
    }
}
