//! The embedded store: the suite, and what belongs to its file.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use holdpoint::domain::approval::Status;
use holdpoint::store::sqlite::{Options, SqliteStore};
use holdpoint::store::{Error, Filter, Parked, QueueLimit, Store};
use tempfile::TempDir;

use super::samples::{approve, at, call, change, create, park_of, trail};

pub(super) fn open(path: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(path, Options::default()).expect("opens"))
}

pub(super) fn refused(path: &Path) -> Error {
    match SqliteStore::open(path, Options::default()) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_does_what_every_store_must() {
    let folder = TempDir::new().expect("a folder");
    let next = std::sync::atomic::AtomicU32::new(0);
    super::conformance(|| {
        let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        open(&folder.path().join(format!("{number}.db")))
    })
    .await;
}

#[tokio::test]
async fn everything_acknowledged_is_there_after_it_is_opened_again() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("holdpoint.db");
    let store = open(&path);
    let (first, second) = (create(&store, call(0)).await, create(&store, call(0)).await);
    let approved = change(&store, first.id, approve("alice"), 1).await;
    let before = trail(&store).await;
    drop(store);
    let store = open(&path);
    assert_eq!(store.approval(first.id).await.expect("reads"), Some(approved));
    assert_eq!(store.approval(second.id).await.expect("reads"), Some(second));
    assert_eq!(trail(&store).await, before);
    // The queue's length and the trail's end are known again.
    let full = holdpoint::store::Park { pending_total_max: 1, ..park_of(call(2)) };
    assert!(matches!(store.park(full, at(2)).await, Ok(Parked::Full(QueueLimit::Total))));
    create(&store, call(2)).await;
    let newest = store.audit_head().await.expect("reads");
    holdpoint::domain::audit::verify_to(newest, trail(&store).await).expect("the chain goes on");
}

#[tokio::test]
async fn a_second_opener_is_refused_until_the_first_is_gone() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("holdpoint.db");
    let store = SqliteStore::open(&path, Options::default()).expect("opens");
    assert!(matches!(refused(&path), Error::InUse));
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).expect("links");
    assert!(matches!(refused(&link), Error::InUse), "by whatever name");
    store.close();
    drop(open(&path));
}

#[tokio::test]
async fn a_reader_beside_the_server_sees_everything_and_writes_nothing() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("holdpoint.db");
    let store = open(&path);
    let approval = create(&store, call(0)).await;
    let reader: Arc<dyn Store> = Arc::new(SqliteStore::open_read_only(&path, Options::default()).expect("opens"));
    assert_eq!(reader.approval(approval.id).await.expect("reads"), Some(approval.clone()));
    assert!(matches!(reader.apply(approval.id, approve("alice"), at(1)).await, Err(Error::Unavailable(_))));
    assert!(reader.check().await.is_err());
    let pending = store.approval(approval.id).await.expect("reads").map(|approval| approval.status());
    assert_eq!(pending, Some(Status::Pending));
    drop(store);
    let missing = SqliteStore::open_read_only(&folder.path().join("no.db"), Options::default());
    assert!(matches!(missing, Err(Error::Unavailable(_))));
}

#[tokio::test]
async fn the_file_is_its_owners_alone_and_only_the_last_folder_is_made() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("new/holdpoint.db");
    let store = open(&path);
    create(&store, call(0)).await;
    for name in ["holdpoint.db", "holdpoint.db-wal", "holdpoint.db.lock"] {
        let metadata = std::fs::metadata(path.with_file_name(name)).expect("is there");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
    }
    let error = refused(&folder.path().join("no/such/holdpoint.db")).to_string();
    assert!(error.contains("no/such") && error.contains("folder"), "{error}");
    assert!(matches!(refused(folder.path()), Error::Unavailable(_)), "a folder is not a file");
}

#[tokio::test]
async fn a_newer_store_and_another_programs_file_are_left_as_they_are() {
    let folder = TempDir::new().expect("a folder");
    let newer = folder.path().join("newer.db");
    drop(open(&newer));
    let raw = rusqlite::Connection::open(&newer).expect("opens");
    raw.pragma_update(None, "user_version", 99).expect("sets");
    drop(raw);
    assert!(matches!(refused(&newer), Error::TooNew { found: 99, known: 1..99 }));

    let foreign = folder.path().join("foreign.db");
    let raw = rusqlite::Connection::open(&foreign).expect("opens");
    raw.execute_batch("CREATE TABLE mine (x); INSERT INTO mine VALUES (1)").expect("makes");
    drop(raw);
    assert!(matches!(refused(&foreign), Error::Corrupt(_)));

    let text = folder.path().join("text.db");
    std::io::Write::write_all(&mut std::fs::File::create(&text).expect("makes"), &[b'x'; 4096]).expect("writes");
    let before = std::fs::metadata(&text).expect("is there").len();
    let error = refused(&text);
    assert!(matches!(error, Error::Corrupt(_)), "{error:?}");
    assert!(error.to_string().contains("text.db"), "{error}");
    assert_eq!(std::fs::metadata(&text).expect("is there").len(), before);
}

#[tokio::test]
async fn its_size_is_told() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder.path().join("holdpoint.db"));
    let before = store.size().await.expect("reads").used_bytes;
    for _ in 0..50 {
        create(&store, call(0)).await;
    }
    assert!(before > 0 && store.size().await.expect("reads").used_bytes > before);
    assert_eq!(store.list(Filter::default(), None, 1000, at(0)).await.expect("reads").approvals.len(), 50);
}
