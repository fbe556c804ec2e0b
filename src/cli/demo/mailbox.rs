//! A small MCP server for the demonstration: a mailbox with three tools, over the same ledger as the shop.
//!
//! It speaks the four revisions of the transport without sessions and without event streams, and does what it is told.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::backend::{Shared, lock};
use crate::domain::value;
use crate::protocol::json;
use crate::protocol::mcp::{
    self as protocol, Fault, FaultKind, Id, Message, Revision, TOOLS_CALL, TOOLS_LIST, ToolCall,
};

/// The most mails that are kept; the oldest go first.
const MAILS_MAX: usize = 1000;
/// How long clients may keep what is listed, in milliseconds: it never changes while the demonstration runs.
const LIST_TTL_MS: u64 = 60_000;

/// A mail.
#[derive(Debug, Clone)]
pub(super) struct Mail {
    with: String,
    subject: String,
    body: String,
}

/// What the mailbox holds when the demonstration starts.
pub(super) fn first() -> Vec<Mail> {
    let mail = |with: &str, subject: &str, body: &str| Mail {
        with: with.to_owned(),
        subject: subject.to_owned(),
        body: body.to_owned(),
    };
    vec![
        mail(
            "katherine@example.net",
            "Charged twice",
            "Hello, order 4711 was charged twice. Please refund one of them.",
        ),
        mail("ada@example.org", "Invoice 2026-118", "Hello, could you send the invoice again?"),
        mail("grace@example.org", "Thank you", "The refund has arrived. Thank you!"),
    ]
}

/// Answers one message.
pub(super) async fn answer(State(shop): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let (status, text) = match respond(&shop, &headers, &body) {
        Ok(Some((status, text))) => (status, text),
        Ok(None) => return StatusCode::ACCEPTED.into_response(),
        Err(fault) => {
            let text = protocol::error(fault.id.as_ref(), fault.rpc_code, &fault.detail, &Value::Null);
            (StatusCode::BAD_REQUEST, text)
        }
    };
    (status, [(CONTENT_TYPE, "application/json")], text).into_response()
}

/// The response to a request; `None` for messages that want none.
fn respond(shop: &Shared, headers: &HeaderMap, body: &[u8]) -> Result<Option<(StatusCode, String)>, Fault> {
    let value = json::read(body, &json::Limits::default()).map_err(|error| Fault {
        rpc_code: -32700,
        kind: FaultKind::Envelope,
        detail: error.to_string(),
        id: None,
        requested: None,
    })?;
    let Message::Request { id, method, params } = protocol::read(&value)? else { return Ok(None) };
    let meta = params.and_then(|params| params.member("_meta"));
    let about = |fault: Fault| Fault { id: Some(id.clone()), ..fault };
    let revision = protocol::check_version(headers, meta).map_err(about)?;
    let result = match method {
        "initialize" => initialize(params),
        "server/discover" if revision.is_stateless() => discover(),
        "ping" => json!({}),
        TOOLS_LIST => list(revision),
        TOOLS_CALL => {
            let call = ToolCall::read(params).map_err(about)?;
            match run(shop, &call) {
                Some(outcome) => tool_result(outcome),
                None => return Ok(Some((StatusCode::OK, unknown_tool(&id, call.name)))),
            }
        }
        other => return Ok(Some(unknown_method(&id, other, revision))),
    };
    Ok(Some((StatusCode::OK, protocol::response(&id, &complete(result, revision)))))
}

/// Since 2026-07-28 a result says that it is one.
fn complete(mut result: Value, revision: Revision) -> Value {
    if revision.is_stateless() {
        result["resultType"] = "complete".into();
    }
    result
}

fn unknown_tool(id: &Id, name: &str) -> String {
    protocol::error(Some(id), -32602, &format!("Unknown tool: {name}"), &Value::Null)
}

fn unknown_method(id: &Id, method: &str, revision: Revision) -> (StatusCode, String) {
    let status = if revision.is_stateless() { StatusCode::NOT_FOUND } else { StatusCode::OK };
    (status, protocol::error(Some(id), -32601, &format!("Method not found: {method}"), &Value::Null))
}

fn server_info() -> Value {
    json!({ "name": "holdpoint-demo-mailbox", "version": env!("CARGO_PKG_VERSION") })
}

fn initialize(params: Option<&value::Value<'_>>) -> Value {
    let wanted = text(params, "protocolVersion").and_then(Revision::parse);
    let agreed = wanted.filter(|revision| !revision.is_stateless()).unwrap_or(Revision::November2025);
    json!({ "protocolVersion": agreed.as_str(), "capabilities": { "tools": {} }, "serverInfo": server_info() })
}

fn discover() -> Value {
    json!({
        "supportedVersions": Revision::ALL.map(Revision::as_str),
        "capabilities": { "tools": {} },
        "ttlMs": LIST_TTL_MS,
        "cacheScope": "public",
        "_meta": { "io.modelcontextprotocol/serverInfo": server_info() },
    })
}

fn list(revision: Revision) -> Value {
    let tool = |name: &str, description: &str, inputs: &[(&str, &str)]| {
        let properties: serde_json::Map<String, Value> = inputs
            .iter()
            .map(|(name, about)| ((*name).to_owned(), json!({ "type": "string", "description": about })))
            .collect();
        let required: Vec<&str> = inputs.iter().map(|(name, _)| *name).collect();
        let schema = json!({ "type": "object", "properties": properties, "required": required });
        json!({ "name": name, "description": description, "inputSchema": schema })
    };
    let mut result = json!({ "tools": [
        tool("search", "Finds mails of the mailbox.", &[("query", "words of the subject, the text or the address")]),
        tool("send_email", "Sends a mail.", &[("to", "an address"), ("subject", "one line"), ("body", "the text")]),
        tool("delete_mailbox", "Deletes every mail of the mailbox.", &[]),
    ] });
    if revision.is_stateless() {
        result["ttlMs"] = LIST_TTL_MS.into();
        result["cacheScope"] = "public".into();
    }
    result
}

fn tool_result(outcome: Result<String, String>) -> Value {
    let failed = outcome.is_err();
    let (Ok(text) | Err(text)) = outcome;
    json!({ "content": [{ "type": "text", "text": text }], "isError": failed })
}

/// Runs a tool; `None` when there is none of this name.
fn run(shop: &Shared, call: &ToolCall<'_>) -> Option<Result<String, String>> {
    let wanted = |name: &str| {
        text(call.arguments, name).map(str::to_owned).ok_or_else(|| format!("the argument `{name}` must be a string"))
    };
    Some(match call.name {
        "search" => wanted("query").map(|query| search(shop, &query)),
        "send_email" => match (wanted("to"), wanted("subject"), wanted("body")) {
            (Ok(with), Ok(subject), Ok(body)) => Ok(send(shop, Mail { with, subject, body })),
            (Err(why), _, _) | (_, Err(why), _) | (_, _, Err(why)) => Err(why),
        },
        "delete_mailbox" => Ok(empty(shop)),
        _ => return None,
    })
}

fn text<'v>(object: Option<&'v value::Value<'v>>, key: &str) -> Option<&'v str> {
    match object?.member(key)? {
        value::Value::String(text) => Some(text),
        _ => None,
    }
}

fn search(shop: &Shared, query: &str) -> String {
    let query = query.to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&query);
    let shop = lock(shop);
    let found: Vec<String> = shop
        .mails
        .iter()
        .filter(|mail| has(&mail.with) || has(&mail.subject) || has(&mail.body))
        .map(|mail| format!("{}: {}\n{}", mail.with, mail.subject, mail.body))
        .collect();
    if found.is_empty() { "No mail matches.".to_owned() } else { found.join("\n\n") }
}

fn send(shop: &Shared, mail: Mail) -> String {
    let mut shop = lock(shop);
    let characters = mail.body.chars().count();
    let detail = json!({ "to": mail.with, "subject": mail.subject, "characters": characters });
    let number = shop.write("mail sent", detail);
    let said = format!("Sent to {} as msg_{number}.", mail.with);
    shop.mails.push(mail);
    if shop.mails.len() > MAILS_MAX {
        shop.mails.remove(0);
    }
    said
}

fn empty(shop: &Shared) -> String {
    let mut shop = lock(shop);
    let mails = std::mem::take(&mut shop.mails).len();
    shop.write("mailbox deleted", json!({ "mails": mails }));
    format!("Deleted {mails} mails.")
}
