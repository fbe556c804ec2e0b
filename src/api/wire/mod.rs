//! What goes over the wire: the bodies that are read and the documents that are answered.
//!
//! Names here are the API's and change only by addition. Two views of an approval exist: [`approval::PublicApproval`] for the agent that
//! asked, which names no reviewer, and [`approval::Approval`] for reviewers, which shows everything. Both take the redacted preview; the raw
//! payload is not in the record they are made from.

pub mod approval;
pub mod policy;
pub(super) mod shape;
pub mod tools;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::time::Timestamp;

/// Asks for approval of an action that is no proxied call.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateApproval {
    /// What is to be done: 1 to 256 characters.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"\S"))]
    pub action: String,
    /// What a reviewer needs to know: any JSON value, shown with its digits and order as sent.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Value>")]
    pub context: Option<Box<RawValue>>,
    /// The trace it belongs to, at most 128 characters; without it, the one in `traceparent`.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub trace_id: Option<String>,
    /// How long it stays open, such as `30m`; an hour when left out, at most seven days.
    #[serde(default)]
    #[schemars(
        length(min = 2),
        regex(pattern = r"^([0-9]{1,3}d)?([0-9]{1,4}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?([0-9]{1,9}ms)?$")
    )]
    pub expires_in: Option<String>,
}

/// What a reviewer decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Let it happen.
    Approved,
    /// Refuse it.
    Rejected,
}

/// A decision.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decide {
    /// What is decided.
    #[serde(deserialize_with = "shape::name")]
    pub decision: Decision,
    /// For the caller and the trail: at most 2 000 characters.
    #[serde(default)]
    #[schemars(length(max = 2000))]
    pub reason: Option<String>,
    /// The payload hash that the reviewer saw; the decision is refused when it is not the one that is held.
    #[serde(default)]
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub payload_sha256: Option<String>,
}

/// One decision on many approvals.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkDecide {
    /// The approvals: 1 to 200, each once.
    #[schemars(length(min = 1, max = 200), extend("uniqueItems" = true))]
    pub ids: Vec<String>,
    /// What is decided on each.
    #[serde(deserialize_with = "shape::name")]
    pub decision: Decision,
    /// The reason for each: at most 2 000 characters.
    #[serde(default)]
    #[schemars(length(max = 2000))]
    pub reason: Option<String>,
}

/// Takes a pending approval back.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// Why: at most 2 000 characters.
    #[serde(default)]
    #[schemars(length(max = 2000))]
    pub reason: Option<String>,
}

/// What an unknown outcome was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResolvedOutcome {
    /// The call ran.
    Committed,
    /// It did not.
    NotCommitted,
}

/// Settles an unknown outcome.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resolve {
    /// What was found.
    #[serde(deserialize_with = "shape::name")]
    pub outcome: ResolvedOutcome,
    /// How: 1 to 2 000 characters.
    #[schemars(length(min = 1, max = 2000), regex(pattern = r"\S"))]
    pub note: String,
}

/// What became of one approval in a bulk decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BulkResult {
    /// The decision stands; short of a quorum, as a vote.
    Decided,
    /// Somebody was first.
    AlreadyDecided,
    /// Its time was over.
    Expired,
    /// Not for this reviewer, or not in bulk.
    Forbidden,
    /// There is none such.
    NotFound,
    /// The store could not write; nothing was decided.
    Unavailable,
}

/// One line of a bulk decision.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BulkLine {
    /// The id as it was sent.
    pub id: String,
    /// What became of it.
    pub result: BulkResult,
    /// The approval's status now.
    pub status: Option<&'static str>,
    /// Why, where it is not `decided`.
    pub detail: Option<String>,
}

/// What a bulk decision came to, in the order of the ids.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BulkAnswer {
    /// One line for each id.
    pub results: Vec<BulkLine>,
}

/// A page of the queue or the history.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ApprovalList {
    /// At most `limit`.
    pub approvals: Vec<approval::Approval>,
    /// Send it as `cursor`, with the same filters, for the next page; null at the end.
    pub next_cursor: Option<String>,
}

/// The queue in figures.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Stats {
    /// Pending approvals.
    pub pending: u64,
    /// Pending past their SLA.
    pub overdue: u64,
    /// When the oldest pending one was created.
    #[schemars(with = "Option<String>")]
    pub oldest_pending_at: Option<Timestamp>,
    /// Pending by rule and risk.
    pub by_rule: Vec<PendingByRule>,
    /// The server's clock.
    #[schemars(with = "String")]
    pub now: Timestamp,
}

/// Pending approvals of one rule and risk.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PendingByRule {
    /// The rule.
    pub rule: String,
    /// The risk.
    pub risk: &'static str,
    /// How many.
    pub pending: u64,
}
