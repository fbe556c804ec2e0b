//! The words that the API, queries and metrics use: statuses, risks, SLA states.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The states by name, as in the API, in queries and in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody has decided.
    Pending,
    /// Enough reviewers approved.
    Approved,
    /// A reviewer rejected.
    Rejected,
    /// Nobody decided in time.
    Expired,
    /// Taken back before a decision.
    Cancelled,
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 5] =
        [Status::Pending, Status::Approved, Status::Rejected, Status::Expired, Status::Cancelled];

    /// The name used in the API and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Approved => "approved",
            Status::Rejected => "rejected",
            Status::Expired => "expired",
            Status::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How much harm a call could do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Little.
    Low,
    /// Some; what a rule has that names none.
    #[default]
    Medium,
    /// Much.
    High,
    /// Left out of bulk decisions.
    Critical,
}

impl Risk {
    /// Every risk, least first.
    pub const ALL: [Risk; 4] = [Risk::Low, Risk::Medium, Risk::High, Risk::Critical];

    /// The name used in YAML, in the API and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Risk::Low => "low",
            Risk::Medium => "medium",
            Risk::High => "high",
            Risk::Critical => "critical",
        }
    }
}

/// What the SLA badge shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlaState {
    /// In time, or no SLA.
    Ok,
    /// Less than a quarter of the time is left.
    DueSoon,
    /// Decided late, or still undecided past the time.
    Breached,
    /// Never decided.
    Expired,
}

impl SlaState {
    /// Every SLA state, best first.
    pub const ALL: [SlaState; 4] = [SlaState::Ok, SlaState::DueSoon, SlaState::Breached, SlaState::Expired];

    /// The name used in the API and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            SlaState::Ok => "ok",
            SlaState::DueSoon => "due_soon",
            SlaState::Breached => "breached",
            SlaState::Expired => "expired",
        }
    }
}
