//! The pace of decisions: so many approved calls may be on their way to their upstream, and the next decision waits for one to leave.
//!
//! Without it many approvals at once are decided first, all of them, and sent afterwards: the last call would be sent long after its
//! decision, and under a policy and to an upstream that nobody looked at when deciding.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many callers may be between the decision on their call and its sending.
const ON_THEIR_WAY_MAX: usize = 64;
/// How long a decision waits for them: a caller that does not get on must not stop reviewers.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// How long a call that is being sent counts as on its way. An upstream that takes its time to answer is no reason to wait.
const SENDING_MAX: Duration = Duration::from_millis(250);

/// A call's place on its way, given back when it is dropped.
pub(super) type Place = OwnedSemaphorePermit;

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
    pub(super) async fn place(&self) -> Option<Place> {
        if let Ok(place) = self.0.clone().try_acquire_owned() {
            return Some(place);
        }
        tokio::time::timeout(PAUSE_MAX, self.0.clone().acquire_owned()).await.ok()?.ok()
    }
}

/// Carries out `sending`, and gives the place back when that is done or has become a matter of the upstream.
pub(super) async fn until_sent<T>(place: Option<Place>, sending: impl Future<Output = T>) -> T {
    let mut sending = pin!(sending);
    if place.is_some()
        && let Ok(sent) = tokio::time::timeout(SENDING_MAX, sending.as_mut()).await
    {
        return sent;
    }
    drop(place);
    sending.await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_upstream_keeps_no_place() {
        let pace = Pace::default();
        let free = || pace.0.available_permits();
        let slow = until_sent(pace.place().await, tokio::time::sleep(2 * SENDING_MAX));
        let looks = async {
            tokio::time::sleep(SENDING_MAX / 2).await;
            let before = free();
            tokio::time::sleep(SENDING_MAX).await;
            (before, free())
        };
        let ((), (before, after)) = tokio::join!(slow, looks);
        assert_eq!((before, after), (ON_THEIR_WAY_MAX - 1, ON_THEIR_WAY_MAX));
    }

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
