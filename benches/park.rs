//! Durable parks a second, for 1, 64 and 512 callers at once, on a folder on disk (`TMPDIR`, or the system's).
//!
//! Each park is a whole one: the look for an identical call, the approval with its indexes, and its record in the trail;
//! it counts once it is acknowledged, after the sync. Run with `cargo bench --bench park`.

#![expect(clippy::print_stdout, reason = "a benchmark tells its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time and has no tracker for its tasks")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdpoint::domain::time::Timestamp;
use holdpoint::store::sqlite::{Options, SqliteStore};
use holdpoint::store::{Park, Parked, Store};

use support::approvals::call;

mod support {
    pub(crate) mod approvals;
}

/// How long each number of callers is measured.
const MEASURED: Duration = Duration::from_secs(4);
const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    println!("{:>8} {:>10} {:>9} {:>9} {:>9}", "callers", "parks/s", "p50 ms", "p99 ms", "max ms");
    for callers in [1, 64, 512] {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(&folder.path().join("bench.db"), Options::default()).expect("opens");
        let mut waits = runtime.block_on(measure(Arc::new(store), callers));
        waits.sort_unstable();
        let at = |share: f64| {
            let place = ((waits.len() - 1) as f64 * share) as usize;
            waits[place].as_secs_f64() * 1000.0
        };
        let rate = waits.len() as f64 / MEASURED.as_secs_f64();
        println!("{callers:>8} {rate:>10.0} {:>9.2} {:>9.2} {:>9.2}", at(0.5), at(0.99), at(1.0));
    }
}

/// How long each acknowledged park took.
async fn measure(store: Arc<SqliteStore>, callers: usize) -> Vec<Duration> {
    let numbers = Arc::new(AtomicU64::new(1));
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let (store, numbers) = (Arc::clone(&store), Arc::clone(&numbers));
        tasks.spawn(async move {
            let mut waits = Vec::new();
            while start.elapsed() < MEASURED {
                let approval = call(numbers.fetch_add(1, Ordering::Relaxed), NOW);
                let park =
                    Park { approval, request: None, pending_per_agent_max: u64::MAX, pending_total_max: u64::MAX };
                let began = Instant::now();
                let parked = store.park(park, NOW).await.expect("parks");
                assert!(matches!(parked, Parked::Created(_)));
                waits.push(began.elapsed());
            }
            waits
        });
    }
    tasks.join_all().await.concat()
}
