//! What the store is asked about tool definitions, and what it answers.

use crate::domain::tools::{DefinitionDigest, ListedTool, Page, StandingName, Tool};

/// A list of tools, or a page of one, on its way in.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The upstream's configured name.
    pub upstream: String,
    /// Which part of the list it is.
    pub page: Page,
    /// The entries; no name twice.
    pub tools: Vec<ListedTool>,
    /// How many tools of one upstream are kept.
    pub tools_max: usize,
}

/// What became of a [`Listing`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// It is written down.
    Known {
        /// Every tool of the listing as it stands now.
        tools: Vec<Tool>,
        /// How many of them were not known, or not so.
        changes: usize,
        /// Whether the upstream's first list is still being read.
        baseline_open: bool,
    },
    /// The upstream would have more tools than are kept; nothing was written.
    Full,
}

/// An upstream that was listed before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUpstream {
    /// Its configured name.
    pub name: String,
    /// Whether its first list is still being read.
    pub baseline_open: bool,
}

/// A definition that a reviewer accepts.
#[derive(Debug, Clone)]
pub struct AcceptTool {
    /// The upstream's configured name.
    pub upstream: String,
    /// The tool.
    pub name: String,
    /// The definition that the reviewer saw.
    pub digest: DefinitionDigest,
    /// Who accepts it, as authenticated.
    pub reviewer: String,
}

/// What became of an [`AcceptTool`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolAccepted {
    /// It is accepted, and on disk.
    Changed(Tool),
    /// It was accepted already.
    Same(Tool),
    /// The upstream lists another definition by now; nothing was accepted.
    NotCurrent(Tool),
    /// There is no such tool.
    Missing,
}

/// Which tools. Absent means any.
#[derive(Debug, Clone, Default)]
pub struct ToolFilter {
    /// The upstream.
    pub upstream: Option<String>,
    /// Any of these; empty means any.
    pub standings: Vec<StandingName>,
}

/// A page of tools, by upstream and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolPage {
    /// At most the limit.
    pub tools: Vec<Tool>,
    /// Where the next page starts: after this upstream and name. `None` at the end.
    pub next: Option<(String, String)>,
}
