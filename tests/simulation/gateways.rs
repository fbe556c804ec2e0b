//! The gateways: several real gates on one store, started, reloaded, drained and killed.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use holdpoint::domain::policy::CompiledPolicy;
use holdpoint::domain::time::Clock;
use holdpoint::gate::{Gate, Limits, Parts};
use holdpoint::store::seal::Sealer;
use holdpoint::telemetry::metrics::{Known, Metrics};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::dice::SeededRandom;
use crate::link::Link;
use crate::tables::TABLES;
use crate::upstream::Upstream;
use crate::world::Shared;

/// Small enough to be reached now and then.
const LIMITS: Limits = Limits { pending_per_agent_max: 4, pending_total_max: 9, held_bytes_max: 4_096 };

/// Counters are not looked at, and cost time to make.
static METRICS: LazyLock<Arc<Metrics>> =
    LazyLock::new(|| Arc::new(Metrics::new("simulated", Known { upstreams: &[], rules: &[] })));

/// One gateway from its start to its end.
pub(crate) struct Gateway {
    pub(crate) number: usize,
    pub(crate) gate: Gate,
    pub(crate) link: Link,
    /// The process is gone.
    pub(crate) gone: CancellationToken,
    drain: CancellationToken,
    tracker: TaskTracker,
}

impl Gateway {
    /// Builds one, and starts nothing.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        number: usize,
        seed: u64,
        policy: Arc<CompiledPolicy>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let (link, gone) = (Link::new(shared, number), CancellationToken::new());
        let (tracker, drain) = (TaskTracker::new(), CancellationToken::new());
        shared.account(|shadow, _| shadow.loads(number, policy.revision()));
        let gate = Gate::new(Parts {
            store: Arc::new(link.clone()),
            clock,
            random: Arc::new(SeededRandom::new(seed)),
            policy,
            limits: LIMITS,
            sealer: Sealer::from_key([7; 32]).expect("a key of the right length"),
            sender: Arc::new(Upstream { shared: Arc::clone(shared), gone: gone.clone() }),
            metrics: Arc::clone(&METRICS),
            tracker: tracker.clone(),
            drain: drain.clone(),
        });
        Arc::new(Self { number, gate, link, gone, drain, tracker })
    }

    /// How many tasks it has under way.
    pub(crate) fn tasks(&self) -> usize {
        self.tracker.len()
    }

    /// Ends it as a power cut would.
    fn kill(&self) {
        self.link.sever();
        self.gone.cancel();
        // Its sweeps would go on for nothing.
        self.drain.cancel();
    }
}

/// All of them.
pub(crate) struct Gateways {
    shared: Arc<Shared>,
    seed: u64,
    places: Vec<Mutex<Place>>,
}

struct Place {
    running: Option<Arc<Gateway>>,
    policy: Arc<CompiledPolicy>,
    /// How often it was started: each start has random bytes of its own.
    starts: u64,
}

impl Gateways {
    pub(crate) async fn start(shared: &Arc<Shared>, seed: u64, count: usize) -> Arc<Self> {
        let place = || Mutex::new(Place { running: None, policy: Arc::clone(&TABLES[0].policy), starts: 0 });
        let places = (0..count).map(|_| place()).collect();
        let gateways = Arc::new(Self { shared: Arc::clone(shared), seed, places });
        for number in 0..count {
            gateways.bring_up(number).await;
        }
        gateways
    }

    fn place(&self, number: usize) -> std::sync::MutexGuard<'_, Place> {
        self.places[number].lock().expect("no panic beside a place")
    }

    /// Any gateway that runs.
    pub(crate) fn any(&self) -> Option<Arc<Gateway>> {
        let running: Vec<_> = (0..self.places.len()).filter_map(|number| self.place(number).running.clone()).collect();
        (!running.is_empty()).then(|| self.shared.throw(|dice| Arc::clone(dice.pick(&running))))
    }

    /// Starts one, as often as it takes.
    async fn bring_up(&self, number: usize) {
        loop {
            let (policy, seed) = {
                let mut place = self.place(number);
                place.starts += 1;
                let seed = self.seed.wrapping_mul(1_000_003) + number as u64 * 1_009 + place.starts;
                (Arc::clone(&place.policy), seed)
            };
            let clock = Arc::new(self.shared.skewed_clock());
            let gateway = Gateway::new(&self.shared, number, seed, policy, clock);
            let started = gateway.gate.start().await;
            self.shared.account(|shadow, _| {
                shadow.note(|| format!("gateway {number} starts: {}", started.is_ok()));
                shadow.count(if started.is_ok() { "gateway started" } else { "gateway did not start" });
            });
            if started.is_ok() {
                self.place(number).running = Some(gateway);
                return;
            }
            gateway.kill();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    fn take(&self, number: usize) -> Option<Arc<Gateway>> {
        self.place(number).running.take()
    }

    fn take_any(&self) -> Option<Arc<Gateway>> {
        let number = self.any()?.number;
        self.take(number)
    }

    fn note(&self, number: usize, what: &'static str) {
        self.shared.account(|shadow, _| {
            shadow.note(|| format!("gateway {number} {what}"));
            shadow.count(format!("gateway {what}"));
        });
    }

    fn crash(self: &Arc<Self>, gateway: &Gateway) {
        self.note(gateway.number, "crashes");
        gateway.kill();
        let (gateways, number) = (Arc::clone(self), gateway.number);
        self.shared.tasks.spawn(async move {
            gateways.shared.pause(20, 3_000).await;
            gateways.bring_up(number).await;
        });
    }

    pub(crate) fn crash_one(self: &Arc<Self>) {
        if let Some(gateway) = self.take_any() {
            self.crash(&gateway);
        }
    }

    /// Whoever looks after the gateways starts one anew that does not write any more.
    pub(crate) fn tend(self: &Arc<Self>, percent: u64) {
        for number in 0..self.places.len() {
            let poisoned = self.place(number).running.clone().filter(|gateway| gateway.link.is_poisoned());
            if poisoned.is_some()
                && self.shared.throw(|dice| dice.chance(percent))
                && let Some(gateway) = self.take(number)
            {
                self.crash(&gateway);
            }
        }
    }

    /// Ends one as SIGTERM does: what is being sent is finished, and whoever waits is told.
    pub(crate) fn drain_one(self: &Arc<Self>) {
        let Some(gateway) = self.take_any() else { return };
        self.note(gateway.number, "drains");
        gateway.drain.cancel();
        gateway.tracker.close();
        let gateways = Arc::clone(self);
        self.shared.tasks.spawn(async move {
            let ended = tokio::time::timeout(Duration::from_secs(5), gateway.tracker.wait()).await;
            if ended.is_err() {
                gateways.note(gateway.number, "does not end in time");
            }
            gateway.kill();
            gateways.bring_up(gateway.number).await;
        });
    }

    /// The store is out of one gateway's reach for a while.
    pub(crate) fn cut_off_one(&self) {
        if let Some(gateway) = self.any() {
            self.note(gateway.number, "is cut off");
            gateway.link.goes_out(self.shared.throw(|dice| dice.within(500, 8_000)));
        }
    }

    /// Loads a policy everywhere, one gateway after the other.
    pub(crate) async fn reload(self: &Arc<Self>, policy: &Arc<CompiledPolicy>) {
        for number in 0..self.places.len() {
            self.place(number).policy = Arc::clone(policy);
            if let Some(gateway) = self.place(number).running.clone() {
                self.note(number, "reloads");
                let (shared, policy) = (Arc::clone(&self.shared), Arc::clone(policy));
                self.shared.tasks.spawn(async move {
                    // The policy is in force before the first await.
                    shared.account(|shadow, _| shadow.loads(number, policy.revision()));
                    let reloaded = gateway.gate.reload(policy, LIMITS).await;
                    shared.account(|shadow, _| shadow.note(|| format!("gateway {number} reloaded: {reloaded:?}")));
                });
            }
            self.shared.pause(0, 400).await;
        }
    }

    /// Kills all of them and starts them again.
    pub(crate) async fn start_all_anew(self: &Arc<Self>) {
        for number in 0..self.places.len() {
            if let Some(gateway) = self.take(number) {
                gateway.kill();
            }
        }
        for number in 0..self.places.len() {
            self.bring_up(number).await;
        }
    }
}
