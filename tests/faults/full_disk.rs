//! Real file systems that are full: under the store, and under the log alone.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;

use serde_json::{Value, json};

use crate::kit::{Disk, LONG, expect_store_unavailable, in_own_namespace, until_true};
use crate::support::gateway::{Gateway, serve};
use crate::support::home::Home;
use crate::support::http::Wire;
use crate::support::origin::Origin;
use crate::support::people::{Agent, Reviewer};
use crate::support::rig::{Rig, gate_delete, repository};
use crate::support::wait::until_within;

#[test]
fn on_a_full_disk_nothing_is_parked_decided_or_started_and_with_room_again_work_resumes() {
    in_own_namespace("full_disk::child_fills_the_disk_of_the_store");
}

/// Not a test of its own: what the test above runs, where it may mount.
#[test]
#[ignore = "run by the test beside it, in name spaces of its own"]
fn child_fills_the_disk_of_the_store() {
    let origin = Origin::start();
    let audited = "  - { id: watch, match: report, action: audit }\n";
    let policy = format!("{}{audited}", gate_delete("hold: 60s, expires_in: 1h"));
    let mut home = Home::new(origin.address).policy(&policy);
    let disk = Disk::mount(&home.path("disk"), 2048);
    home.settings.store = format!("sqlite://{}", disk.path("holdpoint.db").display());
    let rig = Rig { gateway: Gateway::start(&home), home, origin };
    let (waiting, id) = rig.park();
    let (leaving, left) = {
        let call = rig.bot().post("/tools/delete_repo", &json!({ "repo": "another" })).start();
        (call, rig.gateway.pending(2).remove(1))
    };
    disk.fill();
    until_true("the log of the store is full too", || rig.gateway.get("/readyz").status == 503);
    expect_store_unavailable(&rig.bot().post("/tools/delete_repo", &json!({ "repo": "third" })).send());
    expect_store_unavailable(&rig.alice().try_decide(&id, "approved", None));
    expect_store_unavailable(&rig.alice().try_decide(&id, "rejected", Some("No.")));
    // A verdict that must be written down first is refused like one that must be parked; the others pass or are blocked.
    expect_store_unavailable(&rig.bot().call("GET", "/tools/report").send());
    rig.bot().post("/tools/safe_read", &json!({})).send().expect(200, "");
    rig.bot().post("/tools/call", &json!({ "params": { "name": "x" } })).send().expect(403, "blocked");
    leaving.hang_up();
    assert!(!waiting.is_answered(), "whoever waits goes on waiting");
    assert_eq!(rig.alice().approval(&id)["status"], "pending");
    assert_eq!(rig.deletions() + rig.origin.count("/report"), 0);
    disk.empty();
    rig.alice().approve(&id);
    assert_eq!(waiting.answer().expect(200, "").approval(), id);
    // That the other caller has left is known by now, though it could not be written down when it did.
    let alice = rig.alice();
    until_true("the caller's leaving is known", || alice.approval(&left)["caller"]["waiting"] == 0);
    assert_eq!(rig.deletions(), 1);
    crash_on_a_full_disk(rig, &disk, &left);
}

/// Killed while the disk is full, the gateway does not start before there is room; then everything is as it was.
fn crash_on_a_full_disk(rig: Rig, disk: &Disk, pending: &str) {
    let Rig { gateway, home, origin } = rig;
    disk.fill();
    gateway.crash();
    let refused = serve(&home).output().expect("the binary can be started");
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("store"), "{said}");
    disk.empty();
    let rig = Rig { gateway: Gateway::start(&home), home, origin };
    assert_eq!(rig.gateway.one_pending(), pending);
    assert_eq!(rig.deletions(), 1);
    let rejoined = rig.bot().post("/tools/delete_repo", &json!({ "repo": "another" })).start();
    let alice = rig.alice();
    until_true("the call has joined its approval", || alice.approval(pending)["caller"]["waiting"] == 1);
    rig.alice().approve(pending);
    assert_eq!(rejoined.answer().expect(200, "").approval(), pending);
    assert_eq!(rig.deletions(), 2);
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    in_own_namespace("full_disk::child_fills_the_disk_of_the_log");
}

/// A gateway that logs into a file.
struct Logging {
    child: Child,
    log: PathBuf,
    proxy: SocketAddr,
    admin: SocketAddr,
}

impl Logging {
    fn start(home: &Home, log: &Path) -> Self {
        let file = File::create(log).expect("the log can be made");
        let child = serve(home).stderr(file).spawn().expect("the binary can be started");
        let address = |surface: &str| {
            until_within(LONG, "the listener is announced", || {
                let text = std::fs::read_to_string(log).ok()?;
                text.lines().find_map(|line| {
                    let line: Value = serde_json::from_str(line).ok()?;
                    let is_it = line["message"] == "listening" && line["surface"] == surface;
                    is_it.then(|| line["address"].as_str()?.parse().ok())?
                })
            })
        };
        let (proxy, admin) = (address("proxy"), address("admin"));
        Self { child, log: log.to_owned(), proxy, admin }
    }

    fn log_bytes(&self) -> u64 {
        std::fs::metadata(&self.log).expect("the log is there").len()
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Not a test of its own: what the test above runs, where it may mount.
#[test]
#[ignore = "run by the test beside it, in name spaces of its own"]
fn child_fills_the_disk_of_the_log() {
    let origin = Origin::start();
    let home = Home::new(origin.address).policy(&gate_delete("hold: 60s, expires_in: 1h")).key("log: { level: debug }");
    let disk = Disk::mount(&home.path("disk"), 512);
    let mut gateway = Logging::start(&home, &disk.path("log"));
    let bot = Agent { proxy: gateway.proxy, id: "bot".to_owned() };
    let alice = Reviewer { admin: gateway.admin, id: "alice".to_owned() };
    disk.fill();
    // A head that cannot be read is logged first and then written to the trail, by one task. The first few still find room in the
    // last page of the file.
    let log_something = || Wire::connect(gateway.proxy).send(b"\0\r\n\r\n");
    let refused = || alice.events(None).iter().filter(|kind| *kind == "input_refused").count();
    until_true("the log is full", || {
        let before = (gateway.log_bytes(), refused());
        (0..20).for_each(|_| log_something());
        until_true("all are on the trail", || refused() == before.1 + 20);
        gateway.log_bytes() == before.0
    });
    let waiting = bot.post("/tools/delete_repo", &repository()).start();
    let id = until_within(LONG, "it is parked", || {
        alice.pending().first().and_then(|one| one["id"].as_str().map(str::to_owned))
    });
    alice.approve(&id);
    waiting.answer().expect(200, "");
    bot.post("/tools/other", &json!({})).send().expect(403, "blocked");
    assert_eq!(origin.count("/delete_repo"), 1);
    let full = gateway.log_bytes();
    assert_eq!(
        alice.events(Some(&id)).last().map(String::as_str),
        Some("release_succeeded"),
        "the trail is not the log"
    );
    disk.empty();
    assert!(gateway.child.try_wait().is_ok_and(|end| end.is_none()), "it runs");
    until_true("what happens is logged again", || {
        log_something();
        gateway.log_bytes() > full
    });
}
