//! `upstreams` and `routes`, as written.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::urls::UpstreamUrl;
use super::values::{CallPattern, RoutePath, Text, TextValue, ToolName, UpstreamName, ValueError};
use crate::config::secrets::SecretText;
use crate::domain::tools::OnToolChange;

/// One of `upstreams`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamModel {
    /// Where it is: `http://` or `https://`, a host, and optionally a port and a path.
    pub url: Text<UpstreamUrl>,
    /// What it speaks.
    #[serde(default)]
    pub protocol: Text<ProtocolName>,
    /// Headers set on every request to it, in place of what the caller sent.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "format": HeaderText::FORMAT }))]
    pub headers: BTreeMap<String, Text<SecretText>>,
    /// Names for plain HTTP calls.
    #[serde(default)]
    pub tools: Vec<ToolModel>,
    /// An OpenAPI 3.0 or 3.1 document whose `operationId`s name calls.
    #[schemars(length(min = 1))]
    pub openapi: Option<String>,
    /// What happens to a call of a tool whose definition is new or has changed since it was accepted; with `protocol: mcp` only.
    /// `require_approval` when left out.
    pub on_tool_change: Option<OnToolChange>,
    /// How long it may take until the head of its response.
    #[serde(default = "default_timeout")]
    pub timeout: Text<Duration>,
    /// How long connecting may take.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: Text<Duration>,
    /// TLS towards it.
    pub tls: Option<UpstreamTlsModel>,
}

fn default_timeout() -> Text<Duration> {
    Text(Duration::from_secs(30))
}

fn default_connect_timeout() -> Text<Duration> {
    Text(Duration::from_secs(5))
}

/// What an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProtocolName {
    /// Plain HTTP: every request is a call.
    #[default]
    Http,
    /// The Model Context Protocol: every `tools/call` is a call.
    Mcp,
}

impl Default for Text<ProtocolName> {
    fn default() -> Self {
        Text(ProtocolName::default())
    }
}

impl TextValue for ProtocolName {
    const FORMAT: &'static str = "upstream-protocol";

    fn read(text: &str) -> Result<Self, ValueError> {
        match text {
            "http" => Ok(Self::Http),
            "mcp" => Ok(Self::Mcp),
            other => Err(ValueError::new(format!("`{other}` is not a protocol"), "write `http` or `mcp`")),
        }
    }

    fn write(&self) -> String {
        match self {
            Self::Http => "http".to_owned(),
            Self::Mcp => "mcp".to_owned(),
        }
    }
}

/// The name of a header that an upstream's `headers` may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderText(pub http::HeaderName);

/// Headers that frame or route a message, or that the gateway writes itself.
const HEADERS_OF_THE_GATEWAY: [&str; 14] = [
    "connection",
    "content-length",
    "content-type",
    "content-encoding",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "traceparent",
];

impl TextValue for HeaderText {
    const FORMAT: &'static str = "header-name";

    fn read(text: &str) -> Result<Self, ValueError> {
        let name = http::HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
            ValueError::new(format!("`{text}` is not the name of a header"), "use letters, digits and `-`")
        })?;
        let reserved = name.as_str().starts_with("holdpoint-") || name.as_str().starts_with("x-forwarded-");
        if reserved || HEADERS_OF_THE_GATEWAY.contains(&name.as_str()) {
            let message = format!("the header `{text}` is written by the gateway and cannot be set");
            return Err(ValueError::new(message, "remove it"));
        }
        Ok(Self(name))
    }

    fn write(&self) -> String {
        self.0.to_string()
    }
}

/// One of an upstream's `tools`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolModel {
    /// Method and path as the upstream sees it below its `url`; `{name}` stands for one segment.
    pub call: Text<CallPattern>,
    /// The tool's name.
    pub tool: Text<ToolName>,
}

/// `tls` of an upstream.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTlsModel {
    /// PEM file with the authorities to trust, in place of the system's.
    #[schemars(length(min = 1))]
    pub ca: String,
}

/// One of `routes`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteModel {
    /// The path; one that ends in `/` takes everything below it.
    pub path: Text<RoutePath>,
    /// The name of the upstream.
    pub upstream: Text<UpstreamName>,
}
