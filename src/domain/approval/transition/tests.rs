use std::fmt::Write as _;

use proptest::prelude::*;

use super::super::samples::{
    action, approved, at, decision, detached, failed, nobody_waits, parked, rejected, releasing, resolved, reviewer,
    slot, succeeded, unknown, vote,
};
use super::super::{Execution, State};
use super::*;

fn approve(id: &str, groups: &[&str]) -> Command {
    let reviewer = reviewer(id, groups);
    Command::Approve { reviewer, channel: Channel::Api, reason: None, payload_sha256: None }
}

fn reject(id: &str, groups: &[&str]) -> Command {
    let reviewer = reviewer(id, groups);
    Command::Reject { reviewer, channel: Channel::Dashboard, reason: None, payload_sha256: None }
}

fn begin() -> Command {
    let of = parked(1).subject;
    Command::BeginRelease { agent: of.agent, fingerprint: of.fingerprint, revision: "r2".to_owned() }
}

fn resolve(id: &str, outcome: Settlement, note: &str) -> Command {
    Command::Resolve { reviewer: reviewer(id, &[]), outcome, note: note.to_owned() }
}

fn commands() -> Vec<(&'static str, Command)> {
    let text = || "why".to_owned();
    vec![
        ("approve", approve("alice", &["finance"])),
        ("approve by other", approve("bob", &["finance"])),
        ("reject", reject("alice", &["finance"])),
        ("reject by other", reject("bob", &["finance"])),
        ("expire", Command::Expire { deadline: at(100) }),
        ("cancel by agent", Command::Cancel { by: Canceller::Agent, reason: None }),
        ("cancel by policy", Command::Cancel { by: Canceller::Policy, reason: Some(text()) }),
        ("mark stale", Command::MarkStale { revision: "r2".to_owned() }),
        ("caller joined", Command::CallerJoined),
        ("caller left", Command::CallerLeft),
        ("begin", begin()),
        ("refuse", Command::RefuseRelease { revision: "r2".to_owned(), reason: text() }),
        ("succeed", Command::Succeed { status: 201 }),
        ("fail, returned", Command::Fail { reason: text(), permit: PermitFate::Returned }),
        ("fail, spent", Command::Fail { reason: text(), permit: PermitFate::Spent }),
        ("lose track", Command::LoseTrack { reason: text() }),
        ("void", Command::Void { reason: text(), doubt: Doubt::None }),
        ("void, in doubt", Command::Void { reason: text(), doubt: Doubt::Since(at(50)) }),
        ("resolve", resolve("alice", Settlement::Committed, "seen")),
    ]
}

fn states() -> Vec<(&'static str, Approval)> {
    let closed = |state| Approval { state, ..parked(1) };
    vec![
        ("pending", parked(1)),
        ("pending action", action(parked(1))),
        ("rejected", rejected()),
        ("expired", closed(State::Expired { at: at(100) })),
        ("cancelled", closed(State::Cancelled { by: Canceller::Agent, at: at(9), reason: None })),
        ("approved action", action(approved(Execution::None))),
        ("held", approved(Execution::Held)),
        ("releasing", approved(releasing())),
        ("succeeded", approved(succeeded())),
        ("failed, spent", approved(failed(PermitFate::Spent))),
        ("failed, returned", approved(failed(PermitFate::Returned))),
        ("unknown", approved(unknown())),
        ("resolved", approved(resolved())),
    ]
}

/// What a command did: the event's name, `same`, or the refusal.
fn outcome(approval: &Approval, command: &Command, now: Timestamp) -> String {
    match transition(approval, command, now) {
        Ok(Step::Same) => "same".to_owned(),
        Ok(Step::Change(change)) => {
            change.event.map_or("-> quietly".to_owned(), |event| format!("-> {}", event.kind.as_str()))
        }
        Err(refusal) => refusal.to_string(),
    }
}

/// Every command on every state, at second 50 (in time) and, where it makes a difference, at second 100 (overdue).
#[test]
fn the_whole_matrix_of_commands_and_states() {
    let mut table = String::new();
    for (name, approval) in states() {
        writeln!(table, "{name}").expect("a String takes it");
        for (command_name, command) in commands() {
            let (early, late) = (outcome(&approval, &command, at(50)), outcome(&approval, &command, at(100)));
            let differs = if early == late { String::new() } else { format!(" | overdue: {late}") };
            writeln!(table, "  {command_name}: {early}{differs}").expect("a String takes it");
        }
    }
    let expected = include_str!("matrix.txt");
    assert!(table == expected, "the matrix changed:\n{table}");
}

#[test]
fn each_thing_an_approval_binds_is_checked_alone_at_release() {
    let approval = nobody_waits(approved(Execution::Held));
    let of = approval.subject.clone();
    let begin_as = |agent: &str, fingerprint, now| {
        let agent = AgentId(agent.to_owned());
        let command = Command::BeginRelease { agent, fingerprint, revision: "r2".to_owned() };
        transition(&approval, &command, now).map(|_| ())
    };
    assert_eq!(begin_as("support-bot", of.fingerprint, at(59)), Ok(()));
    assert_eq!(begin_as("support-bot", of.fingerprint, at(60)), Err(Refusal::GrantOver));
    assert_eq!(begin_as("other-bot", of.fingerprint, at(59)), Err(Refusal::OtherAgent));
    assert_eq!(begin_as("support-bot", Fingerprint([1; 32]), at(59)), Err(Refusal::OtherCall));
}

#[test]
fn a_quorum_of_two_needs_two_people_and_a_repeated_vote_changes_nothing() {
    let mut approval = parked(1);
    approval.terms.approvers = vec![slot("finance", 1), slot("security", 1)];
    let Ok(Step::Change(first)) = transition(&approval, &approve("ann", &["finance", "security"]), at(1)) else {
        panic!("the first vote counts")
    };
    assert_eq!(first.next.status(), Status::Pending);
    let event = first.event.expect("a vote is written down");
    assert_eq!(event.kind, EventKind::ApprovalVoted);
    assert_eq!(event.detail["still_needed"][0]["group"], "security");
    assert_eq!(transition(&first.next, &approve("ann", &["finance", "security"]), at(2)), Ok(Step::Same));
    let Ok(Step::Change(second)) = transition(&first.next, &approve("bob", &["finance"]), at(3)) else {
        panic!("the second vote counts")
    };
    assert_eq!(second.next.status(), Status::Approved);
    assert_eq!(second.next.votes.len(), 2);
    // Whoever voted on the way has said the same; whoever did not comes second.
    assert_eq!(transition(&second.next, &approve("ann", &["finance"]), at(4)), Ok(Step::Same));
    assert_eq!(
        transition(&second.next, &approve("cy", &["finance"]), at(4)),
        Err(Refusal::AlreadyClosed(Status::Approved))
    );
}

#[test]
fn a_vote_for_a_filled_slot_or_from_outside_is_refused_but_may_still_reject() {
    let mut approval = parked(1);
    approval.terms.approvers = vec![slot("finance", 1), slot("security", 1)];
    approval.votes = vec![vote("bob", &["finance"])];
    let refusal = Refusal::NotAnApprover { needed: "security".to_owned() };
    assert_eq!(transition(&approval, &approve("cy", &["finance"]), at(1)), Err(refusal));
    assert!(matches!(transition(&approval, &reject("cy", &["finance"]), at(1)), Ok(Step::Change(_))));
    assert!(matches!(transition(&approval, &reject("mo", &["sales"]), at(1)), Err(Refusal::NotAnApprover { .. })));
}

#[test]
fn nobody_decides_or_settles_a_call_of_their_own() {
    let own = ["finance"];
    assert_eq!(transition(&parked(1), &approve("support-bot", &own), at(1)), Err(Refusal::OwnCall));
    assert_eq!(transition(&parked(1), &reject("support-bot", &own), at(1)), Err(Refusal::OwnCall));
    let settle = resolve("support-bot", Settlement::NotCommitted, "trust me");
    assert_eq!(transition(&approved(unknown()), &settle, at(50)), Err(Refusal::OwnCall));
    let unexplained = resolve("alice", Settlement::Committed, " \n");
    assert_eq!(transition(&approved(unknown()), &unexplained, at(50)), Err(Refusal::NoteMissing));
}

#[test]
fn a_decision_about_another_payload_is_refused() {
    let seen = |hash: u8| Command::Approve {
        reviewer: reviewer("alice", &["finance"]),
        channel: Channel::Api,
        reason: None,
        payload_sha256: Some(PayloadHash([hash; 32])),
    };
    assert_eq!(transition(&parked(1), &seen(6), at(1)), Err(Refusal::PayloadMismatch));
    assert!(matches!(transition(&parked(1), &seen(7), at(1)), Ok(Step::Change(_))));
    assert_eq!(transition(&approved(Execution::Held), &seen(6), at(11)), Err(Refusal::PayloadMismatch));
}

#[test]
fn a_stale_timer_and_an_early_one_close_nothing() {
    let expire = |second, now| transition(&parked(1), &Command::Expire { deadline: at(second) }, at(now)).map(|_| ());
    assert_eq!(expire(90, 95), Err(Refusal::NotDue));
    assert_eq!(expire(90, 200), Err(Refusal::NotDue));
    assert_eq!(expire(100, 99), Err(Refusal::NotDue));
    assert_eq!(expire(100, 100), Ok(()));
}

#[test]
fn the_last_caller_to_leave_and_the_first_to_return_are_written_down() {
    let mut approval = parked(1);
    let mut told = Vec::new();
    let steps =
        [Command::CallerJoined, Command::CallerLeft, Command::CallerLeft, Command::CallerLeft, Command::CallerJoined];
    for (second, command) in (1..).zip(&steps) {
        match transition(&approval, command, at(second)).expect("callers come and go in every state") {
            Step::Same => told.push("same".to_owned()),
            Step::Change(change) => {
                approval = change.next;
                let kind = change.event.map_or("-", |event| event.kind.as_str());
                told.push(format!("{kind} {} {}", approval.caller.waiting, approval.caller.left_at.is_some()));
            }
        }
    }
    assert_eq!(told, ["- 2 false", "- 1 false", "caller_left 0 true", "same", "caller_joined 1 false"]);
}

#[test]
fn no_event_carries_the_preview() {
    let mut events = vec![event::created(&parked(1))];
    for (_, approval) in states() {
        for (_, command) in commands() {
            for second in [50, 100] {
                if let Ok(Step::Change(change)) = transition(&approval, &command, at(second)) {
                    events.extend(change.event);
                }
            }
        }
    }
    assert!(events.len() > 20, "{}", events.len());
    for event in events {
        let text = serde_json::to_string(&event).expect("an event is JSON");
        assert!(!text.contains("canary") && !text.contains("amount_usd"), "{text}");
        assert_eq!(event.approval, Some(parked(1).id));
    }
}

/// A step of a random life: who does what, and how much later.
fn step() -> impl Strategy<Value = (usize, u8, i64)> {
    (0..commands().len(), 0..4_u8, 0..12_i64)
}

proptest! {
    #[test]
    fn no_sequence_of_commands_breaks_the_machine(
        steps in proptest::collection::vec(step(), 1..60),
        detached in any::<bool>(),
        two in any::<bool>(),
    ) {
        let all = commands();
        let mut approval = if detached { super::super::samples::detached(parked(1)) } else { parked(1) };
        if two {
            approval.terms.approvers = vec![slot("finance", 1), slot("*", 1)];
        }
        let (mut now, mut sent, mut returned) = (0, 0_u32, 0_u32);
        for (index, who, later) in steps {
            now += later;
            let command = match (&all[index].1, who) {
                (Command::Approve { .. }, 0) => approve("support-bot", &["finance"]),
                (Command::Approve { .. }, 1) => approve("mo", &["sales"]),
                (command, _) => command.clone(),
            };
            let before = approval.clone();
            let Ok(Step::Change(change)) = transition(&approval, &command, at(now)) else { continue };
            approval = change.next;
            prop_assert_eq!(approval.version, before.version + 1);
            prop_assert_eq!((&approval.id, &approval.subject, &approval.terms), (&before.id, &before.subject, &before.terms));
            if before.state != State::Pending {
                prop_assert_eq!(&approval.state, &before.state, "a closed approval stays as it is");
                prop_assert_eq!(&approval.votes, &before.votes);
            }
            if matches!(approval.state, State::Approved(_)) && before.state == State::Pending {
                prop_assert!(crate::domain::approval::rules::quorum(&approval.terms.approvers, &approval.votes));
                prop_assert!(at(now) < approval.terms.expires_at);
                prop_assert!(approval.votes.iter().all(|vote| vote.by != "support-bot"));
            }
            if approval.execution != before.execution {
                prop_assert!(matches!(approval.state, State::Approved(_)), "only what was approved is ever sent");
                match approval.execution {
                    Execution::Releasing { .. } => sent += 1,
                    Execution::Failed { permit: PermitFate::Returned, .. } => returned += 1,
                    _ => {}
                }
            }
            prop_assert!(sent <= returned + 1, "one permit, one release at a time");
            prop_assert_eq!(approval.caller.left_at.is_some() && approval.caller.waiting > 0, false);
        }
    }
}

#[test]
fn what_is_voided_can_never_be_sent_whatever_the_doubt() {
    for (name, approval) in states() {
        for doubt in [Doubt::None, Doubt::Since(at(0)), Doubt::Since(at(1_000_000))] {
            let void = Command::Void { reason: "why".to_owned(), doubt };
            let after = match transition(&approval, &void, at(500)) {
                Ok(Step::Change(change)) => change.next,
                Ok(Step::Same) => approval.clone(),
                Err(refusal) => panic!("{name}: {refusal}"),
            };
            // Also by a clock that was set back.
            for now in [at(0), at(20), at(1_000)] {
                for (_, command) in
                    commands().iter().filter(|(name, _)| name.starts_with("approve") || *name == "begin")
                {
                    let moved = matches!(transition(&after, command, now), Ok(Step::Change(_)));
                    assert!(!moved, "{name}, {doubt:?}: {command:?}");
                }
            }
        }
    }
    let grant = nobody_waits(approved(Execution::Held));
    let unknown = |since| {
        let void = Command::Void { reason: "why".to_owned(), doubt: Doubt::Since(since) };
        let Ok(Step::Change(change)) = transition(&grant, &void, at(500)) else { panic!("a grant is voided") };
        matches!(change.next.execution, Execution::Unknown { .. })
    };
    assert!(unknown(at(59)), "it may have been used after that");
    assert!(!unknown(at(60)), "it was over, and had not been used");
}

#[test]
fn the_first_decision_stands_whatever_comes_after_it() {
    assert_eq!(rejected().state, State::Rejected(decision()));
    let after = transition(&rejected(), &approve("bob", &["finance"]), at(11));
    assert_eq!(after, Err(Refusal::AlreadyClosed(Status::Rejected)));
}

#[test]
fn whoever_comes_back_after_a_grant_is_over_does_not_bring_it_back() {
    let (in_time, late) = (at(59), at(60));
    let returned = || approved(failed(PermitFate::Returned));
    for left in [nobody_waits(approved(Execution::Held)), nobody_waits(returned()), nobody_waits(approved(releasing()))]
    {
        assert!(
            matches!(transition(&left, &Command::CallerJoined, in_time), Ok(Step::Change(_))),
            "{:?}",
            left.execution
        );
        assert_eq!(transition(&left, &Command::CallerJoined, late), Err(Refusal::GrantOver), "{:?}", left.execution);
    }
    // It lasts while somebody waits who was there before, and without end for a detached call that was never tried.
    for lasts in [approved(Execution::Held), detached(nobody_waits(approved(Execution::Held)))] {
        assert!(matches!(transition(&lasts, &Command::CallerJoined, late), Ok(Step::Change(_))));
    }
}
