//! What an approval binds, that nobody sleeps through a decision, reloads under load, and that every call ends once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::dashboard::sign_in;
use crate::support::home::Home;
use crate::support::origin::Manner;
use crate::support::people::Call;
use crate::support::rig::{Rig, gate_delete, repository};
use crate::support::wait::until_true;

/// Below it, a caller can only have been woken: the store is asked again every 15 s.
const WOKEN_WITHIN: Duration = Duration::from_secs(10);

/// A second upstream at the same address whose tools have the same names, and a second method for the gated tool.
fn with_twin(home: Home) -> Home {
    let text = home.configuration();
    let (before, address) = text.split_once("url: \"").expect("an upstream has a URL");
    let address = address.split('"').next().expect("a URL ends");
    let tool = "{ call: \"POST /delete_repo\", tool: delete_repo }";
    let twin = format!("  twin: {{ url: \"{address}\", tools: [ {tool} ] }}\n");
    let text = text
        .replace("upstreams:\n", &format!("upstreams:\n{twin}"))
        .replace("routes:\n", "routes:\n  - { path: /twin/, upstream: twin }\n")
        .replace(
            "      - { call: \"POST /safe_read\"",
            "      - { call: \"PUT /delete_repo\", tool: delete_repo }\n      - { call: \"POST /safe_read\"",
        );
    assert!(before.contains("upstreams:\n"), "the upstreams come before their URLs");
    let mut home = home;
    home.settings.whole = Some(text);
    home
}

#[test]
fn each_bound_part_of_a_call_changed_alone_asks_anew_and_the_same_call_runs() {
    let rig = Rig::with(with_twin);
    let (waiting, approved) = rig.park();
    waiting.hang_up();
    rig.until_caller_left(&approved);
    rig.alice().approve(&approved);
    let json = |call: Call, body: &str| call.header("content-type", "application/json").body(body);
    let bot = rig.bot();
    let body = repository().to_string();
    let others = [
        ("the agent", json(rig.gateway.agent("other-bot").call("POST", "/tools/delete_repo"), &body)),
        ("the upstream", json(bot.call("POST", "/twin/delete_repo"), &body)),
        ("the method", json(bot.call("PUT", "/tools/delete_repo"), &body)),
        ("the query", json(bot.call("POST", "/tools/delete_repo?a=b"), &body)),
        ("an empty query", json(bot.call("POST", "/tools/delete_repo?"), &body)),
        ("a byte of the body", json(bot.call("POST", "/tools/delete_repo"), &format!("{body} "))),
        ("no body", bot.call("POST", "/tools/delete_repo")),
        ("an empty object", json(bot.call("POST", "/tools/delete_repo"), "{}")),
        ("null", json(bot.call("POST", "/tools/delete_repo"), "null")),
    ];
    let mut asked = vec![approved.clone()];
    for (what, call) in others {
        let answer = call.header("prefer", "wait=0").send();
        assert_eq!((answer.status, answer.code().as_str()), (503, "approval_pending"), "{what}: {}", answer.text());
        let id = answer.approval();
        assert!(!asked.contains(&id), "{what}: shares the approval of another call");
        asked.push(id);
        rig.nothing_was_sent();
    }
    assert_eq!(bot.post("/tools/delete_repo", &repository()).send().expect(200, "").approval(), approved);
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn a_decision_wakes_whoever_waits_already_and_whoever_comes_after_it() {
    let rig = Rig::start();
    let create = |n: u32| {
        let body = json!({ "action": format!("job-{n}") });
        let created = rig.bot().post("/_holdpoint/v1/approvals", &body).send().expect(201, "").json();
        created["id"].as_str().expect("an id").to_owned()
    };
    let wait = |id: &str| rig.bot().call("GET", &format!("/_holdpoint/v1/approvals/{id}?wait=30s"));
    let begin = Instant::now();
    // Decide before wait.
    let id = create(1);
    rig.alice().approve(&id);
    assert_eq!(wait(&id).send().expect(200, "").json()["status"], "approved");
    // Wait before decide.
    let id = create(2);
    let waiting = wait(&id).start();
    std::thread::sleep(Duration::from_millis(200));
    assert!(!waiting.is_answered());
    rig.alice().approve(&id);
    assert_eq!(waiting.answer().expect(200, "").json()["status"], "approved");
    assert!(begin.elapsed() < WOKEN_WITHIN, "{:?}", begin.elapsed());
}

#[test]
fn a_decision_that_races_with_parking_is_never_slept_through() {
    let rig = Rig::start();
    let alice = rig.alice();
    for round in 0..40_u32 {
        let begin = Instant::now();
        let waiting = rig.bot().post("/tools/delete_repo", &json!({ "round": round })).start();
        // Decided as soon as the row can be read: often before the caller has begun to wait.
        let id = loop {
            if let Some(approval) = alice.pending().first() {
                break approval["id"].as_str().expect("an id").to_owned();
            }
            assert!(begin.elapsed() < WOKEN_WITHIN, "round {round}: nothing was parked");
        };
        alice.approve(&id);
        assert_eq!(waiting.answer().expect(200, "").approval(), id);
        assert!(begin.elapsed() < WOKEN_WITHIN, "round {round}: {:?}", begin.elapsed());
    }
    assert_eq!(rig.deletions(), 40);
}

#[test]
fn approving_for_a_caller_that_left_does_what_the_page_said() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    waiting.hang_up();
    rig.until_caller_left(&id);
    let cookie = sign_in(&rig, "alice");
    let page = |id: &str| {
        let target = format!("/dashboard/approvals/{id}");
        Call::new(rig.gateway.admin, "GET", &target).header("cookie", &cookie).send().expect(200, "").text()
    };
    let shown = page(&id);
    assert!(shown.contains("caller left") && shown.contains("approving lets its retry through"), "{shown}");
    rig.alice().approve(&id);
    rig.nothing_was_sent();
    assert_eq!(rig.bot().post("/tools/delete_repo", &repository()).send().expect(200, "").approval(), id);
    assert_eq!(rig.deletions(), 1);
    // Whoever was there for the decision has left nothing.
    let (waiting, id) = rig.park();
    rig.alice().approve(&id);
    waiting.answer().expect(200, "");
    until_true("it is shown so", || page(&id).contains("data-caller>no longer waiting<"));
    // A detached call is promised to run by itself, and does.
    let detached = rig.bot().post("/tools/delete_repo", &json!({ "repo": "acme/other" }));
    let id = detached.header("prefer", "respond-async").send().expect(202, "").approval();
    let shown = page(&id);
    assert!(shown.contains("not waiting; the gateway sends the call once approved"), "{shown}");
    rig.alice().approve(&id);
    rig.until_outcome(&id, "succeeded");
    assert_eq!(rig.deletions(), 3);
}

#[test]
fn a_caller_that_hangs_up_while_its_call_is_sent_cancels_nothing() {
    let rig = Rig::start();
    rig.origin.behave(Manner::Wait);
    let (waiting, id) = rig.park();
    rig.alice().approve(&id);
    until_true("the upstream has the call", || rig.deletions() == 1);
    waiting.hang_up();
    rig.origin.go_on();
    rig.until_outcome(&id, "succeeded");
    assert_eq!(rig.deletions(), 1);
}

/// What the metrics say about policy and the last reload.
fn in_force(rig: &Rig) -> (String, bool) {
    let text = rig.gateway.get("/metrics").expect(200, "").text();
    let line = text.lines().find(|line| line.starts_with("holdpoint_policy_info{")).expect("the policy is announced");
    let good = text.lines().any(|line| line == "holdpoint_config_last_reload_successful 1");
    (line.to_owned(), good)
}

#[test]
fn no_call_slips_through_a_hundred_good_and_bad_reloads_under_load() {
    reload_under_load(100);
}

#[test]
#[ignore = "takes six minutes: `just reloads`"]
fn no_call_slips_through_a_thousand_good_and_bad_reloads_under_load() {
    reload_under_load(1000);
}

/// Loads good and bad policies in turn while callers ask for a gated tool and for a free one.
fn reload_under_load(times: u64) {
    let rig = Rig::start();
    let (waiting, approved) = rig.park();
    waiting.hang_up();
    rig.until_caller_left(&approved);
    rig.alice().approve(&approved);
    let call = rig.bot().post("/tools/delete_repo", &repository());
    let probe = rig.bot().post("/tools/delete_repo", &json!({ "probe": 1 })).header("prefer", "wait=0");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for caller in 0..2 {
            let (rig, stop) = (&rig, &stop);
            scope.spawn(move || {
                let gated =
                    rig.bot().post("/tools/delete_repo", &json!({ "caller": caller })).header("prefer", "wait=0");
                while !stop.load(Ordering::SeqCst) {
                    let answer = gated.send();
                    assert!([403, 503].contains(&answer.status), "{} {}", answer.status, answer.text());
                    // A gate that is half-way would let some calls fall out of both policies.
                    rig.bot().post("/tools/safe_read", &json!({})).send().expect(200, "");
                }
            });
        }
        for round in 0..times {
            let (revision, _) = in_force(&rig);
            let blocks = round % 4 >= 2;
            let policy = match round % 4 {
                0 => gate_delete(&format!("hold: 30s, expires_in: {}m", 10 + round)),
                2 => format!(
                    "version: 1\nrules:\n  - {{ id: freeze, match: delete_repo, action: block, reason: Round {round}. }}\n"
                ),
                _ => format!("version: 1\nrules: {{ # {round}\n"),
            };
            std::fs::write(rig.home.path("policy.yaml"), policy).expect("the policy can be written");
            rig.gateway.signal("HUP");
            until_true("the reload is over", || {
                let (now, good) = in_force(&rig);
                if round % 2 == 0 { now != revision && good } else { !good && now == revision }
            });
            match blocks {
                true => {
                    call.send().expect(403, "blocked");
                    probe.send().expect(403, "blocked");
                }
                false => drop(probe.send().expect(503, "approval_pending")),
            }
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert_eq!(rig.deletions(), 0, "no round let the gated tool run");
}

#[test]
fn every_call_ends_in_exactly_one_outcome_and_none_is_abandoned() {
    let rig = Rig::with(|home| home.policy(&gate_delete("hold: 30s, expires_in: 2s")));
    let bot = rig.bot();
    let start = |name: &str| {
        let waiting = bot.post("/tools/delete_repo", &json!({ "repo": name })).start();
        (waiting, rig.gateway.one_pending())
    };
    let alice = rig.alice();
    bot.post("/tools/safe_read", &json!({})).send().expect(200, "");
    bot.post("/tools/call", &json!({})).send().expect(403, "blocked");
    let (waiting, approved) = start("approved");
    alice.approve(&approved);
    waiting.answer().expect(200, "");
    let (waiting, rejected) = start("rejected");
    alice.reject(&rejected, "No.");
    waiting.answer().expect(403, "rejected");
    let (waiting, cancelled) = start("cancelled");
    bot.call("POST", &format!("/_holdpoint/v1/approvals/{cancelled}/cancel")).send().expect(200, "");
    waiting.answer().expect(403, "cancelled");
    let (waiting, expired) = start("expired");
    waiting.answer().expect(403, "expired");
    let (waiting, left) = start("left");
    waiting.hang_up();
    until_true("what nobody waits for expires too", || alice.approval(&left)["status"] == "expired");
    rig.origin.behave(Manner::Close);
    let (waiting, unknown) = start("unknown");
    alice.approve(&unknown);
    waiting.answer().expect(502, "outcome_unknown");
    rig.until_outcome(&unknown, "unknown");

    let ends = ["approval_approved", "approval_rejected", "approval_cancelled", "approval_expired"];
    let outcomes = ["release_succeeded", "release_failed", "release_unknown"];
    let expected = [
        (&approved, "approval_approved", 1),
        (&rejected, "approval_rejected", 0),
        (&cancelled, "approval_cancelled", 0),
        (&expired, "approval_expired", 0),
        (&left, "approval_expired", 0),
        (&unknown, "approval_approved", 1),
    ];
    for (id, end, released) in expected {
        let events = alice.events(Some(id));
        let of = |kinds: &[&str]| -> Vec<&String> {
            events.iter().filter(|event| kinds.contains(&event.as_str())).collect()
        };
        assert_eq!(of(&ends), [end], "{events:?}");
        assert_eq!(of(&outcomes).len(), released, "{events:?}");
    }
    let metrics = rig.gateway.get("/metrics").text();
    assert!(metrics.contains("\nholdpoint_calls_abandoned_total"), "the counter is there: {metrics}");
    assert_eq!(rig.gateway.metric("holdpoint_calls_abandoned_total", &[]), 0.0);
    assert_eq!(alice.pending(), Vec::<Value>::new());
}
