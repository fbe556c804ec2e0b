//! R12: a store of an earlier version, with a history, whose upgrade is killed at every sync and every write.

use crate::kill_points::{At, go_on, traced};
use crate::script::{Cast, attached, detached};
use crate::support::earlier::take_back;
use crate::world::{World, end_if_there};

/// Kills starts that upgrade the store, at one of these calls after the other, until one is not killed. Returns how many there were.
fn kill_upgrades(world: &mut World, at: At) -> usize {
    for kills in 0.. {
        take_back(&world.home.path("holdpoint.db"));
        let fault = format!("signal=KILL:when={}", kills + 1);
        if let Ok(mut gateway) = world.start_as(traced(world, at.calls(), &fault)) {
            // It may be killed before it hears of it, or while it ends.
            if end_if_there(&mut gateway).success() {
                return kills;
            }
        }
        let gateway = world.start();
        world.read_back_and_check(&gateway);
        gateway.stop();
    }
    unreachable!("an upgrade comes to an end")
}

#[test]
fn r12_killed_at_any_point_of_an_upgrade_nothing_of_the_history_is_lost() {
    let mut world = World::new("upgrades", "10s");
    let gateway = world.start();
    let mut cast = Cast::new(&gateway, &world.history);
    attached(&mut cast).expect("nobody kills it");
    detached(&mut cast).expect("nobody kills it");
    drop(cast);
    world.read_back_and_check(&gateway);
    gateway.stop();
    let (syncs, writes) = (kill_upgrades(&mut world, At::Sync), kill_upgrades(&mut world, At::Write));
    println!("upgrades killed at {syncs} syncs and {writes} writes");
    assert!(syncs >= 3 && writes >= 15, "{syncs} {writes}");
    go_on(&mut world);
}
