//! Policy files: which are read, in which order, through the YAML guard, checked for their shape, and compiled.
//!
//! A folder stands for its `*.yaml` files by name, without `*.cases.yaml`. Nothing in a folder is skipped without a
//! word: a policy file that is not read is a gate that is not there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::diagnostic::{Code, Diagnostic, Severity, Source};
use super::files;
use super::model::values::ValueError;
use super::shape::{FormatCheck, References, Shape};
use super::yaml::{self, Document, FILE_BYTES_MAX};
use crate::domain::duration;
use crate::domain::policy::model::{DurationText, Policy};
use crate::domain::policy::{CompiledPolicy, PolicyError, PolicyFile, compile};

pub mod gates;
#[cfg(test)]
mod tests;

/// The most policy files of one configuration.
pub const POLICY_FILES_MAX: usize = 1_000;

/// The `format` of a duration in a policy; unlike those of the configuration, it may be zero.
const DURATION_FORMAT: &str = "policy-duration";

/// One policy file that passed the guard and has the right shape.
#[derive(Debug, Clone)]
pub struct PolicySource {
    /// The name shown to people, and by which the file is part of the policy's revision.
    pub name: String,
    /// SHA-256 of the file's bytes.
    pub sha256: [u8; 32],
    /// The file as written.
    pub model: Policy,
    /// The document, for places.
    pub document: Document,
}

/// The policy of one configuration.
#[derive(Debug, Clone)]
pub struct Policies {
    /// The files, in the order in which their rules are tried.
    pub files: Vec<PolicySource>,
    pub(super) compiled: Arc<CompiledPolicy>,
}

impl Policies {
    /// The compiled policy; in shadow as a whole where the configuration says `mode: shadow`.
    #[must_use]
    pub fn compiled(&self) -> &Arc<CompiledPolicy> {
        &self.compiled
    }
}

/// What loading policy files gave.
#[derive(Debug, Default)]
pub struct LoadedPolicies {
    /// The files that passed the guard, by name.
    pub files: Vec<PolicySource>,
    /// The policy; `None` exactly when an error is among the diagnostics.
    pub compiled: Option<CompiledPolicy>,
    /// What is wrong.
    pub diagnostics: Vec<Diagnostic>,
    /// The files and folders that were read.
    pub files_read: Vec<PathBuf>,
}

/// A file or folder to load: the name shown to people, and where it is.
#[derive(Debug, Clone)]
pub struct PolicyPath {
    /// As the user wrote it.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

/// Loads files and folders and compiles them, all together in the order of their names.
pub fn load_policies(paths: &[PolicyPath]) -> LoadedPolicies {
    let mut loaded = gather(paths);
    loaded.files.sort_by(|a, b| a.name.cmp(&b.name));
    let files = loaded.files.iter().map(|file| PolicyFile {
        name: file.name.clone(),
        model: file.model.clone(),
        source_sha256: file.sha256,
    });
    // Also with files missing, so that the problems of the others are told at once.
    match compile(files.collect()) {
        Ok(policy) => loaded.compiled = Some(policy),
        Err(errors) => loaded.diagnostics.extend(errors.into_iter().map(|error| placed(&loaded.files, error))),
    }
    loaded.diagnostics.extend(says_nothing(&loaded.files));
    if loaded.diagnostics.iter().any(|found| found.severity == Severity::Error) {
        loaded.compiled = None;
    }
    loaded
}

/// A policy without a rule and without a `default` judges nothing: more likely a file that was cut than one that is meant.
fn says_nothing(files: &[PolicySource]) -> Option<Diagnostic> {
    let empty = |file: &PolicySource| file.model.rules.is_empty() && file.model.default.is_none();
    let first = files.first().filter(|_| files.iter().all(empty))?;
    let found = Diagnostic::of_file(first.name.clone(), Code::Policy, "the policy has no rules and no `default`");
    Some(found.hint("every call would pass: write rules, or `default: block`, or `default: allow` where that is meant"))
}

fn placed(files: &[PolicySource], error: PolicyError) -> Diagnostic {
    let found = match files.iter().find(|file| file.name == error.file) {
        Some(file) => file.document.at_value(&error.path, Code::Policy, error.message),
        None => Diagnostic::of_file("policies", Code::Policy, error.message),
    };
    found.hint_if(error.hint)
}

fn gather(paths: &[PolicyPath]) -> LoadedPolicies {
    let mut loaded = LoadedPolicies::default();
    let mut names: Vec<PolicyPath> = Vec::new();
    for given in paths {
        loaded.files_read.push(given.path.clone());
        if given.path.is_dir() {
            match folder(given) {
                Ok((files, found)) => {
                    names.extend(files);
                    loaded.diagnostics.extend(found);
                }
                Err(error) => loaded.diagnostics.push(unreadable(&given.name, &error)),
            }
        } else {
            names.push(given.clone());
        }
    }
    if names.len() > POLICY_FILES_MAX {
        let message = format!("there are {} policy files; at most {POLICY_FILES_MAX} are read", names.len());
        loaded.diagnostics.push(Diagnostic::of_file(names[0].name.clone(), Code::Policy, message));
        return loaded;
    }
    let mut seen = std::collections::HashSet::new();
    for file in names {
        // The same file by two ways would add its rules twice.
        let real = file.path.canonicalize().unwrap_or_else(|_| file.path.clone());
        if !seen.insert(real) {
            let found = Diagnostic::of_file(file.name.clone(), Code::DuplicateName, "this policy file is named twice");
            loaded.diagnostics.push(found.hint("name the file, or its folder, once under `policies`"));
            continue;
        }
        match read(&file) {
            Ok(source) => loaded.files.push(source),
            Err(found) => loaded.diagnostics.extend(found),
        }
        loaded.files_read.push(file.path);
    }
    loaded
}

type Listing = (Vec<PolicyPath>, Vec<Diagnostic>);

fn folder(given: &PolicyPath) -> std::io::Result<Listing> {
    let (mut files, mut found) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(&given.path)? {
        let entry = entry?;
        let path = entry.path();
        let file = entry.file_name().to_string_lossy().into_owned();
        let name = format!("{}/{file}", given.name.trim_end_matches('/'));
        // Hidden entries are editors' and Kubernetes' own (`..data`).
        if file.starts_with('.') || file.ends_with(".cases.yaml") {
            continue;
        }
        if path.is_dir() {
            let problem = Diagnostic::of_file(name, Code::Unused, "folders inside a policy folder are not read");
            found.push(problem.hint("name the folder under `policies` too, if it holds policies").warning());
        } else if file.ends_with(".yaml") {
            files.push(PolicyPath { name, path });
        } else if [".yml", ".YAML", ".YML", ".json"].iter().any(|ending| file.ends_with(ending)) {
            let problem =
                Diagnostic::of_file(name, Code::Policy, "this file looks like a policy, but only `*.yaml` is read");
            found.push(problem.hint("rename it to end in `.yaml`, or move it elsewhere"));
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    if files.is_empty() {
        let problem =
            Diagnostic::of_file(given.name.clone(), Code::Policy, "the folder holds no policy file (`*.yaml`)");
        found.push(problem.hint("add one; without policy every call would pass"));
    }
    Ok((files, found))
}

fn read(file: &PolicyPath) -> Result<PolicySource, Vec<Diagnostic>> {
    let bytes =
        files::read_bounded(&file.path, FILE_BYTES_MAX as u64).map_err(|error| vec![unreadable(&file.name, &error)])?;
    source(&file.name, &bytes)
}

/// Reads one policy from bytes, as a file or as a built-in.
///
/// # Errors
/// Everything that the guard refuses, and every key and type that is wrong.
pub fn source(name: &str, bytes: &[u8]) -> Result<PolicySource, Vec<Diagnostic>> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(vec![Diagnostic::of_file(name, Code::YamlSyntax, "the file is not UTF-8 text")]);
    };
    let document = yaml::read(Source::new(name, text))?;
    let formats: [(&str, FormatCheck); 1] = [(DURATION_FORMAT, duration_form)];
    let schema = schema();
    let shape = Shape { schema: &schema, formats: &formats, references: References::Literal };
    let found = shape.problems(&document);
    if !found.is_empty() {
        return Err(found);
    }
    let model = document.typed(&document.source().text).map_err(|found| vec![found])?;
    Ok(PolicySource { name: name.to_owned(), sha256: Sha256::digest(bytes).into(), model, document })
}

fn duration_form(text: &str) -> Result<(), ValueError> {
    duration::parse(text).map(drop).map_err(|error| ValueError { message: error.to_string(), hint: None })
}

/// The JSON Schema of a policy file, draft 2020-12.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Policy);
    let pattern = DurationText::json_schema(&mut SchemaGenerator::default()).get("pattern").cloned();
    // Durations are marked, so that a bad one is told what is wrong with it and not only that it does not fit.
    RecursiveTransform(move |schema: &mut Schema| {
        if pattern.is_some() && schema.get("pattern") == pattern.as_ref() {
            schema.insert("format".to_owned(), DURATION_FORMAT.into());
        }
    })
    .transform(&mut schema);
    schema.to_value()
}

fn unreadable(name: &str, error: &std::io::Error) -> Diagnostic {
    let message = format!("`{name}` cannot be read: {error}");
    Diagnostic::of_file(name, Code::FileUnreadable, message).hint("check the path under `policies`")
}

/// `name` from `folder`, and by its own name where it is absolute.
pub(super) fn below(folder: &Path, name: &str) -> PolicyPath {
    PolicyPath { name: name.to_owned(), path: folder.join(name) }
}
