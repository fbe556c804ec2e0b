//! R1: `kill -9` at random moments, with 1 000 calls parked, while clients ask and reviewers decide as fast as they can.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::actors::{Call, Client, Reviewer};
use crate::history::History;
use crate::spy::Manner;
use crate::support::gateway::Gateway;
use crate::support::wait::until_within;
use crate::world::{SOON, World};

/// So many calls are parked whenever the gateway is killed.
const PARKED: usize = 1000;
/// Clients park more up to here; only what is above [`PARKED`] is decided.
const PARKED_MAX: usize = 1100;
/// Clients whose connections are held.
const HELD: usize = 48;
/// Clients that let the gateway send.
const ASKING: usize = 4;
/// How long the gateway may live on once the load runs, in milliseconds.
const LIFE_MAX: u64 = 250;
/// How often one store is killed before the next begins with a new one.
const KILLS_EACH: u64 = 15;

/// Small, seeded, and good enough to choose with.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What the load shares. It outlives the gateway's lives.
struct Load {
    history: History,
    seed: u64,
    named: AtomicU64,
    /// Approvals of detached calls that are pending; never fewer than [`PARKED`] once that many were there.
    parked: Mutex<VecDeque<String>>,
    /// Attached calls whose clients heard nothing.
    unheard: Mutex<Vec<Call>>,
    /// Decisions that were acknowledged.
    decided: AtomicU64,
    over: AtomicBool,
}

struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Load {
    fn parked(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.parked.lock().expect("nobody panics with the queue")
    }

    fn call(&self, tool: &'static str, dice: &mut Dice) -> Call {
        let manner = match dice.below(20) {
            0 => Manner::Close,
            1..12 => Manner::Answer,
            _ => Manner::After(dice.below(30)),
        };
        let call = Call::new(tool, format!("{tool}-{}", self.named.fetch_add(1, Ordering::SeqCst))).manner(manner);
        // What the gateway sends by itself does not go over MCP.
        Call { mcp: tool != "wire" && dice.below(2) == 0, ..call }
    }

    /// Takes one of the parked to decide, unless too few would be left.
    fn spare(&self, dice: &mut Dice) -> Option<String> {
        let mut parked = self.parked();
        if parked.len() <= PARKED {
            return None;
        }
        let at = usize::try_from(dice.below(parked.len() as u64)).unwrap_or(0);
        parked.swap_remove_back(at)
    }

    fn until_over(&self, mut step: impl FnMut() -> io::Result<()>) {
        // An error is the end of the gateway, or of a connection that was idle for too long.
        while !self.over.load(Ordering::SeqCst) {
            drop(step());
        }
    }

    /// Parks detached calls; looks, withdraws, and calls what needs no approval in between.
    fn ask(&self, proxy: SocketAddr, mut dice: Dice) {
        let mut client = Client::new(proxy, &self.history);
        let mut recent = String::new();
        self.until_over(|| {
            if self.parked().len() < PARKED_MAX {
                let id = client.call(&self.call("wire", &mut dice), Some("respond-async"))?.expect(202, "").approval();
                self.parked().push_back(id.clone());
                recent = id;
                return Ok(());
            }
            match dice.below(6) {
                0 => client.call(&self.call("note", &mut dice).manner(Manner::Answer), None).map(drop),
                1 => client.call(&self.call("look", &mut dice).manner(Manner::Answer), None).map(drop),
                2 => client.call(&self.call("drop", &mut dice), None).map(drop),
                3 => match self.spare(&mut dice) {
                    Some(id) => client.withdraw("bot", &id).map(drop),
                    None => Ok(()),
                },
                _ if recent.is_empty() => Ok(()),
                4 => client.look("bot", &recent).map(drop),
                _ => client.result("bot", &recent).map(drop),
            }
        });
    }

    /// Holds a connection per call until it hears the end of it; one that broke is sent again in the next life.
    fn hold(&self, proxy: SocketAddr, mut dice: Dice) {
        let mut client = Client::new(proxy, &self.history);
        self.until_over(|| {
            let unheard = self.unheard.lock().expect("nobody panics with the list").pop();
            let call = unheard.unwrap_or_else(|| self.call("pay", &mut dice));
            let heard = client.call(&call, None);
            if heard.as_ref().map_or(true, |answer| answer.status == 503) {
                self.unheard.lock().expect("nobody panics with the list").push(call);
            }
            heard.map(drop)
        });
    }

    /// Decides what is spare, and what callers wait for.
    fn decide(&self, admin: SocketAddr, mut dice: Dice) {
        let mut alice = Reviewer::new(admin, "alice", &self.history);
        self.until_over(|| {
            let mut ids: Vec<String> = self.spare(&mut dice).into_iter().collect();
            ids.extend(alice.page("status=pending&tool=pay&sort=oldest&limit=4")?.into_iter().map(|view| view.id));
            for id in ids {
                let word = if dice.below(3) == 0 { "rejected" } else { "approved" };
                let answer = alice.decide(&id, word)?;
                // Another reviewer may have been first.
                assert!(matches!(answer.status, 200 | 409), "{answer:?}");
                self.decided.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        });
    }

    /// Settles what crashes left unknown, most of it.
    fn resolve(&self, admin: SocketAddr, mut dice: Dice, unknown: &[String]) {
        let mut bob = Reviewer::new(admin, "bob", &self.history);
        for id in unknown {
            let word = ["committed", "not_committed"][usize::from(dice.below(2) == 0)];
            if dice.below(4) > 0 && bob.resolve(id, word).is_err() {
                return;
            }
        }
    }

    /// The gateway's life: load until it is killed at a random moment with enough parked.
    fn live(&self, world: &World, gateway: Gateway, life: u64, unknown: &[String]) {
        let (proxy, admin) = (gateway.proxy, gateway.admin);
        let dice = |of: u64| Dice(self.seed ^ (life << 32) ^ (of << 16));
        self.over.store(false, Ordering::SeqCst);
        std::thread::scope(|threads| {
            // Ends the load with this life, and also when something is wrong with it.
            let _over = SetAtEnd(&self.over);
            for n in 0..ASKING {
                threads.spawn(move || self.ask(proxy, dice(n as u64)));
            }
            for n in 0..HELD {
                threads.spawn(move || self.hold(proxy, dice(100 + n as u64)));
            }
            for n in 0..2 {
                threads.spawn(move || self.decide(admin, dice(200 + n)));
            }
            threads.spawn(|| self.resolve(admin, dice(300), unknown));
            let before = self.decided.load(Ordering::SeqCst);
            until_within(SOON, "enough is parked, and something is decided", || {
                let busy = self.decided.load(Ordering::SeqCst) >= before + 5;
                (self.parked().len() >= PARKED && busy).then_some(())
            });
            // The moment is what is random here: nothing is waited for.
            std::thread::sleep(Duration::from_micros(dice(400).below(LIFE_MAX * 1000)));
            world.kill(gateway);
        });
    }
}

/// Kills so many gateways; a new store now and then. Returns what was counted: kills, decisions, calls that arrived.
fn kill(kills: u64) -> (u64, u64, usize) {
    let seed = match std::env::var("HOLDPOINT_CHAOS_SEED") {
        Ok(seed) => seed.parse().expect("`HOLDPOINT_CHAOS_SEED` is a number"),
        Err(_) => {
            u64::from(std::process::id())
                ^ std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() << 16)
        }
    };
    println!("HOLDPOINT_CHAOS_SEED={seed}");
    let (mut done, mut decided, mut arrived) = (0, 0, 0);
    while done < kills {
        let seed = seed.wrapping_add(done);
        let mut world = World::new("random-kills", "10s");
        let load = Load {
            history: world.history.clone(),
            seed,
            named: AtomicU64::new(0),
            parked: Mutex::default(),
            unheard: Mutex::default(),
            decided: AtomicU64::new(0),
            over: AtomicBool::new(false),
        };
        let mut unknown = Vec::new();
        for life in 0..KILLS_EACH.min(kills - done) {
            load.live(&world, world.start(), life, &unknown);
            done += 1;
            // What the crash left is read by a gateway that does nothing else, and that is then killed too.
            let gateway = world.start();
            world.read_back_and_check(&gateway);
            assert!(world.pending() >= PARKED, "{} were parked at kill {done}, seed {seed}", world.pending());
            let (_, views) = world.story.read_back().expect("it was read back");
            let of = |tool: &'static str, status: &'static str, outcome: &'static str| {
                let stands = move |state: &crate::history::State| state.status == status && state.outcome == outcome;
                views
                    .values()
                    .filter(move |view| view.call.tool == tool && stands(&view.state))
                    .map(|view| view.id.clone())
            };
            *load.parked() = of("wire", "pending", "held").collect();
            unknown = of("wire", "approved", "unknown").chain(of("pay", "approved", "unknown")).collect();
            world.kill(gateway);
        }
        decided += load.decided.load(Ordering::SeqCst);
        arrived += world.spy.arrived();
        println!("killed {done} times: {decided} decisions, {arrived} calls arrived upstream");
    }
    (done, decided, arrived)
}

#[test]
fn r1_killed_at_random_moments_with_a_thousand_parked_nothing_is_lost_and_nothing_sent_twice() {
    let (kills, decided, arrived) = kill(30);
    assert!(kills == 30 && decided > 150 && arrived > 50, "the load was real: {decided} decisions, {arrived} calls");
}

#[test]
#[ignore = "takes long; `just chaos` runs it"]
fn r1_killed_at_a_thousand_random_moments_with_a_thousand_parked_nothing_is_lost_and_nothing_sent_twice() {
    let kills = std::env::var("HOLDPOINT_CHAOS_KILLS").map_or(1000, |kills| kills.parse().expect("a number of kills"));
    kill(kills);
}
