//! Parking a call and holding its caller.
//!
//! The row in the store is the truth. The caller's future may be dropped at any await: `Presence` then tells the store that
//! nobody waits any more, and a permit is only ever taken for a request that is still there.

use std::time::Duration;

use bytes::Bytes;

use crate::domain::approval::{
    Approval, Caller, Command, Execution, Refusal, ReleaseMode, Risk, Slot, State, Subject, SubjectKind, Terms,
};
use crate::domain::call::PayloadHash;
use crate::domain::id::ApprovalId;
use crate::domain::identity::AgentId;
use crate::store::{Applied, Park, Parked, QueueLimit, StoredRequest};
use crate::telemetry::metrics::Source;

use super::held::{HeldRequest, Packed};
use super::intake::Shown;
use super::release::{KeptAnswer, NoPermit, Permit};
use super::waiting::{HeldBytes, Presence, Waiting};
use super::{Error, Gate};

/// A call that policy wants parked.
#[derive(Debug)]
pub struct Order {
    /// The call.
    pub request: HeldRequest,
    /// What is fixed from now on, but for the times.
    pub rule: RuleTerms,
    /// What the reviewer is shown.
    pub shown: Shown,
    /// The caller's `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// The trace it belongs to.
    pub trace_id: Option<String>,
    /// Whether and how long the caller waits.
    pub patience: Patience,
}

/// What a rule says about the approvals it asks for.
#[derive(Debug, Clone)]
pub struct RuleTerms {
    /// The rule's label.
    pub rule: String,
    /// Its reason.
    pub reason: Option<String>,
    /// Its risk.
    pub risk: Risk,
    /// Who must approve.
    pub approvers: Vec<Slot>,
    /// How soon a decision is due.
    pub sla: Option<Duration>,
    /// How soon it expires.
    pub expires_in: Duration,
    /// Who sends it.
    pub release: ReleaseMode,
    /// How long an approval waits for a caller that left.
    pub grant_ttl: Duration,
    /// How long a rejection is remembered.
    pub reject_memory: Duration,
    /// How long a detached call's result is kept.
    pub result_ttl: Duration,
    /// The policy that said so.
    pub revision: String,
    /// What the rule says, as a digest; `None` for the policy's default.
    pub digest: Option<String>,
}

/// How long a caller waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Its connection is held for at most this long.
    Wait(Duration),
    /// It wants an answer at once and follows the approval by itself: the gateway owns the call.
    RespondAsync,
}

/// What parking came to.
#[derive(Debug)]
pub enum Held {
    /// Approved: send this call. `releasing` is on disk.
    Permitted(Permit, HeldRequest),
    /// The gateway sent it; its answer.
    Answered(Approval, KeptAnswer),
    /// Rejected, expired or withdrawn.
    Refused(Approval),
    /// Approved, and blocked by the policy of the moment of release.
    BlockedNow(Approval, String),
    /// Still pending when patience was over, or at once for those who have none.
    Pending(Approval),
    /// Sent before under the same approval or key, its sending failed for the gateway itself, or its grant is over.
    Spent(Approval),
    /// The key belongs to another call.
    KeyReused(Approval),
    /// Too many wait.
    Full(Overflow),
    /// The gateway is shutting down.
    Draining(Option<Approval>),
}

/// What a call found when it was to be parked.
#[derive(Debug)]
pub enum Entered {
    /// Nothing to wait for.
    Settled(Box<Held>),
    /// An approval that nobody has decided, or whose call the gateway is sending.
    Waiting(Box<Waiting>),
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// A limit on pending approvals.
    Queue(QueueLimit),
    /// `limits.held_bytes_max`.
    HeldBytes,
}

impl Gate {
    /// Parks a call, or finds what stands for it; the caller then waits by itself.
    pub async fn enter(&self, order: Order) -> Result<Entered, Error> {
        let settled = |held| Ok(Entered::Settled(Box::new(held)));
        if self.is_draining() {
            return settled(Held::Draining(None));
        }
        let Some(held_bytes) = HeldBytes::reserve(self, order.request.bytes()) else {
            return settled(Held::Full(Overflow::HeldBytes));
        };
        let (park, request) = self.prepare(order)?;
        let own_id = park.approval.id;
        // Before the row exists: a decision that comes at once still wakes.
        let waiter = self.waiters().subscribe(own_id);
        let gate = self.clone();
        let work = async move {
            let parked = gate.store().park(park, gate.now()).await?;
            let presence = match &parked {
                Parked::Created(approval) | Parked::Attached(approval) if approval.caller.waiting > 0 => {
                    Some(Presence::new(&gate, approval.id))
                }
                _ => None,
            };
            Ok((parked, presence))
        };
        let (parked, presence) = self.to_its_end(work).await?;
        let (approval, waiter) = match parked {
            Parked::Created(approval) => {
                self.metrics().approval_created(&approval.terms.rule, Source::Proxy);
                self.grown();
                (approval, waiter)
            }
            Parked::Attached(approval) => {
                self.grown();
                let waiter = self.waiters().subscribe(approval.id);
                // Read again: it may have been decided between the transaction and the subscription.
                (self.approval(approval.id).await?.ok_or(Error::Vanished(approval.id))?, waiter)
            }
            Parked::Granted(approval) => return settled(self.release_now(&approval, &request).await?),
            Parked::Remembered(approval) => return settled(Held::Refused(approval)),
            Parked::Spent(approval) | Parked::Standing(approval) => return settled(self.replay(approval).await?),
            Parked::KeyReused(approval) => return settled(Held::KeyReused(approval)),
            Parked::Full(limit) => return settled(Held::Full(Overflow::Queue(limit))),
        };
        let waiting = Waiting::new(self, approval, request, waiter, presence, held_bytes);
        Ok(Entered::Waiting(Box::new(waiting)))
    }

    /// Takes the place of a caller of the same agent whose connection broke; `None` when there is no such call. `renew` may write
    /// the stored body anew, without a change to what it is bound by.
    pub async fn rejoin(
        &self,
        id: ApprovalId,
        agent: &AgentId,
        renew: impl FnOnce(&[u8]) -> Option<Bytes>,
    ) -> Result<Option<Entered>, Error> {
        let settled = |held| Ok(Some(Entered::Settled(Box::new(held))));
        let found = self.approval(id).await?;
        let Some(approval) = found.filter(|found| found.subject.agent == *agent && found.call().is_some()) else {
            return Ok(None);
        };
        if self.is_draining() {
            return settled(Held::Draining(Some(approval)));
        }
        // What has been sent, or can no longer be, is not stored any more.
        let Some(mut request) = self.stored_request(id).await? else {
            return settled(self.standing(approval).await?);
        };
        request.body = request.body.as_deref().and_then(renew).or(request.body);
        let Some(held_bytes) = HeldBytes::reserve(self, request.bytes()) else {
            return settled(Held::Full(Overflow::HeldBytes));
        };
        let waiter = self.waiters().subscribe(id);
        let gate = self.clone();
        let joined = async move {
            let applied = gate.apply(id, Command::CallerJoined).await?;
            Ok(matches!(applied, Applied::Changed(_)).then(|| Presence::new(&gate, id)))
        };
        let presence = self.to_its_end(joined).await?;
        let approval = self.approval(id).await?.ok_or(Error::Vanished(id))?;
        let request = Packed::from(request.to_bytes());
        let waiting = Waiting::new(self, approval, request, waiter, presence, held_bytes);
        Ok(Some(Entered::Waiting(Box::new(waiting))))
    }

    pub(super) async fn release_now(&self, approval: &Approval, request: &Packed) -> Result<Held, Error> {
        let request = request.open().ok_or(Error::Unreadable(approval.id))?;
        Ok(match self.take_permit(approval, &request).await? {
            Ok(permit) => Held::Permitted(permit, request),
            Err(NoPermit::BlockedNow(approval, reason)) => Held::BlockedNow(approval, reason),
            Err(NoPermit::Refused(approval, Refusal::AlreadyClosed(_))) => Held::Refused(approval),
            Err(NoPermit::Refused(approval, _)) => Held::Spent(approval),
        })
    }

    /// The kept answer of a call that was sent, where one is kept.
    pub(super) async fn replay(&self, approval: Approval) -> Result<Held, Error> {
        if Self::is_refusal(&approval.state) {
            return Ok(Held::Refused(approval));
        }
        Ok(match self.store().result(approval.id, self.now()).await? {
            Some(result) => {
                let answer = self.open_result(&result, approval.id)?;
                Held::Answered(approval, answer)
            }
            None => Held::Spent(approval),
        })
    }

    fn prepare(&self, order: Order) -> Result<(Park, Packed), Error> {
        let Order { request, rule, shown, idempotency_key, trace_id, patience } = order;
        let now = self.now();
        let id = self.new_approval_id();
        let payload = request.payload();
        let (release, waiting) = match patience {
            Patience::Wait(_) => (rule.release, 1),
            // Nobody's connection will carry it.
            Patience::RespondAsync => (ReleaseMode::Detached, 0),
        };
        let approval = Approval {
            id,
            version: 0,
            subject: Subject {
                agent: request.agent.clone(),
                name: request.tool.clone(),
                summary: shown.summary,
                preview: shown.preview,
                payload_sha256: PayloadHash(crate::auth::sha256(&payload)),
                payload_bytes: payload.len() as u64,
                fingerprint: request.fingerprint(),
                idempotency_key,
                trace_id,
                kind: SubjectKind::Call(crate::domain::approval::HeldCall {
                    upstream: request.upstream.clone(),
                    method: request.method.as_str().to_owned(),
                    target: shown.target,
                    release,
                    protocol: request.protocol,
                    tool: shown.tool,
                }),
            },
            terms: Terms {
                rule: rule.rule,
                reason: rule.reason,
                risk: rule.risk,
                approvers: rule.approvers,
                sla_at: rule.sla.map(|sla| now.plus(sla)),
                expires_at: now.plus(rule.expires_in),
                grant_ttl: rule.grant_ttl,
                reject_memory: rule.reject_memory,
                result_ttl: rule.result_ttl,
                policy_revision: rule.revision,
                rule_digest: rule.digest,
            },
            created_at: now,
            state: State::Pending,
            execution: Execution::Held,
            votes: Vec::new(),
            caller: Caller { waiting, left_at: None },
            stale_since: None,
        };
        let limits = self.limits();
        let bytes = request.to_bytes();
        let sealed = self.seal(id, &bytes)?;
        let park = Park {
            approval,
            request: Some(StoredRequest { sealed }),
            pending_per_agent_max: limits.pending_per_agent_max,
            pending_total_max: limits.pending_total_max,
        };
        Ok((park, bytes.into()))
    }
}
