//! Which approval a call belongs to: attaching, grants, idempotency keys, and that an approval never releases another call.

use serde_json::{Value, json};

use crate::support::home::digest;
use crate::support::people::{Call, token};
use crate::support::rig::{Rig, repository};
use crate::support::wait::until_true;

#[test]
fn an_identical_call_joins_the_approval_that_its_earlier_try_left_pending() {
    let rig = Rig::parking("hold: 100ms");
    let call = rig.bot().post("/tools/delete_repo", &repository());
    let first = call.send().expect(503, "approval_pending").approval();
    let again = call.send().expect(503, "approval_pending").approval();
    assert_eq!(first, again);
    assert_eq!(rig.gateway.pending(1), [first.as_str()]);
    let waiting = call.header("prefer", "wait=20").start();
    until_true("the caller waits again", || rig.alice().approval(&first)["caller"]["waiting"] == 1);
    rig.alice().approve(&first);
    assert_eq!(waiting.answer().expect(200, "").approval(), first);
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn what_is_approved_under_one_rule_releases_nothing_that_another_rule_asks_about() {
    let policy = "version: 1\ndefault: block\nrules:\n  \
                  - { id: staging, match: delete_repo, when: \"headers['x-env'] == 'staging'\", action: require_approval }\n  \
                  - { id: production, match: delete_repo, risk: critical, action: require_approval }\n";
    let rig = Rig::with(|home| home.policy(policy));
    let call = |key: &str, env: &str| {
        let body = json!({ "key": key });
        let call = rig.bot().post("/tools/delete_repo", &body).header("prefer", "wait=0").header("x-env", env);
        if key.is_empty() { call } else { call.header("idempotency-key", key) }
    };
    let ask = |key: &str, env: &str| call(key, env).send().expect(503, "approval_pending").approval();
    let (plain, keyed) = (ask("", "staging"), ask("a-key-of-its-own", "staging"));
    // While it is pending, and once it is approved.
    let of_production = ask("", "production");
    assert_ne!(of_production, plain);
    assert_eq!(rig.alice().approval(&of_production)["rule"], "production");
    call("a-key-of-its-own", "production").send().expect(422, "idempotency_key_reused");
    for id in [&plain, &keyed] {
        rig.alice().approve(id);
    }
    assert_eq!(ask("", "production"), of_production);
    call("a-key-of-its-own", "production").send().expect(422, "idempotency_key_reused");
    rig.nothing_was_sent();
    // What they are for, they release.
    assert_eq!(call("a-key-of-its-own", "staging").send().expect(200, "").approval(), keyed);
    assert_eq!(call("", "staging").send().expect(200, "").approval(), plain);
    assert_eq!(rig.deletions(), 2);
}

#[test]
fn two_identical_calls_at_once_without_a_key_are_two_approvals() {
    let rig = Rig::start();
    let call = rig.bot().post("/tools/delete_repo", &repository());
    let one = call.start();
    let first = rig.gateway.one_pending();
    let two = call.start();
    let ids = rig.gateway.pending(2);
    assert_eq!(ids[0], first);
    // Approving one never approves the other.
    rig.alice().approve(&first);
    assert_eq!(one.answer().expect(200, "").approval(), first);
    assert_eq!(rig.deletions(), 1);
    assert_eq!(rig.alice().approval(&ids[1])["status"], "pending");
    assert!(!two.is_answered());
    rig.alice().reject(&ids[1], "One was enough.");
    two.answer().expect(403, "rejected");
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn calls_with_the_same_idempotency_key_share_one_approval_and_one_release() {
    let rig = Rig::start();
    let call = rig.bot().post("/tools/delete_repo", &repository()).header("idempotency-key", "order-7");
    let one = call.start();
    let id = rig.gateway.one_pending();
    let two = call.start();
    until_true("both wait for one approval", || rig.alice().approval(&id)["caller"]["waiting"] == 2);
    assert_eq!(rig.gateway.pending(1).len(), 1);
    rig.alice().approve(&id);
    let mut answers = [one.answer(), two.answer()];
    answers.sort_by_key(|answer| answer.status);
    assert_eq!(answers[0].status, 200, "{answers:?}");
    answers[1].clone().expect(409, "already_released");
    assert_eq!(rig.deletions(), 1);
    // Once it is done, the key still runs nothing twice.
    call.send().expect(409, "already_released");
    assert_eq!(rig.deletions(), 1);
    let other = rig.bot().post("/tools/delete_repo", &json!({ "repo": "acme/other" }));
    other.header("idempotency-key", "order-7").send().expect(422, "idempotency_key_reused");
}

#[test]
fn an_approval_for_a_caller_that_left_is_a_grant_for_exactly_one_identical_call() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    waiting.hang_up();
    rig.until_caller_left(&id);
    rig.alice().approve(&id);
    let granted = rig.alice().approval(&id);
    assert_eq!(granted["outcome"]["state"], "held");
    assert!(granted["grant_expires_at"].is_string(), "{granted}");
    rig.nothing_was_sent();
    let call = rig.bot().post("/tools/delete_repo", &repository());
    assert_eq!(call.send().expect(200, "").approval(), id);
    assert_eq!(rig.deletions(), 1);
    // The next one asks anew.
    let asked = call.header("prefer", "wait=0").send().expect(503, "approval_pending").approval();
    assert_ne!(asked, id);
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn a_grant_ends() {
    let rig = Rig::parking("hold: 30s, grant_ttl: 300ms");
    let (waiting, id) = rig.park();
    waiting.hang_up();
    rig.until_caller_left(&id);
    rig.alice().approve(&id);
    // The identical call uses the grant while it lasts; once it is over it is parked anew.
    std::thread::sleep(std::time::Duration::from_millis(400));
    let asked = rig.bot().post("/tools/delete_repo", &repository()).header("prefer", "wait=0").send();
    assert_ne!(asked.expect(503, "approval_pending").approval(), id);
    rig.nothing_was_sent();
}

#[test]
fn a_hundred_identical_calls_at_once_use_a_grant_once() {
    let rig = Rig::with(|home| {
        home.policy(&crate::support::rig::gate_delete("hold: 30s")).key("limits: { pending_per_agent_max: 1000 }")
    });
    let (waiting, id) = rig.park();
    waiting.hang_up();
    rig.until_caller_left(&id);
    rig.alice().approve(&id);
    let call = rig.bot().post("/tools/delete_repo", &repository()).header("prefer", "wait=0");
    let calls: Vec<_> = (0..100).map(|_| call.start()).collect();
    let statuses: Vec<u16> = calls.into_iter().map(|call| call.answer().status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 503, 409].contains(status)), "{statuses:?}");
    assert_eq!(rig.deletions(), 1);
}

/// Approves a call whose caller has left, then sends `other`: it must not be let through by that approval.
fn check_other_call_asks_anew(what: &str, other: impl FnOnce(&Rig) -> Call) {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    waiting.hang_up();
    rig.until_caller_left(&id);
    rig.alice().approve(&id);
    let answer = other(&rig).header("prefer", "wait=0").send();
    assert_eq!((answer.status, answer.code().as_str()), (503, "approval_pending"), "{what}: {}", answer.text());
    assert_ne!(answer.approval(), id, "{what}");
    rig.nothing_was_sent();
    // And the call that was approved still runs.
    let approved = rig.bot().post("/tools/delete_repo", &repository()).send();
    assert_eq!((approved.status, approved.header("holdpoint-approval")), (200, Some(id.as_str())), "{what}");
}

#[test]
fn h25_changing_the_arguments_after_the_approval_asks_anew() {
    check_other_call_asks_anew("another argument", |rig| {
        rig.bot().post("/tools/delete_repo", &json!({ "repo": "acme/payroll", "force": false }))
    });
    check_other_call_asks_anew("the same value in other bytes", |rig| {
        let body = format!("{} ", repository());
        rig.bot().call("POST", "/tools/delete_repo").header("content-type", "application/json").body(body)
    });
}

#[test]
fn h25_changing_the_query_after_the_approval_asks_anew() {
    check_other_call_asks_anew("a query", |rig| rig.bot().post("/tools/delete_repo?force=true", &repository()));
}

#[test]
fn h25_leaving_the_body_out_after_the_approval_asks_anew() {
    check_other_call_asks_anew("no body", |rig| rig.bot().call("POST", "/tools/delete_repo"));
}

#[test]
fn h26_another_agent_cannot_use_an_approval() {
    check_other_call_asks_anew("another agent", |rig| {
        rig.gateway.agent("other-bot").post("/tools/delete_repo", &repository())
    });
}

#[test]
fn h26_another_agents_approval_cannot_be_seen_guessed_or_withdrawn() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let other = rig.gateway.agent("other-bot");
    let paths = ["", "/result", "/timeline"].map(|rest| format!("/_holdpoint/v1/approvals/{id}{rest}"));
    for path in &paths {
        let answer = other.call("GET", path).send();
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
    let mut guess = id.clone();
    let last = if guess.pop() == Some('0') { '1' } else { '0' };
    guess.push(last);
    for id in [guess.as_str(), "apr_", "..", "%2e%2e"] {
        let answer = rig.bot().call("GET", &format!("/_holdpoint/v1/approvals/{id}")).send();
        assert!([400, 404].contains(&answer.status), "{id}: {}", answer.text());
    }
    waiting.hang_up();
}

#[test]
fn h27_an_agent_decides_nothing_by_any_door() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let decide = json!({ "decision": "approved" });
    let doors = [
        Call::new(rig.gateway.admin, "POST", &format!("/v1/approvals/{id}")).bearer(&token("bot")),
        Call::new(rig.gateway.proxy, "POST", &format!("/_holdpoint/v1/approvals/{id}")).bearer(&token("bot")),
        Call::new(rig.gateway.proxy, "POST", &format!("/_holdpoint/v1/approvals/{id}")).bearer(&token("alice")),
        Call::new(rig.gateway.proxy, "POST", &format!("/v1/approvals/{id}")).bearer(&token("alice")),
        Call::new(rig.gateway.proxy, "POST", &format!("/_holdpoint/v1/approvals/{id}"))
            .header("host", &rig.gateway.admin.to_string())
            .bearer(&token("bot")),
        Call::new(rig.gateway.admin, "POST", &format!("/v1/approvals/{id}")),
    ];
    for door in &doors {
        let answer = door.clone().json(&decide).send();
        assert!([400, 401, 403, 404, 405].contains(&answer.status), "{door:?}: {} {}", answer.status, answer.text());
    }
    assert_eq!(rig.alice().approval(&id)["status"], "pending");
    assert_eq!(rig.alice().approval(&id)["votes"], Value::Array(Vec::new()));
    rig.nothing_was_sent();
    waiting.hang_up();
}

#[test]
fn a_rejection_is_remembered_for_a_while_and_then_asked_again() {
    let rig = Rig::parking("hold: 30s, reject_memory: 2s");
    let (waiting, id) = rig.park();
    rig.alice().reject(&id, "No.");
    waiting.answer().expect(403, "rejected");
    let call = rig.bot().post("/tools/delete_repo", &repository()).header("prefer", "wait=0");
    let again = call.send().expect(403, "rejected");
    assert_eq!((again.approval(), again.json()["reason"].clone()), (id.clone(), json!("No.")));
    assert!(again.header("retry-after").is_some());
    // Another call is not refused with it.
    let other = rig.bot().post("/tools/delete_repo", &json!({ "repo": "acme/other" })).header("prefer", "wait=0");
    other.send().expect(503, "approval_pending");
    until_true("the rejection is forgotten", || call.send().status == 503);
    rig.nothing_was_sent();
}

#[test]
fn the_second_decision_loses_and_sees_the_first() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let bob = rig.gateway.reviewer("bob");
    bob.reject(&id, "Not this one.");
    let lost = rig.alice().try_decide(&id, "approved", None).expect(409, "already_decided").json();
    let said = lost.to_string();
    assert!(said.contains("bob") && said.contains("rejected"), "the loser learns who won and what: {said}");
    // The same decision by the same person again is no conflict.
    assert_eq!(bob.try_decide(&id, "rejected", Some("Not this one.")).status, 200);
    waiting.answer().expect(403, "rejected");
    rig.nothing_was_sent();
}

#[test]
fn a_decision_about_another_payload_than_the_one_shown_is_refused() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let decide = |hash: &str| {
        let body = json!({ "decision": "approved", "payload_sha256": hash });
        rig.alice().call("POST", &format!("/v1/approvals/{id}")).json(&body).send()
    };
    decide(&"0".repeat(64)).expect(409, "payload_mismatch");
    rig.nothing_was_sent();
    let shown = rig.alice().approval(&id)["payload_sha256"].as_str().expect("a hash").to_owned();
    decide(&shown).expect(200, "");
    waiting.answer().expect(200, "");
}

#[test]
fn a_quorum_needs_distinct_people_from_each_group() {
    let rig =
        Rig::parking("hold: 30s, approvers: { all_of: [ { group: ops, count: 1 }, { group: security, count: 1 } ] }");
    let (waiting, id) = rig.park();
    let bob = rig.gateway.reviewer("bob");
    // Bob is in both groups and fills one place only.
    bob.approve(&id);
    bob.approve(&id);
    assert_eq!(rig.alice().approval(&id)["status"], "pending");
    assert!(!waiting.is_answered());
    rig.nothing_was_sent();
    rig.gateway.reviewer("carol").approve(&id);
    waiting.answer().expect(200, "");
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn nobody_decides_a_call_that_was_made_under_their_own_name() {
    let rig = Rig::with(|mut home| {
        let (admin, in_person) = ("reviewers:\n", digest("bot-in-person"));
        let with = format!("{admin}  - {{ id: bot, groups: [ ops ], role: admin, token_sha256: \"{in_person}\" }}\n");
        home.settings.whole = Some(home.configuration().replace(admin, &with));
        home
    });
    let (waiting, own) = rig.park();
    let other = rig.gateway.agent("other-bot").post("/tools/delete_repo", &repository()).start();
    let ids = rig.gateway.pending(2);
    let others = ids.iter().find(|id| **id != own).expect("another approval");
    let in_person = rig.gateway.reviewer("bot-in-person");
    for decision in ["approved", "rejected"] {
        in_person.try_decide(&own, decision, None).expect(403, "forbidden");
    }
    let both = json!({ "ids": [own, others], "decision": "approved" });
    let results = in_person.call("POST", "/v1/approvals/bulk-decide").json(&both).send().expect(200, "").json();
    assert_eq!(
        (&results["results"][0]["result"], &results["results"][1]["result"]),
        (&json!("forbidden"), &json!("decided"))
    );
    other.answer().expect(200, "");
    assert!(!waiting.is_answered());
    assert_eq!((rig.alice().approval(&own)["status"].as_str(), rig.deletions()), (Some("pending"), 1));
}

#[test]
fn a_caller_that_leaves_before_the_decision_is_shown_as_gone() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    waiting.hang_up();
    rig.until_caller_left(&id);
    assert!(rig.alice().approval(&id)["caller"]["left_at"].is_string());
    assert_eq!(rig.gateway.metric("holdpoint_calls_abandoned_total", &[]), 0.0);
}
