//! Tampering with a real store and with an export of it: each is found by the command, at the record.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rusqlite::Connection;
use sha2::{Digest, Sha256};

use super::{expect, on_store, text};
use crate::support::gateway::{Lines, holdpoint};
use crate::support::home::Home;
use crate::support::rig::{Rig, repository};
use crate::support::wait::until_true;

/// Changes a store behind its triggers' back.
pub(super) fn tamper(path: &Path, sql: &str) {
    let raw = Connection::open(path).expect("opens");
    let unprotect =
        "DROP TRIGGER audit_is_not_edited; DROP TRIGGER audit_is_not_deleted; DROP TRIGGER audit_grows_by_one;";
    raw.execute_batch(&format!("{unprotect} {sql}")).expect("damages");
}

/// A home whose store holds the trail of two approved calls, and an export of it. No gateway runs on it.
fn trail() -> (Home, PathBuf, usize) {
    let rig = Rig::start();
    for _ in 0..2 {
        let waiting = rig.bot().post("/tools/delete_repo", &repository()).start();
        let id = rig.gateway.one_pending();
        rig.alice().approve(&id);
        waiting.answer().expect(200, "");
        rig.until_outcome(&id, "succeeded");
    }
    let Rig { gateway, home, .. } = rig;
    gateway.stop();
    let export = home.path("export.ndjson");
    expect(&on_store(&home, &["audit", "export"], &["--to", &text(&export)]), 0);
    let records = std::fs::read_to_string(&export).expect("readable").lines().count();
    assert!(records >= 9, "{records}");
    (home, export, records)
}

/// A copy of the home's store, with a configuration of its own; and what `audit verify` says of it after `sql`.
fn verified_after(home: &Home, sql: &str, rest: &[&str]) -> (Option<i32>, String) {
    let (store, config) = (home.path("copy.db"), home.path("copy.yaml"));
    std::fs::copy(home.path("holdpoint.db"), &store).expect("copies");
    std::fs::write(&config, home.configuration().replace("sqlite://holdpoint.db", "sqlite://copy.db"))
        .expect("written");
    if !sql.is_empty() {
        tamper(&store, sql);
    }
    let output = holdpoint(&["audit", "verify", "-c"]).arg(&config).args(rest).output().expect("runs");
    (output.status.code(), super::said(&output))
}

/// Edits a record, and gives it the hash that its new contents have.
fn refitted(home: &Home, seq: u64) -> String {
    let raw = Connection::open(home.path("holdpoint.db")).expect("opens");
    let column = |name: &str, seq: u64| format!("SELECT {name} FROM audit WHERE seq = {seq}");
    let before: Vec<u8> = raw.query_row(&column("hash", seq - 1), [], |row| row.get(0)).expect("a hash");
    let event: String = raw.query_row(&column("event", seq), [], |row| row.get(0)).expect("an event");
    let edited = event.replace("alice", "mallory");
    assert_ne!(edited, event);
    let hash = Sha256::new().chain_update(before).chain_update(seq.to_be_bytes()).chain_update(&edited).finalize();
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("UPDATE audit SET event = '{}', hash = x'{hex}' WHERE seq = {seq};", edited.replace('\'', "''"))
}

#[test]
fn edits_deletions_swaps_and_cut_tails_of_a_real_store_are_named_at_the_record() {
    let (home, export, records) = trail();
    let (code, said) = verified_after(&home, "", &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("intact: {}, {records} records", text(&home.path("copy.db")))), "{said}");
    let last = records;
    let reforged = "UPDATE audit SET event = replace(event, 'alice', 'mallory'), hash = zeroblob(32) WHERE seq = 3;";
    let cut = format!("DELETE FROM audit WHERE seq > {};", last - 2);
    let forged_end = format!("UPDATE audit SET event = replace(event, '200', '500') WHERE seq = {last};");
    let added = format!("INSERT INTO audit (seq, event, hash) VALUES ({}, '{{}}', zeroblob(32));", last + 1);
    for (what, sql, record, why) in [
        ("edit", "UPDATE audit SET event = replace(event, 'alice', 'mallory') WHERE seq = 3;", 3, "edited"),
        ("edit with a hash", reforged, 3, "edited"),
        ("edit with the hash that fits it", &refitted(&home, 3), 4, ""),
        ("delete", "DELETE FROM audit WHERE seq = 4;", 4, "missing"),
        (
            "swap",
            "UPDATE audit SET seq = 99 WHERE seq = 5; UPDATE audit SET seq = 5 WHERE seq = 6; UPDATE audit SET seq = 6 WHERE seq = 99;",
            5,
            "edited",
        ),
        ("cut tail", &cut, last - 1, "cut off"),
        ("edit of the last", &forged_end, last, "edited"),
        ("added", &added, last + 1, ""),
        ("filed elsewhere", "UPDATE audit SET approval = NULL WHERE seq = 2;", 2, "filed under another approval"),
    ] {
        let (code, said) = verified_after(&home, sql, &[]);
        assert_eq!(code, Some(1), "{what}: {said}");
        assert!(said.contains("NOT INTACT") && said.contains(&format!("record {record}:")), "{what}: {said}");
        assert!(said.contains(why), "{what}: {said}");
    }
    // A trail that was cut together with the note of its end is intact by itself; an export or a record that was kept shows it.
    let keep = last - 3;
    let rewritten = format!(
        "DELETE FROM audit WHERE seq > {keep}; UPDATE meta SET head_seq = {keep}, head_hash = (SELECT hash FROM audit WHERE seq = {keep});"
    );
    assert_eq!(verified_after(&home, &rewritten, &[]).0, Some(0));
    let (code, said) = verified_after(&home, &rewritten, &["--file", &text(&export)]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("record {}: it is missing", keep + 1)), "{said}");
    let kept = expect(&on_store(&home, &["audit", "verify"], &[]), 0);
    let expected = kept.trim().rsplit(' ').next().expect("the last record").to_owned();
    assert_eq!(verified_after(&home, "", &["--expect", &expected]).0, Some(0));
    assert_eq!(verified_after(&home, &rewritten, &["--expect", &expected]).0, Some(1));
    let other = format!("{}:{}", records, "0".repeat(64));
    let (code, said) = verified_after(&home, "", &["--expect", &other]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("record {records}")) && said.contains("replaced"), "{said}");
}

#[test]
fn every_change_of_an_exported_file_is_named_at_the_record() {
    let (home, export, records) = trail();
    let lines: Vec<String> = std::fs::read_to_string(&export).expect("readable").lines().map(str::to_owned).collect();
    let verify = |lines: &[String], end: &str, rest: &[&str]| {
        let file = home.path("changed.ndjson");
        std::fs::write(&file, lines.join("\n") + end).expect("written");
        let output = holdpoint(&["audit", "verify", "--file"]).arg(&file).args(rest).output().expect("runs");
        (output.status.code(), super::said(&output))
    };
    let (code, said) = verify(&lines, "\n", &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("records 1 to {records}")), "{said}");
    // A part of it can be checked as well, and each record alone.
    for (number, line) in lines.iter().enumerate() {
        let (code, said) = verify(std::slice::from_ref(line), "\n", &[]);
        assert_eq!(code, Some(0), "line {number}: {said}");
    }
    let check = |what: &str, change: &dyn Fn(&mut Vec<String>), names: &str| {
        let mut changed = lines.clone();
        change(&mut changed);
        let (code, said) = verify(&changed, "\n", &[]);
        assert_eq!(code, Some(1), "{what}: {said}");
        assert!(said.contains(names), "{what}: {said}");
    };
    check("edit", &|lines| lines[2] = lines[2].replace("alice", "mallory"), "record 3:");
    check("delete", &|lines| drop(lines.remove(3)), "record 4:");
    check("swap", &|lines| lines.swap(4, 5), "record 5:");
    check("no record", &|lines| lines[4] = "{}".to_owned(), "line 5, behind record 4");
    check("blank line", &|lines| lines.insert(4, String::new()), "line 5, behind record 4");
    let forged = |lines: &mut Vec<String>| {
        let first: serde_json::Value = serde_json::from_str(&lines[0]).expect("a record");
        let event =
            lines[0].split("\"event\":").nth(1).and_then(|rest| rest.split(",\"previous\"").next()).expect("an event");
        let mut hasher = Sha256::new();
        hasher.update([0x11; 32]);
        hasher.update(1_u64.to_be_bytes());
        hasher.update(event.as_bytes());
        let hash: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let (previous, old) = (first["previous"].as_str().expect("text"), first["hash"].as_str().expect("text"));
        lines[0] = lines[0].replace(previous, &"11".repeat(32)).replace(old, &hash);
    };
    check("a first record that follows another", &forged, "record 1:");
    check("a second first record", &|lines| lines.insert(1, lines[0].clone()), "record 2:");
    let head = lines.last().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok()).expect("a record");
    let head = format!("{}:{}", head["seq"], head["hash"].as_str().expect("a hash"));
    let (code, said) = verify(&lines[..records - 2], "\n", &["--expect", &head]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("record {}: it is missing", records - 1)), "{said}");
    let (code, said) = verify(&lines, "", &[]);
    assert_eq!(code, Some(1), "a line that breaks off: {said}");
    let empty: [String; 0] = [];
    assert_eq!(verify(&empty, "", &[]).0, Some(1));
    assert_eq!(holdpoint(&["audit", "verify"]).output().expect("runs").status.code(), Some(2));
    assert_eq!(holdpoint(&["audit", "verify", "--file", "/nowhere"]).output().expect("runs").status.code(), Some(2));
}

#[test]
fn an_export_is_what_the_api_exports_while_the_gateway_runs() {
    let rig = Rig::start();
    let (waiting, id) = rig.park();
    rig.alice().reject(&id, "no \u{1b}[31m \u{202e} way");
    waiting.answer().expect(403, "rejected");
    until_true("nothing more happens", || rig.alice().events(Some(&id)).contains(&"caller_left".to_owned()));
    let api = rig.alice().call("GET", "/v1/audit/export").send().expect(200, "").text();
    let output = on_store(&rig.home, &["audit", "export"], &[]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), api);
    let output = on_store(&rig.home, &["audit", "export"], &["--after", "2"]);
    let rest: Vec<&str> = api.lines().skip(2).collect();
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().collect::<Vec<_>>(), rest);
    // For people nothing is hidden and nothing reaches the terminal as a command.
    let shown = expect(&on_store(&rig.home, &["audit", "tail"], &["--approval", &id]), 0);
    assert!(shown.contains("approval_rejected") && shown.contains("reviewer alice"), "{shown}");
    assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
    let newest = expect(&on_store(&rig.home, &["audit", "tail"], &["-n", "1", "-o", "json"]), 0);
    assert_eq!(Some(newest.trim_end()), api.lines().last());
}

#[test]
fn tail_follows_what_comes() {
    let rig = Rig::start();
    let mut child = holdpoint(&["audit", "tail", "-f", "-c"])
        .arg(rig.home.path("holdpoint.yaml"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let lines = Lines::of(child.stdout.take().expect("piped"));
    until_true("the past is shown", || lines.text().contains("started"));
    let (waiting, id) = rig.park();
    until_true("what comes is shown", || {
        lines.all().iter().any(|line| line.contains("approval_created") && line.contains(&id))
    });
    assert_eq!(lines.all().iter().filter(|line| line.contains("started ")).count(), 1, "each once");
    child.kill().expect("a running child can be killed");
    child.wait().expect("a killed child can be waited for");
    waiting.hang_up();
}
