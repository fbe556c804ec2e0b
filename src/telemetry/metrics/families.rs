//! Declares the metric families: names, help, labels, buckets. Every name and label is a literal here, which is why
//! building one cannot fail.

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

const CONSTANTS: &str = "names, labels and buckets are literals, each declared once";

/// Work done by the gateway itself: 50 µs to 25 ms.
pub(super) const OVERHEAD_BUCKETS_SECONDS: [f64; 8] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.025];
/// Policy decisions: 0.5 µs to 1 ms.
pub(super) const EVALUATION_BUCKETS_SECONDS: [f64; 8] =
    [0.000_000_5, 0.000_001, 0.000_002_5, 0.000_005, 0.000_01, 0.000_05, 0.000_25, 0.001];
/// Upstream responses: 5 ms to 30 s.
pub(super) const UPSTREAM_BUCKETS_SECONDS: [f64; 8] = [0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0];
/// People: 1 s to 1 day.
pub(super) const WAIT_BUCKETS_SECONDS: [f64; 9] = [1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0];
/// From a decision to the first byte upstream: 1 ms to 5 s.
pub(super) const RELEASE_BUCKETS_SECONDS: [f64; 8] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.25, 1.0, 5.0];
/// Durable writes and reads: 0.1 ms to 1 s.
pub(super) const STORE_BUCKETS_SECONDS: [f64; 8] = [0.000_1, 0.000_5, 0.001, 0.005, 0.025, 0.1, 0.25, 1.0];

fn registered<C: Collector + Clone + 'static>(registry: &Registry, family: C) -> C {
    registry.register(Box::new(family.clone())).expect(CONSTANTS);
    family
}

pub(super) fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    registered(registry, IntCounter::new(name, help).expect(CONSTANTS))
}

pub(super) fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(registry, IntCounterVec::new(Opts::new(name, help), labels).expect(CONSTANTS))
}

pub(super) fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    registered(registry, IntGauge::new(name, help).expect(CONSTANTS))
}

pub(super) fn gauge_seconds(registry: &Registry, name: &str, help: &str) -> Gauge {
    registered(registry, Gauge::new(name, help).expect(CONSTANTS))
}

pub(super) fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    registered(registry, IntGaugeVec::new(Opts::new(name, help), labels).expect(CONSTANTS))
}

/// A gauge that is always 1 and says something in its label.
pub(super) fn info(registry: &Registry, name: &str, help: &str, label: &str) -> GaugeVec {
    registered(registry, GaugeVec::new(Opts::new(name, help), &[label]).expect(CONSTANTS))
}

pub(super) fn histogram(registry: &Registry, name: &str, help: &str, buckets_seconds: &[f64]) -> Histogram {
    let opts = HistogramOpts::new(name, help).buckets(buckets_seconds.to_vec());
    registered(registry, Histogram::with_opts(opts).expect(CONSTANTS))
}

pub(super) fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets_seconds: &[f64],
) -> HistogramVec {
    let opts = HistogramOpts::new(name, help).buckets(buckets_seconds.to_vec());
    registered(registry, HistogramVec::new(opts, labels).expect(CONSTANTS))
}
