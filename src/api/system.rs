//! Health, readiness, metrics, figures, and the document.

use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use schemars::JsonSchema;
use serde::Serialize;

use crate::gate;
use crate::problem::Problem;

use super::context::{Context, reply};
use super::wire::{PendingByRule, Stats};

/// Whether the gateway can do its work.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Readiness {
    /// Whether every check passed.
    pub ready: bool,
    /// The checks, with `?verbose`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Check {
    /// What is checked.
    pub name: &'static str,
    /// Whether it passed.
    pub ok: bool,
}

/// `GET /healthz`: the process is alive and answers.
pub(super) async fn healthz(_: Context) -> Result<Response, Problem> {
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], "ok\n").into_response())
}

/// `GET /readyz`: the store can be written and the process is not shutting down.
pub(super) async fn readyz(context: Context) -> Result<Response, Problem> {
    let gate = context.gate();
    let store = gate.store().check().await;
    if let Err(error) = &store {
        tracing::warn!(%error, "not ready: the store cannot be written");
    }
    let checks = vec![Check { name: "store", ok: store.is_ok() }, Check { name: "accepting", ok: !gate.is_draining() }];
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let checks = if context.query.has("verbose") { checks } else { Vec::new() };
    reply(status, &Readiness { ready, checks })
}

/// `GET /metrics`: gauges that come from the store are read at the scrape.
pub(super) async fn metrics(context: Context) -> Result<Response, Problem> {
    let gate = context.gate();
    let metrics = gate.metrics();
    match gate.store().figures(gate.now()).await {
        Ok(figures) => metrics.queue(&figures),
        // The scrape still tells the rest: a store that fails is what somebody wants to see here.
        Err(error) => tracing::warn!(%error, "the queue's figures cannot be read"),
    }
    match gate.store().size().await {
        Ok(size) => metrics.store_size(size),
        Err(error) => tracing::warn!(%error, "the store's size cannot be read"),
    }
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render()).into_response())
}

/// `GET /v1/approvals/stats`
pub(super) async fn stats(context: Context) -> Result<Response, Problem> {
    let gate = context.gate();
    let now = gate.now();
    let figures = gate.store().figures(now).await.map_err(gate::Error::from)?;
    let by_rule = figures.pending.iter().map(|(rule, risk, pending)| PendingByRule {
        rule: rule.clone(),
        risk: risk.as_str(),
        pending: *pending,
    });
    let stats = Stats {
        pending: figures.pending.iter().map(|(_, _, count)| count).sum(),
        overdue: figures.overdue.iter().map(|(_, count)| count).sum(),
        oldest_pending_at: figures.oldest,
        by_rule: by_rule.collect(),
        now,
    };
    reply(StatusCode::OK, &stats)
}

/// `GET /openapi.json`
pub(super) async fn openapi(_: Context) -> Result<Response, Problem> {
    Ok(([(CONTENT_TYPE, "application/json")], super::openapi::document()).into_response())
}
