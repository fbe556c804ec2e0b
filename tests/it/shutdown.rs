//! The end of a gateway, asked for or not: what was acknowledged is still there, and nothing runs twice.

use crate::support::gateway::{Gateway, serve};
use crate::support::origin::Manner;
use crate::support::rig::{Rig, repository};
use crate::support::wait::{until, until_true};

impl Rig {
    /// Kills the gateway and starts it again in the same folder.
    fn crash_and_start(self) -> Self {
        let Self { gateway, home, origin } = self;
        gateway.crash();
        Self { gateway: Gateway::start(&home), home, origin }
    }
}

#[test]
fn a_parked_call_survives_a_crash_and_its_callers_retry_is_let_through() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let rig = rig.crash_and_start();
    assert!(waiting.outcome().is_err(), "a connection does not survive the process");
    let approval = rig.alice().approval(&id);
    assert_eq!((approval["status"].as_str(), approval["caller"]["waiting"].as_u64()), (Some("pending"), Some(0)));
    let waiting = rig.bot().post("/tools/delete_repo", &repository()).start();
    until_true("the retry joined it", || rig.alice().approval(&id)["caller"]["waiting"] == 1);
    rig.alice().approve(&id);
    assert_eq!(waiting.answer().expect(200, "").approval(), id);
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn a_decision_survives_a_crash() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    waiting.hang_up();
    rig.until_caller_left(&id);
    rig.alice().approve(&id);
    let rig = rig.crash_and_start();
    assert_eq!(rig.alice().approval(&id)["status"], "approved");
    assert_eq!(rig.bot().post("/tools/delete_repo", &repository()).send().expect(200, "").approval(), id);
    let rig = rig.crash_and_start();
    let asked = rig.bot().post("/tools/delete_repo", &repository()).header("prefer", "wait=0").send();
    assert_ne!(asked.expect(503, "approval_pending").approval(), id);
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn what_was_being_sent_in_a_crash_is_unknown_and_never_sent_again() {
    let rig = Rig::start();
    rig.origin.behave(Manner::Wait);
    let (waiting, id) = rig.park();
    rig.alice().approve(&id);
    until_true("the upstream has the call", || rig.deletions() == 1);
    let rig = rig.crash_and_start();
    assert!(waiting.outcome().is_err());
    rig.origin.behave(Manner::Count);
    rig.until_outcome(&id, "unknown");
    let retry = rig.bot().post("/tools/delete_repo", &repository()).header("prefer", "wait=0").send();
    assert_ne!(retry.expect(503, "approval_pending").approval(), id, "a person is asked anew");
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn a_detached_call_that_was_being_sent_in_a_crash_is_never_sent_again() {
    let rig = Rig::start();
    rig.origin.behave(Manner::Wait);
    let call = rig.bot().post("/tools/delete_repo", &repository()).header("prefer", "respond-async");
    let id = call.send().expect(202, "").approval();
    rig.alice().approve(&id);
    until_true("the upstream has the call", || rig.deletions() == 1);
    let rig = rig.crash_and_start();
    rig.origin.behave(Manner::Count);
    rig.until_outcome(&id, "unknown");
    let rig = rig.crash_and_start();
    rig.until_outcome(&id, "unknown");
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn an_idle_gateway_ends_at_once_and_cleanly() {
    let rig = Rig::start();
    rig.bot().call("GET", "/tools/safe_status").send().expect(200, "");
    let begin = std::time::Instant::now();
    rig.gateway.stop();
    // The drain time-out is 30 s: nothing was under way, so nothing is waited for.
    assert!(begin.elapsed().as_secs() < 10);
}

#[test]
fn a_second_gateway_on_the_same_store_refuses_to_start() {
    let rig = Rig::start();
    let second = serve(&rig.home).output().expect("the binary can be run");
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("holdpoint.db"), "names the file: {said}");
    // The first one is none the worse for it.
    let (waiting, id) = rig.park();
    rig.alice().approve(&id);
    waiting.answer().expect(200, "");
}

#[test]
fn sigterm_finishes_what_is_being_sent_and_tells_those_who_wait() {
    let mut rig = Rig::start();
    rig.origin.behave(Manner::Wait);
    let (releasing, released) = rig.park();
    rig.alice().approve(&released);
    until_true("the upstream has the call", || rig.deletions() == 1);
    let parked = rig.bot().post("/tools/delete_repo", &serde_json::json!({ "repo": "acme/other" })).start();
    let pending = rig.gateway.one_pending();
    rig.gateway.signal("TERM");
    let told = parked.answer().expect(503, "draining");
    assert_eq!(told.approval(), pending);
    assert!(!releasing.is_answered());
    rig.origin.go_on();
    assert_eq!(releasing.answer().expect(200, "").approval(), released);
    let status = rig.gateway.end();
    assert!(status.success(), "{status}");
    // What was parked can be decided after the next start.
    let rig = Rig { gateway: Gateway::start(&rig.home), home: rig.home, origin: rig.origin };
    rig.until_outcome(&released, "succeeded");
    rig.alice().approve(&pending);
    let retry = rig.bot().post("/tools/delete_repo", &serde_json::json!({ "repo": "acme/other" })).send();
    assert_eq!(retry.expect(200, "").approval(), pending);
    assert_eq!(rig.deletions(), 2);
}

#[test]
fn a_release_longer_than_the_drain_time_out_ends_as_unknown() {
    let rig = Rig::with(|home| home.key("drain_timeout: 500ms"));
    rig.origin.behave(Manner::Wait);
    let (waiting, id) = rig.park();
    rig.alice().approve(&id);
    until_true("the upstream has the call", || rig.deletions() == 1);
    let Rig { mut gateway, home, origin } = rig;
    gateway.signal("TERM");
    gateway.end();
    drop(waiting.outcome());
    origin.behave(Manner::Count);
    let rig = Rig { gateway: Gateway::start(&home), home, origin };
    rig.until_outcome(&id, "unknown");
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn a_draining_gateway_is_not_ready_and_ends_by_itself() {
    let rig = Rig::start();
    rig.origin.behave(Manner::Wait);
    let (waiting, id) = rig.park();
    rig.alice().approve(&id);
    until_true("the upstream has the call", || rig.deletions() == 1);
    let Rig { mut gateway, origin, .. } = rig;
    // A connection from before the signal still gets an honest answer.
    let mut wire = crate::support::http::Wire::connect(gateway.admin);
    wire.send(&crate::support::http::request("GET", "/readyz", &[], None));
    assert_eq!(wire.answer().expect("an answer").status, 200);
    gateway.signal("TERM");
    until("the proxy stops accepting", || std::net::TcpStream::connect(gateway.proxy).is_err().then_some(()));
    origin.go_on();
    waiting.answer().expect(200, "");
    assert!(gateway.end().success());
}
