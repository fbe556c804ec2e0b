//! The world around the gateways: one store, one clock that nothing but the simulation moves, and what happens when.
//!
//! Everything runs on one thread with tokio's paused time, and every choice comes from the seed: a seed replays exactly.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdpoint::domain::time::{Clock, Timestamp};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::callers;
use crate::check::Finding;
use crate::chronicle::Chronicle;
use crate::dice::Dice;
use crate::gateways::Gateways;
use crate::model::{Model, Plant, State};
use crate::people;
use crate::shadow::Shadow;
use crate::story::Story;
use crate::tables::TABLES;
use crate::turns::Turns;

/// How many things are made to happen in one run.
const ACTIONS: u64 = 130;
/// What every gateway's clock may be off, either way.
const SKEW_MILLIS: u64 = 250;
/// Longer than any caller waits, with the slowest store behind it.
const CALM: Duration = Duration::from_secs(60);
/// How long after its moment something may happen that no caller waits for.
const SLACK: Duration = Duration::from_secs(15);
/// When the simulation begins.
const EPOCH: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// What everything in the simulation shares.
pub(crate) struct Shared {
    pub(crate) dice: Mutex<Dice>,
    shadow: Mutex<Shadow>,
    pub(crate) model: Arc<Model>,
    start: Instant,
    /// Tasks of the store and of people: no crash ends them.
    pub(crate) tasks: TaskTracker,
    /// Nothing fails any more, and nobody comes.
    pub(crate) calm: AtomicBool,
    /// How many attempts to send are refused before anything else happens.
    pub(crate) refusals: AtomicU64,
    /// Upstreams take calls and never answer them.
    pub(crate) silent: AtomicBool,
    /// Who may go on next, where that is chosen from outside instead of by delays.
    pub(crate) turns: Option<Turns>,
    /// What everybody writes down, in runs that are shown to the checker of crashes.
    pub(crate) chronicle: Option<Chronicle>,
}

/// A gateway's clock.
pub(crate) struct SimulatedClock {
    start: Instant,
    skew_millis: i64,
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        let elapsed = Instant::now().duration_since(self.start);
        Timestamp::from_millis(EPOCH.plus(elapsed).as_millis() + self.skew_millis)
    }
}

impl Shared {
    pub(crate) fn new(seed: u64, plant: Option<Plant>, turns: Option<Turns>) -> Arc<Self> {
        Arc::new(Self::make(seed, plant, turns))
    }

    fn make(seed: u64, plant: Option<Plant>, turns: Option<Turns>) -> Self {
        Self {
            dice: Mutex::new(Dice::new(seed)),
            shadow: Mutex::default(),
            model: Arc::new(Model::with(plant)),
            start: Instant::now(),
            tasks: TaskTracker::new(),
            calm: AtomicBool::new(turns.is_some()),
            refusals: AtomicU64::new(0),
            silent: AtomicBool::new(false),
            turns,
            chronicle: None,
        }
    }

    /// Writes down what somebody does or sees, where that is wanted.
    pub(crate) fn chronicle<T>(&self, write: impl FnOnce(&Chronicle) -> T) -> Option<T> {
        self.chronicle.as_ref().map(write)
    }

    /// How long the simulation has run.
    pub(crate) fn millis(&self) -> u64 {
        u64::try_from(Instant::now().duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }

    /// The account, with the store as it is at this moment.
    pub(crate) fn account<T>(&self, look: impl FnOnce(&mut Shadow, &State) -> T) -> T {
        let mut shadow = self.shadow.lock().expect("no panic while counting");
        shadow.millis = self.millis();
        self.model.look(|state| look(&mut shadow, state))
    }

    pub(crate) fn throw<T>(&self, throw: impl FnOnce(&mut Dice) -> T) -> T {
        throw(&mut self.dice.lock().expect("no panic while throwing"))
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub(crate) fn clock(&self, skew_millis: i64) -> SimulatedClock {
        SimulatedClock { start: self.start, skew_millis }
    }

    /// A clock for a gateway: a little off.
    pub(crate) fn skewed_clock(&self) -> SimulatedClock {
        let off = self.throw(|dice| dice.within(0, 2 * SKEW_MILLIS));
        self.clock(i64::try_from(off).unwrap_or(0) - i64::try_from(SKEW_MILLIS).unwrap_or(0))
    }

    pub(crate) async fn pause(&self, from: u64, to: u64) {
        let millis = self.throw(|dice| dice.within(from, to));
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    fn has_failed(&self) -> bool {
        self.account(|shadow, _| shadow.violation.is_some())
    }

    pub(crate) fn finish(&self) -> Run {
        self.account(|shadow, _| Run {
            violation: shadow.violation.take(),
            log: std::mem::take(&mut shadow.log),
            figures: std::mem::take(&mut shadow.figures),
        })
    }
}

/// What came of one seed.
pub(crate) struct Run {
    /// The first thing that must not be.
    pub(crate) violation: Option<String>,
    /// Everything that happened.
    pub(crate) log: Vec<String>,
    /// How often what happened.
    pub(crate) figures: BTreeMap<String, u64>,
}

/// A runtime on which time passes only when nothing is left to do.
pub(crate) fn on_virtual_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(work)
}

/// Runs one seed.
pub(crate) fn run(seed: u64, plant: Option<Plant>) -> Run {
    on_virtual_time(async {
        let shared = Shared::new(seed, plant, None);
        simulate(&shared, seed).await;
        shared.finish()
    })
}

/// Runs one seed with a chronicle; what the checker of crashes finds in it, and what it was told.
pub(crate) async fn run_chronicled(seed: u64, plant: Option<Plant>) -> (Vec<Finding>, Story) {
    let shared = Arc::new(Shared { chronicle: Some(Chronicle::new()), ..Shared::make(seed, plant, None) });
    simulate(&shared, seed).await;
    let chronicle = shared.chronicle.as_ref().expect("it was made");
    shared.model.look(|state| chronicle.judged(state))
}

async fn simulate(shared: &Arc<Shared>, seed: u64) {
    let count = shared.throw(|dice| dice.within(2, 3));
    let gateways = Gateways::start(shared, seed, usize::try_from(count).unwrap_or(2)).await;
    for number in 0..ACTIONS {
        act(shared, &gateways, number).await;
        // Now and then a burst of things that happen at once.
        if !shared.throw(|dice| dice.chance(25)) {
            shared.pause(1, 700).await;
        }
        gateways.tend(40);
        // The checker of crashes is to find it by itself.
        if shared.has_failed() && shared.chronicle.is_none() {
            return;
        }
    }
    shared.calm.store(true, Ordering::Relaxed);
    gateways.tend(100);
    tokio::time::sleep(2 * SLACK).await;
    let now = shared.clock(0).now();
    shared.account(|shadow, state| shadow.owes_nothing(state, SLACK, now));
    tokio::time::sleep(CALM).await;
    gateways.start_all_anew().await;
    tokio::time::sleep(CALM).await;
    let now = shared.clock(0).now();
    shared.account(|shadow, state| shadow.close(state, SLACK, now));
}

/// Makes one thing happen.
async fn act(shared: &Arc<Shared>, gateways: &Arc<Gateways>, number: u64) {
    match shared.throw(|dice| dice.below(100)) {
        0..=37 => callers::comes(shared, gateways, number),
        38..=42 => callers::comes_back_to_an_approval(shared, gateways, number),
        43..=45 if shared.chronicle.is_none() => people::asks_for_an_action(shared, gateways),
        46..=76 => people::decide(shared, gateways),
        77..=81 => people::withdraws(shared, gateways),
        82..=85 => people::settles(shared, gateways),
        86..=88 => people::waits(shared, gateways),
        89..=92 if shared.chronicle.is_none() => {
            let table = shared.throw(|dice| dice.pick(&TABLES[..]).policy.clone());
            gateways.reload(&table).await;
        }
        93..=95 => gateways.crash_one(),
        96 => gateways.drain_one(),
        97..=98 => gateways.cut_off_one(),
        _ => shared.pause(1_000, 8_000).await,
    }
}
