//! Calls over MCP, told as plain ones are: their arguments are the body, and what the gateway's results say is a status and a code.

use serde_json::{Value, json};

/// Where they go at the upstream.
pub(crate) const TARGET: &str = "/";
/// Where they go at the gateway.
pub(crate) const ENDPOINT: &str = "/mcp";
/// The same, for a caller that does not wait.
pub(crate) const ENDPOINT_WITHOUT_WAIT: &str = "/mcp-now";

/// The message of a `tools/call`. Each sending has an id of its own, and is the same call.
pub(crate) fn message(id: u64, tool: &str, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
    )
}

/// The tool and the arguments of a `tools/call`, as they were sent.
pub(crate) fn call_in(message: &Value) -> Option<(&str, &Value)> {
    let params = &message["params"];
    (message["method"] == "tools/call").then_some((params["name"].as_str()?, &params["arguments"]))
}

/// What the upstream answers a call with; the call is named in it.
pub(crate) fn result(message: &Value, name: &Value) -> Value {
    let told = json!({ "content": [{ "type": "text", "text": "done" }], "structuredContent": { "call": name } });
    json!({ "jsonrpc": "2.0", "id": message["id"], "result": told })
}

/// The message that an event stream ends with; `null` when there is none.
pub(crate) fn last_message(stream: &str) -> Value {
    let mut ends = stream.lines().rev().filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?).ok());
    ends.next().unwrap_or_default()
}

/// What the plain counterpart of a result would be: its status, problem code, and body.
///
/// # Panics
/// When it is no result, or none that a call can get.
pub(crate) fn plainly(message: &Value) -> (u16, &'static str, Value) {
    let result = &message["result"];
    assert!(result.is_object(), "no result: {message}");
    let (status, code) = match result["_meta"]["dev.holdpoint/decision"]["status"].as_str() {
        None => return (200, "", result["structuredContent"].clone()),
        Some("denied") => (403, "blocked"),
        Some("rejected") => (403, "rejected"),
        Some("expired") => (403, "expired"),
        Some("cancelled") => (403, "cancelled"),
        Some("pending") => (503, "approval_pending"),
        Some("approved_not_executed") => (502, "upstream_unreachable"),
        Some("already_executed") => (409, "already_released"),
        Some("unknown") => (502, "outcome_unknown"),
        Some("unavailable") => (503, "store_unavailable"),
        Some(other) => panic!("a status that nobody expects: {other}"),
    };
    (status, code, json!({ "code": code }))
}
