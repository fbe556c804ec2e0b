//! R1: the gateway is killed at every sync of a scripted run, one run for each, started again, read back, checked, and driven to the
//! end of what was open.
//!
//! `strace` counts the calls of each thread. On a store that exists all syncs are the writer's, so that the N-th of that thread is
//! the N-th of the run; on a new store the main thread makes the file and is killed at each of its own. Either is read from the
//! trace. A sync at which the process dies is not done.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use crate::script::{Cast, Script, answered, attached, attached_over_mcp, detached, idle, settle};
use crate::support::gateway::{Gateway, serve};
use crate::support::wait::until_within;
use crate::world::{SOON, World, end_if_there};

/// The calls at which the process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// Before something is made durable.
    Sync,
    /// Before something is written to the store: behind a sync, and between two pages of one commit.
    Write,
    /// Before bytes leave for a client, a reviewer or the upstream: behind a commit, before anybody knows of it.
    Answer,
}

impl At {
    /// As the tracer names them.
    pub(crate) const fn calls(self) -> &'static str {
        match self {
            At::Sync => "fsync,fdatasync",
            At::Write => "pwrite64,ftruncate",
            At::Answer => "writev,sendto,sendmsg",
        }
    }
}

/// What became of one run.
#[derive(Debug, PartialEq, Eq)]
enum Ran {
    /// Killed at that call.
    Killed,
    /// To its end.
    Whole,
}

/// A store at which a gateway was started once and ended.
pub(crate) fn template() -> World {
    let world = World::new("template", "10s");
    world.start().stop();
    world
}

/// The gateway, run by `strace` with this injected into these calls.
pub(crate) fn traced(world: &World, calls: &str, fault: &str) -> Command {
    let plain = serve(&world.home);
    let mut command = Command::new("strace");
    // `-D`: the gateway is our own child, and the tracer is not.
    command.args(["-D", "-f", "-q", "-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:{fault}"), "-o"]);
    command.arg(world.home.path("trace")).arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// One run, killed at the `n`-th of these calls of any thread.
fn run(name: &str, script: Script, template: Option<&World>, at: At, n: usize) -> Ran {
    let mut world = World::new(&format!("{name}-{at:?}-{n}"), "10s");
    if let Some(template) = template {
        world.adopt(&template.home);
    }
    let ran = match world.start_as(traced(&world, at.calls(), &format!("signal=KILL:when={n}"))) {
        Err(_) => Ran::Killed,
        Ok(gateway) => play(&world, script, gateway),
    };
    check_trace(&world.home.path("trace"), at, n, &ran, template.is_some());
    go_on(&mut world);
    ran
}

/// One run in which every sync takes long, killed as soon as the `n`-th answer is there: what is answered too early is lost.
fn run_to_answer(name: &str, script: Script, template: &World, n: usize) -> Ran {
    let mut world = World::new(&format!("{name}-answer-{n}"), "10s");
    world.adopt(&template.home);
    let gateway = world.start_as(traced(&world, At::Sync.calls(), "delay_enter=60000")).expect("nobody kills it yet");
    let pid = gateway.pid().to_string();
    world.history.at_answer(n, move || drop(Command::new("kill").args(["-KILL", &pid]).stderr(Stdio::null()).status()));
    let ran = play(&world, script, gateway);
    go_on(&mut world);
    ran
}

/// After the end: starts again, reads back, checks, drives what was open to its end, and checks again.
pub(crate) fn go_on(world: &mut World) {
    let gateway = world.start();
    world.read_back_and_check(&gateway);
    settle(world, &gateway).expect("nobody kills it now");
    world.read_back_and_check(&gateway);
    assert_eq!(world.pending(), 0, "everything was decided");
    gateway.stop();
}

/// Plays the script and ends the gateway, unless it is killed before.
fn play(world: &World, script: Script, mut gateway: Gateway) -> Ran {
    let mut cast = Cast::new(&gateway, &world.history);
    let played = script(&mut cast).is_ok();
    drop(cast);
    let status = if played { end_if_there(&mut gateway) } else { gateway.end() };
    if status.success() { Ran::Whole } else { Ran::Killed }
}

/// The trace says that it was killed where it was meant to be.
fn check_trace(trace: &std::path::Path, at: At, n: usize, ran: &Ran, one_thread: bool) {
    // The tracer may end after the gateway.
    let lines = until_within(SOON, "the trace is whole", || {
        let text = std::fs::read_to_string(trace).unwrap_or_default();
        text.lines().rev().take(3).any(|line| line.contains("+++")).then_some(text)
    });
    // The tracer counts each kind of call of each thread for itself.
    let mut done: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in lines.lines() {
        let Some(call) = at.calls().split(',').find(|name| line.contains(name)) else { continue };
        // The call at which the process died has no value: `= ?`, or nothing at all.
        let has_value = line.rsplit_once(" = ").is_some_and(|(_, value)| !value.starts_with('?'));
        let thread = line.split(' ').next().unwrap_or_default();
        *done.entry((thread, call)).or_default() += usize::from(has_value);
    }
    let most = done.values().copied().max().unwrap_or(0);
    match ran {
        Ran::Killed => assert_eq!(most + 1, n, "killed at the {n}th of a thread:\n{lines}"),
        Ran::Whole => assert!(most < n, "not killed at the {n}th of a thread:\n{lines}"),
    }
    if at == At::Sync && one_thread {
        let threads: BTreeSet<&str> =
            done.iter().filter(|(_, count)| **count > 0).map(|((thread, _), _)| *thread).collect();
        assert!(threads.len() <= 1, "one thread writes:\n{lines}");
    }
}

/// Kills at the first, second, … answer until a run goes to its end. Returns how many there were.
fn sweep_answers(name: &str, script: Script) -> usize {
    let template = template();
    let killed = (1..500).take_while(|n| run_to_answer(name, script, &template, *n) == Ran::Killed).count();
    println!("{name}: killed after {killed} answers");
    killed
}

/// Kills at the first, second, … until a run goes to its end. Returns how many points there were.
fn sweep(name: &str, script: Script, template: Option<&World>, at: At, step: usize) -> usize {
    let mut killed = 0;
    let mut n = 1;
    while run(name, script, template, at, n) == Ran::Killed {
        killed += 1;
        n += step;
        assert!(n < 5000, "a script comes to an end");
    }
    println!("{name}: killed at {killed} of {:?}, to its end at {n}", at.calls());
    killed
}

#[test]
fn r1_killed_at_every_sync_while_callers_wait_nothing_is_lost_and_nothing_sent_twice() {
    let points = sweep("attached", attached, Some(&template()), At::Sync, 1);
    assert!(points >= 40, "{points}");
}

#[test]
fn r1_killed_at_every_sync_while_callers_wait_over_mcp_nothing_is_lost_and_nothing_sent_twice() {
    let points = sweep("attached over MCP", attached_over_mcp, Some(&template()), At::Sync, 1);
    assert!(points >= 40, "{points}");
}

#[test]
fn r1_killed_at_every_sync_while_the_gateway_sends_by_itself_nothing_is_lost_and_nothing_sent_twice() {
    let points = sweep("detached", detached, Some(&template()), At::Sync, 1);
    assert!(points >= 30, "{points}");
}

#[test]
fn r1_killed_at_every_sync_of_making_a_store_it_starts_again() {
    let points = sweep("idle", idle, None, At::Sync, 1);
    assert!(points >= 8, "{points}");
}

#[test]
fn r1_killed_between_writes_and_before_answers_nothing_is_lost_and_nothing_sent_twice() {
    let template = template();
    for at in [At::Write, At::Answer] {
        let step = if at == At::Write { 67 } else { 9 };
        assert!(sweep("attached", attached, Some(&template), at, step) >= 3, "{at:?}");
        assert!(sweep("detached", detached, Some(&template), at, step) >= 3, "{at:?}");
    }
}

#[test]
fn r1_killed_as_soon_as_something_is_answered_it_is_on_disk() {
    let points = sweep_answers("answered", answered);
    assert!(points >= 9, "{points}");
}

#[test]
#[ignore = "takes long; `just chaos` runs it"]
fn r1_killed_as_soon_as_anything_is_answered_it_is_on_disk() {
    sweep_answers("attached", attached);
    sweep_answers("attached over MCP", attached_over_mcp);
    sweep_answers("detached", detached);
}

#[test]
#[ignore = "takes long; `just chaos` runs it"]
fn r1_killed_at_every_write_to_a_socket_nothing_is_lost_and_nothing_sent_twice() {
    let template = template();
    sweep("attached", attached, Some(&template), At::Answer, 1);
    sweep("attached over MCP", attached_over_mcp, Some(&template), At::Answer, 1);
    sweep("detached", detached, Some(&template), At::Answer, 1);
}

#[test]
#[ignore = "takes ten minutes; `just chaos-writes` runs it"]
fn r1_killed_at_every_write_to_the_store_while_callers_wait_nothing_is_lost_and_nothing_sent_twice() {
    sweep("attached", attached, Some(&template()), At::Write, 1);
}

#[test]
#[ignore = "takes ten minutes; `just chaos-writes` runs it"]
fn r1_killed_at_every_write_to_the_store_while_the_gateway_sends_by_itself_nothing_is_lost_and_nothing_sent_twice() {
    sweep("detached", detached, Some(&template()), At::Write, 1);
}
