//! Approvals, commands and small helpers for the suite.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdpoint::domain::approval::{
    Approval, Caller, Command, Execution, HeldCall, ReleaseMode, Risk, Slot, State, Subject, SubjectKind, Terms,
};
use holdpoint::domain::audit::{Actor, Event, EventKind, Record, verify_to};
use holdpoint::domain::call::{Fingerprint, PayloadHash};
use holdpoint::domain::id::ApprovalId;
use holdpoint::domain::identity::{AgentId, Channel, Reviewer, ReviewerRole};
use holdpoint::domain::time::Timestamp;
use holdpoint::store::{Applied, AuditFilter, Park, Parked, Store};

static NEXT: AtomicU64 = AtomicU64::new(1);

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000 + second * 1000)
}

/// A call parked at `second` that nothing else is identical to; expires 100 s later.
pub(super) fn call(second: i64) -> Approval {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut random = [0; 16];
    random[8..].copy_from_slice(&number.to_be_bytes());
    let mut fingerprint = [0; 32];
    fingerprint[24..].copy_from_slice(&number.to_be_bytes());
    let subject = Subject {
        agent: AgentId("support-bot".to_owned()),
        name: "payments.refund".to_owned(),
        summary: format!("Refund {number} USD"),
        preview: r#"{"args":{"note":"Größe L"}}"#.to_owned(),
        payload_sha256: PayloadHash([7; 32]),
        payload_bytes: 31,
        fingerprint: Fingerprint(fingerprint),
        idempotency_key: None,
        trace_id: None,
        kind: SubjectKind::Call(HeldCall {
            upstream: "payments".to_owned(),
            method: "POST".to_owned(),
            target: "/refunds".to_owned(),
            release: ReleaseMode::Attached,
            protocol: holdpoint::domain::call::Protocol::Http,
            tool: None,
        }),
    };
    let terms = Terms {
        rule: "refund-large".to_owned(),
        reason: None,
        risk: Risk::High,
        approvers: vec![Slot { group: None, count: 1 }],
        sla_at: Some(at(second + 40)),
        expires_at: at(second + 100),
        grant_ttl: Duration::from_secs(50),
        reject_memory: Duration::from_secs(20),
        result_ttl: Duration::from_secs(30),
        policy_revision: "r1".to_owned(),
        rule_digest: None,
    };
    Approval {
        id: ApprovalId::new(at(second), random),
        version: 0,
        subject,
        terms,
        created_at: at(second),
        state: State::Pending,
        execution: Execution::Held,
        votes: Vec::new(),
        caller: Caller { waiting: 1, left_at: None },
        stale_since: None,
    }
}

/// The same call again, parked at `second` as an approval of its own.
pub(super) fn again(old: &Approval, second: i64) -> Approval {
    let new = call(second);
    let (subject, kind) = (old.subject.clone(), old.execution.clone());
    let execution = if kind == Execution::None { Execution::None } else { Execution::Held };
    Approval { subject, execution, ..new }
}

pub(super) fn with_key(mut approval: Approval, key: &str) -> Approval {
    approval.subject.idempotency_key = Some(key.to_owned());
    approval
}

pub(super) fn detached(mut approval: Approval) -> Approval {
    if let SubjectKind::Call(call) = &mut approval.subject.kind {
        call.release = ReleaseMode::Detached;
    }
    approval.caller.waiting = 0;
    approval
}

pub(super) fn action(mut approval: Approval) -> Approval {
    approval.subject.kind = SubjectKind::Action;
    approval.execution = Execution::None;
    approval.caller.waiting = 0;
    approval
}

pub(super) fn park_of(approval: Approval) -> Park {
    Park { approval, request: None, pending_per_agent_max: 1_000_000, pending_total_max: 1_000_000 }
}

/// Parks what must be new.
pub(super) async fn create(store: &Arc<dyn Store>, approval: Approval) -> Approval {
    let now = approval.created_at;
    match store.park(park_of(approval), now).await.expect("parks") {
        Parked::Created(approval) => approval,
        other => panic!("expected a new approval, got {other:?}"),
    }
}

/// What parking gave, by name, and the approval it names.
pub(super) async fn park(store: &Arc<dyn Store>, approval: Approval) -> (&'static str, Option<Approval>) {
    let now = approval.created_at;
    match store.park(park_of(approval), now).await.expect("answers") {
        Parked::Created(approval) => ("created", Some(approval)),
        Parked::Attached(approval) => ("attached", Some(approval)),
        Parked::Granted(approval) => ("granted", Some(approval)),
        Parked::Remembered(approval) => ("remembered", Some(approval)),
        Parked::Spent(approval) => ("spent", Some(approval)),
        Parked::KeyReused(approval) => ("key reused", Some(approval)),
        Parked::Standing(approval) => ("standing", Some(approval)),
        Parked::Full(_) => ("full", None),
    }
}

/// Applies what must change something.
pub(super) async fn change(store: &Arc<dyn Store>, id: ApprovalId, command: Command, second: i64) -> Approval {
    match store.apply(id, command.clone(), at(second)).await.expect("answers") {
        Applied::Changed(approval) => approval,
        other => panic!("{command:?} gave {other:?}"),
    }
}

fn reviewer(id: &str) -> Reviewer {
    Reviewer { id: id.to_owned(), groups: vec!["finance".to_owned()], role: ReviewerRole::Reviewer }
}

pub(super) fn approve(id: &str) -> Command {
    Command::Approve { reviewer: reviewer(id), channel: Channel::Api, reason: None, payload_sha256: None }
}

pub(super) fn reject(id: &str) -> Command {
    let reason = Some("too much".to_owned());
    Command::Reject { reviewer: reviewer(id), channel: Channel::Dashboard, reason, payload_sha256: None }
}

pub(super) fn begin(approval: &Approval) -> Command {
    Command::BeginRelease {
        agent: approval.subject.agent.clone(),
        fingerprint: approval.subject.fingerprint,
        revision: "r2".to_owned(),
    }
}

pub(super) fn event(kind: EventKind, second: i64) -> Event {
    Event { at: at(second), kind, actor: Actor::Gateway, approval: None, detail: serde_json::Map::new() }
}

/// The whole trail, page by page.
pub(super) async fn trail(store: &Arc<dyn Store>) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let after = records.last().map_or(0, |record| record.seq);
        let page = store.audit(AuditFilter { after, ..AuditFilter::default() }, 100).await.expect("reads");
        if page.is_empty() {
            return records;
        }
        records.extend(page);
    }
}

/// The trail's kinds of event about one approval, after checking that the whole trail is intact.
pub(super) async fn told_about(store: &Arc<dyn Store>, id: ApprovalId) -> Vec<String> {
    let newest = store.audit_head().await.expect("reads");
    verify_to(newest, trail(store).await).expect("the trail is intact");
    let filter = AuditFilter { approval: Some(id), ..AuditFilter::default() };
    let records = store.audit(filter, 1000).await.expect("reads");
    records.iter().map(kind).collect()
}

pub(super) fn kind(record: &Record) -> String {
    let event: Event = serde_json::from_str(&record.event).expect("an event");
    event.kind.as_str().to_owned()
}
