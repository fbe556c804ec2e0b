//! The Model Context Protocol, as far as a gateway must read and write it: envelopes, revisions, headers, event streams, and the
//! results that stand in for a call that was not sent.
//!
//! Pure. It judges nothing and forwards nothing: it says what a message is, strictly, and how an answer is written. The body is
//! what counts; headers are only ever compared with it.
//!
//! Invariant: a message that any common server could take for a `tools/call` is either read as one here or refused.

mod binding;
mod fault;
mod headers;
mod message;
mod result;
mod revision;
pub mod sse;

pub use binding::{STATE_PREFIX, binding, bound_beside_arguments};
pub use fault::{Fault, FaultKind};
pub use headers::{SESSION, VERSION, check_given_names, check_method, check_names, check_version};
pub use message::{Id, Message, ToolCall, is_response_to, is_tool_name, read};
pub use result::{Decision, Status, error, progress, response, tool_result};
pub use revision::Revision;

/// The one method that is a call.
pub const TOOLS_CALL: &str = "tools/call";
/// The list of tools.
pub const TOOLS_LIST: &str = "tools/list";
/// The list of a caller's tasks.
pub const TASKS_LIST: &str = "tasks/list";
/// A caller takes a request back.
pub const CANCELLED: &str = "notifications/cancelled";
/// The member of `_meta` that names a request's revision since 2026-07-28.
pub const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The member of `_meta` in which a server says who it is since 2026-07-28.
pub const META_SERVER: &str = "io.modelcontextprotocol/serverInfo";
/// The member of `_meta` that says what the client can do since 2026-07-28.
pub const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// The member of `_meta` of a result in which the gateway says what became of the call.
pub const META_DECISION: &str = "dev.holdpoint/decision";

/// The extension by which a server may answer a call with a task, since 2026-07-28.
pub const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";

#[cfg(test)]
mod tests;
