//! A store that fails while a configuration is taken over: the new one is in force, nobody is told otherwise, and what is left is
//! made up for.

use std::path::PathBuf;

use rusqlite::Connection;
use serde_json::json;

use super::BLOCK;
use super::whole::Inside;
use crate::support::rig::{Rig, gate_delete, repository};
use crate::support::wait::until_true;

/// A store whose approvals and trail cannot be found. Dropped, they can.
struct Away(PathBuf);

impl Away {
    fn from(path: PathBuf) -> Self {
        run(
            &path,
            "BEGIN; ALTER TABLE approvals RENAME TO approvals_away; ALTER TABLE audit RENAME TO audit_away; COMMIT",
        );
        Self(path)
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        run(
            &self.0,
            "BEGIN; ALTER TABLE approvals_away RENAME TO approvals; ALTER TABLE audit_away RENAME TO audit; COMMIT",
        );
    }
}

fn run(path: &PathBuf, sql: &str) {
    let raw = Connection::open(path).expect("the store can be opened beside the gateway");
    raw.busy_timeout(crate::support::wait::SOON).expect("a time-out can be set");
    raw.execute_batch(sql).expect("the store can be changed");
}

#[test]
fn a_reload_during_which_the_store_fails_is_in_force_says_so_and_is_finished_later() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    let away = Away::from(rig.home.path("holdpoint.db"));
    rig.reload_policy(BLOCK);
    until_true("it is told what is left to do", || {
        let log = rig.gateway.log();
        log.contains("in force, but pending approvals could not be judged again yet; it is tried again")
            && log.contains("the reload could not be written to the trail yet; it is tried again")
    });
    until_true("the reload is counted", || rig.gateway.log().contains("configuration and policy reloaded"));
    assert!(!rig.gateway.log().contains("the old one stays in force"), "{}", rig.gateway.log());
    assert_eq!(rig.gateway.metric("holdpoint_config_last_reload_successful", &[]), 1.0);
    rig.bot().post("/tools/delete_repo", &json!({ "repo": "other" })).send().expect(403, "blocked");
    drop(away);
    // Nobody asks for another reload.
    assert_eq!(waiting.answer().expect(403, "blocked").approval(), id);
    assert_eq!(rig.alice().approval(&id)["status"], "cancelled");
    let alice = rig.alice();
    until_true("every reload is in the trail, the one without a store too", || {
        let recorded = alice.events(None).iter().filter(|kind| *kind == "reloaded").count();
        recorded == rig.gateway.log().matches("configuration and policy reloaded").count()
    });
    rig.nothing_was_sent();
}

#[test]
fn the_next_reload_judges_what_one_with_a_failing_store_left() {
    let inside = Inside::start(&gate_delete("hold: 30s"));
    let parked = inside.bot().post("/tools/delete_repo", &repository()).header("prefer", "respond-async").send();
    let id = parked.expect(202, "").approval();
    let away = Away::from(inside.home.path("holdpoint.db"));
    inside.reload_gate(BLOCK).expect_err("the store is away");
    drop(away);
    inside.reload_gate(BLOCK).expect("the store is back");
    assert_eq!(inside.alice().approval(&id)["status"], "cancelled");
}

#[test]
fn a_pending_approval_that_cannot_be_read_keeps_no_other_from_being_judged_again() {
    let rig = Rig::start();
    let (_lost, first) = rig.park();
    let other = rig.bot().post("/tools/delete_repo", &json!({ "repo": "other" })).start();
    let second = rig.gateway.pending(2).into_iter().find(|id| *id != first).expect("there are two");
    let path = rig.home.path("holdpoint.db");
    run(&path, &format!("UPDATE requests SET sealed = x'00' WHERE approval = '{first}'"));
    rig.reload_policy(BLOCK);
    assert_eq!(other.answer().expect(403, "blocked").approval(), second);
    until_true("the reload is over", || rig.gateway.log().contains("configuration and policy reloaded"));
    let log = rig.gateway.log();
    let named = log.lines().any(|line| line.contains("could not be judged again") && line.contains(&first));
    assert!(named && !log.contains("it is tried again"), "{log}");
    // What cannot be read cannot be sent.
    assert_eq!(rig.alice().approval(&first)["status"], "pending");
    rig.nothing_was_sent();
}
