//! Bytes to calls: the strict readers that decide what a request says, before anything decides what to do about it.
//!
//! Parser disagreement is the bypass this layer exists to close: what two readers could understand differently is
//! refused here, with a stable code, and never guessed at. Everything is pure: no I/O, clock, randomness, or HTTP status
//! number, and no input can make a function here panic or work without bound.
//!
//! * [`json`]: bodies. * [`target`]: paths, queries, templates. * [`head`]: request heads and header hygiene.
//! * [`trace`]: W3C trace context. * [`fingerprint`]: the identity of a call.

pub mod fingerprint;
pub mod head;
pub mod json;
pub mod mcp;
pub mod target;
pub mod trace;
