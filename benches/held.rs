//! What held calls cost: memory for each, CPU for keeping them all alive, and the time from a decision to the upstream.
//!
//! `cargo bench --bench held` holds 10 000 calls on event streams, each an approval of its own, and measures for 60 s; `-- --calls N`
//! changes their number. It needs as many open files and one more for each call in two processes. Without `--bench` (as `cargo test`
//! runs it) it holds a few for a moment, which shows that the measurement works.
//!
//! `-- --http` holds 15 000 calls of plain HTTP instead, and then approves them all at once.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use support::process::{Cores, Gateway, Proxy, TOKEN};
use support::released;

mod support {
    pub(crate) mod admin;
    pub(crate) mod http;
    pub(crate) mod process;
    pub(crate) mod released;
}

const CALLS: usize = 10_000;
const CALLS_OVER_HTTP: usize = 15_000;
/// Held first, so that what is needed once is not counted for each.
const CALLS_BEFORE: usize = 200;
const CALLS_WHEN_TESTED: usize = 20;
/// How many calls are on their way at once.
const OPENING_MAX: usize = 64;
/// Longer than any call is held before its stream begins.
const BEGINS_WITHIN: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["origin", address] => {
            tokio::runtime::Runtime::new().and_then(|runtime| runtime.block_on(support::released::origin(address)))
        }
        _ => measure(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nothing was measured: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &[String]) -> io::Result<()> {
    let is_benchmark = arguments.iter().any(|argument| argument == "--bench");
    let over_http = arguments.iter().any(|argument| argument == "--http");
    let calls = match arguments.iter().position(|argument| argument == "--calls") {
        Some(place) => arguments.get(place + 1).and_then(|number| number.parse().ok()).ok_or_else(|| {
            io::Error::other("`--calls` needs a number, as in `cargo bench --bench held -- --calls 5000`")
        })?,
        None if is_benchmark && over_http => CALLS_OVER_HTTP,
        None if is_benchmark => CALLS,
        None => CALLS_WHEN_TESTED,
    };
    let (before, watched) = if is_benchmark { (CALLS_BEFORE, 60) } else { (1, 1) };
    let cores = Cores::pin();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let folder = tempfile::tempdir()?;
    if over_http || !is_benchmark {
        runtime.block_on(released::measure(before, calls, folder.path(), cores.as_ref()))?;
    }
    if over_http {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    // Nothing is ever sent, so nothing needs to listen there.
    let nobody: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9));
    let gateway = Proxy::gateway(Gateway::Mcp, nobody, folder.path(), cores.as_ref())?;
    runtime.block_on(async {
        let held = Held::default();
        held.open(gateway.address, 0..before).await?;
        let base = gateway.rss_kib()?;
        held.open(gateway.address, before..before + calls).await?;
        let (rss, ticks, comments) = (gateway.rss_kib()?, gateway.cpu_ticks()?, held.comments.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_secs(watched)).await;
        let (ticks, comments) = (gateway.cpu_ticks()? - ticks, held.comments.load(Ordering::Relaxed) - comments);
        let after = gateway.rss_kib()?;
        let each = |rss: u64| rss.saturating_sub(base) as f64 / calls as f64;
        println!("{calls} held calls: {:.1} KiB of RSS each, {:.1} KiB after {watched} s", each(rss), each(after));
        // Linux counts in hundredths of a second.
        let share = ticks as f64 / watched as f64;
        println!("keeping them alive: {share:.2} % of a core, {comments} pieces received in {watched} s");
        if held.ended.load(Ordering::Relaxed) > 0 {
            return Err(io::Error::other("a held call ended while it was measured"));
        }
        Ok(())
    })
}

/// Calls that are held, each with a task that reads what comes.
#[derive(Default)]
struct Held {
    tasks: TaskTracker,
    comments: Arc<AtomicU64>,
    ended: Arc<AtomicU64>,
}

impl Held {
    async fn open(&self, address: SocketAddr, numbers: std::ops::Range<usize>) -> io::Result<()> {
        let room = Arc::new(Semaphore::new(OPENING_MAX));
        let mut opening = JoinSet::new();
        for number in numbers {
            let (room, tasks) = (room.clone(), self.tasks.clone());
            let (comments, ended) = (self.comments.clone(), self.ended.clone());
            opening.spawn(async move {
                let permit = room.acquire_owned().await.map_err(io::Error::other)?;
                let mut stream = begin(address, number).await?;
                drop(permit);
                let mut buffer = [0; 256];
                await_stream(&mut stream, &mut buffer).await?;
                tasks.spawn(async move {
                    while let Ok(1..) = stream.read(&mut buffer).await {
                        comments.fetch_add(1, Ordering::Relaxed);
                    }
                    ended.fetch_add(1, Ordering::Relaxed);
                });
                Ok::<_, io::Error>(())
            });
        }
        while let Some(opened) = opening.join_next().await {
            opened.map_err(io::Error::other)??;
        }
        Ok(())
    }
}

async fn begin(address: SocketAddr, number: usize) -> io::Result<TcpStream> {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":{number},"method":"tools/call","params":{{"name":"remove_order","arguments":{{"order":"ord_{number}","note":"{}"}}}}}}"#,
        "x".repeat(900)
    );
    let request = format!(
        "POST /mcp HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: 2025-11-25\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

/// Waits for the head of the event stream: from then on the call is held.
async fn await_stream(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    let read = tokio::time::timeout(BEGINS_WITHIN, stream.read(buffer)).await??;
    let head = String::from_utf8_lossy(&buffer[..read]);
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("not held: {head}")));
    }
    Ok(())
}
