//! `agents`, `reviewers` and `metrics`: who is who, and that no credential stands for two.

use std::collections::{HashMap, HashSet};

use super::{Context, at};
use crate::config::diagnostic::Code;
use crate::config::load::Reviewers;
use crate::config::model::values::{Sha256Hex, Text, TextValue};
use crate::config::model::{AgentModel, MetricsModel, ReviewerModel, Role};
use crate::config::secrets::{Secret, SecretText};
use crate::config::settings::{AgentCredential, ReviewerCredential};
use crate::config::yaml::path_text;
use crate::domain::identity::{AgentId, Reviewer, ReviewerRole};
use crate::domain::policy::PathSegment;

/// SHA-256 of the empty text: somebody hashed nothing.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

pub(in crate::config) fn agents(
    context: &mut Context<'_>,
    model: &[AgentModel],
    anonymous: bool,
) -> Vec<AgentCredential> {
    if model.is_empty() && !anonymous {
        let message = "no `agents` are configured and `anonymous` is not set: every call would be refused";
        context.error(&at!["agents"], Code::MissingKey, message, "add an agent; `holdpoint token new` makes its token");
    }
    let mut seen = HashSet::new();
    let mut agents = Vec::new();
    for (index, agent) in model.iter().enumerate() {
        let at = at!["agents", index, "id"];
        let id = agent.id.0.as_str();
        if id == AgentId::ANONYMOUS {
            let message = "the id `anonymous` stands for callers without a credential";
            context.error(&at, Code::DuplicateName, message, "choose another id");
        }
        unique(context, &at, "agent", id, &mut seen);
        let digest = digest(context, &at!["agents", index, "token_sha256"], &agent.token_sha256);
        let inline_budget = agent.inline_budget.as_ref().map(|budget| budget.0);
        let id = AgentId(id.to_owned());
        agents.extend(digest.map(|token_sha256| AgentCredential { id, token_sha256, inline_budget }));
    }
    agents
}

pub(in crate::config) fn reviewers(
    context: &mut Context<'_>,
    model: &[ReviewerModel],
    required: Reviewers,
) -> Vec<ReviewerCredential> {
    if model.is_empty() && required == Reviewers::Required {
        let message = "no `reviewers` are configured: nobody could decide about a parked call";
        let hint = "add a reviewer; `holdpoint token new` makes the token";
        context.error(&at!["reviewers"], Code::NoReviewer, message, hint);
    }
    let mut seen = HashSet::new();
    let mut reviewers = Vec::new();
    for (index, reviewer) in model.iter().enumerate() {
        let id = reviewer.id.0.as_str();
        unique(context, &at!["reviewers", index, "id"], "reviewer", id, &mut seen);
        let mut groups = Vec::new();
        for (place, group) in reviewer.groups.iter().enumerate() {
            if groups.contains(&group.0.to_string()) {
                let message = format!("the group `{}` is given twice", group.0);
                context.error(&at!["reviewers", index, "groups", place], Code::DuplicateName, message, "keep one");
            }
            groups.push(group.0.to_string());
        }
        let role = match reviewer.role {
            Role::Reviewer => ReviewerRole::Reviewer,
            Role::Admin => ReviewerRole::Admin,
        };
        let digest = digest(context, &at!["reviewers", index, "token_sha256"], &reviewer.token_sha256);
        let person = Reviewer { id: id.to_owned(), groups, role };
        reviewers.extend(digest.map(|token_sha256| ReviewerCredential { reviewer: person, token_sha256 }));
    }
    reviewers
}

pub(in crate::config) fn metrics(
    context: &mut Context<'_>,
    model: &MetricsModel,
    admin_is_loopback: bool,
) -> Option<Secret<[u8; 32]>> {
    match &model.token_sha256 {
        Some(text) => digest(context, &at!["metrics", "token_sha256"], text),
        None if admin_is_loopback => None,
        None => {
            let message = "`/metrics` would be open to whoever reaches `admin.listen`";
            let hint = "add `metrics: { token_sha256: … }`, or listen on loopback";
            context.error(&at!["admin", "listen"], Code::Exposure, message, hint);
            None
        }
    }
}

/// No two credentials may be equal: an agent with a reviewer's token could decide about its own calls.
pub(in crate::config) fn distinct_tokens(
    context: &mut Context<'_>,
    agents: &[AgentModel],
    reviewers: &[ReviewerModel],
    metrics: &MetricsModel,
) {
    let agents =
        agents.iter().enumerate().map(|(i, agent)| (at!["agents", i, "token_sha256"].to_vec(), &agent.token_sha256));
    let people = reviewers
        .iter()
        .enumerate()
        .map(|(i, person)| (at!["reviewers", i, "token_sha256"].to_vec(), &person.token_sha256));
    let metrics = metrics.token_sha256.iter().map(|text| (at!["metrics", "token_sha256"].to_vec(), text));
    let mut seen: HashMap<String, Vec<PathSegment>> = HashMap::new();
    for (at, text) in agents.chain(people).chain(metrics) {
        // What cannot be resolved was reported where it is resolved for use.
        let Ok(resolved) = text.0.resolve(context.env, context.folder) else { continue };
        match seen.get(resolved.text.expose()) {
            None => {
                seen.insert(resolved.text.expose().clone(), at);
            }
            Some(first) => {
                let message = format!("this token is also `{}`: it would stand for two", path_text(first));
                context.error(&at, Code::DuplicateName, message, "make a token for each with `holdpoint token new`");
            }
        }
    }
}

fn unique<'m>(context: &mut Context<'_>, at: &[PathSegment], what: &str, id: &'m str, seen: &mut HashSet<&'m str>) {
    if !seen.insert(id) {
        let message = format!("there are two {what}s with the id `{id}`");
        context.error(at, Code::DuplicateName, message, "give each its own id");
    }
}

fn digest(context: &mut Context<'_>, at: &[PathSegment], text: &Text<SecretText>) -> Option<Secret<[u8; 32]>> {
    let resolved = context.secret(at, text)?;
    if resolved.expose() == EMPTY_SHA256 {
        let message = "this is the SHA-256 of an empty token";
        context.error(at, Code::BadValue, message, "`holdpoint token new` makes a token and its SHA-256");
        return None;
    }
    match Sha256Hex::read(resolved.expose()) {
        Ok(hex) => Some(Secret::new(hex.bytes())),
        Err(error) => {
            context.value_error(at, Code::BadValue, error);
            None
        }
    }
}
