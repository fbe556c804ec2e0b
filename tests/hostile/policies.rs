//! The bodies of the corpus as cases of a policy: `holdpoint policy test` says of each what the gateway answers.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::spy::Language;
use crate::support::gateway::holdpoint;
use crate::support::home::POLICY;
use crate::trap::{Body, Trap, index, read};

/// A text as YAML can hold any: between quotes, in ASCII.
fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ => write!(quoted, "\\U{:08x}", u32::from(c)).expect("writing to a String cannot fail"),
        }
    }
    quoted + "\""
}

/// What a case has to expect, where the gateway gives this answer.
fn expected(status: u16, code: &str) -> Value {
    match status {
        200 => json!({ "verdict": "ALLOWED" }),
        403 => json!({ "verdict": "BLOCKED" }),
        503 => json!({ "verdict": "WAITING_FOR_APPROVAL" }),
        _ => json!({ "refused": code }),
    }
}

#[test]
fn policy_test_says_of_every_body_of_the_corpus_what_the_gateway_answers() {
    let trap = Trap::with(Language::Python, |home| home.key("limits: { pending_per_agent_max: 1000 }"));
    let bodies: Vec<Body> = index("hostile");
    let folder = tempfile::TempDir::new().expect("a folder");
    let (mut cases, mut count, mut refused) = ("cases:\n".to_owned(), 0, 0);
    for case in &bodies {
        // What is no text cannot stand in a file of cases, and what is too long is refused before it is read.
        let Ok(body) = String::from_utf8(read("hostile", &case.file)) else { continue };
        if case.expect == "too_large" || body.is_empty() {
            continue;
        }
        let call = trap.gateway.agent("bot").call("POST", "/tools/call").header("content-type", "application/json");
        let answer = call.header("prefer", "wait=0").body(body.clone()).send();
        let expect = expected(answer.status, &answer.code());
        refused += u32::from(answer.status == 400);
        writeln!(
            cases,
            "  - {{ name: {}, request: {{ tool: call, agent: bot, upstream: tools, path: /call, args_json: {} }}, expect: {expect} }}",
            case.file,
            quoted(&body)
        )
        .expect("writing to a String cannot fail");
        count += 1;
    }
    assert!(count > 80 && refused > 60, "{count} cases, {refused} of them refused");
    std::fs::write(folder.path().join("policy.yaml"), POLICY).expect("written");
    std::fs::write(folder.path().join("policy.cases.yaml"), cases).expect("written");
    let run = holdpoint(&["policy", "test", "--format", "json"]).arg(folder.path()).output().expect("runs");
    let report: Value = serde_json::from_slice(&run.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&run.stderr)));
    assert!(run.status.success(), "{report:#}");
    assert_eq!(report["passed"], count, "{report:#}");
}
