//! Stores as an earlier version would have left them.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;

fn first_migration() -> String {
    let path = [env!("CARGO_MANIFEST_DIR"), "migrations/sqlite/0001_approvals.sql"].join("/");
    std::fs::read_to_string(path).expect("the first migration is kept")
}

/// Everything that a file's schema says, by name.
pub(crate) fn schema(raw: &Connection) -> BTreeMap<String, String> {
    let sql = "SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_schema";
    let mut statement = raw.prepare(sql).expect("reads");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("reads");
    rows.collect::<Result<_, _>>().expect("reads")
}

/// The schema that the first migration alone makes.
pub(crate) fn first_schema() -> BTreeMap<String, String> {
    let raw = Connection::open_in_memory().expect("makes");
    raw.execute_batch(&first_migration()).expect("the first schema");
    schema(&raw)
}

/// Takes a store of today back to the first schema: what an earlier version would have left.
pub(crate) fn take_back(path: &Path) {
    let raw = Connection::open(path).expect("opens");
    let first = first_migration();
    let trigger = first.split("CREATE TRIGGER approvals_change_forward").nth(1).expect("the first has it");
    let trigger = trigger.split("END;").next().expect("it ends");
    raw.execute_batch(&format!(
        "BEGIN; DROP INDEX requests_sealed_by; DROP INDEX results_sealed_by; DROP TRIGGER approvals_change_forward; DROP TABLE tools; DROP TABLE tool_upstreams; \
         CREATE TRIGGER approvals_change_forward{trigger}END; PRAGMA user_version = 1; COMMIT;"
    ))
    .expect("takes back");
    raw.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("writes the log");
    assert_eq!(schema(&raw), first_schema(), "as the first migration makes it");
}
