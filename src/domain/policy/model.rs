//! A policy file as it is written: the serde types of the YAML, and nothing else.
//!
//! Types and spellings are checked here, where the parser still knows the line; what needs more than one field
//! (conflicts, limits, conditions, patterns) is checked by [`super::compile()`], which reports everything at once.
//! No key is accepted that nothing acts on, and unknown keys are errors.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::approval::{ReleaseMode, Risk};
use crate::domain::duration;

mod pattern;

pub use pattern::{Globs, Match, MatchObject};

/// One policy file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The version of the format: 1.
    pub version: Version,
    /// What happens to a call that no rule matches. Left out: the call is allowed, and `lint` says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<DefaultAction>,
    /// `shadow` records what the rules of this file would have done and enforces none of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The rules, in order; the first that matches decides.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// The version of the policy format. Only version 1 exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version;

/// What happens to a call that no rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DefaultAction {
    /// Refuse it.
    Block,
    /// Let it through.
    Allow,
    /// Park it until a reviewer decides.
    RequireApproval,
}

/// What a matching rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Let the call through.
    Allow,
    /// Refuse the call.
    Block,
    /// Park the call until a reviewer decides.
    RequireApproval,
    /// Let the call through and write it down.
    Audit,
}

impl Action {
    /// The spelling in YAML and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Allow => "allow",
            Action::Block => "block",
            Action::RequireApproval => "require_approval",
            Action::Audit => "audit",
        }
    }
}

/// Whether rules act or only record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Rules act. The default, because it is the safe one.
    #[default]
    Enforce,
    /// Rules record what they would have done, and the call goes on down the list.
    Shadow,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The rule's name in trails, answers and on the page; unique over all files. Left out: the text of `match`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Which calls the rule is about.
    #[serde(rename = "match")]
    pub matches: Match,
    /// A CEL condition over `tool`, `args`, `agent`, `upstream`, `method`, `path`, `query`, `headers` and `now`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What the rule does.
    pub action: Action,
    /// Why, in words for the caller and the reviewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How much harm a wrong approval could do. Left out: `medium`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
    /// `shadow` records what the rule would have done; `enforce` makes it act inside a file in shadow mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// How approval is asked for; only with `action: require_approval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
}

/// How approval is asked for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Approval {
    /// Who must approve. Left out: any one reviewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approvers: Option<Approvers>,
    /// When the approval counts as breached. Left out: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sla: Option<DurationText>,
    /// When a pending approval becomes EXPIRED, which is a refusal. Left out: 1h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<DurationText>,
    /// How long the caller's connection is kept waiting. Left out: 50s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<DurationText>,
    /// Whether an approved call is sent without its caller. Left out: `attached`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseMode>,
    /// One line for the reviewer; `${args.name}` is replaced by the call's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// JSON pointers to values that are never shown or stored, such as `/args/card_number`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<String>,
    /// How long an approval that came too late stays usable by the same caller. Left out: 10m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_ttl: Option<DurationText>,
    /// How long an identical call keeps getting the same rejection. Left out: 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject_memory: Option<DurationText>,
    /// How long the answer of a detached call is kept. Left out: 24h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_ttl: Option<DurationText>,
}

/// Who must approve: `{ group: finance, count: 2 }`, or several such slots under `all_of`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approvers {
    /// Only reviewers of this group. Left out: any reviewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How many distinct people. Left out: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Several slots that must all be filled, by distinct people. Not together with `group` or `count`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_of: Option<Vec<Slot>>,
}

/// One slot of a quorum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// Only reviewers of this group. Left out: any reviewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How many distinct people. Left out: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

/// A duration such as `50s`, `15m` or `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurationText(pub Duration);

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            1 => Ok(Version),
            other => Err(de::Error::custom(format_args!("version {other} is unknown; write `version: 1`"))),
        }
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl JsonSchema for Version {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Version".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "const": 1 })
    }
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = DurationText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as `50s`, `15m` or `1h30m`")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<DurationText, E> {
                duration::parse(text).map(DurationText).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl Serialize for DurationText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&duration::format(self.0))
    }
}

impl JsonSchema for DurationText {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
            "minLength": 1,
        })
    }
}
