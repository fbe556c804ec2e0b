//! The `match` of a rule, as it is written: a glob, a list of globs, or an object of patterns.
//!
//! Read by hand-written visitors, because untagged enums lose the line of an error.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::tools::Annotations;

/// Which calls a rule is about: one glob on the tool name, a list of them, or an object of patterns.
#[derive(Debug, Clone, PartialEq)]
pub enum Match {
    /// Globs on the tool name; any of them.
    Tools(Globs),
    /// Patterns that must all match.
    Object(Box<MatchObject>),
}

/// Patterns that must all match; what is left out matches everything.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MatchObject {
    /// Globs on the tool name; any of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<Globs>,
    /// A regular expression that must match the whole tool name. Not together with `tool`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_regex: Option<String>,
    /// Globs on the name of the upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Globs>,
    /// Globs on the agent's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<Globs>,
    /// Globs on the HTTP method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Globs>,
    /// Globs on the path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Globs>,
    /// What the MCP server says of the tool, such as `{ readOnlyHint: false }`; only with `block` and `require_approval`, and only to
    /// tighten: what the later rules say stands where it is as strict. What a server does not say counts as the worse case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

/// One glob or a list of globs: `*` is any run of characters (dots and slashes included), `?` exactly one, everything
/// else is itself; anchored at both ends and case-sensitive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Globs {
    /// The globs; any of them.
    pub any_of: Vec<String>,
    /// Whether they were written as a list, so that errors point to the right place.
    pub listed: bool,
}

impl Match {
    /// The text of the match, which names a rule without an id: the globs joined by `, `, objects as `key=globs`.
    pub fn text(&self) -> String {
        match self {
            Match::Tools(globs) => globs.any_of.join(", "),
            Match::Object(object) => {
                let mut parts = Vec::new();
                let fields = [
                    ("tool", &object.tool),
                    ("upstream", &object.upstream),
                    ("agent", &object.agent),
                    ("method", &object.method),
                    ("path", &object.path),
                ];
                for (name, globs) in fields {
                    if let Some(globs) = globs {
                        parts.push(format!("{name}={}", globs.any_of.join(",")));
                    }
                }
                if let Some(pattern) = &object.tool_regex {
                    parts.push(format!("tool_regex={pattern}"));
                }
                if let Some(annotations) = &object.annotations {
                    parts.push(annotations.text());
                }
                parts.join(" ")
            }
        }
    }
}

impl<'de> Deserialize<'de> for Globs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Globs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a glob or a list of globs")
            }
            fn visit_str<E: de::Error>(self, glob: &str) -> Result<Globs, E> {
                Ok(Globs { any_of: vec![glob.to_owned()], listed: false })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Globs, A::Error> {
                let any_of = Vec::deserialize(SeqAccessDeserializer::new(list))?;
                Ok(Globs { any_of, listed: true })
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl Serialize for Globs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.listed, self.any_of.as_slice()) {
            (false, [one]) => serializer.serialize_str(one),
            (_, globs) => globs.serialize(serializer),
        }
    }
}

impl JsonSchema for Globs {
    fn schema_name() -> Cow<'static, str> {
        "Globs".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "One glob or a list of globs: `*` any run of characters, `?` one; anchored; case-sensitive.",
            "anyOf": [
                { "type": "string" },
                { "type": "array", "items": { "type": "string" }, "minItems": 1 },
            ],
        })
    }
}

impl<'de> Deserialize<'de> for Match {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyForm;
        impl<'de> Visitor<'de> for AnyForm {
            type Value = Match;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a glob on the tool name, a list of globs, or an object such as `{ tool: …, agent: … }`")
            }
            fn visit_str<E: de::Error>(self, glob: &str) -> Result<Match, E> {
                Ok(Match::Tools(Globs { any_of: vec![glob.to_owned()], listed: false }))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Match, A::Error> {
                let any_of = Vec::deserialize(SeqAccessDeserializer::new(list))?;
                Ok(Match::Tools(Globs { any_of, listed: true }))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Match, A::Error> {
                MatchObject::deserialize(MapAccessDeserializer::new(map)).map(|object| Match::Object(Box::new(object)))
            }
        }
        deserializer.deserialize_any(AnyForm)
    }
}

impl Serialize for Match {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Match::Tools(globs) => globs.serialize(serializer),
            Match::Object(object) => object.serialize(serializer),
        }
    }
}

impl JsonSchema for Match {
    fn schema_name() -> Cow<'static, str> {
        "Match".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let object = generator.subschema_for::<MatchObject>();
        json_schema!({
            "description": "Which calls the rule is about: a glob on the tool name, a list of globs, or an object.",
            "anyOf": [
                { "type": "string" },
                { "type": "array", "items": { "type": "string" }, "minItems": 1 },
                object,
            ],
        })
    }
}
