//! Approvals to test with: one parked refund, and ways to vary it.

use std::time::Duration;

use super::{
    Approval, Caller, Decision, Execution, HeldCall, PermitFate, ReleaseMode, Risk, Settlement, Slot, State, Subject,
    SubjectKind, Terms, Vote,
};
use crate::domain::call::{Fingerprint, PayloadHash};
use crate::domain::id::ApprovalId;
use crate::domain::identity::{AgentId, Channel, Reviewer, ReviewerRole};
use crate::domain::time::Timestamp;

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000 + second * 1000)
}

/// A refund parked at second 0: needs one of finance, SLA 40 s, expires at 100, grant 50 s, memory 20 s, result 30 s.
pub(super) fn parked(seed: u8) -> Approval {
    Approval {
        id: ApprovalId::new(at(0), [seed; 16]),
        version: 0,
        subject: Subject {
            agent: AgentId("support-bot".to_owned()),
            name: "payments.refund".to_owned(),
            summary: "Refund 250 USD".to_owned(),
            preview: r#"{"args":{"amount_usd":250,"card_number":"canary"}}"#.to_owned(),
            payload_sha256: PayloadHash([7; 32]),
            payload_bytes: 31,
            fingerprint: Fingerprint([9; 32]),
            idempotency_key: None,
            trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned()),
            kind: SubjectKind::Call(HeldCall {
                upstream: "payments".to_owned(),
                method: "POST".to_owned(),
                target: "/refunds".to_owned(),
                release: ReleaseMode::Attached,
                protocol: crate::domain::call::Protocol::Http,
                tool: None,
            }),
        },
        terms: Terms {
            rule: "refund-large".to_owned(),
            reason: None,
            risk: Risk::High,
            approvers: vec![slot("finance", 1)],
            sla_at: Some(at(40)),
            expires_at: at(100),
            grant_ttl: Duration::from_secs(50),
            reject_memory: Duration::from_secs(20),
            result_ttl: Duration::from_secs(30),
            policy_revision: "r1".to_owned(),
            rule_digest: None,
        },
        created_at: at(0),
        state: State::Pending,
        execution: Execution::Held,
        votes: Vec::new(),
        caller: Caller { waiting: 1, left_at: None },
        stale_since: None,
    }
}

pub(super) fn slot(group: &str, count: u32) -> Slot {
    Slot { group: (group != "*").then(|| group.to_owned()), count }
}

pub(super) fn reviewer(id: &str, groups: &[&str]) -> Reviewer {
    Reviewer {
        id: id.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        role: ReviewerRole::Reviewer,
    }
}

pub(super) fn vote(id: &str, groups: &[&str]) -> Vote {
    Vote { by: id.to_owned(), groups: reviewer(id, groups).groups, at: at(1), channel: Channel::Api, reason: None }
}

/// Decided by alice at second 10.
pub(super) fn decision() -> Decision {
    Decision { by: "alice".to_owned(), at: at(10), channel: Channel::Api, reason: Some("fine".to_owned()) }
}

pub(super) fn approved(execution: Execution) -> Approval {
    let votes = vec![vote("alice", &["finance"])];
    Approval { state: State::Approved(decision()), execution, votes, version: 1, ..parked(1) }
}

pub(super) fn rejected() -> Approval {
    Approval { state: State::Rejected(decision()), version: 1, ..parked(1) }
}

pub(super) fn releasing() -> Execution {
    Execution::Releasing { at: at(11), revision: "r1".to_owned() }
}

pub(super) fn succeeded() -> Execution {
    Execution::Succeeded { at: at(12), status: 200 }
}

pub(super) fn failed(permit: PermitFate) -> Execution {
    Execution::Failed { at: at(12), reason: "connection refused".to_owned(), permit }
}

pub(super) fn unknown() -> Execution {
    Execution::Unknown { at: at(12), reason: "reset after sending".to_owned() }
}

pub(super) fn resolved() -> Execution {
    let note = "seen in the ledger".to_owned();
    Execution::Resolved { outcome: Settlement::Committed, by: "alice".to_owned(), at: at(13), note }
}

pub(super) fn detached(mut approval: Approval) -> Approval {
    if let SubjectKind::Call(call) = &mut approval.subject.kind {
        call.release = ReleaseMode::Detached;
    }
    approval
}

pub(super) fn action(mut approval: Approval) -> Approval {
    approval.subject.kind = SubjectKind::Action;
    approval.execution = Execution::None;
    approval
}

pub(super) fn nobody_waits(mut approval: Approval) -> Approval {
    approval.caller = Caller { waiting: 0, left_at: Some(at(5)) };
    approval
}

pub(super) fn with_key(mut approval: Approval, key: &str) -> Approval {
    approval.subject.idempotency_key = Some(key.to_owned());
    approval
}

pub(super) fn other_call(mut approval: Approval) -> Approval {
    approval.subject.fingerprint = Fingerprint([8; 32]);
    approval
}
