//! The protocol's headers: compared with the body, never believed.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::super::{Fault, FaultKind, Id, Message, Revision, check_method, check_names, check_version};
use super::with;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::try_from(*name).expect("a header's name");
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a header's value"));
    }
    map
}

fn version(pairs: &[(&str, &str)], meta: &str) -> Result<Revision, (FaultKind, i32)> {
    with(meta, |meta| check_version(&headers(pairs), Some(meta)).map_err(|fault: Fault| (fault.kind, fault.rpc_code)))
}

fn names(pairs: &[(&str, &str)], revision: Revision, tool: &str) -> Result<(), (FaultKind, i32)> {
    check_names(&headers(pairs), revision, "tools/call", tool).map_err(|fault| (fault.kind, fault.rpc_code))
}

const MISMATCH: (FaultKind, i32) = (FaultKind::Header, -32020);
const MODERN: &str = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
const VERSION: &str = "MCP-Protocol-Version";

#[test]
fn the_revision_is_the_bodys_then_the_headers_then_the_oldest() {
    assert_eq!(version(&[], "{}"), Ok(Revision::March2025));
    assert_eq!(check_version(&HeaderMap::new(), None), Ok(Revision::March2025));
    for revision in Revision::ALL.into_iter().filter(|revision| !revision.is_stateless()) {
        assert_eq!(version(&[(VERSION, revision.as_str())], "{}"), Ok(revision));
        assert_eq!(version(&[("mcp-protocol-version", revision.as_str())], "{}"), Ok(revision));
    }
    assert_eq!(version(&[(VERSION, "2026-07-28")], MODERN), Ok(Revision::July2026));
}

#[test]
fn header_and_body_must_name_the_same_revision() {
    // Missing in the header, missing in the body, and different.
    assert_eq!(version(&[], MODERN), Err(MISMATCH));
    assert_eq!(version(&[(VERSION, "2026-07-28")], "{}"), Err(MISMATCH));
    assert_eq!(version(&[(VERSION, "2025-06-18")], MODERN), Err(MISMATCH));
    assert_eq!(
        version(&[(VERSION, "2026-07-28")], r#"{"io.modelcontextprotocol/protocolVersion":"2025-06-18"}"#),
        Err(MISMATCH)
    );
    assert_eq!(version(&[(VERSION, "")], MODERN), Err(MISMATCH));
    // Twice, even alike: readers of the first and of the last copy must not differ.
    assert_eq!(version(&[(VERSION, "2025-06-18"), (VERSION, "2025-06-18")], "{}"), Err(MISMATCH));
    assert_eq!(version(&[(VERSION, "2026-07-28"), (VERSION, "2025-06-18")], MODERN), Err(MISMATCH));
    assert_eq!(version(&[(VERSION, "2025-06-18é")], "{}"), Err(MISMATCH));
}

#[test]
fn an_unknown_revision_is_refused_with_the_protocols_own_code() {
    for unknown in ["2024-11-05", "2026-07-29", "2025-06-18 ", "latest", "1.0", "2025-06-18, 2025-06-18", ""] {
        let found = with("{}", |meta| check_version(&headers(&[(VERSION, unknown)]), Some(meta)));
        assert_eq!(found.map_err(|fault| (fault.kind, fault.rpc_code)), Err((FaultKind::Version, -32022)), "{unknown}");
    }
    assert_eq!(
        version(&[(VERSION, "2027-01-01")], r#"{"io.modelcontextprotocol/protocolVersion":"2027-01-01"}"#),
        Err((FaultKind::Version, -32022))
    );
    assert_eq!(
        version(&[(VERSION, "2026-07-28")], r#"{"io.modelcontextprotocol/protocolVersion":20260728}"#),
        Err((FaultKind::Params, -32602))
    );
}

#[test]
fn mirrored_names_are_needed_on_the_stateless_revision_and_optional_before() {
    let both = [("Mcp-Method", "tools/call"), ("Mcp-Name", "delete_repo")];
    assert_eq!(names(&both, Revision::July2026, "delete_repo"), Ok(()));
    assert_eq!(names(&both[..1], Revision::July2026, "delete_repo"), Err(MISMATCH));
    assert_eq!(names(&both[1..], Revision::July2026, "delete_repo"), Err(MISMATCH));
    assert_eq!(names(&[], Revision::July2026, "delete_repo"), Err(MISMATCH));
    for old in [Revision::March2025, Revision::June2025, Revision::November2025] {
        assert_eq!(names(&[], old, "delete_repo"), Ok(()));
        assert_eq!(names(&both, old, "delete_repo"), Ok(()));
    }
}

#[test]
fn a_mirrored_name_that_says_anything_else_is_refused_on_every_revision() {
    for revision in Revision::ALL {
        for (method, name) in [
            ("tools/call", "safe_read"),
            ("tools/call", "Delete_repo"),
            ("tools/call", "delete_repo,safe_read"),
            ("tools/call", ""),
            ("tools/list", "delete_repo"),
            ("Tools/Call", "delete_repo"),
            ("", "delete_repo"),
            ("tools/call", "délete_repo"),
        ] {
            let given = [("Mcp-Method", method), ("Mcp-Name", name)];
            assert_eq!(names(&given, revision, "delete_repo"), Err(MISMATCH), "{revision} {method} {name}");
        }
        for doubled in ["Mcp-Method", "Mcp-Name"] {
            let value = if doubled == "Mcp-Name" { "delete_repo" } else { "tools/call" };
            let given = [("Mcp-Method", "tools/call"), ("Mcp-Name", "delete_repo"), (doubled, value)];
            assert_eq!(names(&given, revision, "delete_repo"), Err(MISMATCH), "{revision} {doubled} twice");
        }
    }
}

#[test]
fn a_base64_name_is_decoded_before_it_is_compared() {
    let given =
        |name: &str| names(&[("Mcp-Method", "tools/call"), ("Mcp-Name", name)], Revision::July2026, "delete_repo");
    assert_eq!(given("=?base64?ZGVsZXRlX3JlcG8=?="), Ok(()));
    for bad in [
        // `safe_read`, cut off, no base64, no text, padding left out, another form of the marker, the marker's text itself.
        "=?base64?c2FmZV9yZWFk?=",
        "=?base64?ZGVsZXRlX3JlcG8?=",
        "=?base64?ZGVsZXRlX3JlcG8=",
        "=?base64?!!!?=",
        "=?base64?/w==?=",
        "=?BASE64?ZGVsZXRlX3JlcG8=?=",
        "=?base64?=?base64?ZGVsZXRlX3JlcG8=?=?=",
        "=?base64?ZGVsZXRl X3JlcG8=?=",
        "=?base64??=",
        "ZGVsZXRlX3JlcG8=",
    ] {
        assert_eq!(given(bad), Err(MISMATCH), "{bad}");
    }
    // A tool whose name has no such form is never reached by one.
    assert_eq!(
        names(&[("Mcp-Method", "=?base64?dG9vbHMvY2FsbA==?="), ("Mcp-Name", "a")], Revision::July2026, "a"),
        Ok(())
    );
}

#[test]
fn a_method_header_says_what_the_body_says_on_every_message() {
    let id = with("7", Id::of).expect("an id");
    let check = |message: &Message<'_>, values: &[&str]| {
        let pairs: Vec<(&str, &str)> = values.iter().map(|value| ("Mcp-Method", *value)).collect();
        check_method(&headers(&pairs), message).map_err(|fault| (fault.kind, fault.rpc_code, fault.id.is_some()))
    };
    let list = Message::Request { id, method: "tools/list", params: None };
    let note = Message::Notification { method: "notifications/x", params: None };
    for (message, method, has_id) in [(&list, "tools/list", true), (&note, "notifications/x", false)] {
        assert_eq!(check(message, &[]), Ok(()));
        assert_eq!(check(message, &[method]), Ok(()));
        for bad in [&["tools/call"][..], &[method, method], &["=?base64?dG9vbHMvY2FsbA==?="], &["=?base64?x?="], &[""]]
        {
            assert_eq!(check(message, bad), Err((FaultKind::Header, -32020, has_id)), "{method} {bad:?}");
        }
    }
    assert_eq!(check(&Message::Response, &[]), Ok(()));
    assert_eq!(check(&Message::Response, &["tools/call"]), Err((FaultKind::Header, -32020, false)));
}
