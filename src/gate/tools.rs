//! Tool definitions: what upstreams list, what a call is told of its tool, who accepts a definition.
//!
//! The rows in the store are the truth. What a call is told comes from memory, which follows the store: it is loaded at start and
//! takes in a change after its commit, each row by its version, so that the order in which commits are told does not matter. Every
//! way in which it can lag behind asks once too often, never too rarely, but for the moment between a list's commit and the list
//! itself, which the agent gets after both.

mod memory;

use std::collections::{HashMap, HashSet};

use crate::domain::approval::{Approval, Execution, State};
use crate::domain::identity::Reviewer;
use crate::domain::tools::diff::{Diff, Part, diff};
use crate::domain::tools::{
    Annotations, Claims, Definition, DefinitionDigest, ListedTool, OnToolChange, Page, Standing,
    TOOLS_PER_UPSTREAM_MAX, Tool, ToolChange,
};
use crate::domain::value::Value;
use crate::protocol::json;
use crate::store::tools::{AcceptTool, Listed, Listing, ToolAccepted, ToolFilter};

use super::{Error, Gate};

pub use memory::TOOL_CHANGES_PER_MINUTE_MAX;
pub(super) use memory::ToolMemory;

/// How many tools are read at a time when memory is loaded.
const LOAD_BATCH: u32 = 100;

/// Why a list of tools is not taken: it must not be passed on then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListRefused {
    /// The upstream has more tools, those it listed earlier included, than are remembered.
    #[error("the upstream `{0}` has listed more than {TOOLS_PER_UPSTREAM_MAX} different tools")]
    TooMany(String),
    /// One list names a tool twice, and two readers could take different ones.
    #[error("the upstream lists the tool `{0}` twice")]
    Twice(String),
    /// Definitions change faster than they are written down.
    #[error("more than {TOOL_CHANGES_PER_MINUTE_MAX} tool definitions changed within a minute")]
    TooOften,
}

/// How the definition that nobody has accepted differs from the one that was; `None` when it is accepted.
pub fn change_of(tool: &Tool) -> Option<ToolChange> {
    let (standing, digest) = (tool.standing(), tool.current.digest);
    if tool.accepted_before().is_none() && tool.accepted_by().is_some() {
        return None;
    }
    Some(ToolChange { name: tool.name.clone(), standing, digest, diff: compare(tool.accepted_before(), &tool.current) })
}

/// Compares two definitions value by value, or as texts where one of them is not kept whole.
fn compare(before: Option<&Definition>, after: &Definition) -> Diff {
    match (before.map(read), read(after)) {
        (None, Some(new)) => diff(None, &new),
        (Some(Some(old)), Some(new)) => diff(Some(&old), &new),
        (Some(None), _) | (_, None) => Diff::of_parts(before.map(part), part(after)),
    }
}

/// The definition as values; `None` when it is not kept whole. It was written by the gateway, so its length is the only limit.
fn read(definition: &Definition) -> Option<Value<'_>> {
    let limits = json::Limits {
        depth: u8::MAX,
        key_bytes: definition.text.len(),
        folded_chars: usize::MAX,
        ..json::Limits::default()
    };
    definition.is_whole().then(|| json::read(definition.text.as_bytes(), &limits).ok()).flatten()
}

/// What a tool's definition claims.
fn claims(tool: &Tool) -> Claims {
    Annotations::of(&tool.current, read).map_or(Claims::Unknown, Claims::Listed)
}

fn part(definition: &Definition) -> Part<'_> {
    Part { text: &definition.text, bytes: definition.bytes, is_whole: definition.is_whole() }
}

impl Gate {
    /// Takes a whole list of an upstream's tools, as [`Gate::tools_page_listed`] does.
    pub async fn tools_listed(&self, upstream: &str, tools: Vec<ListedTool>) -> Result<(), Error> {
        self.tools_page_listed(upstream, Page::WHOLE, tools).await
    }

    /// Takes a list of an upstream's tools, or a page of one, before it is passed on. When it returns, calls are judged by it and what
    /// is new in it is on disk. A list that says nothing new costs a look-up for each tool and writes nothing.
    ///
    /// # Errors
    /// When it cannot be written down, or is none to be taken ([`ListRefused`]): it must not be passed on then.
    pub async fn tools_page_listed(&self, upstream: &str, page: Page, tools: Vec<ListedTool>) -> Result<(), Error> {
        let mut names = HashSet::new();
        if let Some(twin) = tools.iter().find(|tool| !names.insert(tool.name.as_str())) {
            return Err(ListRefused::Twice(twin.name.clone()).into());
        }
        if tools.len() > TOOLS_PER_UPSTREAM_MAX {
            return Err(ListRefused::TooMany(upstream.to_owned()).into());
        }
        let memory = &self.inner.tools;
        let (news, baseline_ends) = {
            let known = memory.known();
            let is_news = |tool: &ListedTool| !known.is_known(upstream, tool);
            // Nothing is known of the upstream, or this is the last page of its first list.
            let ends = known.baseline_open(upstream).is_none_or(|open| open && page.continues && !page.more);
            (tools.into_iter().filter(is_news).collect::<Vec<_>>(), ends)
        };
        if news.is_empty() && !baseline_ends {
            return Ok(());
        }
        if !memory.admit(self.now(), news.len()) {
            return Err(ListRefused::TooOften.into());
        }
        let listing = Listing { upstream: upstream.to_owned(), page, tools: news, tools_max: TOOLS_PER_UPSTREAM_MAX };
        let gate = self.clone();
        self.to_its_end(async move { gate.write_listing(listing).await }).await
    }

    async fn write_listing(&self, listing: Listing) -> Result<(), Error> {
        let upstream = listing.upstream.clone();
        match self.store().list_tools(listing, self.now()).await? {
            Listed::Known { tools, changes, baseline_open } => {
                self.inner.tools.follow(&tools, &[(upstream.clone(), baseline_open)]);
                if changes > 0 {
                    self.grown();
                    let unaccepted = tools.iter().filter(|tool| change_of(tool).is_some()).count();
                    tracing::info!(upstream, changes, unaccepted, "an upstream's tool definitions were taken");
                }
                Ok(())
            }
            Listed::Full => Err(ListRefused::TooMany(upstream).into()),
        }
    }

    /// What is known of a tool's definition at this moment: one look-up in memory. `tool` is its name as the upstream calls it.
    pub fn tool_standing(&self, upstream: &str, tool: &str) -> Standing {
        self.inner.tools.known().standing(upstream, tool)
    }

    /// What is known of a tool's definition and what its upstream claims about it at this moment: one look-up in memory.
    pub fn tool_known(&self, upstream: &str, tool: &str) -> (Standing, Claims) {
        self.inner.tools.known().standing_and_claims(upstream, tool)
    }

    /// What an upstream claims about its tool at this moment: one look-up in memory.
    pub fn tool_claims(&self, upstream: &str, tool: &str) -> Claims {
        self.inner.tools.known().claims(upstream, tool)
    }

    /// The same for a call that was parked.
    pub(super) fn claims_of(&self, approval: &Approval) -> Claims {
        match approval.call().map(|call| (call, call.tool.as_ref())) {
            Some((call, Some(tool))) => self.tool_claims(&call.upstream, &tool.name),
            Some((_, None)) | None => Claims::NoTool,
        }
    }

    /// How many tools have a definition that nobody has accepted.
    pub fn unaccepted_tools(&self) -> usize {
        self.inner.tools.known().unaccepted()
    }

    /// What the configuration says about changed tools of an upstream.
    pub fn on_tool_change(&self, upstream: &str) -> OnToolChange {
        self.inner.tools.on_change(upstream)
    }

    /// Puts what the configuration says about changed tools in force, by upstream.
    pub fn set_on_tool_change(&self, on_change: HashMap<String, OnToolChange>) {
        self.inner.tools.set_on_change(on_change);
    }

    /// Accepts the definition that a reviewer saw, if it is still the current one.
    pub async fn accept_tool(
        &self,
        upstream: &str,
        name: &str,
        digest: DefinitionDigest,
        reviewer: &Reviewer,
    ) -> Result<ToolAccepted, Error> {
        let (upstream, name, reviewer) = (upstream.to_owned(), name.to_owned(), reviewer.id.clone());
        let gate = self.clone();
        self.to_its_end(async move {
            let wanted = AcceptTool { upstream, name, digest, reviewer };
            let accepted = gate.store().accept_tool(wanted, gate.now()).await?;
            if let ToolAccepted::Changed(tool) | ToolAccepted::Same(tool) | ToolAccepted::NotCurrent(tool) = &accepted {
                gate.inner.tools.follow(std::slice::from_ref(tool), &[]);
            }
            if let ToolAccepted::Changed(_) = &accepted {
                gate.grown();
            }
            Ok(accepted)
        })
        .await
    }

    /// Fills memory from the store.
    pub(super) async fn load_tools(&self) -> Result<(), Error> {
        let upstreams = self.store().listed_upstreams().await?;
        let upstreams: Vec<_> = upstreams.into_iter().map(|one| (one.name, one.baseline_open)).collect();
        let mut after = None;
        loop {
            let page = self.store().tools(ToolFilter::default(), after, LOAD_BATCH).await?;
            self.inner.tools.follow(&page.tools, &upstreams);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// After an approval's commit: where it accepted a definition with it, memory learns so before anybody is woken.
    pub(super) async fn follow_approval(&self, approval: &Approval) {
        let (State::Approved(_), Execution::Held, Some(call)) = (&approval.state, &approval.execution, approval.call())
        else {
            return;
        };
        let Some(tool) = call.tool.as_ref().filter(|tool| tool.accepts().is_some()) else { return };
        match self.store().tool(call.upstream.clone(), tool.name.clone()).await {
            Ok(tool) => self.inner.tools.follow(tool.as_slice(), &[]),
            // The next call asks again, and its approval tries again.
            Err(error) => tracing::error!(%error, "an accepted definition could not be read; its next call asks again"),
        }
    }

    /// Why an approved call may not be sent under the definition of this moment.
    pub(super) fn tool_objection(&self, approval: &Approval) -> Option<String> {
        let call = approval.call()?;
        let tool = call.tool.as_ref()?;
        let standing = self.tool_standing(&call.upstream, &tool.name);
        tool.objection(&standing, self.on_tool_change(&call.upstream)).map(str::to_owned)
    }
}
