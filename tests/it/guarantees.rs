//! `docs/guarantees.md` is true: every test that it names exists, every row and every configuration key is there. The tests of rows
//! that belong to no other file are in the modules below.

mod behaviour;
pub(crate) mod keys;
mod limits;
mod secrets;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

fn read(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), name].iter().collect();
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What the page must have a row for.
fn rows() -> BTreeSet<String> {
    let invariants = (1..=20).map(|n| format!("I{n}"));
    let hostile = (1..=30).map(|n| format!("H{n}"));
    let faults = ["R1", "R2", "R5", "R6", "R7", "R8", "R9", "R10", "R12", "R13", "R14"].map(str::to_owned);
    invariants.chain(hostile).chain(faults).collect()
}

/// The rows of every table on the page: the first cell, and the tests that the last cell names.
fn table(page: &str) -> Vec<(String, Vec<String>)> {
    let lines = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = lines.map(|line| line.split(" | ").collect::<Vec<_>>());
    let rows = cells.filter(|cells| cells.len() > 1 && !["id", "key", "---"].contains(&cells[0]));
    rows.map(|cells| {
        let quoted = cells[cells.len() - 1].split('`').skip(1).step_by(2);
        let tests = quoted.filter(|text| text.contains("::")).map(str::to_owned).collect();
        (cells[0].trim_matches('`').to_owned(), tests)
    })
    .collect()
}

/// The names of the tests in a source file, and of the cases that the store's suite calls.
fn tests_in(source: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let mut after_attribute = false;
    for line in source.lines().map(str::trim) {
        let named = line.trim_start_matches("async ").strip_prefix("fn ");
        let case = line.strip_prefix("pub(super) async fn ").filter(|line| line.contains("store: Arc<dyn Store>"));
        if let Some(rest) = named.filter(|_| after_attribute).or(case) {
            found.insert(rest.split('(').next().unwrap_or_default());
        }
        after_attribute = line.starts_with("#[test]")
            || line.starts_with("#[tokio::test")
            || (after_attribute && (line.starts_with("#[") || line.is_empty()));
    }
    found
}

/// What is wrong with the page; empty when it is true.
fn problems(page: &str, wanted: &BTreeSet<String>, source: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut seen = BTreeMap::new();
    for (id, tests) in table(page) {
        if tests.is_empty() {
            problems.push(format!("{id}: no test"));
        }
        for test in &tests {
            let (file, name) = test.split_once("::").expect("only names with `::` are collected");
            match source(file) {
                None => problems.push(format!("{id}: no file `{file}`")),
                Some(text) if !tests_in(&text).contains(name) => {
                    problems.push(format!("{id}: no test `{name}` in `{file}`"));
                }
                Some(_) => {}
            }
        }
        if seen.insert(id.clone(), ()).is_some() {
            problems.push(format!("{id}: twice"));
        }
    }
    problems.extend(wanted.iter().filter(|id| !seen.contains_key(*id)).map(|id| format!("{id}: missing")));
    problems.extend(seen.keys().filter(|id| !wanted.contains(*id)).map(|id| format!("{id}: unknown")));
    problems
}

fn source(file: &str) -> Option<String> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), file].iter().collect();
    std::fs::read_to_string(path).ok()
}

/// Every key of a schema as `Type.key`; keys at the top are `file.key`.
fn keys_of(schema: &str, file: &str) -> BTreeSet<String> {
    fn walk(name: &str, schema: &Value, keys: &mut BTreeSet<String>) {
        for key in schema["properties"].as_object().into_iter().flat_map(|properties| properties.keys()) {
            keys.insert(format!("{name}.{key}"));
        }
        for part in ["oneOf", "anyOf", "allOf"].iter().filter_map(|word| schema[word].as_array()).flatten() {
            walk(name, part, keys);
        }
    }
    let schema: Value = serde_json::from_str(schema).expect("a schema is JSON");
    let mut keys = BTreeSet::new();
    walk(file, &schema, &mut keys);
    for (name, part) in schema["$defs"].as_object().expect("a schema has definitions") {
        walk(name.trim_end_matches("Model"), part, &mut keys);
    }
    keys
}

/// The two halves of the page: guarantees, and configuration keys.
fn halves(page: &str) -> (&str, &str) {
    page.split_once("\n## Configuration keys\n").expect("the page has both tables")
}

#[test]
fn every_row_of_the_page_names_tests_that_exist() {
    let page = read("docs/guarantees.md");
    assert_eq!(problems(halves(&page).0, &rows(), source), Vec::<String>::new());
}

/// The rows that the first cells of a report name: `H1–H13`, `R1, I7`.
fn reported(report: &str) -> BTreeSet<String> {
    let cells = report.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let parts = cells.flat_map(|cell| cell.split(", "));
    let rows = parts.flat_map(|part| {
        let (first, last) = part.split_once('–').unwrap_or((part, part));
        let number = |row: &str| row.get(1..).and_then(|digits| digits.parse::<u32>().ok());
        let numbers = number(first).zip(number(last)).map(|(first, last)| first..=last);
        numbers.into_iter().flatten().map(move |number| format!("{}{number}", &part[..1]))
    });
    rows.collect()
}

#[test]
fn the_report_has_a_row_for_each_guarantee() {
    let mut wanted = rows();
    // Measured, and no test: the report is where they stand.
    wanted.extend(["R3", "R4", "R15"].map(str::to_owned));
    assert_eq!(reported(&read("docs/reliability.md")), wanted);
    let planted = "| row | what |\n| --- | --- |\n| H1–H3, R2 | a |\n| I7 | b |\n| verify | c |\n";
    assert_eq!(reported(planted).into_iter().collect::<Vec<_>>(), ["H1", "H2", "H3", "I7", "R2"]);
}

#[test]
fn every_configuration_key_is_on_the_page_with_tests_that_exist_or_listed_as_not_shown() {
    let page = read("docs/guarantees.md");
    let mut wanted = keys_of(&read("docs/reference/holdpoint.schema.json"), "holdpoint");
    wanted.extend(keys_of(&read("docs/reference/policy.schema.json"), "policy"));
    assert!(wanted.len() > 60, "the schemas are read: {wanted:?}");
    let (shown, not_shown) =
        halves(&page).1.split_once("\n### Not shown yet\n").expect("the page says which keys are not shown");
    for key in not_shown.lines().filter_map(|line| line.strip_prefix("- `")).filter_map(|line| line.split('`').next()) {
        assert!(wanted.remove(key), "`{key}` is listed as not shown and is no key, or is listed twice");
    }
    assert_eq!(problems(shown, &wanted, source), Vec::<String>::new());
}

#[test]
fn planted_faults_of_the_page_are_found() {
    let wanted: BTreeSet<String> = ["I1", "I2"].map(str::to_owned).into();
    let source = |file: &str| {
        let text = "fn helper() {}\n\n#[test]\nfn real() {}\n\n#[tokio::test(start_paused = true)]\n#[cfg(unix)]\nasync fn also() {}\n";
        (file == "src/a.rs").then(|| text.to_owned())
    };
    let page = |one: &str, two: &str| {
        format!("| id | what | shown by |\n| --- | --- | --- |\n| I1 | a | {one} |\n| I2 | b | {two} |\n")
    };
    let check = |page: &str| problems(page, &wanted, source);
    let real = "`src/a.rs::real`, `src/a.rs::also`";
    assert_eq!(check(&page(real, real)), Vec::<String>::new());
    assert_eq!(check(&page("`src/a.rs::planted`", real)), ["I1: no test `planted` in `src/a.rs`"]);
    assert_eq!(check(&page("`src/a.rs::helper`", real)), ["I1: no test `helper` in `src/a.rs`"]);
    assert_eq!(check(&page(real, "`src/b.rs::real`")), ["I2: no file `src/b.rs`"]);
    assert_eq!(check(&page(real, "not shown yet")), ["I2: no test"]);
    assert_eq!(check(&page(real, real).replace("I2", "I3")), ["I2: missing", "I3: unknown"]);
    assert_eq!(check(&page(real, real).replace("I2", "I1")), ["I1: twice", "I2: missing"]);
}
