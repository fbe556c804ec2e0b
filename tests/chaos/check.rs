//! The one checker. A pure function over what everybody wrote down and the exported trail:
//!
//! * (a) every call that reached the upstream was let through by policy, or approved before, and is the call that was sent;
//! * (b) an approval sends at most once;
//! * (c) what was acknowledged is found after every later start: approvals, decisions, outcomes;
//! * (d) what is over stays as it is;
//! * (e) the audit trail and the histories tell the same story.
//!
//! Acknowledged is what an answer said that arrived whole: one that names an approval, a decision that was answered with 200, an
//! approval that somebody was shown. What was sent and not answered may have happened or not.

#[path = "check/replay.rs"]
mod replay;
#[path = "check/tells.rs"]
mod tells;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use super::history::{Identity, Line, State, View, What};
use super::story::{Story, Verdict};
use super::trail::{self, Event};

/// Something that may never be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Which of the five is broken.
    pub(crate) letter: char,
    /// How.
    pub(crate) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}) {}", self.letter, self.what)
    }
}

/// What several of the checks look up.
struct Facts<'a> {
    story: &'a Story,
    events: &'a [Event],
    /// The events of each approval, in order.
    by_approval: BTreeMap<&'a str, Vec<&'a Event>>,
    /// Each call by its name: when it was first sent, and what it is.
    calls: HashMap<&'a str, (u64, &'a Identity)>,
    /// What arrived upstream, by what arrived: the lines of the hits, and the name that the body says.
    hits: BTreeMap<Identity, Vec<u64>>,
    /// The last read-back.
    last: HashMap<&'a str, &'a View>,
    findings: Vec<Finding>,
}

/// Everything that is wrong with a run; nothing for a run that kept its promises.
pub(crate) fn check(story: &Story) -> Vec<Finding> {
    let trail = trail::read(&story.trail);
    let mut facts = Facts::of(story, &trail);
    facts.collect_hits();
    facts.each_hit_was_let_through();
    facts.what_was_acknowledged_is_found();
    facts.what_is_over_stays();
    facts.trail_and_histories_agree();
    facts.findings
}

/// What is wrong with a store that was restored from a backup, where it was read back once and nothing else was done:
///
/// * (c) it holds what was acknowledged before line `begun`, at which the backup was begun;
/// * (d) what was over by then is over in the same way;
/// * (e) its trail is the story's up to the backup, and the restore.
pub(crate) fn check_backup(story: &Story, begun: u64, restored: &Story) -> Vec<Finding> {
    let before = story.lines.iter().filter(|line| line.n < begun).cloned();
    // The restored store has a history of its own: what it says comes behind what was said before.
    let after = restored.lines.iter().filter(|line| matches!(line.what, What::ReadBack { .. })).cloned();
    let after = after.map(|line| Line { n: u64::MAX, ..line });
    let kept = Story { policy: story.policy, lines: before.chain(after).collect(), trail: restored.trail.clone() };
    let trail = trail::read(&kept.trail);
    let mut facts = Facts::of(&kept, &trail);
    facts.what_was_acknowledged_is_found();
    facts.what_is_over_stays();
    let same = kept.trail.iter().zip(&story.trail).take_while(|(of_backup, whole)| of_backup == whole).count();
    if facts.events.get(same).is_none_or(|event| event.kind != "store_restored") {
        facts.find('e', format!("the trail of the backup is another one from record {}", same + 1));
    }
    facts.findings
}

impl<'a> Facts<'a> {
    /// Of a story and its trail as it was read.
    fn of(story: &'a Story, (events, broken): &'a (Vec<Event>, Option<String>)) -> Self {
        let mut by_approval: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
        for event in events {
            if let Some(id) = &event.approval {
                by_approval.entry(id).or_default().push(event);
            }
        }
        let last = story.read_back().map(|(_, views)| views).unwrap_or_default();
        let (calls, hits) = (story.calls(), BTreeMap::new());
        let mut facts = Self { story, events, by_approval, calls, hits, last, findings: Vec::new() };
        if let Some(broken) = broken {
            facts.find('e', format!("the chain of the trail does not verify: {broken}"));
        }
        facts
    }

    fn find(&mut self, letter: char, what: String) {
        self.findings.push(Finding { letter, what });
    }

    /// Reads what arrived, and (a) whether it is what the client of that name sent.
    fn collect_hits(&mut self) {
        let story = self.story;
        for line in &story.lines {
            let What::Hit { method, target, body } = &line.what else { continue };
            let (name, mut arrived) = Identity::arrived(method, target, body);
            let sent = self.calls.get(name.as_str());
            sent.map_or("", |(_, call)| &call.agent).clone_into(&mut arrived.agent);
            match sent {
                Some((sent, call)) if *sent < line.n && arrived == **call => {}
                Some((sent, call)) => {
                    self.find(
                        'a',
                        format!("line {}: `{name}` arrived as {target} {body}; sent in {sent} was {call:?}", line.n),
                    );
                }
                None => self.find('a', format!("line {}: nobody sent what arrived: {target} {body}", line.n)),
            }
            self.hits.entry(arrived).or_default().push(line.n);
        }
    }

    /// (a) and (b).
    fn each_hit_was_let_through(&mut self) {
        let approved = self.approved_from();
        let mut sends: HashMap<&Identity, usize> = HashMap::new();
        for line in &self.story.lines {
            if let What::CallSent { call, .. } = &line.what {
                *sends.entry(call).or_default() += 1;
            }
        }
        let mut found = Vec::new();
        for (call, hits) in &self.hits {
            match self.story.verdict(call) {
                Verdict::Allowed | Verdict::Audited => {
                    let sends = sends.get(call).copied().unwrap_or(0);
                    if hits.len() > sends {
                        found.push(('b', format!("{}: sent {sends} times, arrived at {hits:?}", call.target)));
                    }
                }
                Verdict::Blocked => found.push(('a', format!("{} is blocked and arrived at {hits:?}", call.target))),
                Verdict::Parked(_) => {
                    let approved = approved.get(call).map_or(&[][..], Vec::as_slice);
                    for (k, hit) in hits.iter().enumerate() {
                        match approved.get(k) {
                            Some(from) if from < hit => {}
                            Some(from) => {
                                found.push(('a', format!("{} arrived at {hit}, approved at {from}", call.target)));
                            }
                            None if k == 0 => {
                                found.push(('a', format!("{} arrived at {hit} and nobody approved it", call.target)));
                            }
                            None => found.push((
                                'b',
                                format!(
                                    "{} arrived {} times for {} approvals",
                                    call.target,
                                    hits.len(),
                                    approved.len()
                                ),
                            )),
                        }
                    }
                }
            }
        }
        found.into_iter().for_each(|(letter, what)| self.find(letter, what));
    }

    /// For each call, the line from which each of its approvals could be approved: when the last person who was needed began to
    /// say so. In order.
    fn approved_from(&self) -> HashMap<&'a Identity, Vec<u64>> {
        let mut words: HashMap<&str, (HashSet<&str>, Option<u64>)> = HashMap::new();
        for line in &self.story.lines {
            let What::WordSent { approval, word, by } = &line.what else { continue };
            let Some(view) = self.last.get(approval.as_str()).filter(|_| word == "approved") else { continue };
            let (people, from) = words.entry(approval).or_default();
            people.insert(by);
            if self.story.verdict(&view.call) == Verdict::Parked(people.len()) && from.is_none() {
                *from = Some(line.n);
            }
        }
        let mut approved: HashMap<&Identity, Vec<u64>> = HashMap::new();
        for (id, (_, from)) in words {
            let view = self.last[id];
            if view.state.status == "approved" {
                approved.entry(&view.call).or_default().extend(from);
            }
        }
        approved.values_mut().for_each(|lines| lines.sort_unstable());
        approved
    }

    /// (c)
    fn what_was_acknowledged_is_found(&mut self) {
        let story = self.story;
        let mut found = Vec::new();
        // What was acknowledged so far: looked for in each read-back behind it.
        let mut shown: BTreeMap<&str, u64> = BTreeMap::new();
        let mut words: Vec<(u64, &str, &str, &str, Option<&State>)> = Vec::new();
        let mut answers: Vec<(u64, &str, &'static str, &str)> = Vec::new();
        for line in &story.lines {
            match &line.what {
                What::CallAnswered { approval: Some(id), code, source, .. } => {
                    shown.entry(id).or_insert(line.n);
                    answers.extend(said_of(code, source).map(|(member, value)| (line.n, id.as_str(), member, value)));
                }
                What::Seen { approval, .. } => {
                    shown.entry(approval).or_insert(line.n);
                }
                What::WordAnswered { approval, word, by, status: 200, state, .. } => {
                    words.push((line.n, approval, word, by, state.as_ref()));
                }
                What::Replayed { approval, .. } => answers.push((line.n, approval, "outcome", "succeeded")),
                What::ReadBack { approvals } => {
                    let views: HashMap<&str, &View> = approvals.iter().map(|view| (view.id.as_str(), view)).collect();
                    for (id, n) in shown.iter().filter(|(id, _)| !views.contains_key(**id)) {
                        found.push(format!("{id} was acknowledged at {n} and is gone at {}", line.n));
                    }
                    for (n, id, word, by, state) in &words {
                        if !views.get(id).is_some_and(|view| stands(view, word, by, *state)) {
                            found.push(format!(
                                "{by}'s `{word}` on {id} was acknowledged at {n} and is not there at {}",
                                line.n
                            ));
                        }
                    }
                    for (n, id, member, value) in &answers {
                        let has = |view: &View| {
                            *value == if *member == "status" { &view.state.status } else { &view.state.outcome }
                        };
                        // An unknown outcome may have been settled since.
                        let settled = |view: &View| *value == "unknown" && view.state.outcome == "resolved";
                        let unrecorded = |view: &View| *value == "succeeded" && story.may_lack(*n, &view.state.outcome);
                        if !views.get(id).is_some_and(|view| has(view) || settled(view) || unrecorded(view)) {
                            found.push(format!("the answer at {n} said of {id} `{value}`; at {} it is not", line.n));
                        }
                    }
                    shown.extend(
                        views.keys().filter(|id| !shown.contains_key(**id)).map(|id| (*id, line.n)).collect::<Vec<_>>(),
                    );
                }
                _ => {}
            }
        }
        found.into_iter().for_each(|what| self.find('c', what));
    }

    /// (d)
    fn what_is_over_stays(&mut self) {
        let mut first: HashMap<&str, [Option<(u64, &State)>; 2]> = HashMap::new();
        let sightings = self.story.sightings();
        let mut found = Vec::new();
        for seen in &sightings {
            let over = first.entry(seen.approval).or_default();
            let over_now = [seen.state.status != "pending", is_final(seen.state)];
            let same: [fn(&State, &State) -> bool; 2] = [
                |a, b| a.status == b.status,
                |a, b| (&a.outcome, &a.resolved, &a.retry) == (&b.outcome, &b.resolved, &b.retry),
            ];
            for part in 0..2 {
                match over[part] {
                    None if over_now[part] => over[part] = Some((seen.answered, seen.state)),
                    // Two questions under way at once may be answered in either order.
                    Some((since, before))
                        if (over_now[part] || seen.asked >= since) && !same[part](before, seen.state) =>
                    {
                        found.push(format!(
                            "{} was {before:?} at {since} and {:?} at {}",
                            seen.approval, seen.state, seen.answered
                        ));
                    }
                    _ => {}
                }
            }
        }
        found.into_iter().for_each(|what| self.find('d', what));
    }
}

/// Whether nothing more can come of the call.
fn is_final(state: &State) -> bool {
    matches!((state.outcome.as_str(), state.retry), ("succeeded" | "resolved", _) | ("failed", Some(false)))
}

/// What a caller's answer says about its approval for good.
fn said_of(code: &str, source: &str) -> Option<(&'static str, &'static str)> {
    match (code, source) {
        ("rejected", _) => Some(("status", "rejected")),
        ("expired", _) => Some(("status", "expired")),
        ("cancelled", _) => Some(("status", "cancelled")),
        ("outcome_unknown" | "upstream_timeout", _) => Some(("outcome", "unknown")),
        ("", "upstream") => Some(("outcome", "succeeded")),
        _ => None,
    }
}

/// Whether an acknowledged word is in the approval as it stands.
fn stands(view: &View, word: &str, by: &str, answered: Option<&State>) -> bool {
    let decided = view.decided_by.as_deref();
    match word {
        "approved" => {
            let settled = answered.is_some_and(|state| state.status == "approved");
            view.votes.iter().any(|vote| vote == by) && (!settled || view.state.status == "approved")
        }
        "rejected" => view.state.status == "rejected" && decided == Some(by),
        "withdrawn" => view.state.status == "cancelled" && decided == Some("agent"),
        _ => view.state.resolved.as_deref() == Some(word) && view.resolved_by.as_deref() == Some(by),
    }
}
