//! What the caller of a plain HTTP call sees: allowed, blocked, held and decided, pending, asynchronous, limited, failed.

use serde_json::json;

use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::origin::{Manner, Nowhere};
use crate::support::people::token;
use crate::support::rig::{Rig, gate_delete, repository};
use crate::support::wait::{until, until_true};

#[test]
fn an_allowed_call_and_its_answer_pass_byte_for_byte() {
    let rig = Rig::start();
    let head = "HTTP/1.1 203 Non-Authoritative Information\r\nx-twice: 1\r\nx-twice: 2\r\nset-cookie: a=b; Path=/\r\n\
                content-type: application/octet-stream\r\ncontent-length: 6\r\n\r\n";
    rig.origin.behave(Manner::Bytes([head.as_bytes(), b"\x00\xff\r\n\r\n"].concat()));
    let body = "{ \"a\" : 1.000,\r\n\t\"z\":9007199254740993 }\n";
    let call = rig.bot().call("POST", "/tools/safe_read?q=%20a&q=b").header("content-type", "application/json");
    let answer = call.body(body).send();
    assert_eq!((answer.status, answer.body.as_slice()), (203, b"\x00\xff\r\n\r\n".as_slice()));
    let of = |name: &str| -> Vec<&str> {
        answer.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    };
    assert_eq!(of("x-twice"), ["1", "2"]);
    assert_eq!(of("set-cookie"), ["a=b; Path=/"]);
    assert_eq!(of("content-type"), ["application/octet-stream"]);
    assert_eq!(of("holdpoint-source"), ["upstream"]);
    assert_eq!(of("holdpoint-request-id").len(), 1);
    assert_eq!(of("holdpoint-approval"), Vec::<&str>::new());
    let hits = rig.origin.hits();
    assert_eq!(hits.len(), 1);
    assert_eq!((hits[0].method.as_str(), hits[0].target.as_str()), ("POST", "/safe_read?q=%20a&q=b"));
    assert_eq!(hits[0].body, body.as_bytes());
}

#[test]
fn a_blocked_call_is_refused_with_rule_and_reason_and_never_sent() {
    let policy =
        "version: 1\nrules:\n  - { id: no-deletes, match: \"*delete*\", action: block, reason: Deletions are off. }\n";
    let rig = Rig::with(|home| home.policy(policy));
    let answer = rig.bot().post("/tools/delete_repo", &repository()).send().expect(403, "blocked");
    let problem = answer.json();
    assert_eq!(
        (problem["rule"].as_str(), problem["reason"].as_str()),
        (Some("no-deletes"), Some("Deletions are off."))
    );
    assert!(problem["type"].as_str().is_some_and(|kind| kind.ends_with("/blocked")), "{problem}");
    assert_eq!((problem["status"].as_u64(), problem["retryable"].as_bool()), (Some(403), Some(false)));
    assert_eq!(answer.header("holdpoint-source"), Some("policy"));
    rig.nothing_was_sent();
    assert_eq!(rig.gateway.metric("holdpoint_requests_total", &[("upstream", "tools"), ("verdict", "BLOCKED")]), 1.0);
    assert!(rig.alice().events(None).contains(&"call_blocked".to_owned()));
}

#[test]
fn an_audited_call_passes_and_is_written_down_first() {
    let policy = "version: 1\ndefault: block\nrules:\n  - { id: watch, match: safe_read, action: audit }\n";
    let rig = Rig::with(|home| home.policy(policy));
    rig.bot().post("/tools/safe_read", &json!({})).send().expect(200, "");
    let trail = rig.alice().trail();
    let event = trail.iter().map(|record| &record["event"]).find(|event| event["kind"] == "call_audited");
    let event = event.expect("an audit verdict leaves a record");
    assert_eq!(event["detail"]["rule"], "watch");
    assert_eq!(event["actor"], json!({ "agent": "bot" }));
}

#[test]
fn a_held_call_that_is_approved_gets_the_upstreams_answer() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    rig.nothing_was_sent();
    let shown = rig.alice().approval(&id);
    assert_eq!(shown["status"], "pending");
    assert_eq!((&shown["name"], &shown["agent"]), (&json!("delete_repo"), &json!("bot")));
    assert_eq!((&shown["method"], &shown["target"]), (&json!("POST"), &json!("/delete_repo")));
    assert_eq!(shown["input"]["args"], repository());
    assert_eq!(
        (&shown["rule"], &shown["rule_reason"]),
        (&json!("gate-delete"), &json!("Deleting needs a second pair of eyes."))
    );
    assert_eq!(shown["caller"]["waiting"], 1);
    rig.alice().approve(&id);
    let answer = waiting.answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, "{\"hit\":1}"));
    assert_eq!(answer.header("holdpoint-approval"), Some(id.as_str()));
    assert_eq!(answer.header("holdpoint-source"), Some("upstream"));
    assert_eq!(rig.deletions(), 1);
    assert_eq!(rig.origin.hits()[0].json(), repository());
    let done = rig.until_outcome(&id, "succeeded");
    assert_eq!((&done["status"], &done["outcome"]["upstream_status"]), (&json!("approved"), &json!(200)));
    let told = ["approval_created", "approval_approved", "release_started", "release_succeeded"];
    let events: Vec<String> =
        rig.alice().events(Some(&id)).into_iter().filter(|kind| told.contains(&kind.as_str())).collect();
    assert_eq!(events, told);
}

#[test]
fn a_held_call_that_is_rejected_gets_the_reviewers_reason() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    rig.alice().reject(&id, "Ask the owners first.");
    let answer = waiting.answer().expect(403, "rejected");
    let problem = answer.json();
    assert_eq!((&problem["reason"], &problem["decided_by"]), (&json!("Ask the owners first."), &json!("alice")));
    assert_eq!(answer.approval(), id);
    assert_eq!(answer.header("holdpoint-source"), Some("reviewer"));
    rig.nothing_was_sent();
}

#[test]
fn a_held_call_that_nobody_decides_expires_into_a_refusal() {
    let rig = Rig::parking("hold: 30s, expires_in: 1s");
    let (waiting, id) = rig.park();
    let answer = waiting.answer().expect(403, "expired");
    assert_eq!(answer.approval(), id);
    assert_eq!(rig.alice().approval(&id)["status"], "expired");
    let late = rig.alice().try_decide(&id, "approved", None).expect(409, "already_decided");
    assert_eq!(late.json()["approval_status"], "expired");
    rig.nothing_was_sent();
}

#[test]
fn when_the_hold_is_over_the_caller_is_told_where_to_look_and_that_nothing_was_sent() {
    let rig = Rig::parking("hold: 100ms");
    let answer = rig.bot().post("/tools/delete_repo", &repository()).send().expect(503, "approval_pending");
    let id = answer.approval();
    let location = format!("/_holdpoint/v1/approvals/{id}");
    assert_eq!(answer.header("location"), Some(location.as_str()));
    assert!(
        answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().is_ok_and(|seconds| seconds > 0))
    );
    assert_eq!(answer.json()["retryable"], true);
    let seen = rig.bot().approval(&id).expect(200, "").json();
    assert_eq!((&seen["id"], &seen["status"]), (&json!(id), &json!("pending")));
    rig.nothing_was_sent();
}

#[test]
fn prefer_wait_shortens_and_lengthens_the_hold_within_the_cap() {
    let rig = Rig::with(|home| home.policy(&gate_delete("hold: 30s")).key("limits: { wait_max: 1s }"));
    let call = rig.bot().post("/tools/delete_repo", &repository());
    call.clone().header("prefer", "wait=0").send().expect(503, "approval_pending");
    // Asks for far more than the cap: comes back at the cap, long before the rule's own hold.
    let begin = std::time::Instant::now();
    call.header("prefer", "wait=600").send().expect(503, "approval_pending");
    let waited = begin.elapsed().as_secs_f64();
    assert!((0.9..20.0).contains(&waited), "waited {waited} s");
    assert_eq!(rig.gateway.pending(1).len(), 1, "the second call joined the first one's approval");
}

#[test]
fn respond_async_hands_the_call_to_the_gateway_and_keeps_its_answer() {
    let rig = Rig::start();
    let call = rig.bot().post("/tools/delete_repo", &repository()).header("prefer", "respond-async");
    let answer = call.send().expect(202, "");
    let location = answer.header("location").expect("where to look").to_owned();
    assert!(answer.header("retry-after").is_some());
    let id = answer.approval();
    assert_eq!(location, format!("/_holdpoint/v1/approvals/{id}"));
    rig.bot().call("GET", &format!("{location}/result")).send().expect(409, "no_result");
    rig.nothing_was_sent();
    rig.alice().approve(&id);
    rig.until_outcome(&id, "succeeded");
    for _ in 0..2 {
        let result = rig.bot().call("GET", &format!("{location}/result")).send();
        assert_eq!((result.status, result.text().as_str()), (200, "{\"hit\":1}"));
    }
    // Whoever has the id and not the identity learns nothing.
    let other = rig.gateway.agent("other-bot").call("GET", &format!("{location}/result")).send();
    other.expect(404, "not_found");
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn a_detached_call_runs_after_a_restart_without_its_caller() {
    let rig = Rig::start();
    let call = rig.bot().post("/tools/delete_repo", &repository()).header("prefer", "respond-async");
    let id = call.send().expect(202, "").approval();
    let Rig { gateway, home, origin } = rig;
    gateway.crash();
    let rig = Rig { gateway: Gateway::start(&home), home, origin };
    rig.alice().approve(&id);
    rig.until_outcome(&id, "succeeded");
    assert_eq!(rig.deletions(), 1);
    assert_eq!(rig.origin.hits()[0].json(), repository());
    let Rig { gateway, home, origin } = rig;
    gateway.crash();
    let rig = Rig { gateway: Gateway::start(&home), home, origin };
    let result = rig.bot().call("GET", &format!("/_holdpoint/v1/approvals/{id}/result")).send();
    assert_eq!((result.status, result.text().as_str()), (200, "{\"hit\":1}"));
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn the_callers_credential_never_reaches_the_upstream_and_the_configured_headers_do() {
    let rig = Rig::with(|home| {
        home.upstream_key("headers: { authorization: \"Bearer ${UPSTREAM_TOKEN}\", x-team: platform }")
            .environment("UPSTREAM_TOKEN", "the-upstreams-own")
    });
    rig.bot().post("/tools/safe_read", &json!({})).header("x-team", "forged").send().expect(200, "");
    let (waiting, id) = rig.park();
    rig.alice().approve(&id);
    waiting.answer().expect(200, "");
    let hits = rig.origin.hits();
    assert_eq!(hits.len(), 2, "{hits:?}");
    for hit in &hits {
        assert_eq!(hit.header("authorization"), Some("Bearer the-upstreams-own"));
        assert_eq!(hit.header("x-team"), Some("platform"));
        let all = format!("{hit:?}");
        assert!(!all.contains(&token("bot")), "{all}");
        assert_eq!(hit.headers.iter().filter(|(name, _)| name == "x-team").count(), 1);
    }
    let trail = format!("{:?}{}", rig.alice().trail(), rig.gateway.log());
    assert!(!trail.contains("the-upstreams-own") && !trail.contains(&token("bot")));
}

#[test]
fn the_callers_own_authorization_passes_when_its_credential_travels_apart() {
    let rig = Rig::start();
    let call = crate::support::people::Call::new(rig.gateway.proxy, "GET", "/tools/safe_status");
    let call = call.header("holdpoint-token", &token("bot")).header("authorization", "Basic dXNlcjpwYXNz");
    call.send().expect(200, "");
    let hits = rig.origin.hits();
    assert_eq!(hits[0].header("authorization"), Some("Basic dXNlcjpwYXNz"));
    assert_eq!(hits[0].header("holdpoint-token"), None);
}

#[test]
fn a_full_queue_refuses_with_the_limit_that_was_reached_and_serves_the_others() {
    let rig = Rig::with(|home| {
        home.policy(&gate_delete("hold: 50ms")).key("limits: { pending_per_agent_max: 2, pending_total_max: 3 }")
    });
    let ask =
        |agent: &str, repo: u32| rig.gateway.agent(agent).post("/tools/delete_repo", &json!({ "repo": repo })).send();
    ask("bot", 1).expect(503, "approval_pending");
    ask("bot", 2).expect(503, "approval_pending");
    let refused = ask("bot", 3).expect(429, "queue_full");
    assert_eq!(refused.json()["limit"], "pending_per_agent_max");
    assert!(refused.header("retry-after").is_some());
    ask("other-bot", 1).expect(503, "approval_pending");
    assert_eq!(ask("other-bot", 2).expect(429, "queue_full").json()["limit"], "pending_total_max");
    rig.bot().post("/tools/safe_read", &json!({})).send().expect(200, "");
    assert_eq!(rig.gateway.pending(3).len(), 3);
    // One decided makes room for one.
    let ids = rig.gateway.pending(3);
    rig.alice().reject(&ids[0], "Not today.");
    ask("bot", 3).expect(503, "approval_pending");
}

#[test]
fn an_upstream_that_cannot_be_reached_returns_the_permit_and_the_retry_uses_it() {
    let nowhere = Nowhere::reserve();
    let home = Home::new(nowhere.address);
    let gateway = Gateway::start(&home);
    let (bot, alice) = (gateway.agent("bot"), gateway.reviewer("alice"));
    let waiting = bot.post("/tools/delete_repo", &repository()).start();
    let id = gateway.one_pending();
    alice.approve(&id);
    let answer = waiting.answer().expect(502, "upstream_unreachable");
    assert_eq!((answer.approval(), answer.json()["retryable"].as_bool()), (id.clone(), Some(true)));
    assert_eq!(answer.header("holdpoint-outcome"), None);
    let outcome = until("the failure is recorded", || {
        let outcome = alice.approval(&id)["outcome"].clone();
        (outcome["state"] == "failed").then_some(outcome)
    });
    assert_eq!(outcome["retry_allowed"], true);
    let origin = nowhere.listen();
    let retried = bot.post("/tools/delete_repo", &repository()).send().expect(200, "");
    assert_eq!(retried.approval(), id, "the permit that was returned is used, nobody is asked again");
    assert_eq!(origin.count("/delete_repo"), 1);
}

#[test]
fn an_upstream_lost_after_sending_leaves_an_unknown_outcome_for_a_person_to_settle() {
    let rig = Rig::start();
    rig.origin.behave(Manner::Close);
    let (waiting, id) = rig.park();
    rig.alice().approve(&id);
    let answer = waiting.answer().expect(502, "outcome_unknown");
    assert_eq!(answer.header("holdpoint-outcome"), Some("unknown"));
    assert_eq!(answer.json()["retryable"], false);
    rig.until_outcome(&id, "unknown");
    assert_eq!(rig.deletions(), 1);
    // Nothing sends it again: not the gateway, and not a decision.
    rig.origin.behave(Manner::Count);
    let resolve = |note: &str, outcome: &str| {
        let body = json!({ "outcome": outcome, "note": note });
        rig.alice().call("POST", &format!("/v1/approvals/{id}/resolve")).json(&body).send()
    };
    assert_eq!(resolve("", "committed").status, 400);
    resolve("The repository is gone.", "committed").expect(200, "");
    let resolved = rig.until_outcome(&id, "resolved");
    assert_eq!(
        (&resolved["resolution"]["outcome"], &resolved["resolution"]["by"]),
        (&json!("committed"), &json!("alice"))
    );
    resolve("Again.", "not_committed").expect(409, "not_unknown");
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn an_answer_that_breaks_off_half_way_is_an_unknown_outcome() {
    let rig = Rig::start();
    rig.origin.behave(Manner::BytesAndClose(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec()));
    let (waiting, id) = rig.park();
    rig.alice().approve(&id);
    drop(waiting.outcome());
    rig.until_outcome(&id, "unknown");
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn an_upstream_that_does_not_answer_in_time_is_an_unknown_outcome() {
    let rig = Rig::with(|home| home.upstream_key("timeout: 300ms"));
    rig.origin.behave(Manner::Wait);
    let (waiting, id) = rig.park();
    rig.alice().approve(&id);
    let answer = waiting.answer().expect(504, "upstream_timeout");
    assert_eq!(answer.header("holdpoint-outcome"), Some("unknown"));
    rig.until_outcome(&id, "unknown");
}

#[test]
fn an_agent_can_withdraw_its_own_call_and_nobody_elses() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let target = format!("/_holdpoint/v1/approvals/{id}/cancel");
    rig.gateway.agent("other-bot").post(&target, &json!({})).send().expect(404, "not_found");
    assert_eq!(rig.alice().approval(&id)["status"], "pending");
    rig.bot().post(&target, &json!({ "reason": "Not needed any more." })).send().expect(200, "");
    waiting.answer().expect(403, "cancelled");
    rig.alice().try_decide(&id, "approved", None).expect(409, "already_decided");
    rig.nothing_was_sent();
}

#[test]
fn without_a_known_credential_nothing_is_judged() {
    let rig = Rig::start();
    let call = |token: Option<&str>| {
        let call = crate::support::people::Call::new(rig.gateway.proxy, "POST", "/tools/safe_read").json(&json!({}));
        token.map_or(call.clone(), |token| call.bearer(token)).send()
    };
    let answer = call(None).expect(401, "unauthenticated");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"holdpoint\""));
    call(Some("guess")).expect(401, "unauthenticated");
    call(Some(&token("alice"))).expect(401, "unauthenticated");
    rig.nothing_was_sent();
    assert_eq!(rig.gateway.metric("holdpoint_rejected_requests_total", &[("reason", "unauthenticated")]), 3.0);
}

#[test]
fn an_anonymous_caller_is_let_in_only_where_the_configuration_says_so() {
    let rig = Rig::with(|home| home.key("anonymous: true"));
    crate::support::people::Call::new(rig.gateway.proxy, "GET", "/tools/safe_status").send().expect(200, "");
    let gated = crate::support::people::Call::new(rig.gateway.proxy, "POST", "/tools/delete_repo");
    let waiting = gated.json(&repository()).start();
    let id = rig.gateway.one_pending();
    assert_eq!(rig.alice().approval(&id)["agent"], "anonymous");
    waiting.hang_up();
}

#[test]
fn h29_a_page_of_another_site_calls_nothing_where_no_credential_is_asked_for() {
    let rig = Rig::with(|home| home.key("anonymous: true"));
    let call = crate::support::people::Call::new(rig.gateway.proxy, "GET", "/tools/safe_status");
    for (name, value) in [("origin", "http://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        call.clone().header(name, value).send().expect(403, "cross_site");
    }
    rig.nothing_was_sent();
    assert_eq!(rig.gateway.metric("holdpoint_rejected_requests_total", &[("reason", "cross_site")]), 3.0);
    call.clone().header("origin", "http://localhost:6274").send().expect(200, "");
    // Whoever has a credential is no page that somebody happens to look at.
    call.bearer(&token("bot")).header("origin", "http://evil.example").send().expect(200, "");
}

#[test]
fn a_path_without_a_route_is_refused_and_never_guessed() {
    let rig = Rig::start();
    rig.bot().post("/other/delete_repo", &repository()).send().expect(404, "no_route");
    rig.bot().post("/tools", &repository()).send().expect(404, "no_route");
    rig.nothing_was_sent();
}

#[test]
fn shadow_mode_lets_calls_through_and_counts_what_would_have_happened() {
    let rig = Rig::with(|home| home.key("mode: shadow"));
    rig.bot().post("/tools/delete_repo", &repository()).send().expect(200, "");
    assert_eq!(rig.deletions(), 1);
    until_true("the shadow verdict is counted", || {
        let labels = [("rule", "gate-delete"), ("verdict", "WAITING_FOR_APPROVAL"), ("mode", "shadow")];
        rig.gateway.metric("holdpoint_policy_verdicts_total", &labels) == 1.0
    });
}
