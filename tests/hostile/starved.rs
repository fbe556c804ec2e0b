//! Starving it open: no policy, too much of it, patterns that explode, a store and a trail that cannot be written, a clock that is
//! far ahead. What cannot be judged or written down is refused.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

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
    let gateway = Gateway::of(with_failing_writes_survived(&home));
    let bot = gateway.agent("bot");
    bot.call("GET", "/tools/report").send().expect(200, "");
    let waiting = bot.post("/tools/delete_repo", &repository()).start();
    let id = gateway.one_pending();
    let sent = origin.hits().len();

    let limit = Command::new("prlimit").arg(format!("--pid={}", gateway.pid())).arg("--fsize=1:1").status();
    assert!(limit.expect("prlimit is there").success());
    bot.call("GET", "/tools/report").send().expect(503, "store_unavailable");
    let held = bot.post("/tools/delete_repo", &json!({ "repo": "another" })).header("prefer", "wait=0");
    held.send().expect(503, "store_unavailable");
    let decided = gateway.reviewer("alice").try_decide(&id, "approved", None);
    decided.expect(503, "store_unavailable");
    let asked = bot.post("/_holdpoint/v1/approvals", &json!({ "action": "deploy" })).send();
    asked.expect(503, "store_unavailable");
    assert!(!waiting.is_answered(), "the call that waits is not let through");
    assert_eq!(origin.hits().len(), sent, "nothing was sent");
    waiting.hang_up();
}

/// The library that shifts a program's clock.
fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("readable").map_while(Result::ok);
    let library = |folder: &Path| folder.join("faketime/libfaketime.so.1");
    let found = folders.map(|folder| library(&folder.path())).find(|path| path.exists());
    found.expect("libfaketime is installed; run scripts/install-test-tools.sh")
}

#[test]
fn h30_a_clock_that_jumps_far_ahead_ends_what_was_approved_and_releases_nothing() {
    let origin = Origin::start();
    let home = Home::new(origin.address);
    let offset = home.path("offset");
    let set = |text: &str| std::fs::write(&offset, text).expect("written");
    set("+0");
    let home = home
        .environment("LD_PRELOAD", &faketime().display().to_string())
        .environment("FAKETIME_TIMESTAMP_FILE", &offset.display().to_string())
        .environment("FAKETIME_NO_CACHE", "1")
        .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let gateway = Gateway::start(&home);
    let (bot, alice) = (gateway.agent("bot"), gateway.reviewer("alice"));
    let granted_call = bot.post("/tools/delete_repo", &json!({ "repo": "granted" })).header("prefer", "wait=0");
    let granted = granted_call.send().expect(503, "approval_pending").approval();
    alice.approve(&granted);
    let waiting = bot.post("/tools/delete_repo", &repository()).start();
    let pending = gateway.one_pending();

    set("+3650d");
    until_true("the gateway sees the later clock", || {
        let body = json!({ "action": "what year is it" });
        let asked = bot.post("/_holdpoint/v1/approvals", &body).send().expect(201, "").json();
        let year = |approval: &Value| approval["requested_at"].as_str().and_then(|at| at[..4].parse::<u32>().ok());
        let id = asked["id"].as_str().expect("an id");
        let (now, then) = (year(&alice.approval(id)), year(&alice.approval(&granted)));
        now.expect("a year") >= then.expect("a year") + 9
    });
    let again = granted_call.send();
    assert_ne!(again.status, 200, "{}", again.text());
    assert_ne!(again.header("holdpoint-approval"), Some(granted.as_str()), "{}", again.text());
    let decided = alice.try_decide(&pending, "approved", None);
    assert_ne!(decided.status, 200, "what is long over cannot be approved: {}", decided.text());
    waiting.answer().expect(403, "expired");
    assert!(origin.hits().is_empty(), "{:?}", origin.hits());
}
