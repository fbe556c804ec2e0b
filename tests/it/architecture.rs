//! The layers of the crate, read from its sources: the table in `src/lib.rs` says which module stands where, and nothing may
//! import upwards or sideways. Exceptions stand in `architecture.exceptions`, each with its reason; one that is no longer
//! needed fails the test as well.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::support::rust_source::{Finding, SourceFile};

/// The longest file, in lines.
const LINES_MAX: usize = 400;

/// What the pure layers may not name outside their tests.
const IMPURE: [&str; 10] = [
    "tokio",
    "hyper",
    "rusqlite",
    "axum",
    "std::fs",
    "TcpStream",
    "TcpListener",
    "SystemTime",
    "Instant",
    "StatusCode",
];

/// The layers that are pure.
const PURE: [&str; 2] = ["domain", "protocol"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Module name to rank, from the table at the top of `src/lib.rs`.
fn ranks(lib: &str) -> BTreeMap<String, u8> {
    let mut ranks = BTreeMap::new();
    for line in lib.lines().filter_map(|line| line.strip_prefix("//! |")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Some(Ok(rank)) = cells.first().map(|cell| cell.parse::<u8>()) else { continue };
        for module in cells[1].split(',').map(|cell| cell.trim().trim_matches(|c| "[`]".contains(c))) {
            assert!(ranks.insert(module.to_owned(), rank).is_none(), "src/lib.rs ranks `{module}` twice");
        }
    }
    ranks
}

/// Every Rust file under `src/`, by its path from the project's root.
fn sources() -> Vec<SourceFile> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder of sources is readable") {
            let path = entry.expect("an entry is readable").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    walk(&root().join("src"), &mut paths);
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let name = path.strip_prefix(root()).expect("under the root").to_string_lossy().into_owned();
            SourceFile::new(name, std::fs::read_to_string(path).expect("a source is readable"))
        })
        .collect()
}

/// What is wrong with one file, each as `<file> <rule> <what>`: the form of the exceptions.
fn faults(file: &SourceFile, ranks: &BTreeMap<String, u8>) -> Vec<Finding> {
    let mut faults = Vec::new();
    let lines = file.text.lines().count();
    if lines > LINES_MAX {
        let note = format!("{lines} lines; the limit is {LINES_MAX}: split it");
        faults.push(Finding::new(&file.name, "length", "-", 1, note));
    }
    let module = file.module();
    if let Some(&own) = ranks.get(module) {
        for (line, target) in file.imports_from_root() {
            if target == module {
                continue;
            }
            match ranks.get(&target) {
                Some(&rank) if rank < own => {}
                Some(&rank) => {
                    let way = if rank > own { "upward" } else { "sideways" };
                    let note = format!("{way}: `{module}` has rank {own}, `{target}` has rank {rank}");
                    faults.push(Finding::new(&file.name, "import", &target, line, note));
                }
                None => {
                    let note = format!("`{target}` has no rank: add it to the table in src/lib.rs");
                    faults.push(Finding::new(&file.name, "import", &target, line, note));
                }
            }
        }
    } else if !["lib", "main"].contains(&module) {
        let note = format!("`{module}` has no rank: add it to the table in src/lib.rs");
        faults.push(Finding::new(&file.name, "rank", module, 1, note));
    }
    if PURE.contains(&module) {
        for word in IMPURE {
            if let Some(line) = file.names_outside_tests(word) {
                let note = format!("`{module}` is pure: pass the effect or its result in");
                faults.push(Finding::new(&file.name, "impure", word, line, note));
            }
        }
    }
    faults
}

fn check(name: &str, text: &str) -> Vec<String> {
    let ranks = [("cli", 7), ("proxy", 5), ("api", 5), ("gate", 3), ("store", 2), ("protocol", 1), ("domain", 0)];
    let ranks = ranks.into_iter().map(|(module, rank)| (module.to_owned(), rank)).collect();
    faults(&SourceFile::new(name.to_owned(), text.to_owned()), &ranks).iter().map(Finding::key).collect()
}

#[test]
fn every_module_imports_only_what_stands_below_it() {
    let ranks = ranks(&std::fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs is readable"));
    assert!(ranks.len() >= 10, "the table of layers in src/lib.rs was not understood: {ranks:?}");
    let listed =
        std::fs::read_to_string(root().join("tests/it/architecture.exceptions")).expect("the list is readable");
    let mut exceptions = BTreeSet::new();
    for line in listed.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let (key, reason) = line.split_once(" -- ").expect("an exception is `<file> <rule> <what> -- <reason>`");
        assert!(reason.trim().len() > 20, "give a real reason: {line}");
        assert!(exceptions.insert(key.trim().to_owned()), "listed twice: {line}");
    }
    let sources = sources();
    assert!(sources.len() > 40, "only {} sources were found", sources.len());
    let mut open = Vec::new();
    let mut used = BTreeSet::new();
    for finding in sources.iter().flat_map(|file| faults(file, &ranks)) {
        if exceptions.contains(&finding.key()) {
            used.insert(finding.key());
        } else {
            open.push(finding.to_string());
        }
    }
    let rotten: Vec<_> = exceptions.difference(&used).collect();
    assert!(open.is_empty(), "\n{}", open.join("\n"));
    assert!(rotten.is_empty(), "no longer needed in architecture.exceptions: {rotten:#?}");
}

#[test]
fn every_module_has_a_rank_and_every_rank_a_module() {
    let lib = std::fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs is readable");
    let declared: BTreeSet<String> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).map(str::to_owned).collect();
    assert_eq!(ranks(&lib).into_keys().collect::<BTreeSet<_>>(), declared);
}

#[test]
fn planted_faults_are_found() {
    let import = |target: &str| vec![format!("src/gate/x.rs import {target}")];
    // Upward, in each of the ways that Rust can write it.
    assert_eq!(check("src/gate/x.rs", "use crate::proxy::Routes;"), import("proxy"));
    assert_eq!(check("src/gate/x.rs", "use crate::{domain::id, proxy};"), import("proxy"));
    assert_eq!(
        check("src/gate/x.rs", "use crate::{\n    domain::{id, time},\n    proxy::{self, Routes},\n};"),
        import("proxy")
    );
    assert_eq!(check("src/gate/x.rs", "fn f() -> crate::proxy::Routes { todo() }"), import("proxy"));
    assert_eq!(check("src/gate/x.rs", "use super::super::proxy::Routes;"), import("proxy"));
    assert_eq!(check("src/gate/x.rs", "mod inner { use super::super::super::proxy; }"), import("proxy"));
    assert_eq!(check("src/gate/x.rs", "use holdpoint::proxy;"), import("proxy"));
    assert_eq!(check("src/gate/x.rs", "use crate :: proxy;"), import("proxy"));
    assert_eq!(check("src/gate/x.rs", "use crate::r#proxy;"), import("proxy"));
    assert_eq!(check("src/gate/x.rs", "use crate::*;"), import("*"));
    // Sideways.
    assert_eq!(check("src/api/x.rs", "use crate::proxy::Routes;"), ["src/api/x.rs import proxy"]);
    // Impure, too long, unranked.
    assert_eq!(check("src/domain/x.rs", "use std::time::Instant;"), ["src/domain/x.rs impure Instant"]);
    assert_eq!(check("src/protocol/x.rs", "fn f() { std::fs::read(p); }"), ["src/protocol/x.rs impure std::fs"]);
    assert_eq!(check("src/domain/x.rs", "use tokio::sync::Mutex;"), ["src/domain/x.rs impure tokio"]);
    assert_eq!(check("src/gate/x.rs", &"//\n".repeat(LINES_MAX + 1)), ["src/gate/x.rs length -"]);
    assert_eq!(check("src/new.rs", ""), ["src/new.rs rank new"]);
}

#[test]
fn what_is_allowed_is_not_found() {
    let clean = |name: &str, text: &str| assert_eq!(check(name, text), Vec::<String>::new(), "{text}");
    clean("src/gate/x.rs", "use crate::store::Store; use crate::gate::Gate; use super::Gate;");
    clean("src/gate/x.rs", "mod inner { use super::super::Gate; }");
    clean("src/gate/x.rs", "// use crate::proxy::Routes;\n/* crate::proxy /* nested */ crate::api */");
    clean(
        "src/gate/x.rs",
        "const A: &str = \"crate::proxy\"; const B: &str = r#\"crate::\"proxy\"#; const C: char = '\"';",
    );
    clean("src/domain/x.rs", "#[cfg(test)]\nmod tests { use std::fs; fn f() { tokio(); } }");
    clean("src/domain/x/tests.rs", "use std::time::Instant;");
    clean("src/domain/x.rs", "struct Instantly; fn hyperbolic() {}");
    clean("src/gate/x.rs", &"//\n".repeat(LINES_MAX));
}
