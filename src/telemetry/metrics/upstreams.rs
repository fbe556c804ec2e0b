//! What is counted for each upstream, with every child looked up once and not again for each request.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{Histogram, IntCounter, Registry};

use super::families::{self, OVERHEAD_BUCKETS_SECONDS, UPSTREAM_BUCKETS_SECONDS};
use super::labels::{ReleaseOutcome, UpstreamOutcome, Verdict};

/// How many upstreams have series of their own; the rest share those of [`OTHER`].
pub const UPSTREAMS_NAMED_MAX: usize = 12;
/// The label value that stands for all upstreams (or rules) beyond those that are named.
pub const OTHER: &str = "other";

/// The counters of one upstream. Cloning is cheap; every method is a few atomic operations.
#[derive(Debug, Clone)]
pub struct UpstreamMetrics(Arc<Children>);

#[derive(Debug)]
struct Children {
    requests: [IntCounter; Verdict::ALL.len()],
    overhead: Histogram,
    durations: [Histogram; UpstreamOutcome::ALL.len()],
    releases: [IntCounter; ReleaseOutcome::ALL.len()],
}

impl UpstreamMetrics {
    /// A call on its way to this upstream was judged.
    pub fn request(&self, verdict: Verdict) {
        self.0.requests[verdict as usize].inc();
    }

    /// What the gateway itself spent on a request, without upstream and waiting.
    pub fn overhead(&self, spent: Duration) {
        self.0.overhead.observe(spent.as_secs_f64());
    }

    /// A request to the upstream ended, as far as its response head.
    pub fn upstream_request(&self, outcome: UpstreamOutcome, took: Duration) {
        self.0.durations[outcome as usize].observe(took.as_secs_f64());
    }

    /// A held call was released.
    pub fn release(&self, outcome: ReleaseOutcome) {
        self.0.releases[outcome as usize].inc();
    }
}

/// All upstreams. The set is fixed: a changed list of upstreams is a new gateway.
#[derive(Debug)]
pub(super) struct Upstreams {
    named: HashMap<String, UpstreamMetrics>,
    other: UpstreamMetrics,
}

impl Upstreams {
    pub(super) fn new(registry: &Registry, names: &[String]) -> Self {
        let requests = families::counters(
            registry,
            "holdpoint_requests_total",
            "Calls judged, by upstream and verdict.",
            &["upstream", "verdict"],
        );
        let overhead = families::histograms(
            registry,
            "holdpoint_request_overhead_seconds",
            "Time the gateway itself spent on a request, without upstream and waiting.",
            &["upstream"],
            &OVERHEAD_BUCKETS_SECONDS,
        );
        let durations = families::histograms(
            registry,
            "holdpoint_upstream_request_duration_seconds",
            "Time from sending a request upstream to its response head or its failure.",
            &["upstream", "outcome"],
            &UPSTREAM_BUCKETS_SECONDS,
        );
        let releases = families::counters(
            registry,
            "holdpoint_releases_total",
            "Held calls released, by what became of them.",
            &["upstream", "outcome"],
        );
        let children = |name: &str| {
            UpstreamMetrics(Arc::new(Children {
                requests: std::array::from_fn(|i| requests.with_label_values(&[name, Verdict::ALL[i].as_str()])),
                overhead: overhead.with_label_values(&[name]),
                durations: std::array::from_fn(|i| {
                    durations.with_label_values(&[name, UpstreamOutcome::ALL[i].as_str()])
                }),
                releases: std::array::from_fn(|i| releases.with_label_values(&[name, ReleaseOutcome::ALL[i].as_str()])),
            }))
        };
        let named = names.iter().take(UPSTREAMS_NAMED_MAX).map(|name| (name.clone(), children(name))).collect();
        Self { named, other: children(OTHER) }
    }

    pub(super) fn handle(&self, name: &str) -> UpstreamMetrics {
        self.named.get(name).unwrap_or(&self.other).clone()
    }
}
