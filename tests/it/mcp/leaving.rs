//! Callers that take a call back or leave: by the rule of their revision, and never anybody else's call.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::mcp::{Client, End, McpRig, only_answer};

/// Whether a message is what the upstream of the rig answers.
fn is_done(message: &Value) -> bool {
    message["result"]["structuredContent"].is_object()
}

#[test]
fn a_cancelled_call_is_withdrawn_without_an_answer_and_the_upstream_hears_nothing() {
    let rig = McpRig::start();
    let (stream, id) = rig.hold(&rig.client().delete(&json!(7)));
    let answer = rig.client().cancel(&json!(7)).send();
    assert_eq!((answer.status, answer.text().as_str()), (202, ""));
    let (messages, end) = stream.rest();
    assert_eq!((messages, end), (vec![], End::Whole), "no response to a request that was taken back");
    rig.until_status(&id, "cancelled");
    rig.alice().try_decide(&id, "approved", None).expect(409, "already_decided");
    rig.nothing_was_sent();
    assert!(rig.alice().events(Some(&id)).contains(&"approval_cancelled".to_owned()));
}

#[test]
fn a_cancelled_call_of_a_caller_that_waits_for_json_is_withdrawn_too() {
    let rig = McpRig::start();
    let client = rig.client().without_streams();
    let (waiting, id) = rig.hold_plainly(&client.delete(&json!(7)));
    assert_eq!(client.cancel(&json!(7)).send().status, 202);
    rig.until_status(&id, "cancelled");
    assert_eq!(waiting.answer().status, 200);
    rig.nothing_was_sent();
}

#[test]
fn a_cancellation_by_anybody_else_or_of_anything_else_touches_nothing_and_passes() {
    let rig = McpRig::start();
    let (stream, id) = rig.hold(&rig.client().delete(&json!(7)));
    let other = Client::new(rig.gateway.agent("other-bot"));
    let strangers = [
        ("another session", rig.client().session("s-2").cancel(&json!(7))),
        ("another agent", other.cancel(&json!(7))),
        ("another id", rig.client().cancel(&json!(8))),
        ("a string that looks like the number", rig.client().cancel(&json!("7"))),
        ("no id", rig.client().post(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{}}"#)),
    ];
    for (n, (what, call)) in strangers.into_iter().enumerate() {
        assert_eq!(call.send().status, 202, "{what}");
        assert_eq!(rig.origin.messages("notifications/cancelled").len(), n + 1, "{what}: it is the upstream's matter");
    }
    assert_eq!(rig.alice().approval(&id)["status"], "pending");
    rig.alice().approve(&id);
    assert!(is_done(&only_answer(&stream, &json!(7))));
    // Once it is answered, its id is the upstream's matter too.
    assert_eq!(rig.client().cancel(&json!(7)).send().status, 202);
    assert_eq!(rig.origin.messages("notifications/cancelled").len(), 6);
}

#[test]
fn cancelling_one_of_two_identical_calls_leaves_the_other_waiting() {
    let rig = McpRig::start();
    let (first, id) = rig.hold(&rig.client().delete(&json!(1)));
    let (second, _) = rig.hold(&rig.client().delete(&json!(2)));
    rig.until_waiting(&id, 2);
    assert_eq!(rig.client().cancel(&json!(1)).send().status, 202);
    assert_eq!(first.rest().0, Vec::<Value>::new());
    rig.until_waiting(&id, 1);
    assert_eq!(rig.alice().approval(&id)["status"], "pending");
    rig.alice().approve(&id);
    assert!(is_done(&only_answer(&second, &json!(2))));
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn a_request_whose_id_is_used_twice_can_still_be_taken_back() {
    let rig = McpRig::start();
    let client = rig.client();
    let (first, one) = rig.hold(&client.tool(&json!(1), "delete_repo", &json!({ "repo": "a" })));
    let (second, two) = rig.hold(&client.tool(&json!(1), "delete_repo", &json!({ "repo": "b" })));
    // The older one ends: that must not make the newer one unreachable.
    rig.alice().reject(&one, "no");
    only_answer(&first, &json!(1));
    assert_eq!(client.cancel(&json!(1)).send().status, 202);
    assert_eq!(second.rest().0, Vec::<Value>::new());
    rig.until_status(&two, "cancelled");
    rig.nothing_was_sent();
}

#[test]
fn a_caller_with_sessions_that_hangs_up_keeps_its_approval_as_a_grant_for_one_identical_call() {
    let rig = McpRig::start();
    let (stream, id) = rig.hold(&rig.client().delete(&json!(7)));
    stream.close();
    rig.until_waiting(&id, 0);
    assert_eq!(rig.alice().approval(&id)["status"], "pending");
    rig.alice().approve(&id);
    std::thread::sleep(Duration::from_millis(300));
    rig.nothing_was_sent();
    let answer = rig.client().session("s-9").delete_with_token(&json!("again"), &json!(1)).send();
    assert_eq!(answer.header("content-type"), Some("application/json"), "a grant is used at once, without a stream");
    assert!(is_done(&answer.json()), "{}", answer.text());
    assert_eq!((answer.approval(), &answer.json()["id"]), (id.clone(), &json!("again")));
    assert_eq!(rig.deletions(), 1);
    // It is used up: the same call again is a new question.
    let (stream, new) = rig.hold(&rig.client().delete(&json!(8)));
    assert_ne!(new, id);
    stream.close();
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn a_caller_without_sessions_that_hangs_up_takes_its_call_back() {
    let rig = McpRig::start();
    let (stream, id) = rig.hold(&rig.client().stateless().delete(&json!(7)));
    stream.close();
    rig.until_status(&id, "cancelled");
    rig.alice().try_decide(&id, "approved", None).expect(409, "already_decided");
    rig.nothing_was_sent();
}

#[test]
fn a_caller_without_sessions_that_hangs_up_before_its_stream_begins_takes_its_call_back_too() {
    let rig = McpRig::start();
    for client in [rig.client().stateless(), rig.client().stateless().without_streams()] {
        let (waiting, id) = rig.hold_plainly(&client.delete(&json!(7)));
        waiting.hang_up();
        rig.until_status(&id, "cancelled");
    }
    rig.nothing_was_sent();
}

#[test]
fn a_caller_with_sessions_that_hangs_up_before_its_stream_begins_keeps_its_approval() {
    let rig = McpRig::start();
    let (waiting, id) = rig.hold_plainly(&rig.client().delete(&json!(7)));
    waiting.hang_up();
    rig.until_waiting(&id, 0);
    assert_eq!(rig.alice().approval(&id)["status"], "pending");
    rig.alice().approve(&id);
    assert!(is_done(&rig.client().delete(&json!(8)).send().json()));
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn a_caller_without_sessions_that_hangs_up_leaves_the_call_to_another_that_waits() {
    let rig = McpRig::start();
    let client = rig.client().stateless();
    let (first, id) = rig.hold(&client.delete(&json!(1)));
    let (second, _) = rig.hold(&client.delete(&json!(2)));
    rig.until_waiting(&id, 2);
    first.close();
    rig.until_waiting(&id, 1);
    rig.alice().approve(&id);
    assert!(is_done(&only_answer(&second, &json!(2))));
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn a_caller_that_hangs_up_while_its_call_runs_changes_nothing_about_it() {
    let rig = McpRig::start();
    rig.origin.reply(crate::support::mcp_origin::Reply::Stream(vec![
        crate::support::mcp_origin::Piece::Data(r#"{"jsonrpc":"2.0","method":"notifications/x"}"#.into()),
        crate::support::mcp_origin::Piece::Wait,
        crate::support::mcp_origin::Piece::Result,
    ]));
    let (stream, id) = rig.hold(&rig.client().delete(&json!(7)));
    rig.alice().approve(&id);
    assert_eq!(stream.message()["method"], "notifications/x");
    stream.close();
    rig.origin.go_on();
    let approval = crate::support::wait::until("the call has an outcome", || {
        let approval = rig.alice().approval(&id);
        ["succeeded", "unknown"].iter().any(|state| approval["outcome"]["state"] == *state).then_some(approval)
    });
    assert_eq!(approval["status"], "approved");
    assert_eq!(rig.deletions(), 1, "and it is never sent again");
    assert_eq!(rig.gateway.metric("holdpoint_calls_abandoned_total", &[]), 0.0);
}
