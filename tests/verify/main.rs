//! `holdpoint verify`, run as an operator runs it: on the examples, on the shipped policies, and on configurations with a weakness
//! planted, for which it must say so. And that it leaves alone what is the operator's.

#![expect(clippy::disallowed_methods, reason = "tests write configurations and read what became of them")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// 64 hexadecimal digits that are the digest of nobody's token.
fn digest(number: usize) -> String {
    format!("{number:064x}")
}

/// Runs it with an environment of its own; `scratch` is where its temporary files go.
fn verify(config: &Path, scratch: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_holdpoint"))
        .args(["verify", "-c"])
        .arg(config)
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TMPDIR", scratch)
        .env("BOT_TOKEN_SHA256", digest(1))
        .env("ALICE_TOKEN_SHA256", digest(2))
        .env("DEPLOYER_TOKEN_SHA256", digest(3))
        .output()
        .expect("the binary runs")
}

/// The report of a run that came to one.
#[track_caller]
fn report(config: &Path) -> (i32, Value) {
    let scratch = TempDir::new().expect("a folder");
    let output = verify(config, scratch.path(), &["--format", "json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{said}"));
    let left: Vec<_> = std::fs::read_dir(scratch.path()).expect("readable").collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    (output.status.code().expect("an exit code"), report)
}

/// The results of a check, by subject.
fn results<'r>(report: &'r Value, check: &str) -> Vec<(&'r str, &'r str)> {
    let lines = report["checks"].as_array().expect("checks");
    let of = lines.iter().filter(|line| line["check"] == check);
    of.map(|line| (line["subject"].as_str().unwrap_or(""), line["result"].as_str().expect("a result"))).collect()
}

/// The ids of the checks that failed.
fn failed(report: &Value) -> Vec<&str> {
    let lines = report["checks"].as_array().expect("checks");
    lines.iter().filter(|line| line["result"] == "fail").map(|line| line["check"].as_str().expect("an id")).collect()
}

/// A configuration in a folder of its own.
struct Home(TempDir);

impl Home {
    /// `policy` and what is put under `lines`; one agent, three reviewers in `groups`.
    fn new(policy: &str, groups: &str, lines: &str) -> Self {
        let home = Self(TempDir::new().expect("a folder"));
        let reviewers: String = ["alice", "robin", "sam"]
            .iter()
            .enumerate()
            .map(|(n, id)| format!("  - {{ id: {id}, groups: [{groups}], token_sha256: \"{}\" }}\n", digest(n + 10)))
            .collect();
        let config = format!(
            "version: 1\nstore: sqlite://holdpoint.db\npolicies: [policy.yaml]\n\
             agents:\n  - {{ id: bot, token_sha256: \"{}\" }}\nreviewers:\n{reviewers}{lines}",
            digest(1)
        );
        home.write("policy.yaml", policy);
        home.write("holdpoint.yaml", &config);
        home
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).expect("written");
    }

    fn config(&self) -> PathBuf {
        self.0.path().join("holdpoint.yaml")
    }
}

const MCP: &str = "upstreams: { tools: { url: \"http://127.0.0.1:9/mcp\", protocol: mcp } }\n\
                   routes: [ { path: /mcp, upstream: tools } ]\n";
const REST: &str = "upstreams: { shop: { url: \"http://127.0.0.1:9\", headers: { x-key: canary } } }\n\
                    routes: [ { path: /shop/, upstream: shop } ]\n";
const GATED: &str = "version: 1\ndefault: block\nrules:\n  - { id: pay, match: \"shop:POST /pay\", action: require_approval, \
                     approval: { approvers: { group: finance, count: 2 }, redact: [/args/card] } }\n";

#[track_caller]
fn all_hold(config: &Path) -> Value {
    let (code, report) = report(config);
    assert_eq!(code, 0, "{report:#}");
    assert!(failed(&report).is_empty() && report["ok"] == true, "{report:#}");
    report
}

fn example(name: &str) -> Value {
    let copy = TempDir::new().expect("a folder");
    for entry in std::fs::read_dir(root("examples").join(name)).expect("the example is there").flatten() {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("copied");
        }
    }
    // The program that an example runs is looked for when the configuration loads; it must not be started.
    let program = copy.path().join("venv/bin/mcp-server-time");
    std::fs::create_dir_all(program.parent().expect("a folder")).expect("made");
    std::fs::write(&program, "#!/bin/sh\ntouch \"$(dirname \"$0\")/started\"\n").expect("written");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, executable).expect("set");
    let report = all_hold(&copy.path().join("holdpoint.yaml"));
    assert!(!program.with_file_name("started").exists(), "the real program was started");
    assert!(!copy.path().join("holdpoint.db").exists(), "a store was made where the operator's belongs");
    report
}

#[test]
fn every_example_holds() {
    let mut with_gates = 0;
    for entry in std::fs::read_dir(root("examples")).expect("there are examples").flatten() {
        let report = example(&entry.file_name().to_string_lossy());
        with_gates += usize::from(results(&report, "gate.sent_once").iter().any(|(_, result)| *result == "pass"));
    }
    assert!(with_gates >= 6, "{with_gates}");
}

/// A shipped policy with its cases; the rules that require approval but are not tried, by name.
fn shipped(name: &str, untried: &[&str]) {
    let text = |name: String| std::fs::read_to_string(root("policies").join(name)).expect("it is there");
    let groups = "communications, data, finance, legal, maintainers, on-call, security";
    let home = Home::new(&text(format!("{name}.yaml")), groups, MCP);
    home.write("policy.cases.yaml", &text(format!("{name}.cases.yaml")));
    let report = all_hold(&home.config());
    assert_eq!(results(&report, "policy.cases").len(), 1, "{report:#}");
    let skipped: Vec<_> = ["gate.parks", "block.stays_out"]
        .iter()
        .flat_map(|check| results(&report, check))
        .filter(|(subject, result)| *result != "pass" && !untried.contains(subject))
        .collect();
    assert!(skipped.is_empty(), "{skipped:?}");
    assert!(results(&report, "gate.bound").iter().all(|(_, result)| *result == "pass"), "{report:#}");
}

#[test]
fn the_shipped_policy_for_payments_holds() {
    shipped("payments", &[]);
}

#[test]
fn the_shipped_policy_for_databases_holds() {
    shipped("databases", &[]);
}

#[test]
fn the_shipped_policy_for_messaging_holds() {
    shipped("messaging", &[]);
}

#[test]
fn the_shipped_policy_for_source_control_holds() {
    shipped("source-control", &[]);
}

#[test]
fn the_shipped_policy_for_cloud_operations_holds() {
    // Which of the two decides depends on the day of the week.
    shipped("cloud-operations", &["rule `ops-production`", "rule `ops-production-weekend`"]);
}

#[test]
fn a_sound_configuration_is_shown_to_the_last_check() {
    let home = Home::new(GATED, "finance", REST);
    let report = all_hold(&home.config());
    for check in ["gate.quorum", "gate.redacted", "gate.outsiders", "gate.own_call", "hostile.body", "secrets.upstream"]
    {
        assert!(results(&report, check).iter().all(|(_, result)| *result == "pass"), "{check}: {report:#}");
    }
    for check in ["restart.parked", "restart.unknown", "gate.expired", "limits.queue", "limits.body", "audit.intact"] {
        assert_eq!(results(&report, check), [("", "pass")], "{report:#}");
    }
}

#[test]
fn a_default_of_allow_is_found_by_a_call_that_arrives() {
    for (default, route) in [("default: allow\n", "/shop/"), ("", "/shop/"), ("", "/")] {
        let lines = REST.replace("path: /shop/", &format!("path: {route}"));
        let home = Home::new(&GATED.replace("default: block\n", default), "finance", &lines);
        let (code, report) = report(&home.config());
        assert_eq!(code, 1, "{report:#}");
        assert_eq!(results(&report, "policy.default"), [(format!("route {route}").as_str(), "fail")]);
        assert_eq!(failed(&report), ["policy.default"], "{report:#}");
    }
}

#[test]
fn a_case_that_fails_is_found() {
    let home = Home::new(GATED, "finance", REST);
    let case = "{ name: pays, request: { tool: \"shop:POST /pay\" }, expect: { verdict: ALLOWED } }";
    home.write("policy.cases.yaml", &format!("cases:\n  - {case}\n"));
    let (code, report) = report(&home.config());
    assert_eq!((code, failed(&report)), (1, vec!["policy.cases"]), "{report:#}");
    assert!(report.to_string().contains("expected ALLOWED, got WAITING_FOR_APPROVAL by `pay`"), "{report:#}");
}

#[test]
fn a_gate_that_only_its_own_caller_could_open_is_found() {
    let home = Home::new(&GATED.replace("count: 2", "count: 1"), "other", REST);
    let text = std::fs::read_to_string(home.config()).expect("it is there");
    let twin = format!("reviewers:\n  - {{ id: bot, groups: [finance], token_sha256: \"{}\" }}\n", digest(20));
    home.write("holdpoint.yaml", &text.replace("reviewers:\n", &twin));
    let (code, report) = report(&home.config());
    assert_eq!(code, 1, "{report:#}");
    assert!(failed(&report).contains(&"gate.sent_once"), "{report:#}");
    assert!(report.to_string().contains("with ids that are no agent's"), "{report:#}");
}

/// Whether a caller could come back in time is read from the policy: the report is the same however fast the machine is, and soon there.
#[test]
fn an_approval_that_ends_before_its_caller_can_come_back_is_found() {
    let mcp = GATED.replace("shop:POST /pay", "pay");
    for (policy, lines) in [(GATED.to_owned(), REST), (mcp, MCP)] {
        for grant in ["1ms", "4999ms"] {
            let short = policy.replace("count: 2 }", &format!("count: 2 }}, hold: 50ms, grant_ttl: {grant}"));
            let home = Home::new(&short, "finance", lines);
            let (code, report) = report(&home.config());
            assert_eq!((code, failed(&report)), (1, vec!["gate.bound"]), "{grant}: {report:#}");
            assert!(report.to_string().contains(&format!("`grant_ttl` is {}", grant.replace("4999ms", "4s999ms"))));
        }
    }
    // Without a caller there is nobody who would have to be in time.
    let detached = GATED.replace("count: 2 }", "count: 2 }, release: detached, grant_ttl: 1ms");
    all_hold(&Home::new(&detached, "finance", REST).config());
}

#[test]
fn a_gate_that_another_media_type_goes_around_is_found() {
    let open = GATED.replace("default: block", "default: allow");
    let condition = "when: '\"content-type\" in headers && headers[\"content-type\"] == \"application/json\"', action:";
    let home = Home::new(&open.replace("action:", condition), "finance", REST);
    // A case may name the type as well.
    let case = "{ name: pays, request: { tool: \"shop:POST /pay\", headers: { Content-Type: application/json }, args: {} }, \
                expect: { verdict: WAITING_FOR_APPROVAL } }";
    for cases in ["", case] {
        home.write("policy.cases.yaml", &format!("cases: [ {cases} ]\n"));
        let (code, report) = report(&home.config());
        assert_eq!((code, failed(&report)), (1, vec!["policy.default", "hostile.encoding"]), "{report:#}");
    }
}

#[test]
fn a_gateway_in_shadow_mode_is_found() {
    let home = Home::new(GATED, "finance", &format!("mode: shadow\n{REST}"));
    let (code, report) = report(&home.config());
    assert_eq!(code, 1, "{report:#}");
    assert!(failed(&report).contains(&"policy.enforced"), "{report:#}");
    assert_eq!(results(&report, "gate.parks"), [("rule `pay`", "not_applicable")]);
}

#[test]
fn what_cannot_be_run_ends_with_2_and_says_why() {
    let home = Home::new(&GATED.replace("action: require_approval", "action: ask"), "finance", REST);
    let scratch = TempDir::new().expect("a folder");
    for config in [home.config(), home.0.path().join("none.yaml")] {
        let output = verify(&config, scratch.path(), &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("the checks could not be run") && output.stdout.is_empty(), "{said}");
    }
}

#[test]
fn the_operators_store_ports_and_upstreams_are_left_alone() {
    let listeners: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind(("127.0.0.1", 0)).expect("a port")).collect();
    let ports: Vec<u16> = listeners.iter().map(|one| one.local_addr().expect("bound").port()).collect();
    // All three are in use for as long as it runs, and nobody may knock.
    let lines = format!(
        "proxy: {{ listen: \"127.0.0.1:{}\" }}\nadmin: {{ listen: \"127.0.0.1:{}\" }}\n{}",
        ports[0],
        ports[1],
        REST.replace("127.0.0.1:9", &format!("127.0.0.1:{}", ports[2]))
    );
    let home = Home::new(GATED, "finance", &lines);
    home.write("holdpoint.db", "not a database");
    let names = || {
        let entries = std::fs::read_dir(home.0.path()).expect("readable").flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    all_hold(&home.config());
    assert_eq!(names(), before);
    assert_eq!(std::fs::read_to_string(home.0.path().join("holdpoint.db")).expect("it is there"), "not a database");
    for listener in &listeners {
        listener.set_nonblocking(true).expect("it can be set");
        assert!(listener.accept().is_err(), "somebody knocked at {:?}", listener.local_addr());
    }
}

#[test]
fn the_report_is_as_the_reference_shows_it() {
    let page = std::fs::read_to_string(root("docs/reference/commands.md")).expect("it is there");
    let section = page.split("\n## `holdpoint verify`").nth(1).expect("the command has a section");
    let shown = section.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let scratch = TempDir::new().expect("a folder");
    let output = verify(&root("examples/rest-mapped-tools/holdpoint.yaml"), scratch.path(), &[]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), shown, "{}", String::from_utf8_lossy(&output.stderr));
}
