//! Looking at the policy: the rules in force, the verdict on a described call, and what a candidate would change.
//!
//! Nothing here changes the policy: that is the configuration's, and takes a reload.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;

use crate::config::diagnostic::{self, Diagnostic};
use crate::config::policies;
use crate::domain::approval::{Approval, SubjectKind};
use crate::domain::id::ApprovalId;
use crate::domain::policy::cases::Texts;
use crate::domain::policy::explain::Explanation;
use crate::domain::policy::view::Pairs;
use crate::domain::policy::{Args, CallView, CompiledPolicy, PolicyFile, Rule, VerdictKind, compile};
use crate::domain::time::Timestamp;
use crate::gate::{self, Gate};
use crate::problem::{Code, Problem};
use crate::protocol::json::{self, confusable_with};
use crate::store::Filter;

use super::context::{Context, not_json, reply};
use super::invalid;
use super::wire::policy::{
    CallDescription, Changed, PolicyView, RuleView, Simulate, SimulatedOn, Simulation, VerdictBy,
};

/// The most calls that one simulation judges.
const CALLS_MAX: usize = 1_000;
/// How many calls of the history a simulation takes when nothing else is asked for.
const HISTORY_DEFAULT: usize = 500;
/// Approvals read from the store at a time.
const PAGE: u32 = 200;
/// What stands in a preview for a value that its rule redacts.
const REDACTED: &str = "\"[redacted]\"";
/// The name that a candidate has in its own problems.
const CANDIDATE: &str = "candidate.yaml";
/// Milliseconds of a day.
const DAY_MS: f64 = 86_400_000.0;

/// `GET /v1/policy`
pub(super) async fn read(context: Context) -> Result<Response, Problem> {
    let gate = context.gate();
    let policy = gate.policy();
    let figures = gate.store().figures(gate.now()).await.map_err(gate::Error::from)?;
    let mut pending: HashMap<&str, u64> = HashMap::new();
    for (rule, _, count) in &figures.pending {
        *pending.entry(rule).or_default() += count;
    }
    let view = |rule: &Rule| RuleView {
        rule: rule.label().to_owned(),
        file: rule.file().to_owned(),
        action: rule.action(),
        mode: rule.mode(),
        reason: rule.reason().map(str::to_owned),
        risk: rule.risk().as_str(),
        pending: pending.get(rule.label()).copied().unwrap_or_default(),
    };
    let policy = PolicyView {
        revision: policy.revision().to_owned(),
        default: policy.default_action(),
        files: policy.files().to_vec(),
        rules: policy.rules().iter().map(view).collect(),
    };
    reply(StatusCode::OK, &policy)
}

/// `POST /v1/policy/evaluate`
pub(super) async fn evaluate(context: Context) -> Result<Response, Problem> {
    let call: CallDescription = context.json()?;
    let policy = context.gate().policy();
    let explanation: Explanation = viewed(&call, context.gate().now(), |view| {
        if let Some(key) = confusable(&policy, view) {
            let detail = "an upstream could take this key for one that a rule reads; such a call is refused";
            return Err(Problem::new(Code::ConfusableKey, detail).with("key", key));
        }
        Ok(policy.explain(view))
    })??;
    reply(StatusCode::OK, &explanation)
}

/// `POST /v1/policy/simulate`
pub(super) async fn simulate(context: Context) -> Result<Response, Problem> {
    let body: Simulate = context.json()?;
    let candidate = tokio::task::spawn_blocking(move || candidate(&body.policy)).await.map_err(|error| {
        tracing::error!(%error, "a candidate could not be compiled");
        Problem::new(Code::Internal, "the candidate could not be compiled")
    })?;
    let (gate, candidate) = (context.gate(), candidate.map_err(|found| not_a_policy(&found))?);
    let current = gate.policy();
    let simulation = match body.calls {
        Some(calls) if calls.len() > CALLS_MAX => return Err(invalid(&format!("`calls` has more than {CALLS_MAX}"))),
        Some(calls) => {
            let calls = calls.into_iter().enumerate();
            let tries = calls.map(|(place, call)| Try { approval: None, call: Some(place), description: call });
            run(&current, &candidate, SimulatedOn::GivenCalls, tries.collect(), gate.now())?
        }
        None => {
            let max = body.history_max.unwrap_or(HISTORY_DEFAULT);
            if !(1..=CALLS_MAX).contains(&max) {
                return Err(invalid(&format!("`history_max` must be from 1 to {CALLS_MAX}")));
            }
            on_history(gate, &current, &candidate, max).await?
        }
    };
    reply(StatusCode::OK, &simulation)
}

/// Compiles the text of one policy file, by the guard that files go through.
fn candidate(text: &str) -> Result<CompiledPolicy, Vec<Diagnostic>> {
    let source = policies::source(CANDIDATE, text.as_bytes())?;
    let file = PolicyFile { name: source.name.clone(), model: source.model.clone(), source_sha256: source.sha256 };
    compile(vec![file]).map_err(|errors| {
        let place = |error: crate::domain::policy::PolicyError| {
            source.document.at_value(&error.path, diagnostic::Code::Policy, error.message).hint_if(error.hint)
        };
        errors.into_iter().map(place).collect()
    })
}

fn not_a_policy(found: &[Diagnostic]) -> Problem {
    let detail = format!("the candidate has {} problems and is not a policy", found.len());
    let problems = serde_json::to_value(found).unwrap_or_default();
    Problem::new(Code::InvalidRequest, detail).with("problems", problems)
}

/// A call to be judged by both policies.
struct Try {
    approval: Option<ApprovalId>,
    call: Option<usize>,
    description: CallDescription,
}

async fn on_history(
    gate: &Gate,
    current: &CompiledPolicy,
    candidate: &CompiledPolicy,
    max: usize,
) -> Result<Simulation, Problem> {
    let (mut tries, mut left_out, mut after) = (Vec::new(), 0, None);
    let now = gate.now();
    let mut oldest = now;
    while tries.len() + left_out < max {
        let page = gate.store().list(Filter::default(), after, PAGE, now).await.map_err(gate::Error::from)?;
        for approval in &page.approvals {
            if tries.len() + left_out == max {
                break;
            }
            match described(gate, approval) {
                Described::Call(description) => {
                    tries.push(Try { approval: Some(approval.id), call: None, description: *description });
                }
                Described::Redacted => left_out += 1,
                // It never went through policy.
                Described::Action => continue,
            }
            oldest = approval.created_at;
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut simulation = run(current, candidate, SimulatedOn::ApprovalHistory, tries, now)?;
    simulation.left_out_redacted = left_out;
    let days = (now.since(oldest).as_millis() as f64 / DAY_MS).max(1.0);
    let asked = simulation.verdicts.get(VerdictKind::WaitingForApproval.as_str()).copied().unwrap_or_default();
    simulation.approvals_per_day = Some(asked as f64 / days);
    Ok(simulation)
}

/// What is known of a call in the history.
enum Described {
    Call(Box<CallDescription>),
    Redacted,
    Action,
}

/// The preview as it was stored: `{"args": …, "query": [[name, value], …]}`, either of which may be absent.
#[derive(serde::Deserialize)]
struct Preview {
    args: Option<Box<RawValue>>,
    #[serde(default)]
    query: Vec<(String, String)>,
}

fn described(gate: &Gate, approval: &Approval) -> Described {
    let SubjectKind::Call(call) = &approval.subject.kind else { return Described::Action };
    let preview = &approval.subject.preview;
    // What could be a redacted value is taken for one: judging a placeholder would say something untrue.
    let read: Option<Preview> = if preview.contains(REDACTED) { None } else { serde_json::from_str(preview).ok() };
    let Some(Preview { args, query }) = read else { return Described::Redacted };
    let path = call.target.split('?').next().unwrap_or_default();
    let mut pairs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in query {
        pairs.entry(name).or_default().push(value);
    }
    Described::Call(Box::new(CallDescription {
        tool: approval.subject.name.clone(),
        args,
        agent: approval.subject.agent.0.clone(),
        upstream: call.upstream.clone(),
        method: call.method.clone(),
        path: percent_decode_str(path).decode_utf8_lossy().into_owned(),
        query: pairs.into_iter().map(|(name, values)| (name, Texts::Many(values))).collect(),
        headers: BTreeMap::new(),
        // As the tool is listed now: a definition of then is not kept with the approval.
        annotations: call
            .tool
            .as_ref()
            .map(|tool| gate.tool_claims(&call.upstream, &tool.name).listed().unwrap_or_default()),
        now: Some(approval.created_at),
    }))
}

fn run(
    current: &CompiledPolicy,
    candidate: &CompiledPolicy,
    simulated_on: SimulatedOn,
    tries: Vec<Try>,
    now: Timestamp,
) -> Result<Simulation, Problem> {
    let mut simulation = Simulation {
        revision: current.revision().to_owned(),
        candidate_revision: candidate.revision().to_owned(),
        simulated_on,
        judged: tries.len(),
        left_out_redacted: 0,
        verdicts: BTreeMap::new(),
        approvals_per_day: None,
        changed: Vec::new(),
    };
    for Try { approval, call, description } in tries {
        let (before, after) = viewed(&description, now, |view| (verdict(current, view), verdict(candidate, view)))?;
        *simulation.verdicts.entry(after.verdict.as_str()).or_default() += 1;
        if before.verdict != after.verdict {
            let approval = approval.map(|id| id.to_string());
            simulation.changed.push(Changed { approval, call, tool: description.tool, before, after });
        }
    }
    Ok(simulation)
}

fn verdict(policy: &CompiledPolicy, call: &CallView<'_>) -> VerdictBy {
    let verdict = policy.judge(call);
    VerdictBy { verdict: verdict.kind, rule: verdict.rule_label().map(str::to_owned) }
}

fn confusable(policy: &Arc<CompiledPolicy>, call: &CallView<'_>) -> Option<String> {
    match call.args {
        Args::Read(args) => policy.confusable_key(call, args, &confusable_with),
        Args::Absent | Args::Unread => None,
    }
}

/// Shows a described call to `look` as policy sees one.
fn viewed<T>(call: &CallDescription, now: Timestamp, look: impl FnOnce(&CallView<'_>) -> T) -> Result<T, Problem> {
    let args = match &call.args {
        Some(raw) => {
            let limits = json::Limits { string_bytes: raw.get().len(), ..json::Limits::default() };
            Some(json::read(raw.get().as_bytes(), &limits).map_err(|error| not_json(&error))?)
        }
        None => None,
    };
    let (query, headers) = (Pairs::query(pairs(&call.query)), Pairs::headers(pairs(&call.headers)));
    Ok(look(&CallView {
        tool: &call.tool,
        agent: &call.agent,
        upstream: &call.upstream,
        method: &call.method,
        path: &call.path,
        query: &query,
        headers: &headers,
        args: args.as_ref().map_or(Args::Absent, Args::Read),
        claims: call.annotations.into(),
        now: call.now.unwrap_or(now),
    }))
}

fn pairs(texts: &BTreeMap<String, Texts>) -> Vec<(String, String)> {
    let values = |texts: &Texts| match texts {
        Texts::One(text) => vec![text.clone()],
        Texts::Many(texts) => texts.clone(),
    };
    texts.iter().flat_map(|(name, texts)| values(texts).into_iter().map(|value| (name.clone(), value))).collect()
}
