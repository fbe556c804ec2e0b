use super::*;
use crate::config::diagnostic::Severity;

fn named(text: &str) -> Vec<(String, String)> {
    let read = read("api", text.as_bytes());
    assert!(read.diagnostics.is_empty(), "{:#?}", read.diagnostics);
    read.tools.iter().map(|tool| (tool.call.write(), tool.tool.to_string())).collect()
}

/// One problem whose message and hint contain the texts.
#[track_caller]
fn check(text: &str, severity: Severity, message: &str, hint: &str) {
    let read = read("api", text.as_bytes());
    assert_eq!(read.diagnostics.len(), 1, "{:#?}", read.diagnostics);
    let found = &read.diagnostics[0];
    assert_eq!((found.severity, found.file.as_str()), (severity, "api"), "{found:#?}");
    assert!(found.message.contains(message), "{found:#?}");
    assert!(found.hint.as_deref().unwrap_or_default().contains(hint), "{found:#?}");
}

#[test]
fn operation_ids_name_calls_in_yaml_and_json() {
    let yaml = "openapi: 3.0.3
info: { title: x }
paths:
  /refunds:
    summary: about
    parameters: []
    post: { operationId: refund, responses: { 200: { description: ok } } }
    get: { responses: {} }
  /customers/{id}:
    delete: { operationId: deleteCustomer }
    trace: { operationId: notACall }
";
    let expected = [
        ("POST /refunds".to_owned(), "refund".to_owned()),
        ("DELETE /customers/{id}".to_owned(), "deleteCustomer".to_owned()),
    ];
    assert_eq!(named(yaml), expected);
    let json = r#"{"openapi":"3.1.0","paths":{"/refunds":{"post":{"operationId":"refund"}},
        "/customers/{id}":{"delete":{"operationId":"deleteCustomer"}}},"x-extra":[1]}"#;
    assert_eq!(named(json), expected);
    assert_eq!(named(r#"{"openapi":"3.1.0"}"#), []);
}

#[test]
fn documents_that_two_readers_could_read_differently_are_refused() {
    use Severity::Error;
    let json = |paths: &str| format!(r#"{{"openapi":"3.1.0","paths":{paths}}}"#);
    check(&json(r#"{"/a":{"get":{}},"/a":{"get":{}}}"#), Error, "`/a` is given twice", "");
    check(&json(r#"{"/a":{"get":{"operationId":"x"},"get":{}}}"#), Error, "duplicate field `get`", "");
    check(&json(r#"{"/a":{"get":{"operationId":"x","operationId":"y"}}}"#), Error, "duplicate field `operationId`", "");
    check(
        &json(r#"{"/a":{"get":{"operationId":"x"},"put":{"operationId":"x"}}}"#),
        Error,
        "`x` is given twice",
        "unique",
    );
    check(&json(r##"{"/a":{"$ref":"other.json#/a"}}"##), Error, "not followed", "bundle");
    check("openapi: 3.0.0\npaths: {}\npaths: {}\n", Error, "`paths` is given twice", "");
    check("openapi: 3.0.0\npaths: {/a: &x {get: {}}}\n", Error, "anchors", "");
}

#[test]
fn what_is_no_openapi_document_is_refused() {
    use Severity::Error;
    check(r#"{"swagger":"2.0","paths":{}}"#, Error, "version is `2.0`", "3.0 and 3.1");
    check("{}", Error, "version is `none`", "3.0 and 3.1");
    check("{", Error, "cannot be read as OpenAPI in JSON", "");
    check("openapi: 3.0.0\npaths: []\n", Error, "a mapping", "");
    let large = format!("openapi: 3.0.0\nx: {}\n", "y".repeat(yaml::FILE_BYTES_MAX));
    check(&large, Error, "at most 262144 are read", "convert it to JSON");
}

#[test]
fn operations_that_cannot_be_named_keep_their_fallback_name_with_a_warning() {
    let json = |path: &str, id: &str| {
        format!(r#"{{"openapi":"3.1.0","paths":{{"{path}":{{"get":{{"operationId":"{id}"}}}}}}}}"#)
    };
    check(
        &json("/a/{b}...{c}", "compare"),
        Severity::Warning,
        "`compare` keeps its fallback name",
        "UPSTREAM:METHOD PATH",
    );
    check(&json("/a", "two words"), Severity::Warning, "`two words` is not a tool name", "under `tools`");
}
