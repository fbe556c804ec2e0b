//! What reads the model.

use std::collections::BTreeMap;

use holdpoint::domain::approval::{Approval, Status, rules};
use holdpoint::domain::audit::Record;
use holdpoint::domain::id::ApprovalId;
use holdpoint::domain::time::Timestamp;
use holdpoint::store::{AuditFilter, Filter, Page, QueueFigures, Sort};

use super::State;

pub(super) fn list(state: &State, filter: &Filter, after: Option<ApprovalId>, limit: u32, now: Timestamp) -> Page {
    let mut found: Vec<&Approval> = state.approvals.values().filter(|approval| admits(filter, approval, now)).collect();
    if filter.sort == Sort::Newest {
        found.reverse();
    }
    let behind = |approval: &&&Approval| match (after, filter.sort) {
        (None, _) => true,
        (Some(after), Sort::Newest) => approval.id < after,
        (Some(after), Sort::Oldest) => approval.id > after,
    };
    let rest: Vec<&Approval> = found.iter().filter(behind).copied().collect();
    let page: Vec<Approval> = rest.iter().take(limit.max(1) as usize).copied().cloned().collect();
    let next = (rest.len() > page.len()).then(|| page.last().map(|last| last.id)).flatten();
    Page { approvals: page, next }
}

fn admits(filter: &Filter, approval: &Approval, now: Timestamp) -> bool {
    let subject = &approval.subject;
    let is = |wanted: &Option<String>, text: &str| wanted.as_deref().is_none_or(|wanted| wanted == text);
    let text = |query: &str| {
        let query = query.to_lowercase();
        [&subject.summary, &subject.name, &subject.agent.0, &subject.preview]
            .iter()
            .any(|text| text.to_lowercase().contains(&query))
    };
    (filter.statuses.is_empty() || filter.statuses.contains(&approval.status()))
        && is(&filter.name, &subject.name)
        && is(&filter.rule, &approval.terms.rule)
        && is(&filter.agent, &subject.agent.0)
        && filter.risk.is_none_or(|risk| risk == approval.terms.risk)
        && filter.sla.is_none_or(|sla| sla == rules::sla_state(approval, now))
        && filter.trace_id.as_ref().is_none_or(|wanted| subject.trace_id.as_ref() == Some(wanted))
        && filter.query.as_deref().is_none_or(text)
        && filter.since.is_none_or(|since| approval.created_at >= since)
        && filter.until.is_none_or(|until| approval.created_at < until)
}

pub(super) fn due(state: &State, now: Timestamp, limit: u32) -> Vec<(ApprovalId, Timestamp)> {
    let overdue = |approval: &&Approval| approval.status() == Status::Pending && now >= approval.terms.expires_at;
    let mut due: Vec<_> =
        state.approvals.values().filter(overdue).map(|approval| (approval.terms.expires_at, approval.id)).collect();
    due.sort_unstable();
    due.into_iter().take(limit as usize).map(|(deadline, id)| (id, deadline)).collect()
}

pub(super) fn ready(state: &State, now: Timestamp, limit: u32) -> Vec<ApprovalId> {
    let when = |approval: &Approval| {
        let (from, until) = rules::ready(approval)?;
        (now >= from && until.is_none_or(|until| now < until)).then_some((from, approval.id))
    };
    let mut ready: Vec<_> = state.approvals.values().filter_map(when).collect();
    ready.sort_unstable();
    ready.into_iter().take(limit as usize).map(|(_, id)| id).collect()
}

pub(super) fn figures(state: &State, now: Timestamp) -> QueueFigures {
    let mut pending = BTreeMap::new();
    let mut overdue = BTreeMap::new();
    let mut oldest: Option<Timestamp> = None;
    for approval in state.approvals.values().filter(|approval| approval.status() == Status::Pending) {
        let terms = &approval.terms;
        *pending.entry((terms.rule.clone(), terms.risk)).or_insert(0) += 1;
        if terms.sla_at.is_some_and(|sla| now >= sla) {
            *overdue.entry(terms.rule.clone()).or_insert(0) += 1;
        }
        oldest = Some(oldest.map_or(approval.created_at, |oldest| oldest.min(approval.created_at)));
    }
    QueueFigures {
        pending: pending.into_iter().map(|((rule, risk), count)| (rule, risk, count)).collect(),
        overdue: overdue.into_iter().collect(),
        oldest,
    }
}

pub(super) fn audit(state: &State, filter: &AuditFilter, limit: u32) -> Vec<Record> {
    let wanted = |(about, record): &&(Option<ApprovalId>, Record)| {
        record.seq > filter.after
            && filter.approval.is_none_or(|id| *about == Some(id))
            && (!filter.approvals_only || about.is_some())
    };
    state.trail.iter().filter(wanted).take(limit as usize).map(|(_, record)| record.clone()).collect()
}
