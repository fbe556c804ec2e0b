//! One question to one server, asked by the gateway itself: sent, and its one response read whole.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use crate::gate::held::HeldRequest;
use crate::gate::release::admit_message;
use crate::protocol::mcp::sse;

use super::super::body::AnswerBody;
use super::super::routes::Upstream;
use super::super::upstream::{self, Outgoing};

/// The largest response that is read.
const RESPONSE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long reading it may take once it has begun.
const READ_MAX: Duration = Duration::from_secs(30);

/// A server's response.
pub(super) struct Response {
    pub(super) headers: HeaderMap,
    /// The JSON-RPC message; `null` where none was due.
    pub(super) message: Value,
}

/// Asks on behalf of a caller. `headers` are its own, as far as they are the server's business.
///
/// # Errors
/// In words: unreachable, refused, broken off, or no answer to this.
pub(super) async fn ask(
    upstream: &Upstream,
    caller: &HeldRequest,
    headers: &HeaderMap,
    message: &Value,
) -> Result<Response, String> {
    let mut headers = headers.clone();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    let body = Bytes::from(message.to_string());
    let outgoing =
        Outgoing::judged(upstream, Method::POST, &caller.target, headers, Some(body)).of(caller.agent.clone());
    let response =
        upstream::send(admit_message(), upstream, outgoing).await.map_err(|problem| problem.detail().to_owned())?;
    let (head, body) = response.into_parts();
    if !head.status.is_success() {
        return Err(format!("it answered {}", head.status));
    }
    if head.status == StatusCode::ACCEPTED || message.get("id").is_none() {
        return Ok(Response { headers: head.headers, message: Value::Null });
    }
    let kind = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let read = async {
        match kind.starts_with(sse::MEDIA_TYPE) {
            true => from_stream(body, &message["id"]).await,
            false => from_document(body).await,
        }
    };
    let read = tokio::time::timeout(READ_MAX, read).await.unwrap_or(None);
    match read {
        Some(message) => Ok(Response { headers: head.headers, message }),
        None => Err("its answer broke off, or is no JSON-RPC response".to_owned()),
    }
}

async fn from_document(body: AnswerBody) -> Option<Value> {
    let collected = Limited::new(body, RESPONSE_BYTES_MAX).collect().await.ok()?;
    serde_json::from_slice(&collected.to_bytes()).ok()
}

async fn from_stream(mut body: AnswerBody, id: &Value) -> Option<Value> {
    let mut reader = sse::Reader::new(RESPONSE_BYTES_MAX);
    while let Some(frame) = body.frame().await {
        reader.push(&frame.ok()?.into_data().ok()?);
        while let Some(event) = reader.next_event().ok()? {
            let message: Option<Value> = event.data.and_then(|data| serde_json::from_str(&data).ok());
            if let Some(message) = message.filter(|message| message["id"] == *id && message.get("method").is_none()) {
                return Some(message);
            }
        }
    }
    None
}
