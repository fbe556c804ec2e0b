//! The way from one gateway to the store: it is slow, it fails, and it ends when the gateway crashes. What it lets through is
//! shown to the account that the simulation keeps.
//!
//! It keeps the promises of the trait: work that was handed over is done whether or not somebody still waits for it, `Err` means
//! that nothing was written, and after [`Error::Unsure`] this gateway writes nothing more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use holdpoint::domain::approval::{Approval, Command};
use holdpoint::domain::audit::{Event, Record};
use holdpoint::domain::id::ApprovalId;
use holdpoint::domain::time::Timestamp;
use holdpoint::domain::tools::Tool;
use holdpoint::store::tools::{AcceptTool, Listed, ListedUpstream, Listing, ToolAccepted, ToolFilter, ToolPage};
use holdpoint::store::{
    Applied, AuditFilter, Error, Filter, Page, Park, Parked, QueueFigures, Recovery, Session, Store, StoreSize,
    StoredRequest, StoredResult,
};

use crate::shadow::{Seen, name_of};
use crate::world::Shared;

/// One gateway's way to the store. Clones share it.
#[derive(Clone)]
pub(crate) struct Link(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    /// Which gateway.
    node: usize,
    severed: AtomicBool,
    poisoned: AtomicBool,
    /// Until when, in milliseconds of the simulation, nothing works.
    out_until: AtomicU64,
}

/// What becomes of one request to the store.
#[derive(Debug, Clone, Copy)]
struct Plan {
    before: Duration,
    after: Duration,
    fault: Option<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Not done.
    Unavailable,
    /// Done, and the answer does not say so.
    UnsureDone,
    /// Not done, and the answer does not say so.
    UnsureNotDone,
}

/// What is asked of the store.
struct Asked {
    name: &'static str,
    id: Option<ApprovalId>,
    command: Option<Command>,
    writes: bool,
}

impl Asked {
    fn describe(&self) -> String {
        let command = self.command.as_ref().map_or("", name_of);
        format!("{} {command}", self.name)
    }
}

const fn read(name: &'static str, id: Option<ApprovalId>) -> Asked {
    Asked { name, id, command: None, writes: false }
}

const fn write(name: &'static str, id: Option<ApprovalId>) -> Asked {
    Asked { name, id, command: None, writes: true }
}

/// The approvals that an answer speaks of: they must be as they are stored.
trait Told {
    fn told(&self) -> Option<&Approval> {
        None
    }

    /// The one that it says has just been changed.
    fn changed(&self) -> Option<&Approval> {
        None
    }
}

impl Told for Parked {
    fn told(&self) -> Option<&Approval> {
        match self {
            Parked::Created(approval)
            | Parked::Attached(approval)
            | Parked::Granted(approval)
            | Parked::Remembered(approval)
            | Parked::Spent(approval)
            | Parked::KeyReused(approval)
            | Parked::Standing(approval) => Some(approval),
            Parked::Full(_) => None,
        }
    }
}

impl Told for Applied {
    fn told(&self) -> Option<&Approval> {
        match self {
            Applied::Changed(approval) | Applied::Same(approval) | Applied::Refused(approval, _) => Some(approval),
            Applied::Missing => None,
        }
    }

    fn changed(&self) -> Option<&Approval> {
        match self {
            Applied::Changed(approval) => Some(approval),
            Applied::Same(_) | Applied::Refused(..) | Applied::Missing => None,
        }
    }
}

impl Told for Option<Approval> {
    fn told(&self) -> Option<&Approval> {
        self.as_ref()
    }
}

impl Told for () {}
impl Told for u64 {}
impl Told for Page {}
impl Told for Recovery {}
impl Told for Vec<(ApprovalId, Timestamp)> {}
impl Told for Vec<ApprovalId> {}
impl Told for Option<StoredRequest> {}
impl Told for Option<StoredResult> {}

impl Link {
    pub(crate) fn new(shared: &Arc<Shared>, node: usize) -> Self {
        Self(Arc::new(Inner {
            shared: Arc::clone(shared),
            node,
            severed: AtomicBool::new(false),
            poisoned: AtomicBool::new(false),
            out_until: AtomicU64::new(0),
        }))
    }

    /// The gateway is gone: nothing that it still has under way reaches the store, and no answer reaches it.
    pub(crate) fn sever(&self) {
        self.0.severed.store(true, Ordering::Relaxed);
    }

    /// Whether this gateway must be started anew before it can write.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.0.poisoned.load(Ordering::Relaxed)
    }

    /// Nothing works for so long.
    pub(crate) fn goes_out(&self, for_millis: u64) {
        self.0.out_until.store(self.0.shared.millis() + for_millis, Ordering::Relaxed);
    }

    fn plan(&self, asked: &Asked) -> Plan {
        let inner = &self.0;
        if inner.shared.turns.is_some() {
            return Plan { before: Duration::ZERO, after: Duration::ZERO, fault: None };
        }
        let mut dice = inner.shared.dice.lock().expect("no panic while throwing");
        let calm = inner.shared.calm.load(Ordering::Relaxed);
        let mut delay = || match dice.below(100) {
            0..=69 => 0,
            70..=94 => dice.within(1, 30),
            // Slow, as when a disk stalls.
            _ => dice.within(100, 1500),
        };
        let (before, after) = (Duration::from_millis(delay()), Duration::from_millis(delay()));
        let out = inner.shared.millis() < inner.out_until.load(Ordering::Relaxed);
        let poisoned = asked.writes && self.is_poisoned();
        let fault = match dice.below(1000) {
            _ if out || poisoned => Some(Fault::Unavailable),
            _ if calm => None,
            0..=9 => Some(Fault::Unavailable),
            10..=12 if asked.writes => Some(Fault::UnsureDone),
            13..=14 if asked.writes => Some(Fault::UnsureNotDone),
            _ => None,
        };
        Plan { before, after, fault }
    }

    async fn run<T: Told + Send + 'static>(
        &self,
        asked: Asked,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        if let Some(Command::BeginRelease { revision, .. }) = &asked.command {
            self.0.shared.account(|shadow, _| shadow.release_asked(self.0.node, revision));
        }
        let plan = self.plan(&asked);
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let link = self.clone();
        self.0.shared.tasks.spawn(async move {
            if let Some(done) = link.carry_out(asked, plan, work).await {
                drop(sender.send(done));
            }
        });
        match receiver.await {
            Ok(done) => done,
            // The gateway is gone; nobody is there to hear it.
            Err(_) => std::future::pending().await,
        }
    }

    async fn carry_out<T: Told>(
        &self,
        asked: Asked,
        plan: Plan,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Option<Result<T, Error>> {
        let inner = &self.0;
        match &inner.shared.turns {
            Some(turns) => turns.wait(format!("gateway {} {}", inner.node, asked.describe())).await,
            None => pause(plan.before).await,
        }
        if inner.severed.load(Ordering::Relaxed) {
            return None;
        }
        let unavailable = || Error::Unavailable("planned".to_owned());
        // Whatever was handed over before the commit that failed does not get through any more either.
        let blocked = asked.writes && self.is_poisoned();
        let fault = if blocked { Some(Fault::Unavailable) } else { plan.fault };
        let done = match fault {
            Some(Fault::Unavailable | Fault::UnsureNotDone) => Err(unavailable()),
            Some(Fault::UnsureDone) | None => work.await,
        };
        let told = done.as_ref().ok().and_then(Told::told);
        let seen = Seen {
            node: inner.node,
            name: asked.name,
            id: asked.id,
            command: asked.command.as_ref(),
            writes: asked.writes,
            told,
            fault: fault.map(|fault| match fault {
                Fault::Unavailable => "unavailable",
                Fault::UnsureDone => "unsure, done",
                Fault::UnsureNotDone => "unsure, not done",
            }),
        };
        inner.shared.account(|shadow, state| shadow.observe(&seen, state));
        let done = match fault {
            Some(Fault::UnsureDone | Fault::UnsureNotDone) => {
                inner.poisoned.store(true, Ordering::Relaxed);
                Err(Error::Unsure("planned".to_owned()))
            }
            Some(Fault::Unavailable) | None => done,
        };
        match &inner.shared.turns {
            // What was done and what is known of it are two moments.
            Some(turns) => turns.wait(format!("gateway {} hears of {}", inner.node, asked.describe())).await,
            None => pause(plan.after).await,
        }
        if inner.severed.load(Ordering::Relaxed) {
            return None;
        }
        if let Some(changed) = done.as_ref().ok().and_then(Told::changed) {
            inner.shared.account(|shadow, _| shadow.gateway_knows(inner.node, changed));
        }
        Some(done)
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// Hands one method over to the model.
macro_rules! through {
    ($link:ident, $asked:expr, $method:ident($($argument:expr),*)) => {{
        let model = Arc::clone(&$link.0.shared.model);
        $link.run($asked, async move { model.$method($($argument),*).await }).await
    }};
}

#[async_trait]
impl Store for Link {
    async fn park(&self, park: Park, now: Timestamp) -> Result<Parked, Error> {
        let asked = write("park", Some(park.approval.id));
        through!(self, asked, park(park, now))
    }

    async fn apply(&self, id: ApprovalId, command: Command, now: Timestamp) -> Result<Applied, Error> {
        let asked = Asked { command: Some(command.clone()), ..write("apply", Some(id)) };
        through!(self, asked, apply(id, command, now))
    }

    async fn finish(
        &self,
        id: ApprovalId,
        command: Command,
        result: Option<StoredResult>,
        now: Timestamp,
    ) -> Result<Applied, Error> {
        let asked = Asked { command: Some(command.clone()), ..write("finish", Some(id)) };
        through!(self, asked, finish(id, command, result, now))
    }

    async fn record(&self, event: Event) -> Result<(), Error> {
        through!(self, write("record", None), record(event))
    }

    async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, Error> {
        through!(self, read("approval", Some(id)), approval(id))
    }

    async fn list(&self, filter: Filter, after: Option<ApprovalId>, limit: u32, now: Timestamp) -> Result<Page, Error> {
        through!(self, read("list", None), list(filter, after, limit, now))
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<(ApprovalId, Timestamp)>, Error> {
        through!(self, read("due", None), due(now, limit))
    }

    async fn ready(&self, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>, Error> {
        through!(self, read("ready", None), ready(now, limit))
    }

    async fn request(&self, id: ApprovalId) -> Result<Option<StoredRequest>, Error> {
        through!(self, read("request", Some(id)), request(id))
    }

    async fn result(&self, id: ApprovalId, now: Timestamp) -> Result<Option<StoredResult>, Error> {
        through!(self, read("result", Some(id)), result(id, now))
    }

    async fn recover(&self, now: Timestamp) -> Result<Recovery, Error> {
        through!(self, write("recover", None), recover(now))
    }

    async fn forget(&self, now: Timestamp) -> Result<u64, Error> {
        through!(self, write("forget", None), forget(now))
    }

    async fn figures(&self, now: Timestamp) -> Result<QueueFigures, Error> {
        self.0.shared.model.figures(now).await
    }

    async fn audit(&self, filter: AuditFilter, limit: u32) -> Result<Vec<Record>, Error> {
        self.0.shared.model.audit(filter, limit).await
    }

    async fn audit_head(&self) -> Result<u64, Error> {
        self.0.shared.model.audit_head().await
    }

    async fn open_session(&self, session: Session, event: Event) -> Result<(), Error> {
        self.0.shared.model.open_session(session, event).await
    }

    async fn session(&self, id_sha256: [u8; 32], now: Timestamp) -> Result<Option<Session>, Error> {
        self.0.shared.model.session(id_sha256, now).await
    }

    async fn close_session(&self, id_sha256: [u8; 32], event: Event) -> Result<(), Error> {
        self.0.shared.model.close_session(id_sha256, event).await
    }

    async fn list_tools(&self, listing: Listing, now: Timestamp) -> Result<Listed, Error> {
        self.0.shared.model.list_tools(listing, now).await
    }

    async fn accept_tool(&self, wanted: AcceptTool, now: Timestamp) -> Result<ToolAccepted, Error> {
        self.0.shared.model.accept_tool(wanted, now).await
    }

    async fn tool(&self, upstream: String, name: String) -> Result<Option<Tool>, Error> {
        self.0.shared.model.tool(upstream, name).await
    }

    async fn tools(&self, filter: ToolFilter, after: Option<(String, String)>, limit: u32) -> Result<ToolPage, Error> {
        self.0.shared.model.tools(filter, after, limit).await
    }

    async fn listed_upstreams(&self) -> Result<Vec<ListedUpstream>, Error> {
        self.0.shared.model.listed_upstreams().await
    }

    async fn check(&self) -> Result<(), Error> {
        self.0.shared.model.check().await
    }

    async fn size(&self) -> Result<StoreSize, Error> {
        self.0.shared.model.size().await
    }
}
