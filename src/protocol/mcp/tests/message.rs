//! Envelopes, ids, confusable keys and methods, and the parameters of a call.

use proptest::prelude::{Strategy, any, prop};
use proptest::{prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::super::{Fault, FaultKind, Id, Message, ToolCall, is_response_to, read};
use super::with;
use crate::protocol::json;

/// What a body was read as.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Request(String, String),
    Notification(String),
    Response,
    Refused(FaultKind, i32, Option<String>),
}

fn fault(fault: &Fault) -> Seen {
    Seen::Refused(fault.kind, fault.rpc_code, fault.id.as_ref().map(|id| id.as_json().to_owned()))
}

fn seen(text: &str) -> Seen {
    with(text, |value| match read(value) {
        Ok(Message::Request { id, method, .. }) => Seen::Request(id.as_json().to_owned(), method.to_owned()),
        Ok(Message::Notification { method, .. }) => Seen::Notification(method.to_owned()),
        Ok(Message::Response) => Seen::Response,
        Err(refused) => fault(&refused),
    })
}

fn request(id: &str, method: &str) -> Seen {
    Seen::Request(id.to_owned(), method.to_owned())
}

fn refused(kind: FaultKind, rpc_code: i32, id: Option<&str>) -> Seen {
    Seen::Refused(kind, rpc_code, id.map(str::to_owned))
}

/// The tool of a body that is a call, or why it is refused.
fn tool(text: &str) -> Result<String, FaultKind> {
    with(text, |value| match read(value).map_err(|fault| fault.kind)? {
        Message::Request { params, .. } => {
            ToolCall::read(params).map(|call| call.name.to_owned()).map_err(|fault| fault.kind)
        }
        other => panic!("{text} is no request: {other:?}"),
    })
}

fn call(params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#)
}

#[test]
fn requests_notifications_and_responses_are_told_apart() {
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a"}}"#;
    assert_eq!(seen(call), request("7", "tools/call"));
    assert_eq!(seen(r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#), request("7", "ping"));
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(seen(notification), Seen::Notification("notifications/initialized".into()));
    assert_eq!(seen(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#), Seen::Response);
    assert_eq!(seen(r#"{"jsonrpc":"2.0","id":"a","error":{"code":1,"message":"m"}}"#), Seen::Response);
}

#[test]
fn a_number_and_a_string_are_two_ids_and_other_values_are_none() {
    let id = |text: &str| with(text, |value| Id::of(value).map(|id| id.as_json().to_owned()));
    assert_eq!(id("7").as_deref(), Some("7"));
    assert_eq!(id("\"7\"").as_deref(), Some("\"7\""));
    assert_eq!(id("-7").as_deref(), Some("-7"));
    assert_eq!(id("9007199254740993").as_deref(), Some("9007199254740993"));
    // Two spellings of one string are one id.
    assert_eq!(id(r#""\u0061/b""#), id(r#""a\/b""#));
    for none in ["null", "true", "1.0", "1e2", "1E2", "[]", "{}", "[1]"] {
        assert_eq!(id(none), None, "{none}");
    }
    assert!(id(&format!("\"{}\"", "x".repeat(254))).is_some());
    assert_eq!(id(&format!("\"{}\"", "x".repeat(255))), None);
}

#[test]
fn what_is_no_message_is_refused_under_the_id_that_it_gave() {
    let envelope = |id| refused(FaultKind::Envelope, -32600, id);
    let cases = [
        (r#""tools/call""#, None),
        ("7", None),
        ("null", None),
        ("{}", None),
        (r#"{"id":7,"method":"ping"}"#, Some("7")),
        (r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#, Some("7")),
        (r#"{"jsonrpc":2.0,"id":7,"method":"ping"}"#, Some("7")),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, None),
        (r#"{"jsonrpc":"2.0","id":1.0,"method":"ping"}"#, None),
        (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, None),
        (r#"{"jsonrpc":"2.0","id":"7","method":["ping"]}"#, Some("\"7\"")),
        (r#"{"jsonrpc":"2.0","id":7,"method":""}"#, Some("7")),
        (r#"{"jsonrpc":"2.0","id":7,"method":"tools/call "}"#, Some("7")),
        (r#"{"jsonrpc":"2.0","id":7,"method":"tools\u0000/call"}"#, Some("7")),
        (r#"{"jsonrpc":"2.0","id":7,"method":"tools/c\u0430ll"}"#, Some("7")),
        (r#"{"jsonrpc":"2.0","id":7,"method":"ping","result":{}}"#, Some("7")),
        (r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","error":{}}"#, Some("7")),
        (r#"{"jsonrpc":"2.0","result":{}}"#, None),
        (r#"{"jsonrpc":"2.0","id":7}"#, Some("7")),
        // Without an id nobody would learn what was called.
        (r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"a"}}"#, None),
    ];
    for (text, id) in cases {
        assert_eq!(seen(text), envelope(id), "{text}");
    }
    let long = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{}"}}"#, "m".repeat(129));
    assert_eq!(seen(&long), envelope(Some("7")));
    assert_eq!(seen(&long.replace(&"m".repeat(129), &"m".repeat(128))), request("7", &"m".repeat(128)));
}

#[test]
fn batches_of_every_shape_are_refused() {
    let one = r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;
    for batch in ["[]".to_owned(), format!("[{one}]"), format!("[{one},{one}]"), format!("[[{one}]]"), "[1]".to_owned()]
    {
        assert_eq!(seen(&batch), refused(FaultKind::Batch, -32600, None), "{batch}");
    }
}

#[test]
fn a_method_that_some_reader_takes_for_tools_call_is_refused() {
    for method in [
        "Tools/Call",
        "TOOLS/CALL",
        "tools/Call",
        "tools.call",
        "tools:call",
        "toolscall",
        "/tools/call",
        "tools//call",
        "tools/call/",
        "$tools/call",
        "tools_call",
        "tools-call",
    ] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}"}}"#);
        assert_eq!(seen(&text), refused(FaultKind::Confusable, -32600, Some("7")), "{method}");
        let text = format!(r#"{{"jsonrpc":"2.0","method":"{method}"}}"#);
        assert_eq!(seen(&text), refused(FaultKind::Confusable, -32600, None), "{method} as a notification");
    }
    for method in ["tools/list", "tools/calls", "tool/call", "notifications/tools/list_changed"] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}"}}"#);
        assert_eq!(seen(&text), request("7", method));
    }
}

#[test]
fn a_key_that_some_reader_takes_for_a_reserved_one_is_refused_at_every_level_that_counts() {
    let cases = [
        r#"{"jsonrpc":"2.0","id":7,"Method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"ping","Params":{}}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"ping","param\u017f":{}}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"ping","\uff50arams":{}}"#,
        r#"{"jsonrpc":"2.0","id":7,"JSONRPC":"2.0","method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":7,"Result":{},"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"Name":"a"}}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","argument\u017f":{}}}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","TASK":{}}}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","_Meta":{}}}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","requeststate":"s"}}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","_meta":{"progresstoken":1}}}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","_meta":{"io.modelcontextprotocol/protocolversion":"x"}}}"#,
    ];
    for text in cases {
        // The reader refuses siblings by itself; a variant alone is refused here.
        match json::read(text.as_bytes(), &json::Limits::default()) {
            Err(error) => assert_eq!(error.code(), "confusable_key", "{text}"),
            Ok(_) => assert_eq!(seen(text), refused(FaultKind::Confusable, -32600, Some("7")), "{text}"),
        }
    }
    // Deeper down names are the tool's own.
    assert_eq!(tool(&call(r#"{"name":"a","arguments":{"Name":"b","Params":{},"_Meta":1}}"#)), Ok("a".into()));
    assert_eq!(tool(&call(r#"{"name":"a","_meta":{"Name":"b"}}"#)), Ok("a".into()));
    // Look-alikes of another script are other names to every reader.
    assert_eq!(tool(&call(r#"{"name":"a","n\u0430me":"b"}"#)), Ok("a".into()));
}

#[test]
fn parameters_are_objects_and_each_part_of_its_kind() {
    let envelope = |params: &str| seen(&call(params));
    for params in
        ["[]", "[\"a\"]", "\"a\"", "1", "null", "true", r#"{"name":"a","_meta":[]}"#, r#"{"name":"a","_meta":null}"#]
    {
        assert_eq!(envelope(params), refused(FaultKind::Params, -32602, Some("1")), "{params}");
    }
    for params in [
        "{}",
        r#"{"name":null}"#,
        r#"{"name":["a"]}"#,
        r#"{"name":{"a":1}}"#,
        r#"{"name":1}"#,
        r#"{"name":"a","arguments":[]}"#,
        r#"{"name":"a","arguments":null}"#,
        r#"{"name":"a","arguments":"{}"}"#,
        r#"{"name":"a","task":[]}"#,
        r#"{"name":"a","requestState":{}}"#,
        r#"{"name":"a","_meta":{"progressToken":null}}"#,
        r#"{"name":"a","_meta":{"progressToken":1.5}}"#,
        r#"{"name":"a","_meta":{"progressToken":{}}}"#,
    ] {
        assert_eq!(tool(&call(params)), Err(FaultKind::Params), "{params}");
    }
    let without = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#;
    assert_eq!(tool(without), Err(FaultKind::Params));
    assert_eq!(tool(&call(r#"{"name":"a"}"#)), Ok("a".into()));
}

#[test]
fn a_tools_name_is_one_plain_token() {
    for name in ["delete_repo", "github.issues/create", "A-b:c", "0", &"x".repeat(128)] {
        assert_eq!(tool(&call(&format!(r#"{{"name":"{name}"}}"#))), Ok(name.to_owned()));
    }
    for name in [
        "",
        " delete_repo",
        "delete_repo ",
        r"delete_repo\u0000",
        r"delete\u200b_repo",
        "ｄelete_repo",
        r"d\u0435lete_repo",
        "delete%5Frepo",
        r"\u202eoper_eteled",
        "delete repo",
        r"delete\nrepo",
        "delete+repo",
        &"x".repeat(129),
    ] {
        assert_eq!(tool(&call(&format!(r#"{{"name":"{name}"}}"#))), Err(FaultKind::ToolName), "{name}");
    }
}

#[test]
fn extensions_traces_and_tokens_are_found_where_the_caller_put_them() {
    let text = call(
        r#"{"name":"a","requestState":"s","task":{"ttl":1},"_meta":{"progressToken":"p","traceparent":"t",
            "io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}}"#,
    );
    with(&text, |value| {
        let Ok(Message::Request { params, .. }) = read(value) else { panic!("a request") };
        let call = ToolCall::read(params).expect("a call");
        assert!(call.client_has_extension("io.modelcontextprotocol/tasks"));
        assert!(!call.client_has_extension("io.modelcontextprotocol/other"));
        assert_eq!((call.traceparent(), call.request_state), (Some("t"), Some("s")));
        assert!(call.task.is_some() && call.progress_token.is_some() && call.arguments.is_none());
    });
}

#[test]
fn a_response_is_known_by_its_id_however_it_is_spelt() {
    let answers = |text: &str, id: &str| with(id, |id| is_response_to(text, &Id::of(id).expect("an id")));
    assert!(answers(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, "7"));
    assert!(answers(r#"{"id":7,"error":{"code":1}}"#, "7"));
    assert!(answers(r#"{"id":"\b\/\u00e9","result":{}}"#, r#""\u0008/é""#));
    assert!(answers(r#"{"id":123456789012345678901234567890,"result":{}}"#, "123456789012345678901234567890"));
    for (text, id) in [
        (r#"{"id":"7","result":{}}"#, "7"),
        (r#"{"id":7,"result":{}}"#, "\"7\""),
        (r#"{"id":123456789012345678901234567891,"result":{}}"#, "123456789012345678901234567890"),
        (r#"{"id":7,"method":"ping"}"#, "7"),
        (r#"{"id":null,"result":{}}"#, "7"),
        (r#"{"result":{}}"#, "7"),
        (r#"[{"id":7,"result":{}}]"#, "7"),
        ("7", "7"),
        ("", "7"),
    ] {
        assert!(!answers(text, id), "{text} {id}");
    }
}

/// Text of which methods, keys and names are made.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![prop::sample::select(vec![
        "tools", "call", "Tools", "/", ".", "_", " ", "\u{17f}", "\u{200b}", "K", "name", "params", "method"
    ]),];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// Whatever a loose reader (case, compatible forms and punctuation ignored) takes for a call is read as one or refused.
    #[test]
    fn no_method_is_a_call_to_a_loose_reader_alone(method in pieces()) {
        let quoted = serde_json::Value::from(method.as_str());
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":{quoted},"params":{{"name":"a"}}}}"#);
        let loose: String = json::folded(&method).chars().filter(char::is_ascii_alphanumeric).collect();
        let passes = matches!(seen(&text), Seen::Request(_, read) if read != "tools/call");
        prop_assert!(!(passes && loose == "toolscall"), "{}", method);
    }

    /// No key beside the reserved ones reads as one of them.
    #[test]
    fn no_key_is_a_name_to_a_loose_reader_alone(key in pieces()) {
        let quoted = serde_json::Value::from(key.as_str());
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"safe",{quoted}:"gated"}}}}"#);
        let strict = json::read(text.as_bytes(), &json::Limits::default());
        let accepted = strict.is_ok_and(|value| read(&value).is_ok());
        prop_assert!(!(accepted && key != "name" && json::folded(&key) == "name"), "{}", key);
        prop_assert!(!(accepted && key == "name"), "two names");
    }

    /// Ids are equal exactly when their values are.
    #[test]
    fn ids_are_equal_when_their_values_are(one in any::<i64>(), other in any::<i64>(), text in "\\PC{0,20}") {
        let id = |value: serde_json::Value| with(&value.to_string(), Id::of);
        prop_assert_eq!(id(one.into()) == id(other.into()), one == other);
        prop_assert!(id(one.into()) != id(one.to_string().into()));
        prop_assert_eq!(id(text.as_str().into()), id(text.as_str().into()));
        let longer = format!("{text}x");
        prop_assert!(id(text.as_str().into()) != id(longer.into()));
    }
}
