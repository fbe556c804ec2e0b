//! What a body says: one JSON-RPC message, read strictly.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::fault::{Fault, FaultKind};
use super::{META_CAPABILITIES, META_VERSION, TOOLS_CALL};
use crate::domain::value::Value;
use crate::protocol::json::{self, confusable_with, folded};

/// Characters of a method's name.
const METHOD_CHARS_MAX: usize = 128;
/// Characters of a tool's name.
const TOOL_CHARS_MAX: usize = 128;
/// Characters of an id as written.
const ID_CHARS_MAX: usize = 256;
/// Room for a UUID and its quotes.
const ID_CHARS_USUAL: usize = 40;

const ENVELOPE_KEYS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
const PARAMS_KEYS: [&str; 8] =
    ["name", "arguments", "_meta", "task", "taskId", "requestId", "inputResponses", "requestState"];
const META_KEYS: [&str; 3] = ["progressToken", META_VERSION, META_CAPABILITIES];

/// The id of a request, as JSON text: `7` and `"7"` are two ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Id(String);

impl Id {
    /// From a value: a string, or an integer written without fraction and exponent.
    pub fn of(value: &Value<'_>) -> Option<Self> {
        let mut text = String::with_capacity(ID_CHARS_USUAL);
        match value {
            Value::String(_) => value.write_json(&mut text),
            Value::Number(number) if number.as_str().bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => {
                text.push_str(number.as_str());
            }
            Value::Number(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
        }
        (text.len() <= ID_CHARS_MAX).then_some(Self(text))
    }

    /// As it stands in JSON.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// Wants an answer.
    Request {
        /// Which one.
        id: Id,
        /// The method, exactly as written.
        method: &'a str,
        /// Its parameters, an object.
        params: Option<&'a Value<'a>>,
    },
    /// Wants none.
    Notification {
        /// The method, exactly as written.
        method: &'a str,
        /// Its parameters, an object.
        params: Option<&'a Value<'a>>,
    },
    /// Answers a request of the server's.
    Response,
}

/// A `tools/call`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolCall<'a> {
    /// The tool, as the server knows it.
    pub name: &'a str,
    /// Its arguments, an object.
    pub arguments: Option<&'a Value<'a>>,
    /// `_meta`, an object.
    pub meta: Option<&'a Value<'a>>,
    /// What the caller wants progress reported under.
    pub progress_token: Option<&'a Value<'a>>,
    /// How the call is to run as a task, an object.
    pub task: Option<&'a Value<'a>>,
    /// What an earlier answer gave the caller to send along.
    pub request_state: Option<&'a str>,
}

/// Reads a body's value as one message.
///
/// # Errors
/// When it is a batch, no message, or one that another reader could take for something else.
pub fn read<'a>(value: &'a Value<'a>) -> Result<Message<'a>, Fault> {
    let bad = |detail: &str| Fault::new(FaultKind::Envelope, detail);
    match value {
        Value::Array(_) => {
            let detail = "batches are not taken; send each message in a request of its own";
            return Err(Fault::new(FaultKind::Batch, detail));
        }
        Value::Object(_) => {}
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err(bad("the body is no JSON-RPC message: it must be an object"));
        }
    }
    let id = value.member("id").and_then(Id::of);
    let fault = |fault: Fault| fault.about(id.as_ref());
    no_variant(value, &ENVELOPE_KEYS).map_err(fault)?;
    if value.member("jsonrpc") != Some(&Value::String("2.0".into())) {
        return Err(fault(bad("`jsonrpc` must be \"2.0\"")));
    }
    if value.member("id").is_some() && id.is_none() {
        return Err(bad("`id` must be a string or an integer"));
    }
    let answers = value.member("result").is_some() || value.member("error").is_some();
    let Some(method) = value.member("method") else {
        return match (answers, value.member("id")) {
            (true, Some(_)) => Ok(Message::Response),
            _ => Err(fault(bad("a message has a `method`, or an `id` with a `result` or an `error`"))),
        };
    };
    if answers {
        return Err(fault(bad("a message with a `method` has no `result` and no `error`")));
    }
    let Value::String(method) = method else {
        return Err(fault(bad("`method` must be a string")));
    };
    check_method(method).map_err(fault)?;
    let params = value.member("params");
    if let Some(params) = params {
        check_params(params).map_err(fault)?;
    }
    match id {
        Some(id) => Ok(Message::Request { id, method, params }),
        None if method == TOOLS_CALL => Err(bad("a `tools/call` needs an `id`: nothing is called without an answer")),
        None => Ok(Message::Notification { method, params }),
    }
}

/// Whether every reader takes this for the same name: 1 to 128 of `A-Z a-z 0-9 _ - . / :`.
pub fn is_tool_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/:".contains(&byte);
    (1..=TOOL_CHARS_MAX).contains(&name.len()) && name.bytes().all(legal)
}

/// Whether a server's message is the response to the request with this id. Ids are compared as values: servers spell one string in
/// several ways, and most readers lose the digits of large numbers.
pub fn is_response_to(text: &str, id: &Id) -> bool {
    let Ok(message) = serde_json::from_str::<HashMap<String, &RawValue>>(text) else { return false };
    let is_response = message.contains_key("result") || message.contains_key("error");
    let is_its_id = |raw: &&RawValue| {
        json::read(raw.get().as_bytes(), &json::Limits::default())
            .is_ok_and(|value| Id::of(&value).as_ref() == Some(id))
    };
    is_response && message.get("id").is_some_and(is_its_id)
}

/// A method is one token, and none that differs from `tools/call` in what some reader ignores.
fn check_method(method: &str) -> Result<(), Fault> {
    if method == TOOLS_CALL {
        return Ok(());
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./$:".contains(&byte);
    if method.is_empty() || method.len() > METHOD_CHARS_MAX || !method.bytes().all(legal) {
        let detail = format!("`method` must be 1 to {METHOD_CHARS_MAX} of `A-Z a-z 0-9 _ - . / $ :`");
        return Err(Fault::new(FaultKind::Envelope, detail));
    }
    let plain: String = folded(method).chars().filter(char::is_ascii_alphanumeric).collect();
    if plain == "toolscall" {
        return Err(Fault::new(FaultKind::Confusable, "`method` could be taken for `tools/call`; spell it exactly"));
    }
    Ok(())
}

fn check_params(params: &Value<'_>) -> Result<(), Fault> {
    if !matches!(params, Value::Object(_)) {
        return Err(Fault::new(FaultKind::Params, "`params` must be an object"));
    }
    no_variant(params, &PARAMS_KEYS)?;
    match params.member("_meta") {
        None => Ok(()),
        Some(meta @ Value::Object(_)) => no_variant(meta, &META_KEYS),
        Some(_) => Err(Fault::new(FaultKind::Params, "`params._meta` must be an object")),
    }
}

/// Refuses a key that some reader takes for a reserved one.
fn no_variant(value: &Value<'_>, reserved: &[&str]) -> Result<(), Fault> {
    let Value::Object(members) = value else { return Ok(()) };
    for (key, _) in members.iter().filter(|(key, _)| !reserved.contains(&key.as_ref())) {
        if let Some(name) = reserved.iter().find(|name| confusable_with(key, name)) {
            let detail = format!("the key `{}` could be taken for `{name}`; spell it exactly", key.escape_debug());
            return Err(Fault::new(FaultKind::Confusable, detail));
        }
    }
    Ok(())
}

impl<'a> ToolCall<'a> {
    /// Reads the parameters of a `tools/call`.
    ///
    /// # Errors
    /// When the tool has no name or one that readers could disagree about, or a part is not of its kind.
    pub fn read(params: Option<&'a Value<'a>>) -> Result<Self, Fault> {
        let bad = |detail: String| Fault::new(FaultKind::Params, detail);
        let member = |key: &str| params.and_then(|params| params.member(key));
        let object = |key: &str| match member(key) {
            None => Ok(None),
            Some(value @ Value::Object(_)) => Ok(Some(value)),
            Some(_) => Err(bad(format!("`params.{key}` must be an object"))),
        };
        let name = match member("name") {
            Some(Value::String(name)) => name.as_ref(),
            Some(_) | None => return Err(bad("`params.name` must be a string".to_owned())),
        };
        if !is_tool_name(name) {
            let detail = format!("a tool's name is 1 to {TOOL_CHARS_MAX} of `A-Z a-z 0-9 _ . - / :`");
            return Err(Fault::new(FaultKind::ToolName, detail));
        }
        let request_state = match member("requestState") {
            None => None,
            Some(Value::String(state)) => Some(state.as_ref()),
            Some(_) => return Err(bad("`params.requestState` must be a string".to_owned())),
        };
        let meta = object("_meta")?;
        let progress_token = match meta.and_then(|meta| meta.member("progressToken")) {
            None => None,
            Some(token) if Id::of(token).is_some() => Some(token),
            Some(_) => return Err(bad("`progressToken` must be a string or an integer".to_owned())),
        };
        Ok(Self { name, arguments: object("arguments")?, meta, progress_token, task: object("task")?, request_state })
    }

    /// Whether the client said, on this very request, that it knows this extension.
    pub fn client_has_extension(&self, name: &str) -> bool {
        let capabilities = self.meta.and_then(|meta| meta.member(META_CAPABILITIES));
        capabilities.and_then(|all| all.member("extensions")).and_then(|all| all.member(name)).is_some()
    }

    /// The trace that the caller names in `_meta`.
    pub fn traceparent(&self) -> Option<&'a str> {
        match self.meta?.member("traceparent")? {
            Value::String(text) => Some(text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

/// Whether two spellings are one to some reader; for names that stand in values.
pub(super) fn differs_only_in_case(one: &str, other: &str) -> bool {
    confusable_with(one, other)
}
