//! Finding a call that a given rule decides: from the policy's cases, else made from what the rule matches.
//!
//! Bounded, and honest about what it cannot find: a rule without a call found is reported, never passed over.

use std::collections::BTreeSet;

use super::sample::{How, Judged, Sample};
use super::values;
use crate::config::model::values::METHODS;
use crate::config::settings::{Config, Route, Upstream};
use crate::domain::policy::cases::{Case, Request, Texts};
use crate::domain::policy::model::{Globs, Match, Rule as RuleModel};
use crate::domain::policy::{CompiledPolicy, Rule};
use crate::protocol::mcp::is_tool_name;

/// The most calls that are judged to find one.
const JUDGED_MAX: usize = 5_000;
/// The most agents that are tried.
const AGENTS_MAX: usize = 16;

/// Looks for calls.
pub(super) struct Search<'c> {
    pub(super) config: &'c Config,
    pub(super) policy: &'c CompiledPolicy,
    pub(super) cases: &'c [Case],
}

/// A call before it has an agent and a route.
struct Idea {
    tool: String,
    method: Option<String>,
    path: Option<String>,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    agent: Option<String>,
    args: Option<String>,
}

impl Search<'_> {
    /// A call that `rule` decides.
    pub(super) fn of_rule(&self, rule: &Rule) -> Option<Sample> {
        let file = self.config.policies.files.iter().find(|file| file.name == rule.file())?;
        let model = file.model.rules.get(rule.position())?;
        let mut left = JUDGED_MAX;
        let ideas = self.cases.iter().map(|case| of_case(&case.request));
        self.first(ideas, &mut left, &|judged| judged.is_of(rule)).or_else(|| {
            let ideas = self.made(model);
            self.first(ideas.into_iter(), &mut left, &|judged| judged.is_of(rule))
        })
    }

    /// A call through `route` that no rule names, so that the policy's default decides.
    pub(super) fn of_default(&self, route: &Route) -> Result<Sample, String> {
        let nothing = || format!("a rule names every call through {}", route.path);
        let agents = self.agents(None);
        let upstreams = || route.upstreams.iter().filter_map(|name| self.config.upstreams.get(name));
        for args in [Some("{}".to_owned()), None] {
            for upstream in upstreams() {
                let samples = match &upstream.mcp {
                    Some(_) => mcp(route, upstream, "holdpoint_verify_unnamed").into_iter().collect(),
                    None => METHODS.iter().filter_map(|method| unnamed(route, upstream, method)).collect::<Vec<_>>(),
                };
                for sample in samples {
                    for agent in &agents {
                        let sample = Sample { agent: agent.clone(), args: args.clone(), ..sample.clone() };
                        let judged = without_senseless_body(&sample).judge(self.config, self.policy);
                        if judged.is_some_and(|judged| judged.rule.is_none()) {
                            return Ok(without_senseless_body(&sample));
                        }
                    }
                }
            }
        }
        Err(nothing())
    }

    /// The agents to try: the one wanted, or all, and nobody where nobody is let in.
    fn agents(&self, wanted: Option<&str>) -> Vec<Option<String>> {
        let known = self.config.agents.iter().map(|agent| Some(agent.id.0.clone()));
        let mut agents: Vec<_> = known.take(AGENTS_MAX).collect();
        if self.config.anonymous {
            agents.push(None);
        }
        agents.sort_by_key(|agent| agent.as_deref() != wanted);
        agents
    }

    fn first(
        &self,
        ideas: impl Iterator<Item = Idea>,
        left: &mut usize,
        wanted: &dyn Fn(&Judged<'_>) -> bool,
    ) -> Option<Sample> {
        for idea in ideas {
            for route in self.config.routes.iter() {
                for sample in self.placed(route, &idea) {
                    for agent in self.agents(idea.agent.as_deref()) {
                        *left = left.checked_sub(1)?;
                        let sample = without_senseless_body(&Sample { agent, ..sample.clone() });
                        // With its mark, as it will be sent.
                        if sample.marked(0).judge(self.config, self.policy).is_some_and(|judged| wanted(&judged)) {
                            return Some(sample);
                        }
                    }
                }
            }
        }
        None
    }

    /// Every way of making the call through a route.
    fn placed(&self, route: &Route, idea: &Idea) -> Vec<Sample> {
        let mut placed = Vec::new();
        for upstream in route.upstreams.iter().filter_map(|name| self.config.upstreams.get(name)) {
            if upstream.mcp.is_some() {
                placed.extend(mcp(route, upstream, &idea.tool));
            } else {
                placed.extend(plain(route, upstream, idea));
            }
        }
        for sample in &mut placed {
            sample.args.clone_from(&idea.args);
        }
        placed
    }

    /// Calls made from what a rule says.
    fn made(&self, rule: &RuleModel) -> Vec<Idea> {
        let (tools, method, path, query) = self.matched(rule);
        let conditions: Vec<&str> = self
            .config
            .policies
            .files
            .iter()
            .flat_map(|file| &file.model.rules)
            .filter_map(|rule| rule.when.as_deref())
            .collect();
        let args = values::candidates(rule.when.as_deref(), &conditions);
        let mut ideas = Vec::new();
        for args in args {
            for tool in &tools {
                ideas.push(Idea {
                    tool: tool.clone(),
                    method: method.clone(),
                    path: path.clone(),
                    query: query.clone(),
                    headers: Vec::new(),
                    agent: None,
                    args: args.clone(),
                });
            }
        }
        ideas
    }

    #[expect(clippy::type_complexity, reason = "the four parts of a match, used once")]
    fn matched(&self, rule: &RuleModel) -> (BTreeSet<String>, Option<String>, Option<String>, Vec<(String, String)>) {
        let (globs, method, path) = match &rule.matches {
            Match::Tools(globs) => (Some(globs), None, None),
            Match::Object(object) => (object.tool.as_ref(), object.method.as_ref(), object.path.as_ref()),
        };
        let first = |globs: Option<&Globs>| globs.and_then(|globs| globs.any_of.first()).map(|glob| filled(glob, "x"));
        let method = method.map(|globs| {
            let known = METHODS.iter().find(|method| globs.any_of.iter().any(|glob| glob == **method));
            known.map_or_else(|| "POST".to_owned(), |method| (*method).to_owned())
        });
        let mut tools = BTreeSet::new();
        let mapped = self.config.upstreams.values().flat_map(|upstream| &upstream.tools);
        tools.extend(mapped.map(|tool| tool.tool.as_str().to_owned()));
        for glob in globs.map_or(&["x".to_owned()][..], |globs| &globs.any_of) {
            for filling in ["x", "", "1"] {
                tools.extend(self.names(glob, filling));
            }
        }
        (tools, method, first(path), Vec::new())
    }

    /// Names that a glob could mean: as a tool, and as `<upstream>:<METHOD> <path>`.
    fn names(&self, glob: &str, filling: &str) -> Vec<String> {
        let mut names = vec![filled(glob, filling)];
        let plain = self.config.upstreams.values().filter(|upstream| upstream.mcp.is_none());
        for upstream in plain {
            let rest = glob.strip_prefix(&format!("{}:", upstream.name));
            match rest.and_then(|rest| rest.split_once(' ')) {
                Some((method, path)) if method.contains(['*', '?']) => {
                    names.extend(METHODS.iter().map(|m| format!("{}:{m} {}", upstream.name, filled(path, filling))));
                }
                Some(_) => {}
                None => {
                    let path = filled(glob.rsplit(' ').next().unwrap_or(glob), filling);
                    let path = path.trim_start_matches('/').to_owned();
                    names.extend(["POST", "DELETE", "GET"].map(|m| format!("{}:{m} /{path}", upstream.name)));
                }
            }
        }
        names
    }
}

/// A glob with something in its gaps.
fn filled(glob: &str, filling: &str) -> String {
    glob.replace('*', filling).replace('?', "x")
}

fn of_case(request: &Request) -> Idea {
    let pairs = |texts: &std::collections::BTreeMap<String, Texts>| {
        let each = texts.iter().flat_map(|(name, texts)| match texts {
            Texts::One(text) => vec![(name.clone(), text.clone())],
            Texts::Many(texts) => texts.iter().map(|text| (name.clone(), text.clone())).collect(),
        });
        each.collect()
    };
    Idea {
        tool: request.tool.clone(),
        method: Some(request.method.clone()),
        path: Some(request.path.clone()),
        query: pairs(&request.query),
        headers: pairs(&request.headers),
        agent: Some(request.agent.clone()),
        args: request.args_json.clone().or_else(|| request.args.as_ref().map(ToString::to_string)),
    }
}

/// The call as a plain request: by the tools' mapping, or by its name.
fn plain(route: &Route, upstream: &Upstream, idea: &Idea) -> Vec<Sample> {
    let mut found = Vec::new();
    let mut add = |method: &str, path: &str, tool: &str| {
        let Some(path) = at_proxy(route, path) else { return };
        let query: Vec<String> =
            idea.query.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let how =
            How::Http { method: method.to_owned(), target: format!("{path}{query}"), headers: idea.headers.clone() };
        let (upstream, tool) = (upstream.name.as_str().to_owned(), tool.to_owned());
        found.push(Sample { agent: None, upstream, tool, how, args: None, mark: None });
    };
    for mapping in upstream.tools.iter().filter(|mapping| mapping.tool.as_str() == idea.tool) {
        let segments =
            mapping.call.path().split('/').map(|segment| if segment.starts_with('{') { "1" } else { segment });
        add(mapping.call.method(), &segments.collect::<Vec<_>>().join("/"), &idea.tool);
        if let Some(path) = &idea.path {
            add(mapping.call.method(), path, &idea.tool);
        }
    }
    let unmapped = idea.tool.strip_prefix(&format!("{}:", upstream.name));
    if let Some((method, path)) = unmapped.and_then(|rest| rest.split_once(' ')) {
        add(method, path, &idea.tool);
    }
    if let (Some(method), Some(path)) = (&idea.method, &idea.path) {
        add(method, path, &idea.tool);
    }
    found
}

/// A path below an upstream as it is at the proxy.
fn at_proxy(route: &Route, below: &str) -> Option<String> {
    let path = match (route.path.is_prefix(), below) {
        (true, below) => format!("{}{}", route.path.as_str().trim_end_matches('/'), below),
        (false, "/") => route.path.as_str().to_owned(),
        (false, _) => return None,
    };
    // What no request line can hold is no call.
    (path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic())).then_some(path)
}

fn escaped(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// The call as a `tools/call`, where the server can have a tool of that name.
fn mcp(route: &Route, upstream: &Upstream, tool: &str) -> Option<Sample> {
    let settings = upstream.mcp.as_ref()?;
    let several = route.upstreams.len() > 1;
    let (tool, name) = match tool.strip_prefix(settings.tool_prefix.as_str()) {
        Some(name) => (tool.to_owned(), name.to_owned()),
        // A name that the policy's default is tried with has no prefix.
        None => (format!("{}{tool}", settings.tool_prefix), tool.to_owned()),
    };
    let offered = if several { tool.clone() } else { name.clone() };
    if !is_tool_name(&name) {
        return None;
    }
    let path = if route.path.is_prefix() { route.path.as_str().to_owned() } else { route.path.to_string() };
    let how = How::Mcp { path, name: offered, several };
    Some(Sample { agent: None, upstream: upstream.name.as_str().to_owned(), tool, how, args: None, mark: None })
}

/// A plain call that is named in no mapping.
fn unnamed(route: &Route, upstream: &Upstream, method: &str) -> Option<Sample> {
    let below = if route.path.is_prefix() { "/holdpoint-verify-unnamed" } else { "/" };
    let target = at_proxy(route, below)?;
    let how = How::Http { method: method.to_owned(), target, headers: Vec::new() };
    let (upstream, tool) = (upstream.name.as_str().to_owned(), String::new());
    Some(Sample { agent: None, upstream, tool, how, args: None, mark: None })
}

/// Without a body where the method has none.
fn without_senseless_body(sample: &Sample) -> Sample {
    let bare = match &sample.how {
        How::Http { method, .. } => matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS"),
        How::Mcp { .. } => false,
    };
    if bare { Sample { args: None, ..sample.clone() } } else { sample.clone() }
}
