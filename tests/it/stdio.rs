//! An MCP server that speaks over its standard input and output, behind the gate: `tests/mcp_children/child.py`.

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, holdpoint};
use crate::support::home::Home;
use crate::support::http::Answer;
use crate::support::people::Call;
use crate::support::wait::until_true;

const POLICY: &str = r#"
version: 1
default: allow
rules:
  - { id: no-crash, match: crash, action: block, reason: Never. }
  - { id: gate-folder, match: folder, action: require_approval, approval: { hold: 30s } }
"#;
const BOTH: &str = "application/json, text/event-stream";
/// Not listened to by anybody: the home's own upstream is not used here.
const NOBODY: ([u8; 4], u16) = ([127, 0, 0, 1], 9);

/// A gateway whose upstream `child` is a program.
struct Programs {
    gateway: Gateway,
    home: Home,
}

impl Programs {
    /// With further keys of the upstream, one a line.
    fn start(keys: &[&str]) -> Self {
        let home = home(keys);
        Self { gateway: Gateway::start(&home), home }
    }

    fn mcp(&self, session: Option<&str>, message: &Value) -> Call {
        let call = self.gateway.agent("bot").post("/child", message).header("accept", BOTH);
        match session {
            Some(session) => call.header("mcp-session-id", session),
            None => call,
        }
    }

    fn initialize(&self) -> Answer {
        let params =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        self.mcp(None, &json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})).send()
    }

    fn session(&self) -> String {
        let answer = self.initialize().expect(200, "");
        answer.header("mcp-session-id").expect("a session").to_owned()
    }

    fn call(&self, session: &str, tool: &str) -> Call {
        self.mcp(Some(session), &call(tool))
    }

    /// The text that a tool answers with.
    fn text(&self, session: &str, tool: &str) -> String {
        text(&self.call(session, tool).send().expect(200, ""))
    }
}

fn home(keys: &[&str]) -> Home {
    let mut home =
        Home::new(NOBODY.into()).policy(POLICY).environment("CHILD_SECRET", "s3cr3t").environment("UNLISTED", "x");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mcp_children/child.py");
    let keys: String = keys.iter().map(|line| format!("    {line}\n")).collect();
    let program = format!("upstreams:\n  child:\n    command: [ python3, -u, {script} ]\n    protocol: mcp\n{keys}");
    let route = "routes:\n  - { path: /child, upstream: child }\n";
    let whole = home.configuration().replace("upstreams:\n", &program).replace("routes:\n", route);
    home.settings.whole = Some(whole);
    home
}

fn call(tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {}}})
}

fn text(answer: &Answer) -> String {
    // A held call is answered on a stream.
    let body = answer.text();
    let json = body
        .lines()
        .rfind(|line| line.starts_with("data: "))
        .and_then(|line| line.strip_prefix("data: "))
        .unwrap_or(&body);
    let value: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {body}"));
    value["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn runs(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    status.is_ok_and(|status| !status.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

#[test]
fn calls_to_a_program_are_judged_held_and_sent_as_to_any_upstream() {
    let programs = Programs::start(&[]);
    let session = programs.session();
    assert_eq!(programs.text(&session, "echo"), "{}");
    let blocked = programs.call(&session, "crash").send().expect(200, "");
    assert_eq!(blocked.json()["result"]["isError"], true, "{}", blocked.text());
    let waiting = programs.call(&session, "folder").start();
    let id = programs.gateway.one_pending();
    assert!(!programs.text(&session, "seen").contains("\"folder"), "a held call has not reached the program");
    programs.gateway.reviewer("alice").approve(&id);
    let folder = text(&waiting.answer());
    assert_eq!(folder, programs.home.path("").canonicalize().expect("a path").display().to_string());
    let seen = programs.text(&session, "seen");
    assert!(!seen.contains("crash") && seen.matches("folder").count() == 1, "{seen}");
}

#[test]
fn a_session_with_a_program_is_found_by_the_agent_that_began_it_alone() {
    let programs = Programs::start(&[]);
    let session = programs.session();
    let other = |method: &str| {
        let call = programs.gateway.agent("other-bot").call(method, "/child");
        call.header("accept", BOTH).header("mcp-session-id", &session)
    };
    for tool in ["echo", "folder"] {
        let message = call(tool).to_string();
        let answer = other("POST").header("content-type", "application/json").body(message).start();
        if tool == "folder" {
            programs.gateway.reviewer("alice").approve(&programs.gateway.one_pending());
        }
        assert!(answer.answer().text().contains("there is no such session"), "{tool}");
    }
    for method in ["GET", "DELETE"] {
        other(method).send().expect(404, "");
    }
    assert_eq!(programs.text(&session, "echo"), "{}", "its owner's goes on");
    assert!(!programs.text(&session, "seen").contains("folder"), "nothing of it has reached the program");
}

#[test]
fn a_program_of_a_newer_revision_is_shared_without_sessions() {
    let programs = Programs::start(&["env: { MODERN: \"1\" }"]);
    let send = |mut message: Value, tool: Option<&str>| {
        message["params"]["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let method = message["method"].as_str().expect("a method").to_owned();
        let call =
            programs.mcp(None, &message).header("mcp-protocol-version", "2026-07-28").header("mcp-method", &method);
        tool.map_or_else(|| call.clone(), |tool| call.clone().header("mcp-name", tool)).send()
    };
    let discovered = send(json!({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {}}), None);
    assert_eq!(discovered.expect(200, "").json()["result"]["resultType"], "complete");
    let pids = [send(call("pid"), Some("pid")), send(call("pid"), Some("pid"))].map(|answer| text(&answer));
    assert_eq!(pids[0], pids[1]);
}

#[test]
fn a_program_knows_the_configured_environment_and_a_short_list_beside_it() {
    let programs = Programs::start(&["env: { TOKEN: \"${CHILD_SECRET}\", LANG: C.UTF-8 }", "cwd: /"]);
    let session = programs.session();
    let known: Value = serde_json::from_str(&programs.text(&session, "environment")).expect("JSON");
    assert_eq!((&known["TOKEN"], &known["LANG"]), (&json!("s3cr3t"), &json!("C.UTF-8")));
    assert!(
        known["PATH"].is_string() && known.get("CHILD_SECRET").is_none() && known.get("UNLISTED").is_none(),
        "{known}"
    );
    let waiting = programs.call(&session, "folder").start();
    programs.gateway.reviewer("alice").approve(&programs.gateway.one_pending());
    assert_eq!(text(&waiting.answer()), "/");
    let mut check = holdpoint(&["check", "-c"]);
    check.arg(programs.home.path("holdpoint.yaml")).env("CHILD_SECRET", "s3cr3t");
    let said = String::from_utf8(check.output().expect("it runs").stdout).expect("text");
    assert!(said.contains("child -> the program ") && !said.contains("s3cr3t"), "{said}");
}

#[test]
fn one_session_more_than_there_may_be_children_is_refused_with_the_reason() {
    let programs = Programs::start(&["children_max: 1"]);
    let session = programs.session();
    let refused = programs.initialize();
    assert!(refused.status >= 500 && refused.text().contains("children_max"), "{refused:?}");
    assert_eq!(programs.text(&session, "echo"), "{}");
    let delete = programs.gateway.agent("bot").call("DELETE", "/child").header("mcp-session-id", &session);
    assert_eq!(delete.send().status, 204);
    programs.session();
}

#[test]
fn a_session_that_is_idle_for_too_long_ends_and_the_next_request_says_so() {
    let programs = Programs::start(&["idle_timeout: 1s"]);
    let session = programs.session();
    let pid = programs.text(&session, "pid");
    until_true("the program ends", || !runs(&pid));
    assert_eq!(programs.call(&session, "pid").send().status, 404);
}

#[test]
fn programs_and_sessions_outlive_a_reload_that_does_not_change_them() {
    let programs = Programs::start(&["env: { SOME: one }"]);
    let session = programs.session();
    let pid = programs.text(&session, "pid");
    let reload = |from: &str, to: &str, file: &str| {
        let path = programs.home.path(file);
        let text = std::fs::read_to_string(&path).expect("readable");
        std::fs::write(&path, text.replace(from, to)).expect("written");
        programs.gateway.signal("HUP");
    };
    reload("match: crash", "match: echo", "policy.yaml");
    until_true("the new policy is in force", || {
        programs.call(&session, "echo").send().json()["result"]["isError"] == true
    });
    assert_eq!(programs.text(&session, "pid"), pid);
    reload("SOME: one", "SOME: two", "holdpoint.yaml");
    until_true("the old program ends", || !runs(&pid));
    let session = programs.session();
    assert!(programs.text(&session, "environment").contains("\"SOME\": \"two\""));
}

#[test]
fn programs_end_with_the_gateway_however_it_ends() {
    for crash in [false, true] {
        let programs = Programs::start(&[]);
        let session = programs.session();
        let pid = programs.text(&session, "pid");
        let listening = programs
            .gateway
            .agent("bot")
            .call("GET", "/child")
            .header("accept", "text/event-stream")
            .header("mcp-session-id", &session)
            .start();
        let Programs { gateway, home } = programs;
        if crash {
            gateway.crash();
        } else {
            gateway.stop();
        }
        until_true("the program ends", || !runs(&pid));
        listening.hang_up();
        drop(home);
    }
}
