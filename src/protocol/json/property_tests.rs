//! The reader against another one: whatever it accepts, `serde_json` reads the same way, and whatever it calls
//! malformed, `serde_json` refuses as well.

use super::{Limits, read};
use crate::domain::value::Value;
use proptest::prelude::{Strategy, any, prop};
use proptest::{prop_assert, prop_assert_eq, prop_oneof, proptest};
use std::fmt::Write as _;

/// Pieces of which near-JSON is made: any sequence is a mutation of some document.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"a\"",
    "\"A\"",
    "\"b\"",
    "\"\\u0061\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud83d\"",
    "\"é\"",
    "0",
    "-1",
    "1.5",
    "1e2",
    "01",
    "-",
    ".",
    "e",
    "true",
    "false",
    "null",
    " ",
    "\n",
    "\"",
    "\\",
    "\u{feff}",
    "\u{0}",
    "/",
    "\"a\":",
    "\"b\":",
    "{\"c\":",
    "[1,",
    "NaN",
];

/// Whether both readers saw the same: structure, keys in order, strings, and numbers as doubles.
fn same(ours: &Value<'_>, theirs: &serde_json::Value) -> bool {
    match (ours, theirs) {
        (Value::Null, serde_json::Value::Null) => true,
        (Value::Bool(a), serde_json::Value::Bool(b)) => a == b,
        (Value::String(a), serde_json::Value::String(b)) => a == b,
        (Value::Number(a), serde_json::Value::Number(b)) => match (a.as_str().parse::<f64>(), b.as_f64()) {
            // Without its `float_roundtrip` feature the other reader may be one step off.
            (Ok(a), Some(b)) => (a - b).abs() <= a.abs() * 1e-15,
            _ => false,
        },
        (Value::Array(a), serde_json::Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), serde_json::Value::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((key, a), (name, b))| key == name && same(a, b))
        }
        _ => false,
    }
}

fn check_agrees(body: &[u8]) -> Result<(), proptest::test_runner::TestCaseError> {
    let theirs = serde_json::from_slice::<serde_json::Value>(body);
    match (read(body, &Limits::default()), theirs) {
        (Ok(ours), Ok(theirs)) => prop_assert!(same(&ours, &theirs), "{ours:?} {theirs:?}"),
        (Ok(ours), Err(error)) => prop_assert!(false, "accepted {ours:?}, the other reader says {error}"),
        (Err(error), Ok(_)) => prop_assert!(error.code() != "bad_json", "{error}"),
        (Err(_), Err(_)) => {}
    }
    Ok(())
}

/// A document with distinct plain keys, written with arbitrary white space and escapes.
fn document() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec!["null", "true", "false", "0", "-0", "12", "-3.25", "6e2", "9007199254740993"])
            .prop_map(str::to_owned),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<String>().prop_map(|text| serde_json::Value::String(text).to_string()),
        any::<Vec<u16>>().prop_map(|units| {
            // Every character as an escape.
            let mut text = String::from("\"");
            for unit in String::from_utf16_lossy(&units).encode_utf16() {
                let _ = write!(text, "\\u{unit:04X}");
            }
            text + "\""
        }),
    ];
    leaf.prop_recursive(8, 128, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(|elements| format!("[ {}]", elements.join(" ,\n"))),
            prop::collection::btree_map("[a-z_]{1,6}", inner, 0..24).prop_map(|members| {
                let members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\" :{value}")).collect();
                format!("{{{}\t}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn near_json_is_read_as_the_other_reader_does(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..24)) {
        check_agrees(pieces.concat().as_bytes())?;
    }

    #[test]
    fn any_bytes_are_read_as_the_other_reader_does(body in any::<Vec<u8>>()) {
        check_agrees(&body)?;
    }

    #[test]
    fn well_formed_documents_are_accepted_and_read_alike(body in document()) {
        let ours = read(body.as_bytes(), &Limits::default());
        prop_assert!(ours.is_ok(), "{:?}", ours);
        check_agrees(body.as_bytes())?;
    }

    #[test]
    fn documents_with_one_byte_changed_are_read_alike(body in document(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut body = body.into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        check_agrees(&body)?;
    }

    #[test]
    fn a_member_sent_twice_is_refused_wherever_it_stands(body in document(), key in "[a-z]{1,4}", wraps in 0_usize..8) {
        let twin = format!("{{\"{key}\":{body},\"x_y_z\":0,\"{key}\":null}}");
        let nested = format!("{}{twin}{}", "[".repeat(wraps), "]".repeat(wraps));
        let code = read(nested.as_bytes(), &Limits::default()).map_err(|error| error.code());
        prop_assert_eq!(code, Err("duplicate_key"));
    }
}
