//! What the events of one approval come to, one after the other.

use crate::history::{State, View};
use crate::trail::Event;

/// An approval as the trail tells it.
pub(super) struct Replay {
    pub(super) state: State,
    pub(super) decided_by: Option<String>,
    pub(super) votes: Vec<String>,
    /// Releases that began, and have not turned out to have sent nothing.
    pub(super) sent_at_most: usize,
    /// Releases that the upstream answered.
    pub(super) sent_at_least: usize,
}

impl Replay {
    /// Whether it stands there as reviewers are shown it.
    pub(super) fn agrees(&self, view: &View) -> bool {
        self.state == view.state && self.decided_by == view.decided_by && self.votes == view.votes
    }
}

/// Follows the events; `starts` are the places where the gateway started.
///
/// # Errors
/// The first event that cannot follow those before it, with the letter of what it breaks.
pub(super) fn replay(events: &[&Event], starts: &[u64]) -> Result<Replay, (char, String)> {
    let state =
        |status: &str| State { status: status.to_owned(), outcome: "held".to_owned(), retry: None, resolved: None };
    let Some((created, rest)) = events.split_first().filter(|(first, _)| first.kind == "approval_created") else {
        return Err(('e', "its first event is not that it was created".to_owned()));
    };
    let mut now =
        Replay { state: state("pending"), decided_by: None, votes: Vec::new(), sent_at_most: 0, sent_at_least: 0 };
    let mut before = *created;
    for event in rest {
        let wrong =
            |letter: char| Err((letter, format!("record {}: `{}` after `{}`", event.seq, event.kind, before.kind)));
        let pending = now.state.status == "pending";
        let releasing = now.state.outcome == "releasing";
        match event.kind.as_str() {
            "caller_joined" | "caller_left" => continue,
            kind @ ("approval_voted" | "approval_approved" | "approval_rejected" | "approval_expired"
            | "approval_cancelled") => {
                if !pending {
                    return wrong('d');
                }
                let status = kind.trim_start_matches("approval_");
                if matches!(status, "voted" | "approved") {
                    now.votes.push(event.actor.clone());
                }
                if status != "voted" {
                    now.state = state(status);
                    let closed_by_agent = status == "cancelled" && event.detail("by") == "agent";
                    now.decided_by = Some(if closed_by_agent { "agent".to_owned() } else { event.actor.clone() });
                }
            }
            "release_started" if now.state.status != "approved" => return wrong('a'),
            "release_started" => {
                if !matches!((now.state.outcome.as_str(), now.state.retry), ("held", _) | ("failed", Some(true))) {
                    return wrong('b');
                }
                now.state = State { outcome: "releasing".to_owned(), ..state("approved") };
                now.sent_at_most += 1;
            }
            "release_succeeded" | "release_failed" | "release_unknown" if !releasing => return wrong('d'),
            kind @ ("release_succeeded" | "release_failed" | "release_unknown") => {
                let restarted = starts.iter().any(|start| (before.seq..event.seq).contains(start));
                if restarted && kind != "release_unknown" {
                    return wrong('e');
                }
                now.state.outcome = kind.trim_start_matches("release_").to_owned();
                now.sent_at_least += usize::from(kind == "release_succeeded");
                if kind == "release_failed" {
                    now.sent_at_most -= 1;
                    now.state.retry = Some(event.detail("permit") == "returned");
                }
            }
            "release_resolved" if now.state.outcome != "unknown" => return wrong('d'),
            "release_resolved" => {
                now.state.outcome = "resolved".to_owned();
                now.state.resolved = Some(event.detail("outcome").to_owned());
            }
            _ => return wrong('e'),
        }
        before = event;
    }
    Ok(now)
}
