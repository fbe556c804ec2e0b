//! Upstreams that refuse, die or never end, callers that never read, a store that cannot write.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::http::Wire;
use crate::support::mcp::{McpRig, approval_in, only_answer, told};
use crate::support::mcp_origin::{McpOrigin, Piece, Reply};
use crate::support::origin::Nowhere;
use crate::support::wait::until_true;

fn raw(status: &str) -> Reply {
    Reply::Raw(format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"))
}

fn is_done(message: &Value) -> bool {
    message["result"]["structuredContent"].is_object()
}

#[test]
fn a_call_that_the_upstream_does_not_take_keeps_its_approval_for_the_identical_call() {
    let rig = McpRig::start();
    let not_taken = [
        "400 Bad Request",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "405 Method Not Allowed",
        "406 Not Acceptable",
        "415 Unsupported Media Type",
    ];
    for (n, status) in not_taken.into_iter().enumerate() {
        let call = |id: Value| rig.client().tool(&id, "delete_repo", &json!({ "n": n }));
        rig.origin.reply(raw(status));
        let (stream, id) = rig.hold(&call(json!(7)));
        rig.alice().approve(&id);
        let answer = only_answer(&stream, &json!(7));
        let text = told(&answer, "approved_not_executed", Some(false), true);
        for part in ["NOT executed", "approval stands", "identical call", &status[..3], &id] {
            assert!(text.contains(part), "{part} is missing: {text}");
        }
        assert_eq!(approval_in(&answer), id);
        rig.until_outcome(&id, "failed");
        rig.origin.reply(Reply::Json);
        let answer = rig.client().session("s-new").tool(&json!(8), "delete_repo", &json!({ "n": n })).send();
        assert!(is_done(&answer.json()), "{status}: {}", answer.text());
        assert_eq!(answer.approval(), id, "no new approval was needed");
        rig.until_outcome(&id, "succeeded");
    }
    assert!(rig.alice().pending().is_empty());
    // Each was refused once and ran once.
    assert_eq!(rig.deletions(), 14);
}

#[test]
fn a_call_that_cannot_be_sent_keeps_its_approval() {
    let nowhere = Nowhere::reserve();
    let home = Home::mcp(nowhere.address);
    let gateway = Gateway::start(&home);
    let client = crate::support::mcp::Client::new(gateway.agent("bot"));
    let stream = crate::support::mcp::Stream::open(&gateway, &client.delete(&json!(7)));
    let id = stream.head.approval();
    gateway.reviewer("alice").approve(&id);
    let text = told(&only_answer(&stream, &json!(7)), "approved_not_executed", Some(false), true);
    assert!(text.contains(&id), "{text}");
    // An allowed call has no approval that could stand.
    told(&client.tool(&json!(1), "safe_read", &json!({})).send().json(), "unavailable", Some(false), true);
    let origin = McpOrigin::serve(nowhere.into_listener());
    assert!(is_done(&client.delete(&json!(8)).send().json()));
    assert_eq!(origin.calls("delete_repo").len(), 1);
}

/// A call is approved; whatever comes back, it must be called unknown, and never be sent again on this approval.
#[track_caller]
fn check_unknown(rig: &McpRig, n: usize, what: &str) {
    let call = |id: Value| rig.client().tool(&id, "delete_repo", &json!({ "n": n, "what": what }));
    let before = rig.deletions();
    let (stream, id) = rig.hold(&call(json!(7)));
    rig.alice().approve(&id);
    let answer = only_answer(&stream, &json!(7));
    let text = told(&answer, "unknown", None, false);
    assert!(text.contains("UNKNOWN") && text.contains("may have"), "{what}: {text}");
    let sent = rig.deletions();
    assert!(sent <= before + 1, "{what}");
    // Whoever asks again is asked about again: the approval is spent.
    let (again, new) = rig.hold(&call(json!(8)));
    assert_ne!(new, id, "{what}");
    assert_eq!(rig.deletions(), sent, "{what}: sent again");
    rig.client().cancel(&json!(8)).send();
    assert_eq!(again.rest().0, Vec::<Value>::new());
}

#[test]
fn an_upstream_that_is_lost_after_sending_is_called_unknown_and_the_call_never_sent_again() {
    let rig = McpRig::start();
    for (n, (what, reply)) in [
        ("closes after reading", Reply::Close),
        ("half an answer", Reply::Raw("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\nconnection: close\r\n\r\n{".into())),
        ("a stream that breaks", Reply::Stream(vec![Piece::Data("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}".into()), Piece::Cut])),
        ("a stream that breaks within an event", Reply::Stream(vec![Piece::Bytes("data: {\"jsonrpc\":".into()), Piece::Cut])),
    ]
    .into_iter()
    .enumerate()
    {
        rig.origin.reply(reply);
        if what == "half an answer" {
            // The connection must end for the answer to be half.
            rig.origin.close_after_answer(true);
        }
        check_unknown(&rig, n, what);
        rig.origin.close_after_answer(false);
    }
    assert!(rig.alice().pending().is_empty());
}

#[test]
fn an_upstream_that_closes_before_it_reads_is_told_as_it_is_recorded() {
    let rig = McpRig::start();
    rig.origin.close_unread(true);
    let (stream, id) = rig.hold(&rig.client().delete(&json!(7)));
    rig.alice().approve(&id);
    let answer = only_answer(&stream, &json!(7));
    // Whether the first byte was written before the end was seen is a race. Either way nobody says that it ran.
    match answer["result"]["_meta"]["dev.holdpoint/decision"]["status"].as_str() {
        Some("unknown") => {
            told(&answer, "unknown", None, false);
            rig.until_outcome(&id, "unknown");
        }
        _ => {
            told(&answer, "approved_not_executed", Some(false), true);
            rig.until_outcome(&id, "failed");
        }
    }
    rig.nothing_was_sent();
}

#[test]
fn an_upstream_that_ends_without_a_result_is_called_unknown() {
    let rig = McpRig::start();
    let notification = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}";
    for (n, (what, reply)) in [
        ("408", raw("408 Request Timeout")),
        ("409", raw("409 Conflict")),
        ("425", raw("425 Too Early")),
        ("429", raw("429 Too Many Requests")),
        ("499", raw("499 Client Closed Request")),
        ("500", raw("500 Internal Server Error")),
        ("503", raw("503 Service Unavailable")),
        ("202", Reply::Raw("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".into())),
        (
            "another type",
            Reply::Raw("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi".into()),
        ),
        ("an empty stream", Reply::Stream(vec![])),
        ("a stream without a result", Reply::Stream(vec![Piece::Data(notification.into())])),
        (
            "a result of another id",
            Reply::Stream(vec![Piece::Data("{\"jsonrpc\":\"2.0\",\"id\":99,\"result\":{}}".into())]),
        ),
        ("an empty document", Reply::Text(String::new())),
        ("no document", Reply::Text("{not json".into())),
        ("no response", Reply::Text("{}".into())),
    ]
    .into_iter()
    .enumerate()
    {
        rig.origin.reply(reply);
        let call = rig.client().tool(&json!(7), "delete_repo", &json!({ "n": n }));
        let (stream, id) = rig.hold(&call);
        rig.alice().approve(&id);
        let (messages, end) = stream.rest();
        assert_eq!(end, crate::support::mcp::End::Whole, "{what}");
        let last = messages.last().unwrap_or_else(|| panic!("{what}: the caller is told nothing"));
        assert_eq!(last["id"], 7, "{what}: {messages:?}");
        let text = told(last, "unknown", None, false);
        assert!(text.contains("UNKNOWN"), "{what}: {text}");
        // What the caller is told, the approval says too, so that a person can settle it.
        rig.until_outcome(&id, "unknown");
    }
    assert_eq!(rig.deletions(), 15, "each was sent once");
}

#[test]
fn a_call_that_was_sent_is_never_called_safe_to_repeat_though_its_answer_cannot_be_edited() {
    let rig = McpRig::start();
    rig.origin.close_after_answer(true);
    let document = |length: usize, text: &str| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
        Reply::Raw(format!("{head}: {length}\r\n\r\n{text}"))
    };
    let large = format!("{{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{{\"x\":\"{}\"}}}}", "x".repeat(9 << 20));
    for (n, (what, reply, outcome)) in [
        ("broken off", document(400, "{\"jsonrpc\":\"2.0\","), "unknown"),
        ("a stream without a result", Reply::Stream(vec![Piece::Bytes(": hi\n\n".into())]), "unknown"),
        ("a stream that breaks", Reply::Stream(vec![Piece::Bytes(": hi\n\n".into()), Piece::Cut]), "unknown"),
        ("too large to be looked into", document(large.len(), &large), "succeeded"),
    ]
    .into_iter()
    .enumerate()
    {
        rig.origin.reply(reply);
        let client = rig.client().stateless().without_streams();
        let (waiting, id) = rig.hold_plainly(&client.tool(&json!(7), "delete_repo", &json!({ "n": n })));
        rig.alice().approve(&id);
        let answer = waiting.answer();
        let text = answer.text();
        let message: Value = match text.find("data: {") {
            Some(at) => serde_json::from_str(text[at + 6..].trim()).expect("one message"),
            None => answer.json(),
        };
        told(&message, "unknown", None, false);
        assert!(message.to_string().contains(&id), "{what}: {message}");
        rig.until_outcome(&id, outcome);
    }
    assert_eq!(rig.deletions(), 4, "each was sent once");
}

#[test]
fn an_endless_stream_to_a_caller_that_does_not_read_takes_bounded_memory_and_holds_up_nobody() {
    let rig = McpRig::start();
    let before = rig.gateway.resident_bytes();
    rig.origin.reply(Reply::Stream(vec![Piece::Flood]));
    // One is held and approved, the other allowed; neither reads what comes.
    let mut held = Wire::connect(rig.gateway.proxy);
    held.send(&rig.client().delete(&json!(1)).bytes());
    let id = rig.gateway.one_pending();
    std::thread::sleep(Duration::from_millis(1500));
    rig.alice().approve(&id);
    let mut allowed = Wire::connect(rig.gateway.proxy);
    allowed.send(&rig.client().tool(&json!(2), "safe_read", &json!({})).bytes());
    until_true("both are being sent", || rig.origin.messages("tools/call").len() == 2);
    rig.origin.reply(Reply::Json);
    for n in 0..20 {
        assert!(is_done(&rig.client().tool(&json!(n), "safe_read", &json!({})).send().json()), "the others are served");
        std::thread::sleep(Duration::from_millis(100));
    }
    let grown = rig.gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 48 << 20, "grew by {grown} bytes");
    drop((held, allowed));
    until_true("the held call has an outcome", || rig.alice().approval(&id)["outcome"]["state"] == "unknown");
}

#[test]
fn a_large_event_without_end_takes_bounded_memory() {
    let rig = McpRig::start();
    let before = rig.gateway.resident_bytes();
    // Forty megabytes of one line, then the end of the stream, in pieces of one.
    let pieces =
        std::iter::once(Piece::Bytes("data: ".into())).chain((0..40).map(|_| Piece::Bytes("x".repeat(1 << 20))));
    rig.origin.reply(Reply::Stream(pieces.chain([Piece::Bytes("\n\n".into()), Piece::Result]).collect()));
    let (stream, id) = rig.hold(&rig.client().delete(&json!(1)));
    rig.alice().approve(&id);
    let (events, _) = stream.rest_raw();
    assert!(rig.gateway.resident_bytes().saturating_sub(before) < 48 << 20);
    let bytes: usize = events.iter().filter(|event| event.is_message()).map(|event| event.raw.len()).sum();
    assert!(bytes > 40 << 20, "all of it passed");
    assert!(is_done(&events.last().expect("events").json()));
}

#[test]
fn a_store_that_cannot_write_holds_and_sends_nothing() {
    let rig = McpRig::start();
    let (stream, id) = rig.hold(&rig.client().delete(&json!(1)));
    let lock = rusqlite::Connection::open(rig.home.path("holdpoint.db")).expect("the store is a file");
    lock.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes now");
    let answer = rig.client().tool(&json!(2), "delete_repo", &json!({ "repo": "b" })).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = told(&answer.json(), "unavailable", Some(false), true);
    assert!(text.contains("NOT executed"), "{text}");
    let decided = rig.alice().try_decide(&id, "approved", None);
    assert_eq!(decided.status, 503, "{}", decided.text());
    assert!(stream.is_silent_for(Duration::from_millis(500)));
    rig.nothing_was_sent();
    lock.execute_batch("ROLLBACK").expect("the lock can be given back");
    rig.alice().approve(&id);
    assert!(is_done(&only_answer(&stream, &json!(1))));
    assert_eq!(rig.deletions(), 1);
}
