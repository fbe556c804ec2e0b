//! Several MCP servers at one endpoint.

use serde_json::{Value, json};

use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::mcp::{Client, Stream, only_answer, told};
use crate::support::mcp_origin::McpOrigin;
use crate::support::wait::SOON;

/// Two servers behind `/mcp`, with the prefixes `a.` and `b.`.
struct Two {
    gateway: Gateway,
    _home: Home,
    first: McpOrigin,
    second: McpOrigin,
}

const POLICY: &str = "version: 1\ndefault: block\nrules:\n  - { id: gate, match: \"*.delete_repo\", action: require_approval, approval: { hold: 30s } }\n  \
                      - { id: safe, match: \"*.safe_*\", action: allow }\n";

impl Two {
    fn start() -> Self {
        let (first, second) = (McpOrigin::start(), McpOrigin::start());
        let mut home = Home::mcp(first.address).policy(POLICY);
        let whole = home.configuration();
        let whole = whole.replace("{ path: /mcp, upstream: tools", "{ path: /mcp, upstreams: [ tools, others ]");
        let other = format!(
            "    protocol: mcp\n    tool_prefix: a.\n  others:\n    url: http://{}/mcp\n    protocol: mcp\n    tool_prefix: b.",
            second.address
        );
        home.settings.whole = Some(whole.replacen("    protocol: mcp", &other, 1));
        let gateway = Gateway::start(&home);
        Self { gateway, _home: home, first, second }
    }

    fn client(&self) -> Client {
        Client::new(self.gateway.agent("bot"))
    }

    /// A client with a session of its own.
    fn in_session(&self) -> Client {
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": { "elicitation": {} }, "clientInfo": { "name": "c", "version": "1" } });
        let answer = self.client().request(&json!(0), "initialize", &params).send();
        assert_eq!(answer.json()["result"]["serverInfo"]["name"], "holdpoint", "{}", answer.text());
        self.client().session(answer.header("mcp-session-id").expect("a session"))
    }
}

fn names(client: &Client) -> Vec<String> {
    let list = client.request(&json!(1), "tools/list", &json!({})).send().json();
    let tools = list["result"]["tools"].as_array().unwrap_or_else(|| panic!("no list: {list}")).clone();
    tools.iter().filter_map(|tool| tool["name"].as_str().map(str::to_owned)).collect()
}

#[test]
fn the_tools_of_all_servers_are_one_list_and_each_call_reaches_its_own() {
    let two = Two::start();
    for client in [two.in_session(), two.client().stateless()] {
        assert_eq!(names(&client), ["a.safe_read", "a.delete_repo", "b.safe_read", "b.delete_repo"]);
        let answer = client.tool(&json!(2), "b.safe_read", &json!({ "n": 1.50 })).send().json();
        assert_eq!(answer["result"]["content"][0]["text"], "done", "{answer}");
    }
    assert_eq!((two.first.calls("safe_read").len(), two.second.calls("safe_read").len()), (0, 2));
    let offered = two.second.messages("initialize")[0].json();
    assert_eq!(offered["params"]["capabilities"], json!({}), "no server may ask the client");
}

#[test]
fn a_held_call_is_shown_under_its_prefix_and_sent_under_its_own_name() {
    let two = Two::start();
    let client = two.in_session();
    let stream = Stream::open(&two.gateway, &client.tool(&json!(7), "a.delete_repo", &json!({ "name": "x" })));
    let id = stream.head.approval();
    let approval = two.gateway.reviewer("alice").approval(&id);
    assert_eq!((&approval["name"], &approval["upstream"]), (&json!("a.delete_repo"), &json!("tools")), "{approval}");
    two.gateway.reviewer("alice").approve(&id);
    assert_eq!(only_answer(&stream, &json!(7))["result"]["content"][0]["text"], "done");
    assert_eq!((two.first.calls("delete_repo").len(), two.second.calls("delete_repo").len()), (1, 0));
}

#[test]
fn a_broken_stream_is_taken_up_again_whichever_server_the_call_is_for() {
    let two = Two::start();
    let client = two.in_session();
    for (id, tool) in [(7, "a.delete_repo"), (8, "b.delete_repo")] {
        let stream = Stream::open(&two.gateway, &client.tool(&json!(id), tool, &json!({ "name": tool })));
        let approval = stream.head.approval();
        let event = stream.next_within(SOON).id().expect("the first event has an id").to_owned();
        stream.close();
        let resume = two.gateway.agent("bot").call("GET", "/mcp").header("accept", "text/event-stream");
        let again = Stream::open(&two.gateway, &resume.header("last-event-id", &event));
        two.gateway.reviewer("alice").approve(&approval);
        assert_eq!(only_answer(&again, &json!(id))["result"]["content"][0]["text"], "done", "{tool}");
    }
    assert_eq!((two.first.calls("delete_repo").len(), two.second.calls("delete_repo").len()), (1, 1));
}

#[test]
fn one_server_that_is_down_takes_no_other_with_it() {
    let two = Two::start();
    two.first.close_unread(true);
    let client = two.in_session();
    assert_eq!(names(&client), ["b.safe_read", "b.delete_repo"]);
    let answer = client.tool(&json!(2), "b.safe_read", &json!({})).send().json();
    assert_eq!(answer["result"]["content"][0]["text"], "done", "{answer}");
    let gone = client.tool(&json!(3), "a.safe_read", &json!({})).send().json();
    assert!(gone["error"]["message"].as_str().is_some_and(|said| said.contains("begin a new one")), "{gone}");
    two.first.close_unread(false);
    assert_eq!(names(&two.in_session()).len(), 4, "a new session has it again");
}

#[test]
fn sessions_are_the_gateways_own_and_their_agents_alone() {
    let two = Two::start();
    let client = two.in_session();
    assert_eq!(names(&client).len(), 4);
    for hit in two.second.messages("tools/list") {
        assert_eq!(hit.header("mcp-session-id"), Some("s-1"), "each server gets its own session");
    }
    let stranger = two.client().session("s-1").request(&json!(1), "tools/list", &json!({})).send();
    assert_eq!(stranger.status, 404, "{}", stranger.text());
    let other = Client::new(two.gateway.agent("other-bot"));
    let session = {
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "c", "version": "1" } });
        two.client()
            .request(&json!(0), "initialize", &params)
            .send()
            .header("mcp-session-id")
            .expect("a session")
            .to_owned()
    };
    assert_eq!(other.session(&session).request(&json!(1), "tools/list", &json!({})).send().status, 404);
}

#[test]
fn what_no_server_has_is_refused_and_never_guessed() {
    let two = Two::start();
    let client = two.in_session();
    for name in ["safe_read", "a.", "c.safe_read", "A.safe_read"] {
        let answer = client.tool(&json!(1), name, &json!({})).send().json();
        assert_eq!(answer["error"]["code"], -32602, "{name}: {answer}");
    }
    let answer: Value = client.tool(&json!(2), "a.drop_table", &json!({})).send().json();
    told(&answer, "denied", Some(false), false);
    let other = client.request(&json!(3), "resources/list", &json!({})).send().json();
    assert_eq!(other["error"]["code"], -32601, "{other}");
    assert!(two.first.messages("tools/call").is_empty() && two.second.messages("tools/call").is_empty());
}

#[test]
fn a_list_that_is_asked_for_without_params_reaches_each_server_without_them() {
    let two = Two::start();
    let text = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
    two.in_session().post(&text).send().expect(200, "");
    for server in [&two.first, &two.second] {
        let asked = server.messages("tools/list");
        assert_eq!(asked.len(), 1);
        assert!(asked[0].json().get("params").is_none(), "{}", asked[0].json());
    }
}

#[test]
fn ending_the_session_ends_it_with_each_server() {
    let two = Two::start();
    let params =
        json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "c", "version": "1" } });
    let began = two.client().request(&json!(0), "initialize", &params).send();
    let session = began.header("mcp-session-id").expect("a session");
    let end =
        |session: &str| two.gateway.agent("bot").call("DELETE", "/mcp").header("mcp-session-id", session).send().status;
    assert_eq!(end("s-1"), 404, "a server's own session is none here");
    assert_eq!(end(session), 204);
    for server in [&two.first, &two.second] {
        let ended: Vec<_> = server.hits().into_iter().filter(|hit| hit.method == "DELETE").collect();
        assert_eq!(ended.len(), 1);
        assert_eq!(ended[0].header("mcp-session-id"), Some("s-1"));
    }
}

#[test]
fn a_call_that_names_an_event_reaches_its_own_server_as_any_other() {
    let two = Two::start();
    let client = two.in_session();
    let call = client.tool(&json!(3), "b.safe_read", &json!({})).header("last-event-id", "hp1.7");
    let answer = call.send().json();
    assert_eq!(answer["result"]["content"][0]["text"], "done", "{answer}");
    let held = client.tool(&json!(4), "b.delete_repo", &json!({})).header("last-event-id", "hp1.7").start();
    let id = two.gateway.one_pending();
    assert_eq!(two.gateway.reviewer("alice").approval(&id)["upstream"], "others");
    held.hang_up();
    assert_eq!((two.first.calls("safe_read").len(), two.second.calls("safe_read").len()), (0, 1));
}
