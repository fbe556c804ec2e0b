use super::*;
use crate::config::diagnostic::Place;
use crate::config::secrets::Secret;
use crate::config::settings::ReviewerCredential;
use crate::domain::identity::{Reviewer, ReviewerRole};

#[track_caller]
fn check(found: &[Diagnostic], code: Code, line: usize, column: usize, message: &str, hint: &str) {
    let shown: Vec<String> = found.iter().map(Diagnostic::render).collect();
    let shown = shown.join("\n");
    assert_eq!(found.len(), 1, "{shown}");
    assert_eq!((found[0].code, found[0].place), (code, Some(Place { line, column })), "{shown}");
    assert!(found[0].message.contains(message), "{shown}");
    assert!(found[0].hint.as_deref().unwrap_or_default().contains(hint), "{shown}");
}

fn reviewers() -> Vec<ReviewerCredential> {
    let person = |id: &str, groups: &[&str]| ReviewerCredential {
        reviewer: Reviewer {
            id: id.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            role: ReviewerRole::Reviewer,
        },
        token_sha256: Secret::new([0; 32]),
    };
    vec![person("alice", &["finance", "security"]), person("bob", &["finance"])]
}

fn rule(approvers: &str) -> PolicySource {
    let text = format!(
        "version: 1\nrules:\n  - match: x\n    action: require_approval\n    approval:\n      approvers: {approvers}\n"
    );
    source("p.yaml", text.as_bytes()).unwrap_or_else(|found| panic!("{:#?}", found))
}

#[test]
fn slips_in_a_policy_are_told_at_their_place() {
    let slip = |line: &str| {
        let text = format!("version: 1\nrules:\n  - match: x\n    {line}\n");
        source("p.yaml", text.as_bytes()).expect_err("it is refused")
    };
    use Code::{BadValue, MissingKey, UnknownKey};
    check(&slip("acton: block\n    action: allow"), UnknownKey, 4, 5, "unknown key `acton` in `rules[0]`", "`action`?");
    check(&slip("when: a"), MissingKey, 3, 5, "`rules[0]` needs the key `action`", "add `action: …`");
    check(&slip("action: deny"), BadValue, 4, 13, "`rules[0].action` is `deny`", "`block`");
    check(
        &slip("action: require_approval\n    approval: { hold: 5, sla: 1m }"),
        Code::WrongType,
        5,
        23,
        "must be text, not a whole number",
        "add a unit, as in `5s`",
    );
    let slow = "action: require_approval\n    approval: { hold: 5 minutes }";
    check(&slip(slow), BadValue, 5, 23, "`rules[0].approval.hold`", "");
}

#[test]
fn references_stay_literal_in_policy_texts() {
    let text =
        b"version: 1\nrules:\n  - { match: x, action: require_approval, approval: { summary: \"Pay ${args.a}\" } }\n";
    source("p.yaml", text).expect("a summary is no secret");
}

#[test]
fn gates_that_reviewers_can_open_are_accepted() {
    for gate in [
        "{ group: finance }",
        "{ group: finance, count: 2 }",
        "{ count: 2 }",
        "{ all_of: [ { group: finance, count: 1 }, { group: security, count: 1 } ] }",
    ] {
        assert_eq!(gates::problems(&[rule(gate)], &reviewers()), [], "{gate}");
    }
}

#[test]
fn gates_that_no_reviewer_can_open_are_refused() {
    let found = |gate: &str| gates::problems(&[rule(gate)], &reviewers());
    use Code::NoReviewer;
    check(
        &found("{ group: finace }"),
        NoReviewer,
        6,
        27,
        "no reviewer is in the group `finace`",
        "did you mean `finance`?",
    );
    check(
        &found("{ group: legal }"),
        NoReviewer,
        6,
        27,
        "could never be opened",
        "add `legal` to a reviewer's `groups`",
    );
    check(&found("{ group: security, count: 2 }"), NoReviewer, 6, 44, "2 approvals are asked for, and 1", "fewer");
    check(
        &found("{ all_of: [ { group: security }, { count: 4294967295 } ] }"),
        NoReviewer,
        6,
        60,
        "4294967295",
        "fewer",
    );
    let together = "{ all_of: [ { group: finance, count: 2 }, { group: security } ] }";
    check(&found(together), NoReviewer, 6, 7, "one person fills one slot", "add reviewers");
}
