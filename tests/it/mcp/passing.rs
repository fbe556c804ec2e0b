//! What policy lets through, and what is no call: byte for byte both ways, and never held up.

use serde_json::{Value, json};

use crate::support::mcp::{BOTH, McpRig, told};
use crate::support::mcp_origin::{Piece, RESULT, Reply};
use crate::support::people::token;

#[test]
fn an_allowed_call_and_its_json_answer_pass_byte_for_byte() {
    let rig = McpRig::start();
    let body = "{ \"jsonrpc\":\"2.0\",\t\"id\" : \"a\\/b\",\r\n \"method\":\"tools\\/call\", \"params\":{\"name\":\"safe_read\",\
                \"arguments\":{\"n\":1.000,\"z\":9007199254740993},\"x\":null}}\n";
    let text =
        "{\"id\":\"a/b\" ,\r\n\r\"jsonrpc\":\"2.0\",\"result\":{\"content\":[],\"structuredContent\":{\"n\":1.000}}}\n";
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\nx-twice: 1\r\nx-twice: 2\r\nmcp-session-id: s-2\r\n";
    rig.origin.reply(Reply::Raw(format!("{head}content-length: {}\r\n\r\n{text}", text.len())));
    let call = rig.client().post(body).header("x-own", "kept").header("mcp-param-region", "us-west1");
    let answer = call.send();
    assert_eq!((answer.status, answer.text().as_str()), (200, text));
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(answer.headers.iter().filter(|(name, _)| name == "x-twice").count(), 2);
    assert_eq!((answer.header("mcp-session-id"), answer.header("holdpoint-source")), (Some("s-2"), Some("upstream")));
    assert_eq!(answer.header("holdpoint-approval"), None);
    let hits = rig.origin.hits();
    assert_eq!(hits.len(), 1);
    assert_eq!((hits[0].method.as_str(), hits[0].target.as_str()), ("POST", "/mcp"));
    assert_eq!(String::from_utf8_lossy(&hits[0].body), body);
    for (name, value) in [
        ("accept", BOTH),
        ("mcp-protocol-version", "2025-11-25"),
        ("mcp-session-id", "s-1"),
        ("mcp-param-region", "us-west1"),
        ("x-own", "kept"),
    ] {
        assert_eq!(hits[0].header(name), Some(value), "{name}");
    }
    assert!(
        !hits[0].headers.iter().any(|(_, value)| value.contains(&token("bot"))),
        "the agent's credential stays here"
    );
}

#[test]
fn an_allowed_calls_event_stream_passes_as_it_comes_and_byte_for_byte() {
    let rig = McpRig::start();
    let first = ": hello\r\n\r\nid: 1\r\nevent: message\r\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\r\ndata: \"params\":{}}\r\n\r\n";
    rig.origin.reply(Reply::Stream(vec![Piece::Bytes(first.into()), Piece::Wait, Piece::Result]));
    let mut wire = crate::support::http::Wire::connect(rig.gateway.proxy);
    wire.send(&rig.client().tool(&json!(1), "safe_read", &json!({})).bytes());
    let head = wire.head().expect("a head");
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    // All of it is here before the upstream has sent anything more.
    let mut came = Vec::new();
    while came.len() < first.len() {
        came.extend(wire.chunk().expect("a chunk").expect("the stream goes on"));
    }
    assert_eq!(String::from_utf8_lossy(&came), first);
    rig.origin.go_on();
    let mut rest = Vec::new();
    while let Some(chunk) = wire.chunk().expect("a chunk") {
        rest.extend(chunk);
    }
    assert_eq!(String::from_utf8_lossy(&rest), format!("data: {}\n\n", RESULT.replace("{id}", "1")));
}

#[test]
fn messages_that_are_no_call_pass_and_are_not_judged() {
    // Everything is blocked: nothing of this is a call.
    let rig = McpRig::with(|home| home.policy("version: 1\ndefault: block\nrules: []\n"));
    let client = rig.client();
    let answer = client.request(&json!(0), "initialize", &json!({ "protocolVersion": "2025-11-25" })).send();
    assert_eq!((answer.status, answer.header("mcp-session-id")), (200, Some("s-1")));
    assert_eq!(answer.json()["result"]["serverInfo"]["name"], "origin");
    for (method, params) in [
        ("ping", json!({})),
        ("resources/read", json!({ "uri": "file:///x" })),
        ("prompts/get", json!({ "name": "delete_repo" })),
        ("completion/complete", json!({})),
        ("server/discover", json!({})),
    ] {
        let answer = client.request(&json!("a"), method, &params).send();
        assert_eq!((answer.status, answer.json()["id"].clone()), (200, json!("a")), "{method}: {}", answer.text());
    }
    let list = client.request(&json!(2), "tools/list", &json!({})).send();
    assert_eq!(list.json()["result"]["tools"][1]["name"], "delete_repo");
    for text in [
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":2}}"#,
        r#"{"jsonrpc":"2.0","id":7,"result":{"roots":[]}}"#,
        r#"{"jsonrpc":"2.0","id":7,"error":{"code":-1,"message":"no"}}"#,
    ] {
        let answer = client.post(text).send();
        assert_eq!((answer.status, answer.text().as_str()), (202, ""), "{text}");
        assert_eq!(rig.origin.hits().last().map(|hit| hit.body.clone()), Some(text.as_bytes().to_vec()));
    }
    assert_eq!(
        rig.gateway.metric("holdpoint_requests_total", &[("upstream", "tools")]),
        0.0,
        "no verdict was asked for"
    );
}

#[test]
fn get_and_delete_pass_and_other_methods_are_refused() {
    let rig = McpRig::start();
    let bot = rig.gateway.agent("bot");
    let stream = bot.call("GET", "/mcp").header("accept", "text/event-stream").header("last-event-id", "8").send();
    assert_eq!((stream.status, stream.header("content-type")), (200, Some("text/event-stream")));
    assert!(stream.text().contains("notifications/tools/list_changed"));
    assert_eq!(bot.call("DELETE", "/mcp").header("mcp-session-id", "s-1").send().status, 204);
    let hits = rig.origin.hits();
    let seen: Vec<(&str, Option<&str>)> =
        hits.iter().map(|hit| (hit.method.as_str(), hit.header("last-event-id"))).collect();
    assert_eq!(seen, [("GET", Some("8")), ("DELETE", None)]);
    assert_eq!(hits[1].header("mcp-session-id"), Some("s-1"));
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_repo"}}"#;
    for method in ["PUT", "PATCH", "GET", "DELETE", "HEAD", "OPTIONS"] {
        let before = rig.gateway.metric("holdpoint_rejected_requests_total", &[]);
        let answer = bot.call(method, "/mcp").header("content-type", "application/json").body(body).send();
        assert!([400, 405].contains(&answer.status), "{method}: {} {}", answer.status, answer.text());
        if method == "PUT" || method == "PATCH" {
            assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, GET, DELETE")), "{method}");
            let problem = &answer.json()["error"]["data"]["dev.holdpoint/problem"];
            assert_eq!(problem["code"], "method_not_allowed", "{}", answer.text());
        }
        assert_eq!(rig.gateway.metric("holdpoint_rejected_requests_total", &[]) - before, 1.0, "{method}");
    }
    assert_eq!(rig.origin.hits().len(), 2, "nothing of it was sent");
}

#[test]
fn a_blocked_call_is_a_result_that_the_model_can_read() {
    let policy =
        "version: 1\nrules:\n  - { id: no-deletes, match: \"*delete*\", action: block, reason: Deletions are off. }\n";
    let rig = McpRig::with(|home| home.policy(policy));
    let old = rig.client();
    for (client, result_type) in
        [(old.clone(), None), (old.clone().stateless(), Some("complete")), (old.without_streams(), None)]
    {
        let answer = client.delete(&json!("7")).send();
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        assert_eq!(answer.header("holdpoint-source"), Some("policy"));
        let message = answer.json();
        assert_eq!((&message["jsonrpc"], &message["id"]), (&json!("2.0"), &json!("7")));
        let text = told(&message, "denied", Some(false), false);
        for part in [
            "DENIED",
            "`delete_repo`",
            "NOT executed",
            "no-deletes",
            "Deletions are off",
            "do not send it again unchanged",
        ] {
            assert!(text.contains(part), "{part} is missing: {text}");
        }
        assert_eq!(message["result"]["_meta"]["dev.holdpoint/decision"]["rule"], "no-deletes");
        assert_eq!(message["result"].get("resultType").and_then(Value::as_str), result_type);
    }
    rig.nothing_was_sent();
    assert_eq!(rig.gateway.metric("holdpoint_requests_total", &[("upstream", "tools"), ("verdict", "BLOCKED")]), 3.0);
    assert_eq!(rig.alice().events(None).iter().filter(|kind| *kind == "call_blocked").count(), 3);
}

#[test]
fn rules_read_the_arguments_and_the_body_decides() {
    let policy = "version: 1\ndefault: block\nrules:\n  - { id: small, match: refund, when: args.amount <= 100, action: allow }\n";
    let rig = McpRig::with(|home| home.policy(policy));
    let client = rig.client();
    let send = |arguments: Value| client.tool(&json!(1), "refund", &arguments).send().json();
    assert_eq!(send(json!({ "amount": 100 }))["result"]["structuredContent"]["digits"], 1.0);
    told(&send(json!({ "amount": 101 })), "denied", Some(false), false);
    told(&send(json!({})), "denied", Some(false), false);
    // A variant of the argument that the rule reads is refused, not judged without it.
    let refused = client.tool(&json!(1), "refund", &json!({ "amount": 1, "x": { "Amount": 1 } })).send();
    assert_eq!(refused.status, 200, "deeper down names are the tool's own");
    let refused = client.tool(&json!(1), "refund", &json!({ "Amount": 1 })).send();
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (400, &json!(-32600)), "{}", refused.text());
    assert_eq!(rig.origin.calls("refund").len(), 2);
}

#[test]
fn what_the_upstream_answers_to_an_allowed_call_passes_whatever_it_is() {
    let rig = McpRig::start();
    let call = rig.client().tool(&json!(1), "safe_read", &json!({}));
    let challenge = "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer resource_metadata=\"https://h/x\", scope=\"a\"\r\ncontent-length: 2\r\n\r\nno";
    rig.origin.reply(Reply::Raw(challenge.into()));
    let answer = call.send();
    assert_eq!((answer.status, answer.text().as_str()), (401, "no"));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer resource_metadata=\"https://h/x\", scope=\"a\""));
    for status in ["404 Not Found", "500 Internal Server Error", "202 Accepted"] {
        rig.origin.reply(Reply::Raw(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")));
        assert_eq!(call.send().status.to_string(), status[..3], "{status}");
    }
    // An upstream that is lost is a result that the model can read, and says whether the call may have run.
    rig.origin.reply(Reply::Close);
    let text = told(&call.send().json(), "unknown", None, false);
    assert!(text.contains("UNKNOWN") && text.contains("may have"), "{text}");
}

#[test]
fn a_revision_that_nobody_knows_is_refused_with_those_that_are_known() {
    let rig = McpRig::start();
    let answer = rig.client().revision("2031-01-01").tool(&json!(1), "safe_read", &json!({})).send();
    let error = answer.json()["error"].clone();
    assert_eq!((answer.status, &error["code"]), (400, &json!(-32022)), "{error}");
    assert_eq!(error["data"]["requested"], "2031-01-01", "{error}");
    assert_eq!(error["data"]["supported"], json!(["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"]));
    rig.nothing_was_sent();
}

#[test]
fn nothing_beside_the_endpoint_is_reached_through_the_route_of_an_mcp_server() {
    let rig = McpRig::with(|mut home| {
        let whole = home.configuration();
        let below = whole.replace("{ path: /mcp, upstream: tools", "{ path: /host/, upstream: tools");
        assert_ne!(below, whole);
        home.settings.whole = Some(below);
        home
    });
    let bot = rig.gateway.agent("bot");
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping","amount":100}"#;
    for below in ["/host/users/5", "/host/mcp", "/host/refunds?x=1", "/host/.well-known/security.txt"] {
        for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
            assert_eq!(bot.call(method, below).send().status, 404, "{method} {below}");
        }
        bot.call("POST", below).header("content-type", "application/json").body(ping).send().expect(404, "no_route");
    }
    assert!(rig.origin.hits().is_empty(), "{:?}", rig.origin.hits());
    let pinged = bot.call("POST", "/host/").header("content-type", "application/json").body(ping).send();
    assert_eq!(pinged.status, 200, "the endpoint itself: {}", pinged.text());
    assert_eq!(rig.origin.hits().len(), 1);
}

#[test]
fn documents_about_authorization_come_from_the_root_of_the_servers_host() {
    let rig = McpRig::start();
    let bot = rig.gateway.agent("bot");
    for (asked, upstream) in [
        // The upstream's own path is `/mcp`, as the route's is.
        ("/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource/mcp"),
        ("/.well-known/oauth-authorization-server/mcp?x=1", "/.well-known/oauth-authorization-server/mcp?x=1"),
        // There is one server, so the document without a path is about it.
        ("/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource"),
        ("/.well-known/openid-configuration", "/.well-known/openid-configuration"),
    ] {
        let answer = bot.call("GET", asked).send();
        assert_eq!((answer.status, answer.json()["document"].as_str()), (200, Some(upstream)), "{asked}");
        let posted = bot.call("POST", asked).header("content-type", "application/json").body("{}").send();
        assert_eq!(posted.status, 405, "{asked}: a document is only read");
    }
    for asked in [
        "/.well-known/oauth-protected-resource/elsewhere",
        "/.well-known/oauth-protected-resources",
        "/.well-known/security.txt",
        "/.well-known/oauth-protected-resource/mcp/../x",
    ] {
        let status = bot.call("GET", asked).send().status;
        assert!([400, 404].contains(&status), "{asked}: {status}");
    }
    assert_eq!(rig.origin.hits().len(), 4, "nothing else reached the server");
}
