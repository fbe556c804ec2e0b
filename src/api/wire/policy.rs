//! Policy over the wire: the rules in force, calls to judge, candidates to try.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::policy::VerdictKind;
use crate::domain::policy::cases::Texts;
use crate::domain::policy::model::{Action, DefaultAction, Mode};
use crate::domain::time::Timestamp;
use crate::domain::tools::Annotations;

use super::shape;

/// The policy in force.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PolicyView {
    /// The name of this version: every verdict carries it.
    pub revision: String,
    /// What happens to a call that no rule matches; null when no file says, and the call is allowed.
    pub default: Option<DefaultAction>,
    /// The files, in the order in which their rules are tried.
    pub files: Vec<String>,
    /// The rules, in the order in which they are tried.
    pub rules: Vec<RuleView>,
}

/// One rule.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RuleView {
    /// Its id, or the text of its match.
    pub rule: String,
    /// The file it is in.
    pub file: String,
    /// What it does.
    pub action: Action,
    /// Whether it acts or only records.
    pub mode: Mode,
    /// Why.
    pub reason: Option<String>,
    /// `low`, `medium`, `high` or `critical`.
    pub risk: &'static str,
    /// How many approvals of it are pending.
    pub pending: u64,
}

/// A call, described: what policy may see of one.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallDescription {
    /// The tool's name.
    pub tool: String,
    /// The arguments: any JSON, read as strictly as a call's body. Left out: the call has no body.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Value>")]
    pub args: Option<Box<RawValue>>,
    /// The agent's id.
    #[serde(default)]
    pub agent: String,
    /// The upstream's name.
    #[serde(default)]
    pub upstream: String,
    /// The HTTP method; `POST` when left out.
    #[serde(default = "post")]
    pub method: String,
    /// The path; `/` when left out.
    #[serde(default = "root")]
    pub path: String,
    /// The query: each name with its value or its list of values.
    #[serde(default)]
    pub query: BTreeMap<String, Texts>,
    /// The headers: each name with its value or its list of values.
    #[serde(default)]
    pub headers: BTreeMap<String, Texts>,
    /// What the MCP server says of the tool; `{}` for a tool of which it says nothing. Left out: the call is plain HTTP.
    #[serde(default, deserialize_with = "shape::optional_object")]
    pub annotations: Option<Annotations>,
    /// The time of the call, RFC 3339; the present when left out.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub now: Option<Timestamp>,
}

fn post() -> String {
    "POST".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

/// A candidate policy and what to try it on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Simulate {
    /// The candidate: the text of one policy file, which takes the place of all files in force.
    pub policy: String,
    /// The calls to try it on, at most 1 000. Left out: the calls in the history of approvals.
    #[serde(default, deserialize_with = "shape::optional_objects")]
    #[schemars(length(max = 1000))]
    pub calls: Option<Vec<CallDescription>>,
    /// How many calls of the history to take, newest first: 1 to 1 000; 500 when left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    pub history_max: Option<usize>,
}

/// What calls a simulation took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SimulatedOn {
    /// Those that were sent along.
    GivenCalls,
    /// Those in the history of approvals: calls that were allowed or blocked outright are not in it.
    ApprovalHistory,
}

/// What a candidate would change.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Simulation {
    /// The revision in force.
    pub revision: String,
    /// The revision that the candidate would be.
    pub candidate_revision: String,
    /// What it was tried on.
    pub simulated_on: SimulatedOn,
    /// How many calls were judged by both.
    pub judged: usize,
    /// How many calls of the history were left out, because their arguments are redacted and cannot be judged again.
    pub left_out_redacted: usize,
    /// Verdicts of the candidate by kind.
    pub verdicts: BTreeMap<&'static str, usize>,
    /// How many approvals a day it would have asked for over the time of the history; null for given calls.
    pub approvals_per_day: Option<f64>,
    /// The calls whose verdict changes, in the order they were taken.
    pub changed: Vec<Changed>,
}

/// A call whose verdict changes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Changed {
    /// The approval it comes from; null for a given call.
    pub approval: Option<String>,
    /// Its place among the given calls, from 0; null for one from the history.
    pub call: Option<usize>,
    /// The tool.
    pub tool: String,
    /// The verdict of the policy in force.
    pub before: VerdictBy,
    /// The candidate's.
    pub after: VerdictBy,
}

/// A verdict and what gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VerdictBy {
    /// What happens.
    pub verdict: VerdictKind,
    /// The rule; null for the default.
    pub rule: Option<String>,
}
