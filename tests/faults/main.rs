//! Faults from outside, put upon the real binary: full and broken disks, upstreams that die, clocks that are set, callers that
//! leave in masses, clients that are slow on purpose.
#![expect(
    clippy::disallowed_methods,
    reason = "tests read files, clocks and the environment on their own; the product takes them as arguments"
)]

mod broken_disk;
mod clock;
mod death;
mod dying;
mod faketime;
mod full_disk;
mod kit;
mod leaving;
mod slow;
#[path = "../it/support/mod.rs"]
#[expect(dead_code, reason = "the rig serves the other suites too")]
mod support;
mod upstream;
