//! From a call to its verdict: a permit, an order to park, or a denial.
//!
//! The body is read only when policy asks for it, and then by the strict reader alone. What was judged is what is forwarded, so
//! nothing here changes a byte.

use std::borrow::Cow;

use http::{HeaderMap, Method};

use crate::domain::approval::Risk;
use crate::domain::audit::{Actor, Event, EventKind};
use crate::domain::call::{Protocol, to_hex};
use crate::domain::identity::AgentId;
use crate::domain::policy::redact::Redaction;
use crate::domain::policy::view::{Found, Lookup};
use crate::domain::policy::{Args, CallView, CompiledPolicy, DEFAULT_LABEL, Decision, Rule, Verdict, VerdictKind};
use crate::domain::time::Timestamp;
use crate::domain::tools::{CalledTool, Claims, OnToolChange, Standing};
use crate::domain::value::Value;
use crate::protocol::json::confusable_with;
use crate::protocol::mcp::TOOLS_CALL;
use crate::protocol::target::{QueryPairs, RequestTarget};
use crate::telemetry::metrics::{self, UpstreamMetrics};
use crate::telemetry::stopwatch::Stopwatch;

use super::parking::RuleTerms;
use super::release::Permit;
use super::{Error, Gate};

/// What a call that no rule names is asked under.
pub const DEFAULT_RULE: &str = DEFAULT_LABEL;

/// A call as it stands before its body was read, or with it.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// Who calls.
    pub agent: &'a AgentId,
    /// The upstream's configured name.
    pub upstream: &'a str,
    /// The tool's name.
    pub tool: &'a str,
    /// The method.
    pub method: &'a Method,
    /// Path and query below the upstream.
    pub target: &'a RequestTarget,
    /// The headers as they would be forwarded.
    pub headers: &'a HeaderMap,
    /// What the upstream speaks.
    pub protocol: Protocol,
    /// What the upstream claims about the tool.
    pub claims: Claims,
}

/// What is known of the body.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    /// Not read.
    Unread,
    /// Read, and there is none.
    Absent,
    /// Read, strictly.
    Read(&'a Value<'a>),
}

/// Query parameters as policy sees them.
struct Query<'a>(&'a QueryPairs);

impl Lookup for Query<'_> {
    fn find(&self, name: &str) -> Found<'_> {
        // A name that a lenient server folds into the wanted one is as good as a second value.
        if self.0.variant_of(name).is_some() {
            return Found::Many;
        }
        match self.0.single(name) {
            Ok(None) => Found::Missing,
            Ok(Some(value)) => Found::One(value),
            Err(_) => Found::Many,
        }
    }
}

/// Headers as policy sees them.
struct Headers<'a>(&'a HeaderMap);

impl Lookup for Headers<'_> {
    fn find(&self, name: &str) -> Found<'_> {
        let mut values = self.0.get_all(name).iter();
        match (values.next().map(|value| value.to_str()), values.next()) {
            (None, _) => Found::Missing,
            (Some(Ok(value)), None) => Found::One(value),
            // Two values, or bytes that are no text: no condition may rely on either.
            (Some(_), _) => Found::Many,
        }
    }
}

/// The path with its escapes resolved: what rules compare and what unmapped calls are named by.
pub fn plain_path(target: &RequestTarget) -> Cow<'_, str> {
    match target.path().contains('%') {
        true => target.decoded_path().into(),
        false => target.path().into(),
    }
}

/// Shows a call to `look` the way policy sees it.
pub fn viewed<T>(call: &Call<'_>, body: Body<'_>, now: Timestamp, look: impl FnOnce(&CallView<'_>) -> T) -> T {
    let (query, headers) = (Query(call.target.query_pairs()), Headers(call.headers));
    look(&CallView {
        tool: call.tool,
        agent: &call.agent.0,
        upstream: call.upstream,
        method: call.method.as_str(),
        path: &plain_path(call.target),
        query: &query,
        headers: &headers,
        args: match body {
            Body::Unread => Args::Unread,
            Body::Absent => Args::Absent,
            Body::Read(value) => Args::Read(value),
        },
        claims: call.claims,
        now,
    })
}

/// A call before the policy of its moment: judged, counted and, where it must be, written to the trail.
pub struct Entry<'a> {
    gate: &'a Gate,
    policy: &'a CompiledPolicy,
    call: Call<'a>,
    now: Timestamp,
    tool: Option<ToolOfCall<'a>>,
}

/// The tool of an MCP call.
struct ToolOfCall<'a> {
    name: &'a str,
    standing: Standing,
    on_change: OnToolChange,
}

/// A call that policy refuses.
#[derive(Debug, Clone)]
pub struct Denial {
    /// The rule; `None` when the policy's default blocks.
    pub rule: Option<String>,
    /// The rule's reason.
    pub reason: Option<String>,
    /// The policy that said so.
    pub revision: String,
}

impl<'a> Entry<'a> {
    /// The call at the moment `now`.
    pub fn new(gate: &'a Gate, policy: &'a CompiledPolicy, call: Call<'a>, now: Timestamp) -> Self {
        Self { gate, policy, call, now, tool: None }
    }

    /// The same for an MCP call: `name` is the tool as the upstream calls it, `standing` what [`Gate::tool_standing`] says of it at
    /// this moment. A definition that nobody has accepted tightens the verdict as `on_change` says.
    #[must_use]
    pub fn for_tool(mut self, name: &'a str, standing: Standing, on_change: OnToolChange) -> Self {
        self.tool = Some(ToolOfCall { name, standing, on_change });
        self
    }

    /// Judges the call; `watch` was started for this.
    pub fn judge(&self, body: Body<'_>, watch: Stopwatch) -> Decision<'a> {
        let decision = viewed(&self.call, body, self.now, |view| self.policy.decide(view));
        let decision = match &self.tool {
            Some(ToolOfCall { standing: Standing::Unaccepted(_), on_change, .. }) => {
                self.policy.tightened(decision, *on_change)
            }
            Some(_) | None => decision,
        };
        self.gate.metrics().evaluated(watch.elapsed());
        decision
    }

    /// A key in the arguments that could be taken for one that a rule reads: the call is refused then, whatever the verdict.
    pub fn confusable_key(&self, args: &Value<'_>) -> Option<String> {
        viewed(&self.call, Body::Read(args), self.now, |view| self.policy.confusable_key(view, args, &confusable_with))
    }

    /// Lets the call through when there is nothing to say about it: an `allow` that no failed condition and no shadow rule stands
    /// before. `upstream` counts for the call's upstream. `None` leaves it to [`Entry::admit`].
    pub fn admit_silently(&self, verdict: &Verdict<'_>, upstream: &UpstreamMetrics) -> Option<Permit> {
        let silent = verdict.kind == VerdictKind::Allowed && verdict.notes.is_empty() && verdict.shadow.is_empty();
        silent.then(|| {
            self.count_for(upstream, verdict);
            Permit::by_verdict()
        })
    }

    /// Lets the call through. What an `audit` rule says, and what could not be evaluated, is on disk before the permit exists.
    pub async fn admit(&self, verdict: &Verdict<'_>) -> Result<Permit, Error> {
        self.count(verdict);
        self.note(verdict).await?;
        if verdict.kind == VerdictKind::Audit {
            self.gate.record(self.event(EventKind::CallAudited, verdict)).await?;
        }
        Ok(Permit::by_verdict())
    }

    /// Refuses the call in the policy's name. It is refused even when that cannot be written down.
    pub async fn deny(&self, verdict: &Verdict<'_>) -> Denial {
        self.count(verdict);
        self.gate.record_refusal(self.event(EventKind::CallBlocked, verdict)).await;
        Denial {
            rule: verdict.rule_label().map(str::to_owned),
            reason: verdict.rule.and_then(Rule::reason).map(str::to_owned),
            revision: self.policy.revision().to_owned(),
        }
    }

    /// What a reviewer is shown and what is fixed, for a call to be parked. `beside`: what an MCP call asks for beside its arguments.
    pub async fn order(
        &self,
        verdict: &Verdict<'_>,
        body: Body<'_>,
        beside: Option<String>,
    ) -> Result<(RuleTerms, Shown), Error> {
        self.count(verdict);
        self.note(verdict).await?;
        let settings = verdict.approval();
        let (summary, redaction) = viewed(&self.call, body, self.now, |view| {
            let redaction = self.policy.redaction(verdict, view);
            (settings.summary.as_ref().map(|summary| summary.render(view, &redaction)), redaction)
        });
        let summary = summary.unwrap_or_else(|| self.plain_summary());
        let preview = self.preview(&redaction, body, beside);
        let target = self.shown_target(&redaction);
        let tool = self.tool.as_ref().map(|tool| CalledTool::new(tool.name, &tool.standing));
        Ok((terms(self.policy, verdict), Shown { summary, preview, target, tool }))
    }

    /// `METHOD /path`, or `tools/call NAME`, for rules that say nothing better. Neither names an argument.
    fn plain_summary(&self) -> String {
        match self.call.protocol {
            Protocol::Http => format!("{} {}", self.call.method, self.call.target.path()),
            Protocol::Mcp => format!("{TOOLS_CALL} {}", self.call.tool),
        }
    }

    /// Path and query as they would be sent, but for a query that has something to hide: its parameters are in the preview.
    fn shown_target(&self, redaction: &Redaction) -> String {
        let target = self.call.target;
        match target.query_pairs().iter().any(|(name, _)| redaction.hides_query(name)) {
            true => format!("{}?{REDACTED}", target.path()),
            false => target.as_str().to_owned(),
        }
    }

    /// The input for the reviewer, redacted: order and digits as written. What is different about the tool's definition stands first.
    fn preview(&self, redaction: &Redaction, body: Body<'_>, beside: Option<String>) -> String {
        let mut parts = Vec::new();
        if let Some(ToolOfCall { standing: Standing::Unaccepted(change), .. }) = &self.tool {
            let change =
                serde_json::to_string(change).expect("a change has only string keys and no failing serialiser");
            parts.push(format!("\"tool_change\":{change}"));
        }
        if let Body::Read(value) = body {
            parts.push(format!("\"args\":{}", redaction.apply(value)));
        }
        parts.extend(beside.map(|params| format!("\"params\":{params}")));
        let query = self.call.target.query_pairs();
        if !query.is_empty() {
            let shown = |(name, value): (&str, &str)| {
                let value = if redaction.hides_query(name) { REDACTED } else { value };
                format!("[{},{}]", json_text(name), json_text(value))
            };
            parts.push(format!("\"query\":[{}]", query.iter().map(shown).collect::<Vec<_>>().join(",")));
        }
        format!("{{{}}}", parts.join(","))
    }

    fn count(&self, verdict: &Verdict<'_>) {
        self.count_for(&self.gate.metrics().upstream(self.call.upstream), verdict);
    }

    fn count_for(&self, upstream: &UpstreamMetrics, verdict: &Verdict<'_>) {
        let metrics = self.gate.metrics();
        upstream.request(metric(verdict.kind));
        match (verdict.rule, verdict.default_used) {
            (Some(rule), _) => metrics.judged(rule.label()),
            (None, true) => metrics.judged(DEFAULT_RULE),
            (None, false) => {}
        }
        for hit in &verdict.shadow {
            let label = hit.rule.map_or(DEFAULT_RULE, Rule::label);
            metrics.judged(label);
            tracing::info!(rule = label, verdict = hit.kind.as_str(), tool = self.call.tool, "a shadow rule matched");
        }
    }

    /// Writes down conditions that could not be evaluated.
    async fn note(&self, verdict: &Verdict<'_>) -> Result<(), Error> {
        if verdict.notes.is_empty() {
            return Ok(());
        }
        let mut event = self.event(EventKind::ConditionFailed, verdict);
        let notes = verdict
            .notes
            .iter()
            .map(|note| serde_json::json!({ "rule": note.rule.label(), "error": note.error.to_string() }));
        event.detail.insert("conditions".into(), notes.collect());
        self.gate.record(event).await
    }

    fn event(&self, kind: EventKind, verdict: &Verdict<'_>) -> Event {
        let mut detail = serde_json::Map::new();
        let mut put = |key: &str, value: serde_json::Value| detail.insert(key.to_owned(), value);
        put("verdict", verdict.kind.as_str().into());
        put("rule", verdict.rule_label().into());
        put("reason", verdict.rule.and_then(Rule::reason).into());
        put("revision", self.policy.revision().into());
        put("upstream", self.call.upstream.into());
        put("tool", self.call.tool.into());
        put("method", self.call.method.as_str().into());
        put("path", self.call.target.path().into());
        let conditions: Vec<_> = verdict.notes.iter().map(|note| note.rule.label()).collect();
        if !conditions.is_empty() {
            put("not_evaluated", conditions.into());
        }
        Event { at: self.now, kind, actor: Actor::Agent(self.call.agent.0.clone()), approval: None, detail }
    }
}

/// What a reviewer is shown of a call.
#[derive(Debug, Clone)]
pub struct Shown {
    /// One line.
    pub summary: String,
    /// The input, redacted.
    pub preview: String,
    /// Path and query, redacted.
    pub target: String,
    /// The tool of an MCP call, with the definition that is shown if it is one that nobody has accepted.
    pub tool: Option<CalledTool>,
}

/// The text that stands for what is redacted.
const REDACTED: &str = "[redacted]";

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn metric(kind: VerdictKind) -> metrics::Verdict {
    match kind {
        VerdictKind::Allowed => metrics::Verdict::Allowed,
        VerdictKind::Blocked => metrics::Verdict::Blocked,
        VerdictKind::Audit => metrics::Verdict::Audit,
        VerdictKind::WaitingForApproval => metrics::Verdict::WaitingForApproval,
    }
}

/// The rules and the default of a policy, as metrics know them.
pub fn known_rules(policy: &CompiledPolicy) -> Vec<metrics::KnownRule> {
    let mode = |only_records| if only_records { metrics::Mode::Shadow } else { metrics::Mode::Enforce };
    let known = policy.rules().iter().map(|rule| metrics::KnownRule {
        label: rule.label().to_owned(),
        verdict: metric(rule.action().into()),
        mode: mode(policy.only_records(rule.mode())),
        risk: rule.risk(),
    });
    let default = policy.default_action().map(|action| metrics::KnownRule {
        label: DEFAULT_RULE.to_owned(),
        verdict: metric(action.into()),
        mode: mode(policy.default_only_records()),
        risk: Risk::default(),
    });
    let tool_change = policy.tool_change_rule();
    let reserved = metrics::KnownRule {
        label: tool_change.label().to_owned(),
        verdict: metric(tool_change.action().into()),
        mode: mode(policy.only_records(tool_change.mode())),
        risk: tool_change.risk(),
    };
    default.into_iter().chain(known).chain([reserved]).collect()
}

/// What is fixed for the approvals that `verdict` asks for.
fn terms(policy: &CompiledPolicy, verdict: &Verdict<'_>) -> RuleTerms {
    let settings = verdict.approval();
    RuleTerms {
        rule: verdict.rule_label().unwrap_or(DEFAULT_RULE).to_owned(),
        reason: verdict.rule.and_then(Rule::reason).map(str::to_owned),
        risk: verdict.rule.map_or_else(Risk::default, Rule::risk),
        approvers: settings.approvers.clone(),
        sla: settings.sla,
        expires_in: settings.expires_in,
        release: settings.release,
        grant_ttl: settings.grant_ttl,
        reject_memory: settings.reject_memory,
        result_ttl: settings.result_ttl,
        revision: policy.revision().to_owned(),
        digest: verdict.rule.map(|rule| to_hex(rule.digest())),
    }
}
