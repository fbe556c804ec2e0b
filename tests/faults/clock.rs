//! Clocks that are set while the gateway runs, and between two runs: nothing ends early, nothing that has ended comes back.
//!
//! The real binary under libfaketime: its wall clock is what a file says, the time that passes is left alone.

use serde_json::{Value, json};

use crate::faketime::{faked, set};
use crate::kit::{LONG, until_true};
use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::origin::{Manner, Origin};
use crate::support::people::Call;
use crate::support::rig::Rig;
use crate::support::wait::until_within;

/// `delete_repo` has an hour; `report` has a second, for telling that a second of the gateway's time is over.
const POLICY: &str = r#"
version: 1
default: block
rules:
  - { id: hours, match: delete_repo, action: require_approval, approval: { hold: 60s, expires_in: 1h, grant_ttl: 1h, reject_memory: 0s } }
  - { id: moments, match: report, action: require_approval, approval: { hold: 50ms, expires_in: 1s } }
  - { id: brief-grants, match: call, action: require_approval, approval: { hold: 50ms, expires_in: 1h, grant_ttl: 1s, reject_memory: 0s } }
"#;

fn rig() -> Rig {
    let origin = Origin::start();
    let home = faked(Home::new(origin.address).policy(POLICY));
    let gateway = Gateway::start(&home);
    Rig { gateway, home, origin }
}

/// Sets the clock of the running gateway and waits until it has seen that.
fn set_and_see(rig: &Rig, step: &str) {
    let told = || rig.gateway.log().matches("the machine's clock was set").count();
    let before = told();
    set(&rig.home, step);
    until_true("the gateway has seen that its clock was set", || told() > before);
}

fn restart(rig: Rig, step: &str) -> Rig {
    let Rig { gateway, home, origin } = rig;
    gateway.crash();
    set(&home, step);
    Rig { gateway: Gateway::start(&home), home, origin }
}

fn held(rig: &Rig, n: &str) -> Call {
    rig.bot().post("/tools/delete_repo", &json!({ "n": n }))
}

/// Parks without waiting.
fn parked(rig: &Rig, n: &str) -> String {
    held(rig, n).header("prefer", "wait=0").send().expect(503, "approval_pending").approval()
}

fn status(rig: &Rig, id: &str) -> Value {
    rig.alice().approval(id)["status"].clone()
}

/// Waits until a second of the gateway's own time is over: what is parked for so long has expired, and so the sweep has run.
fn a_second_passes(rig: &Rig) -> String {
    let id = rig.bot().call("GET", "/tools/report").send().expect(503, "approval_pending").approval();
    until_true("a second is over", || status(rig, &id) == "expired");
    id
}

/// One approval in each state that is an end, and what each must still be whatever the clock says.
fn ended(rig: &Rig) -> Vec<(String, &'static str, Value)> {
    let (rejected, cancelled, unknown) = (parked(rig, "rejected"), parked(rig, "cancelled"), parked(rig, "unknown"));
    rig.alice().reject(&rejected, "No.");
    let withdraw = rig.bot().post(&format!("/_holdpoint/v1/approvals/{cancelled}/cancel"), &json!({}));
    withdraw.send().expect(200, "");
    rig.alice().approve(&unknown);
    rig.origin.behave(Manner::Close);
    held(rig, "unknown").send().expect(502, "outcome_unknown");
    rig.origin.behave(Manner::Count);
    let expired = a_second_passes(rig);
    vec![
        (rejected, "rejected", Value::Null),
        (cancelled, "cancelled", Value::Null),
        (expired, "expired", Value::Null),
        (unknown, "approved", json!("unknown")),
    ]
}

fn check_ended(rig: &Rig, ended: &[(String, &str, Value)], step: &str) {
    for (id, status, outcome) in ended {
        let approval = rig.alice().approval(id);
        assert_eq!(approval["status"], *status, "{step}");
        if !outcome.is_null() {
            assert_eq!(approval["outcome"]["state"], *outcome, "{step}");
        }
        let other = if *status == "approved" { "rejected" } else { "approved" };
        rig.alice().try_decide(id, other, Some("Late.")).expect(409, "already_decided");
    }
}

/// A call whose grant soon ends.
fn brief(rig: &Rig) -> Call {
    rig.bot().post("/tools/call", &json!({ "params": { "name": "brief" } })).header("prefer", "wait=0")
}

/// A grant that is over: approved for a caller that left, and not used in time.
fn grant_that_is_over(rig: &Rig) -> String {
    let id = brief(rig).send().expect(503, "approval_pending").approval();
    rig.alice().approve(&id);
    a_second_passes(rig);
    a_second_passes(rig);
    id
}

/// The same call asks anew: nothing is sent on the strength of what is over.
fn check_over(rig: &Rig, id: &str, step: &str) {
    let again = brief(rig).send().expect(503, "approval_pending");
    assert_ne!(again.approval(), id, "{step}: a grant that was over came back");
    assert_eq!(rig.origin.count("/call"), 0, "{step}");
    rig.alice().reject(&again.approval(), "Enough.");
}

/// Sets the clock of a running gateway that has something in every state.
fn set_while_running(step: &str) {
    let rig = rig();
    let ended = ended(&rig);
    let over = grant_that_is_over(&rig);
    let sent = rig.deletions();
    let waiting = held(&rig, "waiting").start();
    let id = rig.gateway.one_pending();
    let granted = parked(&rig, "granted");
    rig.alice().approve(&granted);
    rig.origin.behave(Manner::Wait);
    let releasing = held(&rig, "releasing").header("prefer", "respond-async").send().expect(202, "").approval();
    rig.alice().approve(&releasing);
    until_true("it is being sent", || rig.deletions() == sent + 1);
    set_and_see(&rig, step);
    a_second_passes(&rig);
    assert_eq!(status(&rig, &id), "pending", "{step}: no early end");
    assert_eq!(rig.alice().approval(&releasing)["outcome"]["state"], "releasing", "{step}");
    check_ended(&rig, &ended, step);
    check_over(&rig, &over, step);
    rig.origin.go_on();
    rig.until_outcome(&releasing, "succeeded");
    rig.alice().approve(&id);
    assert_eq!(waiting.answer().expect(200, "").approval(), id, "{step}");
    let used = held(&rig, "granted").send().expect(200, "");
    assert_eq!(used.approval(), granted, "{step}: a grant with an hour left is good");
    assert_eq!(rig.deletions(), sent + 3, "{step}");
    // Put right again, it changes nothing either.
    set_and_see(&rig, "+0");
    a_second_passes(&rig);
    check_ended(&rig, &ended, step);
    check_over(&rig, &over, step);
}

#[test]
fn setting_the_clock_of_a_running_gateway_ahead_ends_nothing_early() {
    ["+2h", "+10y"].into_iter().for_each(set_while_running);
}

#[test]
fn setting_the_clock_of_a_running_gateway_back_brings_nothing_back() {
    ["-2h", "-10y"].into_iter().for_each(set_while_running);
}

#[test]
fn what_was_parked_before_the_clock_was_set_back_expires_when_its_time_has_passed() {
    let rig = rig();
    let id = rig.bot().call("GET", "/tools/report").send().expect(503, "approval_pending").approval();
    set_and_see(&rig, "-10y");
    until_true("its second is over", || status(&rig, &id) == "expired");
    rig.alice().try_decide(&id, "approved", None).expect(409, "already_decided");
}

#[test]
fn a_restart_with_the_clock_behind_keeps_what_is_pending_and_brings_nothing_back() {
    let mut rig = rig();
    let ended = ended(&rig);
    let over = grant_that_is_over(&rig);
    let sent = rig.deletions();
    let pending = parked(&rig, "pending");
    for step in ["-2h", "-10y"] {
        rig = restart(rig, step);
        check_ended(&rig, &ended, step);
        check_over(&rig, &over, step);
        a_second_passes(&rig);
        assert_eq!(status(&rig, &pending), "pending", "{step}");
    }
    assert_eq!(rig.deletions(), sent);
    rig.alice().approve(&pending);
    let used = held(&rig, "pending").send().expect(200, "");
    assert_eq!((used.approval(), rig.deletions()), (pending, sent + 1));
}

#[test]
fn a_restart_with_the_clock_far_ahead_closes_what_it_must_take_for_old_and_sends_nothing() {
    for step in ["+2h", "+10y"] {
        let rig = rig();
        let ended = ended(&rig);
        let (pending, granted) = (parked(&rig, "pending"), parked(&rig, "granted"));
        rig.alice().approve(&granted);
        let sent = rig.deletions();
        let rig = restart(rig, step);
        until_within(LONG, "what is past its time is closed", || (status(&rig, &pending) == "expired").then_some(()));
        check_ended(&rig, &ended, step);
        let again = held(&rig, "granted").header("prefer", "wait=0").send().expect(503, "approval_pending");
        assert_ne!(again.approval(), granted, "{step}");
        // The clock is put right: what was closed stays closed.
        let rig = restart(rig, "+0");
        check_ended(&rig, &ended, step);
        assert_eq!(status(&rig, &pending), "expired", "{step}");
        rig.alice().try_decide(&pending, "approved", None).expect(409, "already_decided");
        assert_eq!(rig.deletions(), sent, "{step}");
    }
}
