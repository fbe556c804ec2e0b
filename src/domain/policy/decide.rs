//! The verdict on one call.
//!
//! The first matching rule wins. A condition that cannot be evaluated never loosens: it counts as a match for `block` and
//! `require_approval` and as no match for `allow` and `audit`, and the verdict carries a note for the trail. Rules in
//! shadow mode are recorded and passed over. A rule on what a server claims about its tool only tightens: the list goes on behind
//! it, and it decides only where nothing else is as strict. Nothing is allocated unless there is something to note.

use smallvec::SmallVec;

use super::compile::CompiledPolicy;
use super::condition::{ArgPath, Condition, EvalError};
use super::model::{Action, DefaultAction, Mode};
use super::rule::{ApprovalSettings, Rule};
use super::view::{Args, CallView};
use crate::domain::value::Value;

/// What a policy says about one call.
#[derive(Debug)]
pub enum Decision<'p> {
    /// A rule that could decide needs the arguments, and they were not read. Read them and ask again.
    NeedsBody,
    /// The verdict.
    Verdict(Verdict<'p>),
}

/// The verdict on one call.
#[derive(Debug)]
pub struct Verdict<'p> {
    /// What happens.
    pub kind: VerdictKind,
    /// The rule that decided; `None` when none matched.
    pub rule: Option<&'p Rule>,
    /// Whether a `default` of the policy decided. With no rule and no default the call is allowed.
    pub default_used: bool,
    /// Conditions that could not be evaluated, in order.
    pub notes: SmallVec<[Note<'p>; 1]>,
    /// What rules in shadow mode would have done, in order.
    pub shadow: SmallVec<[ShadowHit<'p>; 1]>,
    default_approval: &'p ApprovalSettings,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum VerdictKind {
    /// It is forwarded.
    Allowed,
    /// It is refused.
    Blocked,
    /// It is forwarded and written down.
    Audit,
    /// It is parked.
    WaitingForApproval,
}

/// A condition that could not be evaluated.
#[derive(Debug, Clone)]
pub struct Note<'p> {
    /// The rule whose condition it is.
    pub rule: &'p Rule,
    /// Why not.
    pub error: EvalError,
}

/// What would have happened without shadow mode.
#[derive(Debug, Clone, Copy)]
pub struct ShadowHit<'p> {
    /// The rule; `None` for the default.
    pub rule: Option<&'p Rule>,
    /// The verdict it would have given.
    pub kind: VerdictKind,
}

impl VerdictKind {
    /// The spelling everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            VerdictKind::Allowed => "ALLOWED",
            VerdictKind::Blocked => "BLOCKED",
            VerdictKind::Audit => "AUDIT",
            VerdictKind::WaitingForApproval => "WAITING_FOR_APPROVAL",
        }
    }
}

impl From<Action> for VerdictKind {
    fn from(action: Action) -> Self {
        match action {
            Action::Allow => VerdictKind::Allowed,
            Action::Block => VerdictKind::Blocked,
            Action::RequireApproval => VerdictKind::WaitingForApproval,
            Action::Audit => VerdictKind::Audit,
        }
    }
}

impl From<DefaultAction> for VerdictKind {
    fn from(action: DefaultAction) -> Self {
        match action {
            DefaultAction::Allow => VerdictKind::Allowed,
            DefaultAction::Block => VerdictKind::Blocked,
            DefaultAction::RequireApproval => VerdictKind::WaitingForApproval,
        }
    }
}

impl<'p> Verdict<'p> {
    /// How approval is asked for: the rule's settings, or the defaults when the policy's `default` asks.
    pub fn approval(&self) -> &'p ApprovalSettings {
        self.rule.map_or(self.default_approval, |rule| rule.approval())
    }

    /// The label of the rule that decided.
    pub fn rule_label(&self) -> Option<&'p str> {
        self.rule.map(Rule::label)
    }
}

/// What a condition says about a rule.
pub(super) enum Outcome {
    Matches,
    DoesNotMatch,
    NeedsBody,
}

/// Applies the rule for conditions that cannot be evaluated.
pub(super) fn outcome(
    condition: Option<&Condition>,
    action: Action,
    call: &CallView<'_>,
) -> (Outcome, Option<EvalError>) {
    let Some(condition) = condition else { return (Outcome::Matches, None) };
    if condition.reads_args() && matches!(call.args, Args::Unread) {
        return (Outcome::NeedsBody, None);
    }
    match (condition.eval(call), action) {
        (Ok(true), _) => (Outcome::Matches, None),
        (Ok(false), _) => (Outcome::DoesNotMatch, None),
        (Err(error), Action::Block | Action::RequireApproval) => (Outcome::Matches, Some(error)),
        (Err(error), Action::Allow | Action::Audit) => (Outcome::DoesNotMatch, Some(error)),
    }
}

impl CompiledPolicy {
    /// Judges one call. The cost does not grow with the number of rules, only with the rules that match by name and
    /// stand before the one that decides.
    pub fn decide<'p>(&'p self, call: &CallView<'_>) -> Decision<'p> {
        let mut notes = SmallVec::new();
        let mut shadow = SmallVec::new();
        let mut tightening: Option<&'p Rule> = None;
        for position in self.index.candidates(call.tool) {
            let rule = &self.rules[position];
            if rule.mismatch(call).is_some() {
                continue;
            }
            let (outcome, error) = outcome(rule.condition(), rule.action, call);
            if let Some(error) = error {
                notes.push(Note { rule, error });
            }
            match outcome {
                Outcome::NeedsBody => return Decision::NeedsBody,
                Outcome::DoesNotMatch => {}
                Outcome::Matches if self.only_records(rule.mode) => {
                    shadow.push(ShadowHit { rule: Some(rule), kind: rule.action.into() });
                }
                // Nothing is stricter than a block.
                Outcome::Matches if rule.only_tightens() && rule.action != Action::Block => {
                    tightening.get_or_insert(rule);
                }
                Outcome::Matches => {
                    let lets_through = matches!(rule.action, Action::Allow | Action::Audit);
                    let rule = tightening.filter(|_| lets_through).unwrap_or(rule);
                    return Decision::Verdict(self.by_rule(rule, notes, shadow));
                }
            }
        }
        let verdict = self.without_rule(notes, shadow);
        Decision::Verdict(match tightening {
            Some(rule) if verdict.kind != VerdictKind::Blocked => self.by_rule(rule, verdict.notes, verdict.shadow),
            Some(_) | None => verdict,
        })
    }

    fn by_rule<'p>(
        &'p self,
        rule: &'p Rule,
        notes: SmallVec<[Note<'p>; 1]>,
        shadow: SmallVec<[ShadowHit<'p>; 1]>,
    ) -> Verdict<'p> {
        let default_approval = &self.default_approval;
        Verdict { kind: rule.action.into(), rule: Some(rule), default_used: false, notes, shadow, default_approval }
    }

    /// Judges one call at once; arguments that were not read are taken for absent.
    pub fn judge<'p>(&'p self, call: &CallView<'_>) -> Verdict<'p> {
        match self.decide(&call.with_args_known()) {
            Decision::Verdict(verdict) => verdict,
            // Cannot come, since absent arguments need no reading. If it did, a call nobody judged is refused.
            Decision::NeedsBody => Verdict {
                kind: VerdictKind::Blocked,
                rule: None,
                default_used: false,
                notes: SmallVec::new(),
                shadow: SmallVec::new(),
                default_approval: &self.default_approval,
            },
        }
    }

    fn without_rule<'p>(
        &'p self,
        notes: SmallVec<[Note<'p>; 1]>,
        mut shadow: SmallVec<[ShadowHit<'p>; 1]>,
    ) -> Verdict<'p> {
        let (kind, default_used) = match self.default {
            None => (VerdictKind::Allowed, false),
            Some(default) if self.only_records(default.mode) => {
                shadow.push(ShadowHit { rule: None, kind: default.action.into() });
                (VerdictKind::Allowed, false)
            }
            Some(default) => (default.action.into(), true),
        };
        Verdict { kind, rule: None, default_used, notes, shadow, default_approval: &self.default_approval }
    }

    /// Whether what has this mode records without acting: by itself, or because the whole gateway does.
    pub fn only_records(&self, mode: Mode) -> bool {
        self.shadow || mode == Mode::Shadow
    }

    /// The paths into the arguments that the rules for this tool, agent, upstream, method and path read.
    pub fn arg_paths_read<'p>(&'p self, call: &CallView<'p>) -> impl Iterator<Item = &'p ArgPath> {
        let call = *call;
        self.index
            .candidates(call.tool)
            .map(|position| &self.rules[position])
            .filter(move |rule| rule.mismatch(&call).is_none())
            .filter_map(Rule::condition)
            .flat_map(Condition::reads)
    }

    /// The first key in `args` that could be taken for one that a rule reads without being it, such as `Amount` where a
    /// rule reads `args.amount`. `confusable(key, wanted)` is only asked about keys that differ. A caller refuses the
    /// call then, because the upstream may read the other key.
    pub fn confusable_key(
        &self,
        call: &CallView<'_>,
        args: &Value<'_>,
        confusable: &dyn Fn(&str, &str) -> bool,
    ) -> Option<String> {
        self.arg_paths_read(call).find_map(|path| path.first_variant(args, confusable))
    }
}
