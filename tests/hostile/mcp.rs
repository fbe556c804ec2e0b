//! The same attempts against an MCP endpoint: no JSON-RPC message gets `delete_repo` past `safe_*`.
//!
//! `tests/corpus/mcp/index.json` holds messages with their headers; the bodies of `tests/corpus/hostile` are posted as well. The
//! spies read them as loosely as any server might, and also go by the headers.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::spy::Language;
use crate::support::http::{Answer, Wire};
use crate::support::people::{Call, token};

use crate::trap::{Body, Trap, index, read};

/// A message of the corpus and what must come of it; `tests/corpus/mcp/README.md` says what each key means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    row: String,
    pub(super) what: String,
    pub(super) body: String,
    #[serde(default)]
    pub(super) headers: Vec<(String, Option<String>)>,
    answer: String,
    after: Option<String>,
}

/// A gateway that takes the spy for an MCP server and tells callers of held calls almost at once that they are pending.
pub(super) fn trap(language: Language) -> Trap {
    Trap::mcp(language, |mut home| {
        home.settings.bot_keys = ", inline_budget: 50ms".into();
        home.key("limits: { pending_per_agent_max: 1000 }")
    })
}

pub(super) fn post(trap: &Trap, headers: &[(String, Option<String>)], body: &[u8]) -> Call {
    let mut call = trap.gateway.agent("bot").call("POST", "/mcp");
    call = call.header("accept", "application/json, text/event-stream");
    if !headers.iter().any(|(name, _)| name == "content-type") {
        call = call.header("content-type", "application/json");
    }
    for (name, value) in headers {
        if let Some(value) = value {
            call = call.header(name, value);
        }
    }
    call.body(body)
}

/// What `holdpoint_rejected_requests_total` calls a problem.
fn reason(code: &str) -> &str {
    match code {
        "invalid_message" => "bad_json",
        "unsupported_media_type" => "media_type",
        code => code,
    }
}

/// Replays a message after another one was approved: it must not be let through by that approval, and the approved one runs once.
fn check_after(trap: &mut Trap, what: &str, case: &Message, approved: &str) {
    let send = |trap: &Trap| post(trap, &case.headers, approved.as_bytes()).send().expect(200, "");
    let granted = send(trap).approval();
    trap.grant(&granted);
    let answer = check(trap, what, &case.headers, case.body.as_bytes(), &case.answer);
    assert_ne!(answer.header("holdpoint-approval"), Some(granted.as_str()), "{what}: rides the approval");
    assert_eq!(send(trap).header("holdpoint-source"), Some("upstream"), "{what}: the approved call still runs");
    trap.check_release(what, &granted);
}

/// Sends a message and checks the answer, the counter, the trail, and what the spy saw.
fn check(trap: &mut Trap, what: &str, headers: &[(String, Option<String>)], body: &[u8], expected: &str) -> Answer {
    let (code, rpc_code) = expected.split_once(' ').unwrap_or((expected, ""));
    let before = (trap.rejected(reason(code)), trap.rejected_in_all(), trap.refusals());
    let judged = trap.judged();
    let answer = post(trap, headers, body).send();
    let sightings = trap.fresh_sightings();
    for sighting in &sightings {
        trap.check_sighting(what, sighting);
    }
    let seen = usize::from(expected == "passes");
    assert_eq!(sightings.len(), seen, "{what}: what the upstream saw; answered {}", answer.text());
    let refused = f64::from(u8::from(!rpc_code.is_empty()));
    assert_eq!(trap.rejected_in_all() - before.1, refused, "{what}: requests counted as refused");
    assert_eq!(trap.refusals() - before.2, refused, "{what}: records in the trail");
    trap.check_judged(what, judged, |code| match code {
        "blocked" => usize::from(expected == "denied"),
        "approval_pending" => usize::from(expected == "held"),
        _ => 0,
    });
    if rpc_code.is_empty() {
        check_judged(what, expected, &answer);
        return answer;
    }
    assert_eq!(trap.rejected(reason(code)) - before.0, 1.0, "{what}: the counter `{}`", reason(code));
    check_refused(what, code, rpc_code, &answer);
    answer
}

/// A message that was read and judged.
fn check_judged(what: &str, expected: &str, answer: &Answer) {
    assert_eq!(answer.status, 200, "{what}: {}", answer.text());
    let result = &answer.json()["result"];
    let status = &result["_meta"]["dev.holdpoint/decision"]["status"];
    match expected {
        "passes" => assert_eq!(answer.header("holdpoint-source"), Some("upstream"), "{what}"),
        "denied" => assert_eq!(status, "denied", "{what}: {}", answer.text()),
        "held" => {
            assert!(status == "pending" || result["resultType"] == "input_required", "{what}: {}", answer.text());
            assert!(answer.approval().starts_with("apr_"), "{what}");
        }
        other => panic!("{what}: the index says `{other}`"),
    }
}

/// A message that was refused: a status that says so, and an error that an MCP client can read.
fn check_refused(what: &str, code: &str, rpc_code: &str, answer: &Answer) {
    let status = match code {
        "too_large" => 413,
        "unsupported_media_type" => 415,
        _ => 400,
    };
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (status, Some("application/json")),
        "{what}: {}",
        answer.text()
    );
    let message = answer.json();
    let error = &message["error"];
    assert_eq!((message["jsonrpc"].as_str(), message.get("result")), (Some("2.0"), None), "{what}");
    assert!(message.get("id").is_some_and(|id| !id.is_object() && !id.is_array()), "{what}: {message}");
    assert_eq!(error["code"].to_string(), rpc_code, "{what}: {message}");
    assert_eq!(error["data"]["dev.holdpoint/problem"]["code"], code, "{what}: {message}");
    assert!(error["message"].as_str().is_some_and(|text| text.len() > 10), "{what}: {message}");
}

/// What the MCP endpoint answers to a body of the other corpus.
fn expected_of(case: &Body) -> String {
    match (&case.mcp, case.expect.as_str()) {
        (Some(mcp), _) => mcp.clone(),
        (None, "read") => panic!("{}: the index does not say what the MCP endpoint answers", case.file),
        (None, code) => format!("{code} -32700"),
    }
}

/// Replays everything that the corpora hold for a row, before every spy.
fn replay(row: &str) {
    let messages: Vec<Message> = index("mcp");
    let bodies: Vec<Body> = index("hostile");
    assert!(messages.iter().any(|case| case.row == row), "no case for {row}");
    for language in Language::ALL {
        let mut trap = trap(language);
        for case in messages.iter().filter(|case| case.row == row) {
            let what = format!("{row}: {} before {language:?}", case.what);
            match &case.after {
                Some(approved) => check_after(&mut trap, &what, case, approved),
                None => drop(check(&mut trap, &what, &case.headers, case.body.as_bytes(), &case.answer)),
            }
        }
        for case in bodies.iter().filter(|case| case.row == row) {
            let what = format!("{} before {language:?}", case.file);
            let body = read("hostile", &case.file);
            drop(check(&mut trap, &what, &[], &body, &expected_of(case)));
        }
        assert_eq!(trap.gateway.metric("holdpoint_calls_abandoned_total", &[]), 0.0);
    }
}

#[test]
fn every_row_of_the_mcp_corpus_has_a_test() {
    let messages: Vec<Message> = index("mcp");
    let rows: Vec<String> = (1..=14).chain([25]).map(|row| format!("H{row}")).collect();
    for case in &messages {
        assert!(rows.contains(&case.row), "{}: {} has no test", case.what, case.row);
    }
    let mut names: Vec<(&str, &str)> = messages.iter().map(|case| (case.row.as_str(), case.what.as_str())).collect();
    names.sort_unstable();
    names.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1], "one description for two cases"));
}

#[test]
fn h01_equal_keys_in_a_message_are_refused() {
    replay("H1");
}

#[test]
fn h02_keys_and_methods_that_differ_in_case_only_are_refused() {
    replay("H2");
}

#[test]
fn h03_keys_and_methods_that_fold_into_each_other_are_refused() {
    replay("H3");
}

#[test]
fn h04_keys_and_methods_with_invisible_characters_are_refused() {
    replay("H4");
}

#[test]
fn h05_tool_names_that_are_no_plain_token_are_refused_and_others_fall_to_the_default() {
    replay("H5");
}

#[test]
fn h06_batches_of_every_shape_and_revision_are_refused() {
    replay("H6");
    let mut trap = trap(Language::Python);
    let call = |name: &str| json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": name } });
    let mut batch = vec![call("safe_read"); 5_000];
    batch.push(call("delete_repo"));
    batch.extend(vec![call("safe_read"); 4_999]);
    let answer = post(&trap, &[], Value::Array(batch).to_string().as_bytes()).send();
    assert!([400, 413].contains(&answer.status), "{} {}", answer.status, answer.text());
    assert!(answer.json()["error"]["code"].is_i64(), "{}", answer.text());
    assert_eq!(trap.fresh_sightings().len(), 0);
}

#[test]
fn h07_what_is_not_one_json_document_is_no_message() {
    replay("H7");
}

#[test]
fn h08_other_encodings_are_no_message() {
    replay("H8");
}

#[test]
fn h09_messages_with_a_content_encoding_are_refused() {
    replay("H9");
}

#[test]
fn h10_messages_of_another_content_type_are_refused() {
    replay("H10");
}

#[test]
fn h11_arrays_and_other_values_where_objects_belong_are_refused() {
    replay("H11");
}

#[test]
fn h12_numbers_for_ids_and_tokens_are_integers_and_arguments_keep_their_digits() {
    replay("H12");
    let trap = trap(Language::Python);
    let digits = r#"{"n":9007199254740993,"m":1.000,"k":-0}"#;
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"delete_repo","arguments":{digits}}}}}"#
    );
    let answer = post(&trap, &[], body.as_bytes()).send();
    let shown = trap.gateway.reviewer("alice").call("GET", &format!("/v1/approvals/{}", answer.approval())).send();
    assert!(shown.text().contains(digits), "{}", shown.text());
}

#[test]
fn h13_depth_and_length_of_messages_are_refused() {
    replay("H13");
    let mut trap = trap(Language::Node);
    let before = trap.gateway.resident_bytes();
    let long = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"safe_read","arguments":{{"a":"{}"}}}}}}"#,
        "x".repeat(100_000_000)
    );
    let answer = post(&trap, &[], long.as_bytes()).send();
    assert_eq!(
        (answer.status, answer.json()["error"]["data"]["dev.holdpoint/problem"]["code"].as_str()),
        (413, Some("too_large"))
    );
    assert!(trap.gateway.resident_bytes() < before + (64 << 20), "it was not read");
    assert_eq!(trap.fresh_sightings().len(), 0);
}

#[test]
fn h14_headers_that_contradict_the_body_are_refused_and_the_body_decides() {
    replay("H14");
}

#[test]
fn h25_another_message_than_the_one_that_was_approved_asks_anew() {
    replay("H25");
}

/// The ids that the gateway hands out are no rights: naming one opens nothing.
#[test]
fn h25_a_call_that_names_the_approval_of_another_asks_anew() {
    let call = |meta: &Value, repo: &str| {
        let params = json!({ "name": "delete_repo", "arguments": { "repo": repo }, "_meta": meta });
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string()
    };
    for language in Language::ALL {
        let mut trap = trap(language);
        let approved = call(&json!({}), "approved");
        let granted = post(&trap, &[], approved.as_bytes()).send().expect(200, "").approval();
        trap.grant(&granted);
        let headers = [("holdpoint-approval".to_owned(), Some(granted.clone()))];
        for (what, body) in [
            ("in a header", call(&json!({}), "another")),
            ("in the gateway's own part of `_meta`", call(&json!({ "dev.holdpoint/approvalId": granted }), "another")),
            ("in an argument", call(&json!({}), &granted)),
        ] {
            let answer = check(&mut trap, what, &headers, body.as_bytes(), "held");
            assert_ne!(answer.approval(), granted, "{what}");
        }
        // Another agent, with the very bytes that were approved.
        let bytes = post(&trap, &[], approved.as_bytes()).bytes();
        let theirs = String::from_utf8(bytes).expect("text").replace(&token("bot"), &token("other-bot"));
        let mut wire = Wire::connect(trap.gateway.proxy);
        wire.send(theirs.as_bytes());
        let answer = wire.head().expect("an answer");
        assert_ne!(answer.approval(), granted);
        assert_eq!(trap.fresh_sightings().len(), 0, "the other agent's call is held");
        // Retries of a call have ids of their own: it is the same call, and runs once.
        let retried = approved.replace("\"id\":1", "\"id\":2");
        let ran = post(&trap, &[], retried.as_bytes()).send().expect(200, "");
        assert_eq!(ran.json()["id"], Value::Null, "the spies answer with a document of their own");
        trap.check_release("a retry", &granted);
    }
}
