//! From a checked configuration to the parts that serve it. What is built here is replaced as a whole on reload.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use tower::ServiceExt;

use crate::auth::{Anonymous, Authenticator, Credential};
use crate::config::secrets::Secret;
use crate::config::settings::{self, Config, Place};
use crate::connect::stdio::{CommandLine, LINE_BYTES_MAX, ProgramOptions, Programs};
use crate::connect::{OwnListeners, Transport, Trust, UpstreamClient, UpstreamOptions};
use crate::domain::audit::{Actor, Event, EventKind};
use crate::domain::identity::Principal;
use crate::domain::tools::OnToolChange;
use crate::gate::{self, Gate};
use crate::listener::{self, ClientAuth, OnUnreadable, PeerInfo, TlsError, TlsFiles, TlsState, Unreadable};
use crate::problem::Code;
use crate::protocol::head::{HEADER_COUNT_MAX, HeadLimits};
use crate::protocol::target::TemplateSet;
use crate::proxy::Proxy;
use crate::proxy::body::AnswerBody;
use crate::proxy::routes::{Routes, Upstream};
use crate::proxy::surface::Surface;
use crate::telemetry::metrics::{ListenerName, Metrics, RejectReason};
use crate::web::{self, Cookies, MetricsAccess};

use super::Error;

/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

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
    programs: &Programs,
    own: &OwnListeners,
) -> Result<Surface, Error> {
    let upstreams: Vec<_> = config
        .upstreams
        .values()
        .map(|one| upstream(one, metrics, programs, own).map(Arc::new))
        .collect::<Result<_, _>>()?;
    Ok(Surface {
        policy: config.policies.compiled().clone(),
        routes: Routes::new(config.routes.clone(), upstreams),
        authenticator,
        head_limits: HeadLimits { header_count: HEADER_COUNT_MAX, header_bytes: config.limits.header_bytes_max },
        body_bytes_max: config.limits.body_bytes_max as u64,
        body_timeout: config.proxy.body_timeout,
        response_bytes_max: config.limits.response_bytes_max as u64,
        wait_max: config.limits.wait_max,
        inline_budgets: config
            .agents
            .iter()
            .filter_map(|agent| Some((agent.id.clone(), agent.inline_budget?)))
            .collect(),
    })
}

fn upstream(
    upstream: &settings::Upstream,
    metrics: &Metrics,
    programs: &Programs,
    own: &OwnListeners,
) -> Result<Upstream, Error> {
    let name = upstream.name.as_str().to_owned();
    let failed = |reason: String| Error::Upstream { name: name.clone(), reason };
    let templates: Vec<_> = upstream.tools.iter().map(|tool| (tool.call.method(), tool.call.template())).collect();
    let templates = TemplateSet::new(templates).map_err(|error| failed(error.to_string()))?;
    let mut headers = HeaderMap::new();
    for (header, value) in &upstream.headers {
        headers.append(header, value.clone());
    }
    let (scheme, authority, base_path, client) = match &upstream.place {
        Place::Url(place) => {
            let authority: Authority =
                place.url.authority().parse().map_err(|error| failed(format!("its URL: {error}")))?;
            let trust = place.ca.clone().map_or(Trust::Platform, Trust::File);
            let (connect_timeout, own) = (place.connect_timeout, own.clone());
            let options = UpstreamOptions { connect_timeout, trust, own, ..UpstreamOptions::default() };
            let client = UpstreamClient::new(&options).map_err(|error| failed(error.to_string()))?;
            let scheme = if place.url.tls() { Scheme::HTTPS } else { Scheme::HTTP };
            (scheme, authority, place.url.path().to_owned(), Transport::Http(client))
        }
        // A program has no address; this one is never connected to.
        Place::Program(settings) => {
            let client = Transport::Stdio(programs.program(&name, &program_options(settings)));
            (Scheme::HTTP, Authority::from_static("localhost"), String::new(), client)
        }
    };
    let host = HeaderValue::from_str(authority.as_str()).map_err(|error| failed(format!("its URL: {error}")))?;
    let base = match base_path.as_str() {
        "" => PathAndQuery::from_static("/"),
        path => path.parse().map_err(|error| failed(format!("its URL: {error}")))?,
    };
    Ok(Upstream {
        scheme,
        authority,
        host,
        base_path,
        base,
        client,
        headers,
        templates,
        tools: upstream.tools.iter().map(|tool| tool.tool.as_str().to_owned()).collect(),
        timeout: upstream.timeout,
        metrics: metrics.upstream(&name),
        mcp: upstream.mcp.clone(),
        on_tool_change: upstream.on_tool_change,
        name,
    })
}

/// The upstreams that are programs.
pub(super) fn programs_of(config: &Config) -> Vec<&str> {
    let programs = config.upstreams.values().filter(|upstream| matches!(upstream.place, Place::Program(_)));
    programs.map(|upstream| upstream.name.as_str()).collect()
}

fn program_options(settings: &settings::ProgramSettings) -> ProgramOptions {
    let variable = |(name, value): &(String, Secret<String>)| (name.clone(), value.expose().clone());
    ProgramOptions {
        command: CommandLine {
            program: settings.program.clone(),
            arguments: settings.arguments.clone(),
            environment: settings.environment.iter().map(variable).collect(),
            folder: settings.folder.clone(),
        },
        children_max: settings.children_max,
        idle_timeout: settings.idle_timeout,
        line_bytes_max: LINE_BYTES_MAX,
    }
}

/// What is configured about changed tools, by upstream.
pub(super) fn on_tool_change(config: &Config) -> HashMap<String, OnToolChange> {
    config.upstreams.values().map(|one| (one.name.as_str().to_owned(), one.on_tool_change)).collect()
}

/// The gate's limits.
pub(super) fn limits(config: &Config) -> gate::Limits {
    gate::Limits {
        pending_per_agent_max: config.limits.pending_per_agent_max as u64,
        pending_total_max: config.limits.pending_total_max as u64,
        held_bytes_max: config.limits.held_bytes_max as u64,
    }
}

/// The files of a listener's certificates.
pub(super) fn tls_files(settings: &settings::TlsSettings) -> TlsFiles {
    let clients = match (&settings.client_ca, settings.client_auth) {
        (None, _) | (_, settings::ClientAuth::None) => ClientAuth::None,
        (Some(ca), settings::ClientAuth::Optional) => ClientAuth::Optional(ca.clone()),
        (Some(ca), settings::ClientAuth::Required) => ClientAuth::Required(ca.clone()),
    };
    TlsFiles { certificate: settings.certificate.clone(), key: settings.key.clone(), clients }
}

/// What a listener shakes hands with; `None` for clear text.
pub(super) fn tls(settings: Option<&settings::TlsSettings>) -> Result<Option<Arc<TlsState>>, TlsError> {
    settings.map(|settings| TlsState::load(&tls_files(settings)).map(Arc::new)).transpose()
}

/// The limits of a listener.
pub(super) fn listener_options(config: &Config, gate: &Gate, name: ListenerName) -> listener::Options {
    let (metrics, teller) = (gate.metrics(), gate.clone());
    let tell = move |peer: &PeerInfo, unreadable| refuse_unreadable(&teller, name, peer, unreadable);
    listener::Options {
        header_timeout: config.proxy.header_timeout,
        handshake_timeout: HANDSHAKE_TIMEOUT,
        header_bytes_max: config.limits.header_bytes_max,
        connections_max: config.limits.connections_max,
        open: metrics.connections_open(name),
        refused: metrics.connections_refused(name),
        on_unreadable: OnUnreadable(Arc::new(tell)),
    }
}

/// Counts a request head that never became a request, and writes it to the trail like any other refused input.
fn refuse_unreadable(gate: &Gate, listener: ListenerName, peer: &PeerInfo, unreadable: Unreadable) {
    let (reason, code, said) = match unreadable {
        Unreadable::Malformed => (RejectReason::Framing, Code::Framing, "the request head is malformed"),
        Unreadable::Http2 => (RejectReason::Framing, Code::Framing, "the connection broke the rules of HTTP/2"),
        Unreadable::Http2Stream => (RejectReason::Framing, Code::Framing, "the stream broke the rules of HTTP/2"),
        Unreadable::TooLarge => (RejectReason::TooLarge, Code::HeadersTooLarge, "the request head is too large"),
    };
    gate.metrics().rejected(reason);
    let mut detail = serde_json::Map::new();
    detail.insert("code".into(), code.as_str().into());
    detail.insert("detail".into(), said.into());
    detail.insert("listener".into(), listener.as_str().into());
    detail.insert("peer".into(), peer.addr.to_string().into());
    let event =
        Event { at: gate.now(), kind: EventKind::InputRefused, actor: Actor::Unauthenticated, approval: None, detail };
    let task = gate.clone();
    gate.spawn("unreadable request", async move { task.record_refusal(event).await });
}

/// What the configuration says about the admin side.
pub(super) fn admin_settings(config: &Config) -> web::Settings {
    let over_tls = config.admin.tls.is_some() || config.admin.public_url.as_ref().is_some_and(|url| url.tls());
    web::Settings {
        allowed_hosts: config.admin.allowed_hosts.iter().map(ToString::to_string).collect(),
        public_origin: config.admin.public_url.as_ref().map(|url| url.origin().to_owned()),
        cookies: if over_tls { Cookies::Secure } else { Cookies::Plain },
        session_ttl: config.admin.session_ttl,
        body_bytes_max: config.limits.body_bytes_max,
        wait_max: config.limits.wait_max,
        metrics: match config.metrics_token_sha256 {
            Some(_) => MetricsAccess::Token,
            None => MetricsAccess::Open,
        },
    }
}

/// Serves calls.
pub(super) fn call_service(
    proxy: Arc<Proxy>,
) -> impl Service<Request<Incoming>, Response = http::Response<AnswerBody>, Error = Infallible, Future: Send> + Send {
    service_fn(move |request| proxy.clone().handle(request))
}

/// Serves the API and the page.
pub(super) fn page_service(
    router: Router,
) -> impl Service<Request<Incoming>, Response = axum::response::Response, Error = Infallible, Future: Send> + Send {
    service_fn(move |request: Request<Incoming>| router.clone().oneshot(request.map(axum::body::Body::new)))
}
