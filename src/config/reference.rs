//! The JSON Schemas as they are printed and checked in under `docs/reference/`, for editors and CI.
//!
//! The same schemas drive the checks of loading, so what an editor accepts and what the program accepts are one.

use super::{model, policies};

/// The JSON Schema of `holdpoint.yaml`, with a final line break.
#[must_use]
pub fn config_schema() -> String {
    text(&model::schema())
}

/// The JSON Schema of a policy file, with a final line break.
#[must_use]
pub fn policy_schema() -> String {
    text(&policies::schema())
}

fn text(schema: &serde_json::Value) -> String {
    // `{:#}` of a JSON value is its indented text.
    format!("{schema:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set to write the files instead of comparing them.
    const UPDATE: &str = "HOLDPOINT_UPDATE_SCHEMAS";

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test compares checked-in files, and writes them on request")]
    fn the_checked_in_schemas_are_those_that_the_program_uses() {
        for (file, schema) in [("holdpoint.schema.json", config_schema()), ("policy.schema.json", policy_schema())] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference").join(file);
            if std::env::var_os(UPDATE).is_some() {
                std::fs::write(&path, &schema).expect("docs/reference can be written");
            }
            let kept = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(kept == schema, "{file} has drifted; run the tests once with {UPDATE}=1");
        }
    }

    #[test]
    fn the_schema_of_the_configuration_accepts_no_null_and_no_unknown_key() {
        let schema = config_schema();
        assert!(!schema.contains("\"null\"") && !schema.contains(": null"), "{schema}");
        let parsed: serde_json::Value = serde_json::from_str(&schema).expect("JSON");
        let structs = parsed["$defs"].as_object().expect("definitions").values().chain([&parsed]);
        for definition in structs.filter(|definition| definition.get("properties").is_some()) {
            assert_eq!(definition["additionalProperties"], false, "{definition}");
        }
    }

    /// Every key of every section, with its own schema.
    fn keys(schema: &serde_json::Value) -> Vec<(&str, &serde_json::Value)> {
        let sections = schema["$defs"].as_object().expect("definitions").values().chain([schema]);
        let members = sections.filter_map(|section| section.get("properties")?.as_object());
        members.flatten().map(|(name, member)| (name.as_str(), member)).collect()
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test reads a checked-in page")]
    fn the_reference_page_names_every_key_and_every_default() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/configuration.md");
        let page = std::fs::read_to_string(path).expect("the reference page");
        let schema = model::schema();
        let found = keys(&schema);
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
