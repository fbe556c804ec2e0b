//! An upgrade leaves the old schema or the new one, whenever it is cut off.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{expect, on_store, text};
use crate::store_conformance::fill;
use crate::support::earlier::{first_schema, schema, take_back};
use crate::support::gateway::holdpoint;
use crate::support::home::Home;

/// How many approvals are pending in the store that is upgraded.
const PENDING: u32 = 10_000;

fn nobody() -> Home {
    let home = Home::new(([127, 0, 0, 1], 9).into());
    home.write();
    home
}

/// Which schema a store has, whole, after whatever happened to it.
fn found(path: &Path, new: &BTreeMap<String, String>) -> u32 {
    let raw = Connection::open(path).expect("opens");
    let version: u32 = raw.pragma_query_value(None, "user_version", |row| row.get(0)).expect("reads");
    let wanted = if version == 1 { first_schema() } else { new.clone() };
    assert_eq!(schema(&raw), wanted, "schema {version}, whole");
    let pending: u32 =
        raw.query_row("SELECT count(*) FROM approvals WHERE state = 'pending'", [], |row| row.get(0)).expect("reads");
    assert_eq!(pending, PENDING);
    let said: String = raw.query_row("PRAGMA quick_check", [], |row| row.get(0)).expect("reads");
    assert_eq!(said, "ok");
    version
}

/// `holdpoint migrate`, under a limit of its file sizes where one is given: the write beyond it ends the process at once.
fn migrate(home: &Home, file_kib_max: Option<u32>) -> Command {
    let limit = file_kib_max.map_or(String::new(), |kib| format!("ulimit -c 0; ulimit -f {kib};"));
    let mut command = Command::new("bash");
    command.args(["-c", &format!("{limit} exec \"$0\" migrate -c \"$1\"")]);
    command.arg(env!("CARGO_BIN_EXE_holdpoint")).arg(home.path("holdpoint.yaml"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn an_upgrade_of_ten_thousand_pending_that_is_killed_leaves_the_old_schema_or_the_new_one() {
    let home = nobody();
    let (path, kept) = (home.path("holdpoint.db"), home.path("first.db"));
    fill(&path, PENDING);
    let new = schema(&Connection::open(&path).expect("opens"));
    take_back(&path);
    std::fs::copy(&path, &kept).expect("copies");
    let (mut seen, mut killed) = ([0; 3], [0; 3]);
    let mut after = |status: ExitStatus, signal: i32| {
        let version = found(&path, &new);
        seen[version as usize] += 1;
        if status.signal() == Some(signal) {
            killed[version as usize] += 1;
        } else {
            assert!(status.success() && version == 2, "{status}, schema {version}");
        }
        if version == 2 {
            std::fs::copy(&kept, &path).expect("copies");
        }
    };
    // At one write after the other: into the log, and then from the log into the database.
    let too_large = 25;
    for kib in (32..=320).step_by(16) {
        after(migrate(&home, Some(kib)).status().expect("bash runs"), too_large);
    }
    // And at moments of no choosing.
    let begin = Instant::now();
    after(migrate(&home, None).status().expect("bash runs"), 9);
    let whole = begin.elapsed();
    for part in 1..=12 {
        let mut child = migrate(&home, None).spawn().expect("bash runs");
        std::thread::sleep(whole.mul_f64(f64::from(part) / 12.0).min(Duration::from_secs(5)));
        child.kill().expect("kills");
        after(child.wait().expect("ends"), 9);
    }
    assert!(killed[1] >= 3, "killed before the commit: {killed:?} of {seen:?}");
    assert!(killed[2] >= 1, "killed after the commit: {killed:?} of {seen:?}");
    // Whatever happened: the next run brings it there, and everything is still pending.
    expect(&on_store(&home, &["migrate"], &[]), 0);
    assert_eq!(found(&path, &new), 2);
    expect(&on_store(&home, &["audit", "verify"], &[]), 0);
}

#[test]
fn check_says_what_would_be_done_and_does_nothing() {
    let home = nobody();
    let path = home.path("holdpoint.db");
    fill(&path, 3);
    let said = expect(&on_store(&home, &["migrate"], &["--check"]), 0);
    assert!(said.contains("up to date"), "{said}");
    take_back(&path);
    for _ in 0..2 {
        let said = expect(&on_store(&home, &["migrate"], &["--check"]), 1);
        assert!(said.contains("schema 1") && said.contains("holdpoint migrate"), "{said}");
    }
    // An earlier store can be backed up before it is upgraded, and its backup restored.
    let file = home.path("backup.db");
    assert!(expect(&on_store(&home, &["backup"], &["--to", &text(&file)]), 0).contains("schema 1"));
    assert!(expect(&on_store(&home, &["migrate"], &[]), 0).contains("was 1 and is 2"));
    assert!(expect(&on_store(&home, &["migrate"], &[]), 0).contains("already"));
    expect(&on_store(&home, &["restore"], &["--from", &text(&file), "--force"]), 0);
    expect(&on_store(&home, &["migrate"], &["--check"]), 0);
    expect(&on_store(&home, &["audit", "verify"], &[]), 0);
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_left_alone() {
    let home = nobody();
    let path = home.path("holdpoint.db");
    fill(&path, 3);
    let raw = Connection::open(&path).expect("opens");
    raw.pragma_update(None, "user_version", 99).expect("writes");
    drop(raw);
    let before = std::fs::read(&path).expect("reads");
    for rest in [&["--check"][..], &[], &["--reseal"]] {
        let said = expect(&on_store(&home, &["migrate"], rest), 2);
        assert!(said.contains("99") && said.contains("upgrade"), "{said}");
    }
    let said = expect(&on_store(&home, &["backup"], &["--to", &text(&home.path("backup.db"))]), 2);
    assert!(said.contains("99"), "{said}");
    assert!(std::fs::read(&path).expect("reads") == before);
    let nothing = nobody();
    assert!(expect(&on_store(&nothing, &["migrate"], &[]), 2).contains("holdpoint.db"));
    assert!(!nothing.path("holdpoint.db").exists(), "no store is made where there is none");
    assert_eq!(holdpoint(&["migrate", "-c", "/nowhere.yaml"]).output().expect("runs").status.code(), Some(2));
}
