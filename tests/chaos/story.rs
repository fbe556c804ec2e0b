//! A whole run as the checker reads it, and what the checker may know about the policy.

use std::collections::HashMap;

use super::history::{Identity, Line, What};

/// What the run's policy says about a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It passes.
    Allowed,
    /// It passes, and the trail says so first.
    Audited,
    /// It never passes.
    Blocked,
    /// It is parked until so many people approved.
    Parked(usize),
}

/// Everything that is known about a run.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    /// What the policy says about a tool.
    pub(crate) policy: fn(&str) -> Verdict,
    /// What everybody wrote down, in order.
    pub(crate) lines: Vec<Line>,
    /// The trail as exported with the last read-back.
    pub(crate) trail: Vec<String>,
}

/// A look at an approval.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sighting<'a> {
    /// Which.
    pub(crate) approval: &'a str,
    /// The line before the question went out.
    pub(crate) asked: u64,
    /// The line of the answer.
    pub(crate) answered: u64,
    /// What it said.
    pub(crate) state: &'a super::history::State,
}

impl Story {
    /// Nothing yet, under this policy.
    pub(crate) const fn new(policy: fn(&str) -> Verdict) -> Self {
        Self { policy, lines: Vec::new(), trail: Vec::new() }
    }

    /// What the policy says about a call.
    pub(crate) fn verdict(&self, call: &Identity) -> Verdict {
        (self.policy)(&call.tool)
    }

    /// Whether the answer in line `n` may be one whose outcome stays unknown: it came while the store failed, and could not be recorded.
    pub(crate) fn may_lack(&self, n: u64, outcome: &str) -> bool {
        let starts = self.lines.iter().filter(|line| matches!(line.what, What::Starting | What::StoreFails));
        let before: Vec<&What> = starts.take_while(|line| line.n < n).map(|line| &line.what).collect();
        ["unknown", "resolved"].contains(&outcome) && before.ends_with(&[&What::StoreFails, &What::Starting])
    }

    /// The last read-back, and its line.
    pub(crate) fn read_back(&self) -> Option<(u64, HashMap<&str, &super::history::View>)> {
        self.read_backs().next_back()
    }

    /// Every read-back, by its line.
    pub(crate) fn read_backs(&self) -> impl DoubleEndedIterator<Item = (u64, HashMap<&str, &super::history::View>)> {
        self.lines.iter().filter_map(|line| match &line.what {
            What::ReadBack { approvals } => {
                Some((line.n, approvals.iter().map(|view| (view.id.as_str(), view)).collect()))
            }
            _ => None,
        })
    }

    /// Every look that anybody had at an approval, in the order of the answers.
    pub(crate) fn sightings(&self) -> Vec<Sighting<'_>> {
        let mut sightings = Vec::new();
        for line in &self.lines {
            let answered = line.n;
            match &line.what {
                What::Seen { approval, asked, state } => {
                    sightings.push(Sighting { approval, asked: *asked, answered, state });
                }
                What::WordAnswered { approval, sent, state: Some(state), .. } => {
                    sightings.push(Sighting { approval, asked: *sent, answered, state });
                }
                What::ReadBack { approvals } => sightings.extend(approvals.iter().map(|view| {
                    // Nothing moves during a read-back.
                    Sighting { approval: &view.id, asked: answered, answered, state: &view.state }
                })),
                _ => {}
            }
        }
        sightings
    }

    /// The calls that clients sent, by name: the first time that each was sent.
    pub(crate) fn calls(&self) -> HashMap<&str, (u64, &Identity)> {
        let mut calls = HashMap::new();
        for line in &self.lines {
            if let What::CallSent { name, call, .. } = &line.what {
                calls.entry(name.as_str()).or_insert((line.n, call));
            }
        }
        calls
    }
}
