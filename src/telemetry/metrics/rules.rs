//! What is counted for each rule, and which rules have series of their own.
//!
//! The rules change when policy is loaded anew, and so do the series: those of rules that went are dropped, those of
//! rules that stayed go on. Invariant: at most [`RULES_NAMED_MAX`] rules are named at any time, whatever was loaded
//! before; every other one is `other`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Registry};

use super::families;
use super::labels::{ClosedAs, Mode, SlaOutcome, Source, Verdict};
use super::upstreams::OTHER;
use crate::domain::approval::Risk;
use crate::domain::names::NameMap;
use crate::domain::policy::API_LABEL;
use crate::store::QueueFigures;

/// How many rules have series of their own.
pub const RULES_NAMED_MAX: usize = 50;
/// What approvals asked for through the API are counted under. Always there, beside the named rules.
pub const API_RULE: &str = API_LABEL;

/// A rule as metrics know it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KnownRule {
    /// Its id, or its match text when it has no id; `default` for the policy's default.
    pub label: String,
    /// What it says when it matches.
    pub verdict: Verdict,
    /// Whether it acts.
    pub mode: Mode,
    /// The risk of what it parks.
    pub risk: Risk,
}

/// The counters of one rule. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct RuleMetrics {
    label: Arc<str>,
    judged: IntCounter,
    families: Families,
}

#[derive(Debug, Clone)]
struct Families {
    verdicts: IntCounterVec,
    created: IntCounterVec,
    closed: IntCounterVec,
    sla: IntCounterVec,
    pending: IntGaugeVec,
    overdue: IntGaugeVec,
}

impl RuleMetrics {
    /// It was the rule that gave a verdict (in shadow mode: that would have). One atomic operation.
    pub fn judged(&self) {
        self.judged.inc();
    }

    /// It parked something. Looks labels up: a durable write goes with it anyway, as with all below.
    pub fn created(&self, source: Source) {
        self.families.created.with_label_values(&[&*self.label, source.as_str()]).inc();
    }

    /// Something that it parked was closed.
    pub fn closed(&self, result: ClosedAs) {
        self.families.closed.with_label_values(&[&*self.label, result.as_str()]).inc();
    }

    /// Something that it parked was decided, or never was, and it had an SLA.
    pub fn sla(&self, outcome: SlaOutcome) {
        self.families.sla.with_label_values(&[&*self.label, outcome.as_str()]).inc();
    }
}

#[derive(Debug, Default)]
struct Named {
    rules: HashSet<KnownRule>,
    handles: NameMap<RuleMetrics>,
}

impl Named {
    fn has_label(&self, label: &str) -> bool {
        self.handles.contains_key(label)
    }
}

/// All rules.
#[derive(Debug)]
pub(super) struct Rules {
    families: Families,
    named: ArcSwap<Named>,
}

impl Rules {
    pub(super) fn new(registry: &Registry) -> Self {
        let counters = |name, help, labels: &[&str]| families::counters(registry, name, help, labels);
        let families = Families {
            verdicts: counters(
                "holdpoint_policy_verdicts_total",
                "Verdicts by the rule that gave them; in shadow mode, that would have.",
                &["rule", "verdict", "mode"],
            ),
            created: counters(
                "holdpoint_approvals_created_total",
                "Approvals asked for, by rule and by where they came from.",
                &["rule", "source"],
            ),
            closed: counters("holdpoint_approvals_closed_total", "Approvals closed, by result.", &["rule", "result"]),
            sla: counters(
                "holdpoint_approval_sla_total",
                "Approvals that had an SLA, by whether it was kept.",
                &["rule", "outcome"],
            ),
            pending: families::gauges(
                registry,
                "holdpoint_approvals_pending",
                "Approvals that nobody has decided.",
                &["rule", "risk"],
            ),
            overdue: families::gauges(
                registry,
                "holdpoint_approvals_overdue",
                "Pending approvals that are past their SLA.",
                &["rule"],
            ),
        };
        for label in [API_RULE, OTHER] {
            families.start_approvals(label, &Risk::ALL);
        }
        for verdict in Verdict::ALL {
            for mode in Mode::ALL {
                families.verdicts.with_label_values(&[OTHER, verdict.as_str(), mode.as_str()]);
            }
        }
        Self { families, named: ArcSwap::default() }
    }

    /// Makes `rules` the known ones, and answers with a handle for each, in their order.
    pub(super) fn know(&self, rules: &[KnownRule]) -> Vec<RuleMetrics> {
        let mut named = Named::default();
        let handles: Vec<_> = rules
            .iter()
            .map(|rule| {
                // Each (label, verdict, mode) counts: two rules may share a label, and each makes series.
                let fits = named.rules.contains(rule) || named.rules.len() < RULES_NAMED_MAX;
                let handle = self.families.handle(rule, if fits { &rule.label } else { OTHER });
                if fits {
                    named.rules.insert(rule.clone());
                    named.handles.entry(rule.label.as_str().into()).or_insert_with(|| handle.clone());
                }
                handle
            })
            .collect();
        let before = self.named.swap(Arc::new(named));
        let after = self.named.load();
        for rule in before.rules.difference(&after.rules) {
            self.families.forget(rule, &after);
        }
        for rule in after.rules.iter().filter(|rule| rule.verdict == Verdict::WaitingForApproval) {
            self.families.start_approvals(&rule.label, &[rule.risk]);
        }
        handles
    }

    /// Counts a verdict of the rule that goes by `label`, without making a handle of it.
    pub(super) fn judged(&self, label: &str) {
        match self.named.load().handles.get(label) {
            Some(handle) => handle.judged(),
            None => self.handle(label).judged(),
        }
    }

    /// The handle of the rule that goes by `label`; of `api` or `other` if none does.
    pub(super) fn handle(&self, label: &str) -> RuleMetrics {
        if let Some(handle) = self.named.load().handles.get(label) {
            return handle.clone();
        }
        let (verdict, mode, risk) = (Verdict::WaitingForApproval, Mode::Enforce, Risk::default());
        let known = KnownRule { label: OTHER.to_owned(), verdict, mode, risk };
        let mut handle = self.families.handle(&known, OTHER);
        if label == API_RULE {
            handle.label = Arc::from(API_RULE);
        }
        handle
    }

    /// Sets the gauges of the queue; whatever `figures` does not mention is zero.
    pub(super) fn queue(&self, figures: &QueueFigures) {
        let named = self.named.load();
        let fold =
            |label: &str| if label == API_RULE || named.has_label(label) { label.to_owned() } else { OTHER.to_owned() };
        let mut pending: HashMap<(String, &str), u64> = HashMap::new();
        let mut overdue: HashMap<String, u64> = HashMap::new();
        for label in [API_RULE, OTHER] {
            overdue.insert(label.to_owned(), 0);
            for risk in Risk::ALL {
                pending.insert((label.to_owned(), risk.as_str()), 0);
            }
        }
        for rule in named.rules.iter().filter(|rule| rule.verdict == Verdict::WaitingForApproval) {
            overdue.insert(rule.label.clone(), 0);
            pending.insert((rule.label.clone(), rule.risk.as_str()), 0);
        }
        for (label, risk, count) in &figures.pending {
            // An approval that an earlier policy parked at another risk has no series of its own.
            let key = (fold(label), risk.as_str());
            let key = if pending.contains_key(&key) { key } else { (OTHER.to_owned(), risk.as_str()) };
            *pending.entry(key).or_default() += count;
        }
        for (label, count) in &figures.overdue {
            let label = fold(label);
            let label = if overdue.contains_key(&label) { label } else { OTHER.to_owned() };
            *overdue.entry(label).or_default() += count;
        }
        for ((label, risk), count) in pending {
            self.families.pending.with_label_values(&[label.as_str(), risk]).set(clamp(count));
        }
        for (label, count) in overdue {
            self.families.overdue.with_label_values(&[label.as_str()]).set(clamp(count));
        }
    }
}

impl Families {
    fn handle(&self, rule: &KnownRule, label: &str) -> RuleMetrics {
        let judged = self.verdicts.with_label_values(&[label, rule.verdict.as_str(), rule.mode.as_str()]);
        RuleMetrics { label: Arc::from(label), judged, families: self.clone() }
    }

    /// Makes the series of a rule that parks calls exist, at 0 if they are new.
    fn start_approvals(&self, label: &str, risks: &[Risk]) {
        for source in Source::ALL {
            self.created.with_label_values(&[label, source.as_str()]);
        }
        for result in ClosedAs::ALL {
            self.closed.with_label_values(&[label, result.as_str()]);
        }
        for outcome in SlaOutcome::ALL {
            self.sla.with_label_values(&[label, outcome.as_str()]);
        }
        for risk in risks {
            self.pending.with_label_values(&[label, risk.as_str()]);
        }
        self.overdue.with_label_values(&[label]);
    }

    /// Drops the series of a rule that went. Removing what was never made is not an error worth a word.
    fn forget(&self, rule: &KnownRule, after: &Named) {
        let label = rule.label.as_str();
        let keeps_verdict = after
            .rules
            .iter()
            .any(|kept| kept.label == label && kept.verdict == rule.verdict && kept.mode == rule.mode);
        if !keeps_verdict {
            let _ = self.verdicts.remove_label_values(&[label, rule.verdict.as_str(), rule.mode.as_str()]);
        }
        if label != API_RULE && label != OTHER {
            let _ = self.pending.remove_label_values(&[label, rule.risk.as_str()]);
        }
        if after.has_label(label) || label == API_RULE || label == OTHER {
            return;
        }
        for source in Source::ALL {
            let _ = self.created.remove_label_values(&[label, source.as_str()]);
        }
        for result in ClosedAs::ALL {
            let _ = self.closed.remove_label_values(&[label, result.as_str()]);
        }
        for outcome in SlaOutcome::ALL {
            let _ = self.sla.remove_label_values(&[label, outcome.as_str()]);
        }
        let _ = self.overdue.remove_label_values(&[label]);
    }
}

fn clamp(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
