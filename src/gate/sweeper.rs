//! What must happen whether or not anybody asks: expiry, detached releases that were missed, forgetting, judging again
//! after a reload.
//!
//! Each sweep takes no input, reads the store and may run at any time and any number of times.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::domain::approval::{Approval, Canceller, Command, Status};
use crate::domain::id::ApprovalId;
use crate::domain::policy::CompiledPolicy;
use crate::store::{self, Applied, Filter, Sort};

use super::again::{self, Again};
use super::{Error, Gate, Limits};

/// How often deadlines are looked at: how late an expiry can be.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(500);
/// How often missed detached releases are looked for, and pending approvals that a reload could not judge again.
const READY_INTERVAL: Duration = Duration::from_secs(5);
/// After how many failures one after the other the rest of the pending approvals waits for the next sweep.
const AGAIN_FAILURES_MAX: usize = 3;
/// How often what is over is forgotten.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);
/// How many rows one sweep takes at a time, so that decisions in between never wait long.
const BATCH: u32 = 200;

impl Gate {
    /// Recovers what a crash left and starts the sweeps. Run once, before anything is served.
    pub async fn start(&self) -> Result<(), Error> {
        let found = self.store().recover(self.now()).await?;
        if found.unknown > 0 {
            tracing::warn!(
                unknown = found.unknown,
                "calls were being sent when the gateway last ended; they may have run, and a reviewer must settle them"
            );
        }
        self.load_tools().await?;
        self.sweep_ready().await?;
        self.every("expiry", EXPIRY_INTERVAL, |gate| async move { gate.sweep_expired().await });
        self.every("detached releases", READY_INTERVAL, |gate| async move {
            // Neither waits for the other to go well.
            let judged = gate.judge_pending_again().await;
            gate.sweep_ready().await.and(judged)
        });
        self.every("forgetting", FORGET_INTERVAL, |gate| async move {
            gate.store().forget(gate.now()).await?;
            Ok(())
        });
        Ok(())
    }

    /// Puts a new policy and new limits in force and judges what is pending again.
    ///
    /// # Errors
    /// As [`Gate::judge_pending_again`]: policy and limits are in force all the same.
    pub async fn reload(&self, policy: Arc<CompiledPolicy>, limits: Limits) -> Result<(), Error> {
        self.put_in_force(policy, limits);
        self.judge_pending_again().await
    }

    /// Puts a new policy and new limits in force at once. What is pending is still to be judged by them: see
    /// [`Gate::judge_pending_again`].
    pub fn put_in_force(&self, policy: Arc<CompiledPolicy>, limits: Limits) {
        self.inner.limits.store(limits.into());
        let changed = !policy.is_same_as(&self.inner.policy.load());
        self.inner.policy.store(policy);
        if changed {
            self.inner.policies_put.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn every<F, Fut>(&self, name: &'static str, interval: Duration, sweep: F)
    where
        F: Fn(Gate) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), Error>> + Send,
    {
        let gate = self.clone();
        self.spawn(name, async move {
            loop {
                tokio::select! {
                    biased;
                    () = gate.inner.drain.cancelled() => return,
                    () = tokio::time::sleep(interval) => {}
                }
                if let Err(error) = sweep(gate.clone()).await {
                    tracing::error!(sweep = name, %error, "a sweep failed; it will run again");
                }
            }
        });
    }

    /// Expires what is past its time.
    async fn sweep_expired(&self) -> Result<(), Error> {
        loop {
            let due = self.store().due(self.now(), BATCH).await?;
            let full = due.len() == BATCH as usize;
            for (id, deadline) in due {
                self.apply(id, Command::Expire { deadline }).await?;
            }
            if !full {
                return Ok(());
            }
        }
    }

    /// Starts detached releases whose moment was missed (a crash between decision and release, a store that was away), and those
    /// that could not be sent and may be tried again. Those that wait for their turn stand first and are ready still, so as many more
    /// are read: behind them are the calls of other upstreams.
    async fn sweep_ready(&self) -> Result<(), Error> {
        let taken_up = u32::try_from(self.detached().count()).unwrap_or(u32::MAX);
        for id in self.store().ready(self.now(), BATCH.saturating_add(taken_up)).await? {
            self.start_detached(id);
        }
        Ok(())
    }

    /// Judges every pending call by the policy of this moment, unless that was done already: one that would be blocked is closed
    /// with that reason; one whose rule changed is marked for the reviewer. One that cannot be read is logged and left behind: it
    /// cannot be sent either.
    ///
    /// # Errors
    /// When the store fails for now. A sweep does what is left.
    pub async fn judge_pending_again(&self) -> Result<(), Error> {
        // Numbers, not revisions: a policy that comes back finds calls that were parked under the one between.
        let number = self.inner.policies_put.load(Ordering::SeqCst);
        if self.inner.policies_judged_by.load(Ordering::SeqCst) == number {
            return Ok(());
        }
        let filter = Filter { statuses: vec![Status::Pending], sort: Sort::Oldest, ..Filter::default() };
        let (mut after, mut failures): (Option<ApprovalId>, _) = (None, Failures::default());
        loop {
            let page = self.store().list(filter.clone(), after, BATCH, self.now()).await?;
            for approval in &page.approvals {
                failures.note(approval.id, self.judge_one_again(approval).await)?;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        if let Some(error) = failures.first {
            return Err(error);
        }
        // Where another policy has come meanwhile, its number is higher, and what is pending is judged once more.
        self.inner.policies_judged_by.fetch_max(number, Ordering::SeqCst);
        Ok(())
    }

    async fn judge_one_again(&self, approval: &Approval) -> Result<Option<Applied>, Error> {
        if approval.call().is_none() {
            return Ok(None);
        }
        let policy = self.policy();
        let Some(request) = self.stored_request(approval.id).await? else {
            return Ok(None);
        };
        let command =
            match again::judge_again(&policy, &request, self.claims_of(approval), Some(&approval.terms), self.now()) {
                Again::Blocks(reason) => Command::Cancel { by: Canceller::Policy, reason: Some(reason) },
                Again::AsksOtherwise => Command::MarkStale { revision: policy.revision().to_owned() },
                Again::Stands => return Ok(None),
            };
        self.apply(approval.id, command).await.map(Some)
    }
}

/// What failed while pending approvals were judged again.
#[derive(Default)]
struct Failures {
    /// The first failure that may be over when it is tried again.
    first: Option<Error>,
    /// How many of these came one after the other.
    in_a_row: usize,
}

impl Failures {
    /// Takes in how it went with one approval.
    ///
    /// # Errors
    /// When the store seems to be away: the others had better wait too.
    fn note<T>(&mut self, id: ApprovalId, judged: Result<T, Error>) -> Result<(), Error> {
        let Err(error) = judged else {
            self.in_a_row = 0;
            return Ok(());
        };
        tracing::error!(approval = %id, %error, "a pending approval could not be judged again");
        if !may_pass(&error) {
            return Ok(());
        }
        self.in_a_row += 1;
        if self.in_a_row >= AGAIN_FAILURES_MAX {
            return Err(error);
        }
        self.first.get_or_insert(error);
        Ok(())
    }
}

/// Whether the same may go well when it is tried again, as what is stored is not to blame.
const fn may_pass(error: &Error) -> bool {
    match error {
        Error::Store(store::Error::Unavailable(_) | store::Error::Unsure(_) | store::Error::InUse)
        | Error::TaskLost => true,
        Error::Store(store::Error::Corrupt(_) | store::Error::TooNew { .. })
        | Error::Vanished(_)
        | Error::Unreadable(_)
        | Error::Seal
        | Error::List(_) => false,
    }
}
