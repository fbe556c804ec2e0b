//! How a tool's definition comes to stand: baseline, new, changed, accepted.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::StandingName;
use super::definition::{Definition, DefinitionDigest, ListedTool};
use crate::domain::audit::{Actor, Event, EventKind};
use crate::domain::id::ApprovalId;
use crate::domain::time::Timestamp;

/// A tool as it is remembered. A tool that is no longer listed stays: it may come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// The upstream's configured name.
    pub upstream: String,
    /// The tool, as the upstream calls it.
    pub name: String,
    /// Counts the changes; a store writes a change only over the version it was computed from.
    pub version: u64,
    /// The definition that was listed last.
    pub current: Definition,
    /// Whether anybody stands for it.
    pub trust: Trust,
    /// When the tool was first listed.
    pub first_seen: Timestamp,
    /// When the current definition was first listed in place of another one, or the tool was.
    pub changed_at: Timestamp,
}

/// Whether anybody stands for the current definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// It is accepted.
    Accepted(AcceptedBy),
    /// No definition of this tool was ever accepted.
    New,
    /// Another one was.
    Changed {
        /// The one that was.
        accepted: Definition,
        /// By whom.
        by: AcceptedBy,
    },
}

/// Who accepted a definition, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedBy {
    /// Who.
    pub who: Acceptor,
    /// When.
    pub at: Timestamp,
}

/// Who can accept a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acceptor {
    /// Nobody looked: it was there when the upstream was first listed.
    Baseline,
    /// A reviewer, by approving a call that showed it or on the page.
    Reviewer(String),
}

/// Which part of a list it is. The first list that is read to its end is an upstream's baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The request asked to go on behind an earlier page.
    pub continues: bool,
    /// The answer says that there is more.
    pub more: bool,
}

impl Page {
    /// A list in one piece.
    pub const WHOLE: Page = Page { continues: false, more: false };
}

/// What accepting came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acceptance {
    /// It is accepted from now on.
    Changed(Box<Tool>, Event),
    /// It was accepted already.
    Same,
    /// The upstream lists another definition by now.
    NotCurrent,
}

impl Tool {
    /// What the current definition is.
    pub const fn standing(&self) -> StandingName {
        match &self.trust {
            Trust::Accepted(_) => StandingName::Accepted,
            Trust::New => StandingName::New,
            Trust::Changed { .. } => StandingName::Changed,
        }
    }

    /// The definition that is, or last was, accepted, when it is not the current one.
    pub const fn accepted_before(&self) -> Option<&Definition> {
        match &self.trust {
            Trust::Changed { accepted, .. } => Some(accepted),
            Trust::Accepted(_) | Trust::New => None,
        }
    }

    /// Who last accepted a definition of this tool.
    pub const fn accepted_by(&self) -> Option<&AcceptedBy> {
        match &self.trust {
            Trust::Accepted(by) | Trust::Changed { by, .. } => Some(by),
            Trust::New => None,
        }
    }
}

/// What a listed definition makes of what is known; `None` when it is the one that is known. `baseline`: the upstream's first list
/// is being read.
pub fn listed(
    known: Option<&Tool>,
    upstream: &str,
    listed: &ListedTool,
    baseline: bool,
    now: Timestamp,
) -> Option<(Tool, Event)> {
    let Some(known) = known else {
        let by = AcceptedBy { who: Acceptor::Baseline, at: now };
        let tool = Tool {
            upstream: upstream.to_owned(),
            name: listed.name.clone(),
            version: 0,
            current: listed.definition.clone(),
            trust: if baseline { Trust::Accepted(by) } else { Trust::New },
            first_seen: now,
            changed_at: now,
        };
        let detail = json!({ "standing": tool.standing(), "bytes": tool.current.bytes });
        let event = event(&tool, EventKind::ToolDefined, Actor::Gateway, now, detail);
        return Some((tool, event));
    };
    if known.current.digest == listed.definition.digest {
        return None;
    }
    let trust = match &known.trust {
        Trust::New => Trust::New,
        Trust::Accepted(by) => Trust::Changed { accepted: known.current.clone(), by: by.clone() },
        // Back to what was accepted: nothing is left to accept.
        Trust::Changed { accepted, by } if accepted.digest == listed.definition.digest => Trust::Accepted(by.clone()),
        Trust::Changed { accepted, by } => Trust::Changed { accepted: accepted.clone(), by: by.clone() },
    };
    let mut tool = Tool { current: listed.definition.clone(), trust, changed_at: now, ..known.clone() };
    tool.version += 1;
    let detail = json!({ "standing": tool.standing(), "bytes": tool.current.bytes, "before": known.current.digest });
    let event = event(&tool, EventKind::ToolChanged, Actor::Gateway, now, detail);
    Some((tool, event))
}

/// Accepts the definition that has this digest. `approval`: the approval of a call that did it.
pub fn accept(
    tool: &Tool,
    digest: DefinitionDigest,
    reviewer: &str,
    approval: Option<ApprovalId>,
    now: Timestamp,
) -> Acceptance {
    if tool.current.digest != digest {
        return Acceptance::NotCurrent;
    }
    let before = match &tool.trust {
        Trust::Accepted(_) => return Acceptance::Same,
        Trust::New => None,
        Trust::Changed { accepted, .. } => Some(accepted.digest),
    };
    let mut next = tool.clone();
    next.version += 1;
    next.trust = Trust::Accepted(AcceptedBy { who: Acceptor::Reviewer(reviewer.to_owned()), at: now });
    let detail = json!({ "before": before });
    let actor = Actor::Reviewer(reviewer.to_owned());
    let event = Event { approval, ..event(&next, EventKind::ToolAccepted, actor, now, detail) };
    Acceptance::Changed(Box::new(next), event)
}

/// An event about a tool's current definition. It names the definition by its digest and carries none of its text.
fn event(tool: &Tool, kind: EventKind, actor: Actor, at: Timestamp, detail: serde_json::Value) -> Event {
    let mut all = serde_json::Map::new();
    all.insert("upstream".to_owned(), tool.upstream.clone().into());
    all.insert("tool".to_owned(), tool.name.clone().into());
    all.insert("digest".to_owned(), tool.current.digest.to_string().into());
    if let serde_json::Value::Object(detail) = detail {
        all.extend(detail);
    }
    Event { at, kind, actor, approval: None, detail: all }
}
