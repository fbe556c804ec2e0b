//! Answers to MCP calls, for scripts that know plain ones.

use crate::mcp::{last_message, plainly};
use crate::support::http::Answer;

/// The answer to an MCP call, as its plain counterpart would be.
pub(crate) fn as_plain(mut answer: Answer) -> Answer {
    assert_eq!(answer.status, 200, "{answer:?}");
    let is_stream = answer.header("content-type") == Some("text/event-stream");
    let (status, code, body) = plainly(&if is_stream { last_message(&answer.text()) } else { answer.json() });
    let kind = if code.is_empty() { "application/json" } else { "application/problem+json" };
    answer.headers.retain(|(name, _)| name != "content-type");
    answer.headers.push(("content-type".to_owned(), kind.to_owned()));
    Answer { status, body: body.to_string().into_bytes(), ..answer }
}
