//! Where a request goes and what its call is named. Built once per configuration; finding is a walk over few entries.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Uri};

use super::body::CallBody;
use crate::config::settings::{self, UpstreamName};
use crate::connect::Transport;
use crate::domain::tools::OnToolChange;
use crate::gate::intake::plain_path;
use crate::protocol::target::{Lookup, RequestTarget, TemplateSet};
use crate::telemetry::metrics::UpstreamMetrics;

/// A place that calls are forwarded to.
pub struct Upstream {
    /// Its configured name.
    pub name: String,
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: Authority,
    /// The same as the `Host` of every request to it.
    pub host: HeaderValue,
    /// The path of its URL as configured; empty or `/` when there is none.
    pub base_path: String,
    /// The same as it goes into requests for nothing below it.
    pub base: PathAndQuery,
    /// Connections to it.
    pub client: Transport<CallBody>,
    /// Headers that the configuration adds; the caller never sees them.
    pub headers: HeaderMap,
    /// Method and path to the place of the tool's name in `tools`.
    pub templates: TemplateSet,
    /// Names of mapped tools.
    pub tools: Vec<String>,
    /// How long it may take to answer with a head.
    pub timeout: Duration,
    /// Its counters.
    pub metrics: UpstreamMetrics,
    /// How it is spoken to as an MCP server; `None`: every request is a call.
    pub mcp: Option<settings::McpSettings>,
    /// What becomes of calls of tools whose definition nobody has accepted.
    pub on_tool_change: OnToolChange,
}

/// All routes, and the upstreams behind them.
pub struct Routes {
    routes: settings::Routes,
    upstreams: Vec<Arc<Upstream>>,
    /// The upstreams of routes that have several, by the routes' paths.
    several: HashMap<String, Arc<[Arc<Upstream>]>>,
}

/// A request that has found its upstream.
pub struct Destination<'r> {
    /// The upstream.
    pub upstream: &'r Arc<Upstream>,
    /// Path and query below the upstream's URL: what tools are named by and what policy sees.
    pub target: RequestTarget,
    /// All upstreams of a route that has several.
    pub several: Option<&'r Arc<[Arc<Upstream>]>>,
    /// How long the route lets held MCP calls keep their callers.
    pub inline_budget: Option<Duration>,
}

/// The path is one that a careless server would take for a mapped tool, though it is another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the path differs from the one of tool `{tool}` in letter case or a trailing slash only")]
pub struct NearMiss {
    /// The mapped tool.
    pub tool: String,
}

impl Routes {
    /// The configured routes over the upstreams that they name.
    pub fn new(routes: settings::Routes, upstreams: Vec<Arc<Upstream>>) -> Self {
        let named = |name: &UpstreamName| upstreams.iter().find(|upstream| upstream.name == name.as_str()).cloned();
        let several = routes.iter().filter(|route| route.upstreams.len() > 1);
        let several = several
            .map(|route| (route.path.as_str().to_owned(), route.upstreams.iter().filter_map(named).collect()))
            .collect();
        Self { routes, upstreams, several }
    }

    /// The upstream with this name.
    pub fn upstream(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.upstreams.iter().find(|upstream| upstream.name == name)
    }

    /// The route for a target; the target again when there is none. A document about authorization stands at the root of its host
    /// and goes, without a route of its own, where the MCP server goes that it is about.
    pub fn find(&self, target: RequestTarget) -> Result<Destination<'_>, RequestTarget> {
        let Some((route, rest)) = self.routes.find(target.path()) else { return self.find_well_known(target) };
        let first = route.upstreams.first();
        let Some(upstream) = first.and_then(|first| self.upstream(first.as_str())) else { return Err(target) };
        let several = self.several.get(route.path.as_str());
        let start = target.path().len() - rest.len();
        let target = match rest.is_empty() {
            true => target.at_root(),
            false => target.below(start)?,
        };
        Ok(Destination { upstream, target, several, inline_budget: route.inline_budget })
    }
}

impl Routes {
    /// `/.well-known/<document>/<route>` is about the server behind that route, `/.well-known/<document>` about the only one there is.
    fn find_well_known(&self, target: RequestTarget) -> Result<Destination<'_>, RequestTarget> {
        let Some((document, about)) = well_known(target.path()) else { return Err(target) };
        let found = match about {
            "" => {
                let mut servers = self.routes.iter().filter_map(|route| self.document_server(route));
                match (servers.next(), servers.next()) {
                    (Some(only), None) => Some((only, String::new())),
                    (None, _) | (Some(_), Some(_)) => None,
                }
            }
            about => self.routes.find(about).and_then(|(route, rest)| {
                let server = self.document_server(route)?;
                Some((server, format!("{}{rest}", server.base_path.trim_end_matches('/'))))
            }),
        };
        let Some((upstream, path)) = found else { return Err(target) };
        let query = &target.as_str()[target.path().len()..];
        match RequestTarget::parse(&format!("{document}{path}{query}")) {
            Ok(at_root) => Ok(Destination { upstream, target: at_root, several: None, inline_budget: None }),
            Err(_) => Err(target),
        }
    }

    /// The one MCP server behind a route, if it has a host that documents can stand on.
    fn document_server(&self, route: &settings::Route) -> Option<&Arc<Upstream>> {
        let [only] = route.upstreams.as_slice() else { return None };
        self.upstream(only.as_str()).filter(|upstream| upstream.mcp.is_some() && !upstream.client.is_program())
    }
}

/// The documents about authorization that a client of an MCP server looks for (RFC 9728, RFC 8414, OpenID Connect Discovery).
const WELL_KNOWN: [&str; 3] = [
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
];

/// The document that a path names, and the path behind it.
pub(super) fn well_known(path: &str) -> Option<(&'static str, &str)> {
    WELL_KNOWN.into_iter().find_map(|document| {
        let about = path.strip_prefix(document)?;
        (about.is_empty() || about.starts_with('/')).then_some((document, about))
    })
}

impl<'r> Destination<'r> {
    /// Whether the target is what is spoken to as an MCP server: the upstream's URL itself, or a document that is only read. Most of
    /// what goes there is not judged, so nothing else on that host may be reached.
    pub fn is_mcp_endpoint(&self) -> bool {
        self.target.path() == "/" || well_known(self.target.path()).is_some()
    }

    /// The tool's name: the mapped one, or `<upstream>:<METHOD> <path>`.
    ///
    /// # Errors
    /// When the path is a near miss of a mapped one: a server that folds case or slashes would run that tool.
    pub fn tool(&self, method: &str) -> Result<Cow<'r, str>, NearMiss> {
        match self.upstream.templates.find(method, &self.target) {
            Lookup::Exact(place) => Ok(self.upstream.tools[place].as_str().into()),
            Lookup::Near(place) => Err(NearMiss { tool: self.upstream.tools[place].clone() }),
            // Decoded, so that two spellings of one path have one name.
            Lookup::None => Ok(format!("{}:{} {}", self.upstream.name, method, plain_path(&self.target)).into()),
        }
    }
}

impl Upstream {
    /// Where a call with this target goes: below the path of the upstream's URL, or exactly there when nothing is left below the
    /// route. `received` is how the target came, if it came: where nothing is cut off or put before, it is used again.
    pub fn uri(&self, target: &RequestTarget, received: Option<&PathAndQuery>) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(match received {
            Some(received) if matches!(self.base_path.as_str(), "" | "/") && received.as_str() == target.as_str() => {
                received.clone()
            }
            _ if target.as_str() == "/" => self.base.clone(),
            _ => self.path_and_query(target),
        });
        Uri::from_parts(parts).expect("scheme, authority and path make a URI")
    }

    fn path_and_query(&self, target: &RequestTarget) -> PathAndQuery {
        let document = self.mcp.is_some() && well_known(target.path()).is_some();
        let text = match (self.base_path.as_str(), target.as_str()) {
            ("" | "/", below) => below.to_owned(),
            // Stands at the root of the host, wherever the server is.
            (_, below) if document => below.to_owned(),
            (base, below) if below.starts_with("/?") => format!("{base}{}", &below[1..]),
            (base, below) => format!("{}{below}", base.trim_end_matches('/')),
        };
        let path = PathAndQuery::from_maybe_shared(bytes::Bytes::from(text));
        path.expect("a checked target behind a checked base path is a path")
    }
}
