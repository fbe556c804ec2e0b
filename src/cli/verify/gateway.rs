//! The scratch gateway, seen from the process that checks: a child that is started, asked over sockets, and killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use super::SCRATCH_FLAG;
use super::scratch::{Serving, Spec};
use super::wire::Request;
use crate::telemetry::stopwatch::Stopwatch;

/// How long anything may take that is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// The most lines of the log that are kept.
const LOG_LINES_MAX: usize = 100_000;

/// Looks until `look` finds something, within [`PATIENCE`].
pub(super) fn until<T>(mut look: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<Option<T>> {
    let watch = Stopwatch::start();
    loop {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        if watch.elapsed() > PATIENCE {
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

/// A running scratch gateway. Killed when dropped.
pub(super) struct Gateway {
    config: PathBuf,
    child: Child,
    /// Open for as long as the child is to live.
    _lifeline: ChildStdin,
    log: Arc<Mutex<Vec<String>>>,
    pub(super) proxy: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) revision: String,
}

impl Gateway {
    /// Starts one and waits until it is ready.
    pub(super) fn start(config: &Path, spec: &Spec) -> anyhow::Result<Self> {
        Self::start_with_log(config, spec, Arc::default())
    }

    fn start_with_log(config: &Path, spec: &Spec, log: Arc<Mutex<Vec<String>>>) -> anyhow::Result<Self> {
        let binary = std::env::current_exe().context("this program's own file")?;
        let mut child = Command::new(binary)
            .args(["verify", SCRATCH_FLAG, "--config"])
            .arg(config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("the scratch gateway cannot be started")?;
        let mut lifeline = child.stdin.take().ok_or_else(|| anyhow!("the child has no standard input"))?;
        let stdout = child.stdout.take().ok_or_else(|| anyhow!("the child has no standard output"))?;
        let stderr = child.stderr.take().ok_or_else(|| anyhow!("the child has no standard error"))?;
        let lines = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.len() < LOG_LINES_MAX {
                    lines.push(line);
                }
            }
        });
        // A child that ended at once has said why: that is told below.
        drop(lifeline.write_all(format!("{}\n", serde_json::to_string(spec)?).as_bytes()));
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("the scratch gateway")?;
        let Ok(Serving { proxy, admin, revision }) = serde_json::from_str(&line) else {
            drop(child.kill());
            drop(child.wait());
            // What it wrote may still be on its way here.
            std::thread::sleep(LOOK * 5);
            return Err(anyhow!("the scratch gateway did not start: {}", last_words(&log)));
        };
        let gateway = Self { config: config.to_owned(), child, _lifeline: lifeline, log, proxy, admin, revision };
        let ready = until(|| {
            let answer = Request::new("GET", "/readyz").send(gateway.admin);
            Ok(answer.ok().filter(|answer| answer.status == 200))
        })?;
        ready.ok_or_else(|| anyhow!("the scratch gateway is not ready: {}", last_words(&gateway.log)))?;
        Ok(gateway)
    }

    /// Ends it as a crash would (SIGKILL) and starts another on the same store.
    pub(super) fn crash_and_restart(&mut self, spec: &Spec) -> anyhow::Result<()> {
        self.child.kill().context("the scratch gateway cannot be killed")?;
        self.child.wait().context("the scratch gateway")?;
        let (config, log) = (self.config.clone(), self.log.clone());
        *self = Self::start_with_log(&config, spec, log)?;
        Ok(())
    }

    /// Everything it has logged, over all its lives.
    pub(super) fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// The end of its log, for the report of something that should not have happened.
    pub(super) fn last_words(&self) -> String {
        last_words(&self.log)
    }
}

fn last_words(log: &Mutex<Vec<String>>) -> String {
    const LINES: usize = 5;
    let lines = log.lock().unwrap_or_else(PoisonError::into_inner);
    lines[lines.len().saturating_sub(LINES)..].join(" | ")
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
