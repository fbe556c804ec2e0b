//! A call that needs approval, on the connection of a caller that stays.

use serde_json::{Value, json};

use crate::support::mcp::{End, McpRig, approval_in, only_answer, told};
use crate::support::mcp_origin::{Piece, RESULT, Reply};
use crate::support::rig::repository;
use crate::support::wait::until_true;

fn done(id: &Value) -> Value {
    serde_json::from_str(&RESULT.replace("{id}", &id.to_string())).expect("the server's result is JSON")
}

#[test]
fn a_held_call_that_is_approved_gets_the_upstreams_answer_on_its_stream() {
    let rig = McpRig::start();
    let call = rig.client().delete(&json!("7"));
    let (stream, id) = rig.hold(&call);
    for (name, value) in [("cache-control", "no-cache"), ("x-accel-buffering", "no"), ("holdpoint-source", "gateway")] {
        assert_eq!(stream.head.header(name), Some(value));
    }
    assert_eq!(stream.head.header("mcp-session-id"), None, "no session is minted here");
    rig.nothing_was_sent();
    let shown = rig.alice().approval(&id);
    assert_eq!(
        (&shown["status"], &shown["name"], &shown["agent"]),
        (&json!("pending"), &json!("delete_repo"), &json!("bot"))
    );
    assert_eq!((&shown["input"]["args"], &shown["caller"]["waiting"]), (&repository(), &json!(1)));
    rig.alice().approve(&id);
    assert_eq!(only_answer(&stream, &json!("7")), done(&json!("7")));
    assert_eq!(rig.deletions(), 1);
    let hit = &rig.origin.calls("delete_repo")[0];
    assert_eq!((hit.body.as_slice(), hit.header("holdpoint-approval")), (sent(&call).as_slice(), Some(id.as_str())));
    rig.until_outcome(&id, "succeeded");
    let told = ["approval_created", "approval_approved", "release_started", "release_succeeded"];
    let mut events = rig.alice().events(Some(&id));
    events.retain(|kind| told.contains(&kind.as_str()));
    assert_eq!(events, told);
    assert_eq!(rig.gateway.metric("holdpoint_calls_abandoned_total", &[]), 0.0);
}

/// The body of a request's bytes.
fn sent(call: &crate::support::people::Call) -> Vec<u8> {
    let bytes = call.bytes();
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    bytes[at + 4..].to_vec()
}

#[test]
fn the_upstreams_own_events_come_as_they_are_and_as_they_come() {
    let rig = McpRig::start();
    let first = "id: e-1\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"n\":1.000}}\n\n";
    rig.origin.reply(Reply::Stream(vec![Piece::Bytes(first.into()), Piece::Wait, Piece::Result]));
    let (stream, id) = rig.hold(&rig.client().delete(&json!(1)));
    rig.alice().approve(&id);
    let event = loop {
        let event = stream.next_within(crate::support::wait::SOON);
        if event.is_message() {
            break event;
        }
    };
    assert_eq!(event.raw, first);
    rig.origin.go_on();
    assert_eq!(only_answer(&stream, &json!(1)), done(&json!(1)));
    rig.until_outcome(&id, "succeeded");
}

#[test]
fn a_held_call_that_is_rejected_is_told_the_reviewers_reason() {
    let rig = McpRig::start();
    for (client, result_type) in [(rig.client(), None), (rig.client().stateless(), Some("complete"))] {
        let call = client.tool(&json!(7), "delete_repo", &json!({ "repo": result_type }));
        let (stream, id) = rig.hold(&call);
        rig.alice().reject(&id, "Ask the owners first.");
        let answer = only_answer(&stream, &json!(7));
        let text = told(&answer, "rejected", Some(false), false);
        for part in [
            "REJECTED",
            "`delete_repo` was NOT executed",
            "alice",
            "Ask the owners first",
            "do not send it again unchanged",
            &id,
        ] {
            assert!(text.contains(part), "{part} is missing: {text}");
        }
        assert_eq!(approval_in(&answer), id);
        assert_eq!(answer["result"].get("resultType").and_then(Value::as_str), result_type);
        // Asked again at once, the same refusal comes, and nobody is asked.
        let again = client.tool(&json!(8), "delete_repo", &json!({ "repo": result_type })).send();
        assert_eq!((again.status, approval_in(&again.json())), (200, id));
        told(&again.json(), "rejected", Some(false), false);
    }
    rig.nothing_was_sent();
}

#[test]
fn a_held_call_that_nobody_decides_expires_and_may_be_asked_again() {
    let rig = McpRig::parking("hold: 30s, expires_in: 2s");
    let (stream, id) = rig.hold(&rig.client().delete(&json!(7)));
    let answer = only_answer(&stream, &json!(7));
    let text = told(&answer, "expired", Some(false), true);
    assert!(text.contains("EXPIRED") && text.contains("NOT executed") && text.contains("asks again"), "{text}");
    assert_eq!((approval_in(&answer), &rig.alice().approval(&id)["status"]), (id, &json!("expired")));
    rig.nothing_was_sent();
}

#[test]
fn a_call_still_pending_at_its_budget_is_told_to_ask_again_and_the_identical_call_attaches() {
    let rig = McpRig::parking("hold: 2s");
    let (stream, id) = rig.hold(&rig.client().delete(&json!(7)));
    let answer = only_answer(&stream, &json!(7));
    let text = told(&answer, "pending", Some(false), true);
    assert!(text.contains("NOT executed") && text.contains("identical call") && text.contains(&id), "{text}");
    assert_eq!(approval_in(&answer), id);
    assert!(answer["result"]["_meta"]["dev.holdpoint/decision"]["retryAfterMs"].as_u64().is_some_and(|ms| ms > 0));
    assert_eq!(rig.alice().approval(&id)["caller"]["waiting"], 0);
    // The retry carries another id, another progress token, another session: it is the same call.
    let again = rig.client().session("s-2").delete_with_token(&json!("eight"), &json!("p-8"));
    let (stream, attached) = rig.hold(&again);
    assert_eq!(attached, id);
    assert_eq!(rig.gateway.pending(1), [id.as_str()]);
    rig.alice().approve(&id);
    assert_eq!(only_answer(&stream, &json!("eight")), done(&json!("eight")));
    assert_eq!(rig.deletions(), 1);
    assert_eq!(rig.origin.calls("delete_repo")[0].json()["id"], "eight", "what is sent is what waits");
}

#[test]
fn a_caller_that_does_not_read_streams_is_held_for_a_json_answer() {
    let rig = McpRig::parking("hold: 3s");
    let client = rig.client().without_streams();
    let (waiting, id) = rig.hold_plainly(&client.delete(&json!(7)));
    rig.alice().approve(&id);
    let answer = waiting.answer();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!((answer.approval(), answer.json()), (id, done(&json!(7))));
    let answer = client.tool(&json!(8), "delete_repo", &json!({ "repo": "b" })).send();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(
        answer.header("retry-after"),
        None,
        "what a client must not take for a failed request has no such header"
    );
    told(&answer.json(), "pending", Some(false), true);
    assert_eq!(answer.approval(), approval_in(&answer.json()));
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn of_two_identical_calls_at_once_one_is_sent_and_the_other_told_so() {
    let rig = McpRig::start();
    let (first, id) = rig.hold(&rig.client().delete(&json!(1)));
    let (second, attached) = rig.hold(&rig.client().session("s-2").delete(&json!(2)));
    assert_eq!(attached, id);
    rig.until_waiting(&id, 2);
    assert_eq!(rig.gateway.pending(1), [id.as_str()]);
    rig.alice().approve(&id);
    let answers = [only_answer(&first, &json!(1)), only_answer(&second, &json!(2))];
    let (sent, kept_back): (Vec<&Value>, Vec<&Value>) =
        answers.iter().partition(|answer| answer["result"]["structuredContent"].is_object());
    assert_eq!((sent.len(), kept_back.len()), (1, 1), "{answers:?}");
    let text = told(kept_back[0], "already_executed", Some(true), false);
    assert!(text.contains("NOT executed again"), "{text}");
    assert_eq!(approval_in(kept_back[0]), id);
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn approving_one_call_sends_no_other() {
    let rig = McpRig::start();
    let client = rig.client();
    let call = |n: u32, meta: Value| {
        client.request(
            &json!(n),
            "tools/call",
            &json!({ "name": "delete_repo", "arguments": repository(), "_meta": meta }),
        )
    };
    let (first, approved) = rig.hold(&call(1, json!({ "tenant": "a" })));
    // The same arguments for another tenant: `_meta` that servers act on is part of the call.
    let (second, other) = rig.hold(&call(2, json!({ "tenant": "b" })));
    let agent = crate::support::mcp::Client::new(rig.gateway.agent("other-bot"));
    let (third, of_other) = rig.hold(&agent.request(
        &json!(1),
        "tools/call",
        &json!({ "name": "delete_repo", "arguments": repository(), "_meta": { "tenant": "a" } }),
    ));
    assert!(other != approved && of_other != approved && other != of_other);
    rig.alice().approve(&approved);
    assert_eq!(only_answer(&first, &json!(1)), done(&json!(1)));
    assert!(second.is_silent_for(std::time::Duration::from_millis(500)));
    assert!(third.is_silent_for(std::time::Duration::from_millis(100)));
    assert_eq!(rig.deletions(), 1);
    assert_eq!(rig.origin.calls("delete_repo")[0].json()["params"]["_meta"]["tenant"], "a");
}

#[test]
fn a_new_block_beats_the_approval_of_a_held_call() {
    let rig = McpRig::start();
    let (stream, id) = rig.hold(&rig.client().delete(&json!(7)));
    let block = "version: 1\nrules:\n  - { id: freeze, match: \"*delete*\", action: block, reason: Change freeze. }\n";
    std::fs::write(rig.home.path("policy.yaml"), block).expect("the policy can be written");
    rig.gateway.signal("HUP");
    let answer = only_answer(&stream, &json!(7));
    let text = told(&answer, "denied", Some(false), false);
    assert!(text.contains("Change freeze") || text.contains("freeze"), "{text}");
    rig.until_status(&id, "cancelled");
    rig.nothing_was_sent();
}

#[test]
fn a_held_call_survives_a_crash_and_the_identical_call_attaches() {
    let rig = McpRig::start();
    let (stream, id) = rig.hold(&rig.client().delete(&json!(7)));
    let rig = rig.crash_and_start();
    assert_eq!(stream.rest().1, End::Broken, "a connection does not survive the process");
    assert_eq!(rig.alice().approval(&id)["status"], "pending");
    let (stream, attached) = rig.hold(&rig.client().delete(&json!(8)));
    assert_eq!(attached, id);
    rig.alice().approve(&id);
    assert_eq!(only_answer(&stream, &json!(8)), done(&json!(8)));
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn a_gateway_that_goes_down_says_so_on_the_stream_and_keeps_the_approval() {
    let mut rig = McpRig::start();
    let (stream, id) = rig.hold(&rig.client().delete(&json!(7)));
    rig.gateway.signal("TERM");
    let answer = only_answer(&stream, &json!(7));
    let text = told(&answer, "unavailable", Some(false), true);
    assert!(text.contains("NOT executed") && text.contains("shutting down"), "{text}");
    assert!(rig.gateway.end().success());
    let McpRig { gateway, home, origin } = rig;
    drop(gateway);
    let rig = McpRig { gateway: crate::support::gateway::Gateway::start(&home), home, origin };
    rig.alice().approve(&id);
    assert_eq!(rig.client().delete(&json!(8)).send().json(), done(&json!(8)), "the approval stood");
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn a_full_queue_is_a_result_and_the_others_are_served() {
    let rig = McpRig::with(|home| home.key("limits: { pending_per_agent_max: 1 }"));
    let (held, id) = rig.hold(&rig.client().delete(&json!(1)));
    let answer = rig.client().tool(&json!(2), "delete_repo", &json!({ "repo": "b" })).send();
    assert_eq!((answer.status, answer.header("retry-after")), (200, None), "{}", answer.text());
    let text = told(&answer.json(), "unavailable", Some(false), true);
    assert!(text.contains("NOT executed"), "{text}");
    assert_eq!(rig.client().tool(&json!(3), "safe_read", &json!({})).send().json(), done(&json!(3)));
    let other = crate::support::mcp::Client::new(rig.gateway.agent("other-bot"));
    let (other, of_other) = rig.hold(&other.delete(&json!(4)));
    rig.alice().approve(&of_other);
    assert_eq!(only_answer(&other, &json!(4)), done(&json!(4)));
    rig.alice().approve(&id);
    assert_eq!(only_answer(&held, &json!(1)), done(&json!(1)));
    until_true("nothing is held any more", || rig.gateway.metric("holdpoint_held_bytes", &[]) == 0.0);
}
