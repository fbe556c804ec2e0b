//! A compiled rule: everything a verdict needs, ready to use.

use std::sync::Arc;
use std::time::Duration;

use super::condition::Condition;
use super::glob::Glob;
use super::matcher::ToolPattern;
use super::model::{Action, Mode};
use super::redact::Redaction;
use super::summary::Summary;
use super::view::CallView;
use crate::domain::approval::{ReleaseMode, Risk, Slot};
use crate::domain::tools::Annotations;

/// When a pending approval expires, unless the rule says otherwise.
pub const EXPIRES_IN_DEFAULT: Duration = Duration::from_secs(60 * 60);
/// How long a caller's connection is held, unless the rule says otherwise.
pub const HOLD_DEFAULT: Duration = Duration::from_secs(50);
/// How long a late approval stays usable, unless the rule says otherwise.
pub const GRANT_TTL_DEFAULT: Duration = Duration::from_secs(10 * 60);
/// How long a rejection is remembered, unless the rule says otherwise.
pub const REJECT_MEMORY_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// How long a detached result is kept, unless the rule says otherwise.
pub const RESULT_TTL_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);

/// A compiled rule.
#[derive(Debug, Clone)]
pub struct Rule {
    pub(super) id: Option<String>,
    pub(super) label: String,
    pub(super) file: String,
    pub(super) position: usize,
    pub(super) action: Action,
    pub(super) reason: Option<String>,
    pub(super) risk: Risk,
    pub(super) mode: Mode,
    pub(super) tools: ToolPattern,
    pub(super) filters: Vec<Filter>,
    pub(super) annotations: Option<Annotations>,
    pub(super) condition: Option<Arc<Condition>>,
    pub(super) approval: ApprovalSettings,
    pub(super) digest: [u8; 32],
}

/// A pattern on something else than the tool.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    pub(super) field: Field,
    pub(super) any_of: Vec<Glob>,
}

/// What a [`Filter`] looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Upstream,
    Agent,
    Method,
    Path,
}

/// What keeps a rule from matching a call whose tool's name it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mismatch {
    Field(Field),
    Annotations,
}

/// How approval is asked for, with defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovalSettings {
    /// Who must approve; never empty.
    pub approvers: Vec<Slot>,
    /// When the approval counts as breached.
    pub sla: Option<Duration>,
    /// When it expires.
    pub expires_in: Duration,
    /// How long the caller's connection is kept waiting.
    pub hold: Duration,
    /// Whether an approved call is sent without its caller.
    pub release: ReleaseMode,
    /// The line for the reviewer.
    pub summary: Option<Summary>,
    /// What is never shown or stored.
    pub redaction: Redaction,
    /// How long a late approval stays usable by the same caller.
    pub grant_ttl: Duration,
    /// How long an identical call keeps getting the same rejection.
    pub reject_memory: Duration,
    /// How long the answer of a detached call is kept.
    pub result_ttl: Duration,
}

impl Default for ApprovalSettings {
    fn default() -> Self {
        Self {
            approvers: vec![Slot { group: None, count: 1 }],
            sla: None,
            expires_in: EXPIRES_IN_DEFAULT,
            hold: HOLD_DEFAULT,
            release: ReleaseMode::default(),
            summary: None,
            redaction: Redaction::default(),
            grant_ttl: GRANT_TTL_DEFAULT,
            reject_memory: REJECT_MEMORY_DEFAULT,
            result_ttl: RESULT_TTL_DEFAULT,
        }
    }
}

impl Rule {
    /// The id, when the rule has one.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// What the rule is called in trails and answers: its id, or the text of its match.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The file the rule is in, by the name it was loaded under.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The rule's place in its file, counted from 0.
    pub fn position(&self) -> usize {
        self.position
    }

    /// What the rule does.
    pub fn action(&self) -> Action {
        self.action
    }

    /// Why, in words for the caller and the reviewer.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// How much harm a wrong approval could do.
    pub fn risk(&self) -> Risk {
        self.risk
    }

    /// Whether the rule acts or only records.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// How approval is asked for; the defaults for rules that never ask.
    pub fn approval(&self) -> &ApprovalSettings {
        &self.approval
    }

    /// The condition, when the rule has one.
    pub fn condition(&self) -> Option<&Condition> {
        self.condition.as_deref()
    }

    /// SHA-256 over everything the rule says. The same rule in another place or revision has the same digest, so it
    /// tells whether the rule behind a pending approval changed.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The first thing other than the tool's name that keeps the rule from matching.
    pub(super) fn mismatch(&self, call: &CallView<'_>) -> Option<Mismatch> {
        if let Some(filter) = self.filters.iter().find(|filter| !filter.matches(call)) {
            return Some(Mismatch::Field(filter.field));
        }
        let concerned = self.annotations.as_ref().is_none_or(|wanted| call.claims.concern(wanted));
        (!concerned).then_some(Mismatch::Annotations)
    }

    /// Whether the rule rests on what a server claims about its tool. Such a rule tightens and never takes the place of a rule that
    /// is as strict.
    pub(super) const fn only_tightens(&self) -> bool {
        self.annotations.is_some()
    }
}

impl Filter {
    fn matches(&self, call: &CallView<'_>) -> bool {
        let subject = match self.field {
            Field::Upstream => call.upstream,
            Field::Agent => call.agent,
            Field::Method => call.method,
            Field::Path => call.path,
        };
        self.any_of.iter().any(|glob| glob.matches(subject))
    }
}

impl Field {
    /// The name of the field in YAML.
    pub(super) fn name(self) -> &'static str {
        match self {
            Field::Upstream => "upstream",
            Field::Agent => "agent",
            Field::Method => "method",
            Field::Path => "path",
        }
    }
}
