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
fn a_policy_that_says_nothing_does_not_load_and_one_that_says_anything_does() {
    let nothing = "version: 1\nrules: []\n";
    for files in [&[("a.yaml", nothing)][..], &[("a.yaml", nothing), ("b.yaml", nothing)]] {
        let loaded = loaded(files);
        assert!(loaded.compiled.is_none());
        assert!(loaded.diagnostics[0].message.contains("no rules and no `default`"), "{:?}", loaded.diagnostics);
    }
    let rule = "version: 1\nrules: [ { match: x, action: block } ]\n";
    for other in [rule, "version: 1\ndefault: allow\nrules: []\n"] {
        assert!(loaded(&[("a.yaml", nothing), ("b.yaml", other)]).compiled.is_some());
    }
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

fn loaded(files: &[(&str, &str)]) -> LoadedPolicies {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        std::fs::File::create(folder.path().join(name))
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .expect("a file");
    }
    load_policies(&[PolicyPath { name: "p".to_owned(), path: folder.path().to_path_buf() }])
}

#[test]
fn files_form_one_policy_by_name() {
    let loaded = loaded(&[
        ("b.yaml", "version: 1\ndefault: block\nrules: [ { id: second, match: y, action: allow } ]\n"),
        ("a.yaml", "version: 1\nrules: [ { id: first, match: x, action: allow } ]\n"),
    ]);
    let policy = loaded.compiled.unwrap_or_else(|| panic!("{:#?}", loaded.diagnostics));
    let rules: Vec<_> = policy.rules().iter().map(|rule| rule.label()).collect();
    assert_eq!(
        (rules, policy.files()),
        (vec!["first", "second"], ["p/a.yaml", "p/b.yaml"].map(str::to_owned).as_slice())
    );
}

#[test]
fn problems_of_rules_are_told_at_their_place_in_every_file_at_once() {
    let loaded = loaded(&[
        ("a.yaml", "version: 1\nrules:\n  - match: x\n    when: args.a >\n    action: allow\n"),
        ("b.yaml", "version: 1\nrules:\n  - match: x\n    action: allow\n    approval: { hold: 5s }\n"),
        ("c.yaml", "version: 1\nrulez: []\n"),
    ]);
    assert!(loaded.compiled.is_none());
    let places: Vec<_> =
        loaded.diagnostics.iter().map(|d| (d.file.as_str(), d.place.map(|p| p.line), d.code)).collect();
    for expected in [
        ("p/a.yaml", Some(4), Code::Policy),
        ("p/b.yaml", Some(5), Code::Policy),
        ("p/c.yaml", Some(2), Code::UnknownKey),
    ] {
        assert!(places.contains(&expected), "{expected:?}: {:#?}", loaded.diagnostics);
    }
}
