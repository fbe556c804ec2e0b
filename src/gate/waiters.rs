//! Who waits in this process for which approval.
//!
//! A wake-up is only a hint: the row in the store is the truth, and whoever is woken (or times out polling) reads it again.
//! Of several who wait for one approval, whoever came first is woken first. No guard is ever handed out, so none can be held
//! across an await. `tests/simulation/wakeups.rs` runs this file under a scheduler that tries interleavings.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::sync::OwnedSemaphorePermit;

use super::sync::{Mutex, MutexGuard, PoisonError};
use crate::domain::id::ApprovalId;

/// The live waiters of this process.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiters {
    channels: Arc<Mutex<HashMap<ApprovalId, Channel>>>,
}

#[derive(Debug, Default)]
struct Channel {
    /// How often this approval was told to look again.
    wakes: u64,
    /// The place of the last who came.
    newest: u64,
    /// Everyone who waits by place, oldest first, and how to wake those who sleep.
    waiting: Vec<(u64, Option<Waker>)>,
    /// The place that the call has on its way to the upstream, until nobody waits any more.
    place_on_the_way: Option<OwnedSemaphorePermit>,
}

/// One who waits. Dropping it unsubscribes.
#[derive(Debug)]
pub(super) struct Waiter {
    id: ApprovalId,
    place: u64,
    /// The wakes that were seen.
    seen: u64,
    waiters: Waiters,
}

impl Waiters {
    /// Begins to listen. Subscribe first, then read the store: a decision between the two still wakes.
    pub(super) fn subscribe(&self, id: ApprovalId) -> Waiter {
        let mut channels = self.lock();
        let channel = channels.entry(id).or_default();
        channel.newest += 1;
        let (place, seen) = (channel.newest, channel.wakes);
        channel.waiting.push((place, None));
        Waiter { id, place, seen, waiters: self.clone() }
    }

    /// Tells everyone who waits for `id` to look again.
    pub(super) fn wake(&self, id: ApprovalId) {
        let mut channels = self.lock();
        let Some(channel) = channels.get_mut(&id) else { return };
        channel.wakes += 1;
        let sleeping: Vec<Waker> = channel.waiting.iter_mut().filter_map(|(_, waker)| waker.take()).collect();
        // A waker runs code of others.
        drop(channels);
        sleeping.into_iter().for_each(Waker::wake);
    }

    /// Keeps `place` until those who wait for `id` have got on; gives it back at once when nobody does.
    pub(super) fn on_their_way(&self, id: ApprovalId, place: OwnedSemaphorePermit) {
        let mut channels = self.lock();
        let unused = match channels.get_mut(&id) {
            Some(channel) => channel.place_on_the_way.replace(place),
            None => Some(place),
        };
        drop(channels);
        // Giving a place back wakes whoever waits for one.
        drop(unused);
    }

    /// How many approvals somebody waits for.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ApprovalId, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Returns when the approval may have changed since the last call, or never.
    pub(super) async fn woken(&mut self) {
        std::future::poll_fn(|cx| self.poll_woken(cx)).await;
    }

    fn poll_woken(&mut self, cx: &Context<'_>) -> Poll<()> {
        let mut channels = self.waiters.channels.lock().unwrap_or_else(PoisonError::into_inner);
        // The channel lives as long as one who waits on it; waiting for ever is safe because every caller polls beneath this.
        let Some(channel) = channels.get_mut(&self.id) else { return Poll::Pending };
        if channel.wakes != self.seen {
            self.seen = channel.wakes;
            return Poll::Ready(());
        }
        let mine = channel.waiting.iter_mut().find(|(place, _)| *place == self.place);
        let before = mine.and_then(|(_, waker)| waker.replace(cx.waker().clone()));
        drop(channels);
        // Dropping a waker may run code of others.
        drop(before);
        Poll::Pending
    }

    /// The call's place on its way, for whoever sends it.
    pub(super) fn place_on_the_way(&self) -> Option<OwnedSemaphorePermit> {
        self.waiters.lock().get_mut(&self.id).and_then(|channel| channel.place_on_the_way.take())
    }

    /// Whether nobody came after this one. Of several who wait for one permit the last is the likeliest to be still there.
    pub(super) fn is_newest(&self) -> bool {
        self.waiters.lock().get(&self.id).is_none_or(|channel| channel.newest == self.place)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut channels = self.waiters.lock();
        let Some(channel) = channels.get_mut(&self.id) else { return };
        let gone = channel.waiting.iter().position(|(place, _)| *place == self.place);
        let waker = gone.map(|at| channel.waiting.remove(at));
        let last = channel.waiting.is_empty().then(|| channels.remove(&self.id));
        drop(channels);
        drop((waker, last));
    }
}
