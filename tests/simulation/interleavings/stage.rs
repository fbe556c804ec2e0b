//! One run of a scene: a gateway, those who act, and who of them goes next.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use holdpoint::domain::approval::{Approval, Status};
use holdpoint::domain::identity::AgentId;
use holdpoint::domain::time::{Clock, Timestamp};
use holdpoint::gate::POLL_INTERVAL;

use crate::callers::{Plan, ask, attend};
use crate::dice::Dice;
use crate::gateways::Gateway;
use crate::model::Plant;
use crate::people::{decides, withdraws_one};
use crate::tables::TABLES;
use crate::turns::Turns;
use crate::world::Shared;

/// How often everything that can run is let run before the next choice: each time, dozens of tasks.
const ROUNDS: usize = 4;
/// How long a step of the sweeps is.
const TICK: Duration = Duration::from_millis(500);
/// More than any scene has.
const STEPS_MAX: usize = 400;

/// A clock that stands still until somebody moves it.
struct SteppedClock(AtomicI64);

impl Clock for SteppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// One run of a scene.
pub(super) struct Stage {
    pub(super) shared: Arc<Shared>,
    turns: Turns,
    clock: Arc<SteppedClock>,
    pub(super) gateway: Arc<Gateway>,
    acting: Arc<AtomicUsize>,
    pub(super) chooser: Chooser,
}

/// Which of those that wait goes next.
pub(super) enum Chooser {
    /// These choices first, the oldest afterwards; how many there were to choose from each time.
    Path { choices: Vec<usize>, arities: Vec<usize> },
    /// Any.
    Random(Dice),
}

impl Chooser {
    pub(super) fn choose(&mut self, waiting: usize) -> usize {
        match self {
            Chooser::Path { choices, arities } => {
                let place = choices.get(arities.len()).copied().unwrap_or(0);
                arities.push(waiting);
                place
            }
            Chooser::Random(dice) => usize::try_from(dice.below(waiting as u64)).unwrap_or(0),
        }
    }
}

impl Stage {
    pub(super) fn new(plant: Option<Plant>, chooser: Chooser) -> Self {
        let turns = Turns::default();
        let shared = Shared::new(0, plant, Some(turns.clone()));
        let clock = Arc::new(SteppedClock(AtomicI64::new(1_767_225_600_000)));
        let policy = Arc::clone(&TABLES[0].policy);
        let gateway = Gateway::new(&shared, 0, 0, policy, Arc::clone(&clock) as Arc<dyn Clock>);
        Self { shared, turns, clock, gateway, acting: Arc::default(), chooser }
    }

    /// Somebody who acts: the scene ends when all of them have.
    pub(super) fn actor(&self, acts: impl Future<Output = ()> + Send + 'static) {
        let acting = Arc::clone(&self.acting);
        acting.fetch_add(1, Ordering::Relaxed);
        self.shared.tasks.spawn(async move {
            acts.await;
            acting.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// A caller that waits, and may hang up.
    pub(super) fn caller(&self, number: u64, plan: Plan, hangs_up: bool) {
        let (shared, turns, gateway) = (Arc::clone(&self.shared), self.turns.clone(), Arc::clone(&self.gateway));
        self.actor(async move {
            let request = plan.request(number);
            let leaves = async {
                match hangs_up {
                    true => turns.wait_last(format!("caller {number} hangs up")).await,
                    false => std::future::pending().await,
                }
            };
            let asks = ask(&shared, &gateway, &plan, request);
            attend(&shared, &gateway, number, &plan, leaves, asks).await;
        });
    }

    pub(super) fn decider(&self, approval: &Approval, who: &'static str, approves: bool) {
        let (shared, gateway, approval) = (Arc::clone(&self.shared), Arc::clone(&self.gateway), approval.clone());
        self.actor(async move { decides(&shared, &gateway, &approval, who, approves, false).await });
    }

    pub(super) fn withdrawer(&self, approval: &Approval) {
        let (shared, gateway, id) = (Arc::clone(&self.shared), Arc::clone(&self.gateway), approval.id);
        let agent = AgentId(approval.subject.agent.0.clone());
        self.actor(async move { withdraws_one(&shared, &gateway, id, &agent).await });
    }

    /// The deadline passes, and the sweep of a gateway that was started looks.
    pub(super) fn time_passes(&self, approval: &Approval) {
        let (turns, clock, deadline) = (self.turns.clone(), Arc::clone(&self.clock), approval.terms.expires_at);
        self.actor(async move {
            turns.wait_last("the deadline passes").await;
            clock.0.store(deadline.as_millis(), Ordering::Relaxed);
            tokio::time::advance(TICK).await;
        });
    }

    /// So much time passes as an older waiter leaves to a newer one.
    pub(super) fn moment_passes(&self) {
        let turns = self.turns.clone();
        self.actor(async move {
            turns.wait_last("a moment passes").await;
            tokio::time::advance(TICK).await;
        });
    }

    /// Lets everything run that can.
    pub(super) async fn settle(&self) {
        for _ in 0..ROUNDS {
            tokio::task::yield_now().await;
        }
    }

    /// Lets the oldest go until `done`: what comes before the scene.
    pub(super) async fn first_come_first_served(&self, done: impl Fn(&Self) -> bool) {
        for _ in 0..STEPS_MAX {
            self.settle().await;
            if done(self) {
                return;
            }
            if self.turns.waiting() > 0 && self.turns.has_step() {
                self.turns.choose(0);
            }
        }
        panic!("the scene was never set");
    }

    /// Starts the gateway, with its sweeps.
    pub(super) async fn started(&self) {
        let gate = self.gateway.gate.clone();
        self.actor(async move { gate.start().await.expect("starts") });
        self.first_come_first_served(|stage| stage.acting.load(Ordering::Relaxed) == 0).await;
    }

    /// Parks one call: its commit is done, and its gateway has not heard of it.
    pub(super) async fn parked(&self) -> Approval {
        let found = |stage: &Self| stage.shared.account(|shadow, _| shadow.known().values().next().cloned());
        self.first_come_first_served(|stage| found(stage).is_some()).await;
        found(self).expect("it is parked")
    }

    /// Goes through the scene in the chosen order, to the end of everybody in it.
    pub(super) async fn play(&mut self) {
        let mut slept = Duration::ZERO;
        for _ in 0..STEPS_MAX {
            self.settle().await;
            let (waiting, acting) = (self.turns.waiting(), self.acting.load(Ordering::Relaxed));
            match waiting {
                0 if acting == 0 => return self.end(),
                0 => {
                    // Nothing is left but time: a newer caller that is let go first, or a lost wake-up.
                    tokio::time::sleep(TICK).await;
                    slept += TICK;
                    if slept * 2 > POLL_INTERVAL {
                        return self.shared.account(|shadow, _| shadow.wrong("somebody sleeps through the end"));
                    }
                }
                waiting => {
                    let place = self.chooser.choose(waiting);
                    let name = self.turns.choose(place);
                    self.shared.account(|shadow, _| shadow.note(|| format!("turn: {name}")));
                }
            }
        }
        self.shared.account(|shadow, _| shadow.wrong("the scene does not end"));
    }

    pub(super) fn end(&self) {
        let now = self.clock.now();
        self.shared.account(|shadow, state| {
            let open = state.approvals.values().any(|approval| approval.status() == Status::Pending);
            shadow.must(!open, || "somebody decided, and nothing is".to_owned());
            shadow.close(state, Duration::from_secs(3_600), now);
        });
    }
}
