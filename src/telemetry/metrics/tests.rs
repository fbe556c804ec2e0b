use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;
use crate::domain::approval::{Caller, Canceller, Decision, Execution, Risk, State, Subject, SubjectKind, Terms};
use crate::domain::call::{Fingerprint, PayloadHash};
use crate::domain::id::ApprovalId;
use crate::domain::identity::AgentId;

fn rule(label: &str, verdict: Verdict) -> KnownRule {
    KnownRule { label: label.to_owned(), verdict, mode: Mode::Enforce, risk: Risk::High }
}

fn metrics(rules: &[KnownRule]) -> Metrics {
    Metrics::new("1.2.3", Known { upstreams: &["payments".to_owned()], rules })
}

/// The value of the series that begins with `series`, as text.
fn value<'a>(text: &'a str, series: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
}

fn series(text: &str) -> usize {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count()
}

fn many(prefix: &str, count: usize) -> Vec<KnownRule> {
    (0..count).map(|i| rule(&format!("{prefix}-{i}"), Verdict::WaitingForApproval)).collect()
}

/// Touches everything there is to touch, for each of `labels`.
fn exercise(metrics: &Metrics, labels: &[String]) {
    let figures = QueueFigures {
        pending: labels.iter().flat_map(|label| Risk::ALL.map(|risk| (label.clone(), risk, 1))).collect(),
        overdue: labels.iter().map(|label| (label.clone(), 1)).collect(),
        oldest: None,
    };
    metrics.queue(&figures);
    for label in labels {
        let rule = metrics.rule(label);
        rule.judged();
        Source::ALL.iter().for_each(|source| rule.created(*source));
        ClosedAs::ALL.iter().for_each(|result| rule.closed(*result));
        SlaOutcome::ALL.iter().for_each(|outcome| rule.sla(*outcome));
    }
    metrics.policy_revision("abc");
}

#[test]
fn sixty_rules_and_ten_upstreams_make_fewer_than_two_thousand_series() {
    let upstreams: Vec<_> = (0..10).map(|i| format!("upstream-{i}")).collect();
    let metrics = Metrics::new("1", Known { upstreams: &upstreams, rules: &many("first", 60) });
    exercise(&metrics, &many("first", 60).into_iter().map(|rule| rule.label).collect::<Vec<_>>());
    let text = metrics.render();
    assert!(series(&text) < 2_000, "{}", series(&text));
    let named = (0..60).filter(|i| text.contains(&format!("rule=\"first-{i}\""))).count();
    assert_eq!(named, RULES_NAMED_MAX);
    assert_eq!(value(&text, r#"holdpoint_approvals_closed_total{result="approved",rule="other"}"#), Some("10"));
}

#[test]
fn no_configuration_and_no_number_of_reloads_make_more_than_two_thousand_series() {
    let upstreams: Vec<_> = (0..100).map(|i| format!("upstream-{i}")).collect();
    let metrics = Metrics::new("1", Known { upstreams: &upstreams, rules: &[] });
    for generation in ["a", "b", "c", "d"] {
        let rules = many(generation, 300);
        metrics.known_rules(&rules);
        exercise(&metrics, &rules.into_iter().map(|rule| rule.label).collect::<Vec<_>>());
    }
    let text = metrics.render();
    assert!(series(&text) < 2_000, "{}", series(&text));
    assert!(!text.contains("rule=\"c-0\""), "a rule that went keeps no series");
    assert!(text.contains("upstream=\"upstream-0\"") && text.contains("upstream=\"other\""));
}

#[test]
fn what_is_known_exists_at_zero_before_anything_happens() {
    let text = metrics(&[rule("refund", Verdict::WaitingForApproval), rule("no-deletes", Verdict::Blocked)]).render();
    for series in [
        r#"holdpoint_requests_total{upstream="payments",verdict="WAITING_FOR_APPROVAL"}"#,
        r#"holdpoint_rejected_requests_total{reason="body_not_allowed"}"#,
        r#"holdpoint_policy_verdicts_total{mode="enforce",rule="no-deletes",verdict="BLOCKED"}"#,
        r#"holdpoint_approvals_pending{risk="high",rule="refund"}"#,
        r#"holdpoint_approvals_created_total{rule="api",source="sdk"}"#,
        r#"holdpoint_approvals_closed_total{result="expired",rule="refund"}"#,
        r#"holdpoint_approval_sla_total{outcome="breached",rule="refund"}"#,
        r#"holdpoint_approval_wait_seconds_count{result="rejected"}"#,
        r#"holdpoint_decisions_total{batch="bulk",channel="dashboard",decision="rejected"}"#,
        r#"holdpoint_releases_total{outcome="unknown",upstream="payments"}"#,
        r#"holdpoint_integrity_violations_total{kind="fingerprint_mismatch"}"#,
        r#"holdpoint_store_errors_total{op="park"}"#,
        r#"holdpoint_admin_auth_failures_total{method="token"}"#,
        "holdpoint_calls_abandoned_total",
        "holdpoint_approvals_oldest_pending_timestamp_seconds",
    ] {
        assert_eq!(value(&text, series), Some("0"), "{series}");
    }
    assert_eq!(value(&text, r#"holdpoint_build_info{version="1.2.3"}"#), Some("1"));
    assert!(text.contains("process_resident_memory_bytes"));
}

#[test]
fn every_label_counts_in_its_own_series() {
    let metrics = metrics(&[]);
    for (i, reason) in RejectReason::ALL.iter().enumerate() {
        for _ in 0..=i {
            metrics.rejected(*reason);
        }
    }
    let upstream = metrics.upstream("payments");
    upstream.request(Verdict::Blocked);
    upstream.release(ReleaseOutcome::Unknown);
    upstream.upstream_request(UpstreamOutcome::TimedOut, Duration::from_secs(1));
    let text = metrics.render();
    for (i, reason) in RejectReason::ALL.iter().enumerate() {
        let series = format!("holdpoint_rejected_requests_total{{reason=\"{}\"}}", reason.as_str());
        assert_eq!(value(&text, &series), Some((i + 1).to_string().as_str()), "{series}");
    }
    assert_eq!(value(&text, r#"holdpoint_requests_total{upstream="payments",verdict="BLOCKED"}"#), Some("1"));
    assert_eq!(value(&text, r#"holdpoint_requests_total{upstream="payments",verdict="ALLOWED"}"#), Some("0"));
    assert_eq!(value(&text, r#"holdpoint_releases_total{outcome="unknown",upstream="payments"}"#), Some("1"));
    let count = r#"holdpoint_upstream_request_duration_seconds_count{outcome="timed_out",upstream="payments"}"#;
    assert_eq!(value(&text, count), Some("1"));
}

#[test]
fn a_rule_that_stays_over_a_reload_goes_on_counting_and_one_that_went_counts_as_other() {
    let metrics = metrics(&[rule("stays", Verdict::WaitingForApproval), rule("goes", Verdict::WaitingForApproval)]);
    metrics.rule("stays").closed(ClosedAs::Approved);
    metrics.rule("goes").closed(ClosedAs::Approved);
    let handles = metrics.known_rules(&[rule("stays", Verdict::WaitingForApproval)]);
    handles[0].closed(ClosedAs::Approved);
    metrics.rule("goes").closed(ClosedAs::Approved);
    let text = metrics.render();
    let closed =
        |rule: &str| value(&text, &format!("holdpoint_approvals_closed_total{{result=\"approved\",rule=\"{rule}\"}}"));
    assert_eq!((closed("stays"), closed("goes"), closed("other")), (Some("2"), None, Some("1")));
}

#[test]
fn the_queue_gauges_follow_the_figures_and_fall_back_to_zero() {
    let metrics = metrics(&[rule("refund", Verdict::WaitingForApproval)]);
    metrics.queue(&QueueFigures {
        pending: vec![
            ("refund".to_owned(), Risk::High, 3),
            ("refund".to_owned(), Risk::Low, 2),
            ("gone".to_owned(), Risk::Low, 4),
            (API_RULE.to_owned(), Risk::Critical, 5),
        ],
        overdue: vec![("refund".to_owned(), 1), ("gone".to_owned(), 1)],
        oldest: Some(Timestamp::from_millis(1_500)),
    });
    let text = metrics.render();
    let pending = |text: &str, rule: &str, risk: &str| {
        value(text, &format!("holdpoint_approvals_pending{{risk=\"{risk}\",rule=\"{rule}\"}}")).map(str::to_owned)
    };
    assert_eq!(pending(&text, "refund", "high").as_deref(), Some("3"));
    assert_eq!(pending(&text, "refund", "low"), None, "an old approval at another risk has no series of its own");
    assert_eq!(pending(&text, "other", "low").as_deref(), Some("6"));
    assert_eq!(pending(&text, "api", "critical").as_deref(), Some("5"));
    assert_eq!(value(&text, r#"holdpoint_approvals_overdue{rule="refund"}"#), Some("1"));
    assert_eq!(value(&text, "holdpoint_approvals_oldest_pending_timestamp_seconds"), Some("1.5"));
    metrics.queue(&QueueFigures::default());
    let text = metrics.render();
    assert_eq!(pending(&text, "refund", "high").as_deref(), Some("0"));
    assert_eq!(pending(&text, "other", "low").as_deref(), Some("0"));
    assert_eq!(value(&text, "holdpoint_approvals_oldest_pending_timestamp_seconds"), Some("0"));
}

#[test]
fn what_is_counted_while_it_lives_is_given_back() {
    let metrics = metrics(&[]);
    let held = metrics.held(1_024);
    let flight = metrics.release_in_flight();
    let text = metrics.render();
    assert_eq!(value(&text, "holdpoint_held_connections"), Some("1"));
    assert_eq!(value(&text, "holdpoint_held_bytes"), Some("1024"));
    assert_eq!(value(&text, "holdpoint_releases_in_flight"), Some("1"));
    drop((held, flight));
    let text = metrics.render();
    for series in ["holdpoint_held_connections", "holdpoint_held_bytes", "holdpoint_releases_in_flight"] {
        assert_eq!(value(&text, series), Some("0"), "{series}");
    }
}

#[test]
fn only_the_policy_revision_in_force_is_named() {
    let metrics = metrics(&[]);
    metrics.policy_revision("one");
    metrics.policy_revision("two");
    let text = metrics.render();
    assert_eq!(value(&text, r#"holdpoint_policy_info{revision="two"}"#), Some("1"));
    assert!(!text.contains("revision=\"one\""));
}

#[test]
fn promtool_finds_nothing_to_say() {
    let metrics = metrics(&[rule("a \"quoted\" \\ rule", Verdict::Blocked)]);
    exercise(&metrics, &["a \"quoted\" \\ rule".to_owned()]);
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = spawned else { return }; // Not installed: nothing to ask.
    child.stdin.take().expect("piped").write_all(metrics.render().as_bytes()).expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

/// An approval asked for at second 0 and due at second 60.
fn closed(state: State) -> Approval {
    Approval {
        id: ApprovalId::new(Timestamp::from_millis(0), [0; 16]),
        version: 1,
        subject: Subject {
            agent: AgentId("bot".to_owned()),
            name: "refund".to_owned(),
            summary: String::new(),
            preview: "{}".to_owned(),
            payload_sha256: PayloadHash([0; 32]),
            payload_bytes: 2,
            fingerprint: Fingerprint([0; 32]),
            idempotency_key: None,
            trace_id: None,
            kind: SubjectKind::Action,
        },
        terms: Terms {
            rule: "refund".to_owned(),
            reason: None,
            risk: Risk::High,
            approvers: Vec::new(),
            sla_at: Some(Timestamp::from_millis(60_000)),
            expires_at: Timestamp::from_millis(90_000),
            grant_ttl: Duration::ZERO,
            reject_memory: Duration::ZERO,
            result_ttl: Duration::ZERO,
            policy_revision: "one".to_owned(),
            rule_digest: None,
        },
        created_at: Timestamp::from_millis(0),
        state,
        execution: Execution::None,
        votes: Vec::new(),
        caller: Caller::default(),
        stale_since: None,
    }
}

#[test]
fn a_closed_approval_counts_its_result_its_waiting_time_and_its_sla() {
    let at = Timestamp::from_millis;
    let decision = |millis| Decision { by: "alice".to_owned(), at: at(millis), channel: Channel::Api, reason: None };
    let cancelled = State::Cancelled { by: Canceller::Agent, at: at(1), reason: None };
    for (state, millis, result, sla) in [
        (State::Approved(decision(60_000)), 60_000, "approved", Some("met")),
        (State::Rejected(decision(60_001)), 60_001, "rejected", Some("breached")),
        (State::Expired { at: at(90_000) }, 90_000, "expired", Some("expired")),
        (cancelled, 1, "cancelled", None),
    ] {
        let metrics = metrics(&[rule("refund", Verdict::WaitingForApproval)]);
        metrics.approval_closed(&closed(state), at(millis));
        let text = metrics.render();
        let counted = |series: String| value(&text, &series).map(str::to_owned);
        let closed = counted(format!("holdpoint_approvals_closed_total{{result=\"{result}\",rule=\"refund\"}}"));
        assert_eq!(closed.as_deref(), Some("1"), "{result}");
        let waited = counted(format!("holdpoint_approval_wait_seconds_sum{{result=\"{result}\"}}"));
        assert_eq!(waited, Some((millis as f64 / 1000.0).to_string()), "{result}");
        for outcome in SlaOutcome::ALL {
            let counted =
                counted(format!("holdpoint_approval_sla_total{{outcome=\"{}\",rule=\"refund\"}}", outcome.as_str()));
            let expected = if sla == Some(outcome.as_str()) { "1" } else { "0" };
            assert_eq!(counted.as_deref(), Some(expected), "{result} {}", outcome.as_str());
        }
    }
}

#[test]
fn an_approval_that_is_still_pending_is_not_counted_as_closed() {
    let metrics = metrics(&[rule("refund", Verdict::WaitingForApproval)]);
    let before = metrics.render();
    metrics.approval_closed(&closed(State::Pending), Timestamp::from_millis(1));
    let ours =
        |text: &str| text.lines().filter(|line| line.starts_with("holdpoint_")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(ours(&before), ours(&metrics.render()));
}
