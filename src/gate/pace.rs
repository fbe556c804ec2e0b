//! The pace of decisions: so many approved calls may be on their way to their upstream, and the next decision waits for one to leave.
//!
//! Without it many approvals at once are decided first, all of them, and sent afterwards: the last call would be sent long after its
//! decision, and under a policy and to an upstream that nobody looked at when deciding.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many callers may be between the decision on their call and its sending.
const ON_THEIR_WAY_MAX: usize = 64;
/// How long a decision waits for them: a caller that does not get on must not stop reviewers.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Hands out the places on the way.
#[derive(Debug)]
pub(super) struct Pace(Arc<Semaphore>);

impl Default for Pace {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ON_THEIR_WAY_MAX)))
    }
}

impl Pace {
    /// A place for one more, as soon as there is one; `None` when there was none for too long.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.0.clone().try_acquire_owned() {
            return Some(place);
        }
        tokio::time::timeout(PAUSE_MAX, self.0.clone().acquire_owned()).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_decision_waits_for_a_place_but_not_for_ever() {
        let pace = Pace::default();
        let mut places = Vec::new();
        for _ in 0..ON_THEIR_WAY_MAX {
            places.push(pace.place().await.expect("there is room"));
        }
        let began = tokio::time::Instant::now();
        assert!(pace.place().await.is_none(), "nobody gets on");
        assert_eq!(began.elapsed(), PAUSE_MAX);
        let (next, ()) = tokio::join!(pace.place(), async { drop(places.pop()) });
        assert!(next.is_some(), "one got on");
        assert_eq!(began.elapsed(), PAUSE_MAX);
    }
}
