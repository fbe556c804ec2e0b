//! Sending what was approved, once.
//!
//! A [`Permit`] is the right to send one call upstream once. Only this module and [`super::intake`] make one, sending takes it
//! by value, and it cannot be cloned: that nothing passes undecided is checked by the compiler. For an approved call the
//! permit exists only after `releasing` is on disk.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::approval::{Approval, Command, Execution, PermitFate, ReleaseMode, State};
use crate::domain::call::Fingerprint;
use crate::domain::id::ApprovalId;
use crate::store::{Applied, StoredResult};

use super::held::HeldRequest;
use super::{Error, Gate, intake};

/// How many detached releases run at once; the others wait their turn.
pub const DETACHED_RELEASES_MAX: usize = 64;

/// The right to send one call upstream once.
#[derive(Debug)]
#[must_use = "a permit that is dropped unused leaves its approval in `releasing`"]
pub struct Permit {
    ticket: Ticket,
}

#[derive(Debug)]
enum Ticket {
    Verdict,
    Approval(ApprovalId, Fingerprint),
}

impl Permit {
    /// For a call that policy lets through.
    pub(super) const fn by_verdict() -> Self {
        Self { ticket: Ticket::Verdict }
    }

    /// The approval it comes from; `None` when policy let the call through.
    pub const fn approval(&self) -> Option<ApprovalId> {
        match self.ticket {
            Ticket::Verdict => None,
            Ticket::Approval(id, _) => Some(id),
        }
    }

    /// Whether it is for this very call. A permit by verdict is for the request that it was given to.
    pub fn covers(&self, fingerprint: impl FnOnce() -> Fingerprint) -> bool {
        match &self.ticket {
            Ticket::Verdict => true,
            Ticket::Approval(_, approved) => *approved == fingerprint(),
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
    /// It was sent, or may have been.
    Lost(String),
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
    /// Sends and reads the whole answer.
    async fn send(&self, permit: Permit, request: HeldRequest) -> (Sent, Option<KeptAnswer>);
}

/// Why a permit was not given.
#[derive(Debug, Clone)]
pub enum NoPermit {
    /// The policy of the moment blocks it; the approval as it now stands.
    BlockedNow(Approval, String),
    /// Somebody else has the permit, it is spent, or it is too late.
    Refused(Approval, crate::domain::approval::Refusal),
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
        if let Some(reason) = intake::blocks_now(&policy, request, self.now()) {
            let command = Command::RefuseRelease { revision: policy.revision().to_owned(), reason: reason.clone() };
            return match self.apply(id, command).await? {
                Applied::Changed(approval) | Applied::Same(approval) => Ok(Err(NoPermit::BlockedNow(approval, reason))),
                Applied::Refused(approval, refusal) => Ok(Err(NoPermit::Refused(approval, refusal))),
                Applied::Missing => Err(Error::Vanished(id)),
            };
        }
        let fingerprint = request.fingerprint();
        let command = Command::BeginRelease {
            agent: request.agent.clone(),
            fingerprint,
            revision: policy.revision().to_owned(),
        };
        match self.apply(id, command).await? {
            Applied::Changed(approval) => {
                if let State::Approved(decision) = &approval.state {
                    self.metrics().release_delay(self.now().since(decision.at));
                }
                Ok(Ok(Permit { ticket: Ticket::Approval(id, fingerprint) }))
            }
            Applied::Same(approval) => {
                Ok(Err(NoPermit::Refused(approval, crate::domain::approval::Refusal::PermitSpent)))
            }
            Applied::Refused(approval, refusal) => Ok(Err(NoPermit::Refused(approval, refusal))),
            Applied::Missing => Err(Error::Vanished(id)),
        }
    }

    /// Records what a release came to. Retries for a while when the store cannot write: what cannot be recorded stays
    /// `releasing`, which the next start turns into unknown.
    pub async fn finish_release(&self, id: ApprovalId, upstream: &str, sent: Sent, result: Option<KeptAnswer>) {
        let command = match &sent {
            Sent::Answered(status) => Command::Succeed { status: *status },
            Sent::NotSent(reason) => Command::Fail { reason: reason.clone(), permit: PermitFate::Returned },
            Sent::Lost(reason) => Command::LoseTrack { reason: reason.clone() },
        };
        self.metrics().release(upstream, &sent);
        for pause in [50, 200, 1000, 3000] {
            match self.finish(id, command.clone(), result.as_ref()).await {
                Ok(_) => return,
                Err(error) => tracing::error!(approval = %id, %error, "an outcome could not be recorded"),
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
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
                HeldRequest::from_bytes(bytes.into()).map(Some).ok_or(Error::Unreadable(id))
            }
            None => Ok(None),
        }
    }

    /// Starts the release of a detached call in a task of its own, if that is what the approval now asks for.
    pub(super) fn release_if_ready(&self, approval: &Approval) {
        let detached = approval.call().is_some_and(|call| call.release == ReleaseMode::Detached);
        let unsent = matches!(approval.execution, Execution::Held);
        if detached && unsent && matches!(approval.state, State::Approved(_)) {
            let (gate, id) = (self.clone(), approval.id);
            self.spawn("detached release", async move {
                if let Err(error) = gate.release_detached(id).await {
                    tracing::error!(approval = %id, %error, "a detached call could not be released; it will be tried again");
                }
            });
        }
    }

    async fn release_detached(&self, id: ApprovalId) -> Result<(), Error> {
        let Ok(_turn) = self.detached_turns().acquire_owned().await else {
            return Ok(());
        };
        let (Some(approval), Some(request)) = (self.approval(id).await?, self.stored_request(id).await?) else {
            return Err(Error::Vanished(id));
        };
        match self.take_permit(&approval, &request).await? {
            Ok(permit) => {
                let upstream = request.upstream.clone();
                let (sent, kept) = self.sender().send(permit, request).await;
                self.finish_release(id, &upstream, sent, kept).await;
            }
            // Another task was first, or policy forbids it by now: either way it is recorded.
            Err(NoPermit::BlockedNow(..) | NoPermit::Refused(..)) => {}
        }
        Ok(())
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
