//! Many at once: one wins, the others are told.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use holdpoint::domain::approval::{Approval, Canceller, Command, Refusal, State, Status};
use holdpoint::domain::audit::verify_to;
use holdpoint::store::{Applied, AuditFilter, Error, Parked, Store};

use super::samples::{again, approve, at, begin, call, change, create, kind, park_of, reject, told_about, trail};

/// Runs the commands at the same time, each on a task of its own, and returns what each was told.
async fn race(store: &Arc<dyn Store>, approval: &Approval, commands: Vec<(Command, i64)>) -> Vec<Applied> {
    let tasks = commands.into_iter().map(|(command, second)| {
        let (store, id) = (Arc::clone(store), approval.id);
        let run = async move { store.apply(id, command, at(second)).await.expect("answers") };
        tokio::task::JoinSet::from_iter([run])
    });
    let outcomes = tasks.map(|mut set| async move { set.join_next().await.expect("one task").expect("no panic") });
    join_all(outcomes.collect::<Vec<_>>()).await
}

fn winners(outcomes: &[Applied]) -> Vec<&Approval> {
    let changed = |outcome: &'_ Applied| matches!(outcome, Applied::Changed(_));
    outcomes
        .iter()
        .filter(|outcome| changed(outcome))
        .map(|outcome| match outcome {
            Applied::Changed(approval) => approval,
            Applied::Same(_) | Applied::Refused(..) | Applied::Missing => unreachable!("filtered"),
        })
        .collect()
}

pub(super) async fn of_a_hundred_deciders_one_wins_and_the_others_see_who(store: Arc<dyn Store>) {
    let approval = create(&store, call(0)).await;
    let commands = (0..100).map(|n| {
        let who = format!("reviewer-{n}");
        (if n % 2 == 0 { approve(&who) } else { reject(&who) }, 1)
    });
    let outcomes = race(&store, &approval, commands.collect()).await;
    let [winner] = winners(&outcomes)[..] else { panic!("one wins: {outcomes:?}") };
    for outcome in &outcomes {
        match outcome {
            Applied::Changed(_) => {}
            Applied::Refused(stands, Refusal::AlreadyClosed(status)) => {
                assert_eq!((stands, *status), (winner, winner.status()), "the loser sees who won, what and when");
            }
            other => panic!("{other:?}"),
        }
    }
    let told = told_about(&store, approval.id).await;
    assert_eq!(told.len(), 2, "one record of one decision: {told:?}");
}

pub(super) async fn decision_expiry_and_withdrawal_race_for_one_place(store: Arc<dyn Store>) {
    let mut seen = HashSet::new();
    for round in 0..30 {
        let approval = create(&store, call(0)).await;
        let commands = (0..50).map(|n| match (n + round) % 4 {
            0 => (approve(&format!("reviewer-{n}")), 99),
            1 => (reject(&format!("reviewer-{n}")), 99),
            2 => (Command::Expire { deadline: at(100) }, 100),
            _ => (Command::Cancel { by: Canceller::Agent, reason: None }, 99),
        });
        let outcomes = race(&store, &approval, commands.collect()).await;
        let [winner] = winners(&outcomes)[..] else { panic!("one wins: {outcomes:?}") };
        assert_ne!(winner.state, State::Pending);
        assert_eq!(store.approval(approval.id).await.expect("reads").as_ref(), Some(winner));
        assert_eq!(told_about(&store, approval.id).await.len(), 2);
        seen.insert(winner.status());
    }
    assert!(seen.len() > 1, "every kind of winner but one was starved: {seen:?}");
    assert!(!seen.contains(&Status::Pending));
}

pub(super) async fn one_of_fifty_takes_the_permit(store: Arc<dyn Store>) {
    let approval = create(&store, call(0)).await;
    let bystander = create(&store, call(0)).await;
    change(&store, approval.id, approve("alice"), 1).await;
    let outcomes = race(&store, &approval, vec![(begin(&approval), 2); 50]).await;
    assert_eq!(winners(&outcomes).len(), 1);
    let spent = |outcome: &&Applied| matches!(outcome, Applied::Refused(_, Refusal::PermitSpent));
    assert_eq!(outcomes.iter().filter(spent).count(), 49);
    // Approving one call approved no other.
    let other = store.apply(bystander.id, begin(&bystander), at(2)).await;
    assert!(matches!(other, Ok(Applied::Refused(_, Refusal::NotApproved))));
}

pub(super) async fn a_request_that_fails_takes_no_other_with_it(store: Arc<dyn Store>) {
    let first = create(&store, call(0)).await;
    let parks = (0..200).map(|n| {
        let mut approval = call(1);
        if n % 20 == 7 {
            approval.id = first.id;
        }
        let store = Arc::clone(&store);
        async move { store.park(park_of(approval), at(1)).await }
    });
    let outcomes = join_all(parks.collect::<Vec<_>>()).await;
    for (n, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(Parked::Created(_)) => assert_ne!(n % 20, 7),
            Err(Error::Corrupt(_)) => assert_eq!(n % 20, 7, "only the id that exists is refused"),
            other => panic!("{n}: {other:?}"),
        }
    }
    let newest = store.audit_head().await.expect("reads");
    assert_eq!(newest, 191);
    verify_to(newest, trail(&store).await).expect("the trail is intact");
    let figures = store.figures(at(1)).await.expect("reads");
    assert_eq!(figures.pending.iter().map(|(_, _, count)| count).sum::<u64>(), 191);
    assert_eq!(store.approval(first.id).await.expect("reads"), Some(first));
}

/// Expiring what is overdue comes first; then the new approval cannot be stored, because its id is taken.
pub(super) async fn a_request_that_fails_half_way_is_undone_whole(store: Arc<dyn Store>) {
    let overdue = create(&store, call(0)).await;
    let taken = create(&store, call(50)).await;
    let newest = store.audit_head().await.expect("reads");
    let mut approval = again(&overdue, 100);
    approval.id = taken.id;
    assert!(matches!(store.park(park_of(approval), at(100)).await, Err(Error::Corrupt(_))));
    assert_eq!(store.approval(overdue.id).await.expect("reads"), Some(overdue), "still pending");
    assert_eq!(store.audit_head().await.expect("reads"), newest);
    let full = |pending_total_max| holdpoint::store::Park { pending_total_max, ..park_of(call(60)) };
    assert!(matches!(store.park(full(2), at(60)).await, Ok(Parked::Full(_))), "both still count");
    assert!(matches!(store.park(full(3), at(60)).await, Ok(Parked::Created(_))));
    let newest = store.audit_head().await.expect("reads");
    verify_to(newest, trail(&store).await).expect("the chain goes on where it was");
}

pub(super) async fn a_dropped_future_leaves_no_half_of_its_work(store: Arc<dyn Store>) {
    for _ in 0..50 {
        let mut parking = Box::pin(store.park(park_of(call(0)), at(0)));
        // Polled once, so that it is on its way, and dropped.
        drop(futures_util::poll!(&mut parking));
    }
    store.check().await.expect("works");
    let page = store.list(holdpoint::store::Filter::default(), None, 1000, at(0)).await.expect("reads");
    let created = store.audit(AuditFilter::default(), 1000).await.expect("reads");
    assert_eq!(created.iter().filter(|record| kind(record) == "approval_created").count(), page.approvals.len());
    assert_eq!(page.approvals.len(), 50, "what was handed over is done");
}
