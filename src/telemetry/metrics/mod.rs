//! The metrics, on a registry of their own.
//!
//! No label value comes from the network: methods take enums, or handles made from configured names. What is known
//! exists at 0 from the start. Fewer than 2 000 series in all, whatever is configured: see [`RULES_NAMED_MAX`] and
//! [`UPSTREAMS_NAMED_MAX`].

mod declare;
mod families;
mod labels;
mod rules;
mod upstreams;

use std::time::Duration;

use prometheus::process_collector::ProcessCollector;
use prometheus::{Gauge, GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder};

pub use labels::{
    AuthMethod, Batch, ClosedAs, DecisionLabel, ListenerName, Mode, RejectReason, ReleaseOutcome, SlaOutcome, Source,
    StoreOperation, UpstreamOutcome, Verdict, Violation,
};
pub use rules::{API_RULE, KnownRule, RULES_NAMED_MAX, RuleMetrics};
pub use upstreams::{OTHER, UPSTREAMS_NAMED_MAX, UpstreamMetrics};

use crate::domain::approval::Approval;
use crate::domain::identity::Channel;
use crate::domain::time::Timestamp;
use crate::store::{QueueFigures, StoreSize};

/// What is known when the gateway starts.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The configured upstreams.
    pub upstreams: &'a [String],
    /// The rules of the loaded policy, its default among them.
    pub rules: &'a [KnownRule],
}

/// Every metric. One for each gateway; share it behind an `Arc`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    upstreams: upstreams::Upstreams,
    rules: rules::Rules,
    policy_info: GaugeVec,
    reload_successful: IntGauge,
    reload_success_timestamp: Gauge,
    rejected: Vec<IntCounter>,
    abandoned: IntCounter,
    evaluation: Histogram,
    pending_limit: IntGauge,
    oldest_pending: Gauge,
    wait: Vec<Histogram>,
    decisions: IntCounterVec,
    conflicts: IntCounter,
    release_delay: Histogram,
    releases_in_flight: IntGauge,
    held_connections: IntGauge,
    held_bytes: IntGauge,
    integrity: Vec<IntCounter>,
    storage: Storage,
    auth_failures: Vec<IntCounter>,
    subscribers: IntGauge,
    connections_open: Vec<IntGauge>,
    connections_refused: Vec<IntCounter>,
}

/// What is durable: the store and the audit trail in it.
#[derive(Debug)]
struct Storage {
    durations: Vec<Histogram>,
    errors: Vec<IntCounter>,
    size: IntGauge,
    free: IntGauge,
    audit_last_write: Gauge,
    audit_errors: IntCounter,
    audit_suppressed: IntCounter,
}

/// Counts something for as long as it lives.
#[derive(Debug)]
#[must_use = "what is counted ends when this is dropped"]
pub struct Counted {
    gauge: IntGauge,
    amount: i64,
}

impl Counted {
    fn new(gauge: &IntGauge, amount: i64) -> Self {
        gauge.add(amount);
        Self { gauge: gauge.clone(), amount }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.sub(self.amount);
    }
}

/// Counts one held connection and its body for as long as it lives.
#[derive(Debug)]
#[must_use = "what is counted ends when this is dropped"]
pub struct Held(#[expect(dead_code, reason = "held for its drop")] [Counted; 2]);

impl Metrics {
    /// Declares everything. `version` is the gateway's own.
    #[must_use]
    pub fn new(version: &str, known: Known<'_>) -> Self {
        let registry = Registry::new();
        let metrics = declare::declare(registry, known.upstreams);
        let build =
            families::info(&metrics.registry, "holdpoint_build_info", "Always 1; names the version.", "version");
        build.with_label_values(&[version]).set(1.0);
        #[cfg(target_os = "linux")]
        metrics
            .registry
            .register(Box::new(ProcessCollector::for_self()))
            .expect("no family of ours has a name that begins with process_");
        metrics.known_rules(known.rules);
        metrics
    }

    /// Makes `rules` the known ones after a load of policy; answers with a handle for each, in their order. At most
    /// [`RULES_NAMED_MAX`] have series of their own; series of rules that went are dropped.
    pub fn known_rules(&self, rules: &[KnownRule]) -> Vec<RuleMetrics> {
        self.rules.know(rules)
    }

    /// The counters of the rule that goes by `label`; those of `other` if it is not known.
    pub fn rule(&self, label: &str) -> RuleMetrics {
        self.rules.handle(label)
    }

    /// The rule that goes by `label` gave a verdict (in shadow mode: would have).
    pub fn judged(&self, label: &str) {
        self.rules.judged(label);
    }

    /// The counters of a configured upstream; those of `other` if it has none. Ask once, keep the handle.
    pub fn upstream(&self, name: &str) -> UpstreamMetrics {
        self.upstreams.handle(name)
    }

    /// Names the policy revision in force.
    pub fn policy_revision(&self, revision: &str) {
        self.policy_info.reset();
        self.policy_info.with_label_values(&[revision]).set(1.0);
    }

    /// Configuration and policy were loaded at `now`.
    pub fn reload_succeeded(&self, now: Timestamp) {
        self.reload_successful.set(1);
        self.reload_success_timestamp.set(now.as_seconds_f64());
    }

    /// They could not be loaded; the old ones are kept.
    pub fn reload_failed(&self) {
        self.reload_successful.set(0);
    }

    /// Input was refused before policy.
    pub fn rejected(&self, reason: RejectReason) {
        self.rejected[reason as usize].inc();
    }

    /// A call ended without an outcome, which must not happen.
    pub fn abandoned(&self) {
        self.abandoned.inc();
    }

    /// Policy took this long for one call.
    pub fn evaluated(&self, took: Duration) {
        self.evaluation.observe(took.as_secs_f64());
    }

    /// How many approvals may be pending.
    pub fn pending_limit(&self, max: u64) {
        self.pending_limit.set(clamp(max));
    }

    /// Sets the gauges of the queue.
    pub fn queue(&self, figures: &QueueFigures) {
        self.rules.queue(figures);
        self.oldest_pending.set(figures.oldest.map_or(0.0, Timestamp::as_seconds_f64));
    }

    /// The rule that goes by `rule` had an approval asked for.
    pub fn approval_created(&self, rule: &str, source: Source) {
        self.rules.handle(rule).created(source);
    }

    /// An approval was closed at `at`: counts its result, its waiting time, and its SLA if it had one. Nothing for one
    /// that is still pending.
    pub fn approval_closed(&self, approval: &Approval, at: Timestamp) {
        let Some(result) = ClosedAs::of(approval.status()) else { return };
        let rule = self.rules.handle(&approval.terms.rule);
        rule.closed(result);
        self.wait[result as usize].observe(at.since(approval.created_at).as_secs_f64());
        if let Some(sla_at) = approval.terms.sla_at
            && let Some(outcome) = SlaOutcome::of(result, sla_at, at)
        {
            rule.sla(outcome);
        }
    }

    /// A reviewer decided `verdict`, which is `approved` or `rejected`.
    pub fn decision(&self, channel: Channel, verdict: &'static str, in_bulk: bool) {
        let batch = if in_bulk { Batch::Bulk } else { Batch::Single };
        self.decisions.with_label_values(&[channel.as_str(), verdict, batch.as_str()]).inc();
    }

    /// A decision came after another one.
    pub fn decision_conflict(&self) {
        self.conflicts.inc();
    }

    /// A held call was released to `upstream`.
    pub fn release(&self, upstream: &str, outcome: impl Into<ReleaseOutcome>) {
        self.upstreams.handle(upstream).release(outcome.into());
    }

    /// From a decision to the first byte upstream.
    pub fn release_delay(&self, delay: Duration) {
        self.release_delay.observe(delay.as_secs_f64());
    }

    /// Counts a release for as long as the value lives.
    pub fn release_in_flight(&self) -> Counted {
        Counted::new(&self.releases_in_flight, 1)
    }

    /// Counts a held connection and its `bytes` for as long as the value lives.
    pub fn held(&self, bytes: u64) -> Held {
        Held([Counted::new(&self.held_connections, 1), Counted::new(&self.held_bytes, clamp(bytes))])
    }

    /// Something was found that must never be.
    pub fn integrity_violation(&self, kind: Violation) {
        self.integrity[kind as usize].inc();
    }

    /// The store did something, or failed to.
    pub fn store_operation(&self, operation: StoreOperation, took: Duration) {
        self.storage.durations[operation as usize].observe(took.as_secs_f64());
    }

    /// The store failed.
    pub fn store_error(&self, operation: StoreOperation) {
        self.storage.errors[operation as usize].inc();
    }

    /// Sets the gauges of the store's size.
    pub fn store_size(&self, size: StoreSize) {
        self.storage.size.set(clamp(size.used_bytes));
        self.storage.free.set(clamp(size.free_bytes));
    }

    /// A record of the trail is on disk.
    pub fn audit_written(&self, now: Timestamp) {
        self.storage.audit_last_write.set(now.as_seconds_f64());
    }

    /// A record of the trail could not be written.
    pub fn audit_write_error(&self) {
        self.storage.audit_errors.inc();
    }

    /// A record of refused input was left out of the trail because too many came at once.
    pub fn audit_suppressed(&self) {
        self.storage.audit_suppressed.inc();
    }

    /// Somebody was not let in at the admin listener.
    pub fn auth_failure(&self, method: AuthMethod) {
        self.auth_failures[method as usize].inc();
    }

    /// Counts a subscriber of the event stream for as long as the value lives.
    pub fn subscriber(&self) -> Counted {
        Counted::new(&self.subscribers, 1)
    }

    /// The gauge of open connections, for the listener to keep.
    pub fn connections_open(&self, listener: ListenerName) -> IntGauge {
        self.connections_open[listener as usize].clone()
    }

    /// The counter of connections closed at once because too many were open, for the listener to keep.
    pub fn connections_refused(&self, listener: ListenerName) -> IntCounter {
        self.connections_refused[listener as usize].clone()
    }

    /// Everything in the Prometheus text format, version 0.0.4.
    pub fn render(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("writing to a String cannot fail, and no family is empty once gathered")
    }
}

fn clamp(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
