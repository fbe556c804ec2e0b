//! The real gate with every order of its steps chosen from outside: each request to the store, each answer to it, each caller
//! that leaves and the passing of time waits for its turn, and a search goes through the orders.
//!
//! Small scenes are searched whole. Larger ones are searched whole up to a number of deviations from "first come, first served",
//! and beyond that at random. After each order the account of the simulation is closed, and whoever waited where the decision was
//! made must have been woken: no scene has the time to poll.

use std::pin::Pin;
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
use crate::tables::{Act, MCP_TOOL, TABLES, table};
use crate::turns::Turns;
use crate::world::{Shared, on_virtual_time};

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
struct Stage {
    shared: Arc<Shared>,
    turns: Turns,
    clock: Arc<SteppedClock>,
    gateways: Vec<Arc<Gateway>>,
    acting: Arc<AtomicUsize>,
    chooser: Chooser,
}

/// Which of those that wait goes next.
enum Chooser {
    /// These choices first, the oldest afterwards; how many there were to choose from each time.
    Path { choices: Vec<usize>, arities: Vec<usize> },
    /// Any.
    Random(Dice),
}

impl Chooser {
    fn choose(&mut self, waiting: usize) -> usize {
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
    fn new(gateways: usize, plant: Option<Plant>, chooser: Chooser) -> Self {
        let turns = Turns::default();
        let shared = Shared::new(0, plant, Some(turns.clone()));
        let clock = Arc::new(SteppedClock(AtomicI64::new(1_767_225_600_000)));
        let gateway = |number| {
            let policy = Arc::clone(&TABLES[0].policy);
            Gateway::new(&shared, number, number as u64, policy, Arc::clone(&clock) as Arc<dyn Clock>)
        };
        let gateways = (0..gateways).map(gateway).collect();
        Self { shared, turns, clock, gateways, acting: Arc::default(), chooser }
    }

    /// Somebody who acts: the scene ends when all of them have.
    fn actor(&self, acts: impl Future<Output = ()> + Send + 'static) {
        let acting = Arc::clone(&self.acting);
        acting.fetch_add(1, Ordering::Relaxed);
        self.shared.tasks.spawn(async move {
            acts.await;
            acting.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// A caller that waits at a gateway, and may hang up.
    fn caller(&self, number: u64, at: usize, plan: Plan, hangs_up: bool) {
        let (shared, turns, gateway) = (Arc::clone(&self.shared), self.turns.clone(), Arc::clone(&self.gateways[at]));
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

    fn decider(&self, at: usize, approval: &Approval, who: &'static str, approves: bool) {
        let (shared, gateway, approval) =
            (Arc::clone(&self.shared), Arc::clone(&self.gateways[at]), approval.clone());
        self.actor(async move { decides(&shared, &gateway, &approval, who, approves, false).await });
    }

    fn withdrawer(&self, at: usize, approval: &Approval) {
        let (shared, gateway, id) = (Arc::clone(&self.shared), Arc::clone(&self.gateways[at]), approval.id);
        let agent = AgentId(approval.subject.agent.0.clone());
        self.actor(async move { withdraws_one(&shared, &gateway, id, &agent).await });
    }

    /// The deadline passes, and the sweep of a gateway that was started looks.
    fn time_passes(&self, approval: &Approval) {
        let (turns, clock, deadline) = (self.turns.clone(), Arc::clone(&self.clock), approval.terms.expires_at);
        self.actor(async move {
            turns.wait_last("the deadline passes").await;
            clock.0.store(deadline.as_millis(), Ordering::Relaxed);
            tokio::time::advance(TICK).await;
        });
    }

    /// So much time passes as an older waiter leaves to a newer one.
    fn moment_passes(&self) {
        let turns = self.turns.clone();
        self.actor(async move {
            turns.wait_last("a moment passes").await;
            tokio::time::advance(TICK).await;
        });
    }

    /// Lets everything run that can.
    async fn settle(&self) {
        for _ in 0..ROUNDS {
            tokio::task::yield_now().await;
        }
    }

    /// Lets the oldest go until `done`: what comes before the scene.
    async fn first_come_first_served(&self, done: impl Fn(&Self) -> bool) {
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

    /// Parks one call: its commit is done, and its gateway has not heard of it.
    async fn parked(&self) -> Approval {
        let found = |stage: &Self| stage.shared.account(|shadow, _| shadow.known().values().next().cloned());
        self.first_come_first_served(|stage| found(stage).is_some()).await;
        found(self).expect("it is parked")
    }

    /// Goes through the scene in the chosen order, to the end of everybody in it.
    async fn play(&mut self) {
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

    fn end(&self) {
        let now = self.clock.now();
        self.shared.account(|shadow, state| {
            let open = state.approvals.values().any(|approval| approval.status() == Status::Pending);
            shadow.must(!open, || "somebody decided, and nothing is".to_owned());
            shadow.close(state, Duration::from_secs(3_600), now);
        });
    }
}

type Played = Pin<Box<dyn Future<Output = Stage>>>;
type Scene = fn(Stage) -> Played;

/// Plays a scene once; the choices there were, and what went wrong.
fn play(scene: Scene, gateways: usize, plant: Option<Plant>, chooser: Chooser) -> (Chooser, Option<String>) {
    let stage = on_virtual_time(async move {
        let stage = Stage::new(gateways, plant, chooser);
        scene(stage).await
    });
    let run = stage.shared.finish();
    let wrong = run.violation.map(|violation| format!("{}\n{violation}", run.log.join("\n")));
    (stage.chooser, wrong)
}

/// What a search came to.
struct Searched {
    orders: usize,
    wrong: Option<String>,
}

/// Plays a scene in every order with at most so many deviations from first come, first served.
fn search(scene: Scene, gateways: usize, deviations_max: usize, plant: Option<Plant>) -> Searched {
    let mut path = Vec::new();
    let mut orders = 0;
    loop {
        let chooser = Chooser::Path { choices: path.clone(), arities: Vec::new() };
        let (Chooser::Path { arities, .. }, wrong) = play(scene, gateways, plant, chooser) else {
            unreachable!("a path stays a path")
        };
        orders += 1;
        if wrong.is_some() {
            return Searched { orders, wrong };
        }
        path.resize(arities.len(), 0);
        // The next order: the last choice that can still be another one.
        loop {
            let Some(last) = path.pop() else { return Searched { orders, wrong: None } };
            let before = path.iter().filter(|choice| **choice > 0).count();
            if last + 1 < arities[path.len()] && before < deviations_max {
                path.push(last + 1);
                break;
            }
        }
    }
}

fn at_random(scene: Scene, gateways: usize, orders: u64) -> Option<String> {
    (0..orders).find_map(|seed| play(scene, gateways, None, Chooser::Random(Dice::new(seed))).1)
}

/// A call of a tool that the first revision asks about, sent by its caller and approved by one person.
fn plan(tool: &'static str) -> Plan {
    Plan { agent: "bot-2", tool, variant: 0, key: None, patience: Some(60_000), leaves: None }
}

/// A plain tool whose call its caller sends.
fn attached_tool() -> &'static str {
    let one = |acts: &Act| matches!(acts, Act::Ask(ask) if !ask.detached && ask.approvers == [(None, 1)]);
    let acts = &TABLES[0].acts;
    acts.iter().find(|(tool, act)| **tool != MCP_TOOL && one(act)).map(|(tool, _)| *tool).expect("there is one")
}

fn decide_and_wait(mut stage: Stage) -> Played {
    Box::pin(async move {
        stage.caller(1, 0, plan(attached_tool()), false);
        let approval = stage.parked().await;
        stage.decider(0, &approval, "alice", true);
        stage.play().await;
        stage
    })
}

fn decide_and_leave(mut stage: Stage) -> Played {
    Box::pin(async move {
        stage.caller(1, 0, plan(attached_tool()), true);
        let approval = stage.parked().await;
        stage.decider(0, &approval, "alice", true);
        stage.play().await;
        stage
    })
}

fn decide_decide_and_withdraw(mut stage: Stage) -> Played {
    Box::pin(async move {
        stage.caller(1, 0, plan(attached_tool()), false);
        let approval = stage.parked().await;
        stage.decider(0, &approval, "alice", true);
        stage.decider(0, &approval, "bob", false);
        stage.withdrawer(0, &approval);
        stage.play().await;
        stage
    })
}

fn decide_expire_withdraw_leave_and_release(mut stage: Stage) -> Played {
    Box::pin(async move {
        let gate = stage.gateways[0].gate.clone();
        stage.actor(async move { gate.start().await.expect("starts") });
        stage.first_come_first_served(|stage| stage.acting.load(Ordering::Relaxed) == 0).await;
        stage.caller(1, 0, plan(attached_tool()), true);
        let approval = stage.parked().await;
        stage.decider(0, &approval, "alice", true);
        stage.withdrawer(0, &approval);
        stage.time_passes(&approval);
        stage.play().await;
        stage
    })
}

fn decide_and_expire(mut stage: Stage) -> Played {
    Box::pin(async move {
        let gate = stage.gateways[0].gate.clone();
        stage.actor(async move { gate.start().await.expect("starts") });
        stage.first_come_first_served(|stage| stage.acting.load(Ordering::Relaxed) == 0).await;
        stage.caller(1, 0, plan(attached_tool()), false);
        let approval = stage.parked().await;
        stage.decider(0, &approval, "alice", true);
        stage.time_passes(&approval);
        stage.play().await;
        stage
    })
}

/// Two live requests of one call wait for one permit; the first of them hangs up.
fn two_callers_one_permit(mut stage: Stage) -> Played {
    Box::pin(async move {
        stage.caller(1, 0, plan(MCP_TOOL), true);
        let approval = stage.parked().await;
        stage.caller(2, 0, plan(MCP_TOOL), false);
        let joined = |stage: &Stage| stage.shared.account(|_, state| state.approvals[&approval.id].caller.waiting == 2);
        stage.first_come_first_served(joined).await;
        for who in ["alice", "bob"] {
            stage.decider(0, &approval, who, true);
        }
        stage.moment_passes();
        stage.play().await;
        stage
    })
}

fn none_wrong(searched: &Searched, at_least: usize) {
    println!("{} orders", searched.orders);
    if let Some(wrong) = &searched.wrong {
        panic!("\n{wrong}\norder {}", searched.orders);
    }
    assert!(searched.orders >= at_least, "only {} orders", searched.orders);
}

#[test]
fn a_decision_reaches_whoever_waits_in_every_order() {
    none_wrong(&search(decide_and_wait, 1, usize::MAX, None), 10);
}

#[test]
fn a_caller_that_leaves_beside_a_decision_leaves_a_grant_or_a_result_in_every_order() {
    none_wrong(&search(decide_and_leave, 1, usize::MAX, None), 50);
}

#[test]
fn a_stale_timer_closes_nothing_in_every_order() {
    none_wrong(&search(decide_and_expire, 1, 4, None), 100);
}

#[test]
fn of_two_decisions_and_a_withdrawal_one_stands_in_every_order() {
    none_wrong(&search(decide_decide_and_withdraw, 1, 3, None), 500);
}

#[test]
fn decide_expire_withdraw_leave_and_release_agree_in_every_order() {
    none_wrong(&search(decide_expire_withdraw_leave_and_release, 1, 3, None), 500);
    let wrong = at_random(decide_expire_withdraw_leave_and_release, 1, 1_500);
    assert!(wrong.is_none(), "{}", wrong.unwrap_or_default());
}

#[test]
fn one_permit_goes_to_one_of_two_callers_in_every_order() {
    none_wrong(&search(two_callers_one_permit, 1, 2, None), 200);
    let wrong = at_random(two_callers_one_permit, 1, 1_000);
    assert!(wrong.is_none(), "{}", wrong.unwrap_or_default());
}

#[test]
fn the_search_finds_planted_faults() {
    let scenes: [(Plant, Scene); 3] = [
        (Plant::WakesNobody, decide_and_wait),
        (Plant::DecideOverwrites, decide_decide_and_withdraw),
        (Plant::DoubleTake, two_callers_one_permit),
    ];
    for (plant, scene) in scenes {
        let searched = search(scene, 1, 3, Some(plant));
        println!("{plant:?}: after {} orders", searched.orders);
        assert!(searched.wrong.is_some(), "{plant:?} was not found in {} orders", searched.orders);
    }
    assert!(table(TABLES[0].policy.revision()).is_some());
}
