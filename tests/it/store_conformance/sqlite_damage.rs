//! Somebody with a shell and the file: the schema refuses what it can, and the chain shows the rest.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdpoint::domain::audit::{BadRecord, Fault, verify_to};
use holdpoint::store::sqlite::{Options, SqliteStore};
use holdpoint::store::{Error, Store};
use rusqlite::Connection;
use tempfile::TempDir;

use super::samples::{approve, begin, call, change, create, detached, trail};
use super::sqlite::open;

/// A closed store with six records: three calls parked, one of them approved, sent and finished.
async fn filled(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("holdpoint.db");
    let store = open(&path);
    let first = create(&store, call(0)).await;
    create(&store, call(0)).await;
    create(&store, detached(call(0))).await;
    change(&store, first.id, approve("alice"), 1).await;
    change(&store, first.id, begin(&first), 2).await;
    change(&store, first.id, holdpoint::domain::approval::Command::Succeed { status: 200 }, 3).await;
    path
}

#[tokio::test]
async fn the_schema_refuses_what_the_machine_would() {
    let folder = TempDir::new().expect("a folder");
    let raw = Connection::open(filled(&folder).await).expect("opens");
    for sql in [
        "UPDATE audit SET event = '{}' WHERE seq = 2",
        "DELETE FROM audit WHERE seq = 6",
        "INSERT INTO audit (seq, event, hash) VALUES (9, '{}', zeroblob(32))",
        "INSERT OR REPLACE INTO audit (seq, event, hash) VALUES (6, '{}', zeroblob(32))",
        "DELETE FROM approvals",
        "UPDATE approvals SET version = version + 1, state = 'pending', closed_at = NULL, execution = 'held' WHERE state = 'approved'",
        "UPDATE approvals SET version = version + 1, state = 'rejected' WHERE state = 'approved'",
        "UPDATE approvals SET version = version + 1, execution = 'releasing' WHERE execution = 'succeeded'",
        "UPDATE approvals SET version = version + 1, execution = 'releasing' WHERE state = 'pending'",
        "UPDATE approvals SET version = version + 1, closed_at = 1 WHERE state = 'pending'",
        "UPDATE approvals SET version = version + 1, ready_at = 1 WHERE state = 'pending'",
        "UPDATE approvals SET version = version + 1, fingerprint = zeroblob(32)",
        "UPDATE approvals SET version = version + 1, expires_at = expires_at + 1",
        "UPDATE approvals SET waiting = 7",
        "UPDATE approvals SET version = version + 1, waiting = -1",
        "UPDATE meta SET only_row = 2",
    ] {
        assert!(raw.execute(sql, []).is_err(), "{sql}");
    }
    drop(raw);
    drop(open(&folder.path().join("holdpoint.db")));
}

/// Damages a copy of the trail behind the triggers' back and says what `verify` and a start-up then find.
async fn damaged(sql: &str) -> (Result<(), BadRecord>, Option<Error>) {
    let folder = TempDir::new().expect("a folder");
    let path = filled(&folder).await;
    let raw = Connection::open(&path).expect("opens");
    let unprotect =
        "DROP TRIGGER audit_is_not_edited; DROP TRIGGER audit_is_not_deleted; DROP TRIGGER audit_grows_by_one;";
    raw.execute_batch(&format!("{unprotect} {sql}")).expect("damages");
    drop(raw);
    (verified(&path).await, SqliteStore::open(&path, Options::default()).err())
}

async fn verified(path: &Path) -> Result<(), BadRecord> {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open_read_only(path, Options::default()).expect("opens"));
    let newest = store.audit_head().await.expect("reads");
    verify_to(newest, trail(&store).await).map(|_| ())
}

#[tokio::test]
async fn edit_delete_swap_and_cut_tail_are_found() {
    let bad = |seq, fault| Err(BadRecord { seq, fault });
    assert_eq!(damaged("SELECT 1;").await.0, Ok(()));
    let (found, start) = damaged("UPDATE audit SET event = replace(event, 'alice', 'mallory') WHERE seq = 4;").await;
    assert_eq!(found, bad(4, Fault::Edited));
    assert!(start.is_none(), "the whole trail is read by `audit verify`, not at each start");
    assert_eq!(damaged("DELETE FROM audit WHERE seq = 3;").await.0, bad(3, Fault::OutOfPlace { found: 4 }));
    let swap = "UPDATE audit SET seq = 99 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3; \
                UPDATE audit SET seq = 3 WHERE seq = 99;";
    assert_eq!(damaged(swap).await.0, bad(2, Fault::Edited));
    // The tail is what a start-up looks at: nothing is built on an end that is not the end.
    for (sql, fault) in [
        ("DELETE FROM audit WHERE seq > 4;", bad(5, Fault::CutOff)),
        ("DELETE FROM audit;", bad(1, Fault::CutOff)),
        ("UPDATE audit SET event = '{}' WHERE seq = 6;", bad(6, Fault::Edited)),
    ] {
        let (found, start) = damaged(sql).await;
        assert_eq!(found, fault, "{sql}");
        assert!(matches!(start, Some(Error::Corrupt(_))), "{sql}: {start:?}");
    }
}

#[tokio::test]
async fn an_approval_that_disagrees_with_itself_is_not_served() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("holdpoint.db");
    let store = open(&path);
    let approval = create(&store, call(0)).await;
    drop(store);
    let raw = Connection::open(&path).expect("opens");
    let forged = "UPDATE approvals SET version = 1, state = 'approved', closed_at = 1";
    raw.execute(forged, []).expect("the schema alone cannot know");
    drop(raw);
    let store = open(&path);
    assert!(matches!(store.approval(approval.id).await, Err(Error::Corrupt(_))));
    assert!(matches!(store.apply(approval.id, begin(&approval), super::samples::at(1)).await, Err(Error::Corrupt(_))));
}
