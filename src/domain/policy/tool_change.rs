//! The reserved rule `tool-change`: what a changed tool definition makes of a verdict.
//!
//! It stands behind every policy and only tightens: what policy blocks stays blocked, what it parks stays parked under its own rule.

use super::compile::CompiledPolicy;
use super::decide::{Decision, ShadowHit, Verdict, VerdictKind};
use super::matcher::ToolPattern;
use super::model::{Action, Mode};
use super::redact::Redaction;
use super::rule::{ApprovalSettings, Rule};
use super::summary::Summary;
use super::view::CallView;
use crate::domain::approval::Risk;
use crate::domain::tools::{CHANGED, OnToolChange, TOOL_CHANGE_RULE};

/// The rule in its two forms.
#[derive(Debug, Clone)]
pub(super) struct ToolChangeRules {
    parks: Rule,
    blocks: Rule,
}

impl ToolChangeRules {
    pub(super) fn new() -> Self {
        let parks = Rule {
            id: Some(TOOL_CHANGE_RULE.to_owned()),
            label: TOOL_CHANGE_RULE.to_owned(),
            file: String::new(),
            position: 0,
            action: Action::RequireApproval,
            reason: Some(CHANGED.to_owned()),
            risk: Risk::High,
            mode: Mode::Enforce,
            tools: ToolPattern::Any,
            filters: Vec::new(),
            annotations: None,
            condition: None,
            approval: ApprovalSettings {
                summary: Summary::compile("Call ${tool}, whose definition is new or has changed").ok(),
                ..ApprovalSettings::default()
            },
            // No rule of a file has it: theirs are digests of what they say.
            digest: *b"the reserved rule: tool-change\0\0",
        };
        let blocks = Rule { action: Action::Block, ..parks.clone() };
        Self { parks, blocks }
    }
}

impl CompiledPolicy {
    /// What a decision becomes for a call of a tool whose definition nobody has accepted.
    pub fn tightened<'p>(&'p self, decision: Decision<'p>, on_change: OnToolChange) -> Decision<'p> {
        match decision {
            Decision::NeedsBody => Decision::NeedsBody,
            Decision::Verdict(verdict) => Decision::Verdict(self.tightened_verdict(verdict, on_change)),
        }
    }

    fn tightened_verdict<'p>(&'p self, mut verdict: Verdict<'p>, on_change: OnToolChange) -> Verdict<'p> {
        let rule = match (on_change, verdict.kind) {
            (OnToolChange::Allow, _) | (_, VerdictKind::Blocked) => return verdict,
            (OnToolChange::RequireApproval, VerdictKind::WaitingForApproval) => return verdict,
            (OnToolChange::RequireApproval, VerdictKind::Allowed | VerdictKind::Audit) => &self.tool_change.parks,
            (OnToolChange::Block, _) => &self.tool_change.blocks,
        };
        let kind = rule.action().into();
        if self.only_records(rule.mode()) {
            verdict.shadow.push(ShadowHit { rule: Some(rule), kind });
            return verdict;
        }
        verdict.kind = kind;
        verdict.rule = Some(rule);
        verdict.default_used = false;
        verdict
    }

    /// What is redacted when `verdict` parks the call: what its rule says. The reserved rule says nothing of its own, so for it what
    /// any rule for such a call redacts, also one whose condition does not hold: whoever wrote that meant the tool's argument.
    pub fn redaction(&self, verdict: &Verdict<'_>, call: &CallView<'_>) -> Redaction {
        let mut redaction = verdict.approval().redaction.clone();
        if verdict.rule.is_none_or(|rule| rule.digest() != self.tool_change.parks.digest()) {
            return redaction;
        }
        for position in self.index.candidates(call.tool) {
            let rule = &self.rules[position];
            if rule.mismatch(call).is_none() {
                redaction.extend(&rule.approval().redaction);
            }
        }
        redaction
    }

    /// The reserved rule, as it parks.
    pub fn tool_change_rule(&self) -> &Rule {
        &self.tool_change.parks
    }
}

#[cfg(test)]
mod tests {
    use super::super::compile::tests::{call, policy};
    use super::super::compile::{PolicyFile, compile};
    use super::*;
    use crate::domain::policy::Args;

    const POLICY: &str = "version: 1\nrules:\n  - { id: b, match: b, action: block }\n  - { id: w, match: w, action: require_approval }\n  \
                          - { id: n, match: n, action: audit }\n  - { match: tool-change, action: require_approval }\n";

    fn tightened(policy: &CompiledPolicy, tool: &str, on_change: OnToolChange) -> (VerdictKind, Option<String>) {
        let decision = policy.decide(&call(tool, Args::Absent));
        match policy.tightened(decision, on_change) {
            Decision::Verdict(verdict) => (verdict.kind, verdict.rule_label().map(str::to_owned)),
            Decision::NeedsBody => panic!("no condition reads it"),
        }
    }

    #[test]
    fn a_changed_tool_tightens_the_verdict_and_never_loosens_it() {
        use OnToolChange::{Allow, Block, RequireApproval};
        use VerdictKind::{Allowed, Audit, Blocked, WaitingForApproval};
        let policy = policy(POLICY);
        let own = |tool: &str| Some(tool.to_owned());
        let reserved = Some(TOOL_CHANGE_RULE.to_owned());
        for (tool, on_change, kind, rule) in [
            ("a", Allow, Allowed, None),
            ("a", RequireApproval, WaitingForApproval, reserved.clone()),
            ("a", Block, Blocked, reserved.clone()),
            ("n", Allow, Audit, own("n")),
            ("n", RequireApproval, WaitingForApproval, reserved.clone()),
            ("n", Block, Blocked, reserved.clone()),
            ("w", Allow, WaitingForApproval, own("w")),
            ("w", RequireApproval, WaitingForApproval, own("w")),
            ("w", Block, Blocked, reserved),
            ("b", Allow, Blocked, own("b")),
            ("b", RequireApproval, Blocked, own("b")),
            ("b", Block, Blocked, own("b")),
        ] {
            assert_eq!(tightened(&policy, tool, on_change), (kind, rule), "{tool} {on_change:?}");
        }
    }

    #[test]
    fn a_policy_in_shadow_records_what_the_reserved_rule_would_have_done() {
        let policy = policy(POLICY).in_shadow();
        let decision = policy.decide(&call("a", Args::Absent));
        let Decision::Verdict(verdict) = policy.tightened(decision, OnToolChange::Block) else { panic!("a verdict") };
        assert_eq!(verdict.kind, VerdictKind::Allowed);
        let shadow: Vec<_> = verdict.shadow.iter().map(|hit| (hit.rule.map(Rule::label), hit.kind)).collect();
        assert_eq!(shadow, [(Some(TOOL_CHANGE_RULE), VerdictKind::Blocked)]);
    }

    #[test]
    fn no_rule_can_take_the_reserved_id_and_a_tool_of_that_name_is_another_matter() {
        let source = "version: 1\nrules: [ { id: tool-change, match: x, action: allow } ]\n";
        let model = serde_yaml::from_str(source).expect("the shape is right");
        let file = PolicyFile { name: "policy.yaml".to_owned(), model, source_sha256: [0; 32] };
        let errors = compile(vec![file]).expect_err("it is reserved");
        assert_eq!(errors.len(), 1);
        assert!(errors[0].message.contains("`tool-change` is reserved"), "{errors:?}");
        // A rule without an id is called by its match.
        let policy = policy(POLICY);
        let labelled = policy.rules().iter().find(|rule| rule.label() == TOOL_CHANGE_RULE).expect("it is there");
        assert_ne!(labelled.digest(), policy.tool_change_rule().digest());
    }

    #[test]
    fn what_any_rule_for_the_tool_redacts_is_redacted_for_a_changed_tool() {
        let policy = policy(
            "version: 1\nrules:\n  - { match: pay, when: \"args.not == 'other'\", action: require_approval, approval: { redact: [ /args/card ] } }\n  \
             - { match: { tool: pay, agent: other }, action: require_approval, approval: { redact: [ /args/not ] } }\n  \
             - { match: refund, action: require_approval, approval: { redact: [ /args/not ] } }\n",
        );
        let read = |text: &'static str| crate::domain::value::Value::String(text.into());
        let args =
            crate::domain::value::Value::Object(vec![("card".into(), read("4111")), ("not".into(), read("shown"))]);
        let view = call("pay", Args::Read(&args));
        let Decision::Verdict(verdict) = policy.tightened(policy.decide(&view), OnToolChange::RequireApproval) else {
            panic!("a verdict")
        };
        assert_eq!(verdict.rule_label(), Some(TOOL_CHANGE_RULE));
        let shown = policy.redaction(&verdict, &view).apply(&args);
        assert_eq!(shown, r#"{"card":"[redacted]","not":"shown"}"#);
    }
}
