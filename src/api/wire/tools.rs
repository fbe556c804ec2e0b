//! Tools over the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::time::Timestamp;
use crate::domain::tools::diff::Diff;
use crate::domain::tools::{self, Acceptor, StandingName};

/// A tool of an MCP upstream, as it was listed last.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Tool {
    /// The upstream.
    pub upstream: String,
    /// The tool, as the upstream calls it.
    pub name: String,
    /// `accepted`, `new` or `changed`.
    pub standing: StandingName,
    /// SHA-256 over the canonical form of the definition, in hexadecimal.
    pub digest: String,
    /// When the tool was first listed.
    #[schemars(with = "String")]
    pub first_seen: Timestamp,
    /// When this definition was first listed.
    #[schemars(with = "String")]
    pub changed_at: Timestamp,
    /// Who last accepted a definition of this tool; null when nobody has.
    pub accepted_by: Option<AcceptedBy>,
}

/// Who accepted a definition.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AcceptedBy {
    /// `baseline`: it was there when the upstream was first listed. `reviewer`: a person.
    pub kind: &'static str,
    /// The reviewer's id; null for the baseline.
    pub id: Option<String>,
    /// When.
    #[schemars(with = "String")]
    pub at: Timestamp,
}

/// A page of tools.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ToolList {
    /// By upstream and name.
    pub tools: Vec<Tool>,
    /// Send it as `cursor`, with the same filters, for the next page; null at the end.
    pub next_cursor: Option<String>,
    /// How many tools have a definition that nobody has accepted, over all upstreams.
    pub unaccepted: usize,
}

/// A tool with its definitions.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ToolDetail {
    /// The tool.
    #[serde(flatten)]
    pub tool: Tool,
    /// What the upstream lists.
    pub current: Definition,
    /// What was accepted, where that is another one.
    pub accepted: Option<Definition>,
    /// What is different; null when the current definition is accepted. For a new tool, everything.
    pub diff: Option<Diff>,
}

/// A definition.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Definition {
    /// SHA-256 over its canonical form, in hexadecimal.
    pub digest: String,
    /// The length of its canonical form.
    pub bytes: u64,
    /// The definition without `_meta` and `icons`, keys in order; null when it is too large to be kept.
    #[schemars(with = "Option<serde_json::Value>")]
    pub definition: Option<Box<RawValue>>,
    /// Its beginning, when it is too large to be kept.
    pub beginning: Option<String>,
}

/// Accepts a definition.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptTool {
    /// The digest of the definition that was looked at, in hexadecimal.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub digest: String,
}

impl Tool {
    /// The view of a tool.
    pub fn new(tool: &tools::Tool) -> Self {
        Self {
            upstream: tool.upstream.clone(),
            name: tool.name.clone(),
            standing: tool.standing(),
            digest: tool.current.digest.to_string(),
            first_seen: tool.first_seen,
            changed_at: tool.changed_at,
            accepted_by: tool.accepted_by().map(AcceptedBy::new),
        }
    }
}

impl AcceptedBy {
    fn new(by: &tools::AcceptedBy) -> Self {
        let (kind, id) = match &by.who {
            Acceptor::Baseline => ("baseline", None),
            Acceptor::Reviewer(id) => ("reviewer", Some(id.clone())),
        };
        Self { kind, id, at: by.at }
    }
}

impl Definition {
    /// The view of a definition.
    pub fn new(definition: &tools::Definition) -> Self {
        let whole = definition.is_whole().then(|| RawValue::from_string(definition.text.clone()).ok()).flatten();
        Self {
            digest: definition.digest.to_string(),
            bytes: definition.bytes,
            beginning: whole.is_none().then(|| definition.text.clone()),
            definition: whole,
        }
    }
}
