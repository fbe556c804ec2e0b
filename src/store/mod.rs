//! What is durable: approvals, their stored requests and results, the audit trail, sessions.
//!
//! [`Store`] says of each method what is one transaction. A method that returns `Ok` has its effect on disk; one that
//! returns `Err` has none, except [`Error::Unsure`]. Nothing here decides: what a command does is
//! [`transition`](crate::domain::approval::transition)'s to say, and a store applies it to the version it was computed from.

pub mod seal;
pub mod sqlite;
pub mod tools;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::approval::{Approval, Command, Refusal, Risk, SlaState, Status};
use crate::domain::audit::{Event, Record};
use crate::domain::id::ApprovalId;
use crate::domain::time::Timestamp;
use crate::domain::tools::Tool;
use tools::{AcceptTool, Listed, ListedUpstream, Listing, ToolAccepted, ToolFilter, ToolPage};

/// Why a store could not do it. The caller refuses the request it was for.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// It did not happen: disk full, I/O error, database locked by another, shutting down.
    #[error("the store cannot write: {0}")]
    Unavailable(String),
    /// The commit failed in a way that leaves open whether it is on disk; the store takes no more writes.
    #[error("the store cannot tell whether it wrote: {0}")]
    Unsure(String),
    /// What is stored cannot be read as what it must be.
    #[error("the store holds what it must not: {0}")]
    Corrupt(String),
    /// The store was made by a newer version.
    #[error("the store has schema {found}, this version knows up to {known}: upgrade, or use the store's own version")]
    TooNew {
        /// What the file says.
        found: u32,
        /// What this binary has.
        known: u32,
    },
    /// Another process has it open.
    #[error("the store is in use by another process")]
    InUse,
}

/// A new approval on its way in.
#[derive(Debug, Clone)]
pub struct Park {
    /// As it would be stored, version 0, pending, `caller` as the new caller leaves it.
    pub approval: Approval,
    /// The stored request of a detached call.
    pub request: Option<StoredRequest>,
    /// How many may be pending for this agent.
    pub pending_per_agent_max: u64,
    /// How many may be pending in all.
    pub pending_total_max: u64,
}

/// What became of a [`Park`].
#[derive(Debug, Clone)]
pub enum Parked {
    /// It is pending and new.
    Created(Approval),
    /// It shares a pending approval; the caller has been added to those who wait.
    Attached(Approval),
    /// A grant stands for it. Nothing was changed: take the permit with `BeginRelease`.
    Granted(Approval),
    /// It was rejected a moment ago.
    Remembered(Approval),
    /// The same idempotency key, and the call is being sent or has been.
    Spent(Approval),
    /// The same idempotency key with another call.
    KeyReused(Approval),
    /// An action that was asked for with this key before, in whatever state it is by now. Nothing was changed.
    Standing(Approval),
    /// Too many are pending; nothing was stored.
    Full(QueueLimit),
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueLimit {
    /// `limits.pending_per_agent_max`
    PerAgent,
    /// `limits.pending_total_max`
    Total,
}

/// What became of a command.
#[derive(Debug, Clone)]
pub enum Applied {
    /// The change is on disk; the approval after it.
    Changed(Approval),
    /// It was so already.
    Same(Approval),
    /// Refused; the approval as it stands.
    Refused(Approval, Refusal),
    /// There is no such approval.
    Missing,
}

/// The request of a detached call: what is needed to send it later. `sealed` is opaque to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRequest {
    /// Method, target, headers and body, encrypted.
    pub sealed: Vec<u8>,
}

/// The kept answer of a detached call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResult {
    /// Status, headers and body, encrypted.
    pub sealed: Vec<u8>,
    /// When it may be forgotten.
    pub expires_at: Timestamp,
}

/// Which approvals, in which order. Every filter is exact but `query`; absent means any.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Any of these states; empty means any.
    pub statuses: Vec<Status>,
    /// The tool or action.
    pub name: Option<String>,
    /// The rule.
    pub rule: Option<String>,
    /// The agent.
    pub agent: Option<String>,
    /// The risk.
    pub risk: Option<Risk>,
    /// The SLA state at `now`.
    pub sla: Option<SlaState>,
    /// The trace.
    pub trace_id: Option<String>,
    /// Text that stands in the summary, the name, the agent or the preview, in any case.
    pub query: Option<String>,
    /// Created at or after.
    pub since: Option<Timestamp>,
    /// Created before.
    pub until: Option<Timestamp>,
    /// Order by creation.
    pub sort: Sort,
}

/// The order of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// Newest first.
    #[default]
    Newest,
    /// Oldest first.
    Oldest,
}

/// A page of a listing.
#[derive(Debug, Clone)]
pub struct Page {
    /// At most the limit.
    pub approvals: Vec<Approval>,
    /// Where the next page starts: after this id. `None` at the end.
    pub next: Option<ApprovalId>,
}

/// The queue in figures.
#[derive(Debug, Clone, Default)]
pub struct QueueFigures {
    /// Pending, by rule and risk.
    pub pending: Vec<(String, Risk, u64)>,
    /// Pending past their SLA, by rule.
    pub overdue: Vec<(String, u64)>,
    /// When the oldest pending one was created.
    pub oldest: Option<Timestamp>,
}

/// A signed-in browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of the cookie's value; the value itself is never stored.
    pub id_sha256: [u8; 32],
    /// The reviewer's id; groups and role come from the configuration of the moment.
    pub reviewer: String,
    /// The token that forms must carry.
    pub csrf: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What [`Store::recover`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Releases that were in flight when the process ended: now unknown.
    pub unknown: u64,
    /// Approvals whose waiting callers are gone.
    pub left: u64,
}

/// Which records of the trail.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only records after this sequence number.
    pub after: u64,
    /// Only records about this approval.
    pub approval: Option<ApprovalId>,
    /// Only records about approvals: for the event stream.
    pub approvals_only: bool,
}

/// Everything durable. Methods are cancel-safe: dropping the future does not undo or half-do the work.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// One transaction: looks for approvals of the same agent with the same fingerprint or idempotency key, lets
    /// [`choose`](crate::domain::approval::attach::choose) say what to do, and does it: inserts the approval with its stored request and its
    /// `approval_created` record, or joins a pending one (`CallerJoined`), or changes nothing.
    async fn park(&self, park: Park, now: Timestamp) -> Result<Parked, Error>;

    /// One transaction: reads the approval, computes the transition, writes it over the version it was computed from,
    /// with its audit record. Of any number of racing commands that end `Pending`, one is `Changed`. Where it approves a call that
    /// showed a tool's definition whole, that definition is accepted with it, if it is still the current one (`tool_accepted`).
    async fn apply(&self, id: ApprovalId, command: Command, now: Timestamp) -> Result<Applied, Error>;

    /// One transaction: as [`Store::apply`] and keeps the result of a detached call with it.
    async fn finish(
        &self,
        id: ApprovalId,
        command: Command,
        result: Option<StoredResult>,
        now: Timestamp,
    ) -> Result<Applied, Error>;

    /// One transaction: writes one record of the trail that belongs to no approval's change.
    async fn record(&self, event: Event) -> Result<(), Error>;

    /// Reads one approval.
    async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, Error>;

    /// Reads a page of at most `limit` approvals behind `after`.
    async fn list(&self, filter: Filter, after: Option<ApprovalId>, limit: u32, now: Timestamp) -> Result<Page, Error>;

    /// Reads the pending approvals whose time is over at `now`, oldest deadline first, at most `limit`.
    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<(ApprovalId, Timestamp)>, Error>;

    /// Reads approved detached calls that the gateway itself should send at `now`, longest ready first, at most `limit`:
    /// never tried, or with a permit that came back
    /// [`DETACHED_RETRY_PAUSE`](crate::domain::approval::rules::DETACHED_RETRY_PAUSE) ago while the grant lasts.
    async fn ready(&self, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>, Error>;

    /// Reads the stored request of a detached call.
    async fn request(&self, id: ApprovalId) -> Result<Option<StoredRequest>, Error>;

    /// Reads the kept answer of a detached call, unless its time is over at `now`.
    async fn result(&self, id: ApprovalId, now: Timestamp) -> Result<Option<StoredResult>, Error>;

    /// Reads the queue's figures.
    async fn figures(&self, now: Timestamp) -> Result<QueueFigures, Error>;

    /// Reads at most `limit` records of the trail, oldest first.
    async fn audit(&self, filter: AuditFilter, limit: u32) -> Result<Vec<Record>, Error>;

    /// The sequence number of the newest record of the trail; 0 when there is none.
    async fn audit_head(&self) -> Result<u64, Error>;

    /// Run once at start, before anything is served: every release in flight becomes unknown, nobody waits any more. Idempotent.
    async fn recover(&self, now: Timestamp) -> Result<Recovery, Error>;

    /// Forgets results, stored requests that can no longer be sent, and sessions whose time is over. The request of an approved call
    /// whose permit is free is kept while its grant lasts: whoever comes back for it is served from there. Idempotent.
    async fn forget(&self, now: Timestamp) -> Result<u64, Error>;

    /// One transaction: stores a session and its `signed_in` record.
    async fn open_session(&self, session: Session, event: Event) -> Result<(), Error>;

    /// Reads a session that has not ended at `now`.
    async fn session(&self, id_sha256: [u8; 32], now: Timestamp) -> Result<Option<Session>, Error>;

    /// One transaction: ends a session, with its `signed_out` record.
    async fn close_session(&self, id_sha256: [u8; 32], event: Event) -> Result<(), Error>;

    /// One transaction: compares each definition with the one that is known and writes down what is different, each with its
    /// `tool_defined` or `tool_changed` record; or, when the upstream would have too many tools, nothing. A listing that tells
    /// nothing new writes nothing.
    async fn list_tools(&self, listing: Listing, now: Timestamp) -> Result<Listed, Error>;

    /// One transaction: accepts a tool's definition, with its `tool_accepted` record, if it is still the current one.
    async fn accept_tool(&self, wanted: AcceptTool, now: Timestamp) -> Result<ToolAccepted, Error>;

    /// Reads one tool.
    async fn tool(&self, upstream: String, name: String) -> Result<Option<Tool>, Error>;

    /// Reads a page of at most `limit` tools behind `after`, by upstream and name.
    async fn tools(&self, filter: ToolFilter, after: Option<(String, String)>, limit: u32) -> Result<ToolPage, Error>;

    /// Reads the upstreams that were listed.
    async fn listed_upstreams(&self) -> Result<Vec<ListedUpstream>, Error>;

    /// Whether a write would work now: used by `/readyz`.
    async fn check(&self) -> Result<(), Error>;

    /// Bytes on disk and bytes free for more, for metrics.
    async fn size(&self) -> Result<StoreSize, Error>;
}

/// How large the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreSize {
    /// The database and its log.
    pub used_bytes: u64,
    /// Free pages inside it that will be reused.
    pub free_bytes: u64,
}
