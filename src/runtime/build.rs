//! From a checked configuration to the parts that serve it. What is built here is replaced as a whole on reload.

use std::sync::Arc;

use http::HeaderMap;

use crate::auth::{Anonymous, Authenticator, Credential};
use crate::config::settings::{self, Config};
use crate::connect::{UpstreamClient, UpstreamOptions};
use crate::domain::identity::Principal;
use crate::domain::policy::CompiledPolicy;
use crate::gate;
use crate::protocol::head::{HEADER_COUNT_MAX, HeadLimits};
use crate::protocol::target::{PathTemplate, TemplateSet};
use crate::proxy::routes::{Route, Routes, Upstream};
use crate::proxy::surface::Surface;
use crate::telemetry::metrics::Metrics;

use super::Error;

/// Everybody who may call, decide or scrape.
pub(super) fn authenticator(config: &Config) -> Authenticator {
    let agents = config.agents.iter().map(|agent| Credential {
        token_sha256: *agent.token_sha256.expose(),
        principal: Principal::Agent(agent.id.clone()),
    });
    let reviewers = config.reviewers.iter().map(|reviewer| Credential {
        token_sha256: *reviewer.token_sha256.expose(),
        principal: Principal::Reviewer(reviewer.reviewer.clone()),
    });
    let metrics = config
        .metrics_token_sha256
        .iter()
        .map(|token| Credential { token_sha256: *token.expose(), principal: Principal::Metrics });
    let anonymous = if config.anonymous { Anonymous::Admitted } else { Anonymous::Refused };
    Authenticator::new(agents.chain(reviewers).chain(metrics).collect(), anonymous)
}

/// The proxy's part of a configuration.
pub(super) fn surface(
    config: &Config,
    authenticator: Arc<Authenticator>,
    metrics: &Metrics,
) -> Result<Surface, Error> {
    let upstreams: Vec<_> =
        config.upstreams.values().map(|one| upstream(one, metrics).map(Arc::new)).collect::<Result<_, _>>()?;
    let routes = config.routes.iter().filter_map(|route| {
        let upstream = upstreams.iter().find(|upstream| upstream.name == route.upstream.as_str())?;
        Some(Route { path: route.path.as_str().to_owned(), upstream: upstream.clone() })
    });
    Ok(Surface {
        routes: Routes::new(routes.collect(), upstreams.clone()),
        authenticator,
        head_limits: HeadLimits { header_count: HEADER_COUNT_MAX, header_bytes: config.limits.header_bytes_max },
        body_bytes_max: config.limits.body_bytes_max as u64,
        body_timeout: config.proxy.body_timeout,
        response_bytes_max: config.limits.response_bytes_max as u64,
        wait_max: config.limits.wait_max,
    })
}

fn upstream(upstream: &settings::Upstream, metrics: &Metrics) -> Result<Upstream, Error> {
    let name = upstream.name.as_str().to_owned();
    let failed = |reason: String| Error::Upstream { name: name.clone(), reason };
    let uri: http::Uri = upstream.url.as_str().parse().map_err(|error| failed(format!("its URL: {error}")))?;
    let parts = uri.into_parts();
    let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
        return Err(failed("its URL has no scheme or no host".to_owned()));
    };
    let templates: Vec<_> = upstream
        .tools
        .iter()
        .map(|tool| PathTemplate::parse(tool.call.path()).map(|path| (tool.call.method().to_owned(), path)))
        .collect::<Result<_, _>>()
        .map_err(|error| failed(error.to_string()))?;
    let templates = TemplateSet::new(templates.iter().map(|(method, path)| (method.as_str(), path)))
        .map_err(|error| failed(error.to_string()))?;
    let mut headers = HeaderMap::new();
    for (header, value) in &upstream.headers {
        headers.append(header, value.clone());
    }
    let options = UpstreamOptions { connect_timeout: upstream.connect_timeout, ca: upstream.ca.clone() };
    Ok(Upstream {
        scheme,
        authority,
        base_path: parts.path_and_query.map_or_else(String::new, |path| path.path().to_owned()),
        client: UpstreamClient::new(&options).map_err(|error| failed(error.to_string()))?,
        headers,
        templates,
        tools: upstream.tools.iter().map(|tool| tool.tool.as_str().to_owned()).collect(),
        timeout: upstream.timeout,
        metrics: metrics.upstream(&name),
        name,
    })
}

/// The policy as it is enforced.
pub(super) fn policy(config: &Config) -> CompiledPolicy {
    let policy = config.policies.compiled().clone();
    match config.mode {
        settings::Mode::Enforce => policy,
        settings::Mode::Shadow => policy.in_shadow(),
    }
}

/// The gate's limits.
pub(super) fn limits(config: &Config) -> gate::Limits {
    gate::Limits {
        pending_per_agent_max: config.limits.pending_per_agent_max as u64,
        pending_total_max: config.limits.pending_total_max as u64,
        held_bytes_max: config.limits.held_bytes_max as u64,
    }
}
