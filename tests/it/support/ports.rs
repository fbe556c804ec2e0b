//! Ports that stay a test's own while nothing listens on them.

use std::hash::{BuildHasher as _, RandomState};
use std::net::TcpListener;
use std::ops::Range;

/// The kernel gives out ports from 32 768 on, to listeners and to whoever connects. Below, nobody comes by chance.
const QUIET: Range<u16> = 10_000..30_000;

/// A port of 127.0.0.1 for a program that cannot choose one itself, or that listens again after a while.
pub(crate) fn lasting_port() -> u16 {
    loop {
        let random = RandomState::new().hash_one(QUIET);
        let port = QUIET.start + u16::try_from(random % QUIET.len() as u64).expect("the range is one of ports");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
