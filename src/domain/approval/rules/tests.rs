use super::super::samples::{
    action, approved, at, detached, failed, nobody_waits, parked, rejected, reviewer, slot, succeeded, vote,
};
use super::*;

#[test]
fn quorum_counts_distinct_people_over_slots() {
    let check = |slots: &[Slot], votes: &[Vote], full: bool, open: &[Slot]| {
        assert_eq!(quorum(slots, votes), full, "{slots:?} {votes:?}");
        assert_eq!(Seating::of(slots, votes).open(), open, "{slots:?} {votes:?}");
    };
    let both = [slot("finance", 1), slot("security", 1)];
    check(&both, &[], false, &both);
    // One person in two groups fills one slot.
    check(&both, &[vote("ann", &["finance", "security"])], false, &[slot("security", 1)]);
    check(
        &both,
        &[vote("ann", &["finance", "security"]), vote("ann", &["finance", "security"])],
        false,
        &[slot("security", 1)],
    );
    // Ann moves to security when Bob can only fill finance.
    check(&both, &[vote("ann", &["finance", "security"]), vote("bob", &["finance"])], true, &[]);
    check(&both, &[vote("bob", &["finance"]), vote("ann", &["finance", "security"])], true, &[]);
    check(&both, &[vote("bob", &["finance"]), vote("cy", &["finance"])], false, &[slot("security", 1)]);
    // A slot without a group takes anybody, and gives its place up to whoever fits nowhere else.
    let open = [slot("*", 1), slot("finance", 1)];
    check(&open, &[vote("bob", &["finance"]), vote("dee", &[])], true, &[]);
    check(&open, &[vote("dee", &[]), vote("eve", &[])], false, &[slot("finance", 1)]);
    check(&[slot("finance", 2)], &[vote("bob", &["finance"])], false, &[slot("finance", 1)]);
    // A count is not expanded into chairs.
    check(&[slot("finance", u32::MAX)], &[vote("bob", &["finance"])], false, &[slot("finance", u32::MAX - 1)]);
    // A gate that needs nobody is not open: it cannot be opened.
    check(&[], &[vote("bob", &["finance"])], false, &[]);
    check(&[slot("finance", 0)], &[vote("bob", &["finance"])], false, &[]);
}

#[test]
fn a_long_chain_of_people_is_moved_to_seat_one_more() {
    let slots: Vec<Slot> = (0..8).map(|n| slot(&format!("g{n}"), 1)).collect();
    let mut votes: Vec<Vote> =
        (0..7).map(|n| vote(&format!("p{n}"), &[&format!("g{n}"), &format!("g{}", n + 1)])).collect();
    votes.push(vote("last", &["g0"]));
    assert!(quorum(&slots, &votes));
}

#[test]
fn who_may_decide_depends_on_any_slot_and_who_may_approve_on_the_open_ones() {
    let mut approval = parked(1);
    approval.terms.approvers = vec![slot("finance", 1), slot("security", 1)];
    approval.votes = vec![vote("bob", &["finance"])];
    let refused = |needed: &str| Err(Refusal::NotAnApprover { needed: needed.to_owned() });
    let finance = reviewer("cy", &["finance"]);
    assert_eq!(may_decide(&approval, &finance), Ok(()));
    assert_eq!(may_approve(&approval, &finance), refused("security"));
    assert_eq!(may_approve(&approval, &reviewer("ann", &["security"])), Ok(()));
    assert_eq!(may_decide(&approval, &reviewer("mo", &["sales"])), refused("finance or security"));
    assert_eq!(may_decide(&approval, &reviewer("support-bot", &["finance"])), Err(Refusal::OwnCall));
    assert_eq!(still_needed(&approval), [slot("security", 1)]);
    approval.terms.approvers = Vec::new();
    assert!(may_decide(&approval, &finance).is_err(), "no slots: nobody decides");
}

#[test]
fn the_badge_follows_the_clock_until_it_is_closed() {
    let check = |approval: &Approval, second: i64, badge: SlaState| {
        assert_eq!(sla_state(approval, at(second)), badge, "{} at {second}", approval.status());
    };
    let pending = parked(1);
    check(&pending, 0, SlaState::Ok);
    check(&pending, 30, SlaState::Ok);
    check(&pending, 31, SlaState::DueSoon);
    check(&pending, 40, SlaState::Breached);
    check(&pending, 99, SlaState::Breached);
    check(&pending, 100, SlaState::Expired);
    let mut unhurried = parked(1);
    unhurried.terms.sla_at = None;
    check(&unhurried, 99, SlaState::Ok);
    check(&unhurried, 100, SlaState::Expired);
    check(&approved(succeeded()), 1000, SlaState::Ok);
    let mut late = rejected();
    late.terms.sla_at = Some(at(10));
    check(&late, 10, SlaState::Breached);
    check(&Approval { state: State::Expired { at: at(101) }, ..parked(1) }, 1000, SlaState::Expired);
}

#[test]
fn a_grant_lasts_its_time_or_as_long_as_somebody_waits() {
    let left = nobody_waits(approved(Execution::Held));
    assert!(grant_lasts(&left, at(59)));
    assert!(!grant_lasts(&left, at(60)));
    assert!(grant_lasts(&left, at(10)), "from the decision on");
    assert!(!grant_lasts(&left, at(9)), "a clock that was set back brings none back");
    assert!(grant_lasts(&approved(Execution::Held), at(600)), "its caller still waits");
    assert!(grant_lasts(&detached(left.clone()), at(6000)), "never tried");
    assert!(!grant_lasts(&detached(nobody_waits(approved(failed(PermitFate::Returned)))), at(60)));
    assert!(!grant_lasts(&nobody_waits(parked(1)), at(1)), "not approved");
}

#[test]
fn the_gateway_sends_only_detached_calls_by_itself() {
    let ready_at = |approval: &Approval| ready(approval).map(|(from, _)| from);
    assert_eq!(ready(&detached(approved(Execution::Held))), Some((at(10), None)));
    let returned = detached(approved(failed(PermitFate::Returned)));
    assert_eq!(ready(&returned), Some((at(12).plus(DETACHED_RETRY_PAUSE), Some(at(60)))));
    assert_eq!(ready_at(&detached(approved(failed(PermitFate::Spent)))), None);
    assert_eq!(ready_at(&approved(Execution::Held)), None);
    assert_eq!(ready_at(&detached(parked(1))), None);
    assert_eq!(ready_at(&detached(approved(succeeded()))), None);
    assert_eq!(ready_at(&action(approved(Execution::Held))), None);
}
