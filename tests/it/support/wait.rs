//! Waiting for something to become true, with a bound and without blind sleeps.

use std::time::{Duration, Instant};

/// How long anything may take that should happen soon: generous, for a machine that compiles meanwhile.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Asks until there is an answer.
///
/// # Panics
/// When there is none [`SOON`]: names what was waited for.
pub(crate) fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    until_within(SOON, what, ask)
}

/// As [`until`] with a bound of the caller's.
pub(crate) fn until_within<T>(bound: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed() < bound, "waited {bound:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until it is true.
pub(crate) fn until_true(what: &str, mut ask: impl FnMut() -> bool) {
    until(what, || ask().then_some(()));
}
