//! The OpenAPI 3.1 document, made from the route table and the types that are really read and written.
//!
//! It is checked in as `openapi.json`; a test compares the two and says how to write it anew.

use std::sync::LazyLock;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::problem::Code;
use crate::web::listing::TEXT_CHARS_MAX;

use super::Surface;
use super::route::{Body, Effect, Parameter, ParameterKind, Role, Route, SchemaOf};
use super::table::ROUTES;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let mut text = serde_json::to_string_pretty(&build()).expect("a value of maps with string keys is JSON");
    text.push('\n');
    text
});

/// How an approval's id is written.
const APPROVAL_ID: &str = "^apr_[0-9a-hjkmnp-tv-z]{35}[0g]$";
/// How a duration is written; never empty. As many digits as stay below the longest that is accepted.
const DURATION: &str = "^([0-9]{1,3}d)?([0-9]{1,4}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?([0-9]{1,9}ms)?$";

/// The document as JSON text.
pub fn document() -> &'static str {
    &DOCUMENT
}

fn build() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let (mut read, mut written) = (settings.clone().into_generator(), settings.for_serialize().into_generator());
    let mut paths = Map::new();
    for route in ROUTES {
        let operations = paths.entry(route.path).or_insert_with(|| json!({}));
        operations[route.method.as_str().to_ascii_lowercase()] = operation(route, &mut read, &mut written);
    }
    let mut schemas = read.take_definitions(true);
    schemas.extend(written.take_definitions(true));
    schemas.insert("Problem".to_owned(), problem());
    schemas.sort_keys();
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Holdpoint approvals API",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": "Errors are RFC 9457 problems with a stable `code`. Times are RFC 3339 in UTC. The operations for \
                            agents are also served by the proxy listener, below `/_holdpoint`.",
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "The token of an agent, a reviewer or a scraper." },
            },
        },
    })
}

fn operation(route: &Route, read: &mut SchemaGenerator, written: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": route.operation,
        "summary": route.summary,
        "x-roles": route.who.iter().map(|role| role_name(*role)).collect::<Vec<_>>(),
        "x-changes": route.effect == Effect::Writes,
        "x-agent-surface": Surface::AgentOnly.serves(route),
        "responses": responses(route, written),
    });
    if route.who.contains(&Role::Anyone) {
        operation["security"] = json!([]);
    }
    if route.who.contains(&Role::Metrics) {
        // Open where no metrics token is configured.
        operation["security"] = json!([{}, { "token": [] }]);
    }
    let mut parameters: Vec<Value> = route.query.iter().map(parameter).collect();
    if route.path.contains("{id}") {
        parameters.insert(
            0,
            json!({
                "name": "id", "in": "path", "required": true, "description": "The approval's id.",
                "schema": { "type": "string", "pattern": APPROVAL_ID },
            }),
        );
    }
    let named = [("upstream", "The upstream's configured name."), ("name", "The tool, as the upstream calls it.")];
    for (place, (name, description)) in
        named.into_iter().filter(|(name, _)| route.path.contains(&format!("{{{name}}}"))).enumerate()
    {
        let schema = json!({ "type": "string", "minLength": 1 });
        let document =
            json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema });
        parameters.insert(place, document);
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    let body = match route.body {
        Body::None => None,
        Body::Optional(schema) => Some((false, schema)),
        Body::Required(schema) | Body::Context(schema) => Some((true, schema)),
    };
    if let Some((required, schema)) = body {
        operation["requestBody"] =
            json!({ "required": required, "content": content("application/json", Some(schema), read) });
    }
    operation
}

fn responses(route: &Route, written: &mut SchemaGenerator) -> Value {
    let answer = &route.answer;
    let mut responses = Map::new();
    responses.insert(
        answer.status.to_string(),
        json!({ "description": answer.description, "content": content(answer.media_type, answer.schema, written) }),
    );
    let mut problems: Vec<Code> = route.problems.to_vec();
    if !route.who.contains(&Role::Anyone) {
        problems.extend([Code::Unauthenticated, Code::Forbidden, Code::StoreUnavailable]);
    }
    if !matches!(route.body, Body::None) || !route.query.is_empty() {
        problems.push(Code::InvalidRequest);
    }
    problems.sort_by_key(|code| (code.status().as_u16(), code.as_str()));
    problems.dedup();
    for code in problems {
        let status = code.status().as_u16().to_string();
        let named = format!("`{}`", code.as_str());
        match responses.get_mut(&status) {
            Some(response) => {
                let codes = response["description"].as_str().unwrap_or_default();
                response["description"] = format!("{codes}, {named}").into();
            }
            None => {
                let schema =
                    json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
                responses.insert(status, json!({ "description": named, "content": schema }));
            }
        }
    }
    responses.into()
}

fn content(media_type: &str, schema: Option<SchemaOf>, generator: &mut SchemaGenerator) -> Value {
    let schema = schema.map_or_else(|| json!({}), |schema| json!({ "schema": schema(generator) }));
    json!({ media_type: schema })
}

fn parameter(parameter: &Parameter) -> Value {
    let schema = match parameter.kind {
        ParameterKind::Text => json!({ "type": "string", "maxLength": TEXT_CHARS_MAX }),
        ParameterKind::Word(words) => json!({ "type": "string", "enum": words }),
        ParameterKind::Words(words) => {
            let word = format!("({})", words.join("|"));
            json!({ "type": "string", "pattern": format!("^{word}(,{word})*$"), "examples": [words[0]] })
        }
        ParameterKind::Approval => json!({ "type": "string", "pattern": APPROVAL_ID }),
        ParameterKind::Tool => json!({ "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]*/." }),
        ParameterKind::Number(from, u64::MAX) => json!({ "type": "integer", "minimum": from }),
        ParameterKind::Number(from, to) => json!({ "type": "integer", "minimum": from, "maximum": to }),
        ParameterKind::Time => json!({ "type": "string", "format": "date-time" }),
        ParameterKind::Duration => {
            json!({ "type": "string", "pattern": DURATION, "minLength": 1, "examples": ["25s"] })
        }
        ParameterKind::Flag => json!({ "type": "string" }),
    };
    let mut document =
        json!({ "name": parameter.name, "in": "query", "description": parameter.description, "schema": schema });
    if matches!(parameter.kind, ParameterKind::Flag) {
        document["allowEmptyValue"] = true.into();
    }
    document
}

fn problem() -> Value {
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    json!({
        "type": "object",
        "description": "What went wrong. `docs/reference/problems.md` has a section for each code.",
        "required": ["type", "title", "status", "detail", "code", "retryable"],
        "properties": {
            "type": { "type": "string", "format": "uri" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string", "description": "What is wrong with this very request, and what to do." },
            "code": { "type": "string", "enum": codes },
            "retryable": { "type": "boolean", "description": "Whether the same request may be sent again and may then succeed." },
        },
    })
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Anyone => "anyone",
        Role::Agent => "agent",
        Role::Reviewer => "reviewer",
        Role::Admin => "admin",
        Role::Metrics => "metrics",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checked_in_document_is_this_one() {
        #[expect(clippy::disallowed_methods, reason = "a test that can write its own expectation anew")]
        if std::env::var_os("HOLDPOINT_WRITE_OPENAPI").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"), document())
                .expect("it can be written");
            return;
        }
        assert!(
            include_str!("../../openapi.json") == document(),
            "openapi.json is not what the route table says; write it anew with\n\
             HOLDPOINT_WRITE_OPENAPI=1 cargo test --lib api::openapi"
        );
    }

    #[test]
    fn every_reference_in_the_document_leads_somewhere() {
        let document = build();
        let schemas = document["components"]["schemas"].as_object().expect("there are schemas");
        let text = document.to_string();
        let names: Vec<&str> =
            text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(names.len() > 10, "{names:?}");
        for name in names {
            assert!(schemas.contains_key(name), "{name} is not defined");
        }
    }

    #[test]
    fn each_operation_is_documented_once() {
        let document = build();
        let operations =
            document["paths"].as_object().expect("paths").values().map(|path| path.as_object().map_or(0, Map::len));
        assert_eq!(operations.sum::<usize>(), ROUTES.len());
        let ids: std::collections::HashSet<_> = ROUTES.iter().map(|route| route.operation).collect();
        assert_eq!(ids.len(), ROUTES.len());
    }

    #[test]
    fn a_get_only_reads() {
        for route in ROUTES {
            let reads = route.effect == Effect::Reads;
            assert!(reads || route.method == http::Method::POST, "{}", route.operation);
        }
    }
}
