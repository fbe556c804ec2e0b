//! A store in memory with the atomicity that the trait asks for: each method works on a draft and puts it in force whole, or
//! not at all. The store's own suite (`tests/it/store_conformance`) runs on it.
//!
//! It keeps no tools: the simulated upstreams list none. [`Plant`] makes it break one promise, so that it can be shown that the
//! simulation notices.

mod reading;
mod writing;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use holdpoint::domain::approval::{Approval, Command};
use holdpoint::domain::audit::{Event, Head, Record};
use holdpoint::domain::id::ApprovalId;
use holdpoint::domain::time::Timestamp;
use holdpoint::domain::tools::Tool;
use holdpoint::store::tools::{AcceptTool, Listed, ListedUpstream, Listing, ToolAccepted, ToolFilter, ToolPage};
use holdpoint::store::{
    Applied, AuditFilter, Error, Filter, Page, Park, Parked, QueueFigures, Recovery, Session, Store, StoreSize,
    StoredRequest, StoredResult,
};

/// A promise that the model breaks on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plant {
    /// Now and then a change is acknowledged and not kept.
    LostCommit,
    /// A decision, an expiry or a withdrawal takes the place of the one that was first.
    DecideOverwrites,
    /// A permit that is in use can be taken once more.
    DoubleTake,
    /// What was refused becomes pending again when the store tidies up.
    Resurrection,
    /// Recovery takes a call that was being sent for one that was not.
    RecoveryForgets,
    /// Now and then a change is not written to the trail.
    SilentChange,
    /// One vote is enough.
    QuorumOfOne,
    /// Timers run ahead of their deadline.
    EarlyExpiry,
    /// A decision is kept, and whoever made it is told that it was so before: nobody is woken.
    WakesNobody,
}

/// What is stored.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) approvals: BTreeMap<ApprovalId, Approval>,
    pub(crate) trail: Vec<(Option<ApprovalId>, Record)>,
    requests: BTreeMap<ApprovalId, StoredRequest>,
    results: BTreeMap<ApprovalId, StoredResult>,
    sessions: BTreeMap<[u8; 32], Session>,
    writes: u64,
}

impl State {
    pub(crate) fn head(&self) -> Head {
        self.trail.last().map_or(Head::EMPTY, |(_, record)| Head { seq: record.seq, hash: record.hash })
    }
}

/// The store.
#[derive(Debug, Default)]
pub(crate) struct Model {
    state: Mutex<State>,
    plant: Option<Plant>,
}

impl Model {
    pub(crate) fn with(plant: Option<Plant>) -> Self {
        Self { state: Mutex::default(), plant }
    }

    /// Shows what is stored.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no method panics half-way")
    }
}

fn no_tools<T>() -> Result<T, Error> {
    Err(Error::Unavailable("the model keeps no tools".to_owned()))
}

#[async_trait]
impl Store for Model {
    async fn park(&self, park: Park, now: Timestamp) -> Result<Parked, Error> {
        self.write(|draft| draft.park(&park, now))
    }

    async fn apply(&self, id: ApprovalId, command: Command, now: Timestamp) -> Result<Applied, Error> {
        self.write(|draft| draft.apply(id, &command, now))
    }

    async fn finish(
        &self,
        id: ApprovalId,
        command: Command,
        result: Option<StoredResult>,
        now: Timestamp,
    ) -> Result<Applied, Error> {
        self.write(|draft| draft.finish(id, &command, result, now))
    }

    async fn record(&self, event: Event) -> Result<(), Error> {
        self.write(|draft| {
            draft.append(&event);
            Ok(())
        })
    }

    async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, Error> {
        Ok(self.lock().approvals.get(&id).cloned())
    }

    async fn list(&self, filter: Filter, after: Option<ApprovalId>, limit: u32, now: Timestamp) -> Result<Page, Error> {
        Ok(reading::list(&self.lock(), &filter, after, limit, now))
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<(ApprovalId, Timestamp)>, Error> {
        let early = self.plant == Some(Plant::EarlyExpiry);
        Ok(reading::due(&self.lock(), if early { writing::ahead(now) } else { now }, limit))
    }

    async fn ready(&self, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>, Error> {
        Ok(reading::ready(&self.lock(), now, limit))
    }

    async fn request(&self, id: ApprovalId) -> Result<Option<StoredRequest>, Error> {
        Ok(self.lock().requests.get(&id).cloned())
    }

    async fn result(&self, id: ApprovalId, now: Timestamp) -> Result<Option<StoredResult>, Error> {
        Ok(self.lock().results.get(&id).filter(|kept| now < kept.expires_at).cloned())
    }

    async fn figures(&self, now: Timestamp) -> Result<QueueFigures, Error> {
        Ok(reading::figures(&self.lock(), now))
    }

    async fn audit(&self, filter: AuditFilter, limit: u32) -> Result<Vec<Record>, Error> {
        Ok(reading::audit(&self.lock(), &filter, limit))
    }

    async fn audit_head(&self) -> Result<u64, Error> {
        Ok(self.lock().head().seq)
    }

    async fn recover(&self, now: Timestamp) -> Result<Recovery, Error> {
        self.write(|draft| draft.recover(now))
    }

    async fn forget(&self, now: Timestamp) -> Result<u64, Error> {
        self.write(|draft| Ok(draft.forget(now)))
    }

    async fn open_session(&self, session: Session, event: Event) -> Result<(), Error> {
        self.write(|draft| draft.open_session(session, &event))
    }

    async fn session(&self, id_sha256: [u8; 32], now: Timestamp) -> Result<Option<Session>, Error> {
        Ok(self.lock().sessions.get(&id_sha256).filter(|session| now < session.expires_at).cloned())
    }

    async fn close_session(&self, id_sha256: [u8; 32], event: Event) -> Result<(), Error> {
        self.write(|draft| {
            draft.close_session(id_sha256, &event);
            Ok(())
        })
    }

    async fn list_tools(&self, _: Listing, _: Timestamp) -> Result<Listed, Error> {
        no_tools()
    }

    async fn accept_tool(&self, _: AcceptTool, _: Timestamp) -> Result<ToolAccepted, Error> {
        no_tools()
    }

    async fn tool(&self, _: String, _: String) -> Result<Option<Tool>, Error> {
        Ok(None)
    }

    async fn tools(&self, _: ToolFilter, _: Option<(String, String)>, _: u32) -> Result<ToolPage, Error> {
        Ok(ToolPage { tools: Vec::new(), next: None })
    }

    async fn listed_upstreams(&self) -> Result<Vec<ListedUpstream>, Error> {
        Ok(Vec::new())
    }

    async fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn size(&self) -> Result<StoreSize, Error> {
        Ok(StoreSize::default())
    }
}
