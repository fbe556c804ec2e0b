//! What is allowed in a policy and probably not meant: rules that can never decide, calls that nothing is said about.
//!
//! Every finding is certain in what it says; what cannot be seen without trying every call (a condition that no call
//! fulfils) is not looked for. Gates that no reviewer can open need the reviewers and are found where they are known,
//! in `config`.

use schemars::JsonSchema;
use serde::Serialize;

use super::compile::CompiledPolicy;
use super::glob::Glob;
use super::matcher::ToolPattern;
use super::model::Action;
use super::rule::{Field, Filter, Rule};

/// The methods that a call can have.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// What is known around the policy. Without it the checks that need it are left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// The ids of all agents, when no anonymous ones are let in.
    pub agents: Option<&'a [String]>,
    /// The names of all upstreams.
    pub upstreams: Option<&'a [String]>,
}

/// The kind of a finding: stable names for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Nothing says what happens to a call that no rule matches.
    NoDefault,
    /// No call can match the rule.
    NeverMatches,
    /// An earlier rule decides every call that this one matches.
    Shadowed,
}

/// Something that is probably not meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// Its kind.
    pub kind: FindingKind,
    /// The file, when it is about one.
    pub file: Option<String>,
    /// The rule's place in its file, counted from 0.
    pub position: Option<usize>,
    /// The rule's id, or the text of its match.
    pub rule: Option<String>,
    /// What is the matter.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Looks over a policy.
pub fn lint(policy: &CompiledPolicy, surroundings: Surroundings<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if policy.default_action().is_none() {
        findings.push(Finding {
            kind: FindingKind::NoDefault,
            file: policy.files().first().cloned(),
            position: None,
            rule: None,
            message: "no `default`: a call that no rule matches is allowed".to_owned(),
            hint: "write `default: block`, or `default: allow` when that is meant".to_owned(),
        });
    }
    for (position, rule) in policy.rules().iter().enumerate() {
        if let Some(why) = never_matches(rule, surroundings) {
            let hint = "correct the rule or remove it".to_owned();
            findings.push(about(rule, FindingKind::NeverMatches, why, hint));
        } else if let Some(earlier) = shadowed_by(policy, position) {
            let message = format!("`{}` stands before it and decides every call it matches", earlier.label());
            let hint = "move the narrower rule up, or remove this one".to_owned();
            findings.push(about(rule, FindingKind::Shadowed, message, hint));
        }
    }
    findings
}

fn about(rule: &Rule, kind: FindingKind, message: String, hint: String) -> Finding {
    Finding {
        kind,
        file: Some(rule.file().to_owned()),
        position: Some(rule.position()),
        rule: Some(rule.label().to_owned()),
        message,
        hint,
    }
}

fn never_matches(rule: &Rule, surroundings: Surroundings<'_>) -> Option<String> {
    if rule.condition().and_then(super::condition::Condition::constant) == Some(false) {
        return Some("its condition is never true".to_owned());
    }
    rule.filters.iter().find_map(|filter| {
        let matches = |known: &str| filter.any_of.iter().any(|glob| glob.matches(known));
        let possible = match filter.field {
            Field::Method => METHODS.into_iter().any(matches),
            Field::Agent => surroundings.agents.is_none_or(|agents| agents.iter().any(|agent| matches(agent))),
            Field::Upstream => surroundings.upstreams.is_none_or(|names| names.iter().any(|name| matches(name))),
            // Every canonical path begins with a slash.
            Field::Path => filter.any_of.iter().any(|glob| glob.as_str().starts_with(['/', '*', '?'])),
        };
        let what = match filter.field {
            Field::Method => "HTTP method that is accepted",
            Field::Agent => "agent that is configured",
            Field::Upstream => "upstream that is configured",
            Field::Path => "path, which always begins with `/`",
        };
        (!possible).then(|| format!("its `{}` matches no {what}", filter.field.name()))
    })
}

/// The first earlier rule that decides every call which the rule at `position` would.
fn shadowed_by(policy: &CompiledPolicy, position: usize) -> Option<&Rule> {
    let rule = &policy.rules()[position];
    // A pattern whose wildcards are replaced by characters that occur in no name finds, through the index, every
    // rule that could cover it; whether one does is then looked at exactly.
    let probe = match &rule.tools {
        ToolPattern::Globs(globs) => globs.first()?.as_str().replace('*', "\u{1}").replace('?', "\u{2}"),
        ToolPattern::Regex(_) | ToolPattern::Any => "\u{1}".to_owned(),
    };
    let by_regex = matches!(rule.tools, ToolPattern::Regex(_));
    let candidates: Vec<usize> = if by_regex {
        (0..position).collect()
    } else {
        policy.index.candidates(&probe).take_while(|earlier| *earlier < position).collect()
    };
    candidates.into_iter().map(|earlier| &policy.rules()[earlier]).find(|earlier| {
        !policy.only_records(earlier.mode)
            && !earlier.only_tightens()
            && decides_whenever(earlier, rule)
            && covers_tools(&earlier.tools, &rule.tools)
            && covers_filters(&earlier.filters, &rule.filters)
    })
}

/// Whether the earlier rule's condition holds whenever the later one's does, errors included.
fn decides_whenever(earlier: &Rule, later: &Rule) -> bool {
    let Some(condition) = earlier.condition() else { return true };
    if condition.constant() == Some(true) {
        return true;
    }
    // The same condition: where it cannot be evaluated, only some actions match.
    let on_error = |rule: &Rule| matches!(rule.action(), Action::Block | Action::RequireApproval);
    later.condition().is_some_and(|other| other.source() == condition.source())
        && (on_error(earlier) || !on_error(later))
}

fn covers_tools(wide: &ToolPattern, narrow: &ToolPattern) -> bool {
    match (wide, narrow) {
        (ToolPattern::Any, _) => true,
        (ToolPattern::Globs(wide), ToolPattern::Globs(narrow)) => covers(wide, narrow),
        (ToolPattern::Globs(wide), ToolPattern::Regex(_) | ToolPattern::Any) => {
            wide.iter().any(Glob::matches_everything)
        }
        (ToolPattern::Regex(wide), ToolPattern::Regex(narrow)) => wide == narrow,
        (ToolPattern::Regex(_), ToolPattern::Globs(_) | ToolPattern::Any) => false,
    }
}

fn covers_filters(wide: &[Filter], narrow: &[Filter]) -> bool {
    wide.iter().all(|wide| {
        wide.any_of.iter().any(Glob::matches_everything)
            || narrow.iter().any(|narrow| narrow.field == wide.field && covers(&wide.any_of, &narrow.any_of))
    })
}

fn covers(wide: &[Glob], narrow: &[Glob]) -> bool {
    narrow.iter().all(|narrow| wide.iter().any(|wide| wide.covers(narrow)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::compile::tests::policy;

    fn found(rules: &str) -> Vec<(FindingKind, Option<String>)> {
        let policy = policy(&format!("version: 1\ndefault: block\nrules:\n{rules}"));
        let agents = ["support-1".to_owned()];
        let surroundings = Surroundings { agents: Some(&agents), upstreams: None };
        lint(&policy, surroundings).into_iter().map(|finding| (finding.kind, finding.rule)).collect()
    }

    #[test]
    fn a_policy_without_a_default_is_told() {
        let policy = policy("version: 1\nrules: []\n");
        let findings = lint(&policy, Surroundings::default());
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].kind, findings[0].file.as_deref()), (FindingKind::NoDefault, Some("policy.yaml")));
    }

    #[test]
    fn rules_that_no_call_can_match_are_told() {
        for (rule, finds) in [
            ("{id: r, match: t, when: 'false', action: allow}", true),
            ("{id: r, match: {method: post}, action: allow}", true),
            ("{id: r, match: {method: 'P*'}, action: allow}", false),
            ("{id: r, match: {path: refunds}, action: allow}", true),
            ("{id: r, match: {agent: 'billing-*'}, action: allow}", true),
            ("{id: r, match: {agent: 'support-*', upstream: x}, action: allow}", false),
        ] {
            let expected: Vec<_> =
                finds.then(|| (FindingKind::NeverMatches, Some("r".to_owned()))).into_iter().collect();
            assert_eq!(found(&format!("  - {rule}\n")), expected, "{rule}");
        }
    }

    #[test]
    fn rules_behind_a_wider_one_are_told_and_no_others() {
        for (first, second, finds) in [
            ("{match: 'pay.*', action: block}", "{id: r, match: [pay.a, 'pay.b*'], action: allow}", true),
            ("{match: 'pay.*', action: block}", "{id: r, match: [pay.a, other], action: allow}", false),
            ("{match: '*', when: args.x == 1, action: block}", "{id: r, match: t, action: allow}", false),
            (
                "{match: '*', when: args.x == 1, action: block}",
                "{id: r, match: t, when: args.x == 1, action: block}",
                true,
            ),
            (
                "{match: '*', when: args.x == 1, action: allow}",
                "{id: r, match: t, when: args.x == 1, action: block}",
                false,
            ),
            ("{match: '*', action: block, mode: shadow}", "{id: r, match: t, action: allow}", false),
            ("{match: {method: GET}, action: block}", "{id: r, match: {tool: t, method: GET}, action: allow}", true),
            ("{match: {method: GET}, action: block}", "{id: r, match: t, action: allow}", false),
            ("{match: {tool_regex: 'a+'}, action: block}", "{id: r, match: {tool_regex: 'a+'}, action: allow}", true),
            ("{match: '*', action: block}", "{id: r, match: {agent: '*'}, action: allow}", true),
            ("{match: 'a?', action: block}", "{id: r, match: 'a*', action: allow}", false),
        ] {
            let expected: Vec<_> = finds.then(|| (FindingKind::Shadowed, Some("r".to_owned()))).into_iter().collect();
            assert_eq!(found(&format!("  - {first}\n  - {second}\n")), expected, "{first} {second}");
        }
    }
}
