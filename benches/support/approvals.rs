//! Approvals of the size that real ones have.

use std::time::Duration;

use holdpoint::domain::approval::{
    Approval, Caller, Execution, HeldCall, ReleaseMode, Risk, Slot, State, Subject, SubjectKind, Terms,
};
use holdpoint::domain::call::{Fingerprint, PayloadHash, Protocol};
use holdpoint::domain::id::ApprovalId;
use holdpoint::domain::identity::AgentId;
use holdpoint::domain::time::Timestamp;

/// A call that nothing else is identical to, with a preview of about a kilobyte; its hash is spread as a real one is.
pub(crate) fn call(number: u64, now: Timestamp) -> Approval {
    let mut random = [0; 16];
    random[8..].copy_from_slice(&number.to_be_bytes());
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let mut fingerprint = [0; 32];
    fingerprint[..8].copy_from_slice(&spread);
    Approval {
        id: ApprovalId::new(Timestamp::from_millis(now.as_millis() + (number / 8) as i64), random),
        version: 0,
        subject: Subject {
            agent: AgentId(format!("agent-{}", number % 16)),
            name: "payments.refund".to_owned(),
            summary: format!("Refund {number} USD"),
            preview: format!("{{\"args\":{{\"amount_usd\":{number},\"note\":\"{}\"}}}}", "lorem ipsum ".repeat(85)),
            payload_sha256: PayloadHash(fingerprint),
            payload_bytes: 1060,
            fingerprint: Fingerprint(fingerprint),
            idempotency_key: None,
            trace_id: Some(format!(
                "{:032x}",
                u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
            )),
            kind: SubjectKind::Call(HeldCall {
                upstream: "payments".to_owned(),
                method: "POST".to_owned(),
                target: "/refunds".to_owned(),
                release: ReleaseMode::Attached,
                protocol: Protocol::Http,
                tool: None,
            }),
        },
        terms: Terms {
            rule: "refund-large".to_owned(),
            reason: Some("Refunds over $100 need finance.".to_owned()),
            risk: Risk::High,
            approvers: vec![Slot { group: Some("finance".to_owned()), count: 1 }],
            sla_at: Some(now.plus(Duration::from_secs(900))),
            expires_at: now.plus(Duration::from_secs(3600)),
            grant_ttl: Duration::from_secs(600),
            reject_memory: Duration::from_secs(600),
            result_ttl: Duration::from_secs(600),
            policy_revision: "r1".to_owned(),
            rule_digest: None,
        },
        created_at: now,
        state: State::Pending,
        execution: Execution::Held,
        votes: Vec::new(),
        caller: Caller { waiting: 1, left_at: None },
        stale_since: None,
    }
}
