//! The real binary, started on ports of its own and ended with the test.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::home::Home;
use super::http::Answer;
use super::people::{Agent, Call, Reviewer};
use super::wait::until;

/// Lines that a child has written, as they come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// Collects what `stream` says from a thread of its own.
    pub(crate) fn of(stream: impl std::io::Read + Send + 'static) -> Self {
        let lines = Self::default();
        let collected = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                collected.0.lock().expect("nobody panics with the lines").push(line);
            }
        });
        lines
    }

    /// All so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().expect("nobody panics with the lines").clone()
    }

    /// All so far as one text.
    pub(crate) fn text(&self) -> String {
        self.all().join("\n")
    }
}

/// A running gateway. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    log: Lines,
    /// Where agents reach it.
    pub(crate) proxy: SocketAddr,
    /// Where reviewers reach it.
    pub(crate) admin: SocketAddr,
}

/// The binary with arguments, in an environment of its own: nothing of the machine's reaches the test.
pub(crate) fn holdpoint(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdpoint"));
    command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// `holdpoint serve` in this home, not waited for.
pub(crate) fn serve(home: &Home) -> Command {
    home.write();
    let mut command = holdpoint(&["serve", "-c"]);
    command.arg(home.path("holdpoint.yaml")).envs(home.settings.environment.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

impl Gateway {
    /// Writes the configuration, starts and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready: shows its log.
    pub(crate) fn start(home: &Home) -> Self {
        Self::of(serve(home))
    }

    /// As [`Gateway::start`], by a command that becomes it.
    pub(crate) fn of(command: Command) -> Self {
        Self::try_start(command).unwrap_or_else(|said| panic!("the gateway ended: {said}"))
    }

    /// As [`Gateway::of`].
    ///
    /// # Errors
    /// It ended before it was ready: how, and its log.
    pub(crate) fn try_start(mut command: Command) -> Result<Self, String> {
        let mut child = command.spawn().expect("the binary can be started");
        let log = Lines::of(child.stderr.take().expect("its standard error is piped"));
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut gateway = Self { child, log, proxy: nowhere, admin: nowhere };
        gateway.proxy = gateway.bound("proxy")?;
        gateway.admin = gateway.bound("admin")?;
        let ready = Call::new(gateway.admin, "GET", "/readyz");
        until("the gateway is ready", || match ready.try_send() {
            Ok(answer) => (answer.status == 200).then_some(Ok(())),
            Err(_) => gateway.ended().map(Err),
        })?;
        Ok(gateway)
    }

    /// How it ended, and its log.
    fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().expect("a child can be waited for")?;
        Some(format!("{status}:\n{}", self.log.text()))
    }

    /// The address of a listener, from the log.
    fn bound(&mut self, surface: &str) -> Result<SocketAddr, String> {
        until(&format!("the {surface} listener is announced"), || {
            let listening = self.log.all().iter().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                let fields = line.get("fields").unwrap_or(&line);
                (fields["message"] == "listening" && fields["surface"] == surface)
                    .then(|| fields["address"].as_str()?.parse().ok())?
            });
            listening.map(Ok).or_else(|| self.ended().map(Err))
        })
    }

    /// The agent with this id.
    pub(crate) fn agent(&self, id: &str) -> Agent {
        Agent { proxy: self.proxy, id: id.to_owned() }
    }

    /// The reviewer with this id.
    pub(crate) fn reviewer(&self, id: &str) -> Reviewer {
        Reviewer { admin: self.admin, id: id.to_owned() }
    }

    /// GET on the admin listener without a credential.
    pub(crate) fn get(&self, target: &str) -> Answer {
        Call::new(self.admin, "GET", target).send()
    }

    /// Waits until so many approvals are pending; hands out their ids, oldest first.
    pub(crate) fn pending(&self, count: usize) -> Vec<String> {
        let alice = self.reviewer("alice");
        let mut approvals = until(&format!("{count} approvals are pending"), || {
            let pending = alice.pending();
            (pending.len() == count).then_some(pending)
        });
        // Ids are ordered by time.
        approvals.sort_by_key(|approval| approval["id"].to_string());
        approvals.iter().map(|approval| approval["id"].as_str().expect("an id").to_owned()).collect()
    }

    /// The one pending approval.
    pub(crate) fn one_pending(&self) -> String {
        self.pending(1).remove(0)
    }

    /// The sum over all series of a metric with these labels.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = self.get("/metrics").expect(200, "").text();
        let wanted: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let series = text.lines().filter(|line| {
            let rest = line.strip_prefix(name).unwrap_or("-");
            rest.starts_with(['{', ' ']) && wanted.iter().all(|label| rest.contains(label.as_str()))
        });
        series.map(|line| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0)).sum()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory that it holds.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a running process has a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the status names its memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kilobytes") << 10
    }

    /// Sends a signal by name, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(sent.expect("kill can be run").success(), "SIG{name} could not be sent");
    }

    /// Ends it as a crash would: nothing is flushed, nobody is told.
    pub(crate) fn crash(mut self) {
        self.child.kill().expect("a running child can be killed");
        self.child.wait().expect("a killed child can be waited for");
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        until("the gateway ends", || self.child.try_wait().expect("a child can be waited for"))
    }

    /// SIGTERM, and waits for its end.
    pub(crate) fn stop(mut self) {
        self.signal("TERM");
        let status = self.end();
        assert!(status.success(), "{status}:\n{}", self.log.text());
    }
}

impl Drop for Gateway {
    #[expect(clippy::print_stderr, reason = "a failed test shows what its gateway said")]
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- log of the gateway\n{}\n---", self.log.text());
        }
    }
}
