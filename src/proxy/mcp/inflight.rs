//! The held calls of this process by who made them, so that a `notifications/cancelled` finds the one it means.

use std::sync::Arc;

use dashmap::DashMap;
use tokio_util::sync::CancellationToken;

use crate::domain::identity::AgentId;
use crate::protocol::mcp::Id;

/// Ids of requests are unique within one session of one client only.
type Key = (AgentId, String, Vec<u8>, Id);

/// The held calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight {
    held: Arc<DashMap<Key, CancellationToken>>,
}

/// A held call that can be taken back. Dropping it forgets it.
#[derive(Debug)]
pub(super) struct Cancellable {
    key: Key,
    token: CancellationToken,
    all: InFlight,
}

impl InFlight {
    /// Notes a held call.
    pub(super) fn note(&self, agent: &AgentId, upstream: &str, session: &[u8], id: &Id) -> Cancellable {
        let key = (agent.clone(), upstream.to_owned(), session.to_vec(), id.clone());
        let token = CancellationToken::new();
        self.held.insert(key.clone(), token.clone());
        Cancellable { key, token, all: self.clone() }
    }

    /// Takes a held call back; `false` when there is none such.
    pub(super) fn cancel(&self, agent: &AgentId, upstream: &str, session: &[u8], id: &Id) -> bool {
        let key = (agent.clone(), upstream.to_owned(), session.to_vec(), id.clone());
        match self.held.remove(&key) {
            Some((_, token)) => {
                token.cancel();
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
        self.all.held.remove(&self.key);
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
    fn a_call_that_is_answered_is_forgotten() {
        let (all, agent) = (InFlight::default(), AgentId("a".into()));
        drop(all.note(&agent, "github", b"", &id("1")));
        assert!(!all.cancel(&agent, "github", b"", &id("1")));
        assert!(all.held.is_empty());
    }
}
