//! The checker can fail: each fault, planted in a run that was really recorded, is found and called by its letter.

use std::collections::BTreeSet;

use holdpoint::domain::audit::{self, Head, Record};

use crate::backups::{back_up, restored};
use crate::check::{Finding, check, check_backup};
use crate::history::{Line, View, What, Who};
use crate::script::{Cast, attached, detached, settle};
use crate::story::{Story, Verdict};
use crate::world::World;

/// A run with both scripts and a crash between them, in which nothing is wrong.
fn recorded() -> Story {
    let mut world = World::new("recorded", "10s");
    let gateway = world.start();
    attached(&mut Cast::new(&gateway, &world.history)).expect("nobody kills it");
    world.kill(gateway);
    let gateway = world.start();
    world.read_back_and_check(&gateway);
    detached(&mut Cast::new(&gateway, &world.history)).expect("nobody kills it");
    world.read_back_and_check(&gateway);
    world.kill(gateway);
    let gateway = world.start();
    world.read_back_and_check(&gateway);
    settle(&world, &gateway).expect("nobody kills it");
    world.read_back_and_check(&gateway);
    gateway.stop();
    world.story
}

/// The views of the last read-back.
fn shown(story: &mut Story) -> &mut Vec<View> {
    let last = story.lines.iter_mut().rev().find_map(|line| match &mut line.what {
        What::ReadBack { approvals } => Some(approvals),
        _ => None,
    });
    last.expect("it was read back")
}

/// The approval of the call of this name.
fn id_of(story: &mut Story, name: &str) -> String {
    let target = format!("/{name}");
    shown(story).iter().find(|view| view.call.target.ends_with(&target)).expect("a known call").id.clone()
}

fn view<'a>(story: &'a mut Story, name: &str) -> &'a mut View {
    let id = id_of(story, name);
    shown(story).iter_mut().find(|view| view.id == id).expect("a known approval")
}

/// Edits the trail as somebody would who can write the store, and binds the chain anew: by itself it verifies.
fn forge(story: &mut Story, edit: impl FnOnce(&mut Vec<audit::Event>)) {
    let read = |line: &String| {
        let record = Record::from_line(line).expect("a record");
        serde_json::from_str(&record.event).expect("an event")
    };
    let mut events: Vec<audit::Event> = story.trail.iter().map(read).collect();
    edit(&mut events);
    let mut head = Head::EMPTY;
    story.trail = events
        .iter()
        .map(|event| {
            let record = head.next(event);
            head = Head { seq: record.seq, hash: record.hash };
            record.to_line().expect("a line")
        })
        .collect();
}

fn is_about(event: &audit::Event, id: &str) -> bool {
    event.approval.is_some_and(|approval| approval.to_string() == id)
}

/// The line of the call's arrival.
fn hit<'a>(story: &'a mut Story, name: &str) -> &'a mut Line {
    let target = format!("/{name}");
    let is_it = |line: &&mut Line| matches!(&line.what, What::Hit { target: found, .. } if found.ends_with(&target));
    story.lines.iter_mut().find(is_it).expect("it arrived")
}

/// Lets the arrival happen once more, at the end.
fn repeat(story: &mut Story, name: &str) {
    let n = story.lines.last().expect("lines").n;
    let again = Line { n: n + 1, ..hit(story, name).clone() };
    story.lines.push(again);
}

/// Plants a fault and compares the letters of what is found.
#[track_caller]
fn finds(recorded: &Story, letters: &str, plant: impl FnOnce(&mut Story)) {
    let mut story = recorded.clone();
    plant(&mut story);
    story.lines.sort_by_key(|line| line.n);
    assert_letters(&check(&story), letters);
}

#[track_caller]
fn assert_letters(found: &[Finding], letters: &str) {
    let called: BTreeSet<char> = found.iter().map(|finding| finding.letter).collect();
    assert_eq!(called, letters.chars().collect(), "{found:#?}");
}

#[test]
fn planted_faults_in_a_recorded_run_are_found_and_called_by_their_letters() {
    let story = recorded();
    finds(&story, "", |_| {});
    what_is_lost(&story);
    what_is_sent(&story);
    what_is_over(&story);
    what_the_trail_says(&story);
}

#[test]
fn planted_faults_in_a_restored_backup_are_found_and_called_by_their_letters() {
    let mut world = World::new("backed-up", "10s");
    let gateway = world.start();
    attached(&mut Cast::new(&gateway, &world.history)).expect("nobody kills it");
    let (file, begun) = back_up(&world, "backup.db");
    // What comes behind it need not be in it.
    detached(&mut Cast::new(&gateway, &world.history)).expect("nobody kills it");
    world.read_back_and_check(&gateway);
    gateway.stop();
    let backup = restored(&world, &file);
    let finds = |letters: &str, plant: fn(&mut Story)| {
        let mut backup = backup.clone();
        plant(&mut backup);
        assert_letters(&check_backup(&world.story, begun, &backup), letters);
    };
    finds("", |_| {});
    finds("c", |backup| {
        let id = id_of(backup, "approved");
        shown(backup).retain(|view| view.id != id);
    });
    finds("cd", |backup| view(backup, "rejected").state.status = "pending".to_owned());
    finds("cd", |backup| view(backup, "upstream-lost").state.outcome = "failed".to_owned());
    finds("c", |backup| drop(view(backup, "quorum").votes.pop()));
    finds("e", |backup| drop(backup.trail.remove(3)));
    finds("e", |backup| forge(backup, |events| drop(events.remove(3))));
    finds("e", |backup| forge(backup, |events| events.retain(|event| event.kind.as_str() != "store_restored")));
}

/// (c)
fn what_is_lost(story: &Story) {
    // An approval is gone, and its records with it: nothing but its acknowledgement tells.
    finds(story, "ce", |story| {
        let id = id_of(story, "withdrawn");
        shown(story).retain(|view| view.id != id);
        forge(story, |events| events.retain(|event| !is_about(event, &id)));
    });
    finds(story, "c", |story| {
        // As above, for one that nobody decided and settled: without a word about it there is none to miss in the trail.
        let id = id_of(story, "nobody-decides");
        shown(story).retain(|view| view.id != id);
        forge(story, |events| events.retain(|event| !is_about(event, &id)));
    });
    // A decision is gone, and the approval pending again.
    finds(story, "cde", |story| {
        let id = id_of(story, "own-rejected");
        let view = view(story, "own-rejected");
        view.state.status = "pending".to_owned();
        view.decided_by = None;
        forge(story, |events| {
            events.retain(|event| !(is_about(event, &id) && event.kind.as_str() == "approval_rejected"));
        });
    });
    // Of two votes one is gone.
    finds(story, "ce", |story| drop(view(story, "own-quorum").votes.remove(0)));
    // What a reviewer settled is not settled.
    finds(story, "cde", |story| {
        let view = view(story, "own-upstream-lost");
        (view.state.outcome, view.state.resolved) = ("unknown".to_owned(), None);
    });
}

/// (a) and (b)
fn what_is_sent(story: &Story) {
    finds(story, "be", |story| repeat(story, "approved"));
    finds(story, "be", |story| repeat(story, "own-slow"));
    // Of an unknown outcome: it may have run, and was sent again.
    finds(story, "be", |story| repeat(story, "upstream-lost"));
    // Before the reviewer said so.
    finds(story, "a", |story| {
        let id = id_of(story, "granted");
        let said = |line: &Line| matches!(&line.what, What::WordSent { approval, .. } if *approval == id);
        let word = story.lines.iter().position(said).expect("it was approved");
        let (word_n, hit_n) = (story.lines[word].n, hit(story, "granted").n);
        hit(story, "granted").n = word_n;
        story.lines[word].n = hit_n;
    });
    // After the first of two that were needed.
    finds(story, "a", |story| {
        let id = id_of(story, "own-quorum");
        let said = |line: &Line| matches!(&line.what, What::WordSent { approval, .. } if *approval == id);
        let last = story.lines.iter().rposition(said).expect("it was approved");
        let (word_n, hit_n) = (story.lines[last].n, hit(story, "own-quorum").n);
        hit(story, "own-quorum").n = word_n;
        story.lines[last].n = hit_n;
    });
    // Rejected, and sent.
    finds(story, "ae", |story| {
        let body = story.lines.iter().find_map(|line| match &line.what {
            What::CallSent { name, body, .. } if name == "own-rejected" => Some(body.clone()),
            _ => None,
        });
        let body = body.expect("it was sent");
        let n = story.lines.last().expect("lines").n + 1;
        let arrived = What::Hit { method: "POST".to_owned(), target: "/pay/own-rejected".to_owned(), body };
        story.lines.push(Line { n, who: Who::Spy, at: 0, what: arrived });
    });
    // Another body than the one that was approved.
    finds(story, "ae", |story| match &mut hit(story, "approved").what {
        What::Hit { body, .. } => *body = body.replace("answer", "answer twice"),
        _ => unreachable!("a hit is a hit"),
    });
}

/// (d)
fn what_is_over(story: &Story) {
    finds(story, "cde", |story| {
        let view = view(story, "rejected");
        view.state.status = "approved".to_owned();
    });
    finds(story, "cde", |story| view(story, "nobody-decides").state.status = "pending".to_owned());
    finds(story, "cde", |story| view(story, "approved").state.outcome = "held".to_owned());
    // The trail decides twice.
    finds(story, "d", |story| {
        let id = id_of(story, "caller-left");
        forge(story, |events| {
            let at = events.iter().position(|event| is_about(event, &id) && event.kind.as_str() == "approval_rejected");
            let again = events[at.expect("it was rejected")].clone();
            events.push(again);
        });
    });
}

/// (e)
fn what_the_trail_says(story: &Story) {
    let middle = story.trail.len() / 2;
    // A row is edited, removed, swapped: the chain tells.
    finds(story, "e", |story| story.trail[0] = story.trail[0].replace("started", "startee"));
    for at in [0, middle] {
        let mut story = story.clone();
        story.trail.remove(at);
        assert!(check(&story).iter().any(|finding| finding.letter == 'e' && finding.what.contains("does not verify")));
    }
    // A row is forged or removed by somebody who binds the chain anew: the histories tell.
    let kinds: BTreeSet<String> =
        story.trail.iter().map(|line| crate::trail::read(std::slice::from_ref(line)).0.remove(0).kind).collect();
    let mut removed = 0;
    for kind in kinds.iter().filter(|kind| !kind.starts_with("caller_")) {
        let mut story = story.clone();
        forge(&mut story, |events| {
            let at = events.iter().rposition(|event| event.kind.as_str() == kind).expect("a kind of this trail");
            events.remove(at);
        });
        let found = check(&story);
        assert!(
            !found.is_empty() && found.iter().any(|finding| "abde".contains(finding.letter)),
            "{kind} removed: {found:?}"
        );
        removed += 1;
    }
    assert!(removed >= 10, "{kinds:?}");
    finds(story, "e", |story| {
        let id = id_of(story, "own-rejected");
        forge(story, |events| {
            let decided =
                |event: &&mut audit::Event| is_about(event, &id) && event.kind.as_str() == "approval_rejected";
            events.iter_mut().find(decided).expect("it was rejected").actor =
                audit::Actor::Reviewer("mallory".to_owned());
        });
    });
    // The trail says that something was sent that never arrived.
    finds(story, "e", |story| {
        let gone = hit(story, "approved").n;
        story.lines.retain(|line| line.n != gone);
    });
    // The end is cut off.
    finds(story, "e", |story| drop(story.trail.pop()));
}

#[test]
fn an_answer_is_excused_while_the_store_fails_and_not_after_the_next_start() {
    let what = [What::Starting, What::StoreFails, What::Starting, What::Ready, What::Starting, What::Ready];
    let line = |(n, what)| Line { n, who: Who::Control, at: 0, what };
    let story = Story { lines: (1..).zip(what).map(line).collect(), ..Story::new(|_| Verdict::Blocked) };
    let excused: Vec<u64> = (1..9).filter(|n| story.may_lack(*n, "unknown")).collect();
    assert_eq!(excused, [4, 5]);
    assert!(story.may_lack(4, "resolved") && !story.may_lack(4, "failed") && !story.may_lack(4, "held"));
}
