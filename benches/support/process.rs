//! Child processes, and what they cost.

use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// The agent's token in the gateway's configuration.
pub(crate) const TOKEN: &str = "bench-agent-token-that-protects-nothing";
/// The reviewer's, likewise.
pub(crate) const REVIEWER_TOKEN: &str = "bench-reviewer-token-that-protects-nothing";
/// How often a child is asked whether it serves, and the pause in between: 20 s in all.
const READY_TRIES: u32 = 400;
const READY_PAUSE: Duration = Duration::from_millis(50);

/// A core for the proxies and one for everything else, so that neither takes the other's caches and time: the figures then
/// differ less from one run to the next.
#[derive(Debug, Clone)]
pub(crate) struct Cores {
    proxies: String,
    load: String,
}

impl Cores {
    /// Moves this process to a core of its own, if there are two; says so when it cannot.
    pub(crate) fn pin() -> Option<Self> {
        match Self::choose().map(|cores| cores.move_here().map(|()| cores)) {
            Some(Ok(cores)) => return Some(cores),
            Some(Err(error)) => eprintln!("proxies and load share all cores: {error}"),
            None => eprintln!("proxies and load share one core"),
        }
        None
    }

    /// The first two cores that this process may use; `None` when there are not two.
    fn choose() -> Option<Self> {
        let status = read(Path::new("/proc/self/status")).ok()?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        let mut cores = list.trim().split(',').flat_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let bounds = first.parse::<u32>().ok().zip(last.parse::<u32>().ok());
            bounds.map(|(first, last)| first..=last).into_iter().flatten()
        });
        Some(Self { proxies: cores.next()?.to_string(), load: cores.next()?.to_string() })
    }

    /// Moves this process, with every thread that it starts from now on, to the core of the load.
    fn move_here(&self) -> io::Result<()> {
        let id = std::process::id().to_string();
        let status = Command::new("taskset").args(["-acp", &self.load, &id]).stdout(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("`taskset` ended with {status}"))) }
    }

    /// `command` on the core of the proxies, in a process with the same id as its own would have.
    fn run(&self, command: &Command) -> Command {
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", &self.proxies]).arg(command.get_program()).args(command.get_args());
        pinned
    }
}

/// What kind of upstream the gateway stands before.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "each benchmark starts one kind")]
pub(crate) enum Gateway {
    /// Plain HTTP, with tools by name.
    Http,
    /// An MCP server.
    Mcp,
    /// Both.
    Both,
}

impl Gateway {
    fn upstream_and_route(self, origin: SocketAddr) -> String {
        let http = format!(
            "  payments:
    url: http://{origin}
    tools:
      - {{ call: \"POST /refunds\", tool: payments.refund }}
      - {{ call: \"POST /payouts\", tool: payments.payout }}
      - {{ call: \"POST /accounts/delete\", tool: payments.delete_account }}
      - {{ call: \"POST /reminders\", tool: payments.reminder }}
"
        );
        let mcp = format!("  tools: {{ url: \"http://{origin}/mcp\", protocol: mcp }}\n");
        let (http_route, mcp_route) = ("{ path: /, upstream: payments }", "{ path: /mcp, upstream: tools }");
        let (upstreams, routes) = match self {
            Gateway::Http => (http, http_route.to_owned()),
            Gateway::Mcp => (mcp, mcp_route.to_owned()),
            Gateway::Both => (http + &mcp, format!("{http_route}, {mcp_route}")),
        };
        format!("upstreams:\n{upstreams}routes: [ {routes} ]\nlimits: {{ pending_per_agent_max: 100000 }}\n")
    }
}

/// A proxy in a process of its own; ends when dropped.
pub(crate) struct Proxy {
    #[allow(dead_code, reason = "not every benchmark calls")]
    pub(crate) address: SocketAddr,
    /// Where the gateway is asked by reviewers; the floor has no such place and names its own.
    #[allow(dead_code, reason = "not every benchmark reviews")]
    pub(crate) admin: SocketAddr,
    child: Child,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    /// Starts this very program as the floor before `origin`.
    #[allow(dead_code, reason = "not every benchmark compares")]
    pub(crate) fn floor(origin: SocketAddr, cores: Option<&Cores>) -> io::Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["floor", &address.to_string(), &origin.to_string()]);
        Self::start(command, address, address, cores)
    }

    /// Starts this very program as the server behind the gateway, with everything else that makes load.
    #[allow(dead_code, reason = "not every benchmark has one in a process of its own")]
    pub(crate) fn origin() -> io::Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["origin", &address.to_string()]);
        Self::start(command, address, address, None)
    }

    /// Starts the gateway before `origin`, with its files in `folder` (its store is [`STORE`] there) and a policy by name.
    pub(crate) fn gateway(kind: Gateway, origin: SocketAddr, folder: &Path, cores: Option<&Cores>) -> io::Result<Self> {
        let (address, admin) = (free_address()?, free_address()?);
        write(&folder.join("policy.yaml"), POLICY)?;
        let digest = |token: &str| {
            Sha256::digest(token).iter().fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").expect("writing to a String cannot fail");
                text
            })
        };
        let (agent, reviewer) = (digest(TOKEN), digest(REVIEWER_TOKEN));
        let folder_path = folder.display();
        let config = format!(
            "version: 1
proxy: {{ listen: \"{address}\" }}
admin: {{ listen: \"{admin}\" }}
store: sqlite://{folder_path}/{STORE}
policies: [ policy.yaml ]
agents: [ {{ id: bench, token_sha256: \"{agent}\" }} ]
reviewers: [ {{ id: alice, groups: [ finance ], token_sha256: \"{reviewer}\" }} ]
{}",
            kind.upstream_and_route(origin)
        );
        let path = folder.join("holdpoint.yaml");
        write(&path, &config)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdpoint"));
        command.arg("serve").arg("-c").arg(path);
        Self::start(command, address, admin, cores)
    }

    fn start(command: Command, address: SocketAddr, admin: SocketAddr, cores: Option<&Cores>) -> io::Result<Self> {
        let mut command = match cores {
            Some(cores) => cores.run(&command),
            None => command,
        };
        // One worker each, as in the figures that the ratio is compared with.
        command.env("TOKIO_WORKER_THREADS", "1").stdin(Stdio::null()).stdout(Stdio::null());
        let mut proxy = Self { address, admin, child: command.spawn()? };
        for _ in 0..READY_TRIES {
            if TcpStream::connect(address).is_ok() {
                return Ok(proxy);
            }
            if let Some(status) = proxy.child.try_wait()? {
                return Err(io::Error::other(format!("{command:?} ended with {status}")));
            }
            thread::sleep(READY_PAUSE);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("{command:?} does not listen on {address}")))
    }

    /// What the process has in memory, in KiB.
    #[allow(dead_code, reason = "one benchmark of several asks")]
    pub(crate) fn rss_kib(&self) -> io::Result<u64> {
        let status = read(Path::new(&format!("/proc/{}/status", self.child.id())))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        rss.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/PID/status has no VmRSS"))
    }

    /// How many descriptors the process has open.
    #[allow(dead_code, reason = "one benchmark of several asks")]
    pub(crate) fn descriptors(&self) -> io::Result<usize> {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).map(Iterator::count)
    }

    /// CPU time of the process so far, user and system, in clock ticks (10 ms).
    #[allow(dead_code, reason = "not every benchmark asks")]
    pub(crate) fn cpu_ticks(&self) -> io::Result<u64> {
        let stat = read(Path::new(&format!("/proc/{}/stat", self.child.id())))?;
        // The second field is the program's name in parentheses and may contain anything.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let mut times = fields.split_whitespace().skip(11).map_while(|field| field.parse::<u64>().ok());
        match (times.next(), times.next()) {
            (Some(user), Some(system)) => Ok(user + system),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("/proc/PID/stat reads {stat}"))),
        }
    }
}

/// How busy the machine is, for the reader of the figures.
#[allow(dead_code, reason = "not every benchmark says")]
pub(crate) fn load_average() -> String {
    let text = read(Path::new("/proc/loadavg")).unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

/// The gateway's store in its folder.
pub(crate) const STORE: &str = "holdpoint.db";

/// Rules by name, of which one allows the call.
const POLICY: &str = include_str!("policy.yaml");

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

#[expect(clippy::disallowed_methods, reason = "a measurement lays out its own files")]
fn write(path: &Path, text: &str) -> io::Result<()> {
    std::fs::write(path, text)
}

#[expect(clippy::disallowed_methods, reason = "the kernel's figures are files")]
fn read(path: &Path) -> io::Result<String> {
    std::fs::read_to_string(path)
}
