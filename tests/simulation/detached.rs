//! Calls that the gateway sends itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holdpoint::domain::approval::rules::DETACHED_RETRY_PAUSE;
use holdpoint::domain::approval::{Approval, Execution, Status};

use crate::callers::{Plan, ask};
use crate::gateways::Gateway;
use crate::people::decides;
use crate::tables::{MCP_TOOL, TABLES};
use crate::world::{Shared, on_virtual_time};

/// A gateway where nothing fails.
async fn calm_gateway() -> (Arc<Shared>, Arc<Gateway>) {
    let shared = Shared::new(0, None, None);
    shared.calm.store(true, Ordering::Relaxed);
    let gateway = Gateway::new(&shared, 0, 0, Arc::clone(&TABLES[0].policy), Arc::new(shared.clock(0)));
    gateway.gate.start().await.expect("starts");
    (shared, gateway)
}

/// Parks a detached call and has it approved.
async fn approves_one(shared: &Arc<Shared>, gateway: &Arc<Gateway>, variant: u64) -> Approval {
    let lasting = |tool: &&'static str| {
        TABLES[0].ask(tool).is_some_and(|ask| ask.grant_ttl >= 60 && ask.approvers == [(None, 1)] && *tool != MCP_TOOL)
    };
    let tool = TABLES[0].acts.keys().copied().find(lasting).expect("a tool whose grant lasts");
    let plan = Plan { agent: "bot-2", tool, variant, key: None, patience: None, leaves: None };
    ask(shared, gateway, &plan, plan.request(1)).await.expect("is parked");
    let is_pending = |approval: &&Approval| approval.status() == Status::Pending;
    let parked = shared.account(|_, state| state.approvals.values().find(is_pending).cloned()).expect("is there");
    decides(shared, gateway, &parked, "alice", true, false).await;
    parked
}

/// One detached call is approved while the upstream refuses the first so many attempts, and time passes.
async fn approved_against(refusals: u64, time: Duration) -> (Arc<Shared>, Approval) {
    let (shared, gateway) = calm_gateway().await;
    shared.refusals.store(refusals, Ordering::Relaxed);
    let parked = approves_one(&shared, &gateway, 0).await;
    tokio::time::sleep(time).await;
    let now = shared.account(|_, state| state.approvals[&parked.id].clone());
    (shared, now)
}

#[test]
fn a_detached_call_whose_permit_came_back_is_sent_after_the_pause() {
    let (sent, before) = on_virtual_time(async {
        let (_, before) = approved_against(1, DETACHED_RETRY_PAUSE / 2).await;
        let (shared, sent) = approved_against(1, DETACHED_RETRY_PAUSE * 4).await;
        assert_eq!(shared.finish().violation, None);
        (sent, before)
    });
    assert!(matches!(before.execution, Execution::Failed { .. }), "not at once: {:?}", before.execution);
    assert!(matches!(sent.execution, Execution::Succeeded { .. }), "{:?}", sent.execution);
}

#[test]
fn a_detached_call_that_is_never_taken_is_not_tried_beyond_its_grant() {
    let (shared, now) = on_virtual_time(approved_against(u64::MAX, Duration::from_secs(300)));
    assert!(matches!(now.execution, Execution::Failed { .. }), "{:?}", now.execution);
    let attempts = shared.finish().figures.get("sent: Nothing").copied().unwrap_or_default();
    // A grant of one minute, a pause of five seconds, and a look every five.
    assert!((5..=13).contains(&attempts), "{attempts} attempts");
}

#[test]
fn the_sweep_takes_up_each_call_once_that_waits_for_its_turn() {
    let (before, after, held) = on_virtual_time(async {
        let (shared, gateway) = calm_gateway().await;
        shared.silent.store(true, Ordering::Relaxed);
        for variant in 0..70 {
            approves_one(&shared, &gateway, variant).await;
        }
        tokio::time::sleep(Duration::from_secs(6)).await;
        let before = gateway.tasks();
        tokio::time::sleep(Duration::from_secs(600)).await;
        let is_held = |approval: &&Approval| matches!(approval.execution, Execution::Held);
        let held = shared.account(|_, state| state.approvals.values().filter(is_held).count());
        (before, gateway.tasks(), held)
    });
    assert_eq!(held, 6, "those that have no turn");
    assert_eq!(after, before, "no task more than at first");
}
