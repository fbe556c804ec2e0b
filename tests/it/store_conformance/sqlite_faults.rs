//! Full disks, failing writes and `kill -9`: refused or durable, never in between.
//!
//! Two tests run this binary again as a child ([`child_parks_until_it_cannot`]), so that it can be killed, or run under a
//! limit on file sizes that makes writes fail as a broken disk does.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use holdpoint::domain::audit::verify_to;
use holdpoint::domain::id::ApprovalId;
use holdpoint::store::sqlite::{Options, SqliteStore};
use holdpoint::store::{Error, Filter, Parked, Store};
use tempfile::TempDir;

use super::samples::{approve, at, call, change, create, park_of, trail};
use super::sqlite::open;

const FOLDER: &str = "HOLDPOINT_TEST_FOLDER";
const CHILD: &str = "store_conformance::sqlite_faults::child_parks_until_it_cannot";

#[tokio::test]
async fn a_full_store_refuses_and_works_again_when_there_is_room() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("holdpoint.db");
    let options = Options { bytes_max: Some(400 * 1024), ..Options::default() };
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path, options).expect("opens"));
    let mut parked = Vec::new();
    let error = loop {
        let mut approval = call(0);
        approval.subject.preview = format!("\"{}\"", "x".repeat(8000));
        match store.park(park_of(approval.clone()), at(0)).await {
            Ok(Parked::Created(_)) => parked.push(approval),
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
        assert!(parked.len() < 1000, "the limit holds");
    };
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(parked.len() > 5, "{}", parked.len());
    // Nothing of the refused one stands, and what stood still does.
    let newest = store.audit_head().await.expect("reads");
    assert_eq!(newest, parked.len() as u64);
    verify_to(newest, trail(&store).await).expect("intact");
    drop(store);
    let store = open(&path);
    for approval in &parked {
        assert_eq!(store.approval(approval.id).await.expect("reads").as_ref(), Some(approval));
    }
    create(&store, call(1)).await;
    change(&store, parked[0].id, approve("alice"), 1).await;
    store.check().await.expect("works again");
}

/// Not a test of its own: what the tests below run as a child. Parks and tells each acknowledged id; at the first write
/// that fails it tells how, and what comes after.
#[tokio::test]
#[ignore = "run by the tests beside it, in a process of its own"]
async fn child_parks_until_it_cannot() {
    #[expect(clippy::disallowed_methods, reason = "the way to hand a folder to this child")]
    let folder = std::env::var(FOLDER).expect("run by the tests beside it");
    let store = open(&Path::new(&folder).join("holdpoint.db"));
    loop {
        let mut approval = call(0);
        // The parent's ids must differ from run to run.
        let mut random = [0; 16];
        getrandom::fill(&mut random).expect("random bytes");
        approval.id = ApprovalId::new(at(0), random);
        approval.subject.fingerprint.0[..16].copy_from_slice(&random);
        approval.subject.preview = format!("\"{}\"", "x".repeat(2000));
        match store.park(park_of(approval.clone()), at(0)).await {
            Ok(_) => println!("parked {}", approval.id),
            Err(error) => {
                println!("failed {error:?}");
                break;
            }
        }
    }
    println!("afterwards {:?}", store.park(park_of(call(0)), at(0)).await.map(|_| ()));
    println!("check {:?}", store.check().await);
    println!("read {:?}", store.figures(at(0)).await.map(|figures| figures.pending.len()));
}

/// Starts the child, under a limit of its file sizes where one is given.
fn child(folder: &Path, file_kib_max: Option<u32>) -> std::process::Child {
    let exe = std::env::current_exe().expect("this binary has a path");
    let limit = file_kib_max.map_or(String::new(), |kib| format!("trap '' XFSZ; ulimit -f {kib};"));
    Command::new("bash")
        .args(["-c", &format!("{limit} exec \"$0\" --exact {CHILD} --ignored --nocapture")])
        .arg(exe)
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("bash runs")
}

fn id(line: &str) -> Option<ApprovalId> {
    line.split_once("parked ").and_then(|(_, id)| id.trim().parse().ok())
}

async fn holds(folder: &Path, acknowledged: &[ApprovalId]) {
    let store = open(&folder.join("holdpoint.db"));
    for id in acknowledged {
        assert!(store.approval(*id).await.expect("reads").is_some(), "{id} was acknowledged");
    }
    let newest = store.audit_head().await.expect("reads");
    verify_to(newest, trail(&store).await).expect("intact");
    let (mut count, mut after) = (0, None);
    loop {
        let page = store.list(Filter::default(), after, 1000, at(0)).await.expect("reads");
        count += page.approvals.len() as u64;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(count, newest, "each approval has its record and the other way round");
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_nine_and_the_lock_does_not() {
    let folder = TempDir::new().expect("a folder");
    let mut acknowledged = Vec::new();
    for round in 1..=5 {
        let mut child = child(folder.path(), None);
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut seen = 0;
        for line in lines {
            acknowledged.extend(id(&line.expect("text")));
            seen += 1;
            if seen == round * 17 {
                child.kill().expect("kills");
            }
        }
        child.wait().expect("ends");
        holds(folder.path(), &acknowledged).await;
    }
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
}

#[tokio::test]
async fn after_a_commit_that_failed_nothing_more_is_written_until_a_restart() {
    let folder = TempDir::new().expect("a folder");
    drop(open(&folder.path().join("holdpoint.db")));
    let child = child(folder.path(), Some(1024));
    let output = child.wait_with_output().expect("ends");
    let text = String::from_utf8(output.stdout).expect("text");
    let line = |start: &str| text.lines().find_map(|line| line.split_once(start).map(|(_, rest)| rest.to_owned()));
    let acknowledged: Vec<ApprovalId> = text.lines().filter_map(id).collect();
    assert!(acknowledged.len() > 10, "{text}");
    let failed = line("failed ").expect("the limit is reached");
    assert!(failed.starts_with("Unsure("), "{failed}");
    for later in ["afterwards Err(Unavailable(", "check Err(Unavailable("] {
        assert!(text.contains(later), "{later}: {text}");
    }
    assert_eq!(line("read ").as_deref(), Some("Ok(1)"), "what is there can still be read");
    // One that failed may be on disk or not; every one that was acknowledged is.
    holds(folder.path(), &acknowledged).await;
}
