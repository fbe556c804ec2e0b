use super::super::Terms;
use super::super::samples::{
    action, approved, at, detached, failed, nobody_waits, other_call, parked, rejected, releasing, resolved, succeeded,
    unknown, with_key,
};
use super::*;

/// What a choice is, by name and by the place of the approval it names.
fn chosen(new: &Approval, same: &[Approval], second: i64) -> String {
    let place = |old: &Approval| same.iter().position(|other| other == old).expect("chosen from the list");
    match choose(new, same, at(second)) {
        Attachment::Ask => "ask".to_owned(),
        Attachment::Pending(old) => format!("pending {}", place(old)),
        Attachment::Grant(old) => format!("grant {}", place(old)),
        Attachment::Remembered(old) => format!("remembered {}", place(old)),
        Attachment::Spent(old) => format!("spent {}", place(old)),
        Attachment::KeyReused(old) => format!("key reused {}", place(old)),
        Attachment::Standing(old) => format!("standing {}", place(old)),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the cases read better")]
fn check(new: &Approval, old: Approval, second: i64, expected: &str) {
    let told = format!("{:?} {:?} at {second}", old.state, old.execution);
    let got = chosen(new, std::slice::from_ref(&old), second);
    assert_eq!(got.trim_end_matches(" 0"), expected, "{told}");
}

#[test]
fn an_identical_call_without_a_key_joins_what_nobody_waits_for() {
    let new = parked(2);
    check(&new, parked(1), 20, "ask");
    check(&new, nobody_waits(parked(1)), 20, "pending");
    check(&new, nobody_waits(parked(1)), 100, "ask");
    check(&new, nobody_waits(approved(Execution::Held)), 59, "grant");
    check(&new, nobody_waits(approved(Execution::Held)), 60, "ask");
    check(&new, approved(Execution::Held), 20, "ask");
    check(&new, nobody_waits(approved(failed(PermitFate::Returned))), 59, "grant");
    check(&new, nobody_waits(approved(failed(PermitFate::Spent))), 20, "ask");
    for sent in [releasing(), succeeded(), unknown(), resolved()] {
        check(&new, nobody_waits(approved(sent)), 20, "ask");
    }
    check(&new, rejected(), 29, "remembered");
    check(&new, rejected(), 30, "ask");
    check(&new, rejected(), 10, "remembered");
    check(&new, rejected(), 9, "ask");
    check(&new, nobody_waits(Approval { state: State::Expired { at: at(100) }, ..parked(1) }), 101, "ask");
}

#[test]
fn a_call_joins_nothing_that_another_rule_asked_about() {
    let under = |approval: Approval, rule: &str, digest: &str, revision: &str| {
        let terms = Terms {
            rule: rule.to_owned(),
            rule_digest: Some(digest.to_owned()),
            policy_revision: revision.to_owned(),
            ..approval.terms
        };
        Approval { terms, ..approval }
    };
    let new = under(parked(2), "gate", "d1", "r1");
    // Another rule; the same rule, changed; two rules of one name in one policy.
    for (rule, digest, revision, joins) in [
        ("other", "d2", "r1", false),
        ("gate", "d2", "r0", true),
        ("gate", "d2", "r1", false),
        ("other", "d1", "r0", false),
    ] {
        let old = |approval| under(nobody_waits(approval), rule, digest, revision);
        check(&new, old(parked(1)), 20, if joins { "pending" } else { "ask" });
        check(&new, old(approved(Execution::Held)), 20, if joins { "grant" } else { "ask" });
        check(&new, old(rejected()), 20, "remembered");
        let (new, keyed) = (with_key(new.clone(), "k"), |approval| with_key(old(approval), "k"));
        check(&new, keyed(parked(1)), 20, if joins { "pending" } else { "key reused" });
        check(&new, keyed(approved(Execution::Held)), 20, if joins { "grant" } else { "key reused" });
        check(&new, keyed(approved(succeeded())), 20, "spent");
        check(&new, keyed(parked(1)), 100, "ask");
    }
}

#[test]
fn the_same_key_joins_even_while_somebody_waits_and_never_sends_twice() {
    let new = with_key(parked(2), "k");
    let keyed = |old| with_key(old, "k");
    check(&new, keyed(parked(1)), 20, "pending");
    check(&new, keyed(parked(1)), 100, "ask");
    check(&new, keyed(approved(Execution::Held)), 20, "grant");
    check(&new, keyed(rejected()), 29, "remembered");
    check(&new, keyed(rejected()), 30, "ask");
    check(&new, keyed(approved(releasing())), 9999, "spent");
    check(&new, keyed(approved(succeeded())), 41, "spent");
    check(&new, keyed(approved(succeeded())), 42, "ask");
    check(&new, keyed(approved(unknown())), 41, "spent");
    check(&new, keyed(approved(resolved())), 42, "spent");
    check(&new, keyed(approved(failed(PermitFate::Spent))), 20, "ask");
}

#[test]
fn a_key_belongs_to_one_call_while_that_call_stands() {
    let new = with_key(parked(2), "k");
    let other = |old| with_key(other_call(old), "k");
    check(&new, other(parked(1)), 20, "key reused");
    check(&new, other(approved(releasing())), 20, "key reused");
    check(&new, other(rejected()), 29, "key reused");
    check(&new, other(rejected()), 30, "ask");
    check(&new, action(with_key(parked(1), "k")), 9999, "key reused");
}

#[test]
fn two_keys_are_two_calls_but_a_rejection_holds_for_both() {
    let new = with_key(parked(2), "second");
    check(&new, with_key(nobody_waits(parked(1)), "first"), 20, "ask");
    check(&new, with_key(nobody_waits(approved(Execution::Held)), "first"), 20, "ask");
    check(&new, with_key(rejected(), "first"), 29, "remembered");
    check(&new, nobody_waits(parked(1)), 20, "pending");
}

#[test]
fn another_agents_or_another_calls_approval_is_never_chosen() {
    let mut foreign = with_key(nobody_waits(parked(1)), "k");
    foreign.subject.agent.0 = "other-bot".to_owned();
    check(&with_key(parked(2), "k"), foreign, 20, "ask");
    check(&parked(2), other_call(nobody_waits(parked(1))), 20, "ask");
}

#[test]
fn a_detached_call_does_not_wait_on_an_approval_that_needs_a_live_request() {
    check(&detached(parked(2)), nobody_waits(parked(1)), 20, "ask");
    check(&detached(parked(2)), detached(nobody_waits(parked(1))), 20, "pending");
    check(&parked(2), detached(nobody_waits(parked(1))), 20, "pending");
    check(&detached(parked(2)), nobody_waits(approved(Execution::Held)), 20, "grant");
}

#[test]
fn an_action_is_found_again_by_its_key_alone() {
    let new = action(with_key(parked(2), "k"));
    for old in [
        parked(1),
        rejected(),
        approved(Execution::None),
        Approval { state: State::Expired { at: at(100) }, ..parked(1) },
    ] {
        check(&new, action(with_key(old.clone(), "k")), 99_999, "standing");
        check(&new, other_call(action(with_key(old.clone(), "k"))), 99_999, "key reused");
        check(&new, action(nobody_waits(old.clone())), 20, "ask");
        check(&action(parked(2)), action(nobody_waits(old)), 20, "ask");
    }
}

#[test]
fn the_newest_that_stands_is_chosen() {
    let aged = |mut approval: Approval, second| {
        approval.created_at = at(second);
        approval
    };
    let new = parked(9);
    let waits = parked(1);
    let same = [aged(nobody_waits(parked(2)), 1), aged(waits, 3), aged(nobody_waits(parked(3)), 2)];
    assert_eq!(chosen(&new, &same, 20), "pending 2");
}
