//! Configuration keys that no other test shows at work: each is set to a value that the default would not explain.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::gateway::{Lines, serve};
use crate::support::home::Home;
use crate::support::http::Wire;
use crate::support::origin::{Manner, Origin};
use crate::support::people::{Call, token};
use crate::support::rig::{Rig, gate_delete, repository};
use crate::support::wait::{until, until_true};

/// With further keys of a listener.
fn listener(mut home: Home, surface: &str, keys: &str) -> Home {
    let before = format!("{surface}: {{ listen: \"127.0.0.1:0\" }}");
    let text = home.configuration();
    assert!(text.contains(&before), "{text}");
    home.settings.whole = Some(text.replace(&before, &format!("{surface}: {{ listen: \"127.0.0.1:0\", {keys} }}")));
    home
}

/// The head of a call of `bot` that needs its body.
fn head(length: usize) -> String {
    format!(
        "POST /tools/delete_repo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n",
        token("bot")
    )
}

#[test]
fn the_header_time_out_ends_a_connection_whose_head_never_comes() {
    let rig = Rig::with(|home| listener(home, "proxy", "header_timeout: 300ms"));
    let begin = Instant::now();
    let mut wire = Wire::connect(rig.gateway.proxy);
    wire.send(b"POST /tools/delete_repo HTTP/1.1\r\nHost: x\r\n");
    drop(wire.rest());
    // By default it is 10 s.
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    rig.bot().post("/tools/safe_read", &json!({})).send().expect(200, "");
}

#[test]
fn the_body_time_out_ends_a_call_whose_body_never_comes() {
    let rig = Rig::with(|home| listener(home, "proxy", "body_timeout: 300ms"));
    let begin = Instant::now();
    let mut wire = Wire::connect(rig.gateway.proxy);
    wire.send(format!("{}{{", head(40)).as_bytes());
    wire.answer().expect("an answer").expect(408, "request_timeout");
    // By default it is 30 s.
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    rig.nothing_was_sent();
}

#[test]
fn header_and_body_limits_refuse_what_is_beyond_them() {
    let limits = "limits: { header_bytes_max: 8KiB, body_bytes_max: 1KiB }";
    let rig = Rig::with(|home| home.key(limits));
    let call = rig.bot().post("/tools/safe_read", &json!({}));
    call.clone().header("x-filler", &"x".repeat(4 << 10)).send().expect(200, "");
    let refused = call.header("x-filler", &"x".repeat(12 << 10)).try_send();
    assert!(refused.is_err() || refused.is_ok_and(|answer| answer.status == 431));
    let body = json!({ "x": "x".repeat(2 << 10) });
    rig.bot().post("/tools/delete_repo", &body).send().expect(413, "too_large");
    assert_eq!(rig.origin.hits().len(), 1);
}

#[test]
fn connections_beyond_the_limit_are_closed() {
    let rig = Rig::with(|home| home.key("limits: { connections_max: 3 }"));
    let open: Vec<Wire> = (0..3).map(|_| Wire::connect(rig.gateway.proxy)).collect();
    until_true("a fourth is closed at once", || {
        let begin = Instant::now();
        Wire::connect(rig.gateway.proxy).is_closed() && begin.elapsed() < Duration::from_secs(2)
    });
    drop(open);
    until_true("there is room again", || {
        rig.bot().call("GET", "/tools/safe_status").try_send().is_ok_and(|answer| answer.status == 200)
    });
}

/// An answer of the upstream to a detached call, asked for once the call is over.
fn kept(rig: &Rig) -> impl Fn() -> crate::support::http::Answer {
    let call = rig.bot().post("/tools/delete_repo", &repository()).header("prefer", "respond-async");
    let id = call.send().expect(202, "").approval();
    rig.alice().approve(&id);
    until_true("the call is over", || {
        let state = rig.alice().approval(&id)["outcome"]["state"].clone();
        !["held", "releasing"].contains(&state.as_str().unwrap_or_default())
    });
    let get = rig.bot().call("GET", &format!("/_holdpoint/v1/approvals/{id}/result"));
    move || get.send()
}

#[test]
fn an_answer_over_the_limit_is_not_kept_and_says_so() {
    let rig = Rig::with(|home| home.key("limits: { response_bytes_max: 16 }"));
    rig.origin
        .behave(Manner::Bytes([b"HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n".as_slice(), &[b'x'; 40]].concat()));
    let answer = kept(&rig)();
    assert_eq!(answer.code(), "result_too_large", "{}", answer.text());
    assert_eq!(answer.json()["upstream_status"], 200);
}

#[test]
fn a_kept_answer_is_forgotten_when_its_time_is_over() {
    let rig = Rig::parking("hold: 30s, result_ttl: 2s");
    let get = kept(&rig);
    assert_eq!(get().status, 200);
    until_true("it is forgotten", || get().status != 200);
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn a_detached_rule_hands_every_call_to_the_gateway() {
    let rig = Rig::parking("hold: 50ms, release: detached");
    let id = rig.bot().post("/tools/delete_repo", &repository()).send().approval();
    rig.nothing_was_sent();
    rig.alice().approve(&id);
    rig.until_outcome(&id, "succeeded");
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn a_count_of_two_waits_for_a_second_person() {
    let rig = Rig::parking("hold: 30s, approvers: { group: ops, count: 2 }");
    let (waiting, id) = rig.park();
    rig.alice().approve(&id);
    assert_eq!(rig.alice().approval(&id)["status"], "pending");
    rig.nothing_was_sent();
    rig.gateway.reviewer("bob").approve(&id);
    waiting.answer().expect(200, "");
}

#[test]
fn the_deadline_and_the_summary_of_a_rule_are_shown() {
    let rig = Rig::parking("hold: 30s, sla: 1s, summary: \"Delete ${args.repo}\"");
    let (waiting, id) = rig.park();
    let shown = rig.alice().approval(&id);
    assert!(shown.to_string().contains("Delete acme/website"), "{shown}");
    until_true("the deadline is missed", || rig.alice().approval(&id)["sla"] == "breached");
    assert_eq!(rig.alice().approval(&id)["status"], "pending");
    waiting.hang_up();
}

#[test]
fn only_the_configured_hosts_and_the_public_one_are_answered() {
    let get = |rig: &Rig, host: &str| rig.alice().call("GET", "/v1/approvals").header("host", host).send().status;
    let rig = Rig::with(|home| listener(home, "admin", "public_url: \"https://holds.example\""));
    assert_eq!((get(&rig, "holds.example"), get(&rig, "localhost"), get(&rig, "other.example")), (200, 200, 403));
    drop(rig);
    // The rig itself speaks to `localhost`.
    let rig = Rig::with(|home| listener(home, "admin", "allowed_hosts: [ localhost, holds.example ]"));
    assert_eq!((get(&rig, "holds.example"), get(&rig, "127.0.0.1"), get(&rig, "localhost")), (200, 403, 200));
}

#[test]
fn a_session_lasts_as_long_as_configured() {
    let rig = Rig::with(|home| listener(home, "admin", "session_ttl: 7m"));
    let form = Call::new(rig.gateway.admin, "POST", "/dashboard/sign-in")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("origin", "http://localhost")
        .body(format!("token={}", token("alice")));
    let answer = form.send();
    assert_eq!(answer.status, 303, "{}", answer.text());
    let cookie = answer.header("set-cookie").expect("a session");
    assert!(cookie.contains("Max-Age=420"), "{cookie}");
}

#[test]
fn patterns_of_a_rule_are_held_against_the_call_itself() {
    let policy = "version: 1\ndefault: block\nrules:\n\
                  \x20 - { id: by-agent, match: { tool: safe_read, agent: \"other-*\" }, action: block }\n\
                  \x20 - { id: by-method, match: { tool: \"*\", method: GET }, action: block }\n\
                  \x20 - { id: by-path, match: { tool: \"*\", path: /delete_repo }, action: block }\n\
                  \x20 - { id: by-upstream, match: { tool: \"*\", upstream: elsewhere }, action: block }\n\
                  \x20 - { id: by-pattern, match: { tool_regex: \"safe_r[a-e]+d\" }, action: allow }\n";
    let rig = Rig::with(|home| home.policy(policy));
    let rule = |call: Call| call.send().expect(403, "blocked").json()["rule"].clone();
    rig.bot().post("/tools/safe_read", &json!({})).send().expect(200, "");
    assert_eq!(rule(rig.gateway.agent("other-bot").post("/tools/safe_read", &json!({}))), "by-agent");
    assert_eq!(rule(rig.bot().call("GET", "/tools/safe_status")), "by-method");
    assert_eq!(rule(rig.bot().post("/tools/delete_repo", &repository())), "by-path");
    assert_eq!(rule(rig.bot().post("/tools/call", &json!({}))), Value::Null, "only the default is left");
}

#[test]
fn the_log_speaks_at_the_configured_level() {
    let rig = |level: &str| {
        let rig = Rig::with(|home| home.key(&format!("log: {{ level: {level} }}")));
        rig.bot().post("/tools/safe_read", &json!({})).send().expect(200, "");
        rig
    };
    let says_more =
        |rig: &Rig| rig.gateway.log().lines().any(|line| line.contains("\"DEBUG\"") || line.contains("\"TRACE\""));
    let trace = rig("trace");
    until_true("the log says more", || says_more(&trace));
    assert!(!says_more(&rig("info")));
}

#[test]
fn the_log_is_text_for_people_where_that_is_configured() {
    let origin = Origin::start();
    let home = Home::new(origin.address).key("log: { format: text }");
    let mut child = serve(&home).spawn().expect("it can be started");
    let log = Lines::of(child.stderr.take().expect("its standard error is piped"));
    let announced = until("a listener is announced", || log.all().into_iter().find(|line| line.contains("listening")));
    drop(child.kill());
    drop(child.wait());
    assert!(serde_json::from_str::<Value>(&announced).is_err(), "{announced}");
}

#[test]
fn a_held_call_is_sent_only_with_the_key_that_it_was_sealed_with() {
    let key = |byte: char| format!("{}=", byte.to_string().repeat(43));
    let rig = Rig::with(|home| with_keys(home.policy(&gate_delete("hold: 30s")), &key('I'), &[]));
    let call = rig.bot().post("/tools/delete_repo", &repository()).header("prefer", "respond-async");
    let id = call.send().expect(202, "").approval();
    let Rig { gateway, mut home, origin } = rig;
    gateway.crash();
    home.settings.whole = None;
    home = with_keys(home, &key('E'), &[]);
    let refused = serve(&home).output().expect("the binary can be run");
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("store.previous_secret_keys") && said.contains("holdpoint.db.key"), "{said}");
    home.settings.whole = None;
    let home = with_keys(home, &key('E'), &[&key('I')]);
    let rig = Rig { gateway: crate::support::gateway::Gateway::start(&home), home, origin };
    rig.nothing_was_sent();
    rig.alice().approve(&id);
    rig.until_outcome(&id, "succeeded");
    assert_eq!(rig.deletions(), 1);
}

/// With the store sealed under `key`, and `previous` ones at hand.
pub(crate) fn with_keys(mut home: Home, key: &str, previous: &[&str]) -> Home {
    let text = home.configuration();
    let store = "store: \"sqlite://holdpoint.db\"";
    assert!(text.contains(store), "{text}");
    let previous = previous.iter().map(|key| format!("\"{key}\"")).collect::<Vec<_>>().join(", ");
    let keyed = format!(
        "store: {{ url: \"sqlite://holdpoint.db\", secret_key: \"{key}\", previous_secret_keys: [{previous}] }}"
    );
    home.settings.whole = Some(text.replace(store, &keyed));
    home
}
