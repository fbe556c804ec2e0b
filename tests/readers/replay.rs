//! The corpora and what once broke a property, through the same functions as the fuzz targets.

use crate::bodies;
use crate::properties::tree::{Spelling, Tree};
use crate::properties::{self, lenses, seeds};

/// Bytes that mean something in one of the formats.
const PIECES: &[u8] = b"\"{}[],:\\\0\n%/.-_ eE0\xff";

/// Runs a property over its seeds, each a little changed as well: cut off, and with each of a few bytes replaced.
fn replay(property: &str, at_least: usize) {
    let (_, check) = properties::ALL.iter().find(|(name, _)| *name == property).expect("a property of this name");
    let seeds = seeds::of(property);
    assert!(seeds.len() >= at_least, "{} inputs for `{property}`", seeds.len());
    for seed in seeds {
        check(&seed);
        let salt = properties::salt(&seed) as usize;
        for turn in 0..8_usize {
            let mut changed = seed.clone();
            let place = salt.rotate_left(turn as u32 * 7) % seed.len().max(1);
            match turn {
                0 => changed.truncate(place),
                1 => changed.insert(place, PIECES[salt % PIECES.len()]),
                _ if !changed.is_empty() => changed[place] ^= 1 << (turn % 8),
                _ => {}
            }
            check(&changed);
        }
    }
}

#[test]
fn json_bodies_are_read_as_by_others_or_refused() {
    replay("json", 250);
}

#[test]
fn messages_are_calls_to_everybody_or_to_nobody() {
    replay("mcp", 250);
}

#[test]
fn targets_mean_the_same_to_every_server() {
    replay("target", 80);
}

#[test]
fn heads_are_framed_in_one_way() {
    replay("head", 80);
}

#[test]
fn policy_files_are_refused_with_a_place_or_judge_every_call() {
    replay("policy", 15);
}

#[test]
fn event_streams_are_read_alike_in_any_pieces() {
    replay("sse", 4);
}

#[test]
fn generated_bodies_are_read_as_by_others_and_are_calls_to_everybody_or_to_nobody() {
    let mut choice = Spelling(7);
    for _ in 0..3_000 {
        let body = bodies::body(&mut choice);
        properties::json::check(&body);
        properties::mcp::check(&body);
    }
}

#[test]
fn every_regression_belongs_to_a_property() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/properties/regressions");
    for entry in std::fs::read_dir(folder).expect("the folder of regressions") {
        let name = entry.expect("an entry").file_name().into_string().expect("an ASCII name");
        assert!(name == "README.md" || properties::ALL.iter().any(|(known, _)| *known == name), "{name}");
    }
}

#[test]
fn keys_that_some_reader_takes_for_each_other_are_seen_through_the_lenses() {
    let fault = |body: &str| lenses::fault_of_keys(Tree::read(body.as_bytes()).expect("JSON").members());
    for planted in [
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"name":1,"NAME":2}"#,
        r#"{"strasse":1,"straße":2}"#,
        r#"{"k":1,"\u212a":2}"#,
        r#"{"é":1,"e\u0301":2}"#,
        r#"{"name":1,"ｎame":2}"#,
        r#"{"name ":1}"#,
        r#"{"na\u200bme":1}"#,
        r#"{"name\u0000x":1}"#,
    ] {
        assert!(fault(planted).is_some(), "{planted}");
    }
    assert_eq!(fault(r#"{"a":1,"b":2,"é":3,"а":4,"❤️":5}"#), None);
    assert!(lenses::is_like_a_call("Tools-Call") && !lenses::is_like_a_call("tools/list"));
}
