//! `holdpoint.yaml` as it is written: the serde model and its JSON Schema.
//!
//! Every struct refuses unknown keys; no enum is untagged, so that errors keep their place. What a value means
//! together with others is for `resolve`; what a single text must look like is in [`values`].

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::secrets::SecretText;
use super::shape::FormatCheck;
use crate::domain::call::Protocol;
use limits::{LimitsModel, LogModel};
use listeners::{AdminModel, ProxyModel};
use upstreams::{HeaderText, HideName, RouteModel, UpstreamModel, VariableName};
use urls::{HostName, PublicUrl, UpstreamUrl};
use values::{
    ByteSize, CallPattern, Identifier, RoutePath, Sha256Hex, Text, TextValue, ToolName, ToolPrefix, UpstreamName,
};

pub mod limits;
pub mod listeners;
pub mod upstreams;
pub mod urls;
pub mod values;

#[cfg(test)]
mod tests;

/// The whole file.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Holdpoint configuration")]
pub struct ConfigModel {
    /// The version of this format: 1.
    pub version: Version,
    /// The listener that agents reach.
    #[serde(default)]
    pub proxy: ProxyModel,
    /// The listener for reviewers, the API, the page and metrics.
    #[serde(default)]
    pub admin: AdminModel,
    /// Where approvals and the audit trail are kept: `sqlite:///absolute/path`, `sqlite://relative/path`, or a mapping.
    pub store: StoreModel,
    /// Policy files, and folders of them (`*.yaml` by name, without `*.cases.yaml`).
    #[schemars(length(min = 1))]
    pub policies: Vec<String>,
    /// Whether verdicts are enforced, or only recorded while every call passes.
    #[serde(default)]
    pub mode: Mode,
    /// Who may call.
    #[serde(default)]
    pub agents: Vec<AgentModel>,
    /// Whether callers without a credential are let in, as the agent `anonymous`.
    #[serde(default)]
    pub anonymous: bool,
    /// Who may decide.
    #[serde(default)]
    pub reviewers: Vec<ReviewerModel>,
    /// Who may read `/metrics`.
    #[serde(default)]
    pub metrics: MetricsModel,
    /// The tool backends, by name.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "format": UpstreamName::FORMAT }))]
    pub upstreams: BTreeMap<String, UpstreamModel>,
    /// Which path goes to which upstream; the longest path wins.
    #[serde(default)]
    pub routes: Vec<RouteModel>,
    /// Bounds on what callers can make the gateway hold.
    #[serde(default)]
    pub limits: LimitsModel,
    /// How long a shutdown waits for releases in flight.
    #[serde(default = "default_drain_timeout")]
    pub drain_timeout: Text<Duration>,
    /// The log, on standard error.
    #[serde(default)]
    pub log: LogModel,
}

fn default_drain_timeout() -> Text<Duration> {
    Text(Duration::from_secs(30))
}

/// `version: 1` and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Version;

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            1 => Ok(Self),
            other => Err(de::Error::custom(format!("version {other} is not supported; write `version: 1`"))),
        }
    }
}

impl JsonSchema for Version {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Version".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "const": 1 })
    }
}

/// `store`: a URL, or a mapping.
#[derive(Debug, Clone, Serialize)]
pub struct StoreModel {
    /// The URL.
    pub url: Text<SecretText>,
    /// The key that encrypts held requests at rest.
    pub secret_key: Option<Text<SecretText>>,
    /// Keys that were used before it, which still open what they sealed.
    pub previous_secret_keys: Vec<Text<SecretText>>,
}

/// The mapping form of `store`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StoreMapping {
    /// `sqlite:///absolute/path` or `sqlite://relative/path`.
    url: Text<SecretText>,
    /// 32 bytes in base64 that encrypt sensitive headers of held requests at rest.
    secret_key: Option<Text<SecretText>>,
    /// Keys that were used before, in base64: they open what they sealed, and seal nothing.
    #[serde(default)]
    #[schemars(length(max = 16))]
    previous_secret_keys: Vec<Text<SecretText>>,
}

impl<'de> Deserialize<'de> for StoreModel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = StoreModel;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the URL of a store, or a mapping with `url`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<StoreModel, E> {
                let url = SecretText::read(text).map(Text).map_err(E::custom)?;
                Ok(StoreModel { url, secret_key: None, previous_secret_keys: Vec::new() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StoreModel, A::Error> {
                let StoreMapping { url, secret_key, previous_secret_keys } =
                    StoreMapping::deserialize(MapAccessDeserializer::new(map))?;
                Ok(StoreModel { url, secret_key, previous_secret_keys })
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for StoreModel {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StoreModel".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let url = generator.subschema_for::<Text<SecretText>>();
        let mapping = generator.subschema_for::<StoreMapping>();
        json_schema!({ "anyOf": [url, mapping] })
    }
}

/// What verdicts do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They are carried out.
    #[default]
    Enforce,
    /// They are recorded, and every call passes.
    Shadow,
}

/// One of `agents`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentModel {
    /// The name in rules, approvals and the audit trail.
    pub id: Text<Identifier>,
    /// SHA-256 of its bearer token, as `holdpoint token new` prints it.
    pub token_sha256: Text<SecretText>,
    /// How long its held MCP calls keep it before they are answered `pending`, in place of the route's and the rule's time: for
    /// clients that give up early.
    pub inline_budget: Option<Text<Duration>>,
}

/// One of `reviewers`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewerModel {
    /// The name in decisions and in the audit trail.
    pub id: Text<Identifier>,
    /// The groups of approvers that the person belongs to.
    #[serde(default)]
    pub groups: Vec<Text<Identifier>>,
    /// SHA-256 of its bearer token, as `holdpoint token new` prints it.
    pub token_sha256: Text<SecretText>,
    /// What the person may do.
    #[serde(default)]
    pub role: Role,
}

/// What a reviewer may do. The default is the lesser right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See and decide what the groups allow.
    #[default]
    Reviewer,
    /// Also see policy and audit.
    Admin,
}

/// `metrics`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsModel {
    /// SHA-256 of the bearer token that `/metrics` asks for. Left out: no token is asked for.
    pub token_sha256: Option<Text<SecretText>>,
}

/// The checks for each `format` in the schema.
pub const FORMATS: [(&str, FormatCheck); 18] = [
    format::<Duration>(),
    format::<ByteSize>(),
    format::<SocketAddr>(),
    format::<Identifier>(),
    format::<UpstreamName>(),
    format::<ToolName>(),
    format::<Sha256Hex>(),
    format::<RoutePath>(),
    format::<CallPattern>(),
    format::<SecretText>(),
    format::<Protocol>(),
    format::<HideName>(),
    format::<ToolPrefix>(),
    format::<HeaderText>(),
    format::<VariableName>(),
    format::<UpstreamUrl>(),
    format::<PublicUrl>(),
    format::<HostName>(),
];

const fn format<T: TextValue>() -> (&'static str, FormatCheck) {
    (T::FORMAT, |text| T::read(text).map(drop))
}

/// The JSON Schema of `holdpoint.yaml`, draft 2020-12.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(ConfigModel);
    RecursiveTransform(without_null).transform(&mut schema);
    schema.to_value()
}

/// A key without a value is a slip in a file that people write: `null` is nowhere accepted.
fn without_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if object.get("default").is_some_and(serde_json::Value::is_null) {
        object.remove("default");
    }
    if let Some(serde_json::Value::Object(members)) = object.get_mut("default") {
        members.retain(|_, value| !value.is_null());
    }
    if let Some(serde_json::Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(serde_json::Value::Array(branches)) = object.get_mut("anyOf") {
        branches.retain(|branch| branch.get("type").is_none_or(|name| name != "null"));
        if let [only] = branches.as_slice() {
            let only = only.as_object().cloned().unwrap_or_default();
            object.remove("anyOf");
            object.extend(only);
        }
    }
}
