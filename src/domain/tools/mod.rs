//! Tool definitions of MCP upstreams, and what becomes of them when an upstream changes one.
//!
//! A model acts on a tool's description and schema, so a server that changes them after people came to trust the tool changes what
//! the tool is. The gateway remembers each definition by its digest. What an upstream listed first is the baseline and accepted; what
//! is new or different later stands as such until somebody accepts it.
//!
//! It deliberately does not judge whether a definition is good, and does not compare definitions of different upstreams.

mod annotations;
mod definition;
pub mod diff;
mod standing;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use annotations::{Annotations, Claims};
pub use definition::{DEFINITION_BYTES_MAX, Definition, DefinitionDigest, LEFT_OUT, ListedTool, PREVIEW_BYTES};
pub use standing::{Acceptance, AcceptedBy, Acceptor, Page, Tool, Trust, accept, listed};

use diff::Diff;

/// How many tools of one upstream are remembered; a list that goes beyond is refused whole.
pub const TOOLS_PER_UPSTREAM_MAX: usize = 1_000;

/// What happens to a call of a tool whose definition is new or changed. The default asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnToolChange {
    /// The call is parked, unless policy blocks it; approving it accepts the definition that was shown.
    #[default]
    RequireApproval,
    /// Policy alone judges the call; the change is written down and listed.
    Allow,
    /// The call is blocked until an admin accepts the definition.
    Block,
}

/// What a definition is to the gateway, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StandingName {
    /// It is the baseline, or somebody accepted it.
    Accepted,
    /// The upstream did not have this tool when the baseline was taken, and nobody has accepted it.
    New,
    /// It differs from the one that was accepted.
    Changed,
}

impl StandingName {
    /// The name used in the store, the API and the trail.
    pub const fn as_str(self) -> &'static str {
        match self {
            StandingName::Accepted => "accepted",
            StandingName::New => "new",
            StandingName::Changed => "changed",
        }
    }
}

/// What a call is told about the definition of its tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The upstream has not listed the tool. A call of it is judged by policy alone, as before any list was seen.
    Unlisted,
    /// The definition is accepted.
    Accepted,
    /// The definition is new or changed, and nobody has accepted it.
    Unaccepted(Arc<ToolChange>),
}

/// A definition that nobody has accepted, and how it differs from the one that was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToolChange {
    /// The tool, as the upstream calls it.
    pub name: String,
    /// Whether it is new or changed.
    pub standing: StandingName,
    /// The digest of the definition.
    pub digest: DefinitionDigest,
    /// What is different.
    pub diff: Diff,
}

/// The tool of an MCP call, kept with its approval: its definition must be the same one when the call is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalledTool {
    /// The tool, as the upstream calls it.
    pub name: String,
    /// The unaccepted definition that the reviewer is shown; `None` when it was accepted, or not listed, as the call was parked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<ShownDefinition>,
}

/// An unaccepted definition as it is shown with a parked call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownDefinition {
    /// Which definition.
    pub digest: DefinitionDigest,
    /// Whether all that is different is shown. Approving the call accepts the definition only then.
    pub whole: bool,
}

impl CalledTool {
    /// The tool of a call that is being parked.
    pub fn new(name: &str, standing: &Standing) -> Self {
        let shown = match standing {
            Standing::Unlisted | Standing::Accepted => None,
            Standing::Unaccepted(change) => {
                Some(ShownDefinition { digest: change.digest, whole: change.diff.is_whole() })
            }
        };
        Self { name: name.to_owned(), shown }
    }

    /// The definition that an approval of the call accepts.
    pub fn accepts(&self) -> Option<DefinitionDigest> {
        self.shown.filter(|shown| shown.whole).map(|shown| shown.digest)
    }

    /// Why the call may not be sent although it was approved: its definition is none that the reviewer was shown.
    pub fn objection(&self, now: &Standing, on_change: OnToolChange) -> Option<&'static str> {
        match (now, on_change) {
            (Standing::Unlisted | Standing::Accepted, _) | (Standing::Unaccepted(_), OnToolChange::Allow) => None,
            (Standing::Unaccepted(_), OnToolChange::Block) => Some(CHANGED),
            (Standing::Unaccepted(change), OnToolChange::RequireApproval) => {
                let seen = self.shown.is_some_and(|shown| shown.digest == change.digest);
                (!seen).then_some("the definition of this tool changed after the call was parked; the call asks anew")
            }
        }
    }
}

/// The reason of the reserved rule.
pub const CHANGED: &str = "the definition of this tool changed";
/// The id of the rule under which calls of changed tools are parked and blocked. No rule of a policy may have it.
pub const TOOL_CHANGE_RULE: &str = "tool-change";

#[cfg(test)]
mod tests;
