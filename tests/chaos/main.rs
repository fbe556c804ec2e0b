//! Crashes of the real program, and the one checker that says what may never come of them.
//!
//! Clients, reviewers and the upstream each write down what they did and saw (`history`); the gateway is killed at every sync, at
//! every write and at random moments, and started again; then `check` holds the histories, what the gateway shows afterwards and its
//! audit trail against each other. Faults that end nothing (`faulty`), upgrades and backups are held against it too. That the checker
//! finds what is wrong is shown on recorded runs with a fault planted (`planted`).
#![expect(clippy::print_stdout, reason = "a run says its seed and its figures")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests read files, clocks and the environment on their own; the product takes them as arguments"
)]

mod actors;
mod backups;
mod check;
#[path = "../faults/death.rs"]
#[expect(dead_code, reason = "what dies in a handshake, or after an answer, is of the tests that ask what is answered")]
mod death;
#[path = "../faults/faketime.rs"]
mod faketime;
mod faulty;
mod going_down;
mod history;
mod kill_points;
mod mcp;
mod over_mcp;
mod planted;
mod random_kills;
mod script;
mod spy;
mod story;
mod support;
mod trail;
mod upgrades;
mod world;
