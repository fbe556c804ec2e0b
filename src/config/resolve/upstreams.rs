//! `upstreams` and `routes`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::{Context, at, programs, tls};
use crate::config::diagnostic::{Code, nearest};
use crate::config::model::upstreams::{HeaderText, HideName, RouteModel, UpstreamModel};
use crate::config::model::urls::{PublicUrl, UpstreamUrl};
use crate::config::model::values::{Text, TextValue, UpstreamName};
use crate::config::openapi;
use crate::config::settings::{McpSettings, Place, Route, Routes, ToolMapping, Upstream, UrlSettings};
use crate::domain::call::Protocol;
use crate::protocol::target::{TemplateError, TemplateSet};

/// The largest OpenAPI document read.
const OPENAPI_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How long connecting may take, unless configured.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(in crate::config) fn upstreams(
    context: &mut Context<'_>,
    model: &BTreeMap<String, UpstreamModel>,
) -> BTreeMap<UpstreamName, Upstream> {
    let mut upstreams = BTreeMap::new();
    for (name, upstream) in model {
        // The shape was checked, so only names that are names arrive here.
        let Ok(name) = UpstreamName::read(name) else { continue };
        if let Some(made) = make(context, &name, upstream) {
            upstreams.insert(name, made);
        }
    }
    upstreams
}

fn make(context: &mut Context<'_>, name: &UpstreamName, model: &UpstreamModel) -> Option<Upstream> {
    let key = name.as_str();
    let place = place(context, key, model);
    let headers = headers(context, key, model);
    let tools = tools(context, key, model);
    let mcp = mcp(context, key, model);
    let (timeout, on_tool_change) = (model.timeout.0, model.on_tool_change.unwrap_or_default());
    Some(Upstream { name: name.clone(), place: place?, headers, mcp, on_tool_change, tools, timeout })
}

fn place(context: &mut Context<'_>, key: &str, model: &UpstreamModel) -> Option<Place> {
    programs::not_without_command(context, key, model);
    match (&model.url, &model.command) {
        (Some(url), None) => url_settings(context, key, model, &url.0).map(Place::Url),
        (None, Some(command)) => programs::program(context, key, model, command).map(Place::Program),
        (Some(_), Some(_)) => {
            let message = "an upstream is at a `url` or runs a `command`, not both";
            context.error(&at!["upstreams", key, "command"], Code::Conflict, message, "remove one of the two");
            None
        }
        (None, None) => {
            let message = format!("the upstream `{key}` has neither `url` nor `command`");
            let found = context.document.at_key(&at!["upstreams", key], Code::MissingKey, message);
            context
                .found
                .push(found.hint("add `url: http://…`; or, with `protocol: mcp`, `command: [PROGRAM, ARGUMENT, …]`"));
            None
        }
    }
}

fn url_settings(context: &mut Context<'_>, key: &str, model: &UpstreamModel, url: &UpstreamUrl) -> Option<UrlSettings> {
    if model.tls.is_some() && !url.tls() {
        let message = "`tls` does nothing for an `http://` upstream";
        context.error(&at!["upstreams", key, "tls"], Code::Conflict, message, "write an `https://` URL or remove it");
    }
    let ca = match &model.tls {
        Some(_) if !url.tls() => None,
        Some(tls) => Some(tls::authorities(context, &at!["upstreams", key, "tls", "ca"], &tls.ca)?),
        None => None,
    };
    let connect_timeout = model.connect_timeout.as_ref().map_or(CONNECT_TIMEOUT, |timeout| timeout.0);
    Some(UrlSettings { url: url.clone(), connect_timeout, ca })
}

/// The keys that only an MCP upstream has, and those that it cannot have.
fn mcp(context: &mut Context<'_>, upstream: &str, model: &UpstreamModel) -> Option<McpSettings> {
    let is_mcp = model.protocol.0 == Protocol::Mcp;
    let given = [
        ("tool_prefix", model.tool_prefix.is_some(), true),
        ("hide", model.hide.is_some(), true),
        ("annotate_tools", model.annotate_tools.is_some(), true),
        ("on_tool_change", model.on_tool_change.is_some(), true),
        ("tools", !model.tools.is_empty(), false),
        ("openapi", model.openapi.is_some(), false),
    ];
    for (key, _, _) in given.into_iter().filter(|(_, given, for_mcp)| *given && *for_mcp != is_mcp) {
        let (message, hint) = match is_mcp {
            true => (format!("`{key}` names plain HTTP calls; the tools of an MCP server have names"), "remove it"),
            false => (
                format!("`{key}` does nothing for an upstream that is no MCP server"),
                "add `protocol: mcp` or remove it",
            ),
        };
        context.error(&at!["upstreams", upstream, key], Code::Conflict, message, hint);
    }
    is_mcp.then(|| McpSettings {
        tool_prefix: model.tool_prefix.as_ref().map_or_else(String::new, |prefix| prefix.0.as_str().to_owned()),
        hides_blocked: model.hide.as_ref().is_some_and(|hide| hide.0 == HideName::Blocked),
        annotates_tools: model.annotate_tools.unwrap_or(false),
    })
}

fn headers(context: &mut Context<'_>, upstream: &str, model: &UpstreamModel) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (name, text) in &model.headers {
        let at = at!["upstreams", upstream, "headers", name.as_str()];
        let Ok(HeaderText(header)) = HeaderText::read(name) else { continue };
        if headers.iter().any(|(known, _)| *known == header) {
            let message = format!("the header `{name}` is given twice; case does not matter");
            context.error(&at, Code::DuplicateName, message, "keep one");
            continue;
        }
        let Some(value) = context.secret(&at, text) else { continue };
        match HeaderValue::from_str(value.expose()) {
            Ok(mut value) => {
                value.set_sensitive(true);
                headers.push((header, value));
            }
            Err(_) => {
                let message =
                    format!("the value of the header `{name}` holds a line break or another control character");
                context.error(&at, Code::BadValue, message, "check the secret that it refers to");
            }
        }
    }
    headers
}

fn tools(context: &mut Context<'_>, upstream: &str, model: &UpstreamModel) -> Vec<ToolMapping> {
    let mut by_shape = BTreeSet::new();
    let mut tools = Vec::new();
    for (index, tool) in model.tools.iter().enumerate() {
        if by_shape.insert(tool.call.0.shape()) {
            tools.push(ToolMapping { call: tool.call.0.clone(), tool: tool.tool.0.clone() });
        } else {
            let message = format!("`{}` is already named above", tool.call.0.write());
            let at = at!["upstreams", upstream, "tools", index, "call"];
            context.error(&at, Code::DuplicateName, message, "one call has one name; keep one of the two");
        }
    }
    if let Some(file) = &model.openapi {
        let at = at!["upstreams", upstream, "openapi"];
        if let Some(bytes) = context.file(&at, file, OPENAPI_BYTES_MAX) {
            let document = openapi::read(file, &bytes);
            context.found.extend(document.diagnostics);
            tools.extend(document.tools.into_iter().filter(|tool| by_shape.insert(tool.call.shape())));
        }
    }
    // What escapes decode to is seen only here; the proxy builds the same set.
    let set = TemplateSet::new(tools.iter().map(|tool| (tool.call.method(), tool.call.template())));
    if let Err(TemplateError::Ambiguous { first, second }) = set {
        let name = |index: usize| tools.get(index).map_or_else(String::new, |tool| tool.call.write());
        let message = format!("`{}` and `{}` cannot be told apart by every server", name(first), name(second));
        let found = context.document.at_key(&at!["upstreams", upstream], Code::DuplicateName, message);
        context.found.push(found.hint("keep one of the two"));
    }
    tools
}

/// Row H27: through an upstream that is our own listener, an agent could reach the admin API from inside.
pub(in crate::config) fn not_own_listeners(
    context: &mut Context<'_>,
    upstreams: &BTreeMap<String, UpstreamModel>,
    listeners: [SocketAddr; 2],
    public_url: Option<&PublicUrl>,
) {
    for (name, upstream) in upstreams {
        let Some(Text(url)) = &upstream.url else { continue };
        let listener = listeners.iter().find(|listener| url.host().reaches(url.port(), **listener));
        let public = public_url.filter(|public| public.host() == url.host() && public.port() == url.port());
        if listener.is_some() || public.is_some() {
            let message = format!("the upstream `{name}` is one of the gateway's own listeners");
            let hint = "an agent could reach the approvals API through it; name the tool backend itself";
            context.error(&at!["upstreams", name.as_str(), "url"], Code::OwnListener, message, hint);
        }
    }
}

pub(in crate::config) fn routes(
    context: &mut Context<'_>,
    model: &[RouteModel],
    upstreams: &BTreeMap<String, UpstreamModel>,
) -> Routes {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut routes = Vec::new();
    for (index, route) in model.iter().enumerate() {
        let path = route.path.0.as_str();
        if let Some(first) = seen.get(path) {
            let message = format!("the path `{path}` is already routed by `routes[{first}]`");
            context.error(&at!["routes", index, "path"], Code::DuplicateName, message, "keep one of the two");
        } else {
            seen.insert(path, index);
        }
        let targets = targets(context, index, route, upstreams);
        if route.inline_budget.is_some()
            && let Some(plain) = targets.iter().find(|name| !is_mcp(upstreams, name))
        {
            let message =
                format!("`inline_budget` does nothing here: the upstream `{}` is no MCP server", plain.as_str());
            let hint = "a rule's `hold` says how long a plain HTTP call waits; remove it";
            context.error(&at!["routes", index, "inline_budget"], Code::Conflict, message, hint);
        }
        if !targets.is_empty() {
            let inline_budget = route.inline_budget.as_ref().map(|budget| budget.0);
            routes.push(Route { path: route.path.0.clone(), upstreams: targets, inline_budget });
        }
    }
    let is_routed = |name: &str| {
        let routed =
            |route: &RouteModel| route.upstream.iter().chain(&route.upstreams).any(|known| known.0.as_str() == name);
        model.iter().any(routed)
    };
    for name in upstreams.keys().filter(|name| !is_routed(name)) {
        let message = format!("no route leads to the upstream `{name}`");
        let found = context.document.at_key(&at!["upstreams", name.as_str()], Code::Unused, message);
        context
            .found
            .push(found.hint(format!("add `{{ path: /{name}/, upstream: {name} }}` under `routes`")).warning());
    }
    Routes::new(routes)
}

fn is_mcp(upstreams: &BTreeMap<String, UpstreamModel>, name: &UpstreamName) -> bool {
    upstreams.get(name.as_str()).is_some_and(|upstream| upstream.protocol.0 == Protocol::Mcp)
}

/// The upstreams of a route, all of which exist; none after an error.
fn targets(
    context: &mut Context<'_>,
    index: usize,
    route: &RouteModel,
    upstreams: &BTreeMap<String, UpstreamModel>,
) -> Vec<UpstreamName> {
    let names = match (&route.upstream, route.upstreams.as_slice()) {
        (Some(one), []) => std::slice::from_ref(one),
        (None, several @ [_, _, ..]) => several,
        (one, several) => {
            let (message, hint) = match (one.is_some(), several.len()) {
                (true, _) => ("`upstream` and `upstreams` exclude each other", "keep one of the two"),
                (false, 0) => ("the route leads nowhere", "add `upstream`, or `upstreams` with several MCP servers"),
                (false, _) => ("`upstreams` is for several servers", "write `upstream` for one"),
            };
            context.error(&at!["routes", index], Code::Conflict, message, hint);
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let text = name.0.as_str();
        let at = match &route.upstream {
            Some(_) => at!["routes", index, "upstream"].to_vec(),
            None => at!["routes", index, "upstreams", place].to_vec(),
        };
        if !upstreams.contains_key(text) {
            let hint = match nearest(text, upstreams.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "add it under `upstreams`".to_owned(),
            };
            context.error(&at, Code::UnknownName, format!("there is no upstream `{text}`"), &hint);
            continue;
        }
        if names.len() > 1
            && let Some((message, hint)) = unfit_beside(&found, &name.0, upstreams)
        {
            context.error(&at, Code::Conflict, message, &hint);
            continue;
        }
        found.push(name.0.clone());
    }
    found
}

/// Why an upstream cannot stand beside these on one route.
fn unfit_beside(
    others: &[UpstreamName],
    name: &UpstreamName,
    upstreams: &BTreeMap<String, UpstreamModel>,
) -> Option<(String, String)> {
    let prefix_of = |name: &UpstreamName| {
        let model = upstreams.get(name.as_str())?;
        model.tool_prefix.as_ref().map(|prefix| prefix.0.as_str())
    };
    let text = name.as_str();
    if !is_mcp(upstreams, name) {
        let hint = "give plain HTTP upstreams a path of their own".to_owned();
        return Some((format!("the upstream `{text}` is no MCP server and cannot share a path"), hint));
    }
    let Some(prefix) = prefix_of(name) else {
        let hint = format!("add `tool_prefix: {text}_` to the upstream");
        return Some((format!("the upstream `{text}` shares a path and has no `tool_prefix`"), hint));
    };
    let clash = others
        .iter()
        .find(|other| prefix_of(other).is_some_and(|other| other.starts_with(prefix) || prefix.starts_with(other)))?;
    let message = format!("the tools of `{text}` and `{}` cannot be told apart by their prefixes", clash.as_str());
    Some((message, "choose prefixes of which none begins with the other".to_owned()))
}
