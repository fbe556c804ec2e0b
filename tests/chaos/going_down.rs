//! R10: the gateway is told to end with 1 000 calls parked and 50 on their way.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::actors::{Call, Client, Waiting, reviewer_of};
use crate::spy::Manner;
use crate::support::gateway::Gateway;
use crate::support::wait::until_within;
use crate::world::{SOON, World};

/// Calls that wait for a decision when the signal comes.
const PARKED: usize = 1000;
/// Calls that are being sent by then; the upstream answers one half of them in time.
const RELEASING: usize = 50;

/// Descriptors for the connections, here and in the gateway, which inherits the limit.
const DESCRIPTORS: u64 = 4096;

/// Lets this process, and those that it starts, open as many connections as the test holds.
fn make_room_for_connections() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(DESCRIPTORS, |most| most.min(DESCRIPTORS));
    if limit.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit })
            .expect("a limit can be raised to its maximum");
    }
}

/// Calls under way upstream: one half of them attached, the other sent by the gateway itself.
fn release(world: &World, gateway: &Gateway) -> Vec<Waiting> {
    let mut client = Client::new(gateway.proxy, &world.history);
    let mut alice = reviewer_of(gateway, "alice", &world.history);
    let mut attached = Vec::new();
    for n in 0..RELEASING {
        let manner = if n < RELEASING / 2 { Manner::Wait } else { Manner::Never };
        let call = Call::new("pay", format!("sent-{n:02}")).manner(manner);
        let id = if n % 2 == 0 {
            let waiting = client.begin(&call, None).expect("the gateway is there");
            let id = alice.parked(waiting.name()).expect("the gateway is there");
            attached.push(waiting);
            id
        } else {
            client.call(&call, Some("respond-async")).expect("an answer").expect(202, "").approval()
        };
        alice.decide(&id, "approved").expect("an answer").expect(200, "");
    }
    until_within(SOON, "all of them are under way", || (world.spy.arrived() == RELEASING).then_some(()));
    attached
}

/// How many calls of the last read-back stand so.
fn count(world: &World, status: &str, outcome: &str) -> usize {
    let (_, views) = world.story.read_back().expect("it was read back");
    views.values().filter(|view| (view.state.status.as_str(), view.state.outcome.as_str()) == (status, outcome)).count()
}

#[test]
fn r10_with_a_thousand_parked_and_fifty_being_sent_sigterm_loses_and_repeats_nothing() {
    make_room_for_connections();
    let mut world = World::new("going-down", "5s");
    let mut gateway = world.start();
    let attached = release(&world, &gateway);
    let client = Client::new(gateway.proxy, &world.history);
    let parked: Vec<Call> = (0..PARKED).map(|n| Call::new("pay", format!("parked-{n:04}"))).collect();
    let mut waiting = Vec::new();
    for call in &parked {
        waiting.push(client.begin(call, None).expect("the gateway is there"));
    }
    let mut alice = reviewer_of(&gateway, "alice", &world.history);
    until_within(SOON, "all of them are parked", || {
        (alice.pending().expect("an answer") == PARKED as u64).then_some(())
    });
    drop(alice);

    world.end(&gateway);
    let told: Vec<String> = waiting
        .into_iter()
        .map(|waiting| waiting.finish().expect("those who wait are told").expect(503, "draining").approval())
        .collect();
    // Those who wait have been told: it is going down, and waits for what is being sent.
    world.spy.go_on();
    for (n, waiting) in attached.into_iter().enumerate() {
        let answer = waiting.finish();
        if n < RELEASING / 4 {
            answer.expect("the upstream answered in time").expect(200, "");
        }
    }
    gateway.end();

    let gateway = world.start();
    world.read_back_and_check(&gateway);
    assert_eq!(count(&world, "pending", "held"), PARKED);
    assert_eq!(count(&world, "approved", "succeeded"), RELEASING / 2);
    assert_eq!(count(&world, "approved", "unknown"), RELEASING / 2);
    let mut alice = reviewer_of(&gateway, "alice", &world.history);
    let mut client = Client::new(gateway.proxy, &world.history);
    for (n, (id, call)) in told.iter().zip(&parked).enumerate() {
        let word = if n % 2 == 0 { "approved" } else { "rejected" };
        alice.decide(id, word).expect("an answer").expect(200, "");
        let answer = client.call(call, None).expect("an answer");
        assert_eq!(answer.status, if n % 2 == 0 { 200 } else { 403 }, "{}", answer.text());
    }
    world.read_back_and_check(&gateway);
    assert_eq!(world.pending(), 0);
    assert_eq!(world.spy.arrived(), RELEASING + PARKED / 2);
    gateway.stop();
}
