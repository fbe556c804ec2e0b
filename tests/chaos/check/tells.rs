//! (e): what the trail says, somebody did; what somebody saw done, the trail says.

use std::collections::{BTreeMap, HashMap, HashSet};

use holdpoint::protocol::fingerprint::{CallParts, fingerprint};

use super::Facts;
use super::replay::{Replay, replay};
use crate::history::{Identity, What};
use crate::mcp::TARGET;
use crate::story::Verdict;
use crate::trail::Event;

/// What the words of people are called in the trail.
const WORDS: &[(&str, &[&str])] = &[
    ("approved", &["approval_voted", "approval_approved"]),
    ("rejected", &["approval_rejected"]),
    ("withdrawn", &["approval_cancelled"]),
    ("committed", &["release_resolved"]),
    ("not_committed", &["release_resolved"]),
];
/// Events that are about no approval, and that these runs can cause.
const WITHOUT_APPROVAL: &[&str] = &["started", "call_audited", "call_blocked"];

impl Facts<'_> {
    pub(super) fn trail_and_histories_agree(&mut self) {
        let starts: Vec<u64> =
            self.events.iter().filter(|event| event.kind == "started").map(|event| event.seq).collect();
        self.as_often_started_as_it_came_up(starts.len());
        let replays = self.replay_each(&starts);
        self.each_creation_was_asked_for();
        self.each_word_was_said();
        self.each_release_is_seen_upstream(&replays);
        self.calls_without_approval_agree();
        self.answers_agree(&replays);
    }

    fn as_often_started_as_it_came_up(&mut self, started: usize) {
        let count = |what: fn(&What) -> bool| self.story.lines.iter().filter(|line| what(&line.what)).count();
        let (tried, up) = (count(|what| *what == What::Starting), count(|what| *what == What::Ready));
        if !(up..=tried).contains(&started) {
            self.find('e', format!("started {tried} times, ready {up} times, and {started} times in the trail"));
        }
    }

    /// Follows each approval's events and compares what they come to with what the gateway shows.
    fn replay_each(&mut self, starts: &[u64]) -> BTreeMap<String, Replay> {
        let mut replays = BTreeMap::new();
        let mut found = Vec::new();
        for (id, events) in &self.by_approval {
            match replay(events, starts) {
                Err((letter, what)) => found.push((letter, format!("{id}: {what}"))),
                Ok(replay) => {
                    match self.last.get(id) {
                        Some(view) if replay.agrees(view) => {}
                        Some(view) => found.push((
                            'e',
                            format!(
                                "{id}: the trail comes to {:?} by {:?}, shown is {view:?}",
                                replay.state, replay.decided_by
                            ),
                        )),
                        None => found.push(('e', format!("{id} is in the trail alone"))),
                    }
                    replays.insert((*id).to_owned(), replay);
                }
            }
        }
        for id in self.last.keys().filter(|id| !self.by_approval.contains_key(**id)) {
            found.push(('e', format!("{id} is not in the trail")));
        }
        for event in self.events.iter().filter(|event| event.approval.is_none()) {
            if !WITHOUT_APPROVAL.contains(&event.kind.as_str()) {
                found.push(('e', format!("record {}: nobody did a `{}`", event.seq, event.kind)));
            }
        }
        found.into_iter().for_each(|(letter, what)| self.find(letter, what));
        replays
    }

    /// Every approval is of a call that a client sent, bound to exactly that call.
    fn each_creation_was_asked_for(&mut self) {
        let mut sent: HashMap<&Identity, &str> = HashMap::new();
        for line in &self.story.lines {
            if let What::CallSent { call, body, .. } = &line.what {
                sent.entry(call).or_insert(body);
            }
        }
        let mut found = Vec::new();
        for (id, events) in &self.by_approval {
            let (created, Some(view)) = (events[0], self.last.get(id)) else { continue };
            let call = &view.call;
            let Some(body) = sent.get(call) else {
                found.push(format!("{id} is about a call that nobody sent: {call:?}"));
                continue;
            };
            // Of an MCP call its parameters are bound, whatever its id.
            let params = format!("{{\"arguments\":{body}}}");
            let (upstream, method, body) = match call.target.as_str() {
                TARGET => ("mcp", "tools/call", params.as_str()),
                _ => ("tools", call.method.as_str(), *body),
            };
            let parts = CallParts {
                agent: &call.agent,
                upstream,
                tool: &call.tool,
                method,
                target: &call.target,
                body: Some(body.as_bytes()),
            };
            let bound: String = fingerprint(&parts).0.iter().map(|byte| format!("{byte:02x}")).collect();
            let of_call =
                [created.detail("name"), created.detail("payload_sha256"), created.detail("method"), &created.actor];
            let started = events.iter().filter(|event| event.kind == "release_started");
            let fingerprints: HashSet<&str> =
                [created].into_iter().chain(started.copied()).map(|event| event.detail("fingerprint")).collect();
            if of_call != [&call.tool, &call.body_sha256, &call.method, &call.agent]
                || fingerprints != HashSet::from([bound.as_str()])
            {
                found.push(format!("record {}: not the call that was sent: {}", created.seq, created.detail));
            }
        }
        found.into_iter().for_each(|what| self.find('e', what));
    }

    /// Every decision in the trail was sent by that person before; every one that was acknowledged is in the trail.
    fn each_word_was_said(&mut self) {
        let mut sent: HashSet<(&str, &str, &str)> = HashSet::new();
        let mut acknowledged: Vec<(&str, &str, &str)> = Vec::new();
        for line in &self.story.lines {
            match &line.what {
                What::WordSent { approval, word, by } => drop(sent.insert((approval, word, by))),
                What::WordAnswered { approval, word, by, status: 200, .. } => acknowledged.push((approval, word, by)),
                _ => {}
            }
        }
        let mut told: HashSet<(&str, &str, &str)> = HashSet::new();
        let mut found = Vec::new();
        for event in self.events {
            let Some(id) = event.approval.as_deref() else { continue };
            if event.kind == "approval_expired" {
                let deadline = self.by_approval[id][0].detail("expires_at");
                // Both are written alike, to the millisecond: text compares as time does.
                if event.actor != "gateway" || event.at.as_str() < deadline {
                    found.push(format!("record {}: expired at {}, due at {deadline}", event.seq, event.at));
                }
            }
            let Some(word) = word_of(event) else { continue };
            if !sent.contains(&(id, word, event.actor.as_str())) {
                found.push(format!("record {}: {} never said `{word}` about {id}", event.seq, event.actor));
            }
            told.insert((id, word, &event.actor));
        }
        for (id, word, by) in acknowledged.into_iter().filter(|said| !told.contains(said)) {
            found.push(format!("{by}'s `{word}` about {id} is not in the trail"));
        }
        found.into_iter().for_each(|what| self.find('e', what));
    }

    /// As many arrived as the trail says were sent.
    fn each_release_is_seen_upstream(&mut self, replays: &BTreeMap<String, Replay>) {
        let mut bounds: BTreeMap<&Identity, (usize, usize)> = BTreeMap::new();
        for (id, replay) in replays {
            let Some(view) = self.last.get(id.as_str()) else { continue };
            let (least, most) = bounds.entry(&view.call).or_default();
            *least += replay.sent_at_least;
            *most += replay.sent_at_most;
        }
        let mut found = Vec::new();
        for (call, (least, most)) in &bounds {
            let arrived = self.hits.get(*call).map_or(0, Vec::len);
            if !(*least..=*most).contains(&arrived) {
                found.push(format!("{} arrived {arrived} times; the trail says {least} to {most}", call.target));
            }
        }
        let parked = |call: &Identity| matches!(self.story.verdict(call), Verdict::Parked(_));
        for call in self.hits.keys().filter(|call| parked(call) && !bounds.contains_key(call)) {
            found.push(format!("{} arrived and the trail knows nothing of it", call.target));
        }
        found.into_iter().for_each(|what| self.find('e', what));
    }

    /// What policy let through with a record, and what it blocked.
    fn calls_without_approval_agree(&mut self) {
        let mut told: HashMap<(&str, &str), usize> = HashMap::new();
        for event in self.events.iter().filter(|event| event.kind.starts_with("call_")) {
            *told.entry((event.kind.as_str(), event.detail("path"))).or_default() += 1;
        }
        let (mut sent, mut blocked): (HashMap<&str, usize>, HashMap<&str, usize>) = Default::default();
        for line in &self.story.lines {
            match &line.what {
                What::CallSent { call, .. } => *sent.entry(&call.target).or_default() += 1,
                What::CallAnswered { name, code, .. } if code == "blocked" => {
                    *blocked.entry(&self.calls[name.as_str()].1.target).or_default() += 1;
                }
                _ => {}
            }
        }
        let mut found = Vec::new();
        for ((kind, path), times) in &told {
            if *times > sent.get(path).copied().unwrap_or(0) {
                found.push(format!("`{kind}` {times} times for {path}, which was not sent as often"));
            }
        }
        for (path, times) in &blocked {
            if told.get(&("call_blocked", *path)).is_none_or(|told| told < times) {
                found.push(format!("{path} was blocked and the trail does not say so"));
            }
        }
        for (call, hits) in &self.hits {
            let audited = self.story.verdict(call) == Verdict::Audited;
            if audited && told.get(&("call_audited", call.target.as_str())).is_none_or(|told| *told < hits.len()) {
                found.push(format!("{} passed and the trail does not say so", call.target));
            }
        }
        found.into_iter().for_each(|what| self.find('e', what));
    }

    /// A caller's answer is the upstream's answer to that very call, and the trail says that it was sent.
    fn answers_agree(&mut self, replays: &BTreeMap<String, Replay>) {
        let mut found = Vec::new();
        for line in &self.story.lines {
            let (name, approval, echo) = match &line.what {
                What::CallAnswered { name, source, code, approval, echo, .. }
                    if source == "upstream" && code.is_empty() =>
                {
                    (Some(name.as_str()), approval.as_deref(), echo.as_deref())
                }
                What::Replayed { approval, echo, .. } => (None, Some(approval.as_str()), echo.as_deref()),
                _ => continue,
            };
            let call = echo.and_then(|echo| self.calls.get(echo)).map(|(_, call)| *call);
            let arrived = call.and_then(|call| self.hits.get(call)).is_some_and(|hits| hits[0] < line.n);
            let is_its_own = name.is_none_or(|name| echo == Some(name))
                && approval.is_none_or(|id| self.last.get(id).is_some_and(|view| Some(&view.call) == call));
            if !arrived || !is_its_own {
                found.push(format!("line {}: an answer that the upstream did not give to this call: {echo:?}", line.n));
            }
            let says_so = |replay: &Replay| {
                replay.state.outcome == "succeeded" || self.story.may_lack(line.n, &replay.state.outcome)
            };
            if approval.is_some_and(|id| !replays.get(id).is_some_and(says_so)) {
                found.push(format!("line {}: answered, and the trail does not say that it was sent", line.n));
            }
        }
        found.into_iter().for_each(|what| self.find('e', what));
    }
}

/// The word that an event stands for.
fn word_of(event: &Event) -> Option<&'static str> {
    let kind = event.kind.as_str();
    if kind == "release_resolved" {
        return WORDS.iter().map(|(word, _)| *word).find(|word| *word == event.detail("outcome"));
    }
    WORDS.iter().find(|(_, kinds)| kinds.contains(&kind)).map(|(word, _)| *word)
}
