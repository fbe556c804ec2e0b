//! The audit trail: one record per event, each bound to the one before it by a hash.
//!
//! A store keeps the record's bytes as they were hashed; nothing re-serialises them.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::id::ApprovalId;
use super::time::Timestamp;

/// What happened, before it has a place in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
    /// Who.
    pub actor: Actor,
    /// Which approval it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalId>,
    /// What else is known, redacted: an object.
    pub detail: serde_json::Map<String, serde_json::Value>,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The gateway came up; names version and policy revision.
    Started,
    /// Configuration and policy were loaded anew.
    Reloaded,
    /// An `audit` verdict let a call through.
    CallAudited,
    /// Policy blocked a call.
    CallBlocked,
    /// A rule's condition could not be evaluated, and was taken the stricter way.
    ConditionFailed,
    /// Input was refused before policy.
    InputRefused,
    /// A call or an action was parked.
    ApprovalCreated,
    /// A caller began to wait again.
    CallerJoined,
    /// The last caller stopped waiting.
    CallerLeft,
    /// A reviewer's approval that does not settle it yet.
    ApprovalVoted,
    /// Approved.
    ApprovalApproved,
    /// Rejected.
    ApprovalRejected,
    /// Expired.
    ApprovalExpired,
    /// Taken back.
    ApprovalCancelled,
    /// Its rule changed after it was parked.
    ApprovalStale,
    /// The permit was taken.
    ReleaseStarted,
    /// Policy of the moment voided the permit.
    ReleaseRefused,
    /// The upstream answered.
    ReleaseSucceeded,
    /// Nothing was sent.
    ReleaseFailed,
    /// Nobody knows what it did.
    ReleaseUnknown,
    /// A reviewer settled an unknown outcome.
    ReleaseResolved,
    /// A reviewer signed in to the page.
    SignedIn,
    /// A reviewer signed out.
    SignedOut,
}

/// Who made an event happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The gateway itself: timers, recovery, reload.
    Gateway,
    /// An agent.
    Agent(String),
    /// A reviewer.
    Reviewer(String),
    /// Somebody who did not authenticate.
    Unauthenticated,
}

/// The hash that a record passes on to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    /// What the first record follows.
    pub const GENESIS: ChainHash = ChainHash([0; 32]);
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::call::to_hex(&self.0))
    }
}

/// An event in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Counts from 1 without gaps.
    pub seq: u64,
    /// The event as JSON text: the bytes that were hashed.
    pub event: String,
    /// The hash of the record before.
    pub previous: ChainHash,
    /// SHA-256 over the previous hash, the sequence number and the event's bytes.
    pub hash: ChainHash,
}

impl Record {
    /// Puts `event` behind the record numbered `seq - 1` whose hash is `previous`.
    pub fn link(previous: ChainHash, seq: u64, event: &Event) -> Self {
        let event = serde_json::to_string(event).expect("an event has only string keys and no failing serialiser");
        let hash = Self::digest(previous, seq, &event);
        Self { seq, event, previous, hash }
    }

    /// Whether the hash is the one these contents give.
    pub fn is_intact(&self) -> bool {
        Self::digest(self.previous, self.seq, &self.event) == self.hash
    }

    fn digest(previous: ChainHash, seq: u64, event: &str) -> ChainHash {
        let mut hasher = Sha256::new();
        hasher.update(previous.0);
        hasher.update(seq.to_be_bytes());
        hasher.update(event.as_bytes());
        ChainHash(hasher.finalize().into())
    }
}

impl EventKind {
    /// The name used in the trail and in the event stream.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventKind::Started => "started",
            EventKind::Reloaded => "reloaded",
            EventKind::CallAudited => "call_audited",
            EventKind::CallBlocked => "call_blocked",
            EventKind::ConditionFailed => "condition_failed",
            EventKind::InputRefused => "input_refused",
            EventKind::ApprovalCreated => "approval_created",
            EventKind::CallerJoined => "caller_joined",
            EventKind::CallerLeft => "caller_left",
            EventKind::ApprovalVoted => "approval_voted",
            EventKind::ApprovalApproved => "approval_approved",
            EventKind::ApprovalRejected => "approval_rejected",
            EventKind::ApprovalExpired => "approval_expired",
            EventKind::ApprovalCancelled => "approval_cancelled",
            EventKind::ApprovalStale => "approval_stale",
            EventKind::ReleaseStarted => "release_started",
            EventKind::ReleaseRefused => "release_refused",
            EventKind::ReleaseSucceeded => "release_succeeded",
            EventKind::ReleaseFailed => "release_failed",
            EventKind::ReleaseUnknown => "release_unknown",
            EventKind::ReleaseResolved => "release_resolved",
            EventKind::SignedIn => "signed_in",
            EventKind::SignedOut => "signed_out",
        }
    }
}
