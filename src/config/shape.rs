//! Keys and types of a document, checked against the JSON Schema of the model that will read it.
//!
//! serde stops at the first problem; this walk reports every unknown key, missing key, wrong type and unacceptable
//! text at once, each at its line and column. It knows the part of JSON Schema that `schemars` writes for our models
//! and nothing else: references, types, properties, items, `anyOf`/`oneOf`/`allOf`, `enum`/`const`, `required`,
//! `propertyNames`, lengths and ranges, and `format` through a table of checks.
//!
//! It decides nothing about loading: a document that passes is still read by serde with `deny_unknown_fields`, and
//! whatever that refuses is reported too. A gap here costs a worse message, not a looser gate.

use serde_json::Value as Json;
use serde_yaml::Value as Yaml;

use super::diagnostic::{Code, Diagnostic, nearest};
use super::model::values::ValueError;
use super::yaml::{Document, path_text};
use crate::domain::policy::PathSegment;

mod branches;
#[cfg(test)]
mod tests;

/// Reads a text for its form alone.
pub type FormatCheck = fn(&str) -> Result<(), ValueError>;

/// What a document must look like.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    /// The JSON Schema.
    pub schema: &'a Json,
    /// The checks for each `format`.
    pub formats: &'a [(&'static str, FormatCheck)],
    /// What `${…}` means in texts that are not secret.
    pub references: References,
}

/// What `${…}` means outside secret fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum References {
    /// Nothing is read there, so it is a mistake: the text would be taken literally.
    Refused,
    /// It is part of the text, as in a rule's `summary`.
    Literal,
}

impl Shape<'_> {
    /// Every problem of the document, in no particular order; empty when its shape is right.
    pub fn problems(&self, document: &Document) -> Vec<Diagnostic> {
        let mut walk = Walk { shape: *self, document, path: Vec::new(), found: Vec::new() };
        walk.value(self.schema, document.value());
        walk.found
    }
}

struct Walk<'a> {
    shape: Shape<'a>,
    document: &'a Document,
    path: Vec<PathSegment>,
    found: Vec<Diagnostic>,
}

impl<'a> Walk<'a> {
    fn value(&mut self, schema: &'a Json, value: &Yaml) {
        let schema = self.resolved(schema);
        if schema.get("anyOf").or(schema.get("oneOf")).is_some() {
            return self.branches(schema, value);
        }
        for part in schema.get("allOf").and_then(Json::as_array).into_iter().flatten() {
            self.value(part, value);
        }
        if !admits(schema, value) {
            return self.wrong_type(&[schema], value);
        }
        let before = self.found.len();
        match value {
            Yaml::Mapping(mapping) => self.mapping(schema, mapping),
            Yaml::Sequence(items) => self.list(schema, items),
            Yaml::String(text) => self.text(schema, text),
            Yaml::Number(number) => self.number(schema, number),
            Yaml::Null | Yaml::Bool(_) | Yaml::Tagged(_) => {}
        }
        if self.found.len() == before {
            self.choice(schema, value);
        }
    }

    /// Follows `$ref` within the schema.
    fn resolved(&self, mut schema: &'a Json) -> &'a Json {
        // Our schemas nest references a few deep at most; the bound only ends a cycle.
        for _ in 0..16 {
            let Some(target) = schema.get("$ref").and_then(Json::as_str).and_then(|r| r.strip_prefix('#')) else {
                break;
            };
            match self.shape.schema.pointer(target) {
                Some(next) => schema = next,
                None => break,
            }
        }
        schema
    }

    fn mapping(&mut self, schema: &'a Json, mapping: &serde_yaml::Mapping) {
        let properties = schema.get("properties").and_then(Json::as_object);
        let others = schema.get("additionalProperties");
        for (key, value) in mapping {
            let Some(key) = key.as_str() else {
                let message = format!("a key in {} is not text", self.name());
                self.report_value(Code::WrongType, message, Some("put the key in quotes".to_owned()));
                continue;
            };
            self.path.push(PathSegment::Key(key.to_owned()));
            match (properties.and_then(|known| known.get(key)), others) {
                (Some(known), _) => self.value(known, value),
                (None, Some(Json::Bool(false))) => self.unknown_key(key, properties),
                (None, Some(other @ Json::Object(_))) => {
                    self.property_name(schema, key);
                    self.value(other, value);
                }
                (None, _) => {}
            }
            self.path.pop();
        }
        for required in schema.get("required").and_then(Json::as_array).into_iter().flatten() {
            if let Some(name) = required.as_str().filter(|name| !mapping.contains_key(*name)) {
                let message = format!("{} needs the key `{name}`", self.name());
                let found = self.document.at_key(&self.path, Code::MissingKey, message);
                self.found.push(found.hint(format!("add `{name}: …`")));
            }
        }
        let least = schema.get("minProperties").and_then(Json::as_u64).unwrap_or(0);
        if (mapping.len() as u64) < least {
            self.report_value(Code::BadValue, format!("{} is empty", self.name()), None);
        }
    }

    fn unknown_key(&mut self, key: &str, properties: Option<&'a serde_json::Map<String, Json>>) {
        let parent = &self.path[..self.path.len() - 1];
        let place =
            if parent.is_empty() { "at the top level".to_owned() } else { format!("in `{}`", path_text(parent)) };
        let known: Vec<&str> = properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let hint = match nearest(key, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "no keys are accepted here".to_owned(),
            None => format!("known keys: {}", known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")),
        };
        let message = format!("unknown key `{key}` {place}");
        self.found.push(self.document.at_key(&self.path, Code::UnknownKey, message).hint(hint));
    }

    fn property_name(&mut self, schema: &'a Json, key: &str) {
        let format = schema.pointer("/propertyNames/format").and_then(Json::as_str);
        if let Some(Err(error)) = format.map(|format| self.format(format, key)) {
            let found = self.document.at_key(&self.path, Code::BadValue, error.message);
            self.found.push(found.hint_if(error.hint));
        }
    }

    fn list(&mut self, schema: &'a Json, items: &[Yaml]) {
        if let Some(item_schema) = schema.get("items") {
            for (index, item) in items.iter().enumerate() {
                self.path.push(PathSegment::Index(index));
                self.value(item_schema, item);
                self.path.pop();
            }
        }
        let bound = |name| schema.get(name).and_then(Json::as_u64);
        let count = items.len() as u64;
        if bound("minItems").is_some_and(|least| count < least) {
            self.report_value(Code::BadValue, format!("{} is empty", self.name()), None);
        }
        if let Some(most) = bound("maxItems").filter(|most| count > *most) {
            let message = format!("{} holds {count} items; at most {most} are accepted", self.name());
            self.report_value(Code::BadValue, message, None);
        }
    }

    fn text(&mut self, schema: &'a Json, text: &str) {
        let format = schema.get("format").and_then(Json::as_str);
        let secret = format == Some("secret-text");
        if !secret && self.shape.references == References::Refused && text.contains("${") {
            let message = format!("{} does not read `${{…}}`; the text would be taken literally", self.name());
            let hint = "references are read in upstream `headers`, `store` and `token_sha256`";
            return self.report_value(Code::Secret, message, Some(hint.to_owned()));
        }
        if let Some(Err(error)) = format.map(|format| self.format(format, text)) {
            return self.report_value(Code::BadValue, format!("{}: {}", self.name(), error.message), error.hint);
        }
        let bound = |name| schema.get(name).and_then(Json::as_u64);
        let length = text.chars().count() as u64;
        if bound("minLength").is_some_and(|least| length < least) {
            self.report_value(Code::BadValue, format!("{} is empty", self.name()), None);
        }
        if let Some(most) = bound("maxLength").filter(|most| length > *most) {
            let message = format!("{} has {length} characters; at most {most} are accepted", self.name());
            self.report_value(Code::BadValue, message, None);
        }
    }

    fn format(&self, format: &str, text: &str) -> Result<(), ValueError> {
        self.shape.formats.iter().find(|(name, _)| *name == format).map_or(Ok(()), |(_, check)| check(text))
    }

    fn number(&mut self, schema: &'a Json, number: &serde_yaml::Number) {
        if schema.get("type").is_some_and(Json::is_array) && schema.get("format").is_some() {
            return self.text(schema, &number.to_string());
        }
        let bound = |name| schema.get(name).and_then(Json::as_f64);
        let Some(given) = number.as_f64() else { return };
        let (least, most) = (bound("minimum"), bound("maximum"));
        if least.is_some_and(|least| given < least) || most.is_some_and(|most| given > most) {
            let range = match (least, most) {
                (Some(least), Some(most)) => format!("from {least} to {most}"),
                (Some(least), None) => format!("{least} or more"),
                (None, Some(most)) => format!("{most} or less"),
                (None, None) => return,
            };
            let message = format!("{} is `{number}`, which is out of range", self.name());
            self.report_value(Code::BadValue, message, Some(format!("write a number {range}")));
        }
    }

    /// `enum` and `const`.
    fn choice(&mut self, schema: &'a Json, value: &Yaml) {
        let listed = schema.get("enum").and_then(Json::as_array).map(|all| all.iter().collect::<Vec<_>>());
        if let Some(accepted) = listed.or_else(|| schema.get("const").map(|only| vec![only])) {
            self.one_of(&accepted, value);
        }
    }

    fn one_of(&mut self, accepted: &[&Json], value: &Yaml) {
        let given = shown(value);
        let names: Vec<String> =
            accepted.iter().map(|json| json.as_str().map_or_else(|| json.to_string(), str::to_owned)).collect();
        if names.contains(&given) {
            return;
        }
        let list = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let hint = match nearest(&given, names.iter().map(String::as_str)) {
            Some(near) if names.len() > 1 => format!("did you mean `{near}`? accepted: {list}"),
            _ => format!("accepted: {list}"),
        };
        let message = format!("{} is `{given}`, which is not accepted", self.name());
        self.report_value(Code::BadValue, message, Some(hint));
    }

    fn wrong_type(&mut self, schemas: &[&Json], value: &Yaml) {
        let mut wanted: Vec<&str> = schemas.iter().flat_map(|schema| types(schema)).map(type_name).collect();
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.len() > 1 {
            wanted.retain(|name| *name != "empty");
        }
        let duration = schemas.iter().any(|schema| {
            schema.get("format").and_then(Json::as_str).is_some_and(|format| format.contains("duration"))
        });
        let hint = match value {
            Yaml::Number(number) if duration => Some(format!("add a unit, as in `{number}s`")),
            Yaml::Null => Some("give it a value, or remove the key".to_owned()),
            Yaml::Number(_) | Yaml::Bool(_) if wanted.contains(&"text") => Some("put the value in quotes".to_owned()),
            _ => None,
        };
        let message = format!("{} must be {}, not {}", self.name(), wanted.join(" or "), kind(value));
        let found = match value {
            // What is empty has no place of its own.
            Yaml::Null => self.document.at_key(&self.path, Code::WrongType, message),
            _ => self.document.at_value(&self.path, Code::WrongType, message),
        };
        self.found.push(found.hint_if(hint));
    }

    /// The path as people read it.
    fn name(&self) -> String {
        if self.path.is_empty() { "the file".to_owned() } else { format!("`{}`", path_text(&self.path)) }
    }

    fn report_value(&mut self, code: Code, message: String, hint: Option<String>) {
        self.found.push(self.document.at_value(&self.path, code, message).hint_if(hint));
    }
}

/// The types that a schema names; empty when it names none, which admits every type.
fn types(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(one)) => vec![one.as_str()],
        Some(Json::Array(several)) => several.iter().filter_map(Json::as_str).collect(),
        _ => constants(schema).iter().map(|json| json_type(json)).collect(),
    }
}

fn constants(schema: &Json) -> Vec<&Json> {
    let listed = schema.get("enum").and_then(Json::as_array).map(|all| all.iter().collect());
    listed.or_else(|| schema.get("const").map(|only| vec![only])).unwrap_or_default()
}

fn json_type(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "integer",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

fn admits(schema: &Json, value: &Yaml) -> bool {
    let types = types(schema);
    types.is_empty()
        || types.iter().any(|name| match (*name, value) {
            ("null", Yaml::Null)
            | ("boolean", Yaml::Bool(_))
            | ("number", Yaml::Number(_))
            | ("string", Yaml::String(_))
            | ("array", Yaml::Sequence(_))
            | ("object", Yaml::Mapping(_)) => true,
            ("integer", Yaml::Number(number)) => number.is_i64() || number.is_u64(),
            _ => false,
        })
}

fn type_name(name: &str) -> &str {
    match name {
        "null" => "empty",
        "boolean" => "`true` or `false`",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "text",
        "array" => "a list",
        "object" => "a mapping",
        other => other,
    }
}

fn kind(value: &Yaml) -> &'static str {
    match value {
        Yaml::Null => "empty",
        Yaml::Bool(_) => "`true` or `false`",
        Yaml::Number(number) if number.is_f64() => "a number with a fraction",
        Yaml::Number(_) => "a whole number",
        Yaml::String(_) => "text",
        Yaml::Sequence(_) => "a list",
        Yaml::Mapping(_) => "a mapping",
        Yaml::Tagged(_) => "a tagged value",
    }
}

/// A scalar as it may be quoted, cut to a length that fits a line.
fn shown(value: &Yaml) -> String {
    let text = match value {
        Yaml::String(text) => text.clone(),
        Yaml::Number(number) => number.to_string(),
        Yaml::Bool(yes) => yes.to_string(),
        Yaml::Null => "null".to_owned(),
        Yaml::Sequence(_) | Yaml::Mapping(_) | Yaml::Tagged(_) => kind(value).to_owned(),
    };
    text.chars().take(60).collect()
}
