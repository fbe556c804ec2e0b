//! What the gateway adds to, and takes out of, what an MCP server says about itself: its list of tools and its capabilities.
//!
//! Nothing is changed that policy has no reason to change: where no rule can hold a call and nothing is hidden or marked, every
//! answer passes as it is.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::domain::policy::{CompiledPolicy, Decision, VerdictKind};
use crate::domain::tools::{ListedTool, Page};
use crate::domain::value;
use crate::gate::Gate;
use crate::gate::held::HeldRequest;
use crate::gate::intake::{Body, Entry};
use crate::problem::Problem;
use crate::protocol::mcp::{Revision, TASKS_EXTENSION, is_tool_name};

use crate::telemetry::stopwatch::Stopwatch;

use super::super::routes::Upstream;
use super::rewrite::Edit;

/// How long a list that depends on who asks may be kept by the client, in milliseconds.
const LIST_TTL_MS: u64 = 30_000;
/// What stands in the description of a tool whose calls a person may have to approve.
const ANNOTATION: &str = "[A call of this tool may have to wait for a person's approval.]";

/// What policy says about a tool as long as its arguments are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Free,
    MayBeHeld,
    Blocked,
}

/// Whoever asks, and what is asked.
pub(super) struct Asked {
    pub(super) gate: Gate,
    pub(super) policy: Arc<CompiledPolicy>,
    pub(super) upstream: Arc<Upstream>,
    /// The request for the list: its agent, target and headers are what rules see.
    pub(super) request: HeldRequest,
    pub(super) revision: Revision,
}

impl Asked {
    /// Whether held calls can be run as tasks that the gateway keeps.
    pub(super) fn offers_tasks(&self) -> bool {
        self.revision >= Revision::November2025 && self.policy.can_hold()
    }

    /// The edit of a list of tools, or of a page of one: first it is remembered, so that a change of a tool is noticed; a list that
    /// cannot be is not passed on. `continues` says that the request asked for a later page.
    pub(super) fn list(self, continues: bool) -> Edit {
        Box::new(move |mut result| {
            Box::pin(async move {
                let page = Page { continues, more: result["nextCursor"].is_string() };
                self.remember(page, &result).await?;
                let changed = self.edit_list(&mut result);
                Ok::<_, Problem>(changed.then_some(result))
            })
        })
    }

    /// Remembers the definitions of a list. Tools that cannot be called by their names are none.
    pub(super) async fn remember(&self, page: Page, result: &Value) -> Result<(), Problem> {
        let Some(tools) = result["tools"].as_array() else { return Ok(()) };
        let listed = tools.iter().filter_map(|tool| {
            let name = tool["name"].as_str().filter(|name| is_tool_name(name))?;
            Some(ListedTool::new(name, &as_written(tool)))
        });
        self.gate.tools_page_listed(&self.upstream.name, page, listed.collect()).await.map_err(Problem::from)
    }

    /// Edits a list in place; whether anything changed.
    pub(super) fn edit_list(&self, result: &mut Value) -> bool {
        let settings = self.upstream.mcp.clone().unwrap_or_default();
        let Some(tools) = result.get_mut("tools").and_then(Value::as_array_mut) else { return false };
        let mut changed = false;
        tools.retain_mut(|tool| {
            let standing = self.standing(tool["name"].as_str().unwrap_or_default());
            if standing == Standing::Blocked && settings.hides_blocked {
                changed = true;
                return false;
            }
            if standing == Standing::MayBeHeld {
                if settings.annotates_tools {
                    annotate(tool);
                    changed = true;
                }
                changed |= self.offer_task(tool);
            }
            true
        });
        if self.revision.is_stateless() && (settings.hides_blocked || settings.annotates_tools) {
            // Another agent may have to see another list.
            result["cacheScope"] = "private".into();
            let ttl = result["ttlMs"].as_u64().unwrap_or(LIST_TTL_MS).min(LIST_TTL_MS);
            result["ttlMs"] = ttl.into();
            changed = true;
        }
        changed
    }

    /// Tools that may be held can be called as tasks: the gateway keeps them where the server does not.
    fn offer_task(&self, tool: &mut Value) -> bool {
        let offered = tool["execution"]["taskSupport"].as_str().unwrap_or("forbidden");
        if self.revision != Revision::November2025 || offered != "forbidden" || !tool.is_object() {
            return false;
        }
        if !tool["execution"].is_object() {
            tool["execution"] = json!({});
        }
        tool["execution"]["taskSupport"] = "optional".into();
        true
    }

    fn standing(&self, name: &str) -> Standing {
        if !is_tool_name(name) {
            // Never called by that name: refused where it is tried.
            return Standing::Blocked;
        }
        let prefix = self.upstream.mcp.as_ref().map_or("", |settings| settings.tool_prefix.as_str());
        let tool = format!("{prefix}{name}");
        let call = crate::gate::intake::Call {
            tool: &tool,
            ..self.request.facts(self.gate.tool_claims(&self.upstream.name, name))
        };
        match Entry::new(&self.gate, &self.policy, call, self.gate.now()).judge(Body::Unread, Stopwatch::start()) {
            Decision::Verdict(verdict) => match verdict.kind {
                VerdictKind::Allowed | VerdictKind::Audit => Standing::Free,
                VerdictKind::WaitingForApproval => Standing::MayBeHeld,
                VerdictKind::Blocked => Standing::Blocked,
            },
            Decision::NeedsBody if self.policy.can_hold() => Standing::MayBeHeld,
            Decision::NeedsBody => Standing::Free,
        }
    }

    /// Offers the gateway's tasks in what a server says it can do; whether anything changed.
    pub(super) fn edit_capabilities(&self, result: &mut Value) -> bool {
        match self.revision.is_stateless() {
            true => offer_extension(result),
            false => offer_tasks(result),
        }
    }

    /// The edit of what a server says it can do.
    pub(super) fn capabilities(self) -> Edit {
        Box::new(move |mut result| {
            Box::pin(async move {
                let changed = self.edit_capabilities(&mut result);
                Ok::<_, Problem>(changed.then_some(result))
            })
        })
    }
}

/// A definition for the memory of definitions, which compares digits and not what they mean. The strict reader is for what callers
/// send: a server may well name two properties `id` and `ID`.
fn as_written(value: &Value) -> value::Value<'_> {
    match value {
        Value::Null => value::Value::Null,
        Value::Bool(flag) => value::Value::Bool(*flag),
        Value::Number(number) => value::Value::Number(value::Number::from_checked(number.to_string())),
        Value::String(text) => value::Value::String(text.as_str().into()),
        Value::Array(items) => value::Value::Array(items.iter().map(as_written).collect()),
        Value::Object(members) => {
            value::Value::Object(members.iter().map(|(key, value)| (key.as_str().into(), as_written(value))).collect())
        }
    }
}

fn annotate(tool: &mut Value) {
    let said = tool["description"].as_str().unwrap_or_default();
    let gap = if said.is_empty() { "" } else { " " };
    tool["description"] = format!("{said}{gap}{ANNOTATION}").into();
}

/// Legacy: tasks are a capability, and the revision is agreed in this very answer.
fn offer_tasks(result: &mut Value) -> bool {
    let agreed = result["protocolVersion"] == Revision::November2025.as_str();
    let capabilities = &mut result["capabilities"];
    if !agreed || !capabilities["tools"].is_object() || capabilities["tasks"].is_object() {
        return false;
    }
    capabilities["tasks"] = json!({ "list": {}, "cancel": {}, "requests": { "tools": { "call": {} } } });
    true
}

fn offer_extension(result: &mut Value) -> bool {
    let capabilities = &mut result["capabilities"];
    if !capabilities["tools"].is_object() || capabilities["extensions"][TASKS_EXTENSION].is_object() {
        return false;
    }
    if !capabilities["extensions"].is_object() {
        capabilities["extensions"] = json!({});
    }
    capabilities["extensions"][TASKS_EXTENSION] = json!({});
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_offered_where_the_server_has_tools_and_none_of_its_own() {
        let mut result = json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} } });
        assert!(offer_tasks(&mut result));
        assert!(result["capabilities"]["tasks"]["requests"]["tools"]["call"].is_object());
        assert!(!offer_tasks(&mut result), "offered already");
        let mut older = json!({ "protocolVersion": "2025-06-18", "capabilities": { "tools": {} } });
        assert!(!offer_tasks(&mut older));
        let mut toolless = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
        assert!(!offer_tasks(&mut toolless));
    }

    #[test]
    fn the_extension_is_offered_beside_others() {
        let mut result = json!({ "capabilities": { "tools": {}, "extensions": { "x/y": {} } } });
        assert!(offer_extension(&mut result));
        assert!(result["capabilities"]["extensions"]["x/y"].is_object());
        assert!(!offer_extension(&mut result));
    }

    #[test]
    fn a_mark_is_added_to_what_the_server_says() {
        let (mut described, mut bare) = (json!({ "description": "Deletes." }), json!({}));
        annotate(&mut described);
        annotate(&mut bare);
        assert_eq!(described["description"], format!("Deletes. {ANNOTATION}"));
        assert_eq!(bare["description"], ANNOTATION);
    }
}
