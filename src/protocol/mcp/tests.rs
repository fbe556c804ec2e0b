//! What is read as one message or refused, what headers may say, what binds, and how results and streams look.

mod binding;
mod headers;
mod message;
mod result;
mod sse;

use crate::domain::value::Value;
use crate::protocol::json;

/// Reads JSON as the gateway does and shows it to `look`.
fn with<T>(text: &str, look: impl FnOnce(&Value<'_>) -> T) -> T {
    let value = json::read(text.as_bytes(), &json::Limits::default()).unwrap_or_else(|error| panic!("{text}: {error}"));
    look(&value)
}
