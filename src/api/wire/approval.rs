//! The two views of an approval: the agent's and the reviewers'.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::ResolvedOutcome;
use crate::domain::approval::{
    self, Canceller, Execution, PermitFate, ReleaseMode, Settlement, State, SubjectKind, rules,
};
use crate::domain::time::Timestamp;
use crate::web::listing::sla_name;

/// An approval as the agent that asked sees it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PublicApproval {
    /// The id.
    pub id: String,
    /// `pending`, `approved`, `rejected`, `expired` or `cancelled`.
    #[schemars(extend("enum" = ["pending", "approved", "rejected", "expired", "cancelled"]))]
    pub status: &'static str,
    /// What the reviewer or the policy said.
    pub reason: Option<String>,
    /// `call` or `action`.
    #[schemars(extend("enum" = ["call", "action"]))]
    pub kind: &'static str,
    /// The tool, or the action.
    pub name: String,
    /// The trace.
    pub trace_id: Option<String>,
    /// The rule that parked it; `api` for an action.
    pub rule: String,
    /// The rule's reason.
    pub rule_reason: Option<String>,
    /// `low`, `medium`, `high` or `critical`.
    #[schemars(extend("enum" = ["low", "medium", "high", "critical"]))]
    pub risk: &'static str,
    /// SHA-256 of the payload that was asked about.
    pub payload_sha256: String,
    /// When it was asked.
    #[schemars(with = "String")]
    pub requested_at: Timestamp,
    /// When it was closed.
    #[schemars(with = "Option<String>")]
    pub decided_at: Option<Timestamp>,
    /// When it expires undecided.
    #[schemars(with = "String")]
    pub expires_at: Timestamp,
    /// What became of the held call; null for an action.
    pub outcome: Option<Outcome>,
}

/// An approval as reviewers see it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Approval {
    /// What the agent sees as well.
    #[serde(flatten)]
    pub public: PublicApproval,
    /// Who asks.
    pub agent: String,
    /// One line.
    pub summary: String,
    /// The input, redacted, digits and order as sent.
    #[schemars(with = "serde_json::Value")]
    pub input: Box<RawValue>,
    /// Length of the raw payload in bytes.
    pub payload_bytes: u64,
    /// The upstream of a call.
    pub upstream: Option<String>,
    /// The HTTP method of a call.
    pub method: Option<String>,
    /// Path and query of a call.
    pub target: Option<String>,
    /// `attached` or `detached`; null for an action.
    pub release: Option<&'static str>,
    /// The policy revision that parked it.
    pub policy_revision: String,
    /// The revision since which its rule is another; null while it is not.
    pub stale_since: Option<String>,
    /// From when on a decision is late.
    #[schemars(with = "Option<String>")]
    pub sla_at: Option<Timestamp>,
    /// `ok`, `due_soon`, `breached` or `expired`.
    #[schemars(extend("enum" = ["ok", "due_soon", "breached", "expired"]))]
    pub sla: &'static str,
    /// Who must approve.
    pub approvers: Vec<Slot>,
    /// Approving votes so far.
    pub votes: Vec<Vote>,
    /// Who is still needed; empty once it is closed.
    pub still_needed: Vec<Slot>,
    /// Whether the caller still waits.
    pub caller: Caller,
    /// Who closed it, when, by what way; null while pending.
    pub decided_by: Option<DecidedBy>,
    /// Who settled an unknown outcome; null unless somebody did.
    pub resolution: Option<Resolution>,
    /// Until when a retry of the same call may use the approval; null unless approved.
    #[schemars(with = "Option<String>")]
    pub grant_expires_at: Option<Timestamp>,
}

/// Approvals that are needed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Slot {
    /// The group; null for any reviewer.
    pub group: Option<String>,
    /// How many distinct people.
    pub count: u32,
}

/// An approving vote.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Vote {
    /// Who.
    pub by: String,
    /// In which groups at that time.
    pub groups: Vec<String>,
    /// When.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// `api` or `dashboard`.
    pub channel: &'static str,
    /// What was said.
    pub reason: Option<String>,
}

/// Whether anybody waits for the answer.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Caller {
    /// Live requests that wait.
    pub waiting: u32,
    /// When the last of them left.
    #[schemars(with = "Option<String>")]
    pub left_at: Option<Timestamp>,
}

/// Who closed an approval.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DecidedBy {
    /// `reviewer`, `agent`, `policy`, `operator` or `gateway`.
    pub kind: &'static str,
    /// The reviewer's id.
    pub id: Option<String>,
    /// `api` or `dashboard`; null unless a reviewer.
    pub channel: Option<&'static str>,
    /// When.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// Why.
    pub reason: Option<String>,
}

/// How an unknown outcome was settled.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Resolution {
    /// What was found.
    pub outcome: ResolvedOutcome,
    /// By whom.
    pub by: String,
    /// When.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// How.
    pub note: String,
}

/// What became of a held call.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Outcome {
    /// `held`, `releasing`, `succeeded`, `failed`, `unknown` or `resolved`.
    #[schemars(extend("enum" = ["held", "releasing", "succeeded", "failed", "unknown", "resolved"]))]
    pub state: &'static str,
    /// Since when; null while held.
    #[schemars(with = "Option<String>")]
    pub at: Option<Timestamp>,
    /// The upstream's status, where it answered.
    pub upstream_status: Option<u16>,
    /// What was seen, where it failed or is unknown.
    pub detail: Option<String>,
    /// Whether the same call may be tried again under this approval; null unless it failed.
    pub retry_allowed: Option<bool>,
    /// What an unknown outcome was found to be.
    pub resolved: Option<ResolvedOutcome>,
}

impl PublicApproval {
    /// The view of the agent that asked.
    pub fn new(approval: &approval::Approval) -> Self {
        let (subject, terms) = (&approval.subject, &approval.terms);
        Self {
            id: approval.id.to_string(),
            status: approval.status().as_str(),
            reason: approval.state.reason().map(str::to_owned),
            kind: match subject.kind {
                SubjectKind::Action => "action",
                SubjectKind::Call(_) => "call",
            },
            name: subject.name.clone(),
            trace_id: subject.trace_id.clone(),
            rule: terms.rule.clone(),
            rule_reason: terms.reason.clone(),
            risk: terms.risk.as_str(),
            payload_sha256: subject.payload_sha256.to_string(),
            requested_at: approval.created_at,
            decided_at: approval.state.closed_at(),
            expires_at: terms.expires_at,
            outcome: Outcome::of(&approval.execution),
        }
    }
}

impl Approval {
    /// The view of reviewers at `now`.
    pub fn new(approval: &approval::Approval, now: Timestamp) -> Self {
        let (subject, terms, call) = (&approval.subject, &approval.terms, approval.call());
        let pending = approval.state == State::Pending;
        Self {
            public: PublicApproval::new(approval),
            agent: subject.agent.0.clone(),
            summary: subject.summary.clone(),
            input: raw(&subject.preview),
            payload_bytes: subject.payload_bytes,
            upstream: call.map(|call| call.upstream.clone()),
            method: call.map(|call| call.method.clone()),
            target: call.map(|call| call.target.clone()),
            release: call.map(|call| match call.release {
                ReleaseMode::Attached => "attached",
                ReleaseMode::Detached => "detached",
            }),
            policy_revision: terms.policy_revision.clone(),
            stale_since: approval.stale_since.clone(),
            sla_at: terms.sla_at,
            sla: sla_name(rules::sla_state(approval, now)),
            approvers: terms.approvers.iter().map(Slot::new).collect(),
            votes: approval.votes.iter().map(Vote::new).collect(),
            still_needed: if pending {
                rules::still_needed(approval).iter().map(Slot::new).collect()
            } else {
                Vec::new()
            },
            caller: Caller { waiting: approval.caller.waiting, left_at: approval.caller.left_at },
            decided_by: DecidedBy::of(&approval.state),
            resolution: Resolution::of(&approval.execution),
            // An action is its caller's own to do: there is no permit that could lapse.
            grant_expires_at: call.and(approval.grant_expires_at()),
        }
    }
}

/// The preview as the JSON it is. Were it not JSON, it would still be shown, as text.
fn raw(preview: &str) -> Box<RawValue> {
    RawValue::from_string(preview.to_owned()).unwrap_or_else(|_| {
        let text = serde_json::Value::from(preview).to_string();
        RawValue::from_string(text).expect("a JSON string is JSON")
    })
}

impl Slot {
    fn new(slot: &approval::Slot) -> Self {
        Self { group: slot.group.clone(), count: slot.count }
    }
}

impl Vote {
    fn new(vote: &approval::Vote) -> Self {
        Self {
            by: vote.by.clone(),
            groups: vote.groups.clone(),
            at: vote.at,
            channel: vote.channel.as_str(),
            reason: vote.reason.clone(),
        }
    }
}

impl DecidedBy {
    /// Who closed it; `None` while pending.
    pub fn of(state: &State) -> Option<Self> {
        let (kind, id, channel) = match state {
            State::Pending => return None,
            State::Approved(decision) | State::Rejected(decision) => {
                ("reviewer", Some(decision.by.clone()), Some(decision.channel.as_str()))
            }
            State::Expired { .. } => ("gateway", None, None),
            State::Cancelled { by: Canceller::Agent, .. } => ("agent", None, None),
            State::Cancelled { by: Canceller::Policy, .. } => ("policy", None, None),
            State::Cancelled { by: Canceller::Operator, .. } => ("operator", None, None),
        };
        Some(Self { kind, id, channel, at: state.closed_at()?, reason: state.reason().map(str::to_owned) })
    }
}

impl Outcome {
    fn of(execution: &Execution) -> Option<Self> {
        let state = execution.as_str()?;
        let nothing =
            Self { state, at: None, upstream_status: None, detail: None, retry_allowed: None, resolved: None };
        Some(match execution {
            Execution::None => return None,
            Execution::Held => nothing,
            Execution::Releasing { at, .. } => Self { at: Some(*at), ..nothing },
            Execution::Succeeded { at, status } => Self { at: Some(*at), upstream_status: Some(*status), ..nothing },
            Execution::Failed { at, reason, permit } => Self {
                at: Some(*at),
                detail: Some(reason.clone()),
                retry_allowed: Some(*permit == PermitFate::Returned),
                ..nothing
            },
            Execution::Unknown { at, reason } => Self { at: Some(*at), detail: Some(reason.clone()), ..nothing },
            Execution::Resolved { outcome, at, .. } => {
                Self { at: Some(*at), resolved: Some(ResolvedOutcome::of(*outcome)), ..nothing }
            }
        })
    }
}

impl Resolution {
    fn of(execution: &Execution) -> Option<Self> {
        match execution {
            Execution::Resolved { outcome, by, at, note } => {
                Some(Self { outcome: ResolvedOutcome::of(*outcome), by: by.clone(), at: *at, note: note.clone() })
            }
            Execution::None
            | Execution::Held
            | Execution::Releasing { .. }
            | Execution::Succeeded { .. }
            | Execution::Failed { .. }
            | Execution::Unknown { .. } => None,
        }
    }
}

impl ResolvedOutcome {
    fn of(outcome: Settlement) -> Self {
        match outcome {
            Settlement::Committed => Self::Committed,
            Settlement::NotCommitted => Self::NotCommitted,
        }
    }
}
