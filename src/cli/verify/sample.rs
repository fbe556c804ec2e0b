//! A call that an agent could make through this configuration, and what its policy says about it.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::value::RawValue;

use super::wire::Request;
use crate::config::settings::{Config, Upstream};
use crate::domain::call::Protocol;
use crate::domain::identity::AgentId;
use crate::domain::policy::{CompiledPolicy, Rule, VerdictKind};
use crate::domain::time::Clock as _;
use crate::domain::tools::Claims;
use crate::gate::intake::{Body, Call, viewed};
use crate::protocol::json::{Limits, confusable_with, read};
use crate::protocol::target::{Lookup, RequestTarget, TemplateSet};
use crate::telemetry::clock::SystemClock;

/// A call in the form in which it is sent. Its agent and, over MCP, its session are put in when it is.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// The calling agent's id; `None`: a caller without a credential.
    pub(super) agent: Option<String>,
    /// The configured name of its upstream.
    pub(super) upstream: String,
    /// The name that policy knows it by.
    pub(super) tool: String,
    pub(super) how: How,
    /// The arguments as JSON text.
    pub(super) args: Option<String>,
    /// Makes it differ from every other call without changing what any rule reads.
    pub(super) mark: Option<u64>,
}

/// How it is sent.
#[derive(Debug, Clone)]
pub(super) enum How {
    /// A plain request.
    Http {
        method: String,
        /// Path and query at the proxy, without the mark.
        target: String,
        headers: Vec<(String, String)>,
    },
    /// A `tools/call`.
    Mcp {
        /// The route's path at the proxy.
        path: String,
        /// The tool as the server knows it, or as the route with several servers offers it.
        name: String,
        /// Whether the route has several servers, which takes a session.
        several: bool,
    },
}

/// What the policy says: the verdict, and which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Judged<'p> {
    pub(super) kind: VerdictKind,
    /// The rule's file and place in it; `None`: no rule.
    pub(super) rule: Option<(&'p str, usize)>,
}

impl Judged<'_> {
    pub(super) fn is_of(&self, rule: &Rule) -> bool {
        self.rule == Some((rule.file(), rule.position()))
    }
}

impl Sample {
    pub(super) fn is_mcp(&self) -> bool {
        matches!(self.how, How::Mcp { .. })
    }

    /// Another call of the same kind.
    pub(super) fn marked(&self, mark: u64) -> Self {
        Self { mark: Some(mark), ..self.clone() }
    }

    /// Path and query at the proxy.
    pub(super) fn target(&self) -> String {
        match (&self.how, self.mark) {
            (How::Mcp { path, .. }, _) => path.clone(),
            (How::Http { target, .. }, None) => target.clone(),
            (How::Http { target, .. }, Some(mark)) => {
                let joint = if target.contains('?') { '&' } else { '?' };
                format!("{target}{joint}holdpoint-verify={mark}")
            }
        }
    }

    /// The body as sent.
    pub(super) fn body(&self) -> Option<String> {
        let How::Mcp { name, .. } = &self.how else { return self.args.clone() };
        let name = serde_json::Value::from(name.as_str());
        let args = self.args.as_ref().map_or_else(String::new, |args| format!(r#","arguments":{args}"#));
        let mark = self.mark.map_or_else(String::new, |mark| format!(r#","_meta":{{"holdpoint-verify":{mark}}}"#));
        Some(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":{name}{args}{mark}}}}}"#))
    }

    /// The request, without a credential.
    pub(super) fn request(&self) -> Request {
        let (method, headers) = match &self.how {
            How::Http { method, headers, .. } => (method.as_str(), headers.as_slice()),
            How::Mcp { .. } => ("POST", &[][..]),
        };
        let (mut request, body) = (Request::new(method, &self.target()), self.body());
        for (name, value) in headers {
            // A case may name the type that a body comes with anyway; named twice, it would be refused.
            if body.is_none() || !name.eq_ignore_ascii_case("content-type") {
                request = request.header(name, value);
            }
        }
        // No event stream: an answer is one document.
        let request = request.header("accept", "application/json");
        match body {
            Some(body) => request.json(body),
            None => request,
        }
    }

    /// The path and query at the upstream.
    pub(super) fn target_below(&self, config: &Config) -> Option<String> {
        let (_, _, target) = place(config, &self.target())?;
        Some(target.as_str().to_owned())
    }

    /// How it is named in the report.
    pub(super) fn shown(&self) -> String {
        let who = self.agent.as_deref().unwrap_or(AgentId::ANONYMOUS);
        match &self.how {
            How::Http { method, .. } => format!("{method} {} by `{who}`", self.target()),
            How::Mcp { path, name, .. } => format!("tools/call `{name}` at {path} by `{who}`"),
        }
    }

    /// What the policy says, seen as the gateway sees the call. `None` when the gateway would refuse to read it.
    pub(super) fn judge<'p>(&self, config: &Config, policy: &'p CompiledPolicy) -> Option<Judged<'p>> {
        let (upstream, _, target) = place(config, &self.target())?;
        let agent = AgentId(self.agent.clone().unwrap_or_else(|| AgentId::ANONYMOUS.to_owned()));
        let args = match self.args.as_ref().map(|args| read(args.as_bytes(), &Limits::default())) {
            Some(Ok(args)) => Some(args),
            Some(Err(_)) => return None,
            None => None,
        };
        let request = self.request();
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            headers.append(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
        }
        let method = Method::try_from(request.method.as_str()).ok()?;
        let (tool, protocol, upstream) = match &self.how {
            How::Http { method, .. } => (name_of(upstream, method, &target)?, Protocol::Http, upstream.name.as_str()),
            How::Mcp { .. } => (self.tool.clone(), Protocol::Mcp, self.upstream.as_str()),
        };
        let call = Call {
            agent: &agent,
            upstream,
            tool: &tool,
            method: &method,
            target: &target,
            headers: &headers,
            protocol,
            // The scratch upstreams list no tools.
            claims: if self.is_mcp() { Claims::Unknown } else { Claims::NoTool },
        };
        let body = args.as_ref().map_or(Body::Absent, Body::Read);
        viewed(&call, body, SystemClock.now(), |view| {
            if let Some(args) = &args
                && policy.confusable_key(view, args, &confusable_with).is_some()
            {
                return None;
            }
            let verdict = policy.judge(view);
            Some(Judged { kind: verdict.kind, rule: verdict.rule.map(|rule| (rule.file(), rule.position())) })
        })
    }

    /// Calls that a person would take for another: one part of this one changed alone, in a way that policy does not mind.
    pub(super) fn changed(&self, config: &Config, mark: u64) -> Vec<(&'static str, Self)> {
        let mut changed = Vec::new();
        if let Some(args) = &self.args {
            let other = with_member(args, "holdpoint-verify", "1").unwrap_or_else(|| format!("{args} "));
            changed.push(("an argument more", Self { args: Some(other), ..self.clone() }));
            if !self.is_mcp() {
                changed.push(("one space more in the body", Self { args: Some(format!("{args} ")), ..self.clone() }));
            }
        }
        let what = if self.is_mcp() { "another `_meta`" } else { "another query" };
        changed.push((what, self.marked(mark)));
        for agent in config.agents.iter().filter(|agent| Some(&agent.id.0) != self.agent.as_ref()).take(1) {
            changed.push(("another agent", Self { agent: Some(agent.id.0.clone()), ..self.clone() }));
        }
        changed
    }
}

/// The JSON object with one more member in front; `None` when the text is no object.
pub(super) fn with_member(object: &str, key: &str, value: &str) -> Option<String> {
    let members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(object).ok()?;
    let inside = object.trim_start().strip_prefix('{')?;
    let comma = if members.is_empty() { "" } else { "," };
    let text = format!("{{{}:{value}{comma}{inside}", serde_json::Value::from(key));
    serde_json::from_str::<&RawValue>(&text).ok().map(|_| text.clone())
}

/// Where a path and query lead: the upstream, all of them where the route has several, and what is left of the target.
pub(super) fn place<'c>(config: &'c Config, target: &str) -> Option<(&'c Upstream, Vec<&'c Upstream>, RequestTarget)> {
    let target = RequestTarget::parse(target).ok()?;
    let (route, rest) = config.routes.find(target.path())?;
    let all: Vec<&Upstream> = route.upstreams.iter().filter_map(|name| config.upstreams.get(name)).collect();
    let start = target.path().len() - rest.len();
    let below = if rest.is_empty() { target.at_root() } else { target.below(start).ok()? };
    Some((*all.first()?, all, below))
}

/// The name of a plain call; `None` for a path that the gateway refuses as a near miss.
fn name_of(upstream: &Upstream, method: &str, target: &RequestTarget) -> Option<String> {
    let templates = upstream.tools.iter().map(|tool| (tool.call.method(), tool.call.template()));
    match TemplateSet::new(templates).ok().map(Arc::new)?.find(method, target) {
        Lookup::Exact(place) => Some(upstream.tools.get(place)?.tool.as_str().to_owned()),
        Lookup::Near(_) => None,
        Lookup::None => Some(format!("{}:{method} {}", upstream.name, target.decoded_path())),
    }
}
