//! A restored backup is the past: nothing is sent again on the strength of it.

use std::time::Instant;

use serde_json::json;

use super::{expect, on_store, text};
use crate::store_conformance::fill;
use crate::support::gateway::{Gateway, holdpoint, serve};
use crate::support::home::Home;
use crate::support::origin::Origin;
use crate::support::rig::{Rig, gate_delete, repository};

const LONG: &str = "hold: 30s, expires_in: 1h, grant_ttl: 1h";

impl Rig {
    fn backup(&self, name: &str) -> std::path::PathBuf {
        let file = self.home.path(name);
        expect(&on_store(&self.home, &["backup"], &["--to", &text(&file)]), 0);
        file
    }

    /// A detached call that was parked and has nobody waiting.
    fn detached(&self, repo: &str) -> String {
        let call = self.bot().post("/tools/delete_repo", &json!({ "repo": repo })).header("prefer", "respond-async");
        call.send().expect(202, "").approval()
    }
}

/// Ends the gateway, restores `file` over the store and starts again.
fn restored(rig: Rig, file: &std::path::Path) -> (Rig, String) {
    let Rig { gateway, home, origin } = rig;
    gateway.stop();
    let said = expect(&on_store(&home, &["restore"], &["--from", &text(file), "--force"]), 0);
    (Rig { gateway: Gateway::start(&home), home, origin }, said)
}

#[test]
fn what_was_pending_or_granted_in_a_backup_is_never_sent_after_a_restore() {
    let rig = Rig::with(|home| home.policy(&gate_delete(LONG)));
    let pending = rig.detached("acme/pending");
    // Approved, and its caller has left: a grant.
    let waiting = rig.bot().post("/tools/delete_repo", &repository()).start();
    let granted = rig.gateway.pending(2).into_iter().find(|id| *id != pending).expect("the second");
    waiting.hang_up();
    rig.until_caller_left(&granted);
    rig.alice().approve(&granted);
    let file = rig.backup("backup.db");
    // After the backup both are sent, once each.
    rig.alice().approve(&pending);
    rig.until_outcome(&pending, "succeeded");
    rig.bot().post("/tools/delete_repo", &repository()).send().expect(200, "");
    assert_eq!(rig.deletions(), 2);
    let (rig, said) = restored(rig, &file);
    assert!(said.contains(&pending) && said.contains(&granted) && said.contains("set aside"), "{said}");
    let approval = rig.alice().approval(&pending);
    assert_eq!(
        (approval["status"].as_str(), approval["decided_by"]["kind"].as_str()),
        (Some("cancelled"), Some("operator"))
    );
    assert!(approval["reason"].as_str().is_some_and(|reason| reason.contains("restored from a backup")), "{approval}");
    rig.alice().try_decide(&pending, "approved", None).expect(409, "already_decided");
    rig.until_outcome(&granted, "unknown");
    // The same calls again: a person is asked, and nothing was sent.
    for body in [repository(), json!({ "repo": "acme/pending" })] {
        let asked = rig.bot().post("/tools/delete_repo", &body).header("prefer", "wait=0").send();
        let id = asked.expect(503, "approval_pending").approval();
        assert!(id != pending && id != granted);
    }
    assert_eq!(rig.deletions(), 2);
    // A reviewer settles what is unknown, as after a crash.
    let settle = json!({ "outcome": "committed", "note": "the repository is gone" });
    rig.alice().call("POST", &format!("/v1/approvals/{granted}/resolve")).json(&settle).send().expect(200, "");
    // Restarts do not bring it back either.
    let Rig { gateway, home, origin } = rig;
    gateway.crash();
    let rig = Rig { gateway: Gateway::start(&home), home, origin };
    assert_eq!(rig.alice().approval(&pending)["status"], "cancelled");
    assert_eq!(rig.deletions(), 2);
}

#[test]
fn a_restored_trail_says_where_the_backup_ended_and_verifies() {
    let rig = Rig::with(|home| home.policy(&gate_delete(LONG)));
    let pending = rig.detached("acme/one");
    let file = rig.backup("backup.db");
    let ended = rig.alice().trail();
    rig.detached("acme/later");
    let (rig, _) = restored(rig, &file);
    let trail = rig.alice().trail();
    assert_eq!(trail[..ended.len()], ended[..], "the backup's records are as they were");
    let next = &trail[ended.len()]["event"];
    assert_eq!(next["kind"], "store_restored");
    assert_eq!(next["detail"]["backup"]["seq"], ended.len());
    assert_eq!(next["detail"]["backup"]["hash"], ended[ended.len() - 1]["hash"]);
    let replaced = next["detail"]["replaced"]["seq"].as_u64().expect("and what it replaced");
    assert!(replaced > ended.len() as u64, "{next}");
    assert_eq!(rig.alice().events(Some(&pending)), ["approval_created", "approval_cancelled"]);
    expect(&on_store(&rig.home, &["audit", "verify"], &[]), 0);
    // What came after the backup is gone with it, and its set-aside store still has it.
    let aside = std::fs::read_dir(rig.home.path("")).expect("readable").map(|entry| entry.expect("an entry").path());
    let aside = aside.into_iter().find(|path| text(path).contains(".replaced-")).expect("it is set aside");
    let config = rig.home.path("aside.yaml");
    let whole = rig.home.configuration().replace("sqlite://holdpoint.db", &format!("sqlite://{}", text(&aside)));
    std::fs::write(&config, whole).expect("written");
    let output = crate::support::gateway::holdpoint(&["audit", "verify", "-c"]).arg(&config).output().expect("runs");
    assert!(expect(&output, 0).contains(&format!("{replaced} records")), "{output:?}");
}

#[test]
fn nothing_is_restored_over_a_store_in_use_or_with_something_in_it() {
    let rig = Rig::with(|home| home.policy(&gate_delete(LONG)));
    let pending = rig.detached("acme/one");
    let file = rig.backup("backup.db");
    let from = text(&file);
    let said = expect(&on_store(&rig.home, &["restore"], &["--from", &from, "--force"]), 1);
    assert!(said.contains("in use") && said.contains("stop the gateway"), "{said}");
    rig.alice().approve(&pending);
    rig.until_outcome(&pending, "succeeded");
    let Rig { gateway, home, origin } = rig;
    gateway.stop();
    let said = expect(&on_store(&home, &["restore"], &["--from", &from]), 1);
    assert!(said.contains("--force") && said.contains("records"), "{said}");
    let said = expect(&on_store(&home, &["restore"], &["--from", &text(&home.path("holdpoint.db")), "--force"]), 1);
    assert!(said.contains("the store itself"), "{said}");
    expect(&on_store(&home, &["restore"], &["--from", "/nowhere/backup.db", "--force"]), 2);
    let rig = Rig { gateway: Gateway::start(&home), home, origin };
    rig.until_outcome(&pending, "succeeded");
}

#[test]
fn a_backup_is_restored_where_there_is_no_store() {
    let rig = Rig::with(|home| home.policy(&gate_delete(LONG)));
    let pending = rig.detached("acme/one");
    let sent = rig.detached("acme/two");
    rig.alice().approve(&sent);
    rig.until_outcome(&sent, "succeeded");
    let file = rig.backup("backup.db");
    let origin = Origin::start();
    let home = Home::new(origin.address).policy(&gate_delete(LONG));
    expect(&on_store(&home, &["restore"], &["--from", &text(&file)]), 0);
    // The kept answer was sealed with the key that was left behind, as it should be; the gateway says so at once.
    let refused = serve(&home).output().expect("the binary can be run");
    assert!(expect(&refused, 1).contains("kept answers") && expect(&refused, 1).contains("holdpoint.db.key"));
    std::fs::copy(rig.home.path("holdpoint.db.key"), home.path("holdpoint.db.key")).expect("copies");
    let other = Rig { gateway: Gateway::start(&home), home, origin };
    assert_eq!(other.alice().approval(&pending)["status"], "cancelled");
    let result = |id: &str| other.bot().call("GET", &format!("/_holdpoint/v1/approvals/{id}/result")).send();
    result(&sent).expect(200, "");
    result(&pending).expect(409, "no_result");
    expect(&on_store(&other.home, &["audit", "verify"], &[]), 0);
}

#[test]
fn a_restore_that_is_killed_leaves_the_old_store_or_the_restored_one() {
    const OLD: u32 = 10;
    const BACKUP: u32 = 2_000;
    let home = Home::new(([127, 0, 0, 1], 9).into());
    home.write();
    let (store, kept, file) = (home.path("holdpoint.db"), home.path("kept.db"), home.path("backup.db"));
    fill(&store, OLD);
    std::fs::rename(&store, &kept).expect("renames");
    fill(&file, BACKUP);
    let restore = || {
        let mut command = holdpoint(&["restore", "--force", "-c"]);
        command.arg(home.path("holdpoint.yaml")).arg("--from").arg(&file);
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        command.spawn().expect("the binary can be run")
    };
    let records = || {
        let said = expect(&on_store(&home, &["audit", "verify"], &[]), 0);
        let word = said.split(" records").next().and_then(|rest| rest.rsplit(' ').next()).expect("a number");
        word.parse::<u32>().expect("a number")
    };
    std::fs::copy(&kept, &store).expect("copies");
    let begin = Instant::now();
    assert!(restore().wait().expect("ends").success());
    let whole = begin.elapsed();
    // What the backup holds, that it was restored, and that each of its calls was cancelled.
    let new = 2 * BACKUP + 1;
    assert_eq!(records(), new);
    let mut found = [0; 2];
    for part in 1..=12 {
        std::fs::copy(&kept, &store).expect("copies");
        let mut child = restore();
        std::thread::sleep(whole.mul_f64(f64::from(part) / 12.0));
        child.kill().expect("kills");
        child.wait().expect("ends");
        match records() {
            OLD => found[0] += 1,
            count => {
                assert_eq!(count, new, "whole");
                found[1] += 1;
            }
        }
    }
    assert!(found[0] >= 3, "some were killed before the end: {found:?}");
}

#[test]
fn what_root_restores_belongs_to_the_gateways_user() {
    use std::os::unix::fs::{MetadataExt, chown};
    const SOMEBODY: u32 = 54_321;
    let home = Home::new(([127, 0, 0, 1], 9).into());
    home.write();
    let (store, file) = (home.path("holdpoint.db"), home.path("backup.db"));
    fill(&store, 3);
    fill(&file, 3);
    let root = std::fs::metadata("/proc/self").expect("readable").uid() == 0;
    // Whoever is not root cannot give files away, and restores what is their own.
    let owner = if root { SOMEBODY } else { std::fs::metadata(&store).expect("is there").uid() };
    if root {
        chown(&store, Some(SOMEBODY), Some(SOMEBODY)).expect("root gives files away");
        drop(std::fs::remove_file(home.path("holdpoint.db.lock")));
    }
    expect(&on_store(&home, &["restore"], &["--from", &text(&file), "--force"]), 0);
    expect(&on_store(&home, &["migrate"], &[]), 0);
    for name in ["holdpoint.db", "holdpoint.db.lock"] {
        assert_eq!(std::fs::metadata(home.path(name)).expect("is there").uid(), owner, "{name}");
    }
}

#[test]
fn a_session_from_before_the_backup_does_not_come_back_with_it() {
    let rig = Rig::start();
    let cookie = crate::dashboard::sign_in(&rig, "alice");
    let page = |rig: &Rig| {
        let call = crate::support::people::Call::new(rig.gateway.admin, "GET", "/dashboard/approvals");
        call.header("cookie", &cookie).send().status
    };
    assert_eq!(page(&rig), 200);
    let file = rig.backup("backup.db");
    let (rig, _) = restored(rig, &file);
    assert_ne!(page(&rig), 200);
}

#[test]
fn a_damaged_backup_is_refused_and_the_store_stays() {
    let rig = Rig::with(|home| home.policy(&gate_delete(LONG)));
    let pending = rig.detached("acme/one");
    let file = rig.backup("backup.db");
    let Rig { gateway, home, origin } = rig;
    gateway.stop();
    let damage = |name: &str, damage: &dyn Fn(&std::path::Path)| {
        let copy = home.path(name);
        std::fs::copy(&file, &copy).expect("copies");
        damage(&copy);
        let said = expect(&on_store(&home, &["restore"], &["--from", &text(&copy), "--force"]), 1);
        assert!(said.contains("nothing was restored"), "{name}: {said}");
        said
    };
    let said = damage("edited.db", &|copy| {
        super::audit::tamper(copy, "UPDATE audit SET event = replace(event, 'bot', 'tob') WHERE seq = 2");
    });
    assert!(said.contains("record 2"), "{said}");
    damage("cut.db", &|copy| {
        let bytes = std::fs::read(copy).expect("reads");
        std::fs::write(copy, &bytes[..bytes.len() / 2]).expect("writes");
    });
    damage("newer.db", &|copy| {
        let raw = rusqlite::Connection::open(copy).expect("opens");
        raw.pragma_update(None, "user_version", 99).expect("writes");
    });
    damage("letter.db", &|copy| std::fs::write(copy, "This is a letter to my aunt.\n".repeat(99)).expect("writes"));
    damage("empty.db", &|copy| std::fs::write(copy, "").expect("writes"));
    let rig = Rig { gateway: Gateway::start(&home), home, origin };
    assert_eq!(rig.alice().approval(&pending)["status"], "pending");
    assert!(!rig.home.path("holdpoint.db.restoring").exists());
}
