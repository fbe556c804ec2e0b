//! Seed by seed.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::Plant;
use crate::world::{Run, run};

/// How many seeds each run of the tests takes.
const SEEDS: u64 = 256;
/// How much of a failed seed's log is printed.
const TAIL: usize = 80;

#[expect(clippy::disallowed_methods, reason = "the seed to replay comes from whoever runs the tests")]
pub(crate) fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("`{variable}={text}` is no number: give a seed such as 17")))
}

/// What a failed seed prints: what is wrong, what led to it, and how to see it again.
fn complaint(seed: u64, run: &Run) -> Option<String> {
    let violation = run.violation.as_ref()?;
    let tail = run.log[run.log.len().saturating_sub(TAIL)..].join("\n");
    Some(format!(
        "{tail}\nseed {seed}: {violation}\nreplay: HOLDPOINT_SIM_SEED={seed} cargo test --test simulation -- --nocapture replay"
    ))
}

/// Runs seeds on every core until one fails; the complaint of the lowest that did, and how often what happened.
fn run_all(from: u64, to: u64) -> (Option<String>, BTreeMap<String, u64>) {
    let next = AtomicU64::new(from);
    let failed: Mutex<BTreeMap<u64, String>> = Mutex::default();
    let figures: Mutex<BTreeMap<String, u64>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while failed.lock().expect("no panic").is_empty() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= to {
                        return;
                    }
                    let run = run(seed, None);
                    if let Some(complaint) = complaint(seed, &run) {
                        failed.lock().expect("no panic").insert(seed, complaint);
                    }
                    let mut figures = figures.lock().expect("no panic");
                    for (what, count) in run.figures {
                        *figures.entry(what).or_default() += count;
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic").into_values().next();
    (failed, figures.into_inner().expect("no panic"))
}

/// What must have happened often enough for the seeds to mean anything.
const WANTED: [&str; 42] = [
    "action asked for",
    "call: failed",
    "call: releasing",
    "call: resolved",
    "call: succeeded",
    "call: unknown",
    "caller: Blocked",
    "caller: BlockedNow",
    "caller: Broken",
    "caller: Draining",
    "caller: Failed",
    "caller: Full",
    "caller: Kept",
    "caller: KeyReused",
    "caller: Left",
    "caller: Passed",
    "caller: Pending",
    "caller: Refused",
    "caller: Released",
    "caller: Spent",
    "closed by a new block",
    "decision acknowledged",
    "decision lost the race",
    "fault: unavailable",
    "fault: unsure, done",
    "fault: unsure, not done",
    "gateway crashes",
    "gateway did not start",
    "gateway drains",
    "gateway is cut off",
    "gateway reloads",
    "gateway started",
    "outcome could not be written",
    "parked",
    "passed",
    "sent: Arrived",
    "sent: Declined",
    "sent: Nothing",
    "state: approved",
    "state: expired",
    "state: rejected",
    "withdrawn",
];

#[test]
fn no_seed_of_256_breaks_what_must_stay_true() {
    let (failed, figures) = run_all(0, SEEDS);
    if let Some(complaint) = failed {
        panic!("\n{complaint}");
    }
    println!("{figures:#?}");
    let rare: Vec<_> = WANTED.iter().filter(|what| figures.get(**what).is_none_or(|count| *count < 5)).collect();
    assert!(rare.is_empty(), "hardly ever happened: {rare:?} in {figures:#?}");
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [3, 17, 40] {
        let (first, second) = (run(seed, None), run(seed, None));
        let differs = first.log.iter().zip(&second.log).position(|(a, b)| a != b);
        if let Some(line) = differs {
            panic!("seed {seed}, line {line}:\n{}\n{}", first.log[line], second.log[line]);
        }
        assert_eq!(first.log.len(), second.log.len(), "seed {seed}");
        assert!(first.log.len() > 200, "seed {seed} has {} lines", first.log.len());
    }
}

#[test]
fn different_seeds_go_different_ways() {
    assert_ne!(run(1, None).log, run(2, None).log);
}

/// The first of the seeds that finds the fault, and what it says.
fn finds(plant: Plant) -> Option<(u64, String)> {
    (0..SEEDS).find_map(|seed| run(seed, Some(plant)).violation.map(|violation| (seed, violation)))
}

#[test]
fn each_planted_fault_is_found() {
    for plant in [
        Plant::LostCommit,
        Plant::DecideOverwrites,
        Plant::DoubleTake,
        Plant::Resurrection,
        Plant::RecoveryForgets,
        Plant::SilentChange,
        Plant::QuorumOfOne,
        Plant::EarlyExpiry,
    ] {
        let found = finds(plant);
        println!("{plant:?}: {found:?}");
        assert!(found.is_some(), "{plant:?} was not found in {SEEDS} seeds");
    }
}

#[test]
fn replay() {
    let Some(seed) = number_from("HOLDPOINT_SIM_SEED") else { return };
    let run = run(seed, None);
    println!("{}", run.log.join("\n"));
    assert_eq!(run.violation, None, "seed {seed}");
}

#[test]
fn as_many_seeds_as_are_asked_for() {
    let Some(seeds) = number_from("HOLDPOINT_SIM_SEEDS") else { return };
    let from = number_from("HOLDPOINT_SIM_FROM").unwrap_or(SEEDS);
    let (failed, figures) = run_all(from, from + seeds);
    println!("{figures:#?}");
    if let Some(complaint) = failed {
        panic!("\n{complaint}");
    }
}
