//! Who acts. An identity is what authentication established, never what a body says.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The configured id of an agent, for example `support-bot`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AgentId(pub String);

impl AgentId {
    /// The agent that stands for callers without a credential, where the configuration admits them.
    pub const ANONYMOUS: &'static str = "anonymous";
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A person who may decide, with what they may decide for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reviewer {
    /// The configured id, for example `alice`.
    pub id: String,
    /// The groups that the person belongs to.
    pub groups: Vec<String>,
    /// Whether policy, audit and tokens are open to the person as well.
    pub role: ReviewerRole,
}

/// What a reviewer may do beyond deciding. The default is the lesser right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReviewerRole {
    /// Sees and decides.
    #[default]
    Reviewer,
    /// Also sees policy and audit.
    Admin,
}

/// Whoever sent a request, as authentication established it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// An agent.
    Agent(AgentId),
    /// A reviewer or an admin.
    Reviewer(Reviewer),
    /// A scraper of metrics.
    Metrics,
}

/// By what way a reviewer signed in and decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// The API, with a bearer token.
    Api,
    /// The page, with a session.
    Dashboard,
}

impl Channel {
    /// The name used in metrics and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Channel::Api => "api",
            Channel::Dashboard => "dashboard",
        }
    }
}
