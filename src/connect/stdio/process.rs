//! One child process and everything it starts: begun in a group of its own, and ended with it.
//!
//! The group is signalled only while its leader has not been reaped: until then its number cannot belong to anybody else.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

/// How long a child may take to end by itself once its input is closed.
const CLOSED_GRACE: Duration = Duration::from_secs(2);
/// How long it may take after SIGTERM.
const TERMINATED_GRACE: Duration = Duration::from_secs(2);
/// How long whatever outlives the child itself has after SIGTERM.
const LEFT_BEHIND_GRACE: Duration = Duration::from_millis(100);

/// What is run.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// The file to run.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its whole environment.
    pub environment: Vec<(String, String)>,
    /// The folder it runs in.
    pub folder: PathBuf,
}

/// Values of the environment may be secrets.
impl std::fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.environment.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("CommandLine")
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .field("environment", &names)
            .field("folder", &self.folder)
            .finish()
    }
}

/// The pipes of a child.
pub(super) struct Pipes {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

/// A running child. Dropping it kills its group at once; [`Process::end`] is the gentle way.
pub(super) struct Process {
    child: Child,
    group: Pid,
    /// Some child of the gateway has ended.
    ends: Signals,
    reaped: bool,
}

impl Process {
    /// Starts a child.
    pub(super) fn start(line: &CommandLine) -> io::Result<(Self, Pipes)> {
        // Before the start, so that no end is missed.
        let ends = signal(SignalKind::child())?;
        let mut child = Command::new(&line.program)
            .args(&line.arguments)
            .env_clear()
            .envs(line.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&line.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        match (group, pipes) {
            (Some(group), (Some(stdin), Some(stdout), Some(stderr))) => {
                Ok((Self { child, group, ends, reaped: false }, Pipes { stdin, stdout, stderr }))
            }
            _ => Err(io::Error::other("the child has no pipes")),
        }
    }

    /// The child's number, for the log.
    pub(super) fn id(&self) -> i32 {
        self.group.as_raw_nonzero().get()
    }

    /// Waits until the child itself has ended. It stays unreaped.
    pub(super) async fn ended(&mut self) {
        while !self.has_ended() {
            if self.ends.recv().await.is_none() {
                return;
            }
        }
    }

    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // An error means that there is no such child, which is an end as well.
        !matches!(rustix::process::waitid(WaitId::Pid(self.group), options), Ok(None))
    }

    /// Ends the child, whose input the caller has closed: lets it end by itself, then asks it to, then kills it, and everything
    /// that it has started and left behind. Answers with its status.
    pub(super) async fn end(mut self) -> io::Result<std::process::ExitStatus> {
        let by_itself = tokio::time::timeout(CLOSED_GRACE, self.ended()).await.is_ok();
        self.signal(Signal::TERM);
        if by_itself {
            tokio::time::sleep(LEFT_BEHIND_GRACE).await;
        } else {
            _ = tokio::time::timeout(TERMINATED_GRACE, self.ended()).await;
        }
        self.signal(Signal::KILL);
        let status = self.child.wait().await;
        self.reaped = true;
        status
    }

    fn signal(&self, signal: Signal) {
        // It fails when nobody is left to be signalled.
        _ = rustix::process::kill_process_group(self.group, signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(Signal::KILL);
        }
    }
}
