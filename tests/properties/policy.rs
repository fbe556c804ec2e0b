//! Policy files: whatever the bytes, they are refused with something to read and a place, or make a policy that judges every call,
//! always alike, and never looser for what it cannot see.

use holdpoint::config::diagnostic::{Code, Diagnostic};
use holdpoint::config::policies::{self, PolicySource};
use holdpoint::domain::policy::compile::CompiledPolicy;
use holdpoint::domain::policy::explain::TriedOutcome;
use holdpoint::domain::policy::lint::{Surroundings, lint};
use holdpoint::domain::policy::model::Action;
use holdpoint::domain::policy::view::{NoValues, Pairs};
use holdpoint::domain::policy::{Args, CallView, Decision, PathSegment, PolicyFile, Verdict, VerdictKind, compile};
use holdpoint::domain::time::Timestamp;
use holdpoint::domain::tools::{Annotations, Claims, OnToolChange};
use holdpoint::domain::value::Value;
use holdpoint::protocol::json::{self, Limits, confusable_with};

const FILE: &str = "policy.yaml";
/// Rules of one input whose names are called.
const TOOLS_MAX: usize = 6;
/// Arguments that conditions are likely to look at, and some that they are not.
const ARGUMENTS: [&str; 5] = [
    "{}",
    r#"{"amount":9007199254740993,"currency":"EUR","force":true,"path":"/etc/passwd","repo":"a","environment":"production"}"#,
    r#"{"amount":-0.5e1,"to":["a@example.org","b@example.com"],"items":[{"amount":1},{"amount":1e300}],"query":"DROP TABLE t"}"#,
    r#"{"amount":"100","customer":{"id":"c","tier":null},"to":"x","count":1e2,"items":[]}"#,
    r"[1,[2,[3]],null]",
];

/// Checks one file.
pub(crate) fn check(bytes: &[u8]) {
    match policies::source(FILE, bytes) {
        Err(problems) => check_problems(&problems, bytes),
        Ok(source) => {
            check_places(&source);
            check_compiled(&source, bytes);
        }
    }
}

fn check_problems(problems: &[Diagnostic], bytes: &[u8]) {
    assert!(!problems.is_empty(), "refused without a word");
    // YAML ends lines at carriage returns as well.
    let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).count();
    for problem in problems {
        assert!(!problem.message.trim().is_empty() && problem.file == FILE);
        // One place beyond the end is the end.
        assert!(problem.place.is_none_or(|place| place.line <= lines + 1 && place.column > 0), "{:?}", problem.place);
        assert!(problem.render().contains(FILE) && problem.to_string().starts_with(FILE));
    }
}

/// The parser that finds places and the parser that finds values see the same members.
fn check_places(source: &PolicySource) {
    let mut path = vec![PathSegment::Key("rules".to_owned())];
    for index in 0..source.model.rules.len() {
        path.truncate(1);
        path.push(PathSegment::Index(index));
        for key in ["match", "action"] {
            path.push(PathSegment::Key(key.to_owned()));
            let (_, span) = source.document.spans().key(&path);
            let written = &source.document.source().text[span];
            assert!(written.contains(key) || written.contains('\\'), "{path:?} stands at {written:?}");
            path.pop();
        }
    }
}

fn file(source: &PolicySource) -> PolicyFile {
    PolicyFile { name: source.name.clone(), model: source.model.clone(), source_sha256: source.sha256 }
}

fn check_compiled(source: &PolicySource, bytes: &[u8]) {
    let policy = match compile(vec![file(source)]) {
        Ok(policy) => policy,
        Err(errors) => {
            let mut overall = errors.iter().filter(|error| error.file.is_empty());
            assert!(overall.all(|error| !error.message.contains("unexpectedly")), "the compiler panicked");
            assert!(errors.iter().all(|error| error.file.is_empty() || error.file == FILE));
            let placed = errors.iter().map(|error| source.document.at_value(&error.path, Code::Policy, &error.message));
            let problems: Vec<Diagnostic> = placed.collect();
            return check_problems(&problems, bytes);
        }
    };
    assert_eq!(policy.rules().len(), source.model.rules.len(), "a rule is missing");
    let again = compile(vec![file(source)]).expect("what compiled once compiles again");
    assert_eq!(policy.revision(), again.revision());
    assert!(lint(&policy, Surroundings::default()).iter().all(|finding| !finding.message.is_empty()));
    let values: Vec<Value<'_>> = ARGUMENTS.iter().map(|text| read(text)).collect();
    let shadow = again.in_shadow();
    for tool in tools(&policy) {
        for claims in [Claims::NoTool, Claims::Unknown, Claims::Listed(Annotations::default())] {
            check_tool(&policy, &shadow, &tool, claims, &values);
        }
    }
}

fn read(text: &'static str) -> Value<'static> {
    json::read(text.as_bytes(), &Limits::default()).expect("the arguments are JSON")
}

/// Names that the rules are about, and one that none is.
fn tools(policy: &CompiledPolicy) -> Vec<String> {
    let named = policy.rules().iter().take(TOOLS_MAX).map(|rule| rule.label().replace('*', "x"));
    named.chain(["delete_repo".to_owned(), "?".to_owned()]).collect()
}

fn check_tool(policy: &CompiledPolicy, shadow: &CompiledPolicy, tool: &str, claims: Claims, values: &[Value<'_>]) {
    let query = Pairs::query(vec![("dry_run".to_owned(), "1".to_owned()), ("a".to_owned(), "x".to_owned())]);
    let headers = Pairs::headers(vec![("X-Team".to_owned(), "blue".to_owned()); 2]);
    let unread = CallView {
        tool,
        agent: "support-bot",
        upstream: "payments",
        method: "POST",
        path: "/refunds/7",
        query: &query,
        headers: &headers,
        args: Args::Unread,
        claims,
        now: Timestamp::from_millis(1_790_000_000_000),
    };
    let early = match policy.decide(&unread) {
        Decision::NeedsBody => None,
        Decision::Verdict(verdict) => Some(said(&verdict)),
    };
    let all = values.iter().map(Args::Read).chain([Args::Absent]);
    for call in all.map(|args| CallView { args, ..unread }) {
        check_judged(policy, &call);
        let verdict = policy.judge(&call);
        assert!(early.as_ref().is_none_or(|early| *early == said(&verdict)), "the body changed a verdict without it");
        assert_eq!(shadow.judge(&call).kind, VerdictKind::Allowed, "a policy in shadow stopped a call");
        let elsewhere =
            CallView { query: &NoValues, headers: &NoValues, now: Timestamp::from_millis(i64::MAX), ..call };
        check_judged(policy, &elsewhere);
    }
}

fn said(verdict: &Verdict<'_>) -> (VerdictKind, Option<String>) {
    (verdict.kind, verdict.rule_label().map(str::to_owned))
}

/// How much a verdict lets through: less is stricter.
fn looseness(kind: VerdictKind) -> u8 {
    match kind {
        VerdictKind::Blocked => 0,
        VerdictKind::WaitingForApproval => 1,
        VerdictKind::Audit | VerdictKind::Allowed => 2,
    }
}

/// The verdict is the one that follows from what was tried, by the rules as the documentation states them.
fn check_judged(policy: &CompiledPolicy, call: &CallView<'_>) {
    let verdict = policy.judge(call);
    let explained = policy.explain(call);
    assert_eq!((explained.decision, explained.rule), (verdict.kind, verdict.rule_label().map(str::to_owned)));
    let (mut decided, mut tightening) = (None, None);
    for tried in &explained.tried {
        assert!(decided.is_none(), "something was tried after the decision");
        let strict = matches!(tried.action, Action::Block | Action::RequireApproval);
        match tried.outcome {
            TriedOutcome::Matched => decided = Some(tried.action),
            TriedOutcome::MatchedOnError => {
                assert!(strict && tried.error.is_some(), "a condition that cannot be evaluated loosened");
                decided = Some(tried.action);
            }
            TriedOutcome::WhenError => assert!(!strict, "a condition that cannot be evaluated opened a gate"),
            TriedOutcome::Tightens => tightening = tightening.or(Some(tried.action)),
            _ => {}
        }
    }
    let by_default = match policy.default_action() {
        Some(default) if !policy.default_only_records() => VerdictKind::from(default),
        Some(_) | None => VerdictKind::Allowed,
    };
    let plain = decided.map_or(by_default, VerdictKind::from);
    let expected = match tightening.map(VerdictKind::from) {
        Some(tighter) if looseness(tighter) < looseness(plain) => tighter,
        _ => plain,
    };
    assert_eq!(looseness(verdict.kind), looseness(expected), "{:?} is not what was tried", verdict.kind);
    for change in [OnToolChange::RequireApproval, OnToolChange::Allow, OnToolChange::Block] {
        let Decision::Verdict(tightened) = policy.tightened(Decision::Verdict(policy.judge(call)), change) else {
            panic!("a verdict needs the body");
        };
        assert!(looseness(tightened.kind) <= looseness(verdict.kind), "a changed tool loosened");
    }
    check_shown(&verdict, policy, call);
}

/// What people are shown of a call can be made of every call.
fn check_shown(verdict: &Verdict<'_>, policy: &CompiledPolicy, call: &CallView<'_>) {
    let approval = verdict.approval();
    if let Some(summary) = &approval.summary {
        let _ = summary.render(call, &approval.redaction);
    }
    if let Args::Read(args) = call.args {
        let shown = approval.redaction.apply(args);
        assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok(), "what is shown is no JSON: {shown}");
        let _ = policy.confusable_key(call, args, &|key, wanted| confusable_with(key, wanted));
    }
}
