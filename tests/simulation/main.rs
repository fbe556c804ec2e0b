//! The real core under simulation: several gates on one store that is slow and fails, on a clock of its own, against an
//! independent account of what may be true. A seed replays exactly:
//!
//! `HOLDPOINT_SIM_SEED=17 cargo test --test simulation -- --nocapture replay`
//!
//! `just simulate` runs 10 000 seeds. Some runs also write the histories that the checker of crashes reads (`chronicle`). They are other
//! runs of the same seed; the command above replays both, and what fails says which.

mod callers;
#[path = "../chaos/check.rs"]
#[expect(dead_code, reason = "the simulation makes no backups")]
mod check;
mod chronicle;
mod conformance;
mod detached;
mod dice;
mod gateways;
#[path = "../chaos/history.rs"]
#[expect(dead_code, reason = "some of it is about processes")]
mod history;
mod interleavings;
mod link;
#[path = "../chaos/mcp.rs"]
#[expect(dead_code, reason = "the simulation's own MCP calls are in no history")]
mod mcp;
mod model;
mod people;
mod seeds;
mod shadow;
#[path = "../chaos/story.rs"]
mod story;
mod tables;
#[path = "../chaos/trail.rs"]
mod trail;
mod turns;
mod upstream;
mod wakeups;
mod world;

// The waiters are compiled here too, and name the domain as the crate does.
use holdpoint::domain;
