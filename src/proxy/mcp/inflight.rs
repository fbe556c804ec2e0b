//! The held calls of this process by who made them, so that a `notifications/cancelled` finds the one it means.

use std::sync::Arc;

use dashmap::DashMap;
use tokio_util::sync::CancellationToken;

use crate::domain::identity::AgentId;
use crate::protocol::mcp::Id;

/// Ids of requests are unique within one session of one client only.
type Key = (AgentId, String, Vec<u8>, Id);

/// The held calls. Callers without sessions share one agent's ids, so that several calls may have the same key.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight {
    held: Arc<DashMap<Key, Vec<Arc<CancellationToken>>>>,
}

/// A held call that can be taken back. Dropping it forgets it.
#[derive(Debug)]
pub(super) struct Cancellable {
    key: Key,
    token: Arc<CancellationToken>,
    all: InFlight,
}

impl InFlight {
    /// Notes a held call.
    pub(super) fn note(&self, agent: &AgentId, upstream: &str, session: &[u8], id: &Id) -> Cancellable {
        let key = (agent.clone(), upstream.to_owned(), session.to_vec(), id.clone());
        let token = Arc::new(CancellationToken::new());
        self.held.entry(key.clone()).or_default().push(token.clone());
        Cancellable { key, token, all: self.clone() }
    }

    /// Takes a held call back; `false` when there is none such, or several: nobody's call is taken back on a guess.
    pub(super) fn cancel(&self, agent: &AgentId, upstream: &str, session: &[u8], id: &Id) -> bool {
        let key = (agent.clone(), upstream.to_owned(), session.to_vec(), id.clone());
        match self.held.remove_if(&key, |_, tokens| tokens.len() == 1) {
            Some((_, tokens)) => {
                tokens.iter().for_each(|token| token.cancel());
                true
            }
            None => false,
        }
    }
}

impl Cancellable {
    /// Returns when the caller has taken the call back.
    pub(super) async fn cancelled(&self) {
        self.token.cancelled().await;
    }

    /// The call is being sent: from now on a cancellation is the upstream's matter.
    pub(super) fn forget(&self) {
        self.all.held.remove_if_mut(&self.key, |_, tokens| {
            tokens.retain(|token| !Arc::ptr_eq(token, &self.token));
            tokens.is_empty()
        });
    }
}

impl Drop for Cancellable {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::value::Value;

    fn id(text: &str) -> Id {
        Id::of(&Value::String(text.to_owned().into())).expect("an id")
    }

    #[test]
    fn only_the_same_callers_call_is_taken_back() {
        let (all, agent, other) = (InFlight::default(), AgentId("a".into()), AgentId("b".into()));
        let held = all.note(&agent, "github", b"s1", &id("1"));
        assert!(!all.cancel(&other, "github", b"s1", &id("1")));
        assert!(!all.cancel(&agent, "gitlab", b"s1", &id("1")));
        assert!(!all.cancel(&agent, "github", b"s2", &id("1")));
        assert!(!all.cancel(&agent, "github", b"s1", &id("2")));
        assert!(!held.token.is_cancelled());
        assert!(all.cancel(&agent, "github", b"s1", &id("1")));
        assert!(held.token.is_cancelled());
    }

    #[test]
    fn of_two_calls_under_one_id_none_is_taken_back_on_a_guess() {
        let (all, agent) = (InFlight::default(), AgentId("a".into()));
        let (first, second) = (all.note(&agent, "github", b"", &id("1")), all.note(&agent, "github", b"", &id("1")));
        assert!(!all.cancel(&agent, "github", b"", &id("1")));
        assert!(!first.token.is_cancelled() && !second.token.is_cancelled());
        // The one that ends takes nothing of the other with it.
        drop(first);
        assert!(all.cancel(&agent, "github", b"", &id("1")));
        assert!(second.token.is_cancelled());
        drop(second);
        assert!(all.held.is_empty());
    }

    #[test]
    fn a_call_that_is_answered_is_forgotten() {
        let (all, agent) = (InFlight::default(), AgentId("a".into()));
        drop(all.note(&agent, "github", b"", &id("1")));
        assert!(!all.cancel(&agent, "github", b"", &id("1")));
        assert!(all.held.is_empty());
    }
}
