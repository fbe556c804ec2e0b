//! Who waits in this process for which approval.
//!
//! A wake-up is only a hint: the row in the store is the truth, and whoever is woken (or times out polling) reads it again.
//! No guard of the map is ever handed out, so none can be held across an await.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::watch;

use crate::domain::id::ApprovalId;

/// The live waiters of this process.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiters {
    channels: Arc<DashMap<ApprovalId, Channel>>,
}

#[derive(Debug)]
struct Channel {
    sender: watch::Sender<u64>,
    /// The place of the last who came.
    newest: u64,
}

/// One who waits. Dropping it unsubscribes.
#[derive(Debug)]
pub(super) struct Waiter {
    id: ApprovalId,
    receiver: Option<watch::Receiver<u64>>,
    place: u64,
    waiters: Waiters,
}

impl Waiters {
    /// Begins to listen. Subscribe first, then read the store: a decision between the two still wakes.
    pub(super) fn subscribe(&self, id: ApprovalId) -> Waiter {
        let mut channel = self.channels.entry(id).or_insert_with(|| Channel { sender: watch::channel(0).0, newest: 0 });
        channel.newest += 1;
        let (receiver, place) = (channel.sender.subscribe(), channel.newest);
        drop(channel);
        Waiter { id, receiver: Some(receiver), place, waiters: self.clone() }
    }

    /// Tells everyone who waits for `id` to look again.
    pub(super) fn wake(&self, id: ApprovalId) {
        if let Some(channel) = self.channels.get(&id) {
            channel.sender.send_modify(|count| *count += 1);
        }
    }

    /// How many approvals somebody waits for.
    #[cfg(test)]
    fn count(&self) -> usize {
        self.channels.len()
    }
}

impl Waiter {
    /// Returns when the approval may have changed since the last call, or never.
    pub(super) async fn woken(&mut self) {
        match &mut self.receiver {
            // The sender lives in the map until the last waiter has gone, so an error cannot be; waiting for ever is safe
            // because every caller polls beneath this.
            Some(receiver) => {
                if receiver.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            None => std::future::pending::<()>().await,
        }
    }

    /// Whether nobody came after this one. Of several who wait for one permit the last is the likeliest to be still there.
    pub(super) fn is_newest(&self) -> bool {
        self.waiters.channels.get(&self.id).is_none_or(|channel| channel.newest == self.place)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.receiver = None;
        self.waiters.channels.remove_if(&self.id, |_, channel| channel.sender.receiver_count() == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    fn id(n: u8) -> ApprovalId {
        ApprovalId::new(Timestamp::from_millis(1), [n; 16])
    }

    #[tokio::test]
    async fn a_wake_between_subscribing_and_waiting_is_not_lost() {
        let waiters = Waiters::default();
        let mut waiter = waiters.subscribe(id(1));
        waiters.wake(id(1));
        tokio::time::timeout(std::time::Duration::from_secs(5), waiter.woken()).await.expect("woken");
    }

    #[tokio::test]
    async fn waking_one_approval_wakes_no_other() {
        let waiters = Waiters::default();
        let mut other = waiters.subscribe(id(2));
        waiters.wake(id(1));
        let woken = tokio::time::timeout(std::time::Duration::from_millis(20), other.woken()).await;
        assert!(woken.is_err());
    }

    #[test]
    fn the_last_who_came_is_the_newest() {
        let waiters = Waiters::default();
        let (first, second) = (waiters.subscribe(id(1)), waiters.subscribe(id(1)));
        assert_eq!((first.is_newest(), second.is_newest()), (false, true));
    }

    #[test]
    fn the_map_is_empty_when_everyone_has_gone() {
        let waiters = Waiters::default();
        let (first, second) = (waiters.subscribe(id(1)), waiters.subscribe(id(1)));
        drop(first);
        assert_eq!(waiters.count(), 1);
        drop(second);
        assert_eq!(waiters.count(), 0);
    }
}
