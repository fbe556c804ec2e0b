//! Listings, figures, the trail.

use std::sync::Arc;

use holdpoint::domain::approval::{Approval, Canceller, Command, PermitFate, Risk, SlaState, Status, rules};
use holdpoint::domain::audit::{EventKind, Head, verify, verify_from};
use holdpoint::domain::id::ApprovalId;
use holdpoint::store::{AuditFilter, Filter, Sort, Store};

use super::samples::{action, approve, at, begin, call, change, create, detached, event, reject};

pub(super) async fn pages_hold_everything_once_in_order(store: Arc<dyn Store>) {
    let mut ids = Vec::new();
    for second in 0..25 {
        let approval = create(&store, call(second)).await;
        if second % 3 == 0 {
            change(&store, approval.id, approve("alice"), second).await;
        }
        ids.push((approval.id, second % 3 != 0));
    }
    for limit in [1, 7, 25, 26] {
        for sort in [Sort::Newest, Sort::Oldest] {
            for statuses in [vec![], vec![Status::Pending], vec![Status::Pending, Status::Approved]] {
                let only_pending = statuses == [Status::Pending];
                let mut expected: Vec<ApprovalId> =
                    ids.iter().filter(|(_, pending)| *pending || !only_pending).map(|(id, _)| *id).collect();
                if sort == Sort::Newest {
                    expected.reverse();
                }
                let filter = Filter { statuses, sort, ..Filter::default() };
                assert_eq!(all(&store, filter, limit).await, expected, "limit {limit}, {sort:?}");
            }
        }
    }
    assert_eq!(store.list(Filter::default(), None, 0, at(0)).await.expect("reads").approvals.len(), 1);
}

async fn all(store: &Arc<dyn Store>, filter: Filter, limit: u32) -> Vec<ApprovalId> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(filter.clone(), after, limit, at(0)).await.expect("reads");
        assert!(page.approvals.len() <= limit as usize);
        found.extend(page.approvals.iter().map(|approval| approval.id));
        match page.next {
            Some(next) => {
                assert_eq!(Some(&next), found.last(), "the next page begins behind the last approval");
                after = Some(next);
            }
            None => return found,
        }
    }
}

pub(super) async fn each_filter_narrows(store: Arc<dyn Store>) {
    let edited = |edit: fn(&mut Approval), second| {
        let mut approval = call(second);
        edit(&mut approval);
        approval
    };
    let plain = create(&store, call(0)).await.id;
    let other = create(
        &store,
        edited(
            |approval| {
                approval.subject.agent.0 = "Other-Bot".to_owned();
                approval.subject.name = "crm.delete".to_owned();
                approval.subject.trace_id = Some("trace".to_owned());
                approval.terms.rule = "no-deletes".to_owned();
                approval.terms.risk = Risk::Critical;
                approval.terms.sla_at = None;
            },
            10,
        ),
    )
    .await
    .id;
    let cancelled = create(&store, action(call(20))).await.id;
    change(&store, cancelled, Command::Cancel { by: Canceller::Agent, reason: None }, 21).await;
    let check = async |told: &str, filter: Filter, second, expected: &[ApprovalId]| {
        let filter = Filter { sort: Sort::Oldest, ..filter };
        let page = store.list(filter, None, 10, at(second)).await.expect("reads");
        let ids: Vec<ApprovalId> = page.approvals.iter().map(|approval| approval.id).collect();
        assert_eq!((ids.as_slice(), page.next), (expected, None), "{told}");
    };
    let any = Filter::default;
    let text = |text: &str| Some(text.to_owned());
    check("name", Filter { name: text("crm.delete"), ..any() }, 30, &[other]).await;
    check("name is exact", Filter { name: text("crm"), ..any() }, 30, &[]).await;
    check("rule", Filter { rule: text("no-deletes"), ..any() }, 30, &[other]).await;
    check("agent", Filter { agent: text("support-bot"), ..any() }, 30, &[plain, cancelled]).await;
    check("risk", Filter { risk: Some(Risk::Critical), ..any() }, 30, &[other]).await;
    check("trace", Filter { trace_id: text("trace"), ..any() }, 30, &[other]).await;
    check("no such trace", Filter { trace_id: text("tra%"), ..any() }, 30, &[]).await;
    check("since", Filter { since: Some(at(10)), ..any() }, 30, &[other, cancelled]).await;
    check("until", Filter { until: Some(at(10)), ..any() }, 30, &[plain]).await;
    check("query in the agent, in any case", Filter { query: text("OTHER-bot"), ..any() }, 30, &[other]).await;
    check("query in the preview", Filter { query: text("GRÖßE l"), ..any() }, 30, &[plain, other, cancelled]).await;
    check("a query is no pattern", Filter { query: text("%"), ..any() }, 30, &[]).await;
    let badge = |sla| Filter { sla: Some(sla), ..any() };
    check("ok", badge(SlaState::Ok), 30, &[plain, other, cancelled]).await;
    check("due soon", badge(SlaState::DueSoon), 31, &[plain]).await;
    check("breached", badge(SlaState::Breached), 40, &[plain]).await;
    check("expired", badge(SlaState::Expired), 100, &[plain]).await;
    let closed = Filter { statuses: vec![Status::Cancelled, Status::Rejected], ..any() };
    check("statuses", closed, 30, &[cancelled]).await;
    let both = Filter { statuses: vec![Status::Pending], trace_id: text("trace"), agent: text("nobody"), ..any() };
    check("filters add up", both, 30, &[]).await;
}

pub(super) async fn the_queue_in_figures_deadlines_and_detached_calls(store: Arc<dyn Store>) {
    let empty = store.figures(at(0)).await.expect("reads");
    assert!(empty.pending.is_empty() && empty.overdue.is_empty() && empty.oldest.is_none());
    let (late, early) = (create(&store, call(5)).await, create(&store, call(3)).await);
    let mut low = call(10);
    (low.terms.rule, low.terms.risk) = ("b".to_owned(), Risk::Low);
    create(&store, low).await;
    let closed = create(&store, call(0)).await;
    change(&store, closed.id, reject("alice"), 1).await;
    let figures = store.figures(at(44)).await.expect("reads");
    let mut pending = figures.pending.clone();
    pending.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(pending, [("b".to_owned(), Risk::Low, 1), ("refund-large".to_owned(), Risk::High, 2)]);
    assert_eq!(figures.overdue, [("refund-large".to_owned(), 1)]);
    assert_eq!(figures.oldest, Some(at(3)));

    assert_eq!(store.due(at(102), 10).await.expect("reads"), []);
    assert_eq!(store.due(at(105), 10).await.expect("reads"), [(early.id, at(103)), (late.id, at(105))]);
    assert_eq!(store.due(at(105), 1).await.expect("reads"), [(early.id, at(103))]);

    let own = create(&store, detached(call(10))).await;
    change(&store, late.id, approve("alice"), 11).await;
    assert_eq!(store.ready(at(20), 10).await.expect("reads"), [], "pending, or not the gateway's to send");
    change(&store, own.id, approve("alice"), 20).await;
    assert_eq!(store.ready(at(20), 10).await.expect("reads"), [own.id]);
    assert_eq!(store.ready(at(90_000), 10).await.expect("reads"), [own.id], "never tried: no limit");
    change(&store, own.id, begin(&own), 21).await;
    assert_eq!(store.ready(at(22), 10).await.expect("reads"), []);
    let refused = Command::Fail { reason: "refused".to_owned(), permit: PermitFate::Returned };
    change(&store, own.id, refused, 23).await;
    assert_eq!(store.ready(at(24), 10).await.expect("reads"), [], "not at once again");
    assert_eq!(store.ready(at(23).plus(rules::DETACHED_RETRY_PAUSE), 10).await.expect("reads"), [own.id]);
    assert_eq!(store.ready(at(70), 10).await.expect("reads"), [], "the grant is over");
}

pub(super) async fn the_trail_is_a_chain_and_is_read_in_parts(store: Arc<dyn Store>) {
    store.record(event(EventKind::Started, 0)).await.expect("writes");
    let approval = create(&store, call(1)).await;
    store.record(event(EventKind::CallBlocked, 2)).await.expect("writes");
    change(&store, approval.id, approve("alice"), 3).await;
    let read = async |after, approval, approvals_only, limit| {
        store.audit(AuditFilter { after, approval, approvals_only }, limit).await.expect("reads")
    };
    let whole = read(0, None, false, 100).await;
    assert_eq!(whole.iter().map(|record| record.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let head = verify(whole.clone()).expect("intact");
    assert_eq!(head.seq, store.audit_head().await.expect("reads"));
    let first = read(0, None, false, 2).await;
    let half = verify_from(Head::EMPTY, first).expect("intact");
    assert_eq!(verify_from(half, read(2, None, false, 100).await), Ok(head));
    let seqs = |records: Vec<holdpoint::domain::audit::Record>| records.iter().map(|r| r.seq).collect::<Vec<_>>();
    assert_eq!(seqs(read(0, Some(approval.id), false, 100).await), [2, 4]);
    assert_eq!(seqs(read(2, Some(approval.id), false, 100).await), [4]);
    assert_eq!(seqs(read(0, None, true, 100).await), [2, 4]);
    assert_eq!(seqs(read(0, Some(call(0).id), false, 100).await), [] as [u64; 0]);
}
