//! What flows on the stream of a held call: comments, progress, and whatever the upstream writes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::mcp::{Event, McpRig, only_answer, told};
use crate::support::mcp_origin::{Piece, RESULT, Reply};
use crate::support::wait::SOON;

#[test]
fn a_comment_comes_at_once_and_every_fifteen_seconds() {
    let rig = McpRig::parking("hold: 60s");
    let (stream, id) = rig.hold(&rig.client().delete(&json!(7)));
    let first = stream.next_within(SOON);
    assert!(first.is_comment(), "{first:?}");
    // The first second is left for decisions that come at once.
    assert!(first.at - stream.sent_at < Duration::from_secs(4), "{:?}", first.at - stream.sent_at);
    let second = stream.next_within(SOON);
    assert!(second.is_comment(), "without a token there is no progress: {second:?}");
    let pause = second.at - first.at;
    assert!((Duration::from_secs(14)..Duration::from_secs(18)).contains(&pause), "{pause:?}");
    rig.alice().reject(&id, "no");
    told(&only_answer(&stream, &json!(7)), "rejected", Some(false), false);
}

fn progress(event: &Event) -> Option<(f64, String, Value)> {
    let message = event.json();
    let params = &message["params"];
    (message["method"] == "notifications/progress").then(|| {
        let told = params["message"].as_str().unwrap_or_default().to_owned();
        (params["progress"].as_f64().expect("progress is a number"), told, params["progressToken"].clone())
    })
}

#[test]
fn progress_rises_strictly_across_the_gateways_own_and_the_upstreams() {
    let rig = McpRig::parking("hold: 60s");
    let report = |n: &str| {
        let data = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":{token},"progress":N,"total":3}}"#;
        Piece::Data(data.replace('N', n))
    };
    let pieces = ["0", "0.0001", "1", "1", "0.5", "2.5"].map(report);
    rig.origin.reply(Reply::Stream(pieces.into_iter().chain([Piece::Result]).collect()));
    let (stream, id) = rig.hold(&rig.client().delete_with_token(&json!(7), &json!("p-1")));
    let own = loop {
        let event = stream.next_within(SOON);
        if let Some(told) = progress(&event) {
            assert!(event.at - stream.sent_at < Duration::from_secs(16), "every ten seconds");
            break told;
        }
    };
    assert!(own.0 > 0.0 && own.0 < 0.01, "tiny, so that the upstream's own stay above: {}", own.0);
    assert!(own.1.contains(&id) && own.1.contains("gate-delete"), "{}", own.1);
    rig.alice().approve(&id);
    let (events, _) = stream.rest_raw();
    let mut all = vec![own];
    all.extend(events.iter().filter_map(progress));
    assert_eq!(all.len(), 7, "{all:?}");
    assert!(all.windows(2).all(|pair| pair[0].0 < pair[1].0), "strictly rising: {all:?}");
    assert!(all.iter().all(|(_, _, token)| token == "p-1"), "{all:?}");
    assert_eq!(all[6].0, 2.5, "what rises by itself is left alone");
    let last = events.last().expect("events").json();
    assert_eq!((&last["id"], last["result"].is_object()), (&json!(7), true), "nothing comes after the response");
}

#[test]
fn malformed_events_of_the_upstream_pass_and_break_nothing() {
    let rig = McpRig::start();
    let odd = [
        "data: {not json\n\n",
        "data: 7\n\n",
        "data: [1,2]\n\n",
        "data: {\"method\":\"notifications/progress\",\"params\":[1]}\n\n",
        "data: {\"method\":\"notifications/progress\",\"params\":\"x\"}\n\n",
        "data: {\"method\":\"notifications/progress\"}\n\n",
        "data: {\"method\":\"notifications/progress\",\"params\":{\"progressToken\":\"another\",\"progress\":-5}}\n\n",
        "data: {\"jsonrpc\":\"2.0\",\"id\":\"7\",\"result\":{}}\n\n",
        "retry: x\nwithout-colon\n\n",
    ];
    rig.origin
        .reply(Reply::Stream(odd.iter().map(|text| Piece::Bytes((*text).into())).chain([Piece::Result]).collect()));
    let (stream, id) = rig.hold(&rig.client().delete_with_token(&json!(7), &json!("p-1")));
    rig.alice().approve(&id);
    let (events, _) = stream.rest_raw();
    let came: Vec<&str> = events.iter().filter(|event| !event.is_comment()).map(|event| event.raw.as_str()).collect();
    let mut wanted = odd.to_vec();
    let result = format!("data: {}\n\n", RESULT.replace("{id}", "7"));
    wanted.push(&result);
    assert_eq!(came, wanted);
    rig.until_outcome(&id, "succeeded");
}

#[test]
fn events_and_answers_of_any_size_pass_whole() {
    let rig = McpRig::start();
    let padding = "x".repeat(5 << 20);
    let text = RESULT.replace("done", &padding);
    let wanted: Value = serde_json::from_str(&text.replace("{id}", "7")).expect("JSON");
    let notification =
        format!("data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\",\"params\":{{\"x\":\"{padding}\"}}}}\n\n");
    rig.origin.reply(Reply::Stream(vec![Piece::Bytes(notification.clone()), Piece::Data(text.clone())]));
    let (stream, id) = rig.hold(&rig.client().delete(&json!(7)));
    rig.alice().approve(&id);
    let (events, _) = stream.rest_raw();
    let came: Vec<&Event> = events.iter().filter(|event| !event.is_comment()).collect();
    assert_eq!(came.len(), 2);
    assert!(came[0].raw == notification && came[1].json() == wanted, "byte for byte");
    // The same as one JSON document; above `limits.response_bytes_max` it is not passed in part.
    rig.origin.reply(Reply::Text(text));
    let (stream, id) = rig.hold(&rig.client().tool(&json!(7), "delete_repo", &json!({ "repo": "b" })));
    rig.alice().approve(&id);
    let answer = only_answer(&stream, &json!(7));
    let whole = answer == wanted;
    let refused = answer["result"]["_meta"]["dev.holdpoint/decision"]["status"] == "unknown";
    assert!(whole || refused, "whole or told, never cut");
}

#[test]
fn an_answer_over_several_lines_arrives_as_one_event() {
    let rig = McpRig::start();
    let text = "{\n \"jsonrpc\": \"2.0\",\r\n \"id\": {id},\r\"result\": {\"content\": []}\n}\n";
    rig.origin.reply(Reply::Text(text.into()));
    let (stream, id) = rig.hold(&rig.client().delete(&json!(7)));
    rig.alice().approve(&id);
    assert_eq!(only_answer(&stream, &json!(7)), json!({ "jsonrpc": "2.0", "id": 7, "result": { "content": [] } }));
}

#[test]
fn whatever_its_id_looks_like_a_call_gets_one_response() {
    let rig = McpRig::start();
    rig.origin.reply(Reply::Stream(vec![Piece::Result]));
    let ids = [
        json!("a/b\u{8}\u{c}\u{7f}\u{e9}\u{1f600}\u{2028}\"\\"),
        json!(-3),
        json!(9_007_199_254_740_993_i64),
        json!(""),
    ];
    for (n, id) in ids.iter().enumerate() {
        let (stream, approval) = rig.hold(&rig.client().tool(id, "delete_repo", &json!({ "n": n })));
        rig.alice().approve(&approval);
        assert!(only_answer(&stream, id)["result"]["structuredContent"].is_object());
    }
    // Beyond what most readers hold exactly; its digits come back as they were sent.
    let digits = "123456789012345678901234567890";
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":{digits},"method":"tools/call","params":{{"name":"delete_repo","arguments":{{"n":9}}}}}}"#
    );
    rig.origin.reply(Reply::Stream(vec![Piece::Data(RESULT.replace("{id}", digits))]));
    let (stream, approval) = rig.hold(&rig.client().post(&body));
    rig.alice().approve(&approval);
    let (events, _) = stream.rest_raw();
    let answers: Vec<&Event> = events.iter().filter(|event| !event.is_comment()).collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers[0].raw.contains(digits));
}
