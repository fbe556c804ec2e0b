//! Callers in masses that park and hang up: they leave nothing behind.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Instant;

use serde_json::json;

use crate::kit::{LONG, until_true};
use crate::support::gateway::Gateway;
use crate::support::rig::{Rig, gate_delete};
use crate::support::wait::until_within;

/// How many callers there are at once, and in how many waves the ten thousand come after those that warm up.
const AT_ONCE: usize = 2500;
const WAVES: usize = 4;
const WARM_UPS: usize = 1;

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
fn wave(rig: &Rig) {
    let callers: Vec<TcpStream> = (0..AT_ONCE)
        .map(|n| {
            // The same calls in every wave: they join what is pending, so that the store stays as large as it is.
            let call = rig.bot().post("/tools/delete_repo", &json!({ "n": n }));
            let mut caller = TcpStream::connect(rig.gateway.proxy).expect("the gateway answers");
            caller.write_all(&call.bytes()).expect("the gateway reads");
            caller
        })
        .collect();
    let held = |count: usize| rig.gateway.metric("holdpoint_held_connections", &[]) == count as f64;
    until_true("all are held", || held(AT_ONCE));
    drop(callers);
    until_true("none is held", || held(0));
}

#[test]
fn ten_thousand_callers_that_park_and_hang_up_leave_no_descriptor_no_thread_and_no_memory_behind() {
    let rig = Rig::with(|home| {
        home.policy(&gate_delete("hold: 5m, expires_in: 1h"))
            .key("limits: { pending_per_agent_max: 20000, pending_total_max: 20000 }")
    });
    let start = Holdings::of(&rig.gateway);
    (0..WARM_UPS).for_each(|_| wave(&rig));
    let settled = |base: Holdings| {
        until_within(LONG, "everything is given back", || {
            let now = Holdings::of(&rig.gateway);
            now.is_back_at(base).then_some(now)
        })
    };
    // Memory may take until now to reach its base; descriptors and threads are back at where they started.
    settled(Holdings { resident_kib: u64::MAX >> 1, ..start });
    until_true("idle memory is given back", || {
        let before = rig.gateway.resident_bytes();
        std::thread::sleep(std::time::Duration::from_millis(500));
        rig.gateway.resident_bytes() + (1 << 20) > before
    });
    let base = Holdings::of(&rig.gateway);
    let mut longest = 0.0_f64;
    for number in 1..=WAVES {
        wave(&rig);
        let gone = Instant::now();
        let now = settled(base);
        longest = longest.max(gone.elapsed().as_secs_f64());
        println!("R8: after wave {number} of {AT_ONCE}: {now:?}");
    }
    assert_eq!(rig.gateway.metric("holdpoint_calls_abandoned_total", &[]), 0.0);
    assert_eq!(rig.gateway.metric("holdpoint_held_bytes", &[]), 0.0);
    until_true("no connection is open", || {
        rig.gateway.metric("holdpoint_connections_open", &[("listener", "proxy")]) == 0.0
    });
    until_true("nobody is said to wait", || {
        rig.alice().approvals("limit=200").iter().all(|approval| approval["caller"]["waiting"] == 0)
    });
    rig.nothing_was_sent();
    println!("R8: before all {start:?}, after warming up {base:?}; back at it within {longest:.1} s");
}
