use super::*;
use crate::config::diagnostic::Severity;

fn refusals(text: &str) -> Vec<Diagnostic> {
    read(Source::new("f.yaml", text)).expect_err("the guard refuses it")
}

/// Exactly one refusal, with this code, line and column, whose message contains the text.
#[track_caller]
fn check(text: &str, code: Code, line: usize, column: usize, message: &str, hint: Option<&str>) {
    let found = refusals(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].code, found[0].severity), (code, Severity::Error), "{found:#?}");
    assert_eq!(found[0].place, Some(Place { line, column }), "{found:#?}");
    assert!(found[0].message.contains(message), "{found:#?}");
    assert_eq!(found[0].hint.as_deref(), hint, "{found:#?}");
}

#[test]
fn dangerous_yaml_is_refused_at_its_place() {
    use Code::{YamlForbidden, YamlSyntax};
    check("a: *x*\n", YamlForbidden, 1, 4, "is an alias", Some("put the text in quotes, as in `\"*delete*\"`"));
    check("a: &x 1\n", YamlForbidden, 1, 4, "anchors (`&name`)", Some("remove the anchor"));
    check("a: 1\nb: !!str 2\n", YamlForbidden, 2, 4, "tags", Some("remove the tag; put text in quotes"));
    check("a: !env HOME\n", YamlForbidden, 1, 4, "tags", Some("remove the tag; put text in quotes"));
    check("b:\n  <<: {c: 1}\n", YamlForbidden, 2, 3, "merge keys", Some("write the keys out where they are used"));
    check("a: 1\n---\nb: 2\n", YamlForbidden, 2, 1, "second document", Some("remove `---` or use a second file"));
    check("? [a, b]\n: 1\n", YamlForbidden, 1, 3, "cannot be a key", Some("write a plain key such as `name:`"));
    check("a: [1, 2\n", YamlSyntax, 2, 1, "not valid YAML", None);
    check("a: \"unclosed\n", YamlSyntax, 1, 4, "not valid YAML", None);
}

#[test]
fn aliases_are_refused_together_with_their_anchors() {
    let found = refusals("a: &x 1\nb: *x\n");
    let codes: Vec<_> = found.iter().map(|d| (d.code, d.place.map(|p| p.line))).collect();
    assert_eq!(codes, [(Code::YamlForbidden, Some(1)), (Code::YamlForbidden, Some(2))], "{found:#?}");
}

#[test]
fn a_duplicate_key_is_refused_with_both_places() {
    let hint = Some("keep one of the two");
    let text = "proxy:\n  listen: a\n  tls: b\n  listen: c\n";
    check(text, Code::DuplicateKey, 4, 3, "`listen` is given twice; first at line 2, column 3", hint);
    check("{a: 1, \"a\": 2}\n", Code::DuplicateKey, 1, 8, "`a` is given twice; first at line 1, column 2", hint);
    let rendered = refusals(text)[0].render();
    assert!(rendered.contains("f.yaml:4:3") && rendered.contains("first given here"), "{rendered}");
}

#[test]
fn every_duplicate_is_reported_at_once() {
    let found = refusals("a: {b: 1, b: 2}\nc: 1\nc: 2\n");
    assert_eq!(found.len(), 2, "{found:#?}");
}

#[test]
fn nesting_is_bounded_and_refused_in_linear_time() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    read(Source::new("f.yaml", nested(DEPTH_MAX))).expect("the limit itself is accepted");
    check(&nested(DEPTH_MAX + 1), Code::YamlForbidden, 1, 33, "nested deeper than 32 levels", None);
    check(&"{a: ".repeat(60_000), Code::YamlForbidden, 1, 1021, "nested deeper than 32 levels", None);
}

#[test]
fn a_file_above_the_cap_is_refused_unread() {
    let text = format!("a: {}", "x".repeat(FILE_BYTES_MAX));
    let found = refusals(&text);
    assert_eq!((found[0].code, found[0].place), (Code::FileTooLarge, None));
}

#[test]
fn an_empty_file_is_refused() {
    for text in ["", "# only a comment\n", "---\n"] {
        match read(Source::new("f.yaml", text)) {
            Ok(document) => assert!(document.value().is_null(), "{text:?}"),
            Err(found) => assert!(found[0].message.contains("empty"), "{found:#?}"),
        }
    }
}

#[test]
fn places_count_characters_and_survive_text_beyond_ascii_and_a_byte_order_mark() {
    let text = "\u{feff}é: [ü, {ß: x}]\nb: ok\n";
    let document = read(Source::new("f.yaml", text)).expect("valid");
    let path: Vec<PathSegment> = vec!["é".into(), 1.into(), "ß".into()];
    let (place, span) = document.spans().value(&path);
    assert_eq!(place, Place { line: 1, column: 12 });
    assert_eq!(&document.source().text[span], "x");
    let (place, span) = document.spans().key(&path);
    assert_eq!((place, &document.source().text[span]), (Place { line: 1, column: 9 }, "ß"));
    assert_eq!(document.spans().value(&["b".into(), 7.into()]).0, Place { line: 2, column: 4 });
}

#[test]
fn the_span_of_a_quoted_text_ends_with_its_quote() {
    let document = read(Source::new("f.yaml", "{ a: \"x\"   }\n")).expect("valid");
    let (_, span) = document.spans().value(&["a".into()]);
    assert_eq!(&document.source().text[span], "\"x\"");
}

#[test]
fn masked_sources_keep_their_length_and_hide_the_value() {
    let source = Source::new("f.yaml", "token: hunter2\nb: ü\n");
    let masked = source.masked(&[7..14, 900..901]);
    assert_eq!(masked.text, "token: *******\nb: ü\n");
}

#[test]
fn typed_errors_keep_their_place_and_lose_the_parsers_suffix() {
    #[derive(Debug, serde::Deserialize)]
    struct Number {
        #[expect(dead_code, reason = "only the failure to read it matters")]
        count: u8,
    }
    let text = "count: many\n";
    let document = read(Source::new("f.yaml", text)).expect("valid YAML");
    let problem = document.typed::<Number>(text).expect_err("not a number");
    assert_eq!(problem.place, Some(Place { line: 1, column: 8 }));
    assert!(!problem.message.contains("at line"), "{problem:?}");
}

#[test]
fn control_characters_never_reach_the_terminal() {
    let problem = Diagnostic::of_file("f", Code::BadValue, "a\u{1b}[31m\u{202e}b");
    assert_eq!(problem.message, "a\\u{1b}[31m\\u{202e}b");
}
