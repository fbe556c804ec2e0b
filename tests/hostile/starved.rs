//! Starving it open: no policy, too much of it, patterns that explode, a store and a trail that cannot be written, a clock that is
//! far ahead. What cannot be judged or written down is refused.

use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::faketime::{faked, set};
use crate::spy::Language;
use crate::support::gateway::{Gateway, holdpoint, serve};
use crate::support::home::{Home, POLICY};
use crate::support::origin::Origin;
use crate::support::rig::repository;
use crate::support::wait::until_true;
use crate::trap::Trap;

fn check(home: &Home) -> Output {
    home.write();
    let output = holdpoint(&["check", "-c"]).arg(home.path("holdpoint.yaml")).output();
    output.expect("the binary can be run")
}

/// A policy that does not load: `check` says why, and `serve` does not start.
#[track_caller]
fn does_not_load(what: &str, policy: &str, named: &str) {
    let origin = Origin::start();
    let home = Home::new(origin.address).policy(policy);
    let output = check(&home);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{what}: {said}");
    assert!(said.contains(named), "{what}: `{named}` is not in: {said}");
    let served = serve(&home).stderr(Stdio::null()).output().expect("the binary can be run");
    assert!(served.status.code().is_some_and(|code| code != 0), "{what}: {}", served.status);
}

#[test]
fn h30_an_empty_policy_loads_nowhere_or_blocks_everything() {
    for (what, policy, named) in [
        ("no bytes", "", "policy"),
        ("a comment", "# rules: all\n", "policy"),
        ("null", "null\n", "policy"),
        ("a list", "[]\n", "policy"),
        ("an object without members", "{}\n", "version"),
        ("a NUL", "\0", "policy"),
        ("rules that are none", "version: 1\nrules: null\n", "rules"),
    ] {
        does_not_load(what, policy, named);
    }
    does_not_load("neither rules nor a default", "version: 1\nrules: []\n", "no rules and no `default`");
    let origin = Origin::start();
    let home = Home::new(origin.address).policy("version: 1\ndefault: block\nrules: []\n");
    let gateway = Gateway::start(&home);
    for target in ["/tools/delete_repo", "/tools/safe_read", "/tools/anything"] {
        gateway.agent("bot").post(target, &json!({})).send().expect(403, "blocked");
    }
    assert!(origin.hits().is_empty());
}

#[test]
fn h30_a_policy_that_is_too_much_does_not_load() {
    let rule = |n: usize| format!("- {{match: t{n}, action: allow}}\n");
    let mut many = "version: 1\ndefault: block\nrules:\n".to_owned();
    (0..20_001).for_each(|n| many.push_str(&rule(n)));
    does_not_load("too many bytes", &many, "policy.yaml");
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b]\n";
    does_not_load("aliases of aliases", &format!("version: 1\nrules: []\n{bomb}"), "policy.yaml");
    does_not_load("depth", &format!("version: 1\nrules: {}", "[".repeat(100_000)), "policy.yaml");
    let long = format!("version: 1\nrules: [ {{ match: \"{}\", action: allow }} ]\n", "*a".repeat(10_000));
    does_not_load("a glob of 20 000 characters", &long, "the glob has");
    // Files of a size that is read, and together more rules than there may be.
    let origin = Origin::start();
    let mut home = Home::new(origin.address);
    home.settings.whole = Some(home.configuration().replace("policies: [ policy.yaml ]", "policies: [ many ]"));
    let folder = home.path("many");
    std::fs::create_dir(&folder).expect("a folder can be made");
    for file in 0..21 {
        let rules: String = (0..1_000).map(|n| rule(file * 1_000 + n)).collect();
        let text = format!("version: 1\nrules:\n{rules}");
        std::fs::write(folder.join(format!("{file}.yaml")), text).expect("written");
    }
    let output = check(&home);
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("21000 rules"), "{said}");
}

/// Nothing of what does not load is taken over: what was gated stays gated.
#[test]
fn h30_a_policy_that_is_emptied_cut_or_blown_up_while_the_gateway_runs_changes_nothing() {
    let origin = Origin::start();
    let mut home = Home::new(origin.address);
    let gateway = Gateway::start(&home);
    let good = home.settings.policy.clone();
    let bomb = format!("version: 1\nrules: {}", "[".repeat(100_000));
    for (n, bad) in ["", "version: 1\nrules: []\n", &good[..good.len() - 12], &bomb].into_iter().enumerate() {
        home.settings.policy = bad.to_owned();
        home.write();
        gateway.signal("HUP");
        until_true("the reload failed", || gateway.metric("holdpoint_config_last_reload_successful", &[]) == 0.0);
        let call = gateway.agent("bot").post("/tools/delete_repo", &json!({ "n": n })).header("prefer", "wait=0");
        call.send().expect(503, "approval_pending");
        gateway.agent("bot").post("/tools/unknown", &json!({})).send().expect(403, "blocked");
        home.settings.policy.clone_from(&good);
        home.write();
        gateway.signal("HUP");
        until_true("the good one is back", || gateway.metric("holdpoint_config_last_reload_successful", &[]) == 1.0);
    }
    assert!(origin.hits().is_empty());
}

#[test]
fn h30_patterns_that_explode_do_not_load_or_are_matched_in_bounded_time() {
    let by = |condition: &str| {
        format!("version: 1\ndefault: block\nrules: [ {{ match: call, when: '{condition}', action: allow }} ]\n")
    };
    does_not_load("repetitions of repetitions", &by("args.x.matches(\"((a{1000}){1000}){1000}\")"), "when");
    let name = "version: 1\nrules: [ { match: { tool_regex: \"((a{1000}){1000}){1000}\" }, action: block } ]\n";
    does_not_load("repetitions of repetitions in a name", name, "tool_regex");
    does_not_load("a pattern that the caller chooses", &by("args.x.matches(args.pattern)"), "must be written as text");
    // Patterns that backtracking readers never finish with, on a text that makes them try everything.
    let policy = "version: 1\ndefault: allow\nrules:\n  - { id: gate, match: call, when: '!args.x.matches(\"^(a+)+$\")', \
                  action: require_approval, approval: { hold: 50ms } }\n  - { id: safe, match: \"safe_*\", action: allow }\n  \
                  - { id: call, match: call, action: allow }\n";
    for language in Language::ALL {
        let mut trap = Trap::with(language, |home| home.policy(policy));
        let text = format!("{}!", "a".repeat(500_000));
        let calls: Vec<_> = (0..8)
            .map(|n| trap.gateway.agent("bot").post("/tools/call", &json!({ "x": text, "n": n })).start())
            .collect();
        for call in calls {
            call.answer().expect(503, "approval_pending");
        }
        assert_eq!(trap.fresh_sightings().len(), 0, "before {language:?}");
    }
}

/// Runs the gateway so that a write beyond a limit on file sizes fails as a broken disk does, rather than ends it.
fn with_failing_writes_survived(home: &Home) -> Command {
    let plain = serve(home);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(plain.get_program()).args(plain.get_args());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.envs(home.settings.environment.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

#[test]
fn h30_with_the_store_and_the_trail_gone_nothing_that_needs_them_passes() {
    let rule = "rules:\n  - { id: told, match: report, action: audit }\n";
    let origin = Origin::start();
    let home = Home::new(origin.address).policy(&POLICY.replacen("rules:\n", rule, 1));
    let mut gateway = Gateway::of(with_failing_writes_survived(&home));
    let bot = gateway.agent("bot");
    bot.call("GET", "/tools/report").send().expect(200, "");
    let waiting = bot.post("/tools/delete_repo", &repository()).start();
    let id = gateway.one_pending();
    let sent = origin.hits().len();

    let limit = Command::new("prlimit").arg(format!("--pid={}", gateway.pid())).arg("--fsize=1:1").status();
    assert!(limit.expect("prlimit is there").success());
    // The first learns that the store is lost; the others may meet a gateway that ends for it, or none.
    bot.call("GET", "/tools/report").send().expect(503, "store_unavailable");
    let decision = json!({ "decision": "approved" });
    let others = [
        bot.post("/tools/delete_repo", &json!({ "repo": "another" })).header("prefer", "wait=0"),
        gateway.reviewer("alice").call("POST", &format!("/v1/approvals/{id}")).json(&decision),
        bot.post("/_holdpoint/v1/approvals", &json!({ "action": "deploy" })),
        bot.call("GET", "/tools/report"),
    ];
    for answer in others.iter().filter_map(|call| call.try_send().ok()) {
        assert_eq!(answer.status, 503, "{}", answer.text());
    }
    assert_eq!(gateway.end().code(), Some(1), "{}", gateway.log());
    if let Ok(answer) = waiting.outcome() {
        assert_eq!(answer.status, 503, "the call that waits is not let through: {}", answer.text());
    }
    assert_eq!(origin.hits().len(), sent, "nothing was sent");
}

#[test]
fn h30_a_clock_that_is_far_ahead_at_a_restart_ends_what_was_approved_and_releases_nothing() {
    let origin = Origin::start();
    let home = faked(Home::new(origin.address));
    let gateway = Gateway::start(&home);
    let (bot, alice) = (gateway.agent("bot"), gateway.reviewer("alice"));
    let granted_call = bot.post("/tools/delete_repo", &json!({ "repo": "granted" })).header("prefer", "wait=0");
    let granted = granted_call.send().expect(503, "approval_pending").approval();
    alice.approve(&granted);
    let call = bot.post("/tools/delete_repo", &repository()).header("prefer", "wait=0");
    let pending = call.send().expect(503, "approval_pending").approval();

    // While it runs the gateway keeps the time it started with: `tests/faults/clock.rs`.
    gateway.crash();
    set(&home, "+3650d");
    let gateway = Gateway::start(&home);
    let (bot, alice) = (gateway.agent("bot"), gateway.reviewer("alice"));
    let granted_call = bot.post("/tools/delete_repo", &json!({ "repo": "granted" })).header("prefer", "wait=0");
    let again = granted_call.send();
    assert_ne!(again.status, 200, "{}", again.text());
    assert_ne!(again.header("holdpoint-approval"), Some(granted.as_str()), "{}", again.text());
    let decided = alice.try_decide(&pending, "approved", None);
    assert_ne!(decided.status, 200, "what is long over cannot be approved: {}", decided.text());
    until_true("it is written down as over", || alice.approval(&pending)["status"] == "expired");
    assert!(origin.hits().is_empty(), "{:?}", origin.hits());
}
