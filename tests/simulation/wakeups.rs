//! The real waiters (`src/gate/waiters.rs`, as it is) under a scheduler that chooses who goes on at every lock. Where it can, it
//! tries every order; beyond that, random ones and those with few, well placed preemptions.
//!
//! The row in the store is a lock with what stands in it; a lost wake-up is a deadlock, which the scheduler reports.

mod sync {
    //! The scheduler's own locks, in the place of `src/gate/sync.rs`.
    pub(super) use shuttle::sync::{Mutex, MutexGuard};
    pub(super) use std::sync::PoisonError;
}
#[allow(dead_code, reason = "nobody here has a place on the way to an upstream")]
#[path = "../../src/gate/waiters.rs"]
mod waiters;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use holdpoint::domain::id::ApprovalId;
use holdpoint::domain::time::Timestamp;
use shuttle::sync::Mutex;
use shuttle::{check_dfs, check_pct, check_random, future, thread};

use waiters::Waiters;

/// How many random orders are tried of what has too many.
const RANDOM: usize = 3_000;
/// How many preemptions are placed.
const DEPTH: usize = 4;

/// What the store holds of one approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    Pending,
    Approved,
    Rejected,
    Expired,
}

/// The store and the waiters of one process.
#[derive(Clone)]
struct Process {
    row: Arc<Mutex<Row>>,
    waiters: Waiters,
}

fn id() -> ApprovalId {
    ApprovalId::new(Timestamp::from_millis(1), [1; 16])
}

impl Process {
    fn new() -> Self {
        Self { row: Arc::new(Mutex::new(Row::Pending)), waiters: Waiters::default() }
    }

    fn read(&self) -> Row {
        *self.row.lock().expect("no panic beside the row")
    }

    /// Commits, if nobody was first, and then wakes: as `Gate::apply` does. Whether it was first.
    fn close(&self, row: Row) -> bool {
        let first = {
            let mut stands = self.row.lock().expect("no panic beside the row");
            let first = *stands == Row::Pending;
            if first {
                *stands = row;
            }
            first
        };
        if first {
            self.waiters.wake(id());
        }
        first
    }

    /// Subscribes, and then reads and waits in turn: as `Waiting::wait` does.
    async fn wait(&self) -> Row {
        let mut waiter = self.waiters.subscribe(id());
        loop {
            match self.read() {
                Row::Pending => waiter.woken().await,
                row => return row,
            }
        }
    }

    fn spawn<T: Send + 'static>(&self, run: impl FnOnce(Self) -> T + Send + 'static) -> thread::JoinHandle<T> {
        let process = self.clone();
        thread::spawn(move || run(process))
    }
}

/// Tries every order; how many there were.
fn in_every_order(scene: impl Fn() + Send + Sync + 'static) -> usize {
    let orders = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&orders);
    check_dfs(
        move || {
            count.fetch_add(1, Ordering::Relaxed);
            scene();
        },
        None,
    );
    orders.load(Ordering::Relaxed)
}

fn one_waits_and_one_decides() {
    let process = Process::new();
    let decides = process.spawn(|process| process.close(Row::Approved));
    assert_eq!(future::block_on(process.wait()), Row::Approved);
    assert!(decides.join().expect("decides"));
    assert_eq!(process.waiters.count(), 0, "nobody is left behind");
}

/// Two wait, one of them hangs up; three close it, one of them wins.
fn decide_expire_withdraw_and_leave() {
    let process = Process::new();
    let closers = [Row::Approved, Row::Rejected, Row::Expired].map(|row| process.spawn(move |it| it.close(row)));
    let leaves = process.spawn(|process| {
        let mut waiter = process.waiters.subscribe(id());
        let looked = future::block_on(async { futures_util::poll!(Box::pin(waiter.woken())).is_ready() });
        drop(waiter);
        looked
    });
    let stays = process.spawn(|process| future::block_on(process.wait()));
    let seen = future::block_on(process.wait());
    assert_eq!(stays.join().expect("ends"), seen, "both are told the same");
    leaves.join().expect("leaves");
    let won = closers.map(|closer| closer.join().expect("ends")).iter().filter(|won| **won).count();
    assert_eq!((won, process.read()), (1, seen), "one wins, and it is the one that was told");
    assert_eq!(process.waiters.count(), 0, "nobody is left behind");
}

/// Of several who come at once exactly one is the newest, and leaving changes nothing for the others.
fn several_come() {
    let process = Process::new();
    let comers = [(); 2].map(|()| process.spawn(|process| process.waiters.subscribe(id())));
    let here = comers.map(|comer| comer.join().expect("comes"));
    let newest = here.iter().filter(|waiter| waiter.is_newest()).count();
    assert_eq!(newest, 1);
    let [first, second] = here;
    let gone = process.spawn(move |_| drop(first));
    process.waiters.wake(id());
    let mut second = second;
    future::block_on(second.woken());
    gone.join().expect("goes");
    drop(second);
    assert_eq!(process.waiters.count(), 0);
}

#[test]
fn a_decision_wakes_in_every_order_of_deciding_and_waiting() {
    let orders = in_every_order(one_waits_and_one_decides);
    println!("{orders} orders");
    assert!(orders > 10, "{orders} orders");
}

#[test]
fn of_several_who_come_one_is_newest_and_a_leaver_takes_nobodys_wake_along() {
    let orders = in_every_order(several_come);
    println!("{orders} orders");
    assert!(orders > 10, "{orders} orders");
}

#[test]
fn whoever_waits_hears_the_one_winner_however_they_interleave() {
    check_random(decide_expire_withdraw_and_leave, RANDOM);
    check_pct(decide_expire_withdraw_and_leave, RANDOM, DEPTH);
}

/// Whether some order deadlocks.
fn deadlocks(scene: impl Fn() + Send + Sync + 'static) -> bool {
    let failed = catch_unwind(AssertUnwindSafe(|| check_dfs(scene, None)));
    failed.is_err_and(|panic| {
        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        assert!(text.contains("deadlock"), "failed in another way: {text}");
        true
    })
}

#[test]
fn reading_before_subscribing_is_found_to_sleep_through_a_decision() {
    assert!(deadlocks(|| {
        let process = Process::new();
        let decides = process.spawn(|process| process.close(Row::Approved));
        let row = process.read();
        let mut waiter = process.waiters.subscribe(id());
        if row == Row::Pending {
            future::block_on(waiter.woken());
        }
        decides.join().expect("decides");
    }));
}

#[test]
fn waking_before_the_commit_is_found_to_be_slept_through() {
    assert!(deadlocks(|| {
        let process = Process::new();
        let decides = process.spawn(|process| {
            process.waiters.wake(id());
            *process.row.lock().expect("no panic beside the row") = Row::Approved;
        });
        future::block_on(process.wait());
        decides.join().expect("decides");
    }));
}
