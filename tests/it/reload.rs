//! New configuration and policy in a running gateway: taken over whole, or not at all.

mod late;
mod whole;

use std::time::Duration;

use holdpoint::domain::time::Clock as _;
use holdpoint::telemetry::clock::SystemClock;
use serde_json::{Value, json};

use crate::support::rig::{Rig, gate_delete, repository};
use crate::support::wait::until_true;

const BLOCK: &str =
    "version: 1\nrules:\n  - { id: freeze, match: \"*delete*\", action: block, reason: Change freeze. }\n";

impl Rig {
    /// Puts another policy in force and waits until it is.
    fn reload_policy(&self, policy: &str) {
        let before = self.revision();
        std::fs::write(self.home.path("policy.yaml"), policy).expect("the policy can be written");
        self.gateway.signal("HUP");
        until_true("the new policy is in force", || self.revision() != before);
    }

    /// The revision in force, as the metrics say.
    fn revision(&self) -> String {
        let text = self.gateway.get("/metrics").text();
        let line =
            text.lines().find(|line| line.starts_with("holdpoint_policy_info{")).expect("the policy is announced");
        line.to_owned()
    }
}

#[test]
fn a_new_block_closes_what_is_pending_and_says_why() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    rig.reload_policy(BLOCK);
    let answer = waiting.answer().expect(403, "blocked");
    assert_eq!(answer.approval(), id);
    assert!(answer.text().contains("freeze") || answer.text().contains("Change freeze."), "{}", answer.text());
    assert_eq!(rig.alice().approval(&id)["status"], "cancelled");
    rig.alice().try_decide(&id, "approved", None).expect(409, "already_decided");
    rig.nothing_was_sent();
}

#[test]
fn a_new_block_beats_an_old_approval() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    waiting.hang_up();
    rig.until_caller_left(&id);
    rig.alice().approve(&id);
    rig.reload_policy(BLOCK);
    rig.bot().post("/tools/delete_repo", &repository()).send().expect(403, "blocked");
    rig.nothing_was_sent();
}

#[test]
fn a_call_that_waits_is_judged_again_when_it_is_to_be_sent() {
    let freeze = SystemClock.now().plus(Duration::from_secs(3));
    let gate = gate_delete("hold: 30s");
    let rules = gate.split_once("rules:\n").expect("it has rules").1;
    let policy = format!(
        "version: 1\nrules:\n  - {{ id: freeze, match: delete_repo, when: 'now >= timestamp(\"{freeze}\")', action: block, reason: Change freeze. }}\n{rules}"
    );
    let rig = Rig::with(|home| home.policy(&policy));
    let (waiting, id) = rig.park();
    until_true("the freeze has begun", || SystemClock.now() > freeze);
    rig.alice().approve(&id);
    let answer = waiting.answer().expect(403, "blocked");
    assert!(answer.text().contains("Change freeze.") && answer.approval() == id, "{}", answer.text());
    rig.until_outcome(&id, "failed");
    rig.nothing_was_sent();
}

#[test]
fn a_changed_rule_marks_what_it_parked_as_stale_and_keeps_its_terms() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let before = rig.alice().approval(&id);
    rig.reload_policy(&gate_delete("hold: 30s, expires_in: 5m, approvers: { group: security, count: 2 }"));
    until_true("the approval is stale", || rig.alice().approval(&id)["stale_since"].is_string());
    let after = rig.alice().approval(&id);
    for kept in ["status", "expires_at", "approvers", "policy_revision"] {
        assert_eq!(before[kept], after[kept], "{kept}");
    }
    rig.alice().approve(&id);
    waiting.answer().expect(200, "");
}

#[test]
fn an_invalid_file_keeps_the_old_policy_and_is_reported() {
    let rig = Rig::start();
    let revision = rig.revision();
    assert_eq!(rig.gateway.metric("holdpoint_config_last_reload_successful", &[]), 1.0);
    std::fs::write(rig.home.path("policy.yaml"), "version: 1\nrules:\n  - { match: x, acton: allow }\n")
        .expect("written");
    rig.gateway.signal("HUP");
    until_true("the failure is counted", || rig.gateway.metric("holdpoint_config_last_reload_successful", &[]) == 0.0);
    until_true("the failure is logged with its place", || rig.gateway.log().contains("policy.yaml"));
    assert_eq!(rig.revision(), revision);
    assert_eq!(rig.gateway.get("/readyz").status, 200);
    rig.bot().post("/tools/safe_read", &json!({})).send().expect(200, "");
    rig.bot()
        .post("/tools/delete_repo", &repository())
        .header("prefer", "wait=0")
        .send()
        .expect(503, "approval_pending");
    // And a good one is taken over again.
    rig.reload_policy(BLOCK);
    until_true("the success is counted", || rig.gateway.metric("holdpoint_config_last_reload_successful", &[]) == 1.0);
    rig.bot().post("/tools/delete_repo", &repository()).send().expect(403, "blocked");
}

#[test]
fn a_changed_file_is_noticed_without_a_signal() {
    let rig = Rig::start();
    let before = rig.revision();
    // As editors and deployments do it: a new file takes the old one's place.
    std::fs::write(rig.home.path("policy.yaml.new"), BLOCK).expect("written");
    std::fs::rename(rig.home.path("policy.yaml.new"), rig.home.path("policy.yaml")).expect("renamed");
    until_true("the new policy is in force", || rig.revision() != before);
    rig.bot().post("/tools/delete_repo", &repository()).send().expect(403, "blocked");
}

#[test]
fn an_agent_taken_out_of_the_configuration_is_let_in_no_more() {
    let mut rig = Rig::start();
    let other = rig.gateway.agent("other-bot");
    other.call("GET", "/tools/safe_status").send().expect(200, "");
    let text = rig.home.configuration();
    let without: Vec<&str> = text.lines().filter(|line| !line.contains("id: other-bot")).collect();
    rig.home.settings.whole = Some(without.join("\n"));
    rig.home.write();
    rig.gateway.signal("HUP");
    until_true("its token is worth nothing", || other.call("GET", "/tools/safe_status").send().status == 401);
    rig.bot().call("GET", "/tools/safe_status").send().expect(200, "");
}

#[test]
fn many_reloads_under_load_never_let_a_gated_call_through() {
    let rig = Rig::parking("hold: 0s");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for caller in 0..4 {
            let (rig, stop) = (&rig, &stop);
            scope.spawn(move || {
                let call = rig.bot().post("/tools/delete_repo", &json!({ "caller": caller }));
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    let answer = call.send();
                    assert!([403, 429, 503].contains(&answer.status), "{} {}", answer.status, answer.text());
                }
            });
        }
        for round in 0..50 {
            let policy = match round % 3 {
                0 => gate_delete("hold: 0s, expires_in: 5m"),
                1 => "version: 1\nrules: {".to_owned(),
                _ => BLOCK.to_owned(),
            };
            std::fs::write(rig.home.path("policy.yaml"), policy).expect("written");
            rig.gateway.signal("HUP");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    rig.nothing_was_sent();
}

#[test]
fn a_hangup_at_the_first_moment_that_the_gateway_is_ready_does_not_end_it() {
    for _ in 0..5 {
        let rig = Rig::start();
        rig.gateway.signal("HUP");
        until_true("it is reloaded", || rig.gateway.log().contains("configuration and policy reloaded"));
        rig.bot().call("GET", "/tools/safe_status").send().expect(200, "");
    }
}

#[test]
fn settings_that_take_a_restart_are_named_one_by_one() {
    let rig = Rig::start();
    let named = || {
        let lines = rig.gateway.log();
        let lines = lines.lines().filter(|line| line.contains("takes effect at the next start"));
        let keys = lines.map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON")["setting"].clone());
        keys.map(|key| key.as_str().expect("a key").to_owned()).collect::<Vec<_>>()
    };
    let reloads = || rig.gateway.log().matches("configuration and policy reloaded").count();
    let text = rig.home.configuration();
    let changed = text
        .replace("proxy: { listen: \"127.0.0.1:0\" }", "proxy: { listen: \"127.0.0.1:9\", header_timeout: 11s }")
        .replace("admin: { listen: \"127.0.0.1:0\" }", "admin: { listen: \"127.0.0.1:10\" }")
        .replace("holdpoint.db", "another.db");
    let limits = "limits: { connections_max: 7, header_bytes_max: 32KiB, wait_max: 4m }";
    let changed = format!("{changed}{limits}\ndrain_timeout: 29s\nlog: {{ format: text, level: debug }}\n");
    std::fs::write(rig.home.path("holdpoint.yaml"), changed).expect("written");
    rig.gateway.signal("HUP");
    until_true("it is reloaded", || reloads() > 0);
    let mut keys = named();
    keys.sort();
    keys.dedup();
    let expected = [
        "admin.listen",
        "drain_timeout",
        "limits.connections_max",
        "limits.header_bytes_max",
        "log.format",
        "log.level",
        "proxy.header_timeout",
        "proxy.listen",
        "store",
    ];
    assert_eq!(keys, expected);
    let page = include_str!("../../docs/reference/configuration.md");
    for key in expected {
        let (_, section) = page.split_once("### What takes a restart").expect("the page has the section");
        assert!(section.split("\n## ").next().is_some_and(|text| text.contains(&format!("`{key}`"))), "{key}");
    }
}
