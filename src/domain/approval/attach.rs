//! What an identical call finds: its own pending approval, a grant, a fresh refusal, or nothing.

use super::Approval;
use crate::domain::time::Timestamp;

/// What a new call should do, given the approvals of the same agent that share its fingerprint or its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attachment<'a> {
    /// Nothing that stands: ask.
    Ask,
    /// Its approval is pending and free to wait on.
    Pending(&'a Approval),
    /// Approved, unused, and still in time: take the permit.
    Grant(&'a Approval),
    /// Rejected a moment ago: the same refusal.
    Remembered(&'a Approval),
    /// The same key, and the call is being sent or has been: not again.
    Spent(&'a Approval),
    /// The same key was used for another call.
    KeyReused(&'a Approval),
}

/// Chooses, newest first. `same` are the approvals of the same agent with the same fingerprint or idempotency key.
pub fn choose<'a>(_new: &Approval, _same: &'a [Approval], _now: Timestamp) -> Attachment<'a> {
    Attachment::Ask
}
