//! Sending what was approved, once.
//!
//! A [`Permit`] is the right to send one call upstream once. Only this module and [`super::intake`] make one, sending takes it
//! by value, and it cannot be cloned: that nothing passes undecided is checked by the compiler. For an approved call the
//! permit exists only after `releasing` is on disk.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::approval::{Approval, Command, PermitFate, Refusal, ReleaseMode, State};
use crate::domain::call::Fingerprint;
use crate::domain::id::ApprovalId;
use crate::domain::policy::CompiledPolicy;
use crate::store::{Applied, StoredResult};
use crate::telemetry::metrics::{Counted, ReleaseOutcome, Violation};

use super::again::{self, Again};
use super::held::HeldRequest;
use super::pace::{self, Place};
use super::{Error, Gate, UNRECORDED_PAUSE};

/// The right to send one call upstream once. Dropped unused, it goes back to its approval: provably nothing was sent.
#[must_use = "a permit is there to be used by `spend`"]
pub struct Permit {
    ticket: Ticket,
    place: Option<Place>,
}

enum Ticket {
    Verdict,
    Approval { call: Approved, fingerprint: Fingerprint, policy: Arc<CompiledPolicy>, gate: Gate },
    Spent,
}

/// Which call a permit is for.
struct Approved {
    id: ApprovalId,
    upstream: String,
    release: ReleaseMode,
}

/// A release under way: whoever holds it owes the outcome. Dropped without one, the outcome is unknown.
#[must_use = "a release ends with `finish`"]
pub struct Release {
    call: Option<Approved>,
    id: ApprovalId,
    gate: Gate,
    place: Option<Place>,
    _in_flight: Counted,
}

/// A permit was shown for another call than the one it was given for. Nothing may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the permit is for another call")]
pub struct WrongCall;

impl Permit {
    /// For a call that policy lets through.
    pub(super) const fn by_verdict() -> Self {
        Self { ticket: Ticket::Verdict, place: None }
    }

    /// The same with the place that its call has on the way to the upstream.
    pub(super) fn with_place(mut self, place: Option<Place>) -> Self {
        self.place = place;
        self
    }

    /// The approval it comes from; `None` when policy let the call through.
    pub const fn approval(&self) -> Option<ApprovalId> {
        match &self.ticket {
            Ticket::Approval { call, .. } => Some(call.id),
            Ticket::Verdict | Ticket::Spent => None,
        }
    }

    /// Whether an approved call was judged once more by this policy.
    pub fn is_by(&self, policy: &CompiledPolicy) -> bool {
        matches!(&self.ticket, Ticket::Approval { policy: by, .. } if by.is_same_as(policy))
    }

    /// Uses up the permit of a call that policy let through.
    ///
    /// # Errors
    /// When it comes from an approval: such a call is sent by [`Permit::spend`], which owes an outcome.
    pub fn spend_on_passing(self) -> Result<(), WrongCall> {
        match &self.ticket {
            Ticket::Verdict => Ok(()),
            Ticket::Approval { .. } | Ticket::Spent => Err(WrongCall),
        }
    }

    /// Uses up the permit of an approved call, at the last moment before sending: the call about to be sent is compared once more
    /// with the one that was approved.
    ///
    /// # Errors
    /// For another call, or for a permit that comes from no approval. A permit shown for another call goes back unused.
    pub fn spend(mut self, about_to_send: impl FnOnce() -> Fingerprint) -> Result<Release, WrongCall> {
        if let Ticket::Approval { fingerprint, gate, .. } = &self.ticket
            && *fingerprint != about_to_send()
        {
            gate.metrics().integrity_violation(Violation::FingerprintMismatch);
            return Err(WrongCall);
        }
        match std::mem::replace(&mut self.ticket, Ticket::Spent) {
            Ticket::Approval { call, gate, .. } => {
                let in_flight = gate.metrics().release_in_flight();
                let id = call.id;
                Ok(Release { call: Some(call), id, gate, place: self.place.take(), _in_flight: in_flight })
            }
            Ticket::Verdict | Ticket::Spent => Err(WrongCall),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Ticket::Approval { call, gate, .. } = std::mem::replace(&mut self.ticket, Ticket::Spent) {
            let task = gate.clone();
            gate.spawn("permit returned", async move {
                let unsent = Sent::NotSent("the caller left before anything was sent".to_owned());
                task.finish_release(call, unsent, None).await;
            });
        }
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permit").field("approval", &self.approval()).finish()
    }
}

/// Lets a protocol message pass that is no call: policy has no say about it.
pub const fn admit_message() -> Permit {
    Permit::by_verdict()
}

/// Lets an approved call go on that its server has asked something about: it is the same call, and it was sent already.
pub const fn admit_continuation() -> Permit {
    Permit::by_verdict()
}

impl Release {
    /// The approval that is being released.
    pub const fn approval(&self) -> ApprovalId {
        self.id
    }

    /// Sends the call: the decisions that wait for it to be on its way wait until then.
    pub async fn carry_out<T>(&mut self, sending: impl Future<Output = T>) -> T {
        pace::until_sent(self.place.take(), sending).await
    }

    /// Records what it came to; returns once that is on disk or could not be put there.
    pub async fn finish(mut self, sent: Sent, result: Option<KeptAnswer>) {
        if let Some(call) = self.call.take() {
            self.gate.finish_release(call, sent, result).await;
        }
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            let task = self.gate.clone();
            self.gate.spawn("release lost", async move {
                let lost = Sent::Lost("the gateway lost track of the call while it was being sent".to_owned());
                task.finish_release(call, lost, None).await;
            });
        }
    }
}

/// What sending came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The upstream answered with this status.
    Answered(u16),
    /// Provably nothing was sent.
    NotSent(String),
    /// The upstream had it, and answered that it did not take it.
    Refused(String),
    /// It was sent, or may have been.
    Lost(String),
}

impl Sent {
    const fn outcome(&self) -> ReleaseOutcome {
        match self {
            Sent::Answered(_) => ReleaseOutcome::Succeeded,
            Sent::NotSent(_) | Sent::Refused(_) => ReleaseOutcome::Failed,
            Sent::Lost(_) => ReleaseOutcome::Unknown,
        }
    }
}

/// A caller that reads what the upstream said may have mended what was wrong when it makes the call again. The gateway has
/// nothing to mend: what it sent by itself and what was answered is never sent a second time by itself.
const fn after_refusal(release: ReleaseMode) -> PermitFate {
    match release {
        ReleaseMode::Attached => PermitFate::Returned,
        ReleaseMode::Detached => PermitFate::Spent,
    }
}

/// The answer of a detached call, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAnswer {
    /// The upstream's status.
    pub status: u16,
    /// The upstream's end-to-end headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body; empty when it was larger than the limit.
    #[serde(skip)]
    pub body: Bytes,
    /// Whether the body was larger than `limits.response_bytes_max` and is not kept.
    pub too_large: bool,
}

/// Sends a call for the gateway itself, when no caller's connection carries it.
#[async_trait]
pub trait Sender: Send + Sync + 'static {
    /// Spends the permit, sends, reads the whole answer and records the outcome.
    async fn send(&self, permit: Permit, request: HeldRequest);
}

/// Why a permit was not given.
#[derive(Debug, Clone)]
pub enum NoPermit {
    /// The policy of the moment blocks it; the approval as it now stands.
    BlockedNow(Approval, String),
    /// Somebody else has the permit, it is spent, or it is too late.
    Refused(Approval, Refusal),
}

impl Gate {
    /// Takes the permit of an approved call: judges it again by the policy of this moment, then makes `releasing` durable.
    pub(super) async fn take_permit(
        &self,
        approval: &Approval,
        request: &HeldRequest,
    ) -> Result<Result<Permit, NoPermit>, Error> {
        let id = approval.id;
        let policy = self.policy();
        let blocks = match again::judge_again(&policy, request, self.claims_of(approval), None, self.now()) {
            Again::Blocks(reason) => Some(reason),
            Again::AsksOtherwise | Again::Stands => self.tool_objection(approval),
        };
        if let Some(reason) = blocks {
            let command = Command::RefuseRelease { revision: policy.revision().to_owned(), reason: reason.clone() };
            return match self.apply(id, command).await? {
                Applied::Changed(approval) | Applied::Same(approval) => Ok(Err(NoPermit::BlockedNow(approval, reason))),
                Applied::Refused(approval, refusal) => Ok(Err(NoPermit::Refused(approval, refusal))),
                Applied::Missing => Err(Error::Vanished(id)),
            };
        }
        let fingerprint = request.fingerprint();
        let command =
            Command::BeginRelease { agent: request.agent.clone(), fingerprint, revision: policy.revision().to_owned() };
        let release = approval.call().map(|call| call.release).unwrap_or_default();
        let (gate, call) = (self.clone(), Approved { id, upstream: request.upstream.clone(), release });
        // Once `releasing` may be on disk there is a permit to use or to give back, whoever still listens.
        let work = async move {
            Ok(match gate.apply(id, command).await? {
                Applied::Changed(approval) => {
                    if let State::Approved(decision) = &approval.state {
                        gate.metrics().release_delay(gate.now().since(decision.at));
                    }
                    Ok(Permit { ticket: Ticket::Approval { call, fingerprint, policy, gate }, place: None })
                }
                Applied::Same(approval) => Err(NoPermit::Refused(approval, Refusal::PermitSpent)),
                Applied::Refused(approval, refusal) => Err(NoPermit::Refused(approval, refusal)),
                Applied::Missing => return Err(Error::Vanished(id)),
            })
        };
        self.to_its_end(work).await
    }

    /// Records what a release came to. Where the store cannot write, whoever waits for the record waits a few seconds, and after
    /// that it is tried until the store can. What the process cannot record before it ends stays `releasing`, which the next start
    /// turns into unknown.
    async fn finish_release(&self, call: Approved, sent: Sent, result: Option<KeptAnswer>) {
        let Approved { id, upstream, release } = call;
        let command = match &sent {
            Sent::Answered(status) => Command::Succeed { status: *status },
            Sent::NotSent(reason) => Command::Fail { reason: reason.clone(), permit: PermitFate::Returned },
            Sent::Refused(reason) => Command::Fail { reason: reason.clone(), permit: after_refusal(release) },
            Sent::Lost(reason) => Command::LoseTrack { reason: reason.clone() },
        };
        self.metrics().release(&upstream, sent.outcome());
        for pause in [50, 200, 1000, 3000] {
            if self.is_finished(id, &command, result.as_ref()).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        let gate = self.clone();
        self.spawn("outcome kept for later", async move {
            while !gate.is_finished(id, &command, result.as_ref()).await {
                if gate.drains_within(UNRECORDED_PAUSE).await {
                    return;
                }
            }
        });
    }

    async fn is_finished(&self, id: ApprovalId, command: &Command, kept: Option<&KeptAnswer>) -> bool {
        let finished = self.finish(id, command.clone(), kept).await;
        if let Err(error) = &finished {
            tracing::error!(approval = %id, %error, "an outcome could not be recorded; it will be tried again");
        }
        finished.is_ok()
    }

    async fn finish(&self, id: ApprovalId, command: Command, kept: Option<&KeptAnswer>) -> Result<Applied, Error> {
        let now = self.now();
        let result = match kept {
            Some(kept) => {
                let ttl = self.approval(id).await?.ok_or(Error::Vanished(id))?.terms.result_ttl;
                Some(StoredResult { sealed: self.seal(id, &kept.to_bytes())?, expires_at: now.plus(ttl) })
            }
            None => None,
        };
        let applied = self.store().finish(id, command, result, now).await?;
        self.changed(id);
        Ok(applied)
    }

    /// Reads a kept answer.
    pub fn open_result(&self, result: &StoredResult, id: ApprovalId) -> Result<KeptAnswer, Error> {
        KeptAnswer::from_bytes(&self.unseal(id, &result.sealed)?).ok_or(Error::Unreadable(id))
    }

    /// Reads the stored request of a held call.
    pub(super) async fn stored_request(&self, id: ApprovalId) -> Result<Option<HeldRequest>, Error> {
        match self.store().request(id).await? {
            Some(stored) => {
                let bytes = self.unseal(id, &stored.sealed)?;
                HeldRequest::from_bytes(&bytes.into()).map(Some).ok_or(Error::Unreadable(id))
            }
            None => Ok(None),
        }
    }
}

impl KeptAnswer {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("an answer's head has no failing serialiser");
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.body);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        // JSON text written by serde_json has no raw line feed, so the first one ends the head.
        let end = memchr::memchr(b'\n', bytes)?;
        let mut answer: Self = serde_json::from_slice(&bytes[..end]).ok()?;
        answer.body = Bytes::copy_from_slice(&bytes[end + 1..]);
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_answer_reads_back_with_any_body() {
        let answer = KeptAnswer {
            status: 201,
            headers: vec![("x".into(), vec![0xff, b'\n'])],
            body: Bytes::from_static(b"\n{}\n"),
            too_large: false,
        };
        assert_eq!(KeptAnswer::from_bytes(&answer.to_bytes()), Some(answer));
    }
}
