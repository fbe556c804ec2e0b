//! R13: backups that are made under load. Each is restored elsewhere, and holds what was acknowledged before it began.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::check::check_backup;
use crate::history::{State, What};
use crate::script::{Cast, errand};
use crate::story::Story;
use crate::support::gateway::holdpoint;
use crate::support::home::Home;
use crate::support::wait::until_within;
use crate::world::{SOON, World};

/// People and programs at once.
const CASTS: usize = 3;
const BACKUPS: usize = 4;

/// Runs a command on the store of a home.
fn on_store(home: &Home, words: &[&str], file: &Path) {
    let mut command = holdpoint(words);
    let output = command.arg(file).arg("-c").arg(home.path("holdpoint.yaml")).output().expect("the binary can be run");
    assert!(output.status.success(), "{words:?}: {output:?}");
}

/// Makes a backup now; the file, and the line at which its making began.
pub(crate) fn back_up(world: &World, name: &str) -> (PathBuf, u64) {
    let (file, begun) = (world.home.path(name), world.history.mark());
    on_store(&world.home, &["backup", "--to"], &file);
    (file, begun)
}

/// What a gateway shows of a backup that was restored elsewhere. It sends nothing.
pub(crate) fn restored(of: &World, file: &Path) -> Story {
    let mut world = World::new("restored", "10s");
    std::fs::copy(of.home.path("holdpoint.db.key"), world.home.path("holdpoint.db.key"))
        .expect("the key is kept apart");
    world.home.write();
    on_store(&world.home, &["restore", "--from"], file);
    let gateway = world.start();
    world.read_back(&gateway);
    gateway.stop();
    assert_eq!(world.spy.arrived(), 0, "nothing is sent after a restore");
    world.story.clone()
}

/// Whether something could still be sent on the strength of it.
fn is_open(state: &State) -> bool {
    let undecided = state.status == "pending";
    undecided || state.retry == Some(true) || (state.status == "approved" && state.outcome == "held")
}

/// How many approvals a backup holds, once it is found to hold what it must, and nothing that is open.
fn check_restored(of: &World, file: &Path, begun: u64) -> usize {
    let story = restored(of, file);
    let findings = check_backup(&of.story, begun, &story);
    assert!(findings.is_empty(), "{}", of.report(&findings));
    let (_, views) = story.read_back().expect("it was read back");
    let open: Vec<_> = views.values().filter(|view| is_open(&view.state)).collect();
    assert!(open.is_empty(), "can still be sent: {open:?}");
    views.len()
}

#[test]
fn r13_a_backup_under_load_holds_what_was_acknowledged_before_it_and_sends_nothing_again() {
    let mut world = World::new("backups", "10s");
    let gateway = world.start();
    let (errands, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let files: Vec<_> = std::thread::scope(|threads| {
        for cast in 0..CASTS {
            let (world, gateway, errands, over) = (&world, &gateway, &errands, &over);
            threads.spawn(move || {
                let mut everybody = Cast::new(gateway, &world.history);
                for round in 0.. {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    errand(&mut everybody, CASTS * round + cast).expect("the gateway is there");
                    errands.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let back_up = |number| {
            let enough = errands.load(Ordering::SeqCst) + 2 * CASTS;
            until_within(SOON, "errands were run", || (errands.load(Ordering::SeqCst) >= enough).then_some(()));
            back_up(&world, &format!("backup-{number}.db"))
        };
        let files = (0..BACKUPS).map(back_up).collect();
        over.store(true, Ordering::SeqCst);
        files
    });
    world.read_back_and_check(&gateway);
    let answered = |what: &What| matches!(what, What::CallAnswered { .. } | What::WordAnswered { .. });
    let lines = world.story.lines.iter().filter(|line| answered(&line.what)).count();
    let held: Vec<usize> = files.iter().map(|(file, begun)| check_restored(&world, file, *begun)).collect();
    println!("{lines} answers; {BACKUPS} backups with {held:?} approvals");
    assert!(held.is_sorted() && held[0] >= CASTS && held[0] < held[BACKUPS - 1], "each is of a later moment: {held:?}");
    gateway.stop();
}
