//! Every rule tried on one call, and why each did or did not decide. For people; [`super::decide`] is for traffic.

use schemars::JsonSchema;
use serde::Serialize;

use super::compile::CompiledPolicy;
use super::decide::{Outcome, Verdict, VerdictKind, outcome};
use super::model::Action;
use super::rule::{Field, Mismatch, Rule};
use super::view::CallView;

/// The verdict on one call and the way to it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Explanation {
    /// What happens.
    pub decision: VerdictKind,
    /// The id of the rule that decided, or the text of its match; null when none did.
    pub rule: Option<String>,
    /// What the rule that decided does; null when none did.
    pub rule_kind: Option<Action>,
    /// Why, in the rule's words.
    pub reason: Option<String>,
    /// Whether the policy's `default` decided.
    pub default_used: bool,
    /// The revision of the policy.
    pub revision: String,
    /// Every rule in order, up to the one that decided.
    pub tried: Vec<Tried>,
}

/// One rule tried.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Tried {
    /// The rule's id, or the text of its match.
    pub rule: String,
    /// The file it is in.
    pub file: String,
    /// What it would do.
    pub action: Action,
    /// What came of it.
    pub outcome: TriedOutcome,
    /// The reason a condition could not be evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What came of trying a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TriedOutcome {
    /// It decided.
    Matched,
    /// It decided because its condition could not be evaluated and it does not allow.
    MatchedOnError,
    /// It matched on what the server says of its tool: it decides unless a later rule is as strict.
    Tightens,
    /// It matched and only records.
    Shadow,
    /// Its pattern does not match the tool.
    NameDidNotMatch,
    /// Its pattern does not match the upstream.
    UpstreamDidNotMatch,
    /// Its pattern does not match the agent.
    AgentDidNotMatch,
    /// Its pattern does not match the method.
    MethodDidNotMatch,
    /// Its pattern does not match the path.
    PathDidNotMatch,
    /// What the server says of the tool is something else.
    AnnotationsDidNotMatch,
    /// Its condition is false.
    WhenFalse,
    /// Its condition could not be evaluated, and it would have allowed.
    WhenError,
}

impl TriedOutcome {
    /// The spelling in JSON, with spaces, for text.
    pub fn as_text(self) -> &'static str {
        match self {
            TriedOutcome::Matched => "matched",
            TriedOutcome::MatchedOnError => "matched, because its condition cannot be evaluated",
            TriedOutcome::Tightens => "matched on annotations: decides unless a later rule is as strict",
            TriedOutcome::Shadow => "matched, shadow mode: recorded only",
            TriedOutcome::NameDidNotMatch => "name did not match",
            TriedOutcome::UpstreamDidNotMatch => "upstream did not match",
            TriedOutcome::AgentDidNotMatch => "agent did not match",
            TriedOutcome::MethodDidNotMatch => "method did not match",
            TriedOutcome::PathDidNotMatch => "path did not match",
            TriedOutcome::AnnotationsDidNotMatch => "annotations did not match",
            TriedOutcome::WhenFalse => "condition is false",
            TriedOutcome::WhenError => "condition cannot be evaluated, so it does not allow",
        }
    }
}

impl CompiledPolicy {
    /// Judges one call as [`CompiledPolicy::decide`] does and tells the way. Unread arguments are taken for absent.
    pub fn explain(&self, call: &CallView<'_>) -> Explanation {
        let call = call.with_args_known();
        let mut by_name = self.index.candidates(call.tool).peekable();
        let mut tried = Vec::new();
        for (position, rule) in self.rules.iter().enumerate() {
            let named = by_name.next_if_eq(&position).is_some();
            let step = self.try_rule(rule, named, &call);
            let decided = matches!(step.outcome, TriedOutcome::Matched | TriedOutcome::MatchedOnError);
            tried.push(step);
            if decided {
                break;
            }
        }
        self.explanation(&self.judge(&call), tried)
    }

    fn explanation(&self, verdict: &Verdict<'_>, tried: Vec<Tried>) -> Explanation {
        Explanation {
            decision: verdict.kind,
            rule: verdict.rule_label().map(str::to_owned),
            rule_kind: verdict.rule.map(Rule::action),
            reason: verdict.rule.and_then(Rule::reason).map(str::to_owned),
            default_used: verdict.default_used,
            revision: self.revision().to_owned(),
            tried,
        }
    }

    fn try_rule(&self, rule: &Rule, named: bool, call: &CallView<'_>) -> Tried {
        let (outcome, error) = if !named {
            (TriedOutcome::NameDidNotMatch, None)
        } else if let Some(mismatch) = rule.mismatch(call) {
            let outcome = match mismatch {
                Mismatch::Field(Field::Upstream) => TriedOutcome::UpstreamDidNotMatch,
                Mismatch::Field(Field::Agent) => TriedOutcome::AgentDidNotMatch,
                Mismatch::Field(Field::Method) => TriedOutcome::MethodDidNotMatch,
                Mismatch::Field(Field::Path) => TriedOutcome::PathDidNotMatch,
                Mismatch::Annotations => TriedOutcome::AnnotationsDidNotMatch,
            };
            (outcome, None)
        } else {
            let (outcome, error) = outcome(rule.condition(), rule.action(), call);
            let outcome = match (outcome, &error) {
                (Outcome::Matches, _) if self.only_records(rule.mode()) => TriedOutcome::Shadow,
                (Outcome::Matches, _) if rule.only_tightens() && rule.action() != Action::Block => {
                    TriedOutcome::Tightens
                }
                (Outcome::Matches, None) => TriedOutcome::Matched,
                (Outcome::Matches, Some(_)) => TriedOutcome::MatchedOnError,
                (Outcome::DoesNotMatch, None) => TriedOutcome::WhenFalse,
                (Outcome::DoesNotMatch, Some(_)) => TriedOutcome::WhenError,
                // The arguments are known here; asked for all the same, the safe answer is the one for an error.
                (Outcome::NeedsBody, _) => TriedOutcome::WhenError,
            };
            (outcome, error.map(|error| error.to_string()))
        };
        Tried { rule: rule.label().to_owned(), file: rule.file().to_owned(), action: rule.action(), outcome, error }
    }
}
