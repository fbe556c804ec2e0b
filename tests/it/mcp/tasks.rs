//! Held calls that are followed as tasks, on both revisions that know them.

use holdpoint::domain::approval::rules::DETACHED_RETRY_PAUSE;
use serde_json::{Value, json};

use crate::support::mcp::{Client, McpRig, told};
use crate::support::mcp_origin::Reply;
use crate::support::rig::repository;
use crate::support::wait::until;

fn as_task(client: &Client, id: u64) -> Value {
    let params = json!({ "name": "delete_repo", "arguments": repository(), "task": { "ttl": 600_000 } });
    client.request(&json!(id), "tools/call", &params).send().json()
}

fn about_task(client: &Client, id: u64, method: &str, task: &str) -> Value {
    client.request(&json!(id), method, &json!({ "taskId": task })).send().json()
}

/// A task of 2025-11-25, its approval's id, and its own.
fn task(rig: &McpRig) -> (Value, String, String) {
    let created = as_task(&rig.client(), 1);
    let task = created["result"]["task"].clone();
    let id = task["taskId"].as_str().unwrap_or_else(|| panic!("no task: {created}")).to_owned();
    (task, rig.gateway.one_pending(), id)
}

/// What `tasks/result` says, read from its stream.
fn result_of(rig: &McpRig, task: &str) -> Value {
    let stream = rig.open(&rig.client().request(&json!(9), "tasks/result", &json!({ "taskId": task })));
    stream.message()
}

#[test]
fn a_held_call_becomes_a_task_that_waits_for_its_decision_and_keeps_the_answer() {
    let rig = McpRig::parking("hold: 30s");
    let (task, approval, id) = task(&rig);
    assert_eq!((&task["status"], &task["pollInterval"]), (&json!("working"), &json!(2000)), "{task}");
    assert!(task["statusMessage"].as_str().is_some_and(|said| said.contains(&approval)), "{task}");
    assert_eq!(about_task(&rig.client(), 2, "tasks/get", &id)["result"]["status"], "working");
    assert_eq!(rig.deletions(), 0);
    let stream = rig.open(&rig.client().request(&json!(3), "tasks/result", &json!({ "taskId": id })));
    rig.alice().approve(&approval);
    let answer = stream.message();
    assert_eq!((&answer["id"], &answer["result"]["content"][0]["text"]), (&json!(3), &json!("done")), "{answer}");
    assert_eq!(answer["result"]["_meta"]["io.modelcontextprotocol/related-task"]["taskId"], id.as_str());
    assert_eq!(about_task(&rig.client(), 4, "tasks/get", &id)["result"]["status"], "completed");
    let sent = rig.origin.calls("delete_repo");
    assert_eq!(sent.len(), 1, "sent once");
    assert!(sent[0].json()["params"].get("task").is_none(), "the task is the gateway's own");
}

#[test]
fn a_task_outlives_a_crash_of_the_gateway() {
    let rig = McpRig::parking("hold: 30s");
    let (_, approval, id) = task(&rig);
    let rig = rig.crash_and_start();
    assert_eq!(about_task(&rig.client(), 2, "tasks/get", &id)["result"]["status"], "working");
    rig.alice().approve(&approval);
    assert_eq!(result_of(&rig, &id)["result"]["content"][0]["text"], "done");
    assert_eq!(rig.deletions(), 1);
}

#[test]
fn a_rejected_task_fails_with_the_reason_and_sends_nothing() {
    let rig = McpRig::parking("hold: 30s");
    let (_, approval, id) = task(&rig);
    rig.alice().reject(&approval, "use the staging one");
    let view = about_task(&rig.client(), 2, "tasks/get", &id)["result"].clone();
    assert_eq!(view["status"], "failed");
    assert!(view["statusMessage"].as_str().is_some_and(|said| said.contains("use the staging one")), "{view}");
    let result = result_of(&rig, &id)["result"].clone();
    assert_eq!(
        (&result["isError"], &result["_meta"]["dev.holdpoint/decision"]["status"]),
        (&json!(true), &json!("rejected"))
    );
    assert_eq!(rig.deletions(), 0);
}

#[test]
fn a_cancelled_task_takes_its_approval_back_once() {
    let rig = McpRig::parking("hold: 30s");
    let (_, approval, id) = task(&rig);
    assert_eq!(about_task(&rig.client(), 2, "tasks/cancel", &id)["result"]["status"], "cancelled");
    rig.until_status(&approval, "cancelled");
    assert_eq!(about_task(&rig.client(), 3, "tasks/cancel", &id)["result"]["status"], "cancelled", "and stays so");
    assert_eq!(rig.deletions(), 0);
}

#[test]
fn a_task_is_its_agents_alone() {
    let rig = McpRig::parking("hold: 30s");
    let (_, approval, id) = task(&rig);
    let other = Client::new(rig.gateway.agent("other-bot"));
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        assert_eq!(about_task(&other, 2, method, &id)["error"]["code"], -32602, "{method}");
    }
    assert_eq!(rig.alice().approval(&approval)["status"], "pending");
    let listed = other.request(&json!(3), "tasks/list", &json!({})).send().json();
    assert_eq!(listed["result"]["tasks"].as_array().map_or(0, Vec::len), 0, "{listed}");
    let own = rig.client().request(&json!(3), "tasks/list", &json!({})).send().json();
    assert_eq!(own["result"]["tasks"][0]["taskId"], id.as_str(), "{own}");
}

#[test]
fn a_call_that_is_let_through_as_a_task_is_answered_with_one() {
    let rig = McpRig::start();
    let params = json!({ "name": "safe_read", "arguments": {}, "task": {} });
    let created = rig.client().request(&json!(1), "tools/call", &params).send().json();
    let task = created["result"]["task"].clone();
    assert_eq!(task["status"], "completed", "{created}");
    let id = task["taskId"].as_str().expect("an id");
    let result = about_task(&rig.client(), 2, "tasks/result", id);
    assert_eq!(result["result"]["content"][0]["text"], "done", "{result}");
}

#[test]
fn tasks_are_offered_where_policy_can_hold_a_call_and_nowhere_else() {
    let offered = |rig: &McpRig| {
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "c", "version": "1" } });
        let answer = rig.client().request(&json!(1), "initialize", &params).send().json();
        let tools = rig.client().request(&json!(2), "tools/list", &json!({})).send().json()["result"]["tools"].clone();
        let supports = |tool: &Value| tool["execution"]["taskSupport"].as_str().map(str::to_owned);
        let support: Vec<_> = tools.as_array().expect("tools").iter().map(supports).collect();
        (answer["result"]["capabilities"]["tasks"].is_object(), support)
    };
    assert_eq!(offered(&McpRig::parking("hold: 1s")), (true, vec![None, Some("optional".to_owned())]));
    let open = McpRig::with(|home| home.policy("version: 1\ndefault: allow\nrules: []\n"));
    assert_eq!(offered(&open), (false, vec![None, None]));
}

#[test]
fn on_2026_07_28_a_client_with_the_extension_gets_a_task() {
    let rig = McpRig::parking("hold: 30s");
    let client = rig.client().stateless();
    let call = |id: u64, method: &str, mut params: Value, name: Option<&str>| {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": { "extensions": { "io.modelcontextprotocol/tasks": {} } },
        });
        let text = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        let call = client.post(&text).header("mcp-method", method);
        let answer = match name {
            Some(name) => call.header("mcp-name", name).send(),
            None => call.send(),
        };
        answer.json()
    };
    let params = json!({ "name": "delete_repo", "arguments": repository() });
    let created = call(1, "tools/call", params, Some("delete_repo"))["result"].clone();
    assert_eq!((&created["resultType"], &created["status"]), (&json!("task"), &json!("working")), "{created}");
    let id = created["taskId"].as_str().expect("an id").to_owned();
    rig.alice().approve(&rig.gateway.one_pending());
    let done = until("the task is completed", || {
        let view = call(2, "tasks/get", json!({ "taskId": id }), Some(&id))["result"].clone();
        (view["status"] == "completed").then_some(view)
    });
    assert_eq!(
        (&done["resultType"], &done["result"]["content"][0]["text"]),
        (&json!("complete"), &json!("done")),
        "{done}"
    );
    let contradicted = call(3, "tasks/get", json!({ "taskId": id }), Some("gwt_other"));
    assert_eq!(contradicted["error"]["code"], -32020, "{contradicted}");
}

#[test]
fn a_call_that_the_gateway_sent_by_itself_and_that_was_answered_is_never_sent_again() {
    let rig = McpRig::parking("hold: 30s");
    let answered = [
        ("400 Bad Request", "failed"),
        ("404 Not Found", "failed"),
        ("408 Request Timeout", "unknown"),
        ("429 Too Many Requests", "unknown"),
        ("500 Internal Server Error", "unknown"),
    ];
    for (n, (status, outcome)) in answered.into_iter().enumerate() {
        rig.origin.reply(Reply::Raw(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")));
        let params = json!({ "name": "delete_repo", "arguments": { "n": n }, "task": { "ttl": 600_000 } });
        let created = rig.client().request(&json!(n), "tools/call", &params).send().json();
        let id =
            created["result"]["task"]["taskId"].as_str().unwrap_or_else(|| panic!("no task: {created}")).to_owned();
        let approval = rig.gateway.one_pending();
        rig.alice().approve(&approval);
        rig.until_outcome(&approval, outcome);
        let view = about_task(&rig.client(), 2, "tasks/get", &id)["result"].clone();
        assert_eq!(view["status"], "failed", "{status}: {view}");
        assert!(view["statusMessage"].as_str().is_some_and(|said| said.contains(&status[..3])), "{status}: {view}");
        let result = result_of(&rig, &id);
        match outcome {
            "failed" => {
                let text = told(&result, "unavailable", Some(false), true);
                assert!(text.contains("used up") && !text.contains("stands"), "{status}: {text}");
            }
            _ => drop(told(&result, "unknown", None, false)),
        }
    }
    // Twice the pause after which one that could not be sent is tried again: the sweep has looked at it by then.
    rig.origin.reply(Reply::Json);
    std::thread::sleep(DETACHED_RETRY_PAUSE * 2 + std::time::Duration::from_secs(1));
    assert_eq!(rig.deletions(), answered.len(), "each was sent once");
}
