//! What a caller of an MCP upstream sees: allowed, blocked, held and decided, streams, leaving, faults.

mod annotations;
mod faults;
mod held;
mod keys;
mod leaving;
mod passing;
mod rounds;
mod several;
mod streams;
mod tasks;
