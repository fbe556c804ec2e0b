//! Calls of 2026-07-28 that take several requests, and streams of 2025-11-25 that are taken up again.

use serde_json::{Value, json};

use crate::support::mcp::{Client, McpRig, only_answer, told};
use crate::support::mcp_origin::Reply;
use crate::support::rig::{gate_delete, repository};

fn short_rounds() -> McpRig {
    McpRig::with(|mut home| {
        home.settings.route_keys = ", inline_budget: 500ms".into();
        home.policy(&gate_delete("hold: 30s"))
    })
}

fn retry(client: &Client, id: u64, state: &Value) -> Value {
    let params = json!({ "name": "delete_repo", "arguments": repository(), "requestState": state });
    client.request(&json!(id), "tools/call", &params).send().json()
}

fn asked_again(answer: &Value) -> Value {
    assert_eq!(answer["result"]["resultType"], "input_required", "{answer}");
    assert!(answer["result"].get("inputRequests").is_none(), "nobody is asked anything: {answer}");
    answer["result"]["requestState"].clone()
}

#[test]
fn a_held_call_is_told_to_ask_again_and_runs_once_it_is_approved() {
    let rig = short_rounds();
    let client = rig.client().stateless();
    let first = asked_again(&client.delete(&json!(1)).send().json());
    let approval = rig.gateway.one_pending();
    let second = asked_again(&retry(&client, 2, &first));
    assert_eq!(rig.gateway.one_pending(), approval, "one approval for all rounds");
    rig.alice().approve(&approval);
    let answer = retry(&client, 3, &second);
    assert_eq!((&answer["id"], &answer["result"]["content"][0]["text"]), (&json!(3), &json!("done")), "{answer}");
    let sent = rig.origin.calls("delete_repo");
    assert_eq!(sent.len(), 1);
    assert!(sent[0].json()["params"].get("requestState").is_none(), "the state is the gateway's own");
}

#[test]
fn a_state_is_good_once_for_one_call_of_one_agent() {
    let rig = short_rounds();
    let client = rig.client().stateless();
    let state = asked_again(&client.delete(&json!(1)).send().json());
    let refused = |answer: &Value| assert_eq!(answer["error"]["code"], -32602, "{answer}");
    refused(&retry(&Client::new(rig.gateway.agent("other-bot")).stateless(), 2, &state));
    let other = json!({ "name": "delete_repo", "arguments": { "name": "another" }, "requestState": state });
    refused(&client.request(&json!(3), "tools/call", &other).send().json());
    let mut text = state.as_str().expect("text").to_owned();
    text.pop();
    refused(&retry(&client, 4, &json!(text)));
    asked_again(&retry(&client, 5, &state));
    refused(&retry(&client, 6, &state));
    assert_eq!(rig.deletions(), 0);
}

#[test]
fn after_nine_rounds_the_model_is_told_that_the_call_is_pending() {
    let rig = short_rounds();
    let client = rig.client().stateless();
    let mut answer = client.delete(&json!(1)).send().json();
    for round in 2..=9 {
        let state = asked_again(&answer);
        answer = retry(&client, round, &state);
    }
    told(&answer, "pending", Some(false), true);
}

#[test]
fn a_servers_question_about_an_approved_call_is_answered_under_the_same_approval() {
    let rig = McpRig::parking("hold: 30s");
    let question = r#"{"jsonrpc":"2.0","id":{id},"result":{"resultType":"input_required","requestState":"theirs","inputRequests":{"k":{"method":"elicitation/create","params":{}}}}}"#;
    rig.origin.reply(Reply::Text(question.to_owned()));
    let client = rig.client().stateless();
    let (stream, approval) = rig.hold(&client.delete(&json!(1)));
    rig.alice().approve(&approval);
    let asked = only_answer(&stream, &json!(1));
    assert_eq!(asked["result"]["inputRequests"]["k"]["method"], "elicitation/create", "{asked}");
    let state = asked["result"]["requestState"].clone();
    assert_ne!(state, "theirs", "what it is about travels with it");
    rig.origin.reply(Reply::Json);
    let params = json!({ "name": "delete_repo", "arguments": repository(), "requestState": state, "inputResponses": { "k": { "action": "accept" } } });
    let answer = client.request(&json!(2), "tools/call", &params).send().json();
    assert_eq!(answer["result"]["content"][0]["text"], "done", "{answer}");
    let sent = rig.origin.calls("delete_repo");
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[1].json()["params"]["requestState"], "theirs", "the server gets its own state back");
    assert!(rig.alice().pending().is_empty(), "nobody is asked a second time");
    let mut swapped = params;
    swapped["arguments"] = json!({ "name": "another" });
    assert_eq!(client.request(&json!(3), "tools/call", &swapped).send().json()["error"]["code"], -32602);
    // Used once, and for good: also where nobody remembers that it was.
    swapped["arguments"] = repository();
    let rig = rig.crash_and_start();
    let again = rig.client().stateless().request(&json!(4), "tools/call", &swapped).send().json();
    assert_eq!(again["error"]["code"], -32602, "{again}");
    assert_eq!(rig.deletions(), 2);
}

#[test]
fn h25_answers_to_a_question_that_nobody_asked_are_another_call_and_the_reviewer_sees_them() {
    let rig = short_rounds();
    let client = rig.client().stateless();
    asked_again(&client.delete(&json!(1)).send().json());
    let approved = rig.gateway.one_pending();
    rig.alice().approve(&approved);
    let answers = json!({ "confirm": { "action": "accept", "content": { "amount": 1_000_000 } } });
    let mut params = json!({ "name": "delete_repo", "arguments": repository(), "inputResponses": answers });
    let send = |id: u64, params: &Value| client.request(&json!(id), "tools/call", params).send().json();
    // Without a state, and with one that the gateway has not made.
    let state = asked_again(&send(2, &params));
    let asked = rig.gateway.one_pending();
    assert_ne!(asked, approved);
    assert_eq!(rig.alice().approval(&asked)["input"]["params"]["inputResponses"], answers);
    params["requestState"] = json!("a state of the caller's choice");
    asked_again(&send(3, &params));
    assert_eq!(rig.gateway.pending(2).len(), 2);
    assert_eq!(rig.deletions(), 0);
    // With the gateway's own for a call that is held, they are answers to nothing: what is sent is what was approved.
    rig.alice().reject(&asked, "Not with these.");
    params =
        json!({ "name": "delete_repo", "arguments": repository(), "requestState": state, "inputResponses": answers });
    assert_eq!(send(4, &params)["error"]["code"], -32602, "the state belongs to the call with the answers");
    assert_eq!(client.delete(&json!(5)).send().json()["result"]["content"][0]["text"], "done");
    assert_eq!(rig.deletions(), 1);
    assert!(rig.origin.calls("delete_repo")[0].json()["params"].get("inputResponses").is_none());
}

#[test]
fn answers_that_come_with_a_held_calls_state_are_not_sent() {
    let rig = short_rounds();
    let client = rig.client().stateless();
    let state = asked_again(&client.delete(&json!(1)).send().json());
    rig.alice().approve(&rig.gateway.one_pending());
    let params = json!({ "name": "delete_repo", "arguments": repository(), "requestState": state, "inputResponses": { "k": {} } });
    assert_eq!(client.request(&json!(2), "tools/call", &params).send().json()["result"]["content"][0]["text"], "done");
    let sent = rig.origin.calls("delete_repo");
    assert_eq!(sent.len(), 1);
    for member in ["inputResponses", "requestState"] {
        assert!(sent[0].json()["params"].get(member).is_none(), "{member}");
    }
}

#[test]
fn a_stream_that_broke_goes_on_where_it_was() {
    let rig = McpRig::parking("hold: 30s");
    let (stream, approval) = rig.hold(&rig.client().delete(&json!("a")));
    let event = stream.next_within(crate::support::wait::SOON).id().expect("the first event has an id").to_owned();
    stream.close();
    rig.until_waiting(&approval, 0);
    let resume = |agent: &str| {
        rig.gateway
            .agent(agent)
            .call("GET", "/mcp")
            .header("accept", "text/event-stream")
            .header("last-event-id", &event)
    };
    assert_eq!(resume("other-bot").send().status, 404, "another agent's id is none");
    let again = rig.open(&resume("bot"));
    rig.until_waiting(&approval, 1);
    rig.alice().approve(&approval);
    assert_eq!(only_answer(&again, &json!("a"))["result"]["content"][0]["text"], "done");
    assert_eq!(rig.deletions(), 1);
}
