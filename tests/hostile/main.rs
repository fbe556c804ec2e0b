//! Hostile input against the running gateway: a module for each way in.
#![expect(
    clippy::disallowed_methods,
    reason = "tests read files, clocks and the environment on their own; the product takes them as arguments"
)]

mod corpus;
mod doors;
mod exports;
#[path = "../faults/faketime.rs"]
mod faketime;
mod frames;
mod fronts;
#[path = "../spies/go.rs"]
mod go;
mod http2;
mod mcp;
mod policies;
mod replayed;
mod spy;
mod starved;
#[expect(dead_code, reason = "the rig is shared with the other tests, and no target uses all of it")]
#[path = "../it/support/mod.rs"]
mod support;
mod trap;
