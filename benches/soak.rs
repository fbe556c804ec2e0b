//! A mixed load for a long time: whether memory and descriptors stay where they are.
//!
//! `cargo bench --bench soak` runs for 30 minutes, `-- --minutes N` for another time; it fails when memory grows by more than 1 MiB a
//! minute or descriptors grow, after a warm-up of a fifth of the time. Without `--bench` (as `cargo test` runs it) it ends when every
//! kind of call was made a few times, which shows that the load works.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use support::admin::{Admin, unexpected};
use support::http::{Messages, origin};
use support::process::{Cores, Gateway, Proxy, TOKEN, load_average};

mod support {
    pub(crate) mod admin;
    pub(crate) mod http;
    pub(crate) mod process;
}

const MINUTES: u64 = 30;
const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// How much of the run is not judged: caches fill, and the allocator learns its sizes.
const WARM_UP_SHARE: u32 = 5;
const RSS_MIB_PER_MINUTE_MAX: f64 = 1.0;
/// Held calls come and go, and each has a descriptor; so many more may be there at the quietest moment of the end.
const DESCRIPTORS_MORE_MAX: usize = 4;
/// Longer than any call of the load takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often each kind is made when only the load itself is tried.
const CALLS_WHEN_TESTED: u64 = 3;

/// The answer to every call, whether it is asked in JSON-RPC (always with this id) or not.
const ANSWER: &str =
    r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"it is done"}],"isError":false}}"#;

/// What the load is made of, and how often each of its callers calls.
const LOAD: [(Kind, u64, Duration); 6] = [
    (Kind::Allowed, 4, Duration::from_millis(20)),
    (Kind::Blocked, 1, Duration::from_millis(100)),
    (Kind::Approved, 4, Duration::from_millis(500)),
    (Kind::Left, 2, Duration::from_millis(500)),
    (Kind::McpAllowed, 2, Duration::from_millis(50)),
    (Kind::McpApproved, 1, Duration::from_millis(500)),
];
/// How often the reviewer looks at the queue.
const REVIEW_EVERY: Duration = Duration::from_millis(250);
/// How long a caller stays that then leaves.
const LEAVES_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
enum Kind {
    Allowed,
    Blocked,
    /// Parked, and approved by the reviewer.
    Approved,
    /// Parked, and left by its caller; it expires.
    Left,
    McpAllowed,
    McpApproved,
}

/// One look at the gateway.
struct Sample {
    at: Duration,
    rss_kib: u64,
    descriptors: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the soak failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> io::Result<()> {
    let minutes =
        match arguments.iter().position(|argument| argument == "--minutes") {
            Some(place) => {
                let number = arguments.get(place + 1).and_then(|number| number.parse().ok());
                Some(number.filter(|minutes| (2..=1440).contains(minutes)).ok_or_else(|| {
                    io::Error::other("`--minutes` needs a number from 2 to 1440, as in `just soak 10`")
                })?)
            }
            None => arguments.iter().any(|argument| argument == "--bench").then_some(MINUTES),
        };
    let cores = Cores::pin();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let folder = tempfile::tempdir()?;
    let gateway = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(origin(listener, ANSWER, Arc::default()));
        Proxy::gateway(Gateway::Both, address, folder.path(), cores.as_ref())
    })?;
    let counts: Arc<[AtomicU64; LOAD.len()]> = Arc::default();
    let samples = runtime.block_on(async {
        let mut load = start_load(&gateway, &counts);
        // Neither the load nor the reviewer ends but with an error.
        tokio::select! {
            Some(ended) = load.join_next() => match ended.map_err(io::Error::other)? {
                Ok(never) => match never {},
                Err(error) => Err(error),
            },
            samples = watch(&gateway, &counts, minutes) => samples,
        }
    })?;
    for ((kind, ..), count) in LOAD.iter().zip(counts.iter()) {
        println!("{kind:?}: {}", count.load(Ordering::Relaxed));
    }
    match minutes {
        Some(minutes) => judge(&samples, Duration::from_secs(minutes * 60) / WARM_UP_SHARE),
        None => Ok(()),
    }
}

/// Samples until the time is over; when there is none, until every kind of call was made.
async fn watch(gateway: &Proxy, counts: &[AtomicU64; LOAD.len()], minutes: Option<u64>) -> io::Result<Vec<Sample>> {
    let (began, mut samples) = (Instant::now(), Vec::new());
    let (every, until) = match minutes {
        Some(minutes) => (SAMPLE_EVERY, Duration::from_secs(minutes * 60)),
        None => (Duration::from_millis(100), PATIENCE),
    };
    let mut ticks = interval(every);
    loop {
        ticks.tick().await;
        let sample = Sample { at: began.elapsed(), rss_kib: gateway.rss_kib()?, descriptors: gateway.descriptors()? };
        if minutes.is_some() && samples.len() % 12 == 0 {
            let (at, rss) = (sample.at.as_secs(), sample.rss_kib as f64 / 1024.0);
            println!("{at} s: {rss:.1} MiB, {} descriptors (load average {})", sample.descriptors, load_average());
        }
        let is_over = sample.at >= until;
        samples.push(sample);
        let seen = counts.iter().all(|count| count.load(Ordering::Relaxed) >= CALLS_WHEN_TESTED);
        match (minutes, is_over, seen) {
            (None, _, true) | (Some(_), true, true) => return Ok(samples),
            (_, true, false) => return Err(io::Error::other(format!("some kind of call was hardly made: {counts:?}"))),
            (None, false, false) | (Some(_), false, _) => {}
        }
    }
}

fn judge(samples: &[Sample], warm_up: Duration) -> io::Result<()> {
    let judged: Vec<&Sample> = samples.iter().filter(|sample| sample.at >= warm_up).collect();
    let slope = slope_per_minute(&judged);
    let third = judged.len() / 3;
    let least = |part: &[&Sample]| part.iter().map(|sample| sample.descriptors).min().unwrap_or_default();
    let (first, last) = (least(&judged[..third]), least(&judged[judged.len() - third..]));
    println!(
        "after a warm-up of {} s, {} samples: {slope:+.3} MiB a minute; at least {first} descriptors in the first third and {last} in \
         the last (load average {})",
        warm_up.as_secs(),
        judged.len(),
        load_average()
    );
    if slope > RSS_MIB_PER_MINUTE_MAX {
        return Err(io::Error::other(format!("memory grows by more than {RSS_MIB_PER_MINUTE_MAX} MiB a minute")));
    }
    if last > first + DESCRIPTORS_MORE_MAX {
        return Err(io::Error::other("descriptors grow"));
    }
    Ok(())
}

/// The slope of the line that fits memory over time with the least squares, in MiB a minute.
fn slope_per_minute(samples: &[&Sample]) -> f64 {
    let points: Vec<(f64, f64)> =
        samples.iter().map(|sample| (sample.at.as_secs_f64() / 60.0, sample.rss_kib as f64 / 1024.0)).collect();
    let count = points.len() as f64;
    let (mean_x, mean_y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let (above, below) = points
        .iter()
        .fold((0.0, 0.0), |(above, below), (x, y)| (above + (x - mean_x) * (y - mean_y), below + (x - mean_x).powi(2)));
    above / below
}

fn start_load(gateway: &Proxy, counts: &Arc<[AtomicU64; LOAD.len()]>) -> JoinSet<io::Result<std::convert::Infallible>> {
    let mut load = JoinSet::new();
    for (place, (kind, callers, every)) in LOAD.into_iter().enumerate() {
        for caller in 0..callers {
            let (counts, address) = (Arc::clone(counts), gateway.address);
            load.spawn(async move {
                let mut caller = Caller { address, name: caller, calls: 0, kept: None };
                let mut ticks = paced(every);
                loop {
                    ticks.tick().await;
                    let called = timeout(PATIENCE, caller.call(kind)).await;
                    called.map_err(|_| io::Error::other(format!("{kind:?}: no answer in time")))??;
                    counts[place].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    }
    load.spawn(review(gateway.admin));
    load
}

fn paced(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Approves whatever is pending, but for what is left to expire.
async fn review(address: SocketAddr) -> io::Result<std::convert::Infallible> {
    let mut admin = Admin::connect(address).await?;
    let mut ticks = paced(REVIEW_EVERY);
    loop {
        ticks.tick().await;
        for rule in ["payout", "remove"] {
            let found = admin.expect("GET", &format!("/v1/approvals?status=pending&rule={rule}"), "").await?;
            let found: serde_json::Value = serde_json::from_str(&found).map_err(io::Error::other)?;
            let ids: Vec<&str> =
                found["approvals"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str()).collect();
            if !ids.is_empty() {
                let body = serde_json::json!({"ids": ids, "decision": "approved", "reason": "as it is every time"});
                admin.expect("POST", "/v1/approvals/bulk-decide", &body.to_string()).await?;
            }
        }
    }
}

/// One that calls, again and again.
struct Caller {
    address: SocketAddr,
    name: u64,
    calls: u64,
    /// The connection that calls share whose answer comes at once.
    kept: Option<Messages>,
}

impl Caller {
    async fn call(&mut self, kind: Kind) -> io::Result<()> {
        self.calls += 1;
        match kind {
            Kind::Allowed => self.on_kept_connection("/refunds", &self.body(), "200").await,
            Kind::Blocked => self.on_kept_connection("/accounts/delete", &self.body(), "403").await,
            Kind::McpAllowed => self.on_kept_connection("/mcp", &self.tool_call("search_orders"), "200").await,
            Kind::Approved => {
                let mut messages = Messages::small(self.send("/payouts", &self.body()).await?);
                let answer = messages.message().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
                if answer.head.starts_with("HTTP/1.1 200 ") { Ok(()) } else { Err(unexpected("a payout", &answer)) }
            }
            Kind::Left => {
                let mut stream = self.send("/reminders", &self.body()).await?;
                match timeout(LEAVES_AFTER, stream.read_u8()).await {
                    Ok(_) => Err(io::Error::other("a reminder was answered, and nobody decided")),
                    Err(_) => Ok(()),
                }
            }
            Kind::McpApproved => {
                let stream = self.send("/mcp", &self.tool_call("remove_order")).await?;
                await_result(stream).await
            }
        }
    }

    async fn on_kept_connection(&mut self, path: &str, body: &str, status: &str) -> io::Result<()> {
        let request = self.request(path, body);
        let mut messages = match self.kept.take() {
            Some(messages) => messages,
            None => Messages::new(TcpStream::connect(self.address).await?)?,
        };
        messages.stream.write_all(request.as_bytes()).await?;
        let answer = messages.message().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if !answer.head.starts_with(&format!("HTTP/1.1 {status} ")) {
            return Err(unexpected(path, &answer));
        }
        self.kept = Some(messages);
        Ok(())
    }

    async fn send(&self, path: &str, body: &str) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(self.request(path, body).as_bytes()).await?;
        Ok(stream)
    }

    fn request(&self, path: &str, body: &str) -> String {
        format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\nmcp-protocol-version: 2025-11-25\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
    }

    /// Like no other, so that each call is an approval of its own.
    fn body(&self) -> String {
        let note = "x".repeat(900);
        format!(r#"{{"order":"ord_{}_{}","amount_usd":12,"note":"{note}"}}"#, self.name, self.calls)
    }

    fn tool_call(&self, tool: &str) -> String {
        let arguments = self.body();
        format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
        )
    }
}

/// Reads, plain or as an event stream, until the tool's answer is there.
async fn await_result(mut stream: TcpStream) -> io::Result<()> {
    let mut text = Vec::new();
    while memchr::memmem::find(&text, b"it is done").is_none() {
        if stream.read_buf(&mut text).await? == 0 {
            let text = String::from_utf8_lossy(&text);
            return Err(io::Error::other(format!("a held call of a tool ended without its answer: {text}")));
        }
    }
    Ok(())
}
