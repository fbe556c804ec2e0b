//! What an allowed call costs: CPU per request of the gateway against the barest proxy of the same parts, in one run.
//!
//! `cargo bench --bench proxy` takes eleven pairs, the order alternating, and prints the ratio; `-- --requests N` changes how
//! many requests each figure rests on. Where there are two cores and `taskset`, both proxies run on one and the load on the
//! other. Only the ratio counts: absolute figures drift with the machine. Without `--bench` (as `cargo test` runs it) it
//! compares the floor with itself over a few requests, which shows that the measurement works.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use support::floor;
use support::http::{load, origin};
use support::process::{Cores, Proxy, TOKEN};

mod support {
    pub(crate) mod floor;
    pub(crate) mod http;
    pub(crate) mod process;
}

const PAIRS: usize = 11;
const CONNECTIONS: u64 = 64;
const REQUESTS: u64 = 50_000;
/// Enough to show that requests go through, too few to say what they cost.
const REQUESTS_WHEN_TESTED: u64 = 256;
const BODY: &str = r#"{"amount_usd":142.50,"currency":"USD","customer":"cus_8fK2mN4pQ7","order":"ord_20261122_0042","reason":"The item arrived damaged and the customer has sent pictures of it","notify":true,"idempotency":"b0b4a1f2-6f0e-4f5b-9a53-0d8a7a2f6c11","lines":[{"sku":"A-1","quantity":2},{"sku":"B-77","quantity":1}]}"#;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["floor", listen, origin] => run_floor(listen, origin),
        arguments => compare(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nothing was measured: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_floor(listen: &str, origin: &str) -> io::Result<()> {
    let origin: SocketAddr = origin.parse().map_err(io::Error::other)?;
    Runtime::new()?.block_on(async { floor::serve(TcpListener::bind(listen).await?, origin).await })
}

fn compare(arguments: &[&str]) -> io::Result<()> {
    let is_benchmark = arguments.contains(&"--bench");
    let requests = match arguments.iter().position(|argument| *argument == "--requests") {
        Some(place) => arguments.get(place + 1).and_then(|number| number.parse().ok()).ok_or_else(|| {
            io::Error::other("`--requests` needs a number, as in `cargo bench --bench proxy -- --requests 100000`")
        })?,
        None if is_benchmark => REQUESTS,
        None => REQUESTS_WHEN_TESTED,
    };
    let cores = pinned();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let served = Arc::new(AtomicU64::new(0));
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let origin_address = listener.local_addr()?;
    runtime.spawn(origin(listener, served.clone()));
    let folder = tempfile::tempdir()?;
    let cores = cores.as_ref();
    let floor = Proxy::floor(origin_address, cores)?;
    let other = match is_benchmark {
        true => Proxy::gateway(origin_address, folder.path(), cores)?,
        false => Proxy::floor(origin_address, cores)?,
    };
    let bench = Bench { runtime, served, requests };
    for proxy in [&floor, &other] {
        bench.measure(proxy)?;
    }
    let name = if is_benchmark { "gateway" } else { "the same again" };
    let mut ratios = Vec::new();
    for pair in 1..=PAIRS {
        // In turn first and second: whatever warms up or wears off in a pair then favours neither.
        let (below, above) = match pair % 2 {
            1 => (bench.measure(&floor)?, bench.measure(&other)?),
            _ => {
                let above = bench.measure(&other)?;
                (bench.measure(&floor)?, above)
            }
        };
        let ratio = above / below;
        println!("pair {pair}: floor {below:.2} us, {name} {above:.2} us of CPU a request, ratio {ratio:.3}");
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!("{name} / floor: min {:.3}, median {:.3}, max {:.3}", ratios[0], ratios[PAIRS / 2], ratios[PAIRS - 1]);
    Ok(())
}

/// Moves this process to a core of its own, if there are two; says so when it cannot.
fn pinned() -> Option<Cores> {
    let moved = Cores::choose().map(|cores| cores.move_here().map(|()| cores));
    match moved {
        Some(Ok(cores)) => return Some(cores),
        Some(Err(error)) => eprintln!("proxies and load share all cores: {error}"),
        None => eprintln!("proxies and load share one core"),
    }
    None
}

struct Bench {
    runtime: Runtime,
    served: Arc<AtomicU64>,
    requests: u64,
}

impl Bench {
    /// Microseconds of CPU that `proxy` took for each of the requests, every one of which reached the origin.
    fn measure(&self, proxy: &Proxy) -> io::Result<f64> {
        let request = format!(
            "POST /refunds HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
            proxy.address,
            BODY.len()
        );
        let (served, ticks) = (self.served.load(Ordering::Relaxed), proxy.cpu_ticks()?);
        self.runtime.block_on(load(proxy.address, request.into_bytes().into(), CONNECTIONS, self.requests))?;
        let (served, ticks) = (self.served.load(Ordering::Relaxed) - served, proxy.cpu_ticks()? - ticks);
        if served != self.requests {
            return Err(io::Error::other(format!("{} requests were sent, {served} reached the origin", self.requests)));
        }
        // Linux counts in hundredths of a second; at least one, so that a short run has a ratio at all.
        Ok(ticks.max(1) as f64 * 10_000.0 / self.requests as f64)
    }
}
