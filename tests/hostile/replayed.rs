//! An approved call that is sent again: at once, later, by somebody else, and ids that are guessed.

use std::time::Duration;

use serde_json::{Value, json};

use crate::spy::Language;
use crate::support::http::{Answer, Wire};
use crate::support::people::{Call, token};
use crate::support::rig::{Rig, gate_delete};
use crate::trap::{Trap, read};

/// How often a call is sent at once.
const TIMES: usize = 100;

/// Sends the same bytes on so many connections: each but the last byte first, so that they are all taken up at once.
fn at_once(trap: &Trap, raw: &[u8]) -> Vec<Answer> {
    let (last, rest) = raw.split_last().expect("a request has bytes");
    let mut wires: Vec<Wire> = (0..TIMES).map(|_| Wire::connect(trap.gateway.proxy)).collect();
    wires.iter_mut().for_each(|wire| wire.send(rest));
    wires.iter_mut().for_each(|wire| wire.send(&[*last]));
    wires.iter_mut().map(|wire| wire.answer().expect("an answer")).collect()
}

fn once(trap: &Trap, raw: &[u8]) -> Answer {
    let mut wire = Wire::connect(trap.gateway.proxy);
    wire.send(raw);
    wire.answer().expect("an answer")
}

/// The bytes as another agent would send them.
fn of_another_agent(raw: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(raw.to_vec()).expect("text");
    text.replace(&token("bot"), &token("other-bot")).into_bytes()
}

#[test]
fn h26_of_a_hundred_identical_calls_at_once_an_approval_releases_one() {
    for file in ["h25/approved.http", "h25/approved-under-a-key.http"] {
        let raw = read("raw", file);
        for language in Language::ALL {
            let what = format!("{file} before {language:?}");
            let mut trap = Trap::with(language, |home| home.key("limits: { pending_per_agent_max: 1000 }"));
            let granted = once(&trap, &raw).expect(503, "approval_pending").approval();
            trap.grant(&granted);
            let answers = at_once(&trap, &raw);
            let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
            assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{what}: {statuses:?}");
            let refused = |answer: &&Answer| ["approval_pending", "already_released"].contains(&answer.code().as_str());
            assert_eq!(answers.iter().filter(refused).count(), TIMES - 1, "{what}: {statuses:?}");
            trap.check_release(&what, &granted);
            // Later, one after the other: it has been used.
            for late in [raw.clone(), of_another_agent(&raw)] {
                let answer = once(&trap, &late);
                assert!([409, 503].contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
            }
            assert_eq!(trap.fresh_sightings().len(), 0, "{what}");
        }
    }
}

#[test]
fn h26_of_a_hundred_identical_messages_at_once_an_approval_releases_one() {
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "delete_repo", "arguments": {} } });
    for language in Language::ALL {
        let mut trap = Trap::mcp(language, |mut home| {
            home.settings.route_keys = ", inline_budget: 50ms".into();
            home.key("limits: { pending_per_agent_max: 1000 }")
        });
        let call = trap.gateway.agent("bot").post("/mcp", &message).header("accept", "application/json");
        let granted = call.send().expect(200, "").approval();
        trap.grant(&granted);
        let answers = at_once(&trap, &call.bytes());
        let sent = |answer: &&Answer| answer.header("holdpoint-source") == Some("upstream");
        assert_eq!(answers.iter().filter(sent).count(), 1, "before {language:?}: {answers:?}");
        trap.check_release("a message", &granted);
        let answer = once(&trap, &of_another_agent(&call.header("prefer", "wait=0").bytes()));
        assert_ne!(answer.header("holdpoint-approval"), Some(granted.as_str()), "{}", answer.text());
        assert_eq!(trap.fresh_sightings().len(), 0);
    }
}

#[test]
fn h26_an_approval_that_is_over_releases_none_of_a_hundred() {
    let raw = read("raw", "h25/approved.http");
    for language in Language::ALL {
        let mut trap = Trap::with(language, |home| {
            home.policy(&gate_delete("hold: 30s, grant_ttl: 300ms")).key("limits: { pending_per_agent_max: 1000 }")
        });
        let granted = once(&trap, &raw).expect(503, "approval_pending").approval();
        trap.grant(&granted);
        // The time that the rule gives it passes.
        std::thread::sleep(Duration::from_millis(400));
        for answer in at_once(&trap, &raw) {
            assert_ne!(answer.expect(503, "approval_pending").approval(), granted, "before {language:?}");
        }
        assert_eq!(trap.fresh_sightings().len(), 0, "before {language:?}");
    }
}

/// What is said about an id, without the id and what differs with every answer.
fn said(answer: &Answer, id: &str) -> (u16, Value) {
    let mut document = answer.json();
    if let Some(members) = document.as_object_mut() {
        members.remove("request_id");
    }
    (answer.status, serde_json::from_str(&document.to_string().replace(id, "…")).expect("still JSON"))
}

#[test]
fn h26_an_id_of_another_agents_is_answered_as_one_that_does_not_exist() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let other = rig.gateway.agent("other-bot");
    let mut missing = id.clone();
    let last = if missing.pop() == Some('0') { '1' } else { '0' };
    missing.push(last);
    let routes = [
        ("GET", ""),
        ("GET", "?wait=1s"),
        ("GET", "/result"),
        ("GET", "/timeline"),
        ("POST", "/cancel"),
        ("DELETE", ""),
        ("POST", ""),
    ];
    for (method, rest) in routes {
        let ask = |id: &str| -> Answer {
            let call = other.call(method, &format!("/_holdpoint/v1/approvals/{id}{rest}"));
            let call = match (method, rest) {
                ("POST", "/cancel") => call.json(&json!({ "reason": "mine" })),
                ("POST", _) => call.json(&json!({ "decision": "approved" })),
                _ => call,
            };
            call.send()
        };
        let (theirs, nobodys) = (ask(&id), ask(&missing));
        assert!([404, 405].contains(&theirs.status), "{method} {rest}: {} {}", theirs.status, theirs.text());
        assert_eq!(said(&theirs, &id), said(&nobodys, &missing), "{method} {rest}: the answer tells that there is one");
    }
    assert_eq!(rig.alice().approval(&id)["status"], "pending");
    waiting.hang_up();
}

#[test]
fn h26_guessed_ids_find_nothing() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let (prefix, _) = id.split_at(id.len() - 12);
    let strange = ["apr_", "apr_0", "..", "%2e%2e", "%00", "apr_%0a", "apr_*", "apr_'or'1'='1", "APR_", "-1", "0"]
        .map(str::to_owned);
    let near = (0..200).map(|n| format!("{prefix}{n:012}"));
    let cut = (1..id.len()).map(|length| id[..length].to_owned());
    for guess in near.chain(cut).chain(strange).chain([id.to_uppercase(), format!("{id}0"), format!("{id}%20")]) {
        let target = format!("/_holdpoint/v1/approvals/{guess}");
        let answer = Call::new(rig.gateway.proxy, "GET", &target).bearer(&token("bot")).send();
        // An empty id is the list.
        assert!([400, 404].contains(&answer.status), "{guess}: {} {}", answer.status, answer.text());
    }
    waiting.hang_up();
}
