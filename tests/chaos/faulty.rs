//! Faults that the gateway meets alive, in front of the checker: a disk that fails or is full (R5), clocks that are set (R7), callers
//! that hang up (R8), slow clients (R9), an upstream that dies (R2). What each has to answer, `tests/faults` says.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use holdpoint::domain::time::Timestamp;

use crate::death::DEATHS;
use crate::faketime::{faked, set};
use crate::history::{What, Who};
use crate::kill_points::{go_on, template, traced};
use crate::script::{Cast, attached, errand, find_nobody, leave, lose};
use crate::support::gateway::Gateway;
use crate::support::wait::until_true;
use crate::trail;
use crate::world::{World, end_if_there};

/// Rounds of a run; a gateway that ends itself plays fewer.
const ROUNDS: usize = 3;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Connections at once on which a head never ends.
const SLOW: usize = 200;

/// Plays rounds until the gateway is gone, and ends it if it is not.
fn play(world: &World, mut gateway: Gateway) {
    let mut cast = Cast::new(&gateway, &world.history);
    drop((0..ROUNDS).try_for_each(|round| errand(&mut cast, round)));
    drop(cast);
    // It may have ended itself.
    end_if_there(&mut gateway);
}

/// A run in which these calls fail so, from the `n`-th of a thread on or at that one alone; then one without a fault. Returns what was
/// refused for it, and how many approvals there were at the end.
fn run_failing(template: &World, calls: &str, error: &str, n: usize, on: &str) -> (usize, usize) {
    let mut world = World::new(&format!("failing-{error}-{n}"), "10s");
    world.adopt(&template.home);
    world.history.write(Who::Control, What::StoreFails);
    // Where the store cannot even be opened there is nothing to play.
    if let Ok(gateway) = world.start_as(traced(&world, calls, &format!("error={error}:when={n}{on}"))) {
        play(&world, gateway);
    }
    go_on(&mut world);
    let is_refusal = |what: &What| match what {
        What::CallAnswered { code, .. } | What::WordAnswered { code, .. } => code == "store_unavailable",
        _ => false,
    };
    let refused = world.story.lines.iter().filter(|line| is_refusal(&line.what)).count();
    (refused, world.story.read_back().map_or(0, |(_, views)| views.len()))
}

#[test]
fn r2_beside_an_upstream_that_dies_at_any_point_everybody_tells_the_same_story() {
    let mut world = World::new("dying-upstream", "10s");
    let patient = world.home.configuration();
    world.home.settings.whole = Some(patient.replace("    tools:\n", "    timeout: 1s\n    tools:\n"));
    let gateway = world.start();
    let mut cast = Cast::new(&gateway, &world.history);
    for death in DEATHS {
        lose(&mut cast, &world.spy, death).expect("the gateway is there");
    }
    find_nobody(&mut cast, &mut world.spy).expect("the gateway is there");
    drop(cast);
    world.read_back_and_check(&gateway);
    let (_, views) = world.story.read_back().expect("it was read back");
    let stand = |outcome: &str| views.values().filter(|view| view.state.outcome == outcome).count();
    let (unknown, sent) = (stand("unknown"), stand("succeeded"));
    println!("after {} deaths: {unknown} unknown, {sent} sent, {} arrived", DEATHS.len(), world.spy.arrived());
    // Of a reset before anything was read the gateway may know that nothing was sent; such a permit comes back.
    assert!(unknown >= 2 * (DEATHS.len() - 2) && sent >= 2, "{unknown} {sent}");
    world.kill(gateway);
    go_on(&mut world);
}

#[test]
fn r5_after_failed_syncs_and_writes_everybody_tells_the_same_story() {
    let template = template();
    let (mut refused, mut kept) = (0, 0);
    let mut add = |(more_refused, more_kept)| {
        refused += more_refused;
        kept += more_kept;
    };
    for n in (1..32).step_by(5) {
        add(run_failing(&template, "fsync,fdatasync", "EIO", n, ""));
        add(run_failing(&template, "pwrite64", "ENOSPC", 6 * n, ""));
        add(run_failing(&template, "pwrite64", "ENOSPC", 9 * n, "+"));
    }
    println!("21 runs on failing disks: {refused} refusals, {kept} approvals, nothing lost, nothing sent twice");
    assert!(refused >= 10 && kept >= 40, "{refused} {kept}");
}

#[test]
fn r7_under_clocks_that_are_set_everybody_tells_the_same_story() {
    let mut world = World::new("clock", "10s");
    world.home = faked(world.home);
    for (restart, step) in ["+0", "+2h", "-2h", "+1d"].into_iter().enumerate() {
        set(&world.home, step);
        let gateway = world.start();
        let mut cast = Cast::new(&gateway, &world.history);
        for (turn, step) in ["+10y", "-10y", step].into_iter().enumerate() {
            set(&world.home, step);
            errand(&mut cast, 10 * restart + turn).expect("the gateway is there");
        }
        drop(cast);
        world.read_back_and_check(&gateway);
        world.kill(gateway);
    }
    let (events, _) = trail::read(&world.story.trail);
    let times: Vec<Timestamp> = events.iter().map(|event| Timestamp::parse(&event.at).expect("a time")).collect();
    let first = times[0];
    assert!(times.iter().any(|at| at.since(first) > DAY - HOUR), "a day ahead was believed: {times:?}");
    assert!(times.iter().any(|at| first.since(*at) > HOUR), "two hours behind were believed: {times:?}");
    set(&world.home, "+0");
    go_on(&mut world);
}

#[test]
fn r8_r9_beside_slow_clients_and_callers_that_hang_up_everybody_tells_the_same_story() {
    let mut world = World::new("crowd", "10s");
    let gateway = world.start();
    let half = b"POST /tools/pay/slow HTTP/1.1\r\nhost: gateway\r\nauthorization: Bea";
    let slow = [(); SLOW].map(|()| {
        let mut slow = TcpStream::connect(gateway.proxy).expect("the gateway listens");
        slow.write_all(half).expect("half a head is taken");
        slow
    });
    until_true("the slow ones are there", || {
        gateway.metric("holdpoint_connections_open", &[("listener", "proxy")]) >= SLOW as f64
    });
    let mut cast = Cast::new(&gateway, &world.history);
    leave(&cast, 300).expect("the gateway is there");
    // With an upstream that dies after it was sent a call, among others.
    attached(&mut cast).expect("the gateway is there");
    (0..ROUNDS).try_for_each(|round| errand(&mut cast, round)).expect("the gateway is there");
    drop((cast, slow));
    world.read_back_and_check(&gateway);
    // A caller may be gone before the gateway has read its call.
    println!("{} pending at the end, of 300 that left and a few others", world.pending());
    assert!(world.pending() > 5, "some had parked before they left: {}", world.pending());
    world.end(&gateway);
    gateway.stop();
    go_on(&mut world);
}
