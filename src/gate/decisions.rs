//! What people and SDKs do to approvals: create an action, decide, withdraw, settle, wait.
//!
//! Identity is an argument of a type that only authentication makes; nothing here reads it from a body.

use std::time::Duration;

use crate::domain::approval::{
    Approval, Caller, Canceller, Command, Execution, Refusal, ReleaseMode, Settlement, Slot, State, Status, Subject,
    SubjectKind, Terms,
};
use crate::domain::call::{Fingerprint, PayloadHash};
use crate::domain::id::ApprovalId;
use crate::domain::identity::{AgentId, Channel, Reviewer};
use crate::store::{Applied, Filter, Park, Parked, QueueLimit};

use super::parking::Held;
use super::{Error, Gate, POLL_INTERVAL};

/// How long an action's approval stays open when its creator names no time.
pub const ACTION_EXPIRES_IN: Duration = Duration::from_secs(60 * 60);
/// The longest time an action's creator may name.
pub const ACTION_EXPIRES_IN_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// What the rule of an action's approval is called.
pub const ACTION_RULE: &str = crate::domain::policy::API_LABEL;

/// What a reviewer decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Lets it happen.
    Approve,
    /// Refuses it.
    Reject,
}

impl Verb {
    /// The name used in the API and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Approve => "approved",
            Verb::Reject => "rejected",
        }
    }
}

/// A decision on its way in.
#[derive(Debug, Clone)]
pub struct Ruling {
    /// What is decided.
    pub verb: Verb,
    /// By what way the reviewer came.
    pub channel: Channel,
    /// For the caller and the trail.
    pub reason: Option<String>,
    /// What the reviewer saw.
    pub payload_sha256: Option<PayloadHash>,
    /// Whether it is one of many.
    pub batch: Batch,
}

/// Whether a decision is one of many made at once; a label of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    /// Alone.
    Single,
    /// From a bulk decision.
    Bulk,
}

/// What a decision, a withdrawal or a settlement came to.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It stands (it was made now, or the same had been made before). A vote short of the quorum leaves it pending.
    Stands(Approval),
    /// It was refused; the approval as it is.
    Refused(Approval, Refusal),
    /// There is none such.
    Missing,
}

/// An action that asks for approval.
#[derive(Debug, Clone)]
pub struct NewAction {
    /// Who asks, as authenticated.
    pub agent: AgentId,
    /// What it wants to do.
    pub action: String,
    /// The context as JSON text, for the reviewer.
    pub context: String,
    /// The trace it belongs to.
    pub trace_id: Option<String>,
    /// How long it may stay open; capped.
    pub expires_in: Option<Duration>,
    /// Makes creation safe to repeat.
    pub idempotency_key: Option<String>,
    /// SHA-256 over the framed agent, action and raw context.
    pub fingerprint: Fingerprint,
    /// SHA-256 over the raw context.
    pub payload_sha256: PayloadHash,
}

/// What creating an action came to.
#[derive(Debug, Clone)]
pub enum Created {
    /// It is new.
    New(Approval),
    /// It had been created before with the same key.
    Standing(Approval),
    /// The same key, another action.
    KeyReused(Approval),
    /// Too many are pending.
    Full(QueueLimit),
}

impl Gate {
    /// Decides, or adds a vote.
    pub async fn decide(&self, id: ApprovalId, reviewer: &Reviewer, ruling: Ruling) -> Result<Outcome, Error> {
        let Ruling { verb, channel, reason, payload_sha256, batch } = ruling;
        let reviewer = reviewer.clone();
        let command = match verb {
            Verb::Approve => Command::Approve { reviewer, channel, reason, payload_sha256 },
            Verb::Reject => Command::Reject { reviewer, channel, reason, payload_sha256 },
        };
        let place = match (verb, batch) {
            (Verb::Approve, Batch::Bulk) => self.pace().place().await,
            (Verb::Approve, Batch::Single) => self.pace().place_now(),
            (Verb::Reject, _) => None,
        };
        let gate = self.clone();
        // What follows from the commit must follow even when whoever decided has hung up.
        let outcome = self.to_its_end(async move { gate.command(id, command).await }).await?;
        if let (Outcome::Stands(approval), Some(place)) = (&outcome, place)
            && matches!(approval.state, State::Approved(_))
            && approval.call().is_some_and(|call| call.release == ReleaseMode::Attached)
        {
            self.waiters().on_their_way(id, place);
        }
        match &outcome {
            Outcome::Stands(_) => self.metrics().decision(channel, verb.as_str(), batch == Batch::Bulk),
            Outcome::Refused(_, Refusal::AlreadyClosed(_)) => self.metrics().decision_conflict(),
            Outcome::Refused(..) | Outcome::Missing => {}
        }
        Ok(outcome)
    }

    /// Takes an agent's own pending approval back. Another agent's is `Missing`.
    pub async fn withdraw(&self, id: ApprovalId, agent: &AgentId, reason: Option<String>) -> Result<Outcome, Error> {
        match self.approval(id).await? {
            Some(approval) if approval.subject.agent == *agent => {
                self.command(id, Command::Cancel { by: Canceller::Agent, reason }).await
            }
            Some(_) | None => Ok(Outcome::Missing),
        }
    }

    /// Takes an agent's own pending approval back when nobody waits on it any more; `None` when somebody does.
    pub async fn withdraw_unwatched(&self, id: ApprovalId, agent: &AgentId) -> Result<Option<Approval>, Error> {
        if self.approval(id).await?.is_none_or(|approval| approval.caller.waiting > 0) {
            return Ok(None);
        }
        self.withdraw(id, agent, Some("the caller took its call back".to_owned())).await?;
        self.approval(id).await
    }

    /// Settles an unknown outcome.
    pub async fn resolve(
        &self,
        id: ApprovalId,
        reviewer: &Reviewer,
        outcome: Settlement,
        note: String,
    ) -> Result<Outcome, Error> {
        self.command(id, Command::Resolve { reviewer: reviewer.clone(), outcome, note }).await
    }

    /// Asks for an action that is no proxied call.
    pub async fn create_action(&self, action: NewAction) -> Result<Created, Error> {
        let now = self.now();
        let limits = self.limits();
        let expires_in = action.expires_in.unwrap_or(ACTION_EXPIRES_IN).min(ACTION_EXPIRES_IN_MAX);
        let approval = Approval {
            id: self.new_approval_id(),
            version: 0,
            subject: Subject {
                agent: action.agent,
                summary: action.action.clone(),
                name: action.action,
                payload_bytes: action.context.len() as u64,
                preview: action.context,
                payload_sha256: action.payload_sha256,
                fingerprint: action.fingerprint,
                idempotency_key: action.idempotency_key,
                trace_id: action.trace_id,
                kind: SubjectKind::Action,
            },
            terms: Terms {
                rule: ACTION_RULE.to_owned(),
                reason: None,
                risk: crate::domain::approval::Risk::default(),
                approvers: vec![Slot { group: None, count: 1 }],
                sla_at: None,
                expires_at: now.plus(expires_in),
                grant_ttl: Duration::ZERO,
                reject_memory: Duration::ZERO,
                result_ttl: Duration::ZERO,
                policy_revision: self.policy_revision(),
                rule_digest: None,
            },
            created_at: now,
            state: State::Pending,
            execution: Execution::None,
            votes: Vec::new(),
            caller: Caller::default(),
            stale_since: None,
        };
        let park = Park {
            approval,
            request: None,
            pending_per_agent_max: limits.pending_per_agent_max,
            pending_total_max: limits.pending_total_max,
        };
        Ok(match self.store().park(park, now).await? {
            Parked::Created(approval) => {
                self.metrics().approval_created(&approval.terms.rule, crate::telemetry::metrics::Source::Sdk);
                self.changed(approval.id);
                Created::New(approval)
            }
            Parked::Standing(approval)
            | Parked::Attached(approval)
            | Parked::Granted(approval)
            | Parked::Remembered(approval)
            | Parked::Spent(approval) => Created::Standing(approval),
            Parked::KeyReused(approval) => Created::KeyReused(approval),
            Parked::Full(limit) => Created::Full(limit),
        })
    }

    /// Waits until the approval is no longer pending and, where it holds a call that is being sent, until that has an outcome;
    /// at most `wait`. Returns it as it then stands; `None` when there is none such.
    pub async fn wait(&self, id: ApprovalId, wait: Duration) -> Result<Option<Approval>, Error> {
        let deadline = tokio::time::Instant::now() + wait;
        let mut waiter = self.waiters().subscribe(id);
        loop {
            let approval = self.approval(id).await?;
            match &approval {
                Some(approval) if !is_settled(approval) => {}
                Some(_) | None => return Ok(approval),
            }
            tokio::select! {
                biased;
                () = waiter.woken() => {}
                () = self.draining() => return self.approval(id).await,
                () = tokio::time::sleep_until(deadline) => return self.approval(id).await,
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
        }
    }

    /// What an approval's call came to, or why it was not sent; `Pending` and `Spent` where neither can be said.
    pub async fn standing(&self, approval: Approval) -> Result<Held, Error> {
        match approval.state {
            State::Pending => Ok(Held::Pending(approval)),
            _ => self.replay(approval).await,
        }
    }

    /// The newest approvals of an agent, at most `limit`.
    pub async fn approvals_of(&self, agent: &AgentId, limit: u32) -> Result<Vec<Approval>, Error> {
        let filter = Filter { agent: Some(agent.0.clone()), ..Filter::default() };
        Ok(self.store().list(filter, None, limit, self.now()).await?.approvals)
    }

    /// Applies a command, first expiring what is past its time, so that nothing is decided late.
    pub(super) async fn command(&self, id: ApprovalId, command: Command) -> Result<Outcome, Error> {
        let applied = match self.apply(id, command.clone()).await? {
            Applied::Refused(approval, Refusal::Overdue) => {
                self.apply(id, Command::Expire { deadline: approval.terms.expires_at }).await?;
                self.apply(id, command).await?
            }
            applied => applied,
        };
        Ok(match applied {
            Applied::Changed(approval) | Applied::Same(approval) => Outcome::Stands(approval),
            Applied::Refused(approval, refusal) => Outcome::Refused(approval, refusal),
            Applied::Missing => Outcome::Missing,
        })
    }
}

/// Whether there is nothing more to wait for: decided, and not being sent at this moment nor about to be by the gateway itself.
pub fn is_settled(approval: &Approval) -> bool {
    match (approval.status(), &approval.execution) {
        (Status::Pending, _) | (_, Execution::Releasing { .. }) => false,
        (Status::Approved, Execution::Held) => approval.call().is_none_or(|call| call.release == ReleaseMode::Attached),
        _ => true,
    }
}
