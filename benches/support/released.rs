//! What held calls of plain HTTP cost, and how soon each is sent when all are approved at once.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::admin::{Admin, PAGE_MAX, quantile, unexpected};
use super::http::{Message, Messages};
use super::process::{Cores, Gateway, Proxy, TOKEN, load_average};

/// How many calls are on their way at once while they are opened.
const OPENING_MAX: usize = 64;
/// Longer than any wait that is worth a figure.
const PATIENCE: Duration = Duration::from_secs(300);
/// Memory that was needed for opening alone is given back by then.
const SETTLING: Duration = Duration::from_secs(10);

/// A call that was held and sent.
struct Sent {
    approval: String,
    /// When the upstream had the first byte of it, by the wall clock.
    arrived: Duration,
}

/// Holds `before` calls and then `calls` more, says what each of these costs, approves all at once, and says how long each then took
/// to its upstream.
pub(crate) async fn measure(before: usize, calls: usize, folder: &Path, cores: Option<&Cores>) -> io::Result<()> {
    let origin = Proxy::origin()?;
    let gateway = Proxy::gateway(Gateway::Http, origin.address, folder, cores)?;
    let mut admin = Admin::connect(gateway.admin).await?;
    let mut callers = JoinSet::new();
    open(gateway.address, 0..before, &mut callers).await?;
    await_pending(&mut admin, before).await?;
    let base = gateway.rss_kib()?;
    open(gateway.address, before..before + calls, &mut callers).await?;
    await_pending(&mut admin, before + calls).await?;
    let rss = gateway.rss_kib()?;
    tokio::time::sleep(SETTLING).await;
    let settled = gateway.rss_kib()?;
    // The gateway has ended the one that was idle meanwhile.
    let mut admin = Admin::connect(gateway.admin).await?;
    let each = |rss: u64| rss.saturating_sub(base) as f64 / calls as f64;
    println!(
        "{calls} held calls with a body of {BODY_BYTES} bytes: {:.1} KiB of RSS each, {:.1} KiB after {} s (load average {})",
        each(rss),
        each(settled),
        SETTLING.as_secs(),
        load_average()
    );
    let ids: Vec<String> =
        admin.all("status=pending").await?.iter().filter_map(|one| one["id"].as_str().map(str::to_owned)).collect();
    let (began, clock) = (Instant::now(), wall_clock());
    let deciders = approve(gateway.admin, ids).await?;
    let decided_in = began.elapsed();
    let mut sent = Vec::new();
    while let Some(answered) = callers.join_next().await {
        sent.push(answered.map_err(io::Error::other)??);
    }
    println!(
        "approved over {deciders} connections in {:.2} s, the last answer there after {:.2} s",
        decided_in.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    let asked = sent.iter().map(|sent| sent.arrived.saturating_sub(clock)).collect();
    print("asked for the first decision -> first byte at the upstream", asked);
    let mut admin = Admin::connect(gateway.admin).await?;
    print("decision made -> first byte at the upstream", since_decisions(&mut admin, &sent).await?);
    println!(
        "descriptors of the gateway in the end: {}, RSS {} MiB",
        gateway.descriptors()?,
        gateway.rss_kib()? / 1024
    );
    Ok(())
}

/// How long after its decision each call was at its upstream. The clock of both is this machine's; the gateway tells milliseconds.
async fn since_decisions(admin: &mut Admin, sent: &[Sent]) -> io::Result<Vec<Duration>> {
    let mut decided = std::collections::HashMap::new();
    for approval in admin.all("status=approved").await? {
        let at = approval["decided_at"].as_str().and_then(|at| chrono::DateTime::parse_from_rfc3339(at).ok());
        if let (Some(id), Some(at)) = (approval["id"].as_str(), at) {
            decided.insert(id.to_owned(), Duration::from_millis(at.timestamp_millis().unsigned_abs()));
        }
    }
    let waits = sent.iter().map(|sent| {
        let at = decided.get(&sent.approval);
        let at = at.ok_or_else(|| io::Error::other(format!("{} was sent and is not approved", sent.approval)))?;
        Ok(sent.arrived.saturating_sub(*at))
    });
    waits.collect()
}

/// Approves all of them, each connection as many as one request may name, all requests at once. How many there were.
async fn approve(address: SocketAddr, ids: Vec<String>) -> io::Result<usize> {
    let mut deciders = JoinSet::new();
    for ids in ids.chunks(PAGE_MAX) {
        let mut admin = Admin::connect(address).await?;
        let body = serde_json::json!({"ids": ids, "decision": "approved"}).to_string();
        let wanted = ids.len();
        deciders.spawn(async move {
            let results = admin.expect("POST", "/v1/approvals/bulk-decide", &body).await?;
            match results.matches(r#""result":"decided""#).count() {
                decided if decided == wanted => Ok(()),
                decided => Err(io::Error::other(format!("{decided} of {wanted} were decided: {results}"))),
            }
        });
    }
    let count = deciders.len();
    while let Some(decided) = deciders.join_next().await {
        decided.map_err(io::Error::other)??;
    }
    Ok(count)
}

async fn await_pending(admin: &mut Admin, wanted: usize) -> io::Result<()> {
    let began = Instant::now();
    while admin.pending().await? < wanted as u64 {
        if began.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("fewer than {wanted} calls are held")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Sends the numbered calls, each on a connection of its own by a task that then waits for the answer.
async fn open(
    address: SocketAddr,
    numbers: std::ops::Range<usize>,
    callers: &mut JoinSet<io::Result<Sent>>,
) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(OPENING_MAX));
    for number in numbers {
        let permit = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
        callers.spawn(async move {
            let mut messages = Messages::small(TcpStream::connect(address).await?);
            messages.stream.write_all(request(address, number).as_bytes()).await?;
            drop(permit);
            let answer = messages.message().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            sent(&answer).ok_or_else(|| unexpected("a held call", &answer))
        });
    }
    Ok(())
}

const BODY_BYTES: usize = 1024;

fn request(address: SocketAddr, number: usize) -> String {
    let mut body = format!(r#"{{"order":"ord_{number}","note":""#);
    body.extend(std::iter::repeat_n('x', BODY_BYTES - 2 - body.len()));
    body.push_str("\"}");
    format!(
        "POST /payouts HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
         content-length: {BODY_BYTES}\r\n\r\n{body}"
    )
}

/// What an answer to a held call says, if it is one of the upstream's.
fn sent(answer: &Message) -> Option<Sent> {
    let approval = answer.head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("holdpoint-approval").then(|| value.trim().to_owned())
    })?;
    let arrived = answer.body.trim().parse().ok()?;
    Some(Sent { approval, arrived: Duration::from_micros(arrived) })
}

/// The server behind the gateway: answers each request with the moment when its first byte was there.
pub(crate) async fn origin(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let tasks = TaskTracker::new();
    loop {
        let mut messages = Messages::small(listener.accept().await?.0);
        tasks.spawn(async move {
            // A connection that ends is no news.
            while let Ok(()) = messages.stream.readable().await {
                let arrived = wall_clock().as_micros().to_string();
                let Ok(Some(_)) = messages.message().await else { return };
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n", arrived.len());
                if messages.stream.write_all((head + &arrived).as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

fn wall_clock() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().expect("the clock is past 1970")
}

fn print(what: &str, mut waits: Vec<Duration>) {
    waits.sort_unstable();
    let at = |share| quantile(&waits, share).as_secs_f64() * 1000.0;
    println!(
        "{what}, {} calls: p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms (load average {})",
        waits.len(),
        at(0.5),
        at(0.99),
        at(1.0),
        load_average()
    );
}
