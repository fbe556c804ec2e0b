//! Durable parks a second, for 1, 64 and 512 callers at once, on a folder on disk (`TMPDIR`, or the system's).
//!
//! Each park is a whole one: the look for an identical call, the approval with its indexes, and its record in the trail;
//! it counts once it is acknowledged, after the sync. Run with `cargo bench --bench park`.

#![expect(clippy::print_stdout, reason = "a benchmark tells its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time and has no tracker for its tasks")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdpoint::domain::approval::{
    Approval, Caller, Execution, HeldCall, ReleaseMode, Risk, Slot, State, Subject, SubjectKind, Terms,
};
use holdpoint::domain::call::{Fingerprint, PayloadHash};
use holdpoint::domain::id::ApprovalId;
use holdpoint::domain::identity::AgentId;
use holdpoint::domain::time::Timestamp;
use holdpoint::store::sqlite::{Options, SqliteStore};
use holdpoint::store::{Park, Parked, Store};

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
                let approval = call(numbers.fetch_add(1, Ordering::Relaxed));
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

/// A call that nothing else is identical to, with a preview of about a kilobyte; its hash is spread as a real one is.
fn call(number: u64) -> Approval {
    let mut random = [0; 16];
    random[8..].copy_from_slice(&number.to_be_bytes());
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let mut fingerprint = [0; 32];
    fingerprint[..8].copy_from_slice(&spread);
    Approval {
        id: ApprovalId::new(Timestamp::from_millis(NOW.as_millis() + (number / 8) as i64), random),
        version: 0,
        subject: Subject {
            agent: AgentId(format!("agent-{}", number % 16)),
            name: "payments.refund".to_owned(),
            summary: format!("Refund {number} USD"),
            preview: format!("{{\"args\":{{\"amount_usd\":{number},\"note\":\"{}\"}}}}", "lorem ipsum ".repeat(85)),
            payload_sha256: PayloadHash(fingerprint),
            payload_bytes: 1060,
            fingerprint: Fingerprint(fingerprint),
            idempotency_key: None,
            trace_id: Some(format!(
                "{:032x}",
                u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
            )),
            kind: SubjectKind::Call(HeldCall {
                upstream: "payments".to_owned(),
                method: "POST".to_owned(),
                target: "/refunds".to_owned(),
                release: ReleaseMode::Attached,
                protocol: holdpoint::domain::call::Protocol::Http,
                tool: None,
            }),
        },
        terms: Terms {
            rule: "refund-large".to_owned(),
            reason: Some("Refunds over $100 need finance.".to_owned()),
            risk: Risk::High,
            approvers: vec![Slot { group: Some("finance".to_owned()), count: 1 }],
            sla_at: Some(NOW.plus(Duration::from_secs(900))),
            expires_at: NOW.plus(Duration::from_secs(3600)),
            grant_ttl: Duration::from_secs(600),
            reject_memory: Duration::from_secs(600),
            result_ttl: Duration::from_secs(600),
            policy_revision: "r1".to_owned(),
            rule_digest: None,
        },
        created_at: NOW,
        state: State::Pending,
        execution: Execution::Held,
        votes: Vec::new(),
        caller: Caller { waiting: 1, left_at: None },
        stale_since: None,
    }
}
