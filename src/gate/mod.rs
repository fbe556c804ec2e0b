//! The use cases: judge a call, park it, decide it, release it, sweep up.
//!
//! Every change of an approval goes through `Gate::apply`, which commits it in the store and only then wakes whoever waits.
//! State lives in the store or in tasks of the gate's own, so any caller's future may be dropped at any await.

mod again;
pub mod decisions;
mod detached;
pub mod held;
pub mod intake;
pub mod measured;
mod pace;
pub mod parking;
mod random;
pub mod release;
mod sweeper;
mod sync;
pub mod tools;
mod waiters;
#[cfg(test)]
mod waiters_tests;
pub mod waiting;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::approval::{Approval, Command, State};
use crate::domain::audit::Event;
use crate::domain::id::ApprovalId;
use crate::domain::identity::AgentId;
use crate::domain::policy::CompiledPolicy;
use crate::domain::time::{Clock, Timestamp};
use crate::store::seal::Sealer;
use crate::store::{self, Applied, Store};
use crate::telemetry::metrics::Metrics;

use detached::Detached;
use pace::Pace;
pub use random::{OsRandom, Random, fill_random, random_token};
use release::Sender;
use tools::ToolMemory;
use waiters::Waiters;

/// How many refusals a second are written to the trail one by one.
pub const REFUSAL_RECORDS_PER_SECOND: u32 = 200;

/// How often a waiter reads the store when nothing wakes it: the floor beneath every notification.
pub const POLL_INTERVAL: Duration = Duration::from_secs(30);

/// How long to wait before what the store could not write is written again.
const UNRECORDED_PAUSE: Duration = Duration::from_secs(2);

/// Limits that the gate enforces. All of them are `limits` of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Pending approvals of one agent.
    pub pending_per_agent_max: u64,
    /// Pending approvals in all.
    pub pending_total_max: u64,
    /// Bytes of bodies held in memory by waiting calls.
    pub held_bytes_max: u64,
}

/// Why a use case could not be carried out; the caller is refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The store said no.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// An approval that was there a moment ago is gone.
    #[error("approval {0} has vanished from the store")]
    Vanished(ApprovalId),
    /// What was sealed cannot be opened with the configured keys.
    #[error("what is stored for approval {0} cannot be read: is `store.secret_key` the one it was written with?")]
    Unreadable(ApprovalId),
    /// The key cannot seal.
    #[error("the stored request could not be sealed")]
    Seal,
    /// A list of tools is none to be taken.
    #[error(transparent)]
    List(#[from] tools::ListRefused),
    /// A task of the gate ended without a result.
    #[error("a task of the gateway ended without a result")]
    TaskLost,
}

/// What the gate is built from.
pub struct Parts {
    /// Everything durable.
    pub store: Arc<dyn Store>,
    /// Where `now` comes from.
    pub clock: Arc<dyn Clock>,
    /// Where ids and tokens come from.
    pub random: Arc<dyn Random>,
    /// The policy to begin with.
    pub policy: Arc<CompiledPolicy>,
    /// The limits to begin with.
    pub limits: Limits,
    /// Seals stored requests and results.
    pub sealer: Sealer,
    /// Sends detached calls.
    pub sender: Arc<dyn Sender>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Where tasks are spawned.
    pub tracker: TaskTracker,
    /// Cancelled when the process shuts down.
    pub drain: CancellationToken,
}

/// The gate. Clones share one.
#[derive(Clone)]
pub struct Gate {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    policy: ArcSwap<CompiledPolicy>,
    policies_put: AtomicU64,
    policies_judged_by: AtomicU64,
    limits: ArcSwap<Limits>,
    sealer: Sealer,
    sender: Arc<dyn Sender>,
    metrics: Arc<Metrics>,
    tracker: TaskTracker,
    drain: CancellationToken,
    waiters: Waiters,
    pace: Pace,
    events: watch::Sender<u64>,
    held_bytes: AtomicU64,
    detached: Detached,
    refusals: Rate,
    tools: ToolMemory,
    reload_problem: ArcSwapOption<ReloadProblem>,
}

/// Why the configuration on disk is not the one in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadProblem {
    /// When it was found.
    pub at: Timestamp,
    /// What is wrong, for the people who can mend it.
    pub problem: String,
}

/// Counts events within the present second.
#[derive(Debug, Default)]
struct Rate {
    second_and_count: std::sync::Mutex<(i64, u32)>,
}

impl Rate {
    /// Whether one more fits into the second that `now` lies in.
    fn admit(&self, now: Timestamp) -> bool {
        let second = now.as_millis().div_euclid(1000);
        let mut state = self.second_and_count.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = if state.0 == second { state.1 } else { 0 };
        *state = (second, count.saturating_add(1));
        count < REFUSAL_RECORDS_PER_SECOND
    }
}

impl Gate {
    /// Builds the gate. Nothing runs until [`Gate::start`].
    pub fn new(parts: Parts) -> Self {
        let inner = Inner {
            store: parts.store,
            clock: parts.clock,
            random: parts.random,
            policy: ArcSwap::new(parts.policy),
            policies_put: AtomicU64::new(0),
            policies_judged_by: AtomicU64::new(0),
            limits: ArcSwap::from_pointee(parts.limits),
            sealer: parts.sealer,
            sender: parts.sender,
            metrics: parts.metrics,
            tracker: parts.tracker,
            drain: parts.drain,
            waiters: Waiters::default(),
            pace: Pace::default(),
            events: watch::channel(0).0,
            held_bytes: AtomicU64::new(0),
            detached: Detached::default(),
            refusals: Rate::default(),
            tools: ToolMemory::default(),
            reload_problem: ArcSwapOption::empty(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Everything durable.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// The policy of this moment.
    pub fn policy(&self) -> Arc<CompiledPolicy> {
        self.inner.policy.load_full()
    }

    /// The revision of the policy of this moment.
    pub fn policy_revision(&self) -> String {
        self.inner.policy.load().revision().to_owned()
    }

    /// The limits of this moment.
    pub fn limits(&self) -> Limits {
        **self.inner.limits.load()
    }

    /// Changes whenever the trail has grown: read the records behind the last one seen.
    pub fn events(&self) -> watch::Receiver<u64> {
        self.inner.events.subscribe()
    }

    /// Returns when the process begins to shut down.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {
        self.inner.drain.clone().cancelled_owned()
    }

    /// Waits so long, or until the process begins to shut down; whether it does.
    async fn drains_within(&self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.inner.drain.cancelled()).await.is_ok()
    }

    /// Whether the process is shutting down.
    pub fn is_draining(&self) -> bool {
        self.inner.drain.is_cancelled()
    }

    /// Reads one approval.
    pub async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, Error> {
        Ok(self.inner.store.approval(id).await?)
    }

    /// Why the configuration on disk is not the one in force; `None` when it is.
    pub fn reload_problem(&self) -> Option<Arc<ReloadProblem>> {
        self.inner.reload_problem.load_full()
    }

    /// Notes how the last attempt to load the configuration went, for the page.
    pub fn reload_went(&self, outcome: Result<(), String>) {
        let problem = outcome.err().map(|problem| Arc::new(ReloadProblem { at: self.now(), problem }));
        self.inner.reload_problem.store(problem);
    }

    /// Sets the gauges that come from the store.
    pub async fn refresh_gauges(&self) -> Result<(), Error> {
        let figures = self.inner.store.figures(self.now()).await?;
        self.metrics().queue(&figures);
        self.metrics().store_size(self.inner.store.size().await?);
        Ok(())
    }

    /// Writes a record that belongs to no approval.
    pub async fn record(&self, event: Event) -> Result<(), Error> {
        self.inner.store.record(event).await?;
        self.grown();
        Ok(())
    }

    /// Writes a record about input that was refused. It was refused either way, so a store that cannot write changes nothing for the
    /// caller; at most [`REFUSAL_RECORDS_PER_SECOND`] are written, the others are counted as suppressed, so that a flood of bad
    /// input cannot fill the disk.
    pub async fn record_refusal(&self, event: Event) {
        if !self.inner.refusals.admit(event.at) {
            return self.metrics().audit_suppressed();
        }
        if let Err(error) = self.record(event).await {
            tracing::error!(%error, "a refusal could not be written to the trail");
        }
    }

    /// Applies one command: commit first, then wake, count and carry on with what it asks for.
    async fn apply(&self, id: ApprovalId, command: Command) -> Result<Applied, Error> {
        let presence = matches!(command, Command::CallerJoined | Command::CallerLeft);
        let applied = self.inner.store.apply(id, command, self.now()).await?;
        if let Applied::Changed(approval) = &applied {
            if presence {
                self.grown();
            } else {
                self.follow_approval(approval).await;
                self.changed(id);
                self.count_closed(approval);
                self.release_if_ready(approval);
            }
        }
        Ok(applied)
    }

    /// Counts an approval in the change that closes it: its last change is the closing one exactly when it is closed and
    /// nothing has been sent yet.
    fn count_closed(&self, approval: &Approval) {
        use crate::domain::approval::Execution;
        let just_closed = matches!(approval.execution, Execution::None | Execution::Held);
        if let (Some(at), true) = (approval.state.closed_at(), just_closed) {
            self.metrics().approval_closed(approval, at);
        }
    }

    /// Wakes whoever waits for this approval, and whoever follows the trail.
    fn changed(&self, id: ApprovalId) {
        self.inner.waiters.wake(id);
        self.grown();
    }

    fn grown(&self) {
        self.inner.events.send_modify(|count| *count += 1);
    }

    fn pace(&self) -> &Pace {
        &self.inner.pace
    }

    fn waiters(&self) -> &Waiters {
        &self.inner.waiters
    }

    fn sender(&self) -> &Arc<dyn Sender> {
        &self.inner.sender
    }

    fn detached(&self) -> &Detached {
        &self.inner.detached
    }

    fn seal(&self, id: ApprovalId, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        self.inner.sealer.seal(bytes, id.to_string().as_bytes()).map_err(|_| Error::Seal)
    }

    fn unseal(&self, id: ApprovalId, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        self.inner.sealer.open(sealed, id.to_string().as_bytes()).map_err(|_| Error::Unreadable(id))
    }

    /// Seals what an agent is to bring back: nobody else can read or make it, and no other agent can use it.
    pub fn seal_for(&self, agent: &AgentId, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        self.inner.sealer.seal(bytes, agent_context(agent).as_bytes()).map_err(|_| Error::Seal)
    }

    /// Opens what [`Gate::seal_for`] sealed for this agent; `None` for anything else.
    pub fn open_for(&self, agent: &AgentId, sealed: &[u8]) -> Option<Vec<u8>> {
        self.inner.sealer.open(sealed, agent_context(agent).as_bytes()).ok()
    }

    /// Spawns a task that shutdown waits for.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.inner.tracker.spawn(async move {
            task.await;
            tracing::trace!(task = name, "ended");
        });
    }

    /// Carries `work` out to its end even when the caller's future is dropped meanwhile. The result is then dropped where it was
    /// made, so that what it guards (presence, a permit) is given back.
    async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.inner.tracker.spawn(async move {
            drop(sender.send(work.await));
        });
        receiver.await.unwrap_or(Err(Error::TaskLost))
    }

    /// Whether an approval's state is one that the caller of its call can be told about as final.
    fn is_refusal(state: &State) -> bool {
        match state {
            State::Rejected(_) | State::Expired { .. } | State::Cancelled { .. } => true,
            State::Pending | State::Approved(_) => false,
        }
    }
}

/// Keeps what is sealed for an agent apart from what is sealed for an approval.
fn agent_context(agent: &AgentId) -> String {
    format!("agent {}", agent.0)
}
