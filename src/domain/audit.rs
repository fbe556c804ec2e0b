//! The audit trail: one record per event, each bound to the one before it by a hash.
//!
//! A store keeps the record's bytes as they were hashed; nothing re-serialises them. [`Record::to_line`] writes one down
//! so that it can be checked alone.

mod line;

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::id::ApprovalId;
use super::text::inert_json;
use super::time::Timestamp;

pub use line::{LINE_BYTES_MAX, LineError};

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
    /// An upstream listed a tool that was not known.
    ToolDefined,
    /// An upstream listed another definition of a known tool.
    ToolChanged,
    /// A reviewer accepted a tool's definition.
    ToolAccepted,
    /// A reviewer signed in to the page.
    SignedIn,
    /// A reviewer signed out.
    SignedOut,
    /// The store was restored from a backup: what happened after the record that it names is not in this trail.
    StoreRestored,
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
        // The trail is read in terminals and editors, and these bytes are never changed again.
        let event = inert_json(event);
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

/// The end of a chain: what the next record follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The newest record's sequence number; 0 when there is none.
    pub seq: u64,
    /// The newest record's hash.
    pub hash: ChainHash,
}

impl Head {
    /// The end of a chain without records.
    pub const EMPTY: Head = Head { seq: 0, hash: ChainHash::GENESIS };

    /// The record that `event` becomes behind this head.
    pub fn next(self, event: &Event) -> Record {
        Record::link(self.hash, self.seq + 1, event)
    }
}

/// The first record at which a chain is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("record {seq}: {fault}")]
pub struct BadRecord {
    /// The sequence number that should have been there.
    pub seq: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Another record stands in its place: records were deleted, inserted or swapped.
    #[error("record {found} stands in its place: records are missing, added or out of order")]
    OutOfPlace {
        /// The sequence number found there.
        found: u64,
    },
    /// It does not follow the record before it.
    #[error("it does not follow the record before it: one of the two was replaced")]
    Unlinked,
    /// Its hash is not the one its contents give.
    #[error("its hash is not the one its contents give: it was edited")]
    Edited,
    /// It stands behind the end that the store wrote down.
    #[error("it stands behind the end of the trail: it was added")]
    Added,
    /// Whole and in its place, and not the record that is known to have been there.
    #[error("it is not the record that is known to have stood there: it was replaced")]
    Replaced,
    /// A store files it under another approval than the one it is about.
    #[error("it is filed under another approval than the one it is about")]
    Misfiled,
    /// The chain ends before it.
    #[error("it is missing: the end of the trail was cut off")]
    CutOff,
}

/// Checks a trail from its first record on and returns where it ends. Reads each record once and keeps none.
///
/// A chain whose tail was cut off is intact as far as it goes: compare the end with the head that the store keeps
/// ([`verify_to`]), or with one that was kept elsewhere.
///
/// # Errors
/// The first bad record.
pub fn verify(records: impl IntoIterator<Item = Record>) -> Result<Head, BadRecord> {
    verify_from(Head::EMPTY, records)
}

/// As [`verify`], for the part of a trail behind `head`: a trail is checked page by page.
///
/// # Errors
/// The first bad record.
pub fn verify_from(head: Head, records: impl IntoIterator<Item = Record>) -> Result<Head, BadRecord> {
    records.into_iter().try_fold(head, |head, record| {
        let bad = |fault| BadRecord { seq: head.seq + 1, fault };
        if record.seq != head.seq + 1 {
            Err(bad(Fault::OutOfPlace { found: record.seq }))
        } else if !record.is_intact() {
            Err(bad(Fault::Edited))
        } else if record.previous != head.hash {
            Err(bad(Fault::Unlinked))
        } else {
            Ok(Head { seq: record.seq, hash: record.hash })
        }
    })
}

/// As [`verify`], and the trail must reach record `newest`.
///
/// # Errors
/// The first bad record; [`Fault::CutOff`] when the trail ends before `newest`.
pub fn verify_to(newest: u64, records: impl IntoIterator<Item = Record>) -> Result<Head, BadRecord> {
    let head = verify(records)?;
    if head.seq < newest { Err(BadRecord { seq: head.seq + 1, fault: Fault::CutOff }) } else { Ok(head) }
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
            EventKind::ToolDefined => "tool_defined",
            EventKind::ToolChanged => "tool_changed",
            EventKind::ToolAccepted => "tool_accepted",
            EventKind::SignedIn => "signed_in",
            EventKind::SignedOut => "signed_out",
            EventKind::StoreRestored => "store_restored",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trail(count: u64) -> Vec<Record> {
        let mut head = Head::EMPTY;
        let mut records = Vec::new();
        for second in 0..count {
            let detail = serde_json::Map::from_iter([("n".to_owned(), second.into())]);
            let at = Timestamp::from_millis(1_767_225_600_000);
            let record =
                head.next(&Event { at, kind: EventKind::Started, actor: Actor::Gateway, approval: None, detail });
            head = Head { seq: record.seq, hash: record.hash };
            records.push(record);
        }
        records
    }

    fn check(tamper: impl FnOnce(&mut Vec<Record>), seq: u64, fault: Fault) {
        let mut records = trail(5);
        tamper(&mut records);
        assert_eq!(verify_to(5, records), Err(BadRecord { seq, fault }));
    }

    #[test]
    fn an_untouched_trail_is_intact_whole_and_in_parts() {
        let records = trail(5);
        let head = verify(records.clone()).expect("untouched");
        assert_eq!((head.seq, head.hash), (5, records[4].hash));
        let half = verify(records[..2].to_vec()).expect("untouched");
        assert_eq!(verify_from(half, records[2..].to_vec()), Ok(head));
        assert_eq!(verify([]), Ok(Head::EMPTY));
    }

    #[test]
    fn edit_delete_swap_and_cut_tail_are_each_found_at_the_first_bad_record() {
        check(|records| records[2].event = records[2].event.replace('2', "7"), 3, Fault::Edited);
        check(|records| drop(records.remove(2)), 3, Fault::OutOfPlace { found: 4 });
        check(|records| records.swap(1, 3), 2, Fault::OutOfPlace { found: 4 });
        check(|records| records.truncate(3), 4, Fault::CutOff);
        check(|records| records.clear(), 1, Fault::CutOff);
        // An edited record with a hash to match no longer fits its neighbour.
        let reforge = |records: &mut Vec<Record>| {
            let event = records[2].event.replace('2', "7");
            let hash = Record::digest(records[2].previous, 3, &event);
            records[2] = Record { event, hash, ..records[2].clone() };
        };
        check(reforge, 4, Fault::Unlinked);
        // Two records whose numbers were swapped along with their places.
        check(
            |records| {
                records.swap(1, 3);
                records[1].seq = 2;
                records[3].seq = 4;
            },
            2,
            Fault::Edited,
        );
    }
}
