//! What everybody in the simulation did and saw, for the checker that judges the crashes of the real program too (`tests/chaos`).
//!
//! It knows one policy, plain calls and no keys: such a run loads no other policy, asks for no actions and calls no MCP tool.

use std::collections::BTreeMap;

use holdpoint::api::wire::approval::Approval as Shown;
use holdpoint::domain::approval::Approval;
use holdpoint::domain::id::ApprovalId;
use holdpoint::domain::time::Timestamp;
use holdpoint::gate::Error;
use holdpoint::gate::decisions::Outcome;
use holdpoint::gate::held::HeldRequest;
use holdpoint::gate::release::Sent;
use tempfile::TempDir;

use crate::callers::Plan;
use crate::check::{Finding, check};
use crate::history::{History, Identity, View, What, Who, digest_of};
use crate::model::{Plant, State};
use crate::seeds::number_from;
use crate::shadow::Answer;
use crate::story::{Story, Verdict};
use crate::tables::{Act, TABLES};
use crate::world::{on_virtual_time, run_chronicled};

/// How many seeds each run of the tests takes.
const SEEDS: u64 = 64;

/// The histories of one run.
pub(crate) struct Chronicle {
    history: History,
    _folder: TempDir,
}

/// What the first table says.
fn policy(tool: &str) -> Verdict {
    match &TABLES[0].acts[tool] {
        Act::Allow => Verdict::Allowed,
        Act::Audit => Verdict::Audited,
        Act::Block => Verdict::Blocked,
        Act::Ask(ask) => {
            let people: u32 = ask.approvers.iter().map(|(_, count)| count).sum();
            Verdict::Parked(usize::try_from(people).unwrap_or(usize::MAX))
        }
    }
}

fn body_of(request: &HeldRequest) -> String {
    String::from_utf8(request.payload().to_vec()).expect("what is called is text")
}

/// An approval as reviewers are shown it.
fn view(approval: &Approval) -> View {
    let shown = serde_json::to_value(Shown::new(approval, Timestamp::from_millis(0))).expect("JSON");
    View::of(&shown).expect("a whole approval")
}

impl Chronicle {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let history = History::new(folder.path());
        // The store fails from the first moment on: an outcome may stay unknown although its caller has the answer.
        history.write(Who::Control, What::StoreFails);
        history.write(Who::Control, What::Starting);
        Self { history, _folder: folder }
    }

    /// A caller is about to send its call.
    pub(crate) fn calls(&self, plan: &Plan, request: &HeldRequest) -> u64 {
        let body = body_of(request);
        let call = Identity {
            agent: plan.agent.to_owned(),
            tool: plan.tool.to_owned(),
            method: request.method.to_string(),
            target: request.target.path().to_owned(),
            body_sha256: digest_of(&body),
        };
        let prefer = plan.patience.is_none().then(|| "respond-async".to_owned());
        self.history.write(Who::Client, What::CallSent { name: plan.name(), call, body, key: None, prefer })
    }

    /// It is answered, or left alone.
    pub(crate) fn answered(&self, plan: &Plan, sent: u64, answer: &Answer) {
        let name = plan.name();
        let own = |approval: Option<ApprovalId>, status: u16, code: &str| What::CallAnswered {
            name: name.clone(),
            sent,
            status,
            code: code.to_owned(),
            source: "gateway".to_owned(),
            approval: approval.map(|id| id.to_string()),
            echo: None,
        };
        let upstream = |approval: Option<ApprovalId>, status: u16| What::CallAnswered {
            name: name.clone(),
            sent,
            status,
            code: String::new(),
            source: "upstream".to_owned(),
            approval: approval.map(|id| id.to_string()),
            echo: Some(name.clone()),
        };
        let what = match answer {
            Answer::Passed => upstream(None, 200),
            Answer::Blocked => own(None, 403, "blocked"),
            Answer::Released(id, Sent::Answered(status)) => upstream(Some(*id), *status),
            Answer::Released(id, Sent::NotSent(_) | Sent::Refused(_)) => own(Some(*id), 502, "upstream_unreachable"),
            Answer::Released(id, Sent::Lost(_)) => own(Some(*id), 502, "outcome_unknown"),
            Answer::Kept(approval, status) => upstream(Some(approval.id), *status),
            Answer::Refused(approval) => own(Some(approval.id), 403, approval.status().as_str()),
            Answer::BlockedNow(approval) => own(Some(approval.id), 403, "blocked_now"),
            Answer::Pending(approval) => own(Some(approval.id), 503, "approval_pending"),
            Answer::Spent(approval) => own(Some(approval.id), 409, "already_released"),
            Answer::KeyReused(approval) => own(Some(approval.id), 422, "idempotency_key_reused"),
            Answer::Full => own(None, 429, "queue_full"),
            Answer::Draining => own(None, 503, "draining"),
            Answer::Failed(_) => own(None, 503, "store_unavailable"),
            Answer::Left | Answer::Broken => What::CallLost { name, sent },
        };
        self.history.write(Who::Client, what);
    }

    /// A call arrives at the upstream.
    pub(crate) fn arrives(&self, request: &HeldRequest) {
        let (method, target) = (request.method.to_string(), request.target.path().to_owned());
        self.history.write(Who::Spy, What::Hit { method, target, body: body_of(request) });
    }

    /// Somebody is about to say something about an approval.
    pub(crate) fn says(&self, id: ApprovalId, word: &str, by: &str) -> u64 {
        let what = What::WordSent { approval: id.to_string(), word: word.to_owned(), by: by.to_owned() };
        self.history.write(Who::Reviewer, what)
    }

    /// What it came to.
    pub(crate) fn heard(&self, id: ApprovalId, word: &str, by: &str, sent: u64, outcome: &Result<Outcome, Error>) {
        let (status, code, now) = match outcome {
            Ok(Outcome::Stands(now)) => (200, "", Some(now)),
            Ok(Outcome::Refused(now, _)) => (409, "refused", Some(now)),
            Ok(Outcome::Missing) => (404, "not_found", None),
            Err(_) => (503, "store_unavailable", None),
        };
        let (approval, word, by) = (id.to_string(), word.to_owned(), by.to_owned());
        let state = now.map(|now| view(now).state);
        let what = What::WordAnswered { approval, word, by, sent, status, code: code.to_owned(), state };
        self.history.write(Who::Reviewer, what);
    }

    /// The moment before somebody looks.
    pub(crate) fn asks(&self) -> u64 {
        self.history.mark()
    }

    /// Somebody was shown an approval.
    pub(crate) fn sees(&self, asked: u64, approval: &Approval) {
        let (approval, state) = (approval.id.to_string(), view(approval).state);
        self.history.write(Who::Client, What::Seen { approval, asked, state });
    }

    /// Reads everything back, when nothing moves any more.
    fn story(&self, state: &State) -> Story {
        let approvals = state.approvals.values().map(view).collect();
        self.history.write(Who::Control, What::ReadBack { approvals });
        let trail = state.trail.iter().map(|(_, record)| record.to_line().expect("a line")).collect();
        Story { lines: self.history.news(), trail, ..Story::new(policy) }
    }

    /// What the checker finds, and what it was told.
    pub(crate) fn judged(&self, state: &State) -> (Vec<Finding>, Story) {
        let story = self.story(state);
        (check(&story), story)
    }
}

/// What the checker finds in a run of this seed, and what it was told.
fn judge(seed: u64, plant: Option<Plant>) -> (Vec<Finding>, Story) {
    on_virtual_time(run_chronicled(seed, plant))
}

/// Counts the lines of each kind.
fn count(story: &Story, counts: &mut BTreeMap<&'static str, usize>) {
    for line in &story.lines {
        let kind = match &line.what {
            What::CallAnswered { source, .. } if source == "upstream" => "answers of the upstream",
            What::CallAnswered { .. } => "answers of the gateway",
            What::CallLost { .. } => "calls without an answer",
            What::WordAnswered { status: 200, .. } => "words acknowledged",
            What::WordAnswered { .. } => "words refused",
            What::Hit { .. } => "arrived",
            What::Seen { .. } => "seen",
            _ => continue,
        };
        *counts.entry(kind).or_default() += 1;
    }
}

/// Judges these seeds; how many lines of each kind there were.
fn judge_all(seeds: std::ops::Range<u64>) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for seed in seeds {
        let (findings, story) = judge(seed, None);
        assert!(findings.is_empty(), "{}", complaint(seed, &findings));
        count(&story, &mut counts);
    }
    counts
}

/// What a failed seed prints: what was found, and how to see it again with what everybody wrote down.
fn complaint(seed: u64, findings: &[Finding]) -> String {
    format!(
        "{findings:#?}\nseed {seed} of the histories\n\
         replay: HOLDPOINT_SIM_SEED={seed} cargo test --test simulation -- --nocapture chronicle::replay"
    )
}

#[test]
fn replay() {
    let Some(seed) = number_from("HOLDPOINT_SIM_SEED") else { return };
    let (findings, story) = judge(seed, None);
    for line in &story.lines {
        println!("{}", serde_json::to_string(line).expect("a line"));
    }
    println!("{}", story.trail.join("\n"));
    assert!(findings.is_empty(), "{}", complaint(seed, &findings));
}

#[test]
fn the_checker_of_crashes_finds_nothing_in_the_histories_of_64_seeds() {
    let counts = judge_all(0..SEEDS);
    println!("{counts:#?}");
    assert!(counts.len() == 7 && counts.values().all(|count| *count > 100), "{counts:?}");
}

#[test]
fn the_checker_of_crashes_finds_nothing_in_as_many_seeds_as_are_asked_for() {
    let Some(seeds) = number_from("HOLDPOINT_SIM_SEEDS") else { return };
    let from = number_from("HOLDPOINT_SIM_FROM").unwrap_or(SEEDS);
    println!("{:#?}", judge_all(from..from + seeds));
}

#[test]
fn the_checker_of_crashes_finds_planted_faults_of_the_store() {
    for (plant, letter) in [
        (Plant::LostCommit, 'c'),
        (Plant::DecideOverwrites, 'd'),
        (Plant::DoubleTake, 'b'),
        (Plant::Resurrection, 'd'),
        (Plant::RecoveryForgets, 'b'),
        (Plant::SilentChange, 'e'),
        (Plant::QuorumOfOne, 'a'),
    ] {
        let found = (0..SEEDS).find_map(|seed| {
            let (findings, _) = judge(seed, Some(plant));
            findings.iter().any(|finding| finding.letter == letter).then_some((seed, findings))
        });
        println!("{plant:?}: {found:?}");
        let Some((seed, findings)) = found else { panic!("{plant:?} was not found in {SEEDS} seeds") };
        // The seed is all that it takes to see it again.
        let again = judge(seed, Some(plant)).0;
        assert_eq!(format!("{again:?}"), format!("{findings:?}"), "{plant:?} with seed {seed}");
    }
}
