//! The corpus of hostile bodies in `tests/corpus/hostile`, replayed.

use super::{Limits, read};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Files in the corpus that are no bodies.
const NOT_BODIES: [&str; 2] = ["README.md", "index.json"];
/// What the index says of a body that the reader accepts.
const READ: &str = "read";

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    file: String,
    row: String,
    expect: String,
    /// What an MCP endpoint answers, where the reader accepts it; `tests/hostile/mcp.rs` reads it.
    #[serde(default)]
    #[expect(dead_code, reason = "one index serves two tests")]
    mcp: Option<String>,
}

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/hostile")
}

#[expect(clippy::disallowed_methods, reason = "the corpus is files")]
fn bytes(file: &str) -> Vec<u8> {
    std::fs::read(corpus().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn index() -> Vec<Entry> {
    serde_json::from_slice(&bytes("index.json")).expect("index.json lists entries")
}

#[test]
fn every_hostile_body_is_answered_as_the_index_says() {
    let wrong: Vec<String> = index()
        .iter()
        .filter_map(|entry| {
            let body = bytes(&entry.file);
            let found = read(&body, &Limits::default()).map_or_else(|error| error.code(), |_| READ);
            (found != entry.expect).then(|| format!("{} {}: {found}, not {}", entry.row, entry.file, entry.expect))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_index_and_the_folder_list_the_same_bodies() {
    let listed: BTreeSet<String> = index().into_iter().map(|entry| entry.file).collect();
    let present: BTreeSet<String> = std::fs::read_dir(corpus())
        .expect("the corpus folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("an ASCII name"))
        .filter(|name| !NOT_BODIES.contains(&name.as_str()))
        .collect();
    assert_eq!(listed, present);
}

#[test]
fn every_row_that_a_body_can_show_has_one() {
    let rows: BTreeSet<String> = index().into_iter().map(|entry| entry.row).collect();
    let wanted: BTreeSet<String> = (1..=13).map(|row| format!("H{row}")).collect();
    assert_eq!(rows, wanted);
}
