//! The configuration as the program uses it: every value checked, every secret resolved, every file read.
//!
//! [`Config`] is made by `load` alone. It holds no YAML and no paths that are still to be read, except the store's.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

pub use super::model::limits::{LogFormat, LogLevel};
pub use super::model::listeners::ClientAuth;
pub use super::model::urls::{HostName, PublicUrl, UpstreamUrl};
pub use super::model::values::{CallPattern, RoutePath, ToolName, UpstreamName};
pub use super::model::{Mode, Role};
use super::secrets::Secret;
use crate::domain::identity::{AgentId, Reviewer};
use crate::domain::tools::OnToolChange;

/// One loaded configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The listener for agents.
    pub proxy: ProxySettings,
    /// The listener for reviewers.
    pub admin: AdminSettings,
    /// Where state is kept.
    pub store: StoreSettings,
    /// The policy files, in order.
    pub policies: super::policies::Policies,
    /// Whether verdicts are enforced.
    pub mode: Mode,
    /// Who may call, in the order written.
    pub agents: Vec<AgentCredential>,
    /// Whether callers without a credential are let in as the agent `anonymous`.
    pub anonymous: bool,
    /// Who may decide, in the order written.
    pub reviewers: Vec<ReviewerCredential>,
    /// SHA-256 of the token that `/metrics` asks for; `None`: it asks for none.
    pub metrics_token_sha256: Option<Secret<[u8; 32]>>,
    /// The tool backends.
    pub upstreams: BTreeMap<UpstreamName, Upstream>,
    /// Which path goes where.
    pub routes: Routes,
    /// Bounds on what callers can make the gateway hold.
    pub limits: Limits,
    /// How long a shutdown waits for releases in flight.
    pub drain_timeout: Duration,
    /// The form of the log.
    pub log_format: LogFormat,
    /// The least severe lines of the log.
    pub log_level: LogLevel,
}

/// `proxy`.
#[derive(Debug, Clone)]
pub struct ProxySettings {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// TLS; `None`: plain HTTP.
    pub tls: Option<TlsSettings>,
    /// How long a client may take to send a request's head.
    pub header_timeout: Duration,
    /// How long a client may take to send a request's body.
    pub body_timeout: Duration,
}

/// `admin`.
#[derive(Debug, Clone)]
pub struct AdminSettings {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// TLS; `None`: plain HTTP.
    pub tls: Option<TlsSettings>,
    /// The URL under which reviewers reach the page.
    pub public_url: Option<PublicUrl>,
    /// The hosts that requests may name, without ports; never empty.
    pub allowed_hosts: Vec<HostName>,
    /// How long a sign-in lasts.
    pub session_ttl: Duration,
}

/// Certificates of a listener: each file was read and parsed, and certificate and key fit together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key of the leaf.
    pub key: PathBuf,
    /// The authorities for client certificates; `None` exactly when `client_auth` is `none`.
    pub client_ca: Option<PathBuf>,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuth,
}

/// `store`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// The SQLite file.
    pub path: PathBuf,
    /// The key that encrypts held requests at rest.
    pub secret_key: Option<Secret<[u8; 32]>>,
    /// Earlier keys, which open what was sealed with them and seal nothing.
    pub previous_secret_keys: Vec<Secret<[u8; 32]>>,
}

/// An agent and the digest of its token.
#[derive(Debug, Clone)]
pub struct AgentCredential {
    /// The agent.
    pub id: AgentId,
    /// SHA-256 of its token; unique among all credentials.
    pub token_sha256: Secret<[u8; 32]>,
    /// How long its held MCP calls keep it; `None`: as route and rule say.
    pub inline_budget: Option<Duration>,
}

/// A reviewer and the digest of its token.
#[derive(Debug, Clone)]
pub struct ReviewerCredential {
    /// The person.
    pub reviewer: Reviewer,
    /// SHA-256 of the token; unique among all credentials.
    pub token_sha256: Secret<[u8; 32]>,
}

/// One of `upstreams`.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Its name.
    pub name: UpstreamName,
    /// Where it is.
    pub place: Place,
    /// What happens to a call of a tool whose definition is new or has changed; of no meaning for plain HTTP.
    pub on_tool_change: OnToolChange,
    /// Headers set on every request, in place of what the caller sent; values are marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How it is spoken to as an MCP server; `None`: every request is a call.
    pub mcp: Option<McpSettings>,
    /// Names for calls, the configured ones first: they win over those of an OpenAPI document. No two have the
    /// same method and path shape.
    pub tools: Vec<ToolMapping>,
    /// How long it may take until the head of its response.
    pub timeout: Duration,
}

/// Where an upstream is.
#[derive(Debug, Clone)]
pub enum Place {
    /// On the network.
    Url(UrlSettings),
    /// On this machine: a program that the gateway runs.
    Program(ProgramSettings),
}

/// An upstream on the network.
#[derive(Debug, Clone)]
pub struct UrlSettings {
    /// Its URL.
    pub url: UpstreamUrl,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// The file with the authorities to trust in place of the system's, read and parsed; `None`: the system's.
    pub ca: Option<PathBuf>,
}

/// An upstream that is a program.
#[derive(Debug, Clone)]
pub struct ProgramSettings {
    /// The file to run, found and executable when the configuration was loaded; absolute.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its whole environment.
    pub environment: Vec<(String, Secret<String>)>,
    /// The folder it runs in; absolute.
    pub folder: PathBuf,
    /// Children at the same time; above zero.
    pub children_max: usize,
    /// How long a child may have nothing to do before it is ended.
    pub idle_timeout: Duration,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Url(settings) => settings.url.fmt(f),
            // Arguments may hold what should not be shown.
            Place::Program(settings) => write!(f, "the program {}", settings.program.display()),
        }
    }
}

/// What is special about an upstream with `protocol: mcp`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct McpSettings {
    /// What stands before its tools' names in policy; may be empty.
    pub tool_prefix: String,
    /// Whether `tools/list` leaves out what policy blocks for whoever asks.
    pub hides_blocked: bool,
    /// Whether tools that a rule may hold say so in their description.
    pub annotates_tools: bool,
}

/// The name of one kind of call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolMapping {
    /// Method and path below the upstream's URL.
    pub call: CallPattern,
    /// The tool's name.
    pub tool: ToolName,
}

/// One of `routes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The path.
    pub path: RoutePath,
    /// The upstream, which exists; or several MCP servers that are one endpoint.
    pub upstreams: Vec<UpstreamName>,
    /// How long held MCP calls keep their callers; `None`: as the rule says.
    pub inline_budget: Option<Duration>,
}

/// All routes; the longest path that fits wins.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    longest_first: Vec<Route>,
}

impl Routes {
    /// From routes with distinct paths.
    pub(super) fn new(mut routes: Vec<Route>) -> Self {
        routes.sort_by_key(|route| std::cmp::Reverse(route.path.as_str().len()));
        Self { longest_first: routes }
    }

    /// The route for a canonical request path, and the path that remains for the upstream: what follows the prefix
    /// with its leading `/`, or nothing when the route names one exact path.
    #[must_use]
    pub fn find<'p>(&self, path: &'p str) -> Option<(&Route, &'p str)> {
        self.longest_first.iter().find_map(|route| {
            let own = route.path.as_str();
            if route.path.is_prefix() {
                path.starts_with(own).then(|| (route, &path[own.len() - 1..]))
            } else {
                (path == own).then_some((route, ""))
            }
        })
    }

    /// Keeps held MCP calls' callers for `budget` on every route.
    pub fn keep_mcp_callers(&mut self, budget: Duration) {
        for route in &mut self.longest_first {
            route.inline_budget = Some(budget);
        }
    }

    /// The routes, longest path first.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.longest_first.iter()
    }
}

/// `limits`; every one is above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest request body that is read.
    pub body_bytes_max: usize,
    /// The largest head of a request.
    pub header_bytes_max: usize,
    /// Pending approvals that one agent may have.
    pub pending_per_agent_max: usize,
    /// Pending approvals in total.
    pub pending_total_max: usize,
    /// Bytes of request bodies held in memory in total.
    pub held_bytes_max: usize,
    /// Open connections per listener.
    pub connections_max: usize,
    /// The largest upstream response that is kept for a detached call.
    pub response_bytes_max: usize,
    /// The longest wait that a caller may ask for.
    pub wait_max: Duration,
}
