//! An upstream and a gateway in front of it.

use serde_json::{Value, json};

use super::gateway::Gateway;
use super::home::Home;
use super::origin::Origin;
use super::people::{Agent, Reviewer, Waiting};
use super::wait::until;

/// The upstream, the folder and the running gateway. The gateway ends first.
#[derive(Debug)]
pub(crate) struct Rig {
    /// The running gateway.
    pub(crate) gateway: Gateway,
    /// Its folder.
    pub(crate) home: Home,
    /// What it forwards to.
    pub(crate) origin: Origin,
}

impl Rig {
    /// With the rig's policy.
    pub(crate) fn start() -> Self {
        Self::with(|home| home)
    }

    /// With a policy whose one rule parks `delete_repo` under these approval settings.
    pub(crate) fn parking(settings: &str) -> Self {
        Self::with(|home| home.policy(&gate_delete(settings)))
    }

    /// With whatever `adapt` makes of the home.
    pub(crate) fn with(adapt: impl FnOnce(Home) -> Home) -> Self {
        let origin = Origin::start();
        let home = adapt(Home::new(origin.address));
        let gateway = Gateway::start(&home);
        Self { gateway, home, origin }
    }

    /// The agent `bot`.
    pub(crate) fn bot(&self) -> Agent {
        self.gateway.agent("bot")
    }

    /// The reviewer `alice`, who is an admin.
    pub(crate) fn alice(&self) -> Reviewer {
        self.gateway.reviewer("alice")
    }

    /// A call of `bot` that needs approval, and the approval that it waits for.
    pub(crate) fn park(&self) -> (Waiting, String) {
        let waiting = self.bot().post("/tools/delete_repo", &repository()).start();
        (waiting, self.gateway.one_pending())
    }

    /// How often the gated tool ran.
    pub(crate) fn deletions(&self) -> usize {
        self.origin.count("/delete_repo")
    }

    /// Asserts that no request has reached the upstream.
    #[track_caller]
    pub(crate) fn nothing_was_sent(&self) {
        let hits = self.origin.hits();
        assert!(hits.is_empty(), "something was sent: {hits:?}");
    }

    /// Waits until the approval's call stands there.
    pub(crate) fn until_outcome(&self, id: &str, state: &str) -> Value {
        let alice = self.alice();
        until(&format!("{id} is {state}"), || {
            let approval = alice.approval(id);
            (approval["outcome"]["state"] == state).then_some(approval)
        })
    }

    /// Waits until nobody waits for the approval any more.
    pub(crate) fn until_caller_left(&self, id: &str) {
        let alice = self.alice();
        until("the caller's leaving is known", || (alice.approval(id)["caller"]["waiting"] == 0).then_some(()));
    }
}

/// What the gated call of the tests says.
pub(crate) fn repository() -> Value {
    json!({ "repo": "acme/website", "force": false })
}

/// A policy whose one rule parks `delete_repo` under these approval settings.
pub(crate) fn gate_delete(settings: &str) -> String {
    format!(
        "version: 1\ndefault: block\nrules:\n  - id: gate-delete\n    match: delete_repo\n    action: require_approval\n    \
         reason: Deleting needs a second pair of eyes.\n    approval: {{ {settings} }}\n  - {{ id: safe, match: \"safe_*\", action: allow }}\n"
    )
}
