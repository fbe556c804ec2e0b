//! What the waiters are locked with. `tests/simulation/wakeups.rs` puts the types of its scheduler in their place.

pub(super) use std::sync::{Mutex, MutexGuard, PoisonError};
