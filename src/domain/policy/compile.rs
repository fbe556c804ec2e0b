//! From policy files as written to one checked list of rules, or to everything that is wrong with them.
//!
//! Several files form one list in the order of their names. Whatever cannot act as written is an error: conflicting
//! settings, patterns that do not parse, conditions with unknown names. The caller places each error in its file by the
//! path that comes with it.
//!
//! Compiling starts one thread of its own and waits for it, because the parser of conditions recurses deeper than a
//! usual stack allows for on hostile input; no state is shared and nothing outlives the call.

mod rules;

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::condition::{Condition, PARSER_STACK_BYTES, Problem};
use super::matcher::NameIndex;
use super::model::{self, Action, DefaultAction, Mode};
use super::rule::{ApprovalSettings, Rule};
use super::tool_change::ToolChangeRules;
use crate::domain::call::to_hex;

/// How many rules all files together may have.
pub const RULES_MAX: usize = 20_000;
/// The longest glob, in bytes.
pub const GLOB_BYTES_MAX: usize = 256;
/// The longest `tool_regex`, in bytes.
pub const REGEX_SOURCE_BYTES_MAX: usize = 1_024;
/// What trails, answers and metrics call a decision of the policy's default.
pub const DEFAULT_LABEL: &str = "default";
/// The same for an approval that was asked for through the API.
pub const API_LABEL: &str = "api";
/// No rule may go by these: it would be mistaken for what no rule did.
const RESERVED_LABELS: [&str; 2] = [DEFAULT_LABEL, API_LABEL];
/// The longest rule id, in bytes.
pub const ID_BYTES_MAX: usize = 128;
/// The longest `reason` and the longest `summary`, in bytes.
pub const TEXT_BYTES_MAX: usize = 1_024;
/// How many globs one pattern may list, and how many pointers `redact`.
pub const LIST_MAX: usize = 256;
/// How many people one approval may need.
pub const APPROVALS_MAX: u32 = 32;

/// One policy file, parsed.
#[derive(Debug, Clone)]
pub struct PolicyFile {
    /// The name that errors, trails and the order of the files use.
    pub name: String,
    /// What it says.
    pub model: model::Policy,
    /// SHA-256 of its bytes.
    pub source_sha256: [u8; 32],
}

/// One thing that is wrong with the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// The file it is in; empty when it is about all files together.
    pub file: String,
    /// Where in the file.
    pub path: Vec<PathSegment>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// One step from the root of a file to the place of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathSegment {
    /// The member of a mapping.
    Key(String),
    /// The element of a sequence, counted from 0.
    Index(usize),
}

/// A policy ready to judge calls.
#[derive(Debug, Clone)]
pub struct CompiledPolicy {
    pub(super) rules: Vec<Rule>,
    pub(super) index: NameIndex,
    pub(super) default: Option<PolicyDefault>,
    pub(super) default_approval: ApprovalSettings,
    pub(super) files: Vec<String>,
    pub(super) shadow: bool,
    pub(super) tool_change: ToolChangeRules,
    revision: String,
}

/// What happens to calls that no rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PolicyDefault {
    pub(super) action: DefaultAction,
    pub(super) mode: Mode,
}

impl CompiledPolicy {
    /// The name of this version of the policy: short hexadecimal, the same for the same files.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The rules, in the order they are tried.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What happens to a call that no rule matches; `None` when no file says (the call is then allowed).
    pub fn default_action(&self) -> Option<DefaultAction> {
        self.default.map(|default| default.action)
    }

    /// Whether the default only records what it would have done.
    pub fn default_only_records(&self) -> bool {
        self.default.is_some_and(|default| self.only_records(default.mode))
    }

    /// Whether any call at all can be parked by this policy.
    pub fn can_hold(&self) -> bool {
        let by_rule = |rule: &Rule| rule.action() == Action::RequireApproval && !self.only_records(rule.mode());
        let by_default = self.default.is_some_and(|default| {
            default.action == DefaultAction::RequireApproval && !self.only_records(default.mode)
        });
        by_default || self.rules.iter().any(by_rule)
    }

    /// The names of the files, in order.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// The same policy with nothing enforced: every rule and the default only record. A rule's own `mode: enforce` does
    /// not resist this, since the whole gateway is meant.
    #[must_use]
    pub fn in_shadow(mut self) -> Self {
        self.shadow = true;
        self
    }

    /// Whether both judge alike: the same files, enforced or not.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.revision == other.revision && self.shadow == other.shadow
    }
}

/// Compiles the files into one policy.
///
/// # Errors
/// Every problem in every file, in the order of the files.
pub fn compile(files: Vec<PolicyFile>) -> Result<CompiledPolicy, Vec<PolicyError>> {
    let compiled = std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("policy-compile".to_owned())
            .stack_size(PARSER_STACK_BYTES)
            .spawn_scoped(scope, || compile_here(files))
            .map(std::thread::ScopedJoinHandle::join)
    });
    match compiled {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(vec![overall("compiling the policy failed unexpectedly; the policy before it stays")]),
        Err(error) => Err(vec![overall(&format!("no thread to compile the policy on: {error}"))]),
    }
}

fn overall(message: &str) -> PolicyError {
    PolicyError { file: String::new(), path: Vec::new(), message: message.to_owned(), hint: None }
}

fn compile_here(mut files: Vec<PolicyFile>) -> Result<CompiledPolicy, Vec<PolicyError>> {
    files.sort_by(|left, right| left.name.cmp(&right.name));
    let total: usize = files.iter().map(|file| file.model.rules.len()).sum();
    if total > RULES_MAX {
        return Err(vec![overall(&format!("the policy has {total} rules, more than {RULES_MAX}"))]);
    }
    let mut compiler = Compiler::default();
    let default = compiler.default_of(&files);
    let mut rules = Vec::with_capacity(total);
    for file in &files {
        for (position, rule) in file.model.rules.iter().enumerate() {
            rules.push(compiler.rule(file, position, rule));
        }
    }
    if !compiler.errors.is_empty() {
        return Err(compiler.errors);
    }
    let index = NameIndex::build(rules.iter().map(|rule| &rule.tools)).map_err(|error| vec![overall(&error)])?;
    Ok(CompiledPolicy {
        index,
        rules,
        default,
        default_approval: ApprovalSettings::default(),
        revision: revision(&files),
        files: files.into_iter().map(|file| file.name).collect(),
        shadow: false,
        tool_change: ToolChangeRules::new(),
    })
}

/// Over names and hashes, framed by their lengths, so that moving text between files changes the revision.
fn revision(files: &[PolicyFile]) -> String {
    const SHOWN_BYTES: usize = 8;
    let mut hash = Sha256::new();
    for file in files {
        hash.update((file.name.len() as u64).to_be_bytes());
        hash.update(file.name.as_bytes());
        hash.update(file.source_sha256);
    }
    to_hex(&hash.finalize()[..SHOWN_BYTES])
}

/// Collects errors while rules are compiled.
#[derive(Default)]
struct Compiler {
    errors: Vec<PolicyError>,
    /// Ids seen so far and the file of each.
    ids: HashMap<String, String>,
    /// Conditions by source: rules often repeat one.
    conditions: HashMap<String, Result<Arc<Condition>, Vec<Problem>>>,
}

impl Compiler {
    fn error(&mut self, file: &str, path: &[PathSegment], message: impl Into<String>, hint: Option<&str>) {
        self.errors.push(PolicyError {
            file: file.to_owned(),
            path: path.to_vec(),
            message: message.into(),
            hint: hint.map(str::to_owned),
        });
    }

    fn default_of(&mut self, files: &[PolicyFile]) -> Option<PolicyDefault> {
        let mut first: Option<(&PolicyFile, PolicyDefault)> = None;
        for file in files {
            let Some(action) = file.model.default else { continue };
            let mode = file.model.mode.unwrap_or_default();
            match &mut first {
                None => first = Some((file, PolicyDefault { action, mode })),
                Some((_, default)) if default.action == action => {
                    // Any file that enforces the default makes it real.
                    if mode == Mode::Enforce {
                        default.mode = Mode::Enforce;
                    }
                }
                Some((other, _)) => {
                    let message = format!("this `default` contradicts the one in `{}`", other.name);
                    let path = [PathSegment::Key("default".to_owned())];
                    self.error(&file.name, &path, message, Some("keep one `default`, or make them equal"));
                }
            }
        }
        first.map(|(_, default)| default)
    }

    fn condition(&mut self, source: &str) -> Result<Arc<Condition>, Vec<Problem>> {
        self.conditions.entry(source.to_owned()).or_insert_with(|| Condition::compile(source).map(Arc::new)).clone()
    }
}

#[cfg(test)]
pub(super) mod tests;
