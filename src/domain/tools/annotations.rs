//! What a server claims about a tool: the `annotations` of its definition.
//!
//! Claims are hints that nobody checks. Policy may tighten on them and never loosens, so whatever is not claimed counts as the
//! specification's default, which is the worse case of each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::definition::Definition;
use crate::domain::value::Value;

/// The four hints of a definition; `None` where it does not say, or says something that is no boolean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Annotations {
    /// Calls change nothing. Left out: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only_hint: Option<bool>,
    /// Calls may destroy something. Left out: true, unless the tool is read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destructive_hint: Option<bool>,
    /// A call that is repeated changes nothing more. Left out: false, unless the tool is read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotent_hint: Option<bool>,
    /// Calls reach systems that nobody has listed, such as the web. Left out: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_world_hint: Option<bool>,
}

/// What is known of the tool that a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Claims {
    /// The call is plain HTTP: there is no definition. No rule on annotations is about it.
    #[default]
    NoTool,
    /// The upstream has not listed the tool, or its definition is not kept whole. Every rule on annotations is about it.
    Unknown,
    /// The upstream's definition says so.
    Listed(Annotations),
}

impl Annotations {
    /// What a definition claims; `None` when it is not kept whole.
    pub fn of(definition: &Definition, read: impl FnOnce(&Definition) -> Option<Value<'_>>) -> Option<Self> {
        let value = read(definition)?;
        let claimed = value.member("annotations");
        let hint = |name: &str| match claimed.and_then(|claimed| claimed.member(name)) {
            Some(Value::Bool(flag)) => Some(*flag),
            Some(_) | None => None,
        };
        Some(Self {
            read_only_hint: hint("readOnlyHint"),
            destructive_hint: hint("destructiveHint"),
            idempotent_hint: hint("idempotentHint"),
            open_world_hint: hint("openWorldHint"),
        })
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a tool that claims `claimed` is what this describes: everything said here holds for it. A read-only tool destroys
    /// nothing and can be called again, whatever else it claims.
    pub fn describes(&self, claimed: &Annotations) -> bool {
        let read_only = claimed.read_only_hint.unwrap_or(false);
        let holds = [
            (self.read_only_hint, read_only),
            (self.destructive_hint, !read_only && claimed.destructive_hint.unwrap_or(true)),
            (self.idempotent_hint, read_only || claimed.idempotent_hint.unwrap_or(false)),
            (self.open_world_hint, claimed.open_world_hint.unwrap_or(true)),
        ];
        holds.into_iter().all(|(wanted, is)| wanted.is_none_or(|wanted| wanted == is))
    }

    /// The hints that are said, as `name=value`, for a rule that is named by its match.
    pub fn text(&self) -> String {
        let hints = [
            ("readOnlyHint", self.read_only_hint),
            ("destructiveHint", self.destructive_hint),
            ("idempotentHint", self.idempotent_hint),
            ("openWorldHint", self.open_world_hint),
        ];
        let said = hints.into_iter().filter_map(|(name, hint)| hint.map(|hint| format!("{name}={hint}")));
        said.collect::<Vec<_>>().join(",")
    }
}

impl From<Option<Annotations>> for Claims {
    /// `None` is a call that is plain HTTP.
    fn from(annotations: Option<Annotations>) -> Self {
        annotations.map_or(Claims::NoTool, Claims::Listed)
    }
}

impl Claims {
    /// What the upstream says, where it has listed the tool.
    pub const fn listed(self) -> Option<Annotations> {
        match self {
            Claims::Listed(annotations) => Some(annotations),
            Claims::NoTool | Claims::Unknown => None,
        }
    }

    /// Whether a rule on `wanted` is about the call.
    pub fn concern(&self, wanted: &Annotations) -> bool {
        match self {
            Claims::NoTool => false,
            Claims::Unknown => true,
            Claims::Listed(claimed) => wanted.describes(claimed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints(read_only: Option<bool>, destructive: Option<bool>) -> Annotations {
        Annotations { read_only_hint: read_only, destructive_hint: destructive, ..Annotations::default() }
    }

    #[test]
    fn what_is_not_claimed_counts_as_the_worse_case() {
        let (claims_nothing, destructive) = (Annotations::default(), hints(None, Some(true)));
        assert!(destructive.describes(&claims_nothing));
        assert!(hints(Some(false), None).describes(&claims_nothing));
        assert!(!hints(Some(true), None).describes(&claims_nothing));
        assert!(!destructive.describes(&hints(None, Some(false))));
        assert!(!destructive.describes(&hints(Some(true), Some(true))), "a read-only tool destroys nothing");
        let open = Annotations { open_world_hint: Some(true), idempotent_hint: Some(false), ..Annotations::default() };
        assert!(open.describes(&claims_nothing));
        assert!(!open.describes(&hints(Some(true), None)), "a read-only tool can be called again");
    }

    #[test]
    fn a_tool_that_nobody_listed_is_every_rules_and_a_plain_call_is_nones() {
        let wanted = hints(Some(true), None);
        assert!(Claims::Unknown.concern(&wanted));
        assert!(!Claims::NoTool.concern(&Annotations::default()));
        assert!(!Claims::Listed(Annotations::default()).concern(&wanted));
    }
}
