//! Turns: where the order of things is chosen from outside, each of them waits here until it is chosen.

use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

/// Those who wait for their turn, in the order in which they came. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<Vec<(String, oneshot::Sender<()>)>>>);

impl Turns {
    /// Waits until it is chosen.
    pub(crate) async fn wait(&self, name: impl Into<String>) {
        let (sender, receiver) = oneshot::channel();
        self.0.lock().expect("no panic while waiting").push((name.into(), sender));
        // Whoever is never chosen waits for ever.
        if receiver.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Forgets those who do not wait any more; how many are left.
    pub(crate) fn waiting(&self) -> usize {
        let mut all = self.0.lock().expect("no panic while waiting");
        all.retain(|(_, sender)| !sender.is_closed());
        all.len()
    }

    /// Lets one of them go on; its name.
    pub(crate) fn choose(&self, place: usize) -> String {
        let (name, sender) = self.0.lock().expect("no panic while waiting").remove(place);
        sender.send(()).expect("it was still waiting a moment ago");
        name
    }
}
