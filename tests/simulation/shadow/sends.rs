//! What reaches the upstream: at most once for each approval, and nothing that nobody allowed.

use holdpoint::domain::approval::{Approval, Execution, PermitFate, Status};
use holdpoint::domain::audit::EventKind;
use holdpoint::domain::id::ApprovalId;
use holdpoint::gate::held::HeldRequest;
use holdpoint::gate::release::Sent;

use super::{Shadow, brief};
use crate::model::State;
use crate::tables::{Act, table};

/// What became of one attempt, as the upstream knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// Nothing arrived.
    Nothing,
    /// It arrived, and may have run.
    Arrived,
    /// It arrived, and the upstream said that it did not take it.
    Declined,
}

/// One attempt to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parcel {
    pub(crate) reached: Reached,
    /// What the gateway was told, once it was.
    pub(crate) told: Option<Sent>,
    at: u64,
}

impl Shadow {
    /// The upstream is about to be sent this on the strength of an approval.
    pub(crate) fn sends(&mut self, id: ApprovalId, request: &HeldRequest, reached: Reached, state: &State) {
        self.note(|| format!("upstream {reached:?} {id}"));
        self.count(format!("sent: {reached:?}"));
        let Some(approval) = state.approvals.get(&id) else {
            return self.wrong(format!("{id} is sent, and not stored"));
        };
        let released = match approval.execution {
            Execution::Releasing { .. } => true,
            // A recovery of another gateway has given it up meanwhile; it never comes back from that.
            Execution::Unknown { .. } | Execution::Resolved { .. } => self.untold.contains(&id),
            Execution::None | Execution::Held | Execution::Succeeded { .. } | Execution::Failed { .. } => false,
        };
        self.must(released, || format!("sent while it stands as {}", brief(approval)));
        self.must(approval.status() == Status::Approved, || format!("sent, and not approved: {}", brief(approval)));
        let same = approval.subject.fingerprint == request.fingerprint()
            && approval.subject.agent == request.agent
            && approval.subject.name == request.tool
            && approval.subject.payload_sha256.0 == holdpoint::auth::sha256(&request.payload());
        self.must(same, || format!("another call is sent than was approved: {}", brief(approval)));
        let parcels = self.parcels.get(&id).map_or(&[][..], Vec::as_slice);
        let again = parcels.iter().any(|parcel| parcel.reached == Reached::Arrived);
        let open = parcels.iter().any(|parcel| parcel.told.is_none());
        self.must(!again, || format!("sent twice: {}", brief(approval)));
        self.must(!open, || format!("sent beside itself: {}", brief(approval)));
        if reached == Reached::Arrived {
            self.key_is_free(approval, state);
        }
        let parcel = Parcel { reached, told: None, at: self.millis };
        self.parcels.entry(id).or_default().push(parcel);
    }

    /// A key names one call: what was sent under it, or may have been, is not sent again while its result lasts.
    fn key_is_free(&mut self, approval: &Approval, state: &State) {
        let Some(key) = &approval.subject.idempotency_key else { return };
        let millis = self.millis;
        let lasting = self.parcels.iter().find(|(id, parcels)| {
            let Some(other) = state.approvals.get(*id) else { return false };
            let same = other.id != approval.id
                && other.subject.idempotency_key.as_ref() == Some(key)
                && other.subject.agent == approval.subject.agent
                && other.subject.fingerprint == approval.subject.fingerprint
                // Parked before the other was sent, and decided after: they stood side by side.
                && other.state.closed_at().is_some_and(|closed| closed < approval.created_at);
            let ttl = u64::try_from(other.terms.result_ttl.as_millis()).unwrap_or(u64::MAX);
            same && parcels.iter().any(|parcel| parcel.reached == Reached::Arrived && millis < parcel.at + ttl)
        });
        let clash = lasting.map(|(id, _)| *id);
        self.must(clash.is_none(), || format!("{} is sent, and {clash:?} was under its key", brief(approval)));
    }

    /// The gateway is told what sending came to.
    pub(crate) fn sent(&mut self, id: ApprovalId, sent: &Sent) {
        self.note(|| format!("gateway told {sent:?} {id}"));
        if let Some(parcel) = self.parcels.get_mut(&id).and_then(|parcels| parcels.last_mut()) {
            parcel.told = Some(sent.clone());
        }
    }

    /// A release was given up without a word: by a crash, or because its task was lost.
    pub(crate) fn lost_track(&mut self, id: ApprovalId) {
        self.sent(id, &Sent::Lost("given up".to_owned()));
    }

    /// The end of a release could not be written down, as the gateway has tried for long enough.
    pub(crate) fn outcome_attempted(&mut self, id: ApprovalId, state: &State) {
        let releasing =
            state.approvals.get(&id).is_some_and(|now| matches!(now.execution, Execution::Releasing { .. }));
        if releasing {
            self.count("outcome could not be written");
            self.untold.insert(id);
        }
    }

    /// What is stored as the outcome is what the upstream and the gateway know.
    pub(super) fn outcome_agrees(&mut self, new: &Approval) {
        let last = self.parcels.get(&new.id).and_then(|parcels| parcels.last()).cloned();
        let agrees = match (&new.execution, &last) {
            (Execution::Succeeded { status, .. }, Some(parcel)) => {
                parcel.reached == Reached::Arrived && parcel.told == Some(Sent::Answered(*status))
            }
            (Execution::Succeeded { .. }, None) => false,
            // Not sent: never taken up by an upstream, or given back by it.
            (Execution::Failed { permit: PermitFate::Returned, .. }, parcel) => {
                parcel.as_ref().is_none_or(|parcel| parcel.reached != Reached::Arrived)
            }
            (
                Execution::Failed { permit: PermitFate::Spent, .. }
                | Execution::Unknown { .. }
                | Execution::Resolved { .. }
                | Execution::Releasing { .. }
                | Execution::Held
                | Execution::None,
                _,
            ) => true,
        };
        self.must(agrees, || format!("{} does not agree with {last:?}", brief(new)));
    }

    /// A call goes upstream on the strength of a verdict alone.
    pub(crate) fn passes(&mut self, node: usize, tool: &str, revision: &str, state: &State, records_before: usize) {
        self.count("passed");
        let act = table(revision).and_then(|table| table.acts.get(tool));
        let may = matches!(act, Some(Act::Allow | Act::Audit));
        self.must(may, || format!("gateway {node} lets {tool} pass, of which revision {revision} says {act:?}"));
        if act == Some(&Act::Audit) {
            let wanted = format!("\"kind\":\"{}\"", EventKind::CallAudited.as_str());
            let told = state.trail.iter().skip(records_before).any(|(_, record)| record.event.contains(&wanted));
            self.must(told, || format!("{tool} passes and the trail does not say so"));
        }
    }
}
