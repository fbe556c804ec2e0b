//! A long queue: how soon the gateway is ready with it, and what reviewers and the scraper wait for.
//!
//! `cargo bench --bench pending` fills a store with 50 000 pending approvals, starts the program on it and measures; `-- --pending N`
//! changes their number. Then it adds 5 000 that are all overdue, starts the program again, and decides one approval after the other
//! while those expire. Without `--bench` (as `cargo test` runs it) the queue is short, which shows that the measurement works.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use holdpoint::domain::approval::Approval;
use holdpoint::domain::id::ApprovalId;
use holdpoint::domain::time::Timestamp;
use holdpoint::store::sqlite::{Options, SqliteStore};
use holdpoint::store::{Park, Parked, Store};
use tokio::task::JoinSet;

use support::admin::{Admin, quantile, unexpected};
use support::approvals::call;
use support::process::{Cores, Gateway, Proxy, REVIEWER_TOKEN, STORE, load_average};

mod support {
    pub(crate) mod admin;
    pub(crate) mod approvals;
    pub(crate) mod http;
    pub(crate) mod process;
}

/// How many park at once, so that the store writes them in few commits.
const PARKERS: usize = 256;
/// Longer than any start or sweep that is worth a figure.
const PATIENCE: Duration = Duration::from_secs(300);
const RULES: [&str; 4] = ["refund-large", "transfer", "wipe", "mail-to-all"];

/// How much is measured.
#[derive(Clone, Copy)]
struct Size {
    pending: u64,
    overdue: u64,
    pages: usize,
    decisions: usize,
    scrapes: usize,
}

const MEASURED: Size = Size { pending: 50_000, overdue: 5_000, pages: 200, decisions: 500, scrapes: 50 };
const TESTED: Size = Size { pending: 300, overdue: 40, pages: 3, decisions: 10, scrapes: 2 };

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match measure(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nothing was measured: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &[String]) -> io::Result<()> {
    let mut size = if arguments.iter().any(|argument| argument == "--bench") { MEASURED } else { TESTED };
    if let Some(place) = arguments.iter().position(|argument| argument == "--pending") {
        let number = arguments.get(place + 1).and_then(|number| number.parse().ok());
        // Each decision takes one of them, and some must be left.
        size.pending = number.filter(|pending| *pending > 2 * size.decisions as u64).ok_or_else(|| {
            io::Error::other(
                "`--pending` needs a number above 1000, as in `cargo bench --bench pending -- --pending 10000`",
            )
        })?;
    }
    let cores = Cores::pin();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let folder = tempfile::tempdir()?;
    runtime.block_on(async {
        let waiting = fill(folder.path(), 1..size.pending + 1, in_time).await?;
        let (first, second) = waiting.split_at(waiting.len() / 2);
        long_queue(folder.path(), cores.as_ref(), size, first).await?;
        let overdue = size.pending + 1..size.pending + 1 + size.overdue;
        fill(folder.path(), overdue, overdue_by_now).await?;
        sweep(folder.path(), cores.as_ref(), size, second).await
    })
}

/// Parks the numbered calls as the gateway does, each as `change` makes it; their ids.
async fn fill(
    folder: &Path,
    numbers: std::ops::Range<u64>,
    change: fn(u64, &mut Approval),
) -> io::Result<Vec<ApprovalId>> {
    let store = SqliteStore::open(&folder.join(STORE), Options::default()).map_err(io::Error::other)?;
    let (store, next, began) = (Arc::new(store), Arc::new(AtomicU64::new(numbers.start)), Instant::now());
    let mut parkers = JoinSet::new();
    for _ in 0..PARKERS {
        let (store, next, end) = (Arc::clone(&store), Arc::clone(&next), numbers.end);
        parkers.spawn(async move {
            let mut ids = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    return Ok(ids);
                }
                let now = now();
                let mut approval = call(number, now);
                change(number, &mut approval);
                ids.push(approval.id);
                let park =
                    Park { approval, request: None, pending_per_agent_max: u64::MAX, pending_total_max: u64::MAX };
                match store.park(park, now).await.map_err(io::Error::other)? {
                    Parked::Created(_) => {}
                    other => return Err(io::Error::other(format!("not parked: {other:?}"))),
                }
            }
        });
    }
    let mut ids = Vec::new();
    while let Some(parked) = parkers.join_next().await {
        ids.extend(parked.map_err(io::Error::other)??);
    }
    println!("parked {} in {:.1} s (load average {})", ids.len(), began.elapsed().as_secs_f64(), load_average());
    Ok(ids)
}

/// Several rules, and deadlines over a week that begins in an hour.
fn in_time(number: u64, approval: &mut Approval) {
    approval.terms.rule = RULES[number as usize % RULES.len()].to_owned();
    approval.terms.expires_at = approval.created_at.plus(Duration::from_secs(3600 + number * 12));
}

fn overdue_by_now(_: u64, approval: &mut Approval) {
    approval.terms.expires_at = approval.created_at;
    approval.terms.sla_at = None;
}

fn now() -> Timestamp {
    let since = SystemTime::UNIX_EPOCH.elapsed().expect("the clock is past 1970");
    Timestamp::from_millis(since.as_millis() as i64)
}

/// Starts the program, and says how long it took until it was ready.
async fn start(folder: &Path, cores: Option<&Cores>, size: Size) -> io::Result<(Proxy, Admin)> {
    let began = Instant::now();
    // No call is sent anywhere.
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    let gateway = Proxy::gateway(Gateway::Http, nobody, folder, cores)?;
    let mut admin = Admin::connect(gateway.admin).await?;
    while !admin.ask("GET", "/readyz", "").await?.head.starts_with("HTTP/1.1 200 ") {
        if began.elapsed() > PATIENCE {
            return Err(io::Error::other("the gateway does not become ready"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (took, rss) = (began.elapsed(), gateway.rss_kib()? / 1024);
    println!(
        "ready {:.2} s after the start, at {rss} MiB (queue of {}; load average {})",
        took.as_secs_f64(),
        size.pending,
        load_average()
    );
    Ok((gateway, admin))
}

async fn long_queue(folder: &Path, cores: Option<&Cores>, size: Size, waiting: &[ApprovalId]) -> io::Result<()> {
    let (_gateway, mut admin) = start(folder, cores, size).await?;
    let pending = admin.pending().await?;
    if pending != size.pending {
        return Err(io::Error::other(format!("{pending} are pending, not {}", size.pending)));
    }
    let bearer = format!("authorization: Bearer {REVIEWER_TOKEN}\r\n");
    let page = "/v1/approvals?status=pending";
    timed("first page of the queue", &mut admin, page, &bearer, size.pages).await?;
    timed("first page, oldest first", &mut admin, &format!("{page}&sort=oldest"), &bearer, size.pages).await?;
    let cookie = sign_in(&mut admin).await?;
    timed("first page of the dashboard", &mut admin, "/dashboard/approvals", &cookie, size.pages).await?;
    timed("/metrics", &mut admin, "/metrics", "", size.scrapes).await?;
    let mut waits = Vec::new();
    for place in 0..size.decisions {
        waits.push(decide(&mut admin, waiting[place * waiting.len() / size.decisions]).await?);
    }
    print("a decision", waits);
    Ok(())
}

/// Decides one after the other while the overdue ones expire.
async fn sweep(folder: &Path, cores: Option<&Cores>, size: Size, waiting: &[ApprovalId]) -> io::Result<()> {
    let (_gateway, mut admin) = start(folder, cores, size).await?;
    let stay = size.pending - size.decisions as u64;
    let (mut waits, mut left, began) = (Vec::new(), Vec::new(), Instant::now());
    for id in waiting {
        waits.push(decide(&mut admin, *id).await?);
        // What is left is asked for now and then, so that most of the time is spent deciding.
        if waits.len() % 20 == 0 || waits.len() == waiting.len() {
            left.push(admin.pending().await? + waits.len() as u64 - stay);
        }
        if left.last() == Some(&0) {
            let (expired, took) = (left[0], began.elapsed().as_secs_f64());
            println!("{expired} of {} overdue ones expired in {took:.1} s, meanwhile:", size.overdue);
            print("a decision", waits);
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            break;
        }
    }
    Err(io::Error::other(format!("{:?} of the overdue ones have not expired", left.last())))
}

async fn timed(what: &str, admin: &mut Admin, path: &str, headers: &str, times: usize) -> io::Result<()> {
    let mut waits = Vec::new();
    for _ in 0..times {
        let began = Instant::now();
        let answer = admin.send("GET", path, headers, "").await?;
        waits.push(began.elapsed());
        if !answer.head.starts_with("HTTP/1.1 200 ") {
            return Err(unexpected(path, &answer));
        }
    }
    print(what, waits);
    Ok(())
}

async fn decide(admin: &mut Admin, id: ApprovalId) -> io::Result<Duration> {
    let began = Instant::now();
    admin.expect("POST", &format!("/v1/approvals/{id}"), r#"{"decision":"approved"}"#).await?;
    Ok(began.elapsed())
}

async fn sign_in(admin: &mut Admin) -> io::Result<String> {
    let form = "content-type: application/x-www-form-urlencoded\r\nsec-fetch-site: same-origin\r\n";
    let answer = admin.send("POST", "/dashboard/sign-in", form, &format!("token={REVIEWER_TOKEN}")).await?;
    let cookie = answer.head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("set-cookie").then(|| value.split(';').next().unwrap_or_default().trim().to_owned())
    });
    cookie.map(|cookie| format!("cookie: {cookie}\r\n")).ok_or_else(|| unexpected("signing in", &answer))
}

fn print(what: &str, mut waits: Vec<Duration>) {
    let longest = waits.iter().enumerate().max_by_key(|(_, wait)| **wait).map_or(0, |(place, _)| place + 1);
    waits.sort_unstable();
    let at = |share| quantile(&waits, share).as_secs_f64() * 1000.0;
    println!(
        "{what}, {} times: p50 {:.1} ms, p95 {:.1} ms, longest {:.1} ms (number {longest}; load average {})",
        waits.len(),
        at(0.5),
        at(0.95),
        at(1.0),
        load_average()
    );
}
