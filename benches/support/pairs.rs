//! Pairs of measurements: the floor and the gateway in turn, and the ratio of what they cost.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::floor;
use super::http::{load, origin};
use super::process::{Cores, Gateway, Proxy, TOKEN};

const PAIRS: usize = 11;
const CONNECTIONS: u64 = 64;
const REQUESTS: u64 = 50_000;
/// Enough to show that requests go through, too few to say what they cost.
const REQUESTS_WHEN_TESTED: u64 = 256;

/// What is sent, and to which gateway.
pub(crate) struct Workload {
    /// The gateway that is compared with the floor.
    pub(crate) gateway: Gateway,
    /// The path of each request.
    pub(crate) path: &'static str,
    /// Header lines beside the usual ones, each with its line end.
    pub(crate) headers: &'static str,
    /// The body of each request.
    pub(crate) body: &'static str,
    /// The body of each answer.
    pub(crate) answer: &'static str,
}

/// Runs the benchmark that the arguments of the program ask for.
pub(crate) fn run(workload: &Workload) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["floor", listen, origin] => run_floor(listen, origin),
        arguments => compare(workload, arguments),
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

fn compare(workload: &Workload, arguments: &[&str]) -> io::Result<()> {
    let is_benchmark = arguments.contains(&"--bench");
    let requests = match arguments.iter().position(|argument| *argument == "--requests") {
        Some(place) => arguments.get(place + 1).and_then(|number| number.parse().ok()).ok_or_else(|| {
            io::Error::other("`--requests` needs a number, as in `cargo bench --bench proxy -- --requests 100000`")
        })?,
        None if is_benchmark => REQUESTS,
        None => REQUESTS_WHEN_TESTED,
    };
    let cores = Cores::pin();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let served = Arc::new(AtomicU64::new(0));
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let origin_address = listener.local_addr()?;
    runtime.spawn(origin(listener, workload.answer, served.clone()));
    let folder = tempfile::tempdir()?;
    let cores = cores.as_ref();
    let floor = Proxy::floor(origin_address, cores)?;
    let other = match is_benchmark {
        true => Proxy::gateway(workload.gateway, origin_address, folder.path(), cores)?,
        false => Proxy::floor(origin_address, cores)?,
    };
    // A load that sleeps has to be woken by whoever it waits for: the slower of two proxies would then pay for being slower once
    // more. Where it has a core of its own, it never does.
    if cores.is_some() {
        runtime.spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        });
    }
    let bench = Bench { runtime, served, requests, workload };
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

struct Bench<'w> {
    runtime: Runtime,
    served: Arc<AtomicU64>,
    requests: u64,
    workload: &'w Workload,
}

impl Bench<'_> {
    /// Microseconds of CPU that `proxy` took for each of the requests, every one of which reached the origin.
    fn measure(&self, proxy: &Proxy) -> io::Result<f64> {
        let request = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n{}content-length: {}\r\n\r\n{}",
            self.workload.path,
            proxy.address,
            self.workload.headers,
            self.workload.body.len(),
            self.workload.body
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
