//! Whole policies: what loads, what does not, and what they decide.

use super::*;
use crate::domain::policy::decide::{Decision, Verdict, VerdictKind};
use crate::domain::policy::explain::TriedOutcome;
use crate::domain::policy::view::{Args, CallView, NoValues};
use crate::domain::time::Timestamp;
use crate::domain::value::{Number, Value};

pub(in crate::domain::policy) fn file(name: &str, yaml: &str) -> PolicyFile {
    let model = serde_yaml::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    PolicyFile { name: name.to_owned(), model, source_sha256: Sha256::digest(yaml).into() }
}

pub(in crate::domain::policy) fn policy(yaml: &str) -> CompiledPolicy {
    compile(vec![file("policy.yaml", yaml)]).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

pub(in crate::domain::policy) fn call<'a>(tool: &'a str, args: Args<'a>) -> CallView<'a> {
    CallView {
        tool,
        agent: "support-1",
        upstream: "payments",
        method: "POST",
        path: "/refunds",
        query: &NoValues,
        headers: &NoValues,
        args,
        claims: crate::domain::tools::Claims::NoTool,
        now: Timestamp::from_millis(0),
    }
}

fn amount(digits: &str) -> Value<'static> {
    Value::Object(vec![("amount".into(), Value::Number(Number::from_checked(digits.to_owned())))])
}

fn verdict<'p>(policy: &'p CompiledPolicy, tool: &str, args: Args<'_>) -> Verdict<'p> {
    match policy.decide(&call(tool, args)) {
        Decision::Verdict(verdict) => verdict,
        Decision::NeedsBody => panic!("{tool}: the body is needed"),
    }
}

#[test]
fn a_policy_in_the_public_format_decides_as_it_always_did() {
    let policy = policy(
        "version: 1\nrules:\n  - {match: 'payments.*', action: require_approval}\n  - {match: '*delete*', action: block}\n  - {match: 'payments.read', action: block}\n",
    );
    for (tool, kind, rule) in [
        ("payments.refund.full", VerdictKind::WaitingForApproval, Some("payments.*")),
        ("payments.read", VerdictKind::WaitingForApproval, Some("payments.*")),
        ("db.delete_all", VerdictKind::Blocked, Some("*delete*")),
        ("db.Delete", VerdictKind::Allowed, None),
        ("payments", VerdictKind::Allowed, None),
        ("", VerdictKind::Allowed, None),
    ] {
        let verdict = verdict(&policy, tool, Args::Unread);
        assert_eq!((verdict.kind, verdict.rule_label()), (kind, rule), "{tool}");
        assert!(!verdict.default_used);
    }
}

#[test]
fn the_first_match_wins_and_numbers_decide_exactly() {
    let policy = policy(
        "version: 1\ndefault: block\nrules:\n  - {id: small, match: pay, when: args.amount <= 9007199254740992, action: allow}\n  - {id: large, match: pay, action: require_approval, approval: {expires_in: 2h}}\n",
    );
    assert!(matches!(policy.decide(&call("pay", Args::Unread)), Decision::NeedsBody));
    for (digits, rule) in [("9007199254740992", "small"), ("9007199254740993", "large"), ("1e2", "small")] {
        let args = amount(digits);
        assert_eq!(verdict(&policy, "pay", Args::Read(&args)).rule_label(), Some(rule), "{digits}");
    }
    let other = verdict(&policy, "other", Args::Unread);
    assert!(other.default_used && other.rule.is_none() && other.kind == VerdictKind::Blocked);
    let args = amount("1e300");
    assert_eq!(verdict(&policy, "pay", Args::Read(&args)).approval().expires_in.as_secs(), 7_200);
}

#[test]
fn a_condition_that_cannot_be_evaluated_never_loosens() {
    for (action, expected) in [
        ("allow", VerdictKind::Blocked),
        ("audit", VerdictKind::Blocked),
        ("block", VerdictKind::Blocked),
        ("require_approval", VerdictKind::WaitingForApproval),
    ] {
        let yaml = format!(
            "version: 1\ndefault: block\nrules:\n  - {{id: r, match: '*', when: args.gone == 1, action: {action}}}\n"
        );
        let policy = policy(&yaml);
        let verdict = verdict(&policy, "t", Args::Absent);
        assert_eq!(verdict.kind, expected, "{action}");
        let matched = matches!(action, "block" | "require_approval");
        assert_eq!(verdict.rule.is_some(), matched, "{action}");
        assert_eq!(verdict.notes.len(), 1, "{action}");
        assert_eq!(verdict.notes[0].error.to_string(), "`args.gone` is missing");
        let explained = policy.explain(&call("t", Args::Absent));
        let outcome = if matched { TriedOutcome::MatchedOnError } else { TriedOutcome::WhenError };
        assert_eq!(explained.tried[0].outcome, outcome);
    }
}

#[test]
fn shadow_rules_are_recorded_and_passed_over() {
    let yaml = |mode: &str| {
        format!(
            "version: 1\ndefault: allow\n{mode}rules:\n  - {{id: s, match: '*', action: block, mode: shadow}}\n  - {{id: e, match: 'a*', action: block, mode: enforce}}\n  - {{id: f, match: 'b*', action: block}}\n"
        )
    };
    for (mode, tool, kind, shadowed) in [
        ("", "a", VerdictKind::Blocked, 1),
        ("", "b", VerdictKind::Blocked, 1),
        ("mode: shadow\n", "a", VerdictKind::Blocked, 1),
        ("mode: shadow\n", "b", VerdictKind::Allowed, 3),
    ] {
        let policy = policy(&yaml(mode));
        let verdict = verdict(&policy, tool, Args::Unread);
        assert_eq!((verdict.kind, verdict.shadow.len()), (kind, shadowed), "{mode}{tool}");
    }
    let policy = policy(&yaml("")).in_shadow();
    let verdict = verdict(&policy, "a", Args::Unread);
    assert_eq!((verdict.kind, verdict.shadow.len()), (VerdictKind::Allowed, 3), "the whole gateway");
}

#[test]
fn every_pattern_of_an_object_must_match() {
    let policy = policy(
        "version: 1\ndefault: allow\nrules:\n  - id: r\n    action: block\n    match: {tool: ['a.*', b], upstream: pay*, agent: 'support-?', method: [POST, PUT], path: /ref*}\n  - {id: x, match: {tool_regex: '[xy]+'}, action: block}\n",
    );
    assert_eq!(verdict(&policy, "a.b", Args::Unread).rule_label(), Some("r"));
    let base = call("b", Args::Unread);
    for (changed, outcome) in [
        (CallView { tool: "c", ..base }, TriedOutcome::NameDidNotMatch),
        (CallView { upstream: "other", ..base }, TriedOutcome::UpstreamDidNotMatch),
        (CallView { agent: "support-10", ..base }, TriedOutcome::AgentDidNotMatch),
        (CallView { method: "GET", ..base }, TriedOutcome::MethodDidNotMatch),
        (CallView { path: "/x", ..base }, TriedOutcome::PathDidNotMatch),
    ] {
        let explained = policy.explain(&changed);
        assert_eq!((explained.decision, explained.tried[0].outcome), (VerdictKind::Allowed, outcome));
    }
    assert_eq!(verdict(&policy, "xyx", Args::Unread).rule_label(), Some("x"));
    assert_eq!(verdict(&policy, "xyz", Args::Unread).rule_label(), None, "a regular expression is anchored");
}

#[test]
fn everything_wrong_is_reported_at_once_with_its_place() {
    let long = "x".repeat(GLOB_BYTES_MAX + 1);
    let yaml = format!(
        r#"version: 1
rules:
  - {{id: a, match: [ok, "{long}"], action: allow}}
  - {{id: a, match: "*", action: block}}
  - {{match: {{}}, action: block}}
  - {{match: [], action: block}}
  - {{match: {{tool: a, tool_regex: b}}, action: block}}
  - {{match: {{tool_regex: "a)|(b"}}, action: block}}
  - {{match: "*", when: "tol == 'x'", action: block}}
  - {{match: "*", action: block, approval: {{sla: 5m}}}}
  - match: "*"
    action: require_approval
    approval: {{sla: 2h, summary: "${{arg.x}}", redact: ["args"], approvers: {{count: 0}}, expires_in: 1h}}
  - {{match: "*", action: require_approval, approval: {{expires_in: 0s, approvers: {{group: g, all_of: []}}}}}}
  - {{id: "", match: "*", action: allow}}
"#
    );
    let errors = compile(vec![file("p.yaml", &yaml)]).expect_err("a broken policy");
    let found: Vec<(String, &str)> = errors
        .iter()
        .map(|error| {
            let path: Vec<String> = error
                .path
                .iter()
                .skip(1)
                .map(|segment| match segment {
                    PathSegment::Key(key) => key.clone(),
                    PathSegment::Index(index) => index.to_string(),
                })
                .collect();
            (path.join("."), error.message.as_str())
        })
        .collect();
    for (path, message) in [
        ("0.match.1", "the glob has"),
        ("1.id", "the id `a` is already used in this file"),
        ("2.match", "an empty `match`"),
        ("3.match", "an empty list"),
        ("4.match.tool_regex", "`tool` and `tool_regex` exclude"),
        ("5.match.tool_regex", "the pattern cannot be read"),
        ("6.when", "column 1: unknown variable `tol`"),
        ("7.approval", "`approval` has no effect with `action: block`"),
        ("8.approval.sla", "`sla: 2h` is after `expires_in: 1h`"),
        ("8.approval.summary", "unknown `${arg.x}`"),
        ("8.approval.redact.0", "`args` is no JSON pointer"),
        ("8.approval.approvers.count", "a slot needs at least one person"),
        ("9.approval.expires_in", "an approval that expires at once"),
        ("9.approval.approvers", "`all_of` excludes"),
        ("9.approval.approvers.all_of", "an empty list"),
        ("10.id", "an `id` needs"),
    ] {
        assert!(
            found.iter().any(|(at, text)| at == path && text.starts_with(message)),
            "{path}: {message}\n{found:#?}"
        );
    }
    assert_eq!(found.len(), 16, "{found:#?}");
}

#[test]
fn files_form_one_list_in_name_order_and_may_not_contradict_each_other() {
    let a = "version: 1\ndefault: block\nrules: [{id: a, match: t, action: allow}]\n";
    let b = "version: 1\nrules: [{id: b, match: t, action: block}]\n";
    let policy = compile(vec![file("b.yaml", b), file("a.yaml", a)]).expect("two files");
    assert_eq!(verdict(&policy, "t", Args::Unread).rule_label(), Some("a"));
    let swapped = compile(vec![file("a.yaml", b), file("b.yaml", a)]).expect("two files");
    assert_ne!(policy.revision(), swapped.revision());
    assert_eq!(policy.rules()[0].digest(), swapped.rules()[1].digest(), "the same rule elsewhere");

    let errors = compile(vec![
        file("a.yaml", a),
        file("b.yaml", "version: 1\ndefault: allow\nrules: [{id: a, match: x, action: allow}]\n"),
    ])
    .expect_err("contradictions");
    let messages: Vec<_> = errors.iter().map(|error| (error.file.as_str(), error.message.as_str())).collect();
    assert_eq!(
        messages,
        [
            ("b.yaml", "this `default` contradicts the one in `a.yaml`"),
            ("b.yaml", "the id `a` is already used in `a.yaml`")
        ]
    );
}

#[test]
fn no_rule_goes_by_what_stands_for_no_rule() {
    let errors = compile(vec![file(
        "a.yaml",
        "version: 1\nrules: [{id: default, match: x, action: allow}, {id: api, match: y, action: allow}, {id: Default, match: z, action: allow}]\n",
    )])
    .expect_err("reserved");
    let messages: Vec<_> = errors.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "the id `default` is what decisions without a rule are recorded under",
            "the id `api` is what decisions without a rule are recorded under",
        ]
    );
    assert!(errors[0].hint.as_deref().is_some_and(|hint| hint.contains("another id")), "{errors:?}");

    let unnamed = compile(vec![file(
        "a.yaml",
        "version: 1\nrules: [{match: api, action: block}, {match: apis, action: block}]\n",
    )]);
    let labels: Vec<_> = unnamed.expect("no id").rules().iter().map(|rule| rule.label().to_owned()).collect();
    assert_eq!(labels, ["match: api", "apis"]);
}

#[test]
fn unknown_keys_wrong_types_and_bad_durations_do_not_parse() {
    for (yaml, message) in [
        ("version: 2\nrules: []\n", "version 2 is unknown"),
        ("version: 1\nrulez: []\n", "unknown field `rulez`"),
        ("rules: []\n", "missing field `version`"),
        ("version: 1\nrules: [{match: a, action: deny}]\n", "unknown variant `deny`"),
        ("version: 1\nrules: [{match: {tol: a}, action: block}]\n", "unknown field `tol`"),
        ("version: 1\nrules: [{match: 5, action: block}]\n", "expected a glob"),
        ("version: 1\nrules: [{match: a, action: block, risk: extreme}]\n", "unknown variant `extreme`"),
        ("version: 1\nrules: [{match: a, action: require_approval, approval: {sla: 15}}]\n", "has no unit"),
        ("version: 1\nrules: [{match: a, action: require_approval, approval: {sla: 15x}}]\n", "unknown unit `x`"),
        ("version: 1\nrules: [{match: a, action: require_approval, approval: {hodl: 15s}}]\n", "unknown field `hodl`"),
    ] {
        let error = serde_yaml::from_str::<model::Policy>(yaml).expect_err(yaml).to_string();
        assert!(error.contains(message), "{yaml}: {error}");
    }
}

#[test]
fn a_variant_of_a_key_that_a_rule_reads_is_found_for_the_rules_concerned() {
    let policy = policy(
        "version: 1\nrules:\n  - {match: pay, when: args.amount <= 5, action: allow}\n  - {match: other, when: args.who == 'x', action: allow}\n",
    );
    let fold = |key: &str, wanted: &str| key.eq_ignore_ascii_case(wanted);
    let args = Value::Object(vec![("Amount".into(), Value::Null), ("WHO".into(), Value::Null)]);
    let found = |tool: &str| policy.confusable_key(&call(tool, Args::Read(&args)), &args, &fold);
    assert_eq!(found("pay").as_deref(), Some("Amount"));
    assert_eq!(found("other").as_deref(), Some("WHO"));
    assert_eq!(found("none"), None);
}

#[test]
fn a_model_reads_back_what_it_writes_and_the_schema_names_every_key() {
    let yaml = "version: 1\ndefault: require_approval\nmode: shadow\nrules:\n- id: r\n  match:\n    tool:\n    - a\n    agent: b\n  when: 'true'\n  action: require_approval\n  reason: why\n  risk: high\n  mode: enforce\n  approval:\n    approvers:\n      all_of:\n      - group: g\n        count: 2\n    sla: 15m\n    expires_in: 1h30m\n    hold: 50s\n    release: detached\n    summary: s\n    redact:\n    - /args/x\n    grant_ttl: 10m\n    reject_memory: 5m\n    result_ttl: 1d\n";
    let model: model::Policy = serde_yaml::from_str(yaml).expect("a policy");
    assert_eq!(serde_yaml::to_string(&model).expect("serialises"), yaml);
    let schema = serde_json::to_string(&schemars::schema_for!(model::Policy)).expect("a schema");
    for line in yaml.lines() {
        let key = line.trim_start_matches(['-', ' ']).split(':').next().unwrap_or_default();
        if line.contains(':') && !line.contains("- /args") {
            assert!(schema.contains(&format!("\"{key}\"")), "{key}");
        }
    }
}

#[test]
fn a_rule_on_annotations_decides_only_where_nothing_else_is_as_strict() {
    use crate::domain::tools::{Annotations, Claims};
    use VerdictKind::{Allowed, Blocked, WaitingForApproval};
    let writes = "{ id: writes, match: { annotations: { readOnlyHint: false } }, action: require_approval }";
    let destroys = "{ id: destroys, match: { annotations: { destructiveHint: true } }, action: block }";
    let claims = |read_only: bool, destructive: bool| {
        Claims::Listed(Annotations {
            read_only_hint: Some(read_only),
            destructive_hint: Some(destructive),
            ..Annotations::default()
        })
    };
    let (reads, changes, deletes) = (claims(true, false), claims(false, false), claims(false, true));
    for (default, rules, claims, kind, rule) in [
        ("allow", format!("[{writes}]"), reads, Allowed, None),
        ("allow", format!("[{writes}]"), changes, WaitingForApproval, Some("writes")),
        ("allow", format!("[{writes}]"), Claims::Unknown, WaitingForApproval, Some("writes")),
        ("allow", format!("[{writes}]"), Claims::NoTool, Allowed, None),
        ("require_approval", format!("[{writes}]"), changes, WaitingForApproval, Some("writes")),
        ("block", format!("[{writes}]"), changes, Blocked, None),
        ("allow", format!("[{writes}, {destroys}]"), changes, WaitingForApproval, Some("writes")),
        ("allow", format!("[{writes}, {destroys}]"), deletes, Blocked, Some("destroys")),
        ("allow", format!("[{writes}, {{ id: b, match: t, action: block }}]"), changes, Blocked, Some("b")),
        (
            "allow",
            format!("[{writes}, {{ id: two, match: t, action: require_approval }}]"),
            changes,
            WaitingForApproval,
            Some("two"),
        ),
        (
            "allow",
            format!("[{writes}, {{ id: a, match: t, action: audit }}]"),
            changes,
            WaitingForApproval,
            Some("writes"),
        ),
        // The operator's own word stands before the rule.
        ("block", format!("[{{ id: a, match: t, action: allow }}, {writes}]"), deletes, Allowed, Some("a")),
    ] {
        let policy = policy(&format!("version: 1\ndefault: {default}\nrules: {rules}\n"));
        let call = CallView { claims, ..call("t", Args::Absent) };
        let verdict = policy.judge(&call);
        assert_eq!((verdict.kind, verdict.rule_label()), (kind, rule), "{default} {rules} {claims:?}");
        assert_eq!(policy.explain(&call).rule.as_deref(), rule, "{default} {rules} {claims:?}");
    }
}

#[test]
fn annotations_are_refused_where_they_would_loosen_or_say_nothing() {
    for (rule, expected) in [
        ("{ match: { annotations: { readOnlyHint: true } }, action: allow }", "on the server's word"),
        ("{ match: { annotations: { readOnlyHint: true } }, action: audit }", "on the server's word"),
        ("{ match: { annotations: {} }, action: block }", "no annotation is named"),
    ] {
        let errors = compile(vec![file("p.yaml", &format!("version: 1\nrules: [{rule}]\n"))]).expect_err(rule);
        assert!(errors.iter().any(|error| error.message.contains(expected)), "{rule}: {errors:?}");
    }
    let unknown = "version: 1\nrules: [{ match: { annotations: { readonly: true } }, action: block }]\n";
    assert!(serde_yaml::from_str::<model::Policy>(unknown).is_err(), "a misspelt hint would match everything");
}
