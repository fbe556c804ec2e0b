//! The pace of decisions in bulk: so many approved calls may be on their way to their upstream, and the next decision waits for one
//! to leave.
//!
//! Without it many approvals at once are decided first, all of them, and sent afterwards: the last call would be sent long after its
//! decision. A decision that somebody makes alone never waits.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

/// How many callers may be between the decision on their call and its sending.
const ON_THEIR_WAY_MAX: usize = 64;
/// How long the next decision waits when none of them gets on: they must not stop reviewers.
const STALL_MAX: Duration = Duration::from_millis(250);
/// How long a call that is being sent counts as on its way. An upstream that takes its time to answer is no reason to wait.
const SENDING_MAX: Duration = Duration::from_millis(250);

/// A call's place on its way, given back when it is dropped.
pub(super) type Place = OwnedSemaphorePermit;

/// Hands out the places on the way.
#[derive(Debug)]
pub(super) struct Pace {
    places: Arc<Semaphore>,
    /// Whose turn it is to wait for one: they come one after the other, and only who is next looks at the clock. Otherwise a moment in
    /// which nobody gets on would let all of them go at once, and after that nobody would get on any more.
    turn: Mutex<()>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(ON_THEIR_WAY_MAX)), turn: Mutex::new(()) }
    }
}

impl Pace {
    /// A place for one more, if there is one.
    pub(super) fn place_now(&self) -> Option<Place> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// A place for one more, as soon as there is one; `None` when nobody gets on.
    pub(super) async fn place(&self) -> Option<Place> {
        let _turn = self.turn.lock().await;
        tokio::time::timeout(STALL_MAX, self.places.clone().acquire_owned()).await.ok()?.ok()
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
        let free = || pace.places.available_permits();
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
    async fn decisions_wait_for_a_place_as_long_as_somebody_gets_on() {
        let pace = Pace::default();
        let mut places = Vec::new();
        for _ in 0..ON_THEIR_WAY_MAX {
            places.push(pace.place().await.expect("there is room"));
        }
        assert!(pace.place_now().is_none());
        let began = tokio::time::Instant::now();
        assert!(pace.place().await.is_none(), "nobody gets on");
        assert_eq!(began.elapsed(), STALL_MAX);

        // Of many that wait, one goes each time that nobody has got on.
        let gone = futures_util::future::join_all((0..10).map(|_| pace.place())).await;
        assert!(gone.iter().all(Option::is_none));
        assert_eq!(began.elapsed(), STALL_MAX * 11);

        // Each of ten waits for those before it, who get on one by one.
        let waiting = futures_util::future::join_all((0..10).map(|_| pace.place()));
        let leaving = async {
            for _ in 0..10 {
                tokio::time::sleep(STALL_MAX / 2).await;
                places.pop();
            }
        };
        let (given, ()) = tokio::join!(waiting, leaving);
        assert!(given.iter().all(Option::is_some));
        assert_eq!(began.elapsed(), STALL_MAX * 16);
    }
}
