//! Commands, what is stored beside an approval, recovery, sessions.

use std::sync::Arc;

use holdpoint::domain::approval::{Approval, Command, Execution, PermitFate, Refusal, Status};
use holdpoint::domain::audit::EventKind;
use holdpoint::store::{Applied, Park, Recovery, Session, Store, StoredRequest, StoredResult};

use super::samples::{
    approve, at, begin, call, change, create, detached, event, kind, park_of, reject, told_about, trail,
};

pub(super) async fn a_call_goes_through_its_life_and_the_trail_tells_it(store: Arc<dyn Store>) {
    let approval = create(&store, call(0)).await;
    change(&store, approval.id, Command::MarkStale { revision: "r2".to_owned() }, 1).await;
    let approved = change(&store, approval.id, approve("alice"), 2).await;
    assert_eq!((approved.status(), approved.version), (Status::Approved, 2));
    assert!(
        matches!(store.apply(approval.id, approve("alice"), at(3)).await, Ok(Applied::Same(same)) if same == approved)
    );
    change(&store, approval.id, begin(&approval), 4).await;
    let done = change(&store, approval.id, Command::Succeed { status: 201 }, 5).await;
    assert_eq!(done.execution, Execution::Succeeded { at: at(5), status: 201 });
    assert_eq!(store.approval(approval.id).await.expect("reads"), Some(done));
    let told = ["approval_created", "approval_stale", "approval_approved", "release_started", "release_succeeded"];
    assert_eq!(told_about(&store, approval.id).await, told);
}

pub(super) async fn what_is_not_there_is_missing(store: Arc<dyn Store>) {
    let id = call(0).id;
    assert!(matches!(store.apply(id, approve("alice"), at(1)).await, Ok(Applied::Missing)));
    let kept = StoredResult { sealed: vec![1], expires_at: at(9) };
    assert!(matches!(
        store.finish(id, Command::Succeed { status: 200 }, Some(kept), at(1)).await,
        Ok(Applied::Missing)
    ));
    assert_eq!(store.approval(id).await.expect("reads"), None);
    assert_eq!(store.request(id).await.expect("reads"), None);
    assert_eq!(store.result(id, at(1)).await.expect("reads"), None);
    assert_eq!(store.session([1; 32], at(1)).await.expect("reads"), None);
    assert_eq!(store.audit_head().await.expect("reads"), 0);
    assert_eq!(store.forget(at(1)).await.expect("answers"), 0);
}

pub(super) async fn a_refusal_shows_what_stands_and_writes_nothing(store: Arc<dyn Store>) {
    let approval = create(&store, call(0)).await;
    let rejected = change(&store, approval.id, reject("alice"), 1).await;
    let before = store.audit_head().await.expect("reads");
    match store.apply(approval.id, approve("bob"), at(2)).await.expect("answers") {
        Applied::Refused(stands, refusal) => {
            assert_eq!((stands, refusal), (rejected, Refusal::AlreadyClosed(Status::Rejected)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.audit_head().await.expect("reads"), before);
}

pub(super) async fn results_and_requests_are_kept_as_long_as_they_may_be(store: Arc<dyn Store>) {
    let park_detached = async || {
        let approval = detached(call(0));
        let request = Some(StoredRequest { sealed: b"request".to_vec() });
        store.park(Park { request, ..park_of(approval.clone()) }, at(0)).await.expect("parks");
        approval
    };
    let (sent, rejected, returned) = (park_detached().await, park_detached().await, park_detached().await);
    let pending = park_detached().await;
    change(&store, rejected.id, reject("alice"), 1).await;
    for approval in [&sent, &returned] {
        change(&store, approval.id, approve("alice"), 1).await;
        change(&store, approval.id, begin(approval), 2).await;
    }
    assert_eq!(store.forget(at(2)).await.expect("answers"), 1, "the rejected call's request");
    let refused = Command::Fail { reason: "refused".to_owned(), permit: PermitFate::Returned };
    change(&store, returned.id, refused, 3).await;
    let result = StoredResult { sealed: b"answer".to_vec(), expires_at: at(40) };
    let succeed = Command::Succeed { status: 200 };
    let finished = store.finish(sent.id, succeed.clone(), Some(result.clone()), at(3)).await;
    assert!(matches!(finished, Ok(Applied::Changed(_))));
    // A second, refused outcome does not replace the first one's answer.
    let other = StoredResult { sealed: b"other".to_vec(), expires_at: at(90) };
    assert!(matches!(store.finish(sent.id, succeed, Some(other), at(4)).await, Ok(Applied::Refused(..))));
    assert_eq!(store.result(sent.id, at(39)).await.expect("reads"), Some(result));
    assert_eq!(store.result(sent.id, at(40)).await.expect("reads"), None, "its time is over");

    assert_eq!(store.forget(at(39)).await.expect("answers"), 1, "the request that was sent");
    assert_eq!(store.forget(at(40)).await.expect("answers"), 1, "the answer");
    assert_eq!(store.forget(at(40)).await.expect("answers"), 0, "idempotent");
    assert!(store.request(returned.id).await.expect("reads").is_some(), "a retry may send it");
    assert_eq!(store.forget(at(51)).await.expect("answers"), 1, "the grant is over");
    assert!(store.request(pending.id).await.expect("reads").is_some());
}

pub(super) async fn the_request_of_a_grant_is_kept_as_long_as_the_grant(store: Arc<dyn Store>) {
    let park_attached = async || {
        let mut approval = call(0);
        approval.caller.waiting = 0;
        approval.terms.grant_ttl = std::time::Duration::from_millis(50_500);
        let request = Some(StoredRequest { sealed: b"request".to_vec() });
        store.park(Park { request, ..park_of(approval.clone()) }, at(0)).await.expect("parks");
        change(&store, approval.id, approve("alice"), 1).await;
        approval
    };
    let (held, returned, spent) = (park_attached().await, park_attached().await, park_attached().await);
    let waited_for = park_attached().await;
    change(&store, waited_for.id, Command::CallerJoined, 2).await;
    for (approval, permit) in [(&returned, PermitFate::Returned), (&spent, PermitFate::Spent)] {
        change(&store, approval.id, begin(approval), 2).await;
        change(&store, approval.id, Command::Fail { reason: "refused".to_owned(), permit }, 3).await;
    }
    let is_kept = async |approval: &Approval| store.request(approval.id).await.expect("reads").is_some();
    assert_eq!(store.forget(at(51)).await.expect("answers"), 1, "the one whose permit is spent");
    assert!(!is_kept(&spent).await);
    for approval in [&held, &returned, &waited_for] {
        assert!(is_kept(approval).await, "{:?}", approval.id);
    }
    assert_eq!(store.forget(at(52)).await.expect("answers"), 2, "two grants are over");
    assert!(is_kept(&waited_for).await, "a grant lasts while somebody waits");
    change(&store, waited_for.id, Command::CallerLeft, 53).await;
    assert_eq!(store.forget(at(53)).await.expect("answers"), 1);
}

pub(super) async fn recovery_finds_what_was_in_flight_once(store: Arc<dyn Store>) {
    let waits = create(&store, call(0)).await;
    change(&store, waits.id, Command::CallerJoined, 1).await;
    let releasing = create(&store, call(0)).await;
    change(&store, releasing.id, approve("alice"), 1).await;
    change(&store, releasing.id, begin(&releasing), 2).await;
    let idle = create(&store, detached(call(0))).await;
    assert_eq!(store.recover(at(9)).await.expect("recovers"), Recovery { unknown: 1, left: 2 });
    let read = async |id| store.approval(id).await.expect("reads").expect("is there");
    assert!(matches!(read(releasing.id).await.execution, Execution::Unknown { .. }));
    let caller = read(waits.id).await.caller;
    assert_eq!((caller.waiting, caller.left_at), (0, Some(at(9))));
    assert_eq!(read(idle.id).await, idle);
    assert_eq!(store.recover(at(10)).await.expect("recovers"), Recovery::default(), "idempotent");
    assert_eq!(told_about(&store, waits.id).await, ["approval_created", "caller_left"]);
    // What may have been sent is never sent again.
    let again = store.apply(releasing.id, begin(&releasing), at(10)).await;
    assert!(matches!(again, Ok(Applied::Refused(_, Refusal::PermitSpent))));
}

pub(super) async fn sessions_begin_and_end_with_a_record(store: Arc<dyn Store>) {
    let session = |id: u8| Session {
        id_sha256: [id; 32],
        reviewer: "alice".to_owned(),
        csrf: "token".to_owned(),
        expires_at: at(10),
    };
    for id in [1, 2] {
        store.open_session(session(id), event(EventKind::SignedIn, 0)).await.expect("opens");
    }
    assert!(store.open_session(session(1), event(EventKind::SignedIn, 0)).await.is_err(), "one session has one id");
    assert_eq!(store.session([1; 32], at(9)).await.expect("reads"), Some(session(1)));
    assert_eq!(store.session([1; 32], at(10)).await.expect("reads"), None, "its time is over");
    store.close_session([1; 32], event(EventKind::SignedOut, 5)).await.expect("closes");
    assert_eq!(store.session([1; 32], at(9)).await.expect("reads"), None);
    store.close_session([1; 32], event(EventKind::SignedOut, 6)).await.expect("closes what is not there");
    let kinds: Vec<String> = trail(&store).await.iter().map(kind).collect();
    assert_eq!(kinds, ["signed_in", "signed_in", "signed_out"]);
    assert_eq!(store.forget(at(10)).await.expect("answers"), 1);
}
