//! The MCP envelope: no message that any server could take for a call passes for something else, what is judged is what
//! every reader reads, and headers never say anything else than the body.
//!
//! An input is a body, and behind it headers as `name:value`, all set apart by NUL bytes: those can stand in neither.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdpoint::domain::value::Value;
use holdpoint::protocol::json::{self, Limits};
use holdpoint::protocol::mcp::{self, Message, Revision, ToolCall};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::lenses::{is_like_a_call, taken_for};
use super::mcp_binding;
use super::tree::{Tree, difference};

/// Headers of one input.
const HEADERS_MAX: usize = 16;

/// Checks one message with its headers.
pub(crate) fn check(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == 0);
    let body = parts.next().unwrap_or_default();
    let headers = headers(parts.take(HEADERS_MAX));
    let Ok(value) = json::read(body, &Limits::default()) else { return };
    let tree = Tree::read(body).expect("the JSON property says so");
    let message = match mcp::read(&value) {
        Ok(message) => message,
        Err(fault) => {
            assert!(fault.rpc_code < 0 && !fault.detail.is_empty());
            let told = fault.id.map(|id| id.as_json().to_owned());
            assert!(told.is_none_or(|told| tree.member("id").is_some_and(|id| is_id(&told, id))), "another id");
            return;
        }
    };
    if mcp::check_method(&headers, &message).is_ok() {
        let method = match &message {
            Message::Request { method, .. } | Message::Notification { method, .. } => Some(*method),
            Message::Response => None,
        };
        let claimed = readings(&headers, "mcp-method");
        assert!(claimed.iter().all(|claimed| Some(claimed.as_str()) == method), "{method:?} by its header {claimed:?}");
    }
    match message {
        Message::Request { id, method, params } => {
            assert!(is_id(id.as_json(), tree.member("id").expect("a request has an id")), "another id: {id:?}");
            check_responses(&id);
            assert_eq!(tree.member("method"), Some(&Tree::Text(method.to_owned())));
            if method == mcp::TOOLS_CALL {
                check_call(params, &tree, &headers);
            } else {
                check_no_call(&tree);
            }
        }
        Message::Notification { .. } | Message::Response => check_no_call(&tree),
    }
}

/// Reads the headers of an input; what is no header is left out.
fn headers<'d>(parts: impl Iterator<Item = &'d [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for part in parts {
        let Some(colon) = part.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&part[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(part[colon + 1..].trim_ascii())) {
            headers.append(name, value);
        }
    }
    headers
}

/// Whether an id's text stands for this value.
fn is_id(text: &str, value: &Tree) -> bool {
    match value {
        Tree::Number(digits) => text == digits,
        Tree::Text(_) => Tree::read(text.as_bytes()).is_ok_and(|read| read == *value),
        _ => false,
    }
}

/// A response is told by its id: kind and value, however it is spelt.
fn check_responses(id: &mcp::Id) {
    let is_answered_by = |other: &str| mcp::is_response_to(&format!(r#"{{"result":{{}},"id":{other}}}"#), id);
    let text = id.as_json();
    assert!(is_answered_by(text));
    assert!(!mcp::is_response_to(&format!(r#"{{"method":"ping","id":{text}}}"#), id), "a request is no response");
    match text.strip_prefix('"') {
        Some(inner) => {
            assert!(!is_answered_by(&format!("\"+{inner}")), "another text");
            let mut spelt = String::from("\"");
            let read: String = serde_json::from_str(text).expect("an id is JSON");
            read.encode_utf16().for_each(|unit| spelt.push_str(&format!("\\u{unit:04X}")));
            assert!(is_answered_by(&(spelt + "\"")), "the same text as escapes");
        }
        None => {
            assert!(!is_answered_by(&format!("\"{text}\"")), "a text is no number");
            assert!(!is_answered_by(&format!("{text}0")) || text.trim_start_matches('-') == "0", "another number");
        }
    }
}

/// Nothing in the body is a call to anybody: not under another spelling of `method`, and not in an array.
fn check_no_call(tree: &Tree) {
    assert!(tree.members().len() > 1, "no message: {tree:?}");
    for method in taken_for(tree, "method") {
        assert!(!matches!(method, Tree::Text(text) if is_like_a_call(text)), "a call to some reader: {tree:?}");
    }
}

/// What a `tools/call` says is what every reader finds in it.
fn check_call<'v>(params: Option<&'v Value<'v>>, tree: &Tree, headers: &HeaderMap) {
    let found = taken_for(tree, "params");
    assert_eq!((taken_for(tree, "method").len(), found.len()), (1, usize::from(params.is_some())), "{tree:?}");
    if let (Some(params), [found]) = (params, found.as_slice()) {
        assert_eq!(difference(params, found), None);
    }
    let Ok(call) = ToolCall::read(params) else { return };
    let params_tree = found[0];
    let names = taken_for(params_tree, "name");
    assert!(matches!(names.as_slice(), [Tree::Text(name)] if name == call.name), "{names:?} for {}", call.name);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/:".contains(&byte);
    assert!((1..=128).contains(&call.name.len()) && call.name.bytes().all(plain), "{}", call.name);
    let objects = [("arguments", call.arguments), ("_meta", call.meta), ("task", call.task)];
    for (key, ours) in objects.into_iter().chain([("progressToken", None)]) {
        let holder =
            if key == "progressToken" { params_tree.member("_meta").unwrap_or(&Tree::Null) } else { params_tree };
        let ours = if key == "progressToken" { call.progress_token } else { ours };
        let found = taken_for(holder, key);
        assert_eq!(found.len(), usize::from(ours.is_some()), "`{key}` in {holder:?}");
        let differs = ours.zip(found.first()).and_then(|(ours, found)| difference(ours, found));
        assert_eq!(differs, None, "`{key}`");
    }
    check_call_headers(headers, &call, params_tree);
    mcp_binding::check(params.expect("a call that was read has parameters"), params_tree);
}

/// Where the headers are accepted, a server that goes by them runs the same tool, under the same revision.
fn check_call_headers(headers: &HeaderMap, call: &ToolCall<'_>, params: &Tree) {
    for revision in Revision::ALL {
        if mcp::check_names(headers, revision, mcp::TOOLS_CALL, call.name).is_err() {
            continue;
        }
        let (methods, names) = (readings(headers, "mcp-method"), readings(headers, "mcp-name"));
        assert!(methods.iter().all(|method| method == mcp::TOOLS_CALL), "{methods:?}");
        assert!(names.iter().all(|name| name == call.name), "{names:?} for {}", call.name);
        assert!(!revision.is_stateless() || !(methods.is_empty() || names.is_empty()), "headers may not be missing");
    }
    let Ok(revision) = mcp::check_version(headers, call.meta) else { return };
    let named = params.member("_meta").and_then(|meta| meta.member(mcp::META_VERSION));
    let named = named.map(|named| if let Tree::Text(text) = named { text.as_str() } else { "no text" });
    let given: Vec<&[u8]> = headers.get_all("mcp-protocol-version").iter().map(HeaderValue::as_bytes).collect();
    match (named, given.as_slice()) {
        (None, []) => assert_eq!(revision, Revision::March2025),
        (None, [given]) => assert!(!revision.is_stateless() && *given == revision.as_str().as_bytes()),
        (Some(named), [given]) => assert!(named == revision.as_str() && *given == named.as_bytes()),
        (named, given) => panic!("{revision} for {named:?} and {given:?}"),
    }
}

/// What servers could read in a mirrored header: every copy, every part of a list, as it is and out of base64. Of what is no
/// token nothing can come.
fn readings(headers: &HeaderMap, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for value in headers.get_all(name) {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let parts: Vec<String> = text.split(',').map(|part| part.trim().to_owned()).chain([text.clone()]).collect();
        for part in parts {
            let marked = part.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("=?base64?"));
            let inner = part.get(9..).unwrap_or_default().trim_end_matches("?=");
            match STANDARD.decode(inner) {
                Ok(bytes) if marked => found.push(String::from_utf8_lossy(&bytes).into_owned()),
                _ if marked => found.push("not readable".to_owned()),
                _ => found.push(part),
            }
        }
    }
    found
}
