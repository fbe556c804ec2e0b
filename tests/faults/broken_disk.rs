//! Writes and syncs of the store that fail, at every place of a scripted run: refused or durable, and sent at most once.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::kit::{Injection, LONG, expect_store_unavailable, status_of, until_true};
use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::http::{Answer, Wire};
use crate::support::people::Call;
use crate::support::rig::{Rig, gate_delete};
use crate::support::wait::until_within;

/// The database and its log.
fn files(home: &Home) -> [PathBuf; 2] {
    [home.path("holdpoint.db"), home.path("holdpoint.db-wal")]
}

/// A call that the gateway sends by itself once it is approved.
fn detached(rig: &Rig, n: usize) -> Call {
    rig.bot().post("/tools/delete_repo", &json!({ "n": n })).header("prefer", "respond-async")
}

/// How often the upstream was told to.
fn sent(rig: &Rig, n: usize) -> usize {
    rig.origin.hits().iter().filter(|hit| hit.json() == json!({ "n": n })).count()
}

/// The approval of a call, found by what it says.
fn find(rig: &Rig, n: usize) -> Option<Value> {
    let all = rig.alice().approvals("limit=200");
    all.into_iter().find(|approval| approval["input"]["args"] == json!({ "n": n }))
}

fn outcome(rig: &Rig, id: &str) -> Value {
    rig.alice().approval(id)["outcome"]["state"].clone()
}

fn settle(rig: &Rig, id: &str, state: &str) {
    until_true(&format!("{id} is {state}"), || outcome(rig, id) == state);
}

/// The scripted run under an injection: a call is parked and approved, and the gateway sends it. Whatever was refused has left
/// nothing behind.
struct Run {
    parked: Option<String>,
    approved: bool,
}

impl Run {
    fn go(rig: &Rig, n: usize, injection: &Injection) -> Self {
        let refused = |answer: Answer| expect_store_unavailable(&answer);
        let answer = detached(rig, n).send();
        if answer.status != 202 {
            refused(answer);
            return Self { parked: None, approved: false };
        }
        let id = answer.approval();
        let answer = rig.alice().try_decide(&id, "approved", None);
        if answer.status != 200 {
            refused(answer);
            return Self { parked: Some(id), approved: false };
        }
        let look = rig.alice().call("GET", &format!("/v1/approvals/{id}"));
        until_true("the call is sent, or the disk has failed", || {
            let is_sent = look.try_send().is_ok_and(|answer| answer.json()["outcome"]["state"] == "succeeded");
            is_sent || injection.failed() > 0
        });
        Self { parked: Some(id), approved: true }
    }
}

#[test]
fn a_disk_that_is_full_from_any_write_on_refuses_and_changes_nothing_and_work_resumes() {
    let rig = Rig::with(|home| home.policy(&gate_delete("hold: 50ms, expires_in: 1h")));
    let files = files(&rig.home);
    let files: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    let mut faults = 0;
    // Each write of the run in turn is the first that fails: for ever, or it alone.
    for (round, nth) in (1..).step_by(2).enumerate() {
        assert!(nth < 400, "the run has an end");
        let (n, until_repaired) = (nth, round % 2 == 0);
        let when = if until_repaired { format!("{nth}+") } else { nth.to_string() };
        let injection = Injection::into(&rig.gateway, &files, &format!("pwrite64:error=ENOSPC:when={when}"));
        let run = Run::go(&rig, n, &injection);
        let failed = injection.failed();
        if until_repaired && failed > 0 {
            assert_eq!(status_of(rig.gateway.admin, "/readyz"), Some(503), "write {nth}");
            expect_store_unavailable(&detached(&rig, n + 1000).send());
            // What needs no record passes, and what is there can be read.
            rig.bot().post("/tools/safe_read", &json!({})).send().expect(200, "");
        }
        assert!(sent(&rig, n) <= usize::from(run.approved), "write {nth}: nothing is sent that nobody approved");
        injection.end();
        let id = match run.parked {
            Some(id) => id,
            None => {
                assert_eq!(find(&rig, n), None, "write {nth}: what was refused left nothing");
                detached(&rig, n).send().expect(202, "").approval()
            }
        };
        if !run.approved {
            let approval = rig.alice().approval(&id);
            assert_eq!((&approval["status"], &approval["votes"]), (&json!("pending"), &json!([])), "write {nth}");
            rig.alice().approve(&id);
        }
        settle(&rig, &id, "succeeded");
        assert_eq!(sent(&rig, n), 1, "write {nth}");
        assert_eq!(find(&rig, n + 1000), None, "write {nth}");
        faults += failed;
        if failed == 0 {
            break;
        }
    }
    assert!(faults > 20, "{faults} writes failed");
    assert_eq!(status_of(rig.gateway.admin, "/readyz"), Some(200));
    assert_eq!(rig.gateway.metric("holdpoint_calls_abandoned_total", &[]), 0.0);
    let Rig { gateway, home, origin } = rig;
    gateway.stop();
    // The chain of records is whole, and the next start finds nothing to mend.
    let rig = Rig { gateway: Gateway::start(&home), home, origin };
    assert_eq!(rig.gateway.pending(0).len(), 0);
    verify_trail(&rig.home);
    println!("R5: {faults} failed writes, each refused or made up for");
}

fn verify_trail(home: &Home) {
    let config = home.path("holdpoint.yaml");
    let config = config.to_str().expect("UTF-8");
    let verified = crate::support::gateway::holdpoint(&["audit", "verify", "-c", config]).output();
    let verified = verified.expect("the binary can be started");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

/// Asserts that the gateway ends by itself with code 1 and is never ready meanwhile.
fn ends_as_lost(gateway: &mut Gateway, fault: &str) {
    until_true(&format!("{fault}: the gateway ends"), || {
        let ready = status_of(gateway.admin, "/readyz");
        assert!(matches!(ready, None | Some(503)), "{fault}: ready ({ready:?}) on a store that nobody can trust");
        ready.is_none()
    });
    assert_eq!(gateway.end().code(), Some(1), "{fault}: {}", gateway.log());
    let log = gateway.log();
    assert!(log.contains("not trusted any more") && log.contains("a restart reads what is on disk"), "{fault}: {log}");
}

#[test]
fn after_a_sync_that_failed_the_gateway_ends_and_a_restart_neither_loses_nor_repeats_anything() {
    let mut rig = Rig::with(|home| home.policy(&gate_delete("hold: 50ms, expires_in: 1h")));
    // Syncs of the run: parked, approved, `releasing`, the outcome. Then writes that fail as broken disks do.
    let syncs = (1..=4).map(|nth| format!("fsync,fdatasync:error=EIO:when={nth}"));
    let writes = [8, 35, 50, 60].map(|nth| format!("pwrite64:error=EIO:when={nth}+"));
    for (n, fault) in syncs.chain(writes).enumerate() {
        let files = files(&rig.home);
        let files: Vec<_> = files.iter().map(PathBuf::as_path).collect();
        let injection = Injection::into(&rig.gateway, &files, &fault);
        let run = Run::go(&rig, n, &injection);
        until_true(&format!("{fault} has happened"), || {
            _ = status_of(rig.gateway.admin, "/readyz");
            injection.failed() > 0
        });
        let Rig { mut gateway, home, origin } = rig;
        ends_as_lost(&mut gateway, &fault);
        injection.end();
        let before = origin.hits().len();
        rig = Rig { gateway: Gateway::start(&home), home, origin };
        let found = find(&rig, n);
        match (&run.parked, &found) {
            (Some(id), Some(found)) => assert_eq!(found["id"], *id, "{fault}"),
            (Some(id), None) => panic!("{fault}: {id} was acknowledged and is gone"),
            (None, _) => assert_eq!(sent(&rig, n), 0, "{fault}"),
        }
        let id = match found {
            Some(found) => found["id"].as_str().expect("an id").to_owned(),
            None => detached(&rig, n).send().expect(202, "").approval(),
        };
        // Whether the decision that was refused is on disk could not be told; what was acknowledged stands.
        let is_pending = rig.alice().approval(&id)["status"] == "pending";
        assert!(!(run.approved && is_pending), "{fault}: an acknowledged decision is gone");
        if is_pending {
            rig.alice().approve(&id);
        }
        let end = until_within(LONG, "the call has an outcome", || {
            let state = outcome(&rig, &id);
            (state == "succeeded" || state == "unknown").then_some(state)
        });
        let times = sent(&rig, n);
        assert!(times <= 1, "{fault}: sent {times} times");
        assert!(end == "unknown" || times == 1, "{fault}: {end} and sent {times} times");
        assert!(rig.origin.hits().len() <= before + 1, "{fault}: nothing else is sent by the restart");
        verify_trail(&rig.home);
    }
}

/// Enough groups for the log to be written into the database.
fn provoke_checkpoint(gateway: &Gateway) {
    let mut wire = Wire::connect(gateway.admin);
    for _ in 0..1100 {
        wire.send(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n");
        // The gateway may end in the middle of this, for good reason.
        if wire.answer().is_err() {
            return;
        }
    }
}

#[test]
fn a_log_that_finds_no_room_in_the_database_waits_and_one_that_cannot_be_synced_ends_the_gateway() {
    let rig = Rig::with(|home| home.policy(&gate_delete("hold: 50ms, expires_in: 1h")));
    let database = rig.home.path("holdpoint.db");
    let told = "the store's log could not be written into the database";
    let injection = Injection::into(&rig.gateway, &[&database], "pwrite64:error=ENOSPC:when=1+");
    let id = detached(&rig, 1).send().expect(202, "").approval();
    provoke_checkpoint(&rig.gateway);
    assert!(injection.failed() > 0 && rig.gateway.log().contains(told), "{}", rig.gateway.log());
    // The log alone is as good as both.
    assert_eq!(status_of(rig.gateway.admin, "/readyz"), Some(200));
    rig.alice().approve(&id);
    settle(&rig, &id, "succeeded");
    injection.end();
    provoke_checkpoint(&rig.gateway);
    let injection = Injection::into(&rig.gateway, &[&database], "fsync,fdatasync:error=EIO:when=1");
    let later = detached(&rig, 2).send().expect(202, "").approval();
    provoke_checkpoint(&rig.gateway);
    let Rig { mut gateway, home, origin } = rig;
    ends_as_lost(&mut gateway, "the sync of a checkpoint");
    assert!(injection.failed() > 0);
    injection.end();
    let rig = Rig { gateway: Gateway::start(&home), home, origin };
    assert_eq!(outcome(&rig, &id), "succeeded");
    assert_eq!(rig.alice().approval(&later)["status"], "pending");
    rig.alice().approve(&later);
    settle(&rig, &later, "succeeded");
    assert_eq!(sent(&rig, 1), 1);
    assert_eq!(sent(&rig, 2), 1);
}
