//! The waiters by themselves. They stand apart from `waiters.rs`, which the interleaving tests include as it is.

use super::waiters::Waiters;
use crate::domain::id::ApprovalId;
use crate::domain::time::Timestamp;

fn id(n: u8) -> ApprovalId {
    ApprovalId::new(Timestamp::from_millis(1), [n; 16])
}

#[tokio::test]
async fn a_wake_between_subscribing_and_waiting_is_not_lost() {
    let waiters = Waiters::default();
    let mut waiter = waiters.subscribe(id(1));
    waiters.wake(id(1));
    tokio::time::timeout(std::time::Duration::from_secs(5), waiter.woken()).await.expect("woken");
}

#[tokio::test]
async fn waking_one_approval_wakes_no_other() {
    let waiters = Waiters::default();
    let mut other = waiters.subscribe(id(2));
    waiters.wake(id(1));
    let woken = tokio::time::timeout(std::time::Duration::from_millis(20), other.woken()).await;
    assert!(woken.is_err());
}

#[test]
fn the_last_who_came_is_the_newest() {
    let waiters = Waiters::default();
    let (first, second) = (waiters.subscribe(id(1)), waiters.subscribe(id(1)));
    assert_eq!((first.is_newest(), second.is_newest()), (false, true));
}

#[test]
fn the_map_is_empty_when_everyone_has_gone() {
    let waiters = Waiters::default();
    let (first, second) = (waiters.subscribe(id(1)), waiters.subscribe(id(1)));
    drop(first);
    assert_eq!(waiters.count(), 1);
    drop(second);
    assert_eq!(waiters.count(), 0);
}
