//! The approval: the record that a reviewer decides, and the execution that hangs on it.
//!
//! Two machines in one record. `State` is the decision: it leaves `Pending` once and never changes again. `Execution`
//! is what became of the held call. [`transition`] is the only function that moves either.

pub mod attach;
mod decision;
mod event;
mod execution;
mod names;
pub mod rules;
#[cfg(test)]
mod samples;
mod transition;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use event::created;
pub use names::{Risk, SlaState, Status};
pub use transition::{Command, Doubt, Refusal, Step, Transition, transition};

use super::call::{Fingerprint, PayloadHash, Protocol};
use super::id::ApprovalId;
use super::identity::{AgentId, Channel};
use super::time::Timestamp;
use super::tools::CalledTool;

/// One approval, whole. Serialised as the store keeps it; the API has views of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// Counts the changes; a store writes a change only over the version it was computed from.
    pub version: u64,
    /// What is asked.
    pub subject: Subject,
    /// Under which terms, fixed when the call was parked.
    pub terms: Terms,
    /// When it was parked.
    pub created_at: Timestamp,
    /// Where the decision stands.
    pub state: State,
    /// Where the held call stands.
    pub execution: Execution,
    /// Approving votes so far, one a person, oldest first.
    pub votes: Vec<Vote>,
    /// Whether anybody still waits for the answer.
    pub caller: Caller,
    /// Set when the rule behind it changed or went after it was parked: the revision that changed it.
    pub stale_since: Option<String>,
}

/// What a reviewer is asked about. All text comes from the agent, redacted, and is inert wherever it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Who asks.
    pub agent: AgentId,
    /// The tool's name, or the action's for an approval that is no proxied call.
    pub name: String,
    /// One line for the queue.
    pub summary: String,
    /// The input as JSON text, redacted, digits and order as written: `{"args": …, "query": …}` or the action's context.
    pub preview: String,
    /// SHA-256 of the raw payload.
    pub payload_sha256: PayloadHash,
    /// Length of the raw payload.
    pub payload_bytes: u64,
    /// What binds this approval to one call; for an action, a digest of agent, action and payload.
    pub fingerprint: Fingerprint,
    /// The caller's `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// From `traceparent` or the body.
    pub trace_id: Option<String>,
    /// What is held, or that nothing is.
    pub kind: SubjectKind,
}

/// Whether an approval holds a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// Asked for through the API: the caller acts by itself once it is approved.
    Action,
    /// A parked call.
    Call(HeldCall),
}

/// The parked call's way upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldCall {
    /// The upstream's configured name.
    pub upstream: String,
    /// The HTTP method.
    pub method: String,
    /// Path and query as they would be sent, redacted: what a reviewer sees. What is sent is in the stored request.
    pub target: String,
    /// Who sends it once approved.
    pub release: ReleaseMode,
    /// What the upstream speaks.
    #[serde(default)]
    pub protocol: Protocol,
    /// The tool of an MCP call; `None` for plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<CalledTool>,
}

/// Who sends a call once it is approved. The default sends nothing that nobody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseMode {
    /// A live request with the same fingerprint.
    #[default]
    Attached,
    /// The gateway, from the stored request.
    Detached,
}

/// The terms fixed when the call was parked: a later policy does not change them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The rule's id, or its match text when it has no id; `default` for the policy's default; `api` for an action.
    pub rule: String,
    /// The rule's reason.
    pub reason: Option<String>,
    /// How much harm the call could do.
    pub risk: Risk,
    /// Who must approve.
    pub approvers: Vec<Slot>,
    /// From when on the decision is late.
    pub sla_at: Option<Timestamp>,
    /// When it expires undecided.
    pub expires_at: Timestamp,
    /// How long an approval waits for the caller that left.
    pub grant_ttl: Duration,
    /// How long an identical call is refused after a rejection.
    pub reject_memory: Duration,
    /// How long the result of a detached call is kept.
    pub result_ttl: Duration,
    /// The policy revision that parked it.
    pub policy_revision: String,
    /// SHA-256 over what the rule said then, in hexadecimal; `None` for the policy's default and for actions. Tells whether the
    /// rule has changed since.
    pub rule_digest: Option<String>,
}

/// A number of distinct approvals that are needed. No group means any reviewer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// The group that the approvers must belong to.
    pub group: Option<String>,
    /// How many of them; at least 1.
    pub count: u32,
}

/// Where the decision stands. Everything but `Pending` is final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nobody has decided.
    Pending,
    /// Enough reviewers approved.
    Approved(Decision),
    /// A reviewer rejected.
    Rejected(Decision),
    /// Nobody decided in time, which refuses.
    Expired {
        /// When that was recorded.
        at: Timestamp,
    },
    /// Taken back before a decision.
    Cancelled {
        /// Who took it back.
        by: Canceller,
        /// When.
        at: Timestamp,
        /// Why, where a reason is known.
        reason: Option<String>,
    },
}

/// A decision that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The reviewer whose word settled it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// How the reviewer was signed in.
    pub channel: Channel,
    /// What the reviewer wrote; goes back to the caller.
    pub reason: Option<String>,
}

/// An approving vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// The reviewer's id.
    pub by: String,
    /// The reviewer's groups when voting.
    pub groups: Vec<String>,
    /// When.
    pub at: Timestamp,
    /// How the reviewer was signed in.
    pub channel: Channel,
    /// What the reviewer wrote.
    pub reason: Option<String>,
}

/// Who took a pending approval back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Canceller {
    /// The agent that asked.
    Agent,
    /// A policy that would block the call by now.
    Policy,
    /// Whoever runs the gateway, with a command on its store.
    Operator,
}

/// Where the held call stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Execution {
    /// There is no call: an action.
    None,
    /// Not sent.
    Held,
    /// About to be sent or being sent. Durable before the first byte goes out.
    Releasing {
        /// When the permit was taken.
        at: Timestamp,
        /// The policy revision that allowed it at that moment.
        revision: String,
    },
    /// The upstream answered.
    Succeeded {
        /// When.
        at: Timestamp,
        /// The upstream's status code.
        status: u16,
    },
    /// Never sent.
    Failed {
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
        /// Whether the permit went back, so that a retry may use it while the grant lasts.
        permit: PermitFate,
    },
    /// May have run; never sent again.
    Unknown {
        /// When.
        at: Timestamp,
        /// What was seen.
        reason: String,
    },
    /// A reviewer found out what an unknown outcome was.
    Resolved {
        /// What was found.
        outcome: Settlement,
        /// By whom.
        by: String,
        /// When.
        at: Timestamp,
        /// What the reviewer wrote.
        note: String,
    },
}

/// What becomes of the permit when nothing was sent. The default spends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PermitFate {
    /// No retry may use it.
    #[default]
    Spent,
    /// A retry may use it while the grant lasts.
    Returned,
}

/// What a reviewer found an unknown outcome to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// It ran.
    Committed,
    /// It did not run.
    NotCommitted,
}

/// Whether anybody waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Caller {
    /// Live requests that wait.
    pub waiting: u32,
    /// When the last of them left.
    pub left_at: Option<Timestamp>,
}

impl Execution {
    /// The name used in the API and in metrics; `None` when there is no call.
    pub const fn as_str(&self) -> Option<&'static str> {
        match self {
            Execution::None => None,
            Execution::Held => Some("held"),
            Execution::Releasing { .. } => Some("releasing"),
            Execution::Succeeded { .. } => Some("succeeded"),
            Execution::Failed { .. } => Some("failed"),
            Execution::Unknown { .. } => Some("unknown"),
            Execution::Resolved { .. } => Some("resolved"),
        }
    }
}

impl State {
    /// The state's name.
    pub const fn status(&self) -> Status {
        match self {
            State::Pending => Status::Pending,
            State::Approved(_) => Status::Approved,
            State::Rejected(_) => Status::Rejected,
            State::Expired { .. } => Status::Expired,
            State::Cancelled { .. } => Status::Cancelled,
        }
    }

    /// When it was closed; `None` while pending.
    pub const fn closed_at(&self) -> Option<Timestamp> {
        match self {
            State::Pending => None,
            State::Approved(decision) | State::Rejected(decision) => Some(decision.at),
            State::Expired { at } | State::Cancelled { at, .. } => Some(*at),
        }
    }

    /// What the reviewer or the policy said for it.
    pub fn reason(&self) -> Option<&str> {
        match self {
            State::Approved(decision) | State::Rejected(decision) => decision.reason.as_deref(),
            State::Cancelled { reason, .. } => reason.as_deref(),
            State::Pending | State::Expired { .. } => None,
        }
    }
}

impl Approval {
    /// The decision's state by name.
    pub const fn status(&self) -> Status {
        self.state.status()
    }

    /// Until when an approval that nobody waited for may still be used by the same call; `None` unless approved.
    pub fn grant_expires_at(&self) -> Option<Timestamp> {
        match &self.state {
            State::Approved(decision) => Some(decision.at.plus(self.terms.grant_ttl)),
            State::Pending | State::Rejected(_) | State::Expired { .. } | State::Cancelled { .. } => None,
        }
    }

    /// The held call, if there is one.
    pub const fn call(&self) -> Option<&HeldCall> {
        match &self.subject.kind {
            SubjectKind::Call(call) => Some(call),
            SubjectKind::Action => None,
        }
    }
}
