//! `upstreams` and `routes`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;

use http::{HeaderName, HeaderValue};

use super::{Context, at, tls};
use crate::config::diagnostic::{Code, nearest};
use crate::config::model::upstreams::{HeaderText, ProtocolName, RouteModel, UpstreamModel};
use crate::config::model::urls::PublicUrl;
use crate::config::model::values::{TextValue, UpstreamName};
use crate::config::openapi;
use crate::config::settings::{Route, Routes, ToolMapping, Upstream};
use crate::protocol::target::{TemplateError, TemplateSet};

/// The largest OpenAPI document read.
const OPENAPI_BYTES_MAX: u64 = 8 * 1024 * 1024;

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
    let url = model.url.0.clone();
    if model.tls.is_some() && !url.tls() {
        let message = "`tls` does nothing for an `http://` upstream";
        context.error(&at!["upstreams", key, "tls"], Code::Conflict, message, "write an `https://` URL or remove it");
    }
    if model.on_tool_change.is_some() && model.protocol.0 != ProtocolName::Mcp {
        let message = "`on_tool_change` does nothing without `protocol: mcp`";
        let hint = "plain HTTP upstreams list no tools; remove it, or write `protocol: mcp`";
        context.error(&at!["upstreams", key, "on_tool_change"], Code::Conflict, message, hint);
    }
    let headers = headers(context, key, model);
    let tools = tools(context, key, model);
    let ca = match &model.tls {
        Some(_) if !url.tls() => None,
        Some(tls) => Some(tls::authorities(context, &at!["upstreams", key, "tls", "ca"], &tls.ca)?),
        None => None,
    };
    Some(Upstream {
        name: name.clone(),
        url,
        protocol: model.protocol.0,
        on_tool_change: model.on_tool_change.unwrap_or_default(),
        headers,
        tools,
        timeout: model.timeout.0,
        connect_timeout: model.connect_timeout.0,
        ca,
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
        let url = &upstream.url.0;
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
        let (path, upstream) = (route.path.0.as_str(), route.upstream.0.as_str());
        if let Some(first) = seen.get(path) {
            let message = format!("the path `{path}` is already routed by `routes[{first}]`");
            context.error(&at!["routes", index, "path"], Code::DuplicateName, message, "keep one of the two");
        } else {
            seen.insert(path, index);
        }
        if upstreams.contains_key(upstream) {
            routes.push(Route { path: route.path.0.clone(), upstream: route.upstream.0.clone() });
        } else {
            let hint = match nearest(upstream, upstreams.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "add it under `upstreams`".to_owned(),
            };
            let message = format!("there is no upstream `{upstream}`");
            context.error(&at!["routes", index, "upstream"], Code::UnknownName, message, &hint);
        }
    }
    for name in upstreams.keys().filter(|name| !model.iter().any(|route| route.upstream.0.as_str() == name.as_str())) {
        let message = format!("no route leads to the upstream `{name}`");
        let found = context.document.at_key(&at!["upstreams", name.as_str()], Code::Unused, message);
        context
            .found
            .push(found.hint(format!("add `{{ path: /{name}/, upstream: {name} }}` under `routes`")).warning());
    }
    Routes::new(routes)
}
