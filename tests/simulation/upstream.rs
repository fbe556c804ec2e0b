//! The upstream, and what stands in `proxy::upstream`'s place before it: whoever takes the permit, spends it, sends, and
//! tells the gate what came of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use holdpoint::domain::call::Protocol;
use holdpoint::domain::id::ApprovalId;
use holdpoint::gate::held::HeldRequest;
use holdpoint::gate::release::{KeptAnswer, Permit, Sender, Sent};
use tokio_util::sync::CancellationToken;

use crate::shadow::Reached;
use crate::world::Shared;

/// The upstream as one gateway reaches it.
#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) shared: Arc<Shared>,
    /// That gateway's end.
    pub(crate) gone: CancellationToken,
}

/// What will become of one attempt.
struct Fate {
    before: Duration,
    after: Duration,
    reached: Reached,
    /// `None`: the gateway's task is lost, and nobody says anything.
    told: Option<Sent>,
}

impl Upstream {
    fn fate(&self, protocol: Protocol) -> Fate {
        let calm = self.shared.is_calm();
        let one_less = |refusals: u64| refusals.checked_sub(1);
        if self.shared.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
            let told = Some(Sent::NotSent("connection refused".to_owned()));
            return Fate { before: Duration::ZERO, after: Duration::ZERO, reached: Reached::Nothing, told };
        }
        self.shared.throw(|dice| {
            if self.shared.turns.is_some() {
                let told = Some(Sent::Answered(200));
                return Fate { before: Duration::ZERO, after: Duration::ZERO, reached: Reached::Arrived, told };
            }
            let before = Duration::from_millis(if dice.chance(50) { 0 } else { dice.within(1, 200) });
            let slow = dice.chance(15);
            let after = Duration::from_millis(if slow { dice.within(1_000, 6_000) } else { dice.within(0, 300) });
            let (reached, told) = match dice.below(100) {
                _ if calm => (Reached::Arrived, Some(Sent::Answered(200))),
                0..=54 => (Reached::Arrived, Some(Sent::Answered(200))),
                55..=61 => (Reached::Arrived, Some(Sent::Answered(500))),
                62..=79 => (Reached::Nothing, Some(Sent::NotSent("connection refused".to_owned()))),
                80..=85 if protocol == Protocol::Mcp => {
                    (Reached::Declined, Some(Sent::Refused("the upstream did not take the call".to_owned())))
                }
                80..=91 => (Reached::Arrived, Some(Sent::Lost("reset".to_owned()))),
                92..=95 => (Reached::Nothing, Some(Sent::Lost("timed out".to_owned()))),
                _ => (Reached::Arrived, None),
            };
            Fate { before, after, reached, told }
        })
    }

    /// Spends the permit and sends; what the caller is told. Ends never when its gateway ends meanwhile.
    pub(crate) async fn release(
        &self,
        permit: Permit,
        request: &HeldRequest,
        keeps: bool,
    ) -> Option<(ApprovalId, Sent)> {
        let Ok(release) = permit.spend(|| request.fingerprint()) else {
            self.shared.account(|shadow, _| shadow.wrong(format!("a permit for another call: {request:?}")));
            return None;
        };
        let id = release.approval();
        let fate = self.fate(request.protocol);
        self.alive_after(fate.before).await;
        self.shared.account(|shadow, state| shadow.sends(id, request, fate.reached, state));
        if fate.reached == Reached::Arrived {
            self.shared.chronicle(|chronicle| chronicle.arrives(request));
        }
        tokio::select! {
            biased;
            () = self.gone.cancelled() => {
                self.shared.account(|shadow, _| shadow.lost_track(id));
                std::future::pending::<()>().await;
            }
            () = self.answer_after(fate.after) => {}
        }
        let Some(sent) = fate.told else {
            self.shared.account(|shadow, _| shadow.lost_track(id));
            drop(release);
            return None;
        };
        self.shared.account(|shadow, _| shadow.sent(id, &sent));
        let kept = match &sent {
            Sent::Answered(status) if keeps => Some(KeptAnswer {
                status: *status,
                headers: Vec::new(),
                body: Bytes::from(id.to_string()),
                too_large: false,
            }),
            Sent::Answered(_) | Sent::NotSent(_) | Sent::Refused(_) | Sent::Lost(_) => None,
        };
        release.finish(sent.clone(), kept).await;
        self.shared.account(|shadow, state| shadow.outcome_attempted(id, state));
        Some((id, sent))
    }

    async fn answer_after(&self, time: Duration) {
        if self.shared.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        match &self.shared.turns {
            Some(turns) => turns.wait("the upstream answers").await,
            None => tokio::time::sleep(time).await,
        }
    }

    /// A process that is gone connects to nothing.
    async fn alive_after(&self, time: Duration) {
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
        if self.gone.is_cancelled() {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Sender for Upstream {
    async fn send(&self, permit: Permit, request: HeldRequest) {
        self.release(permit, &request, true).await;
    }
}
