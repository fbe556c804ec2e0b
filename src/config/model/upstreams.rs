//! `upstreams` and `routes`, as written.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::urls::UpstreamUrl;
use super::values::{CallPattern, RoutePath, Text, TextValue, ToolName, ToolPrefix, UpstreamName, ValueError};
use crate::config::secrets::SecretText;
use crate::domain::call::Protocol;
use crate::domain::tools::OnToolChange;

/// One of `upstreams`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamModel {
    /// Where it is: `http://` or `https://`, a host, and optionally a port and a path. An upstream has this or `command`.
    pub url: Option<Text<UpstreamUrl>>,
    /// With `protocol: mcp`, in place of `url`: a program that speaks MCP over its standard input and output, and its arguments.
    #[schemars(length(min = 1))]
    pub command: Option<Vec<String>>,
    /// With `command`: the program's environment, beside the few variables that it inherits.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "format": VariableName::FORMAT }))]
    pub env: BTreeMap<String, Text<SecretText>>,
    /// With `command`: the folder it runs in. Left out: that of the configuration file.
    #[schemars(length(min = 1))]
    pub cwd: Option<String>,
    /// With `command`: how many children run at the same time, one for each session. Left out: 16.
    #[schemars(range(min = 1, max = 10_000))]
    pub children_max: Option<u32>,
    /// With `command`: how long a child may have nothing to do before it is ended. Left out: 10m.
    pub idle_timeout: Option<Text<Duration>>,
    /// What it speaks: `http`, where every request is a call, or `mcp`, where a `tools/call` is.
    #[serde(default)]
    pub protocol: Text<Protocol>,
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
    /// How long it may take until the head of its response; for calls that the gateway sends by itself, also between two pieces of
    /// a response that is no event stream.
    #[serde(default = "default_timeout")]
    pub timeout: Text<Duration>,
    /// How long connecting may take.
    #[schemars(extend("default" = "5s"))]
    pub connect_timeout: Option<Text<Duration>>,
    /// TLS towards it.
    pub tls: Option<UpstreamTlsModel>,
    /// With `protocol: mcp`: what policy and reviewers see before the names of its tools, so that the tools of two upstreams keep
    /// apart.
    pub tool_prefix: Option<Text<ToolPrefix>>,
    /// With `protocol: mcp`: which tools its `tools/list` leaves out.
    pub hide: Option<Text<HideName>>,
    /// With `protocol: mcp`: whether tools that a rule may hold say so in their description.
    pub annotate_tools: Option<bool>,
}

fn default_timeout() -> Text<Duration> {
    Text(Duration::from_secs(30))
}

impl Default for Text<Protocol> {
    fn default() -> Self {
        Text(Protocol::Http)
    }
}

impl TextValue for Protocol {
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

/// Which tools an upstream's `tools/list` leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HideName {
    /// None.
    #[default]
    Nothing,
    /// Those that policy blocks for the agent that asks, whatever their arguments.
    Blocked,
}

impl TextValue for HideName {
    const FORMAT: &'static str = "hide";

    fn read(text: &str) -> Result<Self, ValueError> {
        match text {
            "nothing" => Ok(Self::Nothing),
            "blocked" => Ok(Self::Blocked),
            other => Err(ValueError::new(format!("`{other}` cannot be hidden"), "write `nothing` or `blocked`")),
        }
    }

    fn write(&self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Blocked => "blocked".to_owned(),
        }
    }
}

/// The name of a variable that an upstream's `env` may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableName(pub String);

impl TextValue for VariableName {
    const FORMAT: &'static str = "variable-name";

    fn read(text: &str) -> Result<Self, ValueError> {
        let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
        if text.starts_with(letter) && text.chars().all(|c| letter(c) || c.is_ascii_digit()) {
            return Ok(Self(text.to_owned()));
        }
        let hint = "use letters, digits and `_`, first no digit";
        Err(ValueError::new(format!("`{text}` is not the name of an environment variable"), hint))
    }

    fn write(&self) -> String {
        self.0.clone()
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
    pub upstream: Option<Text<UpstreamName>>,
    /// In place of `upstream`: the names of several MCP servers whose tools this path offers as one, each behind its `tool_prefix`.
    #[serde(default)]
    #[schemars(length(min = 2))]
    pub upstreams: Vec<Text<UpstreamName>>,
    /// To an upstream with `protocol: mcp`: how long a held call keeps its caller before it is answered `pending`, in place of the
    /// rule's `hold`.
    pub inline_budget: Option<Text<Duration>>,
}
