//! `holdpoint policy schema`: the JSON Schema of the configuration or of a policy file, for editors and CI.
//!
//! The same schemas drive the checks of loading, and are checked in under `docs/reference/`.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::config::{model, policies};

/// The arguments of `policy schema`.
#[derive(Debug, Clone, Copy, Args)]
pub struct SchemaArgs {
    /// Which file the schema is for.
    #[arg(long = "for", value_enum, default_value_t = SchemaOf::Policy)]
    pub schema_of: SchemaOf,
}

/// Which file a schema is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// `holdpoint.yaml`.
    Config,
    /// A policy file.
    Policy,
}

/// Prints the schema.
pub fn run(args: &SchemaArgs) -> ExitCode {
    super::say(&text(args.schema_of));
    ExitCode::SUCCESS
}

/// The schema as it is printed and checked in, with a final line break.
#[must_use]
pub fn text(schema_of: SchemaOf) -> String {
    let schema = match schema_of {
        SchemaOf::Config => model::schema(),
        SchemaOf::Policy => policies::schema(),
    };
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema holds only JSON values");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set to write the files instead of comparing them.
    const UPDATE: &str = "HOLDPOINT_UPDATE_SCHEMAS";

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test compares checked-in files, and writes them on request")]
    fn the_checked_in_schemas_are_those_that_the_program_uses() {
        for (file, of) in [("holdpoint.schema.json", SchemaOf::Config), ("policy.schema.json", SchemaOf::Policy)] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference").join(file);
            if std::env::var_os(UPDATE).is_some() {
                std::fs::write(&path, text(of)).expect("docs/reference can be written");
            }
            let kept = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(kept == text(of), "{file} has drifted; run the tests once with {UPDATE}=1");
        }
    }

    #[test]
    fn the_schema_of_the_configuration_accepts_no_null_and_no_unknown_key() {
        let schema = text(SchemaOf::Config);
        assert!(!schema.contains("\"null\"") && !schema.contains(": null"), "{schema}");
        let parsed: serde_json::Value = serde_json::from_str(&schema).expect("JSON");
        let structs = parsed["$defs"].as_object().expect("definitions").values().chain([&parsed]);
        for definition in structs.filter(|definition| definition.get("properties").is_some()) {
            assert_eq!(definition["additionalProperties"], false, "{definition}");
        }
    }

    /// Every member of every `properties` in a schema: the section it belongs to, and its own schema.
    fn properties<'a>(schema: &'a serde_json::Value, found: &mut Vec<(&'a str, &'a serde_json::Value)>) {
        let definitions = schema["$defs"].as_object().expect("definitions").values();
        for definition in definitions.chain([schema]) {
            let members = definition.get("properties").and_then(serde_json::Value::as_object);
            found.extend(members.into_iter().flatten().map(|(name, member)| (name.as_str(), member)));
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test reads a checked-in page")]
    fn the_reference_page_names_every_key_and_every_default() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/configuration.md");
        let page = std::fs::read_to_string(path).expect("the reference page");
        let schema = model::schema();
        let mut found = Vec::new();
        properties(&schema, &mut found);
        assert!(found.len() > 40, "the walk finds the keys: {}", found.len());
        for (key, member) in found {
            let rows: Vec<&str> = page.lines().filter(|line| line.starts_with(&format!("| `{key}` |"))).collect();
            let in_text = page.contains(&format!("`{key}`: PEM file"));
            assert!(!rows.is_empty() || in_text, "no row for `{key}`");
            let default = match member.get("default") {
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(number @ serde_json::Value::Number(_)) => number.to_string(),
                Some(yes @ serde_json::Value::Bool(_)) => yes.to_string(),
                _ => continue,
            };
            assert!(
                rows.iter().any(|row| row.contains(&format!("`{default}`"))),
                "`{key}` without `{default}`: {rows:?}"
            );
        }
    }
}
