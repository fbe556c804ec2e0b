//! What `redact` names appears nowhere but at the upstream.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::dashboard::sign_in;
use crate::support::people::Call;
use crate::support::rig::{Rig, gate_delete};

const CANARY: &str = "canary-5f1d-inside-the-body";
const IN_QUERY: &str = "canary-77ab-in-the-query";

/// The first seconds of the event stream, from the beginning of the trail.
fn stream(rig: &Rig) -> String {
    let mut socket = TcpStream::connect(rig.gateway.admin).expect("the admin listener answers");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a read time-out can be set");
    let call = rig.alice().call("GET", "/v1/events?after=0");
    socket.write_all(&call.bytes()).expect("a request can be sent");
    let mut text = String::new();
    while !text.contains("release_succeeded") {
        let mut bytes = [0; 4096];
        let count = socket.read(&mut bytes).expect("the stream says something in time");
        assert!(count > 0, "the stream ended: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    text
}

#[test]
fn what_a_condition_cannot_compute_with_is_not_quoted_in_the_trail() {
    let policy = "version: 1\ndefault: block\nrules:\n  - { id: odd, match: delete_repo, when: \"args.pin + 1 > 5\", \
                  action: require_approval, approval: { redact: [ /args/pin ] } }\n";
    let rig = Rig::with(|home| home.policy(policy));
    // Text where a number is added to, a number that is too large, and one that becomes too large.
    for pin in [json!("98765432109876543210987"), json!(98_765_432_109_876_543_210_987_f64), json!(i64::MAX)] {
        let answer = rig.bot().post("/tools/delete_repo", &json!({ "pin": pin })).header("prefer", "wait=0").send();
        answer.expect(503, "approval_pending");
    }
    let trail = rig.alice().call("GET", "/v1/audit").send().expect(200, "").text();
    assert_eq!(trail.matches("\"condition_failed\"").count(), 3, "{trail}");
    for secret in ["987654321", "9223372036854775807"] {
        assert!(!trail.contains(secret), "{trail}");
    }
}

#[test]
fn redacted_values_of_a_held_call_reach_the_upstream_and_nothing_else() {
    let settings = "hold: 30s, summary: \"Use ${args.a.b.c.d.secret} on ${args.repo}\", \
                    redact: [ /args/a/b/c/d/secret, /query/token ]";
    let rig = Rig::with(|home| home.policy(&gate_delete(settings)).key("log: { level: trace }"));
    let body = json!({ "repo": "acme/website", "a": { "b": { "c": { "d": { "secret": CANARY } } } } });
    let target = format!("/tools/delete_repo?token={IN_QUERY}&page=2");
    let waiting = rig.bot().post(&target, &body).start();
    let id = rig.gateway.one_pending();
    let cookie = sign_in(&rig, "alice");
    let bot = rig.bot();
    let look = |when: &str| {
        let get = |target: &str| rig.alice().call("GET", target);
        let page = |target: &str| Call::new(rig.gateway.admin, "GET", target).header("cookie", &cookie);
        let places = [
            get("/v1/approvals"),
            get("/v1/approvals?q=acme"),
            get(&format!("/v1/approvals/{id}")),
            get(&format!("/v1/approvals/{id}/timeline")),
            get("/v1/audit"),
            get("/v1/audit/export"),
            get("/metrics"),
            page("/dashboard/approvals"),
            page("/dashboard/approvals?view=history&status=approved"),
            page(&format!("/dashboard/approvals/{id}")),
            bot.call("GET", &format!("/_holdpoint/v1/approvals/{id}")),
        ];
        for call in places {
            let answer = call.send().expect(200, "");
            for secret in [CANARY, IN_QUERY] {
                assert!(
                    !format!("{answer:?}{}", answer.text()).contains(secret),
                    "{when}: {call:?}: {}",
                    answer.text()
                );
            }
        }
    };
    look("pending");
    let shown = rig.alice().approval(&id).to_string();
    assert!(shown.contains("[redacted]") && shown.contains("acme/website"), "the rest is shown: {shown}");
    // Another call under the same rule is told nothing either.
    let told = bot.post(&target, &json!({})).header("prefer", "wait=0").send().expect(503, "approval_pending");
    assert!(!format!("{told:?}{}", told.text()).contains(IN_QUERY), "{told:?}");
    rig.alice().approve(&id);
    waiting.answer().expect(200, "");
    rig.until_outcome(&id, "succeeded");
    look("released");
    let events = stream(&rig);
    let log = rig.gateway.log();
    assert!(events.contains(&id) && log.contains("\"TRACE\""), "both say something");
    for secret in [CANARY, IN_QUERY] {
        assert!(!events.contains(secret), "the events: {events}");
        assert!(!log.contains(secret), "the log: {log}");
    }
    // Searching for it finds nothing.
    assert!(rig.alice().approvals(&format!("q={CANARY}")).is_empty());
    // What was approved is what was sent.
    let hits = rig.origin.hits();
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0].json(), body);
    assert_eq!(hits[0].target, format!("/delete_repo?token={IN_QUERY}&page=2"));
    // Nor is it readable in the store's files.
    let files = std::fs::read_dir(rig.home.path("")).expect("the folder is readable");
    for file in files.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file()) {
        let bytes = std::fs::read(&file).expect("the file is readable");
        for secret in [CANARY, IN_QUERY] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{} holds {secret}", file.display());
        }
    }
}
