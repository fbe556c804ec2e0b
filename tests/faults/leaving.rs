//! Callers in masses that park and hang up: they leave nothing behind.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Instant;

use serde_json::json;

use crate::kit::{LONG, until_true};
use crate::support::gateway::Gateway;
use crate::support::rig::{Rig, gate_delete};
use crate::support::wait::until_within;

/// In how many waves the callers come, after one that warms up.
const WAVES: usize = 4;

/// What the gateway has open and holds in memory.
#[derive(Debug, Clone, Copy)]
struct Holdings {
    descriptors: usize,
    threads: usize,
    resident_kib: u64,
}

impl Holdings {
    fn of(gateway: &Gateway) -> Self {
        let count = |what: &str| {
            let folder = format!("/proc/{}/{what}", gateway.pid());
            std::fs::read_dir(folder).expect("a running process has these").count()
        };
        Self { descriptors: count("fd"), threads: count("task"), resident_kib: gateway.resident_bytes() >> 10 }
    }

    /// Whether nothing has grown since `base`. A scrape that looks at it has a connection or two of its own, and an allocator keeps
    /// some pages of its own choice: some 3 KiB for each of the ten thousand, where one that stays costs ten and more.
    fn is_back_at(self, base: Self) -> bool {
        self.descriptors <= base.descriptors + 5
            && self.threads <= base.threads + 2
            && self.resident_kib <= base.resident_kib + 32 * 1024
    }
}

/// So many callers park, are all there at once, and hang up.
fn wave(rig: &Rig, at_once: usize) {
    let callers: Vec<TcpStream> = (0..at_once)
        .map(|n| {
            // The same calls in every wave: most join what is pending, so that the store hardly grows.
            let call = rig.bot().post("/tools/delete_repo", &json!({ "n": n }));
            let mut caller = TcpStream::connect(rig.gateway.proxy).expect("the gateway answers");
            caller.write_all(&call.bytes()).expect("the gateway reads");
            caller
        })
        .collect();
    let held = |count: usize| rig.gateway.metric("holdpoint_held_connections", &[]) == count as f64;
    until_true("all are held", || held(at_once));
    drop(callers);
    until_true("none is held", || held(0));
}

/// Waves of so many callers; what was seen, a line each.
fn leave(at_once: usize) -> Vec<String> {
    let rig = Rig::with(|home| {
        home.policy(&gate_delete("hold: 5m, expires_in: 1h"))
            .key("limits: { pending_per_agent_max: 50000, pending_total_max: 50000 }")
    });
    let mut seen = vec![format!("before the first: {:?}", Holdings::of(&rig.gateway))];
    wave(&rig, at_once);
    let base = Holdings::of(&rig.gateway);
    let mut longest = 0.0_f64;
    for number in 0..=WAVES {
        if number > 0 {
            wave(&rig, at_once);
        }
        let gone = Instant::now();
        let now = until_within(LONG, "everything is given back", || {
            let now = Holdings::of(&rig.gateway);
            now.is_back_at(base).then_some(now)
        });
        longest = longest.max(gone.elapsed().as_secs_f64());
        seen.push(format!("after wave {number} of {at_once}: {now:?}"));
    }
    seen.push(format!("given back within {longest:.1} s"));
    assert_eq!(rig.gateway.metric("holdpoint_calls_abandoned_total", &[]), 0.0);
    assert_eq!(rig.gateway.metric("holdpoint_held_bytes", &[]), 0.0);
    let proxy = [("listener", "proxy")];
    until_true("no connection is open", || rig.gateway.metric("holdpoint_connections_open", &proxy) == 0.0);
    // Each leaving is a write: an unoptimised store may take a while for thousands.
    let newest = || rig.alice().approvals("limit=200");
    until_within(4 * LONG, "nobody is said to wait", || {
        newest().iter().all(|approval| approval["caller"]["waiting"] == 0).then_some(())
    });
    rig.nothing_was_sent();
    seen
}

#[test]
fn callers_that_park_and_hang_up_in_masses_leave_no_descriptor_no_thread_and_no_memory_behind() {
    println!("R8: {}", leave(500).join("\nR8: "));
}

#[test]
#[ignore = "some minutes; `just leaving` runs it"]
fn ten_thousand_callers_that_park_and_hang_up_leave_no_descriptor_no_thread_and_no_memory_behind() {
    println!("R8: {}", leave(2500).join("\nR8: "));
}
