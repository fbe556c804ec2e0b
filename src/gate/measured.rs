//! A store that is timed and counted: every operation's duration, every failure, and when the trail was last written.

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::approval::{Approval, Command};
use crate::domain::audit::{Event, Record};
use crate::domain::id::ApprovalId;
use crate::domain::time::{Clock, Timestamp};
use crate::domain::tools::Tool;
use crate::store::tools::{AcceptTool, Listed, ListedUpstream, Listing, ToolAccepted, ToolFilter, ToolPage};
use crate::store::{
    Applied, AuditFilter, Error, Filter, Page, Park, Parked, QueueFigures, Recovery, Session, Store, StoreSize,
    StoredRequest, StoredResult,
};
use crate::telemetry::metrics::{Metrics, StoreOperation, Violation};
use crate::telemetry::stopwatch::Stopwatch;

/// `store`, counted in `metrics`.
pub struct MeasuredStore {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

impl MeasuredStore {
    /// Counts what `store` does.
    pub fn new(store: Arc<dyn Store>, metrics: Arc<Metrics>, clock: Arc<dyn Clock>) -> Self {
        Self { store, metrics, clock }
    }

    async fn read<T>(
        &self,
        operation: StoreOperation,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let watch = Stopwatch::start();
        let outcome = work.await;
        self.metrics.store_operation(operation, watch.elapsed());
        if let Err(error) = &outcome {
            self.metrics.store_error(operation);
            if let Error::Corrupt(_) = error {
                self.metrics.integrity_violation(Violation::StoreCorrupt);
            }
        }
        outcome
    }

    /// An operation that writes to the trail when it succeeds.
    async fn write<T>(
        &self,
        operation: StoreOperation,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let outcome = self.read(operation, work).await;
        match &outcome {
            Ok(_) => self.metrics.audit_written(self.clock.now()),
            Err(_) => self.metrics.audit_write_error(),
        }
        outcome
    }
}

#[async_trait]
impl Store for MeasuredStore {
    async fn park(&self, park: Park, now: Timestamp) -> Result<Parked, Error> {
        self.write(StoreOperation::Park, self.store.park(park, now)).await
    }

    async fn apply(&self, id: ApprovalId, command: Command, now: Timestamp) -> Result<Applied, Error> {
        self.write(StoreOperation::Apply, self.store.apply(id, command, now)).await
    }

    async fn finish(
        &self,
        id: ApprovalId,
        command: Command,
        result: Option<StoredResult>,
        now: Timestamp,
    ) -> Result<Applied, Error> {
        self.write(StoreOperation::Finish, self.store.finish(id, command, result, now)).await
    }

    async fn record(&self, event: Event) -> Result<(), Error> {
        self.write(StoreOperation::Record, self.store.record(event)).await
    }

    async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, Error> {
        self.read(StoreOperation::Read, self.store.approval(id)).await
    }

    async fn list(&self, filter: Filter, after: Option<ApprovalId>, limit: u32, now: Timestamp) -> Result<Page, Error> {
        self.read(StoreOperation::List, self.store.list(filter, after, limit, now)).await
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<(ApprovalId, Timestamp)>, Error> {
        self.read(StoreOperation::Sweep, self.store.due(now, limit)).await
    }

    async fn ready(&self, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>, Error> {
        self.read(StoreOperation::Sweep, self.store.ready(now, limit)).await
    }

    async fn request(&self, id: ApprovalId) -> Result<Option<StoredRequest>, Error> {
        self.read(StoreOperation::Read, self.store.request(id)).await
    }

    async fn result(&self, id: ApprovalId, now: Timestamp) -> Result<Option<StoredResult>, Error> {
        self.read(StoreOperation::Read, self.store.result(id, now)).await
    }

    async fn figures(&self, now: Timestamp) -> Result<QueueFigures, Error> {
        self.read(StoreOperation::Sweep, self.store.figures(now)).await
    }

    async fn audit(&self, filter: AuditFilter, limit: u32) -> Result<Vec<Record>, Error> {
        self.read(StoreOperation::Audit, self.store.audit(filter, limit)).await
    }

    async fn audit_head(&self) -> Result<u64, Error> {
        self.read(StoreOperation::Audit, self.store.audit_head()).await
    }

    async fn recover(&self, now: Timestamp) -> Result<Recovery, Error> {
        self.read(StoreOperation::Maintain, self.store.recover(now)).await
    }

    async fn forget(&self, now: Timestamp) -> Result<u64, Error> {
        self.read(StoreOperation::Maintain, self.store.forget(now)).await
    }

    async fn open_session(&self, session: Session, event: Event) -> Result<(), Error> {
        self.write(StoreOperation::Session, self.store.open_session(session, event)).await
    }

    async fn session(&self, id_sha256: [u8; 32], now: Timestamp) -> Result<Option<Session>, Error> {
        self.read(StoreOperation::Session, self.store.session(id_sha256, now)).await
    }

    async fn close_session(&self, id_sha256: [u8; 32], event: Event) -> Result<(), Error> {
        self.write(StoreOperation::Session, self.store.close_session(id_sha256, event)).await
    }

    async fn list_tools(&self, listing: Listing, now: Timestamp) -> Result<Listed, Error> {
        self.write(StoreOperation::Tools, self.store.list_tools(listing, now)).await
    }

    async fn accept_tool(&self, wanted: AcceptTool, now: Timestamp) -> Result<ToolAccepted, Error> {
        self.write(StoreOperation::Tools, self.store.accept_tool(wanted, now)).await
    }

    async fn tool(&self, upstream: String, name: String) -> Result<Option<Tool>, Error> {
        self.read(StoreOperation::Tools, self.store.tool(upstream, name)).await
    }

    async fn tools(&self, filter: ToolFilter, after: Option<(String, String)>, limit: u32) -> Result<ToolPage, Error> {
        self.read(StoreOperation::Tools, self.store.tools(filter, after, limit)).await
    }

    async fn listed_upstreams(&self) -> Result<Vec<ListedUpstream>, Error> {
        self.read(StoreOperation::Tools, self.store.listed_upstreams()).await
    }

    async fn check(&self) -> Result<(), Error> {
        self.read(StoreOperation::Maintain, self.store.check()).await
    }

    async fn size(&self) -> Result<StoreSize, Error> {
        self.read(StoreOperation::Maintain, self.store.size()).await
    }
}
