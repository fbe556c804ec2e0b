//! The real core under simulation: several gates on one store that is slow and fails, on a clock of its own, against an
//! independent account of what may be true. A seed replays exactly:
//!
//! `HOLDPOINT_SIM_SEED=17 cargo test --test simulation -- --nocapture replay`
//!
//! `just simulate` runs 10 000 seeds.

mod callers;
mod conformance;
mod detached;
mod dice;
mod gateways;
mod interleavings;
mod link;
mod model;
mod people;
mod seeds;
mod shadow;
mod tables;
mod turns;
mod upstream;
mod wakeups;
mod world;

// The waiters are compiled here too, and name the domain as the crate does.
use holdpoint::domain;
