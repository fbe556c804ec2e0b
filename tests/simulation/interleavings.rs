//! The real gate with every order of its steps chosen from outside: each request to the store, each answer to it, each caller
//! that leaves and the passing of time waits for its turn, and a search goes through the orders.
//!
//! Small scenes are searched whole. Larger ones are searched whole up to a number of deviations from "first come, first served",
//! and beyond that at random. After each order the account of the simulation is closed, and whoever waited where the decision was
//! made must have been woken: no scene has the time to poll.

mod stage;

use std::pin::Pin;

use crate::callers::Plan;
use crate::dice::Dice;
use crate::model::Plant;
use crate::seeds::number_from;
use crate::tables::{Act, MCP_TOOL, TABLES};
use crate::world::on_virtual_time;
use stage::{Chooser, Stage};

type Played = Pin<Box<dyn Future<Output = Stage>>>;
type Scene = fn(Stage) -> Played;

/// Plays a scene once; the choices there were, and what went wrong.
fn play(scene: Scene, plant: Option<Plant>, chooser: Chooser) -> (Chooser, Option<String>) {
    let stage = on_virtual_time(async move {
        let stage = Stage::new(plant, chooser);
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
fn search(scene: Scene, deviations_max: usize, plant: Option<Plant>) -> Searched {
    let mut path = Vec::new();
    let mut orders = 0;
    loop {
        let chooser = Chooser::Path { choices: path.clone(), arities: Vec::new() };
        let (Chooser::Path { arities, .. }, wrong) = play(scene, plant, chooser) else {
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

fn at_random(scene: Scene, orders: u64) -> Searched {
    let wrong = (0..orders).find_map(|seed| play(scene, None, Chooser::Random(Dice::new(seed))).1);
    Searched { orders: usize::try_from(orders).unwrap_or(usize::MAX), wrong }
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
        stage.caller(1, plan(attached_tool()), false);
        let approval = stage.parked().await;
        stage.decider(&approval, "alice", true);
        stage.play().await;
        stage
    })
}

fn decide_and_leave(mut stage: Stage) -> Played {
    Box::pin(async move {
        stage.caller(1, plan(attached_tool()), true);
        let approval = stage.parked().await;
        stage.decider(&approval, "alice", true);
        stage.play().await;
        stage
    })
}

fn decide_decide_and_withdraw(mut stage: Stage) -> Played {
    Box::pin(async move {
        stage.caller(1, plan(attached_tool()), false);
        let approval = stage.parked().await;
        stage.decider(&approval, "alice", true);
        stage.decider(&approval, "bob", false);
        stage.withdrawer(&approval);
        stage.play().await;
        stage
    })
}

fn decide_expire_withdraw_leave_and_release(mut stage: Stage) -> Played {
    Box::pin(async move {
        stage.started().await;
        stage.caller(1, plan(attached_tool()), true);
        let approval = stage.parked().await;
        stage.decider(&approval, "alice", true);
        stage.withdrawer(&approval);
        stage.time_passes(&approval);
        stage.play().await;
        stage
    })
}

fn decide_and_expire(mut stage: Stage) -> Played {
    Box::pin(async move {
        stage.started().await;
        stage.caller(1, plan(attached_tool()), false);
        let approval = stage.parked().await;
        stage.decider(&approval, "alice", true);
        stage.time_passes(&approval);
        stage.play().await;
        stage
    })
}

/// Two live requests of one call wait for one permit; the first of them hangs up.
fn two_callers_one_permit(mut stage: Stage) -> Played {
    Box::pin(async move {
        stage.caller(1, plan(MCP_TOOL), true);
        let approval = stage.parked().await;
        stage.caller(2, plan(MCP_TOOL), false);
        let joined = |stage: &Stage| stage.shared.account(|_, state| state.approvals[&approval.id].caller.waiting == 2);
        stage.first_come_first_served(joined).await;
        for who in ["alice", "bob"] {
            stage.decider(&approval, who, true);
        }
        stage.moment_passes();
        stage.play().await;
        stage
    })
}

#[expect(clippy::print_stdout, reason = "a search tells its figures")]
fn none_wrong(searched: &Searched, at_least: usize) {
    println!("{} orders", searched.orders);
    if let Some(wrong) = &searched.wrong {
        panic!("\n{wrong}\norder {}", searched.orders);
    }
    assert!(searched.orders >= at_least, "only {} orders", searched.orders);
}

#[test]
fn a_decision_reaches_whoever_waits_in_every_order() {
    none_wrong(&search(decide_and_wait, usize::MAX, None), 30);
}

#[test]
fn a_caller_that_leaves_beside_a_decision_leaves_a_grant_or_a_result_in_every_order() {
    none_wrong(&search(decide_and_leave, usize::MAX, None), 200);
}

#[test]
fn a_stale_timer_closes_nothing_in_any_order() {
    none_wrong(&search(decide_and_expire, 3, None), 500);
}

#[test]
fn of_two_decisions_and_a_withdrawal_one_stands_in_any_order() {
    none_wrong(&search(decide_decide_and_withdraw, 3, None), 1_000);
}

#[test]
fn decide_expire_withdraw_leave_and_release_agree_in_any_order() {
    none_wrong(&search(decide_expire_withdraw_leave_and_release, 2, None), 500);
    none_wrong(&at_random(decide_expire_withdraw_leave_and_release, 300), 300);
}

#[test]
fn one_permit_goes_to_one_of_two_callers_in_any_order() {
    none_wrong(&search(two_callers_one_permit, 2, None), 500);
    none_wrong(&at_random(two_callers_one_permit, 300), 300);
}

#[test]
fn the_search_finds_planted_faults() {
    let scenes: [(Plant, Scene); 3] = [
        (Plant::WakesNobody, decide_and_wait),
        (Plant::DecideOverwrites, decide_decide_and_withdraw),
        (Plant::DoubleTake, two_callers_one_permit),
    ];
    for (plant, scene) in scenes {
        let searched = search(scene, 2, Some(plant));
        println!("{plant:?}: after {} orders", searched.orders);
        assert!(searched.wrong.is_some(), "{plant:?} was not found in {} orders", searched.orders);
    }
}

#[test]
fn as_many_orders_as_are_asked_for() {
    let Some(orders) = number_from("HOLDPOINT_SIM_ORDERS") else { return };
    let scenes: [(&str, usize, Scene); 4] = [
        ("decide, expire", 5, decide_and_expire),
        ("decide, decide, withdraw", 4, decide_decide_and_withdraw),
        ("decide, expire, withdraw, leave, release", 3, decide_expire_withdraw_leave_and_release),
        ("two callers, one permit", 3, two_callers_one_permit),
    ];
    for (name, deviations_max, scene) in scenes {
        println!("{name}: up to {deviations_max} deviations, then {orders} at random");
        none_wrong(&search(scene, deviations_max, None), 1_000);
        none_wrong(&at_random(scene, orders), 1);
    }
}
