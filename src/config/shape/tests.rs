use serde_json::json;

use super::*;
use crate::config::diagnostic::Source;
use crate::config::yaml;

/// The messages for a document, in order of place.
fn messages(schema: &Json, text: &str) -> Vec<String> {
    let document = yaml::read(Source::new("f", text)).expect("valid YAML");
    let shape = Shape { schema, formats: &[], references: References::Literal };
    let mut found = shape.problems(&document);
    found.sort_by_key(|found| found.place);
    found.into_iter().map(|found| found.message).collect()
}

#[test]
fn the_alternative_that_fits_the_kind_is_the_one_that_is_reported() {
    let schema = json!({ "anyOf": [
        { "type": "string", "minLength": 1 },
        { "type": "array", "items": { "type": "string" } },
        { "type": "object", "properties": { "tool": { "type": "string" } }, "additionalProperties": false },
    ] });
    for text in ["x", "[x, y]", "{ tool: x }"] {
        assert_eq!(messages(&schema, text), [] as [&str; 0], "{text}");
    }
    assert_eq!(messages(&schema, "{ tol: x }"), ["unknown key `tol` at the top level"]);
    assert_eq!(messages(&schema, "[x, 1]"), ["`[1]` must be text, not a whole number"]);
    assert_eq!(messages(&schema, "\"\""), ["the file is empty"]);
    assert_eq!(messages(&schema, "5"), ["the file must be a list or a mapping or text, not a whole number"]);
}

#[test]
fn enumerations_are_checked_in_both_forms() {
    let plain = json!({ "type": "string", "enum": ["allow", "block"] });
    let described = json!({ "oneOf": [ { "const": "allow", "description": "a" }, { "const": "block" } ] });
    for schema in [plain, described] {
        assert_eq!(messages(&schema, "block"), [] as [&str; 0]);
        assert_eq!(messages(&schema, "blok"), ["the file is `blok`, which is not accepted"]);
    }
}

#[test]
fn references_nested_lists_and_other_keys_are_followed() {
    let schema = json!({
        "type": "object",
        "additionalProperties": { "$ref": "#/$defs/List" },
        "$defs": { "List": { "type": "array", "items": { "allOf": [ { "$ref": "#/$defs/Count" } ] } },
                   "Count": { "type": "integer", "minimum": 1, "maximum": 9 } },
    });
    assert_eq!(messages(&schema, "{ a: [1], b: [9] }"), [] as [&str; 0]);
    let expected =
        ["`a[1]` is `0`, which is out of range", "`b[0]` must be a whole number, not a number with a fraction"];
    assert_eq!(messages(&schema, "{ a: [1, 0], b: [1.5] }"), expected);
    assert_eq!(messages(&schema, "{ 1: [1] }"), ["a key in the file is not text"]);
}

#[test]
fn a_schema_that_refers_to_itself_ends() {
    let schema = json!({ "$ref": "#/$defs/A", "$defs": { "A": { "$ref": "#/$defs/A" } } });
    assert_eq!(messages(&schema, "x"), [] as [&str; 0]);
}
