//! Judging a parked call once more: at release, and when policy was loaded anew.

use crate::domain::approval::Terms;
use crate::domain::call::to_hex;
use crate::domain::policy::{CompiledPolicy, Rule, VerdictKind};
use crate::domain::time::Timestamp;
use crate::domain::tools::Claims;

use super::held::{self, HeldRequest};
use super::intake::{Body, DEFAULT_RULE, viewed};

/// What the policy of this moment says about a call that was parked earlier.
pub(super) enum Again {
    /// It blocks it; rule and reason in words.
    Blocks(String),
    /// The rule that asks for the approval is not the one it was parked under, or says something else by now.
    AsksOtherwise,
    /// Nothing that a reviewer or the caller must know has changed.
    Stands,
}

/// Judges a parked call again. What cannot be judged any more is blocked.
pub(super) fn judge_again(
    policy: &CompiledPolicy,
    request: &HeldRequest,
    claims: Claims,
    parked: Option<&Terms>,
    now: Timestamp,
) -> Again {
    let value = match request.value() {
        Ok(value) => value,
        Err(error) => return Again::Blocks(format!("the stored body cannot be read any more: {error}")),
    };
    let args = value.as_ref().and_then(|value| held::arguments(request.protocol, value));
    let body = args.map_or(Body::Absent, Body::Read);
    let verdict = viewed(&request.facts(claims), body, now, |view| policy.judge(view));
    match verdict.kind {
        VerdictKind::Blocked => {
            let rule = verdict.rule_label().unwrap_or(DEFAULT_RULE);
            let reason = verdict.rule.and_then(Rule::reason).map_or_else(String::new, |text| format!(": {text}"));
            Again::Blocks(format!("rule `{rule}` of policy {}{reason}", policy.revision()))
        }
        VerdictKind::Allowed | VerdictKind::Audit | VerdictKind::WaitingForApproval => {
            let digest = verdict.rule.map(|rule| to_hex(rule.digest()));
            // Parked for its tool, which no policy is asked about: policy still lets it through.
            let for_its_tool = parked.is_some_and(|terms| terms.rule_digest == Some(tool_change_digest(policy)))
                && verdict.kind != VerdictKind::WaitingForApproval;
            match parked.is_some_and(|terms| terms.rule_digest != digest && !for_its_tool) {
                true => Again::AsksOtherwise,
                false => Again::Stands,
            }
        }
    }
}

fn tool_change_digest(policy: &CompiledPolicy) -> String {
    to_hex(policy.tool_change_rule().digest())
}
