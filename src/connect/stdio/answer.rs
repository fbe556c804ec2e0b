//! Answers in the form of Streamable HTTP.

use std::sync::Arc;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::mailbox::{Mailbox, StdioBody};
use super::message::Id;

/// Names the session.
pub(super) const SESSION_HEADER: HeaderName = HeaderName::from_static("mcp-session-id");
/// Names the revision.
pub(super) const REVISION_HEADER: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// JSON-RPC: the text is not JSON.
pub(super) const PARSE_ERROR: i64 = -32700;
/// JSON-RPC: it is no message, or not one that fits here.
pub(super) const INVALID_REQUEST: i64 = -32600;
/// JSON-RPC: no such method.
pub(super) const METHOD_NOT_FOUND: i64 = -32601;
/// MCP: a header contradicts the body.
pub(super) const HEADER_MISMATCH: i64 = -32020;

/// An answer that is one JSON text.
pub(super) fn json(status: StatusCode, text: String) -> Response<StdioBody> {
    let mut response = Response::new(StdioBody::whole(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response<StdioBody> {
    let mut response = Response::new(StdioBody::whole(""));
    *response.status_mut() = status;
    response
}

/// A refusal, as a JSON-RPC error.
pub(super) fn refused(status: StatusCode, id: Option<&Id>, code: i64, message: &str) -> Response<StdioBody> {
    let id = id.map_or_else(|| "null".to_owned(), Id::to_json);
    let message = serde_json::Value::from(message);
    json(status, format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}}}}}"#))
}

/// The method does nothing here.
pub(super) fn method_not_allowed(allowed: &'static str) -> Response<StdioBody> {
    let mut response =
        refused(StatusCode::METHOD_NOT_ALLOWED, None, INVALID_REQUEST, "this method is not supported here");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// What arrives in `mailbox`, as server-sent events; `listening` is dropped when nobody reads them any more.
pub(super) fn events(mailbox: Arc<Mailbox>, listening: impl Send + Sync + 'static) -> Response<StdioBody> {
    let mut response = Response::new(StdioBody::events(mailbox, listening));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}
