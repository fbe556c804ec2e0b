//! Configuration keys of MCP upstreams, of their routes and callers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::gateway::holdpoint;
use crate::support::home::Home;
use crate::support::mcp::{Client, McpRig, only_answer, told};
use crate::support::people::Call;
use crate::support::rig::gate_delete;

#[test]
fn policy_knows_a_tool_by_its_prefix_and_the_upstream_by_its_own_name() {
    let policy = "version: 1\ndefault: block\nrules:\n  - { id: gate, match: gh.delete_repo, action: require_approval, approval: { hold: 30s } }\n  \
                  - { id: safe, match: \"gh.safe_*\", action: allow }\n";
    let rig = McpRig::with(|home| home.policy(policy).upstream_key("tool_prefix: gh."));
    let answer = rig.client().tool(&json!(1), "safe_read", &json!({})).send();
    assert!(answer.json()["result"]["structuredContent"].is_object(), "{}", answer.text());
    assert_eq!(rig.origin.calls("safe_read").len(), 1);
    let (stream, id) = rig.hold(&rig.client().delete(&json!(2)));
    assert_eq!(rig.alice().approval(&id)["name"], "gh.delete_repo");
    rig.alice().reject(&id, "no");
    let text = told(&only_answer(&stream, &json!(2)), "rejected", Some(false), false);
    assert!(text.contains("`delete_repo`") || text.contains("`gh.delete_repo`"), "{text}");
    // A caller that puts the prefix itself names another tool.
    let answer = rig.client().tool(&json!(3), "gh.safe_read", &json!({})).send();
    told(&answer.json(), "denied", Some(false), false);
    assert_eq!(rig.origin.messages("tools/call").len(), 1);
}

#[test]
fn a_blocked_tool_is_hidden_whatever_the_id_of_the_request_looks_like() {
    let rig = McpRig::with(|home| {
        home.upstream_key("hide: blocked")
            .policy("version: 1\ndefault: block\nrules:\n  - { id: safe, match: \"safe_*\", action: allow }\n")
    });
    for id in [json!(1), json!("a"), json!("\u{8}\u{c}/\u{7f}\u{2028}"), json!(u64::MAX)] {
        let list = rig.client().request(&id, "tools/list", &json!({})).send();
        let names: Vec<Value> =
            list.json()["result"]["tools"].as_array().expect("tools").iter().map(|tool| tool["name"].clone()).collect();
        assert_eq!((names, &list.json()["id"]), (vec![json!("safe_read")], &id), "{}", list.text());
    }
    let hidden = rig.client().delete(&json!(7)).send();
    assert_eq!(hidden.json()["error"]["code"], -32602, "to its caller there is no such tool: {}", hidden.text());
    assert!(rig.origin.calls("delete_repo").is_empty());
}

/// How long a call is held until it is told that it is pending.
fn held_for(rig: &McpRig, call: &Call) -> f64 {
    let begin = Instant::now();
    let stream = rig.open(call);
    told(&only_answer(&stream, &json!(7)), "pending", Some(false), true);
    begin.elapsed().as_secs_f64()
}

fn with_token(client: &Client) -> Call {
    client.delete_with_token(&json!(7), &json!("p"))
}

#[test]
fn an_agents_inline_budget_ends_its_holds_and_beats_the_routes() {
    let rig = McpRig::with(|mut home| {
        home.settings.bot_keys = ", inline_budget: 2s".into();
        home.settings.route_keys = ", inline_budget: 4s".into();
        home.policy(&gate_delete("hold: 30s"))
    });
    let other = Client::new(rig.gateway.agent("other-bot"));
    for (client, budget) in [(rig.client(), 2.0), (other, 4.0)] {
        for call in [client.delete(&json!(7)), with_token(&client)] {
            let held = held_for(&rig, &call);
            assert!((budget - 0.1..budget + 1.9).contains(&held), "{budget} s: held {held} s");
        }
    }
    assert_eq!(rig.alice().pending().len(), 2, "each agent's calls share one approval");
}

#[test]
fn without_an_inline_budget_the_rule_says_how_long_and_never_beyond_the_longest_wait() {
    let rig = McpRig::with(|home| home.policy(&gate_delete("hold: 2s")));
    let beyond = McpRig::with(|home| home.policy(&gate_delete("hold: 60s")).key("limits: { wait_max: 3s }"));
    for (rig, seconds) in [(&rig, 2.0), (&beyond, 3.0)] {
        for call in [rig.client().delete(&json!(7)), with_token(&rig.client())] {
            let held = held_for(rig, &call);
            assert!((seconds - 0.1..seconds + 1.9).contains(&held), "{seconds} s: held {held} s");
        }
    }
}

#[test]
fn a_budget_below_a_second_is_answered_without_a_stream() {
    let rig = McpRig::with(|mut home| {
        home.settings.bot_keys = ", inline_budget: 200ms".into();
        home
    });
    let begin = Instant::now();
    let answer = rig.client().delete(&json!(7)).send();
    assert!(begin.elapsed() < Duration::from_millis(3000));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    told(&answer.json(), "pending", Some(false), true);
}

/// The problems that `check` finds, by code.
fn problems(home: &Home) -> Vec<(String, String)> {
    home.write();
    let path = home.path("holdpoint.yaml");
    let output = holdpoint(&["check", "--format", "json", "-c"]).arg(path).output().expect("the binary can be started");
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let found = found["diagnostics"].as_array().or_else(|| found.as_array()).expect("a list").clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    found.iter().map(|problem| (text(&problem["code"]), text(&problem["message"]))).collect()
}

#[test]
fn keys_of_the_other_protocol_are_conflicts_that_name_the_key() {
    let address = "127.0.0.1:9".parse().expect("an address");
    let plain = |line: &str| Home::new(address).upstream_key(line);
    let mut budget = Home::new(address);
    budget.settings.route_keys = ", inline_budget: 2s".into();
    let tools = "tools: [ { call: \"POST /a\", tool: a } ]";
    for (what, home, key) in [
        ("a prefix for plain HTTP", plain("tool_prefix: gh."), "tool_prefix"),
        ("a budget on a plain route", budget, "inline_budget"),
        ("mapped tools of an MCP server", Home::mcp(address).upstream_key(tools), "tools"),
    ] {
        let found = problems(&home);
        assert!(
            found.iter().any(|(code, message)| code == "conflict" && message.contains(&format!("`{key}`"))),
            "{what}: {found:?}"
        );
    }
    let mut good = Home::mcp(address).upstream_key("tool_prefix: gh.");
    good.settings.route_keys = ", inline_budget: 2s".into();
    good.settings.bot_keys = ", inline_budget: 2s".into();
    assert_eq!(problems(&good), []);
}

#[test]
fn tools_that_may_be_held_say_so_when_they_are_to() {
    let rig = McpRig::with(|home| home.upstream_key("annotate_tools: true"));
    let list = rig.client().request(&json!(1), "tools/list", &json!({})).send().json();
    let described = |place: usize| list["result"]["tools"][place]["description"].as_str().map(str::to_owned);
    assert_eq!(described(0), None, "{list}");
    assert!(described(1).is_some_and(|said| said.contains("a person's approval")), "{list}");
    let modern = rig.client().stateless().request(&json!(2), "tools/list", &json!({})).send().json();
    assert_eq!(modern["result"]["cacheScope"], "private", "another agent may see another list: {modern}");
}
