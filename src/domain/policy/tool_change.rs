//! The reserved rule `tool-change`: what a changed tool definition makes of a verdict.
//!
//! It stands behind every policy and only tightens: what policy blocks stays blocked, what it parks stays parked under its own rule.

use super::compile::CompiledPolicy;
use super::decide::{Decision, ShadowHit, Verdict, VerdictKind};
use super::matcher::ToolPattern;
use super::model::{Action, Mode};
use super::rule::{ApprovalSettings, Rule};
use super::summary::Summary;
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

    /// The reserved rule, as it parks.
    pub fn tool_change_rule(&self) -> &Rule {
        &self.tool_change.parks
    }
}
