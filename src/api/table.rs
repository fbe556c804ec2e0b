//! The one table of the API: router, OpenAPI document and coverage tests read it.
//!
//! A row's order means nothing; rows of one path stand together. Policy and audit of other things than approvals are for admins.

use http::Method;

use super::audit::{AuditPage, LIMIT_MAX};
use super::route::{Answer, Body, Effect, Parameter, ParameterKind, Role, Route, schema_of};
use super::wire::approval::{Approval, PublicApproval};
use super::wire::{ApprovalList, BulkAnswer, BulkDecide, Cancel, CreateApproval, Decide, Resolve, Stats};
use super::{approvals, audit, decisions, events, system};
use crate::problem::Code;

const NONE: &[Parameter] = &[];

const WAIT: &[Parameter] = &[parameter(
    "wait",
    ParameterKind::Duration,
    "Wait until it is decided and, for a held call, finished; at most `limits.wait_max`. `Prefer: wait=25` does the same.",
)];

const AFTER: Parameter =
    parameter("after", ParameterKind::Number(0, u64::MAX), "Only records behind this sequence number.");
const RECORDS: Parameter =
    parameter("limit", ParameterKind::Number(1, LIMIT_MAX), "At most so many records; 100 when left out.");

const LISTING: &[Parameter] = &[
    parameter(
        "status",
        ParameterKind::Text,
        "One or several of `pending`, `approved`, `rejected`, `expired`, `cancelled`, with commas between; any when left out.",
    ),
    parameter("tool", ParameterKind::Text, "The tool or the action, whole."),
    parameter("rule", ParameterKind::Text, "The rule, whole."),
    parameter("agent", ParameterKind::Text, "The agent, whole."),
    parameter("risk", ParameterKind::Word(&["low", "medium", "high", "critical"]), "The risk."),
    parameter("sla", ParameterKind::Word(&["ok", "due_soon", "breached", "expired"]), "The SLA state at this moment."),
    parameter("trace_id", ParameterKind::Text, "The trace, whole."),
    parameter("q", ParameterKind::Text, "Text in the name, the summary, the agent or the preview, in any case."),
    parameter("since", ParameterKind::Time, "Asked at or after."),
    parameter("until", ParameterKind::Time, "Asked before."),
    parameter("sort", ParameterKind::Word(&["newest", "oldest"]), "`newest` first when left out."),
    parameter("limit", ParameterKind::Number(1, 200), "At most so many; 50 when left out."),
    parameter("cursor", ParameterKind::Text, "The `next_cursor` of an earlier answer to the same filters."),
];

const fn parameter(name: &'static str, kind: ParameterKind, description: &'static str) -> Parameter {
    Parameter { name, kind, description }
}

const EVERYBODY: &[Role] = &[Role::Anyone];
const AGENT: &[Role] = &[Role::Agent];
const AGENT_OR_REVIEWER: &[Role] = &[Role::Agent, Role::Reviewer];
const REVIEWER: &[Role] = &[Role::Reviewer];
const ADMIN: &[Role] = &[Role::Admin];

/// Every operation of the API.
pub static ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/v1/approvals",
        operation: "createApproval",
        summary: "Ask for approval of an action that is no proxied call. `Idempotency-Key` makes it safe to repeat.",
        who: AGENT,
        effect: Effect::Writes,
        query: NONE,
        body: Body::Context(schema_of::<CreateApproval>),
        answer: Answer::json::<PublicApproval>(201, "The approval; `Location` is where to follow it."),
        problems: &[Code::QueueFull, Code::IdempotencyKeyReused, Code::DuplicateKey, Code::BadJson, Code::TooLarge],
        handler: |context| Box::pin(approvals::create(context)),
    },
    Route {
        method: Method::GET,
        path: "/v1/approvals",
        operation: "listApprovals",
        summary: "The queue and the history.",
        who: REVIEWER,
        effect: Effect::Reads,
        query: LISTING,
        body: Body::None,
        answer: Answer::json::<ApprovalList>(200, "A page."),
        problems: &[],
        handler: |context| Box::pin(approvals::list(context)),
    },
    Route {
        method: Method::GET,
        path: "/v1/approvals/stats",
        operation: "readStats",
        summary: "The queue in figures.",
        who: REVIEWER,
        effect: Effect::Reads,
        query: NONE,
        body: Body::None,
        answer: Answer::json::<Stats>(200, "The figures."),
        problems: &[],
        handler: |context| Box::pin(system::stats(context)),
    },
    Route {
        method: Method::POST,
        path: "/v1/approvals/bulk-decide",
        operation: "bulkDecide",
        summary: "Decide many approvals, each for itself. Critical risk is left out.",
        who: REVIEWER,
        effect: Effect::Writes,
        query: NONE,
        body: Body::Required(schema_of::<BulkDecide>),
        answer: Answer::json::<BulkAnswer>(200, "One result for each id, in their order."),
        problems: &[],
        handler: |context| Box::pin(decisions::bulk(context)),
    },
    Route {
        method: Method::GET,
        path: "/v1/approvals/{id}",
        operation: "readApproval",
        summary: "One approval: an agent sees its own, without its reviewers; a reviewer sees all of any.",
        who: AGENT_OR_REVIEWER,
        effect: Effect::Reads,
        query: WAIT,
        body: Body::None,
        answer: Answer::json::<PublicApproval>(200, "The approval; for reviewers with the members of `Approval`."),
        problems: &[Code::NotFound],
        handler: |context| Box::pin(approvals::read(context)),
    },
    Route {
        method: Method::POST,
        path: "/v1/approvals/{id}",
        operation: "decideApproval",
        summary: "Approve or reject. The first decision stands; the same one by the same reviewer again is answered like the first.",
        who: REVIEWER,
        effect: Effect::Writes,
        query: NONE,
        body: Body::Required(schema_of::<Decide>),
        answer: Answer::json::<Approval>(200, "The approval, decided, or still pending for want of more approvals."),
        problems: &[Code::AlreadyDecided, Code::PayloadMismatch, Code::Forbidden, Code::NotFound],
        handler: |context| Box::pin(decisions::decide(context)),
    },
    Route {
        method: Method::GET,
        path: "/v1/approvals/{id}/result",
        operation: "readResult",
        summary: "The upstream's answer to a detached call, with its status, headers and body.",
        who: AGENT,
        effect: Effect::Reads,
        query: NONE,
        body: Body::None,
        answer: Answer::other("*/*", "The upstream's answer; its own status stands in place of 200."),
        problems: &[Code::NoResult, Code::NotFound, Code::ResultTooLarge],
        handler: |context| Box::pin(approvals::result(context)),
    },
    Route {
        method: Method::POST,
        path: "/v1/approvals/{id}/cancel",
        operation: "cancelApproval",
        summary: "Take one's own pending approval back.",
        who: AGENT,
        effect: Effect::Writes,
        query: NONE,
        body: Body::Optional(schema_of::<Cancel>),
        answer: Answer::json::<PublicApproval>(200, "The approval, cancelled."),
        problems: &[Code::AlreadyDecided, Code::NotFound],
        handler: |context| Box::pin(approvals::cancel(context)),
    },
    Route {
        method: Method::POST,
        path: "/v1/approvals/{id}/resolve",
        operation: "resolveApproval",
        summary: "Settle an unknown outcome: the call ran, or it did not.",
        who: REVIEWER,
        effect: Effect::Writes,
        query: NONE,
        body: Body::Required(schema_of::<Resolve>),
        answer: Answer::json::<Approval>(200, "The approval, its outcome resolved."),
        problems: &[Code::NotUnknown, Code::Forbidden, Code::NotFound],
        handler: |context| Box::pin(decisions::resolve(context)),
    },
    Route {
        method: Method::GET,
        path: "/v1/approvals/{id}/timeline",
        operation: "readTimeline",
        summary: "Every event of one approval, oldest first.",
        who: REVIEWER,
        effect: Effect::Reads,
        query: &[AFTER, RECORDS],
        body: Body::None,
        answer: Answer::json::<AuditPage>(200, "Its records in the audit trail."),
        problems: &[Code::NotFound],
        handler: |context| Box::pin(audit::timeline(context)),
    },
    Route {
        method: Method::GET,
        path: "/v1/events",
        operation: "followEvents",
        summary: "What happens to approvals, as server-sent events. `Last-Event-ID` or `after` resumes; `resync` means: read the list anew.",
        who: REVIEWER,
        effect: Effect::Reads,
        query: &[AFTER],
        body: Body::None,
        answer: Answer::other(
            "text/event-stream",
            "Events `approval` and `resync`; the id is the sequence number in the audit trail.",
        ),
        problems: &[Code::TooManyStreams],
        handler: |context| Box::pin(events::follow(context)),
    },
    Route {
        method: Method::GET,
        path: "/v1/audit",
        operation: "listAudit",
        summary: "The audit trail, oldest first.",
        who: ADMIN,
        effect: Effect::Reads,
        query: &[AFTER, RECORDS, parameter("approval", ParameterKind::Text, "Only records about this approval.")],
        body: Body::None,
        answer: Answer::json::<AuditPage>(200, "A page of records."),
        problems: &[],
        handler: |context| Box::pin(audit::list(context)),
    },
    Route {
        method: Method::GET,
        path: "/v1/audit/export",
        operation: "exportAudit",
        summary: "The audit trail as NDJSON, up to the record that is the newest when the export begins.",
        who: ADMIN,
        effect: Effect::Reads,
        query: &[AFTER],
        body: Body::None,
        answer: Answer::other("application/x-ndjson", "One record a line; each can be checked alone."),
        problems: &[],
        handler: |context| Box::pin(audit::export(context)),
    },
    Route {
        method: Method::GET,
        path: "/healthz",
        operation: "healthz",
        summary: "Whether the process answers.",
        who: EVERYBODY,
        effect: Effect::Reads,
        query: NONE,
        body: Body::None,
        answer: Answer::other("text/plain", "`ok`"),
        problems: &[],
        handler: |context| Box::pin(system::healthz(context)),
    },
    Route {
        method: Method::GET,
        path: "/readyz",
        operation: "readyz",
        summary: "Whether the gateway can do its work; 503 when it cannot.",
        who: EVERYBODY,
        effect: Effect::Reads,
        query: &[parameter("verbose", ParameterKind::Flag, "Name the checks.")],
        body: Body::None,
        answer: Answer::json::<system::Readiness>(200, "It is ready."),
        problems: &[],
        handler: |context| Box::pin(system::readyz(context)),
    },
    Route {
        method: Method::GET,
        path: "/metrics",
        operation: "metrics",
        summary: "Metrics for Prometheus. Open where no metrics token is configured.",
        who: &[Role::Metrics, Role::Admin],
        effect: Effect::Reads,
        query: NONE,
        body: Body::None,
        answer: Answer::other("text/plain", "The text format."),
        problems: &[],
        handler: |context| Box::pin(system::metrics(context)),
    },
    Route {
        method: Method::GET,
        path: "/openapi.json",
        operation: "openapi",
        summary: "This document.",
        who: EVERYBODY,
        effect: Effect::Reads,
        query: NONE,
        body: Body::None,
        answer: Answer::other("application/json", "OpenAPI 3.1."),
        problems: &[],
        handler: |context| Box::pin(system::openapi(context)),
    },
];
