//! Floods: what is over a limit is refused with the limit's name and a time to come back, and the others are served.

use serde_json::json;

use crate::support::rig::{Rig, gate_delete, repository};
use crate::support::wait::until_true;

#[test]
fn a_flood_of_held_calls_is_refused_beyond_the_limit_and_the_others_are_served() {
    let rig = Rig::with(|home| home.policy(&gate_delete("hold: 30s")).key("limits: { pending_per_agent_max: 10 }"));
    let before = rig.gateway.resident_bytes();
    let padding = "x".repeat(100 << 10);
    let flood: Vec<_> =
        (0..80).map(|n| rig.bot().post("/tools/delete_repo", &json!({ "n": n, "padding": padding })).start()).collect();
    until_true("all beyond the limit are answered", || flood.iter().filter(|call| call.is_answered()).count() == 70);
    // While ten are held and the agent is at its limit.
    rig.bot().post("/tools/safe_read", &json!({})).send().expect(200, "");
    let other = rig.gateway.agent("other-bot").post("/tools/delete_repo", &repository()).start();
    let ids = rig.gateway.pending(11);
    rig.alice().approve(&ids[10]);
    assert_eq!(other.answer().expect(200, "").approval(), ids[10]);
    assert!(rig.gateway.resident_bytes() < before + (100 << 20), "memory is bounded");
    let (refused, held): (Vec<_>, Vec<_>) = flood.into_iter().partition(|call| call.is_answered());
    for call in refused {
        let answer = call.answer().expect(429, "queue_full");
        assert_eq!(answer.json()["limit"], "pending_per_agent_max");
        assert!(answer.header("retry-after").is_some_and(|after| after.parse::<u64>().is_ok_and(|after| after > 0)));
    }
    assert_eq!(held.len(), 10);
    held.into_iter().for_each(crate::support::people::Waiting::hang_up);
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn the_bodies_of_held_calls_take_no_more_memory_than_they_may_and_give_it_back() {
    let rig = Rig::with(|home| {
        home.policy(&gate_delete("hold: 30s")).key("limits: { held_bytes_max: 64KiB, body_bytes_max: 48KiB }")
    });
    let large = |name: &str| rig.bot().post("/tools/delete_repo", &json!({ "name": name, "x": "x".repeat(40 << 10) }));
    let held = large("one").start();
    let id = rig.gateway.one_pending();
    let refused = large("two").send().expect(429, "queue_full");
    assert_eq!(refused.json()["limit"], "held_bytes_max");
    assert!(refused.header("retry-after").is_some());
    rig.bot().post("/tools/safe_read", &json!({})).send().expect(200, "");
    held.hang_up();
    rig.until_caller_left(&id);
    until_true("the memory is given back", || rig.gateway.metric("holdpoint_held_bytes", &[]) == 0.0);
    large("two").header("prefer", "wait=0").send().expect(503, "approval_pending");
    assert_eq!(rig.deletions(), 0);
}

#[test]
fn headers_of_held_calls_count_and_so_does_every_caller_that_waits_for_one_approval() {
    let rig = Rig::with(|home| {
        home.policy(&gate_delete("hold: 30s")).key("limits: { held_bytes_max: 64KiB, body_bytes_max: 48KiB }")
    });
    // One question, asked by many at once.
    let call = rig.bot().post("/tools/delete_repo", &json!({})).header("idempotency-key", "one");
    let call = call.header("x-filler", &"x".repeat(20 << 10));
    let held: Vec<_> = (1..=3)
        .map(|waiting| {
            let held = call.start();
            let all_wait = || rig.gateway.metric("holdpoint_held_connections", &[]) == f64::from(waiting);
            until_true("it waits", all_wait);
            held
        })
        .collect();
    rig.gateway.one_pending();
    assert!(rig.gateway.metric("holdpoint_held_bytes", &[]) > 60.0 * 1024.0);
    assert_eq!(call.send().expect(429, "queue_full").json()["limit"], "held_bytes_max");
    held.into_iter().for_each(crate::support::people::Waiting::hang_up);
    until_true("the memory is given back", || rig.gateway.metric("holdpoint_held_bytes", &[]) == 0.0);
}

#[test]
fn callers_that_park_and_hang_up_leave_no_descriptor_behind() {
    let rig = Rig::with(|home| home.policy(&gate_delete("hold: 30s")).key("limits: { pending_per_agent_max: 1000 }"));
    let open = || {
        let folder = format!("/proc/{}/fd", rig.gateway.pid());
        std::fs::read_dir(folder).expect("a running process has descriptors").count()
    };
    let flood = |round: u32| {
        let calls: Vec<_> = (0..200)
            .map(|n| rig.bot().post("/tools/delete_repo", &json!({ "round": round, "n": n })).start())
            .collect();
        until_true("all are held", || rig.gateway.metric("holdpoint_held_connections", &[]) == 200.0);
        calls.into_iter().for_each(crate::support::people::Waiting::hang_up);
        until_true("none is held", || rig.gateway.metric("holdpoint_held_connections", &[]) == 0.0);
    };
    let before = open();
    flood(0);
    flood(1);
    until_true("the descriptors are given back", || open() <= before + 5);
    assert_eq!(rig.gateway.metric("holdpoint_calls_abandoned_total", &[]), 0.0);
    rig.nothing_was_sent();
}
