//! The list of metrics: each family's name and help, with its known label sets at 0.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, Registry};

use super::families::{
    self, EVALUATION_BUCKETS_SECONDS, RELEASE_BUCKETS_SECONDS, STORE_BUCKETS_SECONDS, WAIT_BUCKETS_SECONDS,
};
use super::labels::{
    AuthMethod, Batch, ClosedAs, DecisionLabel, ListenerName, RejectReason, StoreOperation, Violation,
};
use super::{Metrics, Storage, rules, upstreams};
use crate::domain::identity::Channel;

pub(super) fn declare(registry: Registry, upstream_names: &[String]) -> Metrics {
    let r = &registry;
    let counter = |name, help| families::counter(r, name, help);
    let gauge = |name, help| families::gauge(r, name, help);
    let seconds = |name, help| families::gauge_seconds(r, name, help);
    let histogram = |name, help, buckets: &[f64]| families::histogram(r, name, help, buckets);
    let counters = |name, help, label: &str, values: &[&str]| counters(r, name, help, label, values);
    let (connections_open, connections_refused) = connections(r);
    Metrics {
        upstreams: upstreams::Upstreams::new(r, upstream_names),
        rules: rules::Rules::new(r),
        policy_info: families::info(
            r,
            "holdpoint_policy_info",
            "Always 1; names the policy revision in force.",
            "revision",
        ),
        reload_successful: gauge(
            "holdpoint_config_last_reload_successful",
            "1 if the last load of configuration and policy succeeded, else 0.",
        ),
        reload_success_timestamp: seconds(
            "holdpoint_config_last_reload_success_timestamp_seconds",
            "When configuration and policy were last loaded.",
        ),
        rejected: counters(
            "holdpoint_rejected_requests_total",
            "Input refused before policy, by reason.",
            "reason",
            &names(RejectReason::ALL, RejectReason::as_str),
        ),
        abandoned: counter("holdpoint_calls_abandoned_total", "Calls that ended without an outcome; must stay 0."),
        evaluation: histogram(
            "holdpoint_policy_evaluation_duration_seconds",
            "Time of one evaluation of the policy for a call that comes in; one that its head does not settle takes several.",
            &EVALUATION_BUCKETS_SECONDS,
        ),
        pending_limit: gauge("holdpoint_approvals_pending_limit", "How many approvals may be pending."),
        oldest_pending: seconds(
            "holdpoint_approvals_oldest_pending_timestamp_seconds",
            "When the oldest pending approval was asked for; 0 if there is none.",
        ),
        wait: waits(r),
        decisions: decisions(r),
        conflicts: counter("holdpoint_decision_conflicts_total", "Decisions that came after another one."),
        release_delay: histogram(
            "holdpoint_release_delay_seconds",
            "Time from a decision to the first byte upstream.",
            &RELEASE_BUCKETS_SECONDS,
        ),
        releases_in_flight: gauge("holdpoint_releases_in_flight", "Held calls that are being sent."),
        held_connections: gauge("holdpoint_held_connections", "Connections that wait for a decision."),
        held_bytes: gauge("holdpoint_held_bytes", "Bytes of the calls that wait for a decision, headers and bodies."),
        integrity: counters(
            "holdpoint_integrity_violations_total",
            "Findings that must never be; must stay 0.",
            "kind",
            &names(Violation::ALL, Violation::as_str),
        ),
        storage: storage(r),
        auth_failures: counters(
            "holdpoint_admin_auth_failures_total",
            "Requests to the admin listener that were not let in.",
            "method",
            &names(AuthMethod::ALL, AuthMethod::as_str),
        ),
        subscribers: gauge("holdpoint_event_subscribers", "Open event streams."),
        connections_open,
        connections_refused,
        registry,
    }
}

fn storage(r: &Registry) -> Storage {
    let store = families::histograms(
        r,
        "holdpoint_store_operation_duration_seconds",
        "Time that operations of the store took.",
        &["op"],
        &STORE_BUCKETS_SECONDS,
    );
    let operations = names(StoreOperation::ALL, StoreOperation::as_str);
    Storage {
        durations: operations.iter().map(|op| store.with_label_values(&[op])).collect(),
        errors: counters(r, "holdpoint_store_errors_total", "Operations of the store that failed.", "op", &operations),
        size: families::gauge(r, "holdpoint_store_size_bytes", "Bytes that the store takes on disk."),
        free: families::gauge(
            r,
            "holdpoint_store_free_bytes",
            "Bytes inside the store that are free to be used again.",
        ),
        audit_last_write: families::gauge_seconds(
            r,
            "holdpoint_audit_last_write_timestamp_seconds",
            "When the audit trail was last written.",
        ),
        audit_errors: families::counter(
            r,
            "holdpoint_audit_write_errors_total",
            "Records of the audit trail that could not be written.",
        ),
        audit_suppressed: families::counter(
            r,
            "holdpoint_audit_suppressed_total",
            "Records of refused input left out of the audit trail because too many came at once.",
        ),
    }
}

/// One counter for each value of a single label, in their order.
fn counters(r: &Registry, name: &str, help: &str, label: &str, values: &[&str]) -> Vec<IntCounter> {
    let family = families::counters(r, name, help, &[label]);
    values.iter().map(|value| family.with_label_values(&[value])).collect()
}

fn names<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().map(|value| name(*value)).collect()
}

fn waits(registry: &Registry) -> Vec<Histogram> {
    let help = "Time from asking for an approval to its end.";
    let wait =
        families::histograms(registry, "holdpoint_approval_wait_seconds", help, &["result"], &WAIT_BUCKETS_SECONDS);
    ClosedAs::ALL.iter().map(|result| wait.with_label_values(&[result.as_str()])).collect()
}

fn decisions(registry: &Registry) -> IntCounterVec {
    let help = "Decisions that reviewers made, one at a time or in bulk.";
    let labels = ["channel", "decision", "batch"];
    let decisions = families::counters(registry, "holdpoint_decisions_total", help, &labels);
    for channel in [Channel::Api, Channel::Dashboard] {
        for decision in DecisionLabel::ALL {
            for batch in Batch::ALL {
                decisions.with_label_values(&[channel.as_str(), decision.as_str(), batch.as_str()]);
            }
        }
    }
    decisions
}

fn connections(r: &Registry) -> (Vec<IntGauge>, Vec<IntCounter>) {
    let open = families::gauges(r, "holdpoint_connections_open", "Open connections.", &["listener"]);
    let listeners = names(ListenerName::ALL, ListenerName::as_str);
    let refused = counters(
        r,
        "holdpoint_connections_refused_total",
        "Connections closed at once because too many were open.",
        "listener",
        &listeners,
    );
    (listeners.iter().map(|listener| open.with_label_values(&[listener])).collect(), refused)
}
