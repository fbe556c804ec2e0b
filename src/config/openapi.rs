//! Names for calls from an OpenAPI 3.0 or 3.1 document, YAML or JSON.
//!
//! Read is only what names calls: `paths`, methods and `operationId`. `servers` are ignored: the upstream's `url` says
//! where the paths begin. An operation without an `operationId` keeps its fallback name. Whatever could make two
//! readers see different names (duplicate keys, references to other documents) is refused; an operation whose name or
//! path cannot be used keeps its fallback name too, with a warning, because policies may be waiting for it.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::diagnostic::{Code, Diagnostic, Source};
use super::model::values::{CallPattern, TextValue, ToolName};
use super::settings::ToolMapping;
use super::yaml;

#[cfg(test)]
mod tests;

/// The most operations of one document.
pub const OPERATIONS_MAX: usize = 10_000;

/// What a document said.
#[derive(Debug, Default)]
pub struct Operations {
    /// The named calls, in the order written.
    pub tools: Vec<ToolMapping>,
    /// What is wrong with it; with an error among them, `tools` is incomplete and must not be used.
    pub diagnostics: Vec<Diagnostic>,
}

#[derive(Deserialize)]
struct Specification {
    openapi: Option<String>,
    swagger: Option<String>,
    paths: Option<UniqueMap<PathItem>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PathItem {
    #[serde(rename = "$ref")]
    reference: Option<String>,
    get: Option<Operation>,
    head: Option<Operation>,
    post: Option<Operation>,
    put: Option<Operation>,
    patch: Option<Operation>,
    delete: Option<Operation>,
    options: Option<Operation>,
}

impl PathItem {
    fn operations(&self) -> impl Iterator<Item = (&'static str, &Operation)> {
        let all = [
            ("GET", &self.get),
            ("HEAD", &self.head),
            ("POST", &self.post),
            ("PUT", &self.put),
            ("PATCH", &self.patch),
            ("DELETE", &self.delete),
            ("OPTIONS", &self.options),
        ];
        all.into_iter().filter_map(|(method, operation)| operation.as_ref().map(|operation| (method, operation)))
    }
}

#[derive(Deserialize)]
struct Operation {
    #[serde(rename = "operationId")]
    operation_id: Option<String>,
}

/// A mapping whose keys are all different; serde's own maps keep the last of two.
struct UniqueMap<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UniqueMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<V>(std::marker::PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Reader<V> {
            type Value = UniqueMap<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueMap<V>, A::Error> {
                let (mut entries, mut seen) = (Vec::new(), HashSet::new());
                while let Some((key, value)) = map.next_entry::<String, V>()? {
                    if !seen.insert(key.clone()) {
                        return Err(de::Error::custom(format!("`{key}` is given twice")));
                    }
                    entries.push((key, value));
                }
                Ok(UniqueMap(entries))
            }
        }
        deserializer.deserialize_map(Reader(std::marker::PhantomData))
    }
}

/// Reads a document; `name` is the file's name for messages.
pub fn read(name: &str, bytes: &[u8]) -> Operations {
    match parse(name, bytes) {
        Ok(specification) => named(name, &specification),
        Err(diagnostics) => Operations { tools: Vec::new(), diagnostics },
    }
}

fn parse(name: &str, bytes: &[u8]) -> Result<Specification, Vec<Diagnostic>> {
    let text = std::str::from_utf8(bytes).map_err(|_| vec![problem(name, "the document is not UTF-8 text")])?;
    if text.trim_start_matches('\u{feff}').trim_start().starts_with('{') {
        let text = text.trim_start_matches('\u{feff}');
        return serde_json::from_str(text)
            .map_err(|error| vec![problem(name, format!("the document cannot be read as OpenAPI in JSON: {error}"))]);
    }
    let source = Source::new(name, text);
    let text = source.text.clone();
    let document = yaml::read(source).map_err(|found| {
        let larger = found.iter().any(|d| d.code == Code::FileTooLarge);
        let hint = if larger { "convert it to JSON, which may have up to 8 MiB" } else { "convert it to JSON" };
        found.into_iter().map(|d| if d.hint.is_none() || larger { d.hint(hint) } else { d }).collect::<Vec<_>>()
    })?;
    document.typed(&text).map_err(|found| vec![found])
}

fn named(name: &str, specification: &Specification) -> Operations {
    let mut operations = Operations::default();
    let version = specification.openapi.as_deref().unwrap_or_default();
    if !(version.starts_with("3.0.") || version.starts_with("3.1.")) {
        let given = specification.openapi.as_deref().or(specification.swagger.as_deref()).unwrap_or("none");
        let found = problem(name, format!("the document's OpenAPI version is `{given}`"));
        operations.diagnostics.push(found.hint("3.0 and 3.1 are read; convert the document"));
        return operations;
    }
    let mut seen = HashSet::new();
    let paths = specification.paths.iter().flat_map(|paths| &paths.0);
    for (path, item) in paths.filter(|(path, _)| !path.starts_with("x-")) {
        if item.reference.is_some() {
            let message = format!("the path `{path}` is a `$ref`, which is not followed");
            operations.diagnostics.push(problem(name, message).hint("bundle the document into one file first"));
            continue;
        }
        for (method, operation) in item.operations() {
            let Some(id) = &operation.operation_id else { continue };
            if !seen.insert(id.clone()) {
                let message = format!("the operationId `{id}` is given twice");
                operations.diagnostics.push(problem(name, message).hint("operationIds are unique in OpenAPI"));
            }
            if seen.len() > OPERATIONS_MAX {
                let message = format!("the document has more than {OPERATIONS_MAX} operations");
                operations.diagnostics.push(problem(name, message));
                return operations;
            }
            let call = CallPattern::read(&format!("{method} {path}"));
            match (call, ToolName::read(id)) {
                (Ok(call), Ok(tool)) => operations.tools.push(ToolMapping { call, tool }),
                (Err(error), _) | (_, Err(error)) => {
                    let message = format!("the operation `{id}` keeps its fallback name: {}", error.message);
                    let hint = "match it in policy as `UPSTREAM:METHOD PATH`, or name it under `tools`";
                    operations.diagnostics.push(problem(name, message).hint(hint).warning());
                }
            }
        }
    }
    operations
}

fn problem(name: &str, message: impl AsRef<str>) -> Diagnostic {
    Diagnostic::of_file(name, Code::OpenApi, message)
}
