//! Parking: what an identical call finds, and the limits of the queue.

use std::sync::Arc;

use holdpoint::domain::approval::{Command, PermitFate, Status};
use holdpoint::store::{Applied, Parked, QueueLimit, Store, StoredRequest};

use super::samples::{
    action, again, approve, at, begin, call, change, create, detached, park, park_of, reject, told_about, with_key,
};

pub(super) async fn a_parked_call_is_read_back_as_it_was(store: Arc<dyn Store>) {
    let mut approval = detached(with_key(call(0), "k"));
    approval.subject.trace_id = Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned());
    approval.subject.preview = "{\"args\":{\"n\":1.0e2,\"text\":\"a\\u0000b \\\" 🙂\"}}".to_owned();
    let request = StoredRequest { sealed: vec![0, 1, 255] };
    let park = holdpoint::store::Park { request: Some(request.clone()), ..park_of(approval.clone()) };
    assert!(matches!(store.park(park, at(0)).await, Ok(Parked::Created(created)) if created == approval));
    assert_eq!(store.approval(approval.id).await.expect("reads"), Some(approval.clone()));
    assert_eq!(store.request(approval.id).await.expect("reads"), Some(request));
    assert_eq!(told_about(&store, approval.id).await, ["approval_created"]);
}

pub(super) async fn identical_calls_share_what_stands(store: Arc<dyn Store>) {
    let first = create(&store, call(0)).await;
    // Its caller waits: an identical call at the same time is a call of its own.
    let (outcome, second) = park(&store, again(&first, 1)).await;
    assert_eq!(outcome, "created");
    let second = second.expect("created");
    change(&store, second.id, Command::Cancel { by: holdpoint::domain::approval::Canceller::Agent, reason: None }, 1)
        .await;

    change(&store, first.id, Command::CallerLeft, 2).await;
    let (outcome, joined) = park(&store, again(&first, 3)).await;
    let joined = joined.expect("attached");
    assert_eq!((outcome, joined.id, joined.caller.waiting), ("attached", first.id, 1));

    change(&store, first.id, Command::CallerLeft, 4).await;
    change(&store, first.id, approve("alice"), 10).await;
    let (outcome, granted) = park(&store, again(&first, 59)).await;
    assert_eq!((outcome, granted.map(|old| old.id)), ("granted", Some(first.id)));
    let told = ["approval_created", "caller_left", "caller_joined", "caller_left", "approval_approved"];
    assert_eq!(told_about(&store, first.id).await, told, "a grant changes nothing until its permit is taken");

    change(&store, first.id, begin(&first), 59).await;
    let refused = "connection refused".to_owned();
    change(&store, first.id, Command::Fail { reason: refused, permit: PermitFate::Returned }, 59).await;
    assert_eq!(park(&store, again(&first, 59)).await.0, "granted", "the permit came back");
    let (outcome, asked) = park(&store, again(&first, 60)).await;
    assert_eq!(outcome, "created", "the grant is over");
    let asked = asked.expect("created");

    change(&store, asked.id, reject("bob"), 61).await;
    let (outcome, remembered) = park(&store, again(&first, 80)).await;
    assert_eq!((outcome, remembered.map(|old| old.id)), ("remembered", Some(asked.id)));
    assert_eq!(park(&store, again(&first, 81)).await.0, "created", "the rejection is forgotten");
}

pub(super) async fn a_key_names_one_call(store: Arc<dyn Store>) {
    let first = create(&store, with_key(call(0), "k")).await;
    let (outcome, joined) = park(&store, again(&first, 1)).await;
    assert_eq!((outcome, joined.map(|old| old.caller.waiting)), ("attached", Some(2)));
    assert_eq!(park(&store, with_key(call(2), "k")).await.0, "key reused");
    let mut foreign = with_key(call(2), "k");
    foreign.subject.agent.0 = "other-bot".to_owned();
    assert_eq!(park(&store, foreign).await.0, "created", "keys belong to an agent");

    change(&store, first.id, approve("alice"), 3).await;
    change(&store, first.id, begin(&first), 4).await;
    assert_eq!(park(&store, again(&first, 5)).await.0, "spent");
    change(&store, first.id, Command::Succeed { status: 200 }, 6).await;
    assert_eq!(park(&store, again(&first, 35)).await.0, "spent");
    assert_eq!(park(&store, again(&first, 36)).await.0, "created");
}

pub(super) async fn a_key_that_asks_again_ends_the_grant_it_had(store: Arc<dyn Store>) {
    let first = create(&store, detached(with_key(call(0), "k"))).await;
    change(&store, first.id, approve("alice"), 10).await;
    change(&store, first.id, begin(&first), 11).await;
    let failed = Command::Fail { reason: "refused".to_owned(), permit: PermitFate::Returned };
    change(&store, first.id, failed, 12).await;
    // By a clock that was set back, or another gateway's, there is no grant yet; by the one after it there is one again.
    let (outcome, second) = park(&store, again(&first, 9)).await;
    assert_eq!(outcome, "created");
    let refused = store.apply(first.id, begin(&first), at(13)).await.expect("answers");
    assert!(matches!(refused, Applied::Refused(_, _)), "one key is sent once: {refused:?}");
    let told = told_about(&store, first.id).await;
    assert_eq!(told.last().map(String::as_str), Some("release_refused"));
    assert_eq!(park(&store, again(&first, 14)).await.1.map(|old| old.id), second.map(|new| new.id));
}

pub(super) async fn an_action_is_created_once_for_a_key(store: Arc<dyn Store>) {
    let first = create(&store, action(with_key(call(0), "k"))).await;
    for second in [1, 50] {
        let (outcome, old) = park(&store, again(&first, second)).await;
        assert_eq!((outcome, old), ("standing", Some(first.clone())));
    }
    let (outcome, old) = park(&store, again(&first, 100)).await;
    assert_eq!((outcome, old.map(|old| old.status())), ("standing", Some(Status::Expired)));
    assert_eq!(park(&store, action(with_key(call(101), "k"))).await.0, "key reused");
    let mut unkeyed = again(&first, 101);
    unkeyed.subject.idempotency_key = None;
    assert_eq!(park(&store, unkeyed).await.0, "created");
}

pub(super) async fn limits_hold_and_open_up_again(store: Arc<dyn Store>) {
    let try_park = async |agent: &str| {
        let mut approval = call(0);
        approval.subject.agent.0 = agent.to_owned();
        let park =
            holdpoint::store::Park { pending_per_agent_max: 2, pending_total_max: 3, ..park_of(approval.clone()) };
        match store.park(park, at(0)).await.expect("answers") {
            Parked::Created(created) => Ok(created.id),
            Parked::Full(limit) => {
                assert_eq!(store.approval(approval.id).await.expect("reads"), None, "nothing was stored");
                Err(limit)
            }
            other => panic!("{other:?}"),
        }
    };
    let first = try_park("a").await.expect("room");
    let second = try_park("a").await.expect("room");
    assert_eq!(try_park("a").await, Err(QueueLimit::PerAgent));
    let third = try_park("b").await.expect("room");
    assert_eq!(try_park("c").await, Err(QueueLimit::Total));
    // However an approval is closed, its place is free again.
    change(&store, first, approve("alice"), 1).await;
    let fourth = try_park("a").await.expect("room again");
    change(&store, second, reject("alice"), 1).await;
    change(&store, third, Command::Cancel { by: holdpoint::domain::approval::Canceller::Policy, reason: None }, 1)
        .await;
    change(&store, fourth, Command::Expire { deadline: at(100) }, 100).await;
    for agent in ["a", "a", "c"] {
        try_park(agent).await.expect("room again");
    }
    assert_eq!(try_park("a").await, Err(QueueLimit::Total));
}

pub(super) async fn what_is_overdue_is_expired_before_anything_attaches(store: Arc<dyn Store>) {
    let first = create(&store, call(0)).await;
    change(&store, first.id, Command::CallerLeft, 1).await;
    let (outcome, second) = park(&store, again(&first, 100)).await;
    assert_eq!(outcome, "created");
    assert_ne!(second.expect("created").id, first.id);
    let expired = store.approval(first.id).await.expect("reads").expect("is there");
    assert_eq!(expired.status(), Status::Expired);
    assert_eq!(told_about(&store, first.id).await, ["approval_created", "caller_left", "approval_expired"]);
}
