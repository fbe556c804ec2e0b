//! What must happen whether or not anybody asks: expiry, detached releases that were missed, forgetting, judging again
//! after a reload.
//!
//! Each sweep takes no input, reads the store and may run at any time and any number of times.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::approval::{Approval, Canceller, Command, Status};
use crate::domain::id::ApprovalId;
use crate::domain::policy::CompiledPolicy;
use crate::store::{Applied, Filter, Sort};

use super::again::{self, Again};
use super::{Error, Gate, Limits};

/// How often deadlines are looked at: how late an expiry can be.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(500);
/// How often missed detached releases are looked for.
const READY_INTERVAL: Duration = Duration::from_secs(5);
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
        self.every("detached releases", READY_INTERVAL, |gate| async move { gate.sweep_ready().await });
        self.every("forgetting", FORGET_INTERVAL, |gate| async move {
            gate.store().forget(gate.now()).await?;
            Ok(())
        });
        Ok(())
    }

    /// Puts a new policy and new limits in force and judges what is pending again.
    pub async fn reload(&self, policy: Arc<CompiledPolicy>, limits: Limits) -> Result<(), Error> {
        self.inner.limits.store(limits.into());
        if policy.revision() == self.policy_revision() {
            return Ok(());
        }
        self.inner.policy.store(policy);
        self.judge_pending_again().await
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

    /// Judges every pending call by the policy of this moment: one that would be blocked is closed with that reason; one whose
    /// rule changed is marked for the reviewer.
    async fn judge_pending_again(&self) -> Result<(), Error> {
        let filter = Filter { statuses: vec![Status::Pending], sort: Sort::Oldest, ..Filter::default() };
        let mut after: Option<ApprovalId> = None;
        loop {
            let page = self.store().list(filter.clone(), after, BATCH, self.now()).await?;
            for approval in &page.approvals {
                self.judge_one_again(approval).await?;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
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
