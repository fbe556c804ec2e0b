//! Rules on what a server says of its tools: they tighten and never loosen.

use serde_json::json;

use crate::support::mcp::{McpRig, only_answer, told};

const CAREFUL: &str = "  - { id: careful, match: { annotations: { readOnlyHint: false } }, action: require_approval, approval: { hold: 30s } }\n";

#[test]
fn a_tool_that_does_not_say_that_it_only_reads_is_parked_and_one_that_does_passes() {
    let rig = McpRig::with(|home| home.policy(&format!("version: 1\ndefault: allow\nrules:\n{CAREFUL}")));
    // Before any list was seen nothing is known of either.
    let (stream, id) = rig.hold(&rig.client().tool(&json!(1), "safe_read", &json!({})));
    assert_eq!(rig.alice().approval(&id)["rule"], "careful");
    rig.alice().reject(&id, "no");
    told(&only_answer(&stream, &json!(1)), "rejected", Some(false), false);
    rig.nothing_was_sent();

    rig.client().request(&json!(2), "tools/list", &json!({})).send();
    let answer = rig.client().tool(&json!(3), "safe_read", &json!({ "n": 1 })).send();
    assert!(answer.json()["result"]["structuredContent"].is_object(), "{}", answer.text());
    let (stream, id) = rig.hold(&rig.client().delete(&json!(4)));
    assert_eq!(rig.alice().approval(&id)["rule"], "careful");
    rig.alice().approve(&id);
    assert!(only_answer(&stream, &json!(4))["result"]["structuredContent"].is_object());
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn what_a_server_says_of_a_tool_never_takes_it_out_of_a_block() {
    let rules = format!("{CAREFUL}  - {{ id: never, match: \"delete_*\", action: block }}\n");
    let rig = McpRig::with(|home| home.policy(&format!("version: 1\ndefault: block\nrules:\n{rules}")));
    rig.client().request(&json!(1), "tools/list", &json!({})).send();
    let answer = rig.client().delete(&json!(2)).send().json();
    let text = told(&answer, "denied", Some(false), false);
    assert!(text.contains("rule never"), "{text}");
    // Neither the claim to read only, nor the lack of one, lets a call through: the default blocks.
    told(&rig.client().tool(&json!(3), "safe_read", &json!({})).send().json(), "denied", Some(false), false);
    assert!(rig.origin.messages("tools/call").is_empty());
}

#[test]
fn a_rule_that_would_let_calls_through_on_the_servers_word_does_not_load() {
    let policy =
        "version: 1\ndefault: block\nrules:\n  - match: { annotations: { readOnlyHint: true } }\n    action: allow\n";
    let home = crate::support::home::Home::mcp("127.0.0.1:9".parse().expect("an address")).policy(policy);
    home.write();
    let config = home.path("holdpoint.yaml");
    let output = crate::support::gateway::holdpoint(&["check", "-c"]).arg(&config).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("on the server's word") && text.contains(":4"), "{text}");
}
