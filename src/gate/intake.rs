//! From a call to its verdict: a permit, an order to park, or a denial.
//!
//! The body is read only when policy asks for it, and then by the strict reader alone. What was judged is what is forwarded, so
//! nothing here changes a byte.

use http::{HeaderMap, Method};

use crate::domain::approval::{ReleaseMode, Risk, Slot, Terms};
use crate::domain::identity::AgentId;
use crate::domain::policy::{
    Args, CallView, CompiledPolicy, Decision, Found, Lookup, Rule, ShadowHit, Verdict, VerdictKind,
};
use crate::domain::time::Timestamp;
use crate::domain::value::Value;
use crate::protocol::json::{self, JsonError};
use crate::protocol::target::{QueryPairs, RequestTarget};

use super::held::HeldRequest;
use super::parking::RuleTerms;

/// What a call that no rule names is asked under.
pub const DEFAULT_RULE: &str = "default";

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

/// Shows a call to `look` the way policy sees it.
pub fn viewed<T>(call: &Call<'_>, body: Body<'_>, now: Timestamp, look: impl FnOnce(&CallView<'_>) -> T) -> T {
    let (query, headers) = (Query(call.target.query_pairs()), Headers(call.headers));
    look(&CallView {
        tool: call.tool,
        agent: &call.agent.0,
        upstream: call.upstream,
        method: call.method.as_str(),
        path: call.target.path(),
        query: &query,
        headers: &headers,
        args: match body {
            Body::Unread => Args::Unread,
            Body::Absent => Args::Absent,
            Body::Read(value) => Args::Read(value),
        },
        now,
    })
}

/// Judges a call.
pub fn judge<'p>(policy: &'p CompiledPolicy, call: &Call<'_>, body: Body<'_>, now: Timestamp) -> Decision<'p> {
    viewed(call, body, now, |view| policy.decide(view))
}

/// What is fixed for the approvals that `verdict` asks for.
pub fn terms(policy: &CompiledPolicy, verdict: &Verdict<'_>) -> RuleTerms {
    rule_terms(policy.revision(), verdict.rule)
}

fn rule_terms(revision: &str, rule: Option<&Rule>) -> RuleTerms {
    let settings = rule.map(Rule::approval).cloned().unwrap_or_default();
    RuleTerms {
        rule: rule.map_or_else(|| DEFAULT_RULE.to_owned(), |rule| rule.label().to_owned()),
        reason: rule.and_then(|rule| rule.reason()).map(str::to_owned),
        risk: rule.map_or_else(Risk::default, Rule::risk),
        approvers: settings.approvers.clone(),
        sla: settings.sla,
        expires_in: settings.expires_in,
        release: settings.release,
        grant_ttl: settings.grant_ttl,
        reject_memory: settings.reject_memory,
        result_ttl: settings.result_ttl,
        revision: revision.to_owned(),
    }
}
