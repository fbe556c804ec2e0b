//! Turns: where the order of things is chosen from outside, each of them waits here until it is chosen.

use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

/// Those who wait for their turn. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<Vec<Waiting>>>);

struct Waiting {
    name: String,
    /// Whether it goes last where nothing else is chosen: it comes from outside the gateways, at any time.
    last: bool,
    go: oneshot::Sender<()>,
}

impl Turns {
    /// Waits until it is chosen; in the order of coming where nothing else is chosen.
    pub(crate) async fn wait(&self, name: impl Into<String>) {
        self.queue(name.into(), false).await;
    }

    /// Waits until it is chosen, behind all that do not wait so.
    pub(crate) async fn wait_last(&self, name: impl Into<String>) {
        self.queue(name.into(), true).await;
    }

    async fn queue(&self, name: String, last: bool) {
        let (go, told) = oneshot::channel();
        {
            let mut all = self.0.lock().expect("no panic while waiting");
            let place = if last { all.len() } else { all.partition_point(|waiting| !waiting.last) };
            all.insert(place, Waiting { name, last, go });
        }
        // Whoever is never chosen waits for ever.
        if told.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Forgets those who do not wait any more; how many are left.
    pub(crate) fn waiting(&self) -> usize {
        let mut all = self.0.lock().expect("no panic while waiting");
        all.retain(|waiting| !waiting.go.is_closed());
        all.len()
    }

    /// Whether the next one is one of the gateways' own.
    pub(crate) fn has_step(&self) -> bool {
        self.0.lock().expect("no panic while waiting").first().is_some_and(|first| !first.last)
    }

    /// Lets one of them go on; its name.
    pub(crate) fn choose(&self, place: usize) -> String {
        let Waiting { name, go, .. } = self.0.lock().expect("no panic while waiting").remove(place);
        go.send(()).expect("it was still waiting a moment ago");
        name
    }
}
