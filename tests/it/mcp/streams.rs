//! What flows on the stream of a held call: comments, progress, and whatever the upstream writes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::mcp::{Event, McpRig, only_answer, told};
use crate::support::mcp_origin::{Piece, RESULT, Reply};
use crate::support::wait::SOON;

#[test]
fn bytes_come_at_once_and_a_comment_every_fifteen_seconds() {
    let rig = McpRig::parking("hold: 60s");
    let (stream, id) = rig.hold(&rig.client().delete(&json!(7)));
    let first = stream.next_within(SOON);
    assert!(!first.is_message(), "{first:?}");
    // The first second is left for decisions that come at once.
    assert!(first.at - stream.sent_at < Duration::from_secs(4), "{:?}", first.at - stream.sent_at);
    let second = stream.next_within(SOON);
    assert_eq!(second.raw, ": keepalive\n\n", "without a token there is no progress");
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
    let own = |event: &&Event| !event.raw.starts_with("id: hp1.") && event.raw != ": keepalive\n\n";
    let came: Vec<&str> = events.iter().filter(own).map(|event| event.raw.as_str()).collect();
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
    let came: Vec<&Event> = events.iter().filter(|event| event.is_message()).collect();
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
    let answers: Vec<&Event> = events.iter().filter(|event| event.is_message()).collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers[0].raw.contains(digits));
}

#[test]
fn only_callers_that_know_what_to_do_with_it_get_an_event_without_data() {
    let rig = McpRig::start();
    for (n, (client, primed)) in [
        (rig.client(), true),
        (rig.client().revision("2025-06-18"), false),
        (rig.client().revision("2025-03-26"), false),
        (rig.client().stateless(), false),
    ]
    .into_iter()
    .enumerate()
    {
        let (stream, _) = rig.hold(&client.tool(&json!(7), "delete_repo", &json!({ "n": n })));
        let first = stream.next_within(SOON);
        assert_eq!(first.id().is_some(), primed, "{first:?}");
        assert_eq!(first.raw == ": keepalive\n\n", !primed, "{first:?}");
    }
}

#[test]
fn a_stream_that_broke_goes_on_where_its_first_event_says() {
    let rig = McpRig::start();
    let bot = rig.gateway.agent("bot");
    let (stream, id) = rig.hold(&rig.client().delete_with_token(&json!("seven"), &json!("p")));
    let event = stream.next_within(SOON).id().expect("a place to go on from").to_owned();
    stream.close();
    rig.until_waiting(&id, 0);
    let get = |agent: &crate::support::people::Agent, event: &str| {
        agent.call("GET", "/mcp").header("accept", "text/event-stream").header("last-event-id", event)
    };
    // Nobody else goes on there, and no place is invented.
    assert_eq!(get(&rig.gateway.agent("other-bot"), &event).send().status, 404);
    assert_eq!(get(&bot, &format!("{}A", &event[..event.len() - 2])).send().status, 404);
    assert_eq!(get(&bot, "hp1.").send().status, 404);
    rig.nothing_was_sent();
    let stream = rig.open(&get(&bot, &event));
    rig.until_waiting(&id, 1);
    rig.alice().approve(&id);
    assert!(only_answer(&stream, &json!("seven"))["result"]["structuredContent"].is_object());
    assert_eq!(rig.deletions(), 1);
    rig.until_outcome(&id, "succeeded");
    // Once the call is done there is nothing to go on with, and it is not sent again.
    let late = rig.open(&get(&bot, &event));
    told(&only_answer(&late, &json!("seven")), "already_executed", Some(true), false);
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn a_call_that_was_rejected_while_its_stream_was_broken_is_told_so_when_it_goes_on() {
    let rig = McpRig::start();
    let (stream, id) = rig.hold(&rig.client().delete(&json!(7)));
    let event = stream.next_within(SOON).id().expect("a place to go on from").to_owned();
    stream.close();
    rig.until_waiting(&id, 0);
    rig.alice().reject(&id, "Ask first.");
    let stream = rig.open(&rig.gateway.agent("bot").call("GET", "/mcp").header("last-event-id", &event));
    let text = told(&only_answer(&stream, &json!(7)), "rejected", Some(false), false);
    assert!(text.contains("Ask first"), "{text}");
    rig.nothing_was_sent();
}

#[test]
fn a_grant_that_nobody_used_is_never_called_executed() {
    let rig = McpRig::parking("hold: 30s, grant_ttl: 2s");
    let (stream, id) = rig.hold(&rig.client().delete(&json!(7)));
    let event = stream.next_within(SOON).id().expect("a place to go on from").to_owned();
    stream.close();
    rig.until_waiting(&id, 0);
    rig.alice().approve(&id);
    std::thread::sleep(Duration::from_millis(2100));
    let check = |what: &str| {
        let get = rig.gateway.agent("bot").call("GET", "/mcp").header("accept", "text/event-stream");
        let late = get.header("last-event-id", &event).send();
        // A document or an event, whichever comes first.
        let said = late.text();
        let said = said.lines().map(|line| line.strip_prefix("data: ").unwrap_or(line));
        let message = said.filter_map(|line| serde_json::from_str(line).ok()).find(Value::is_object);
        let text =
            told(&message.unwrap_or_else(|| panic!("{what}: {}", late.text())), "unavailable", Some(false), true);
        for part in ["NOT executed", "approved and has not been sent", "asks again", &id] {
            assert!(text.contains(part), "{what}: {part} is missing: {text}");
        }
    };
    check("its request is still stored");
    // As the sweep does it, once a minute.
    let store = rusqlite::Connection::open(rig.home.path("holdpoint.db")).expect("the store is a file");
    assert_eq!(store.execute("DELETE FROM requests", []).expect("it can be written"), 1);
    check("its request is forgotten");
    rig.nothing_was_sent();
}
