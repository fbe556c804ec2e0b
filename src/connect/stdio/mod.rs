//! MCP servers that speak over standard input and output, as upstreams: each is a program that runs as a child of the
//! gateway, and answers as a Streamable HTTP server does.
//!
//! Revisions with sessions get a child for each session (`sessions`); newer ones share one child for each upstream, with
//! ids that are exchanged on the way (`shared`). Deliberately does not judge, hold or log what is said; and resumes no
//! stream: what nobody reads is lost with the child.
//!
//! Everything that a child can make grow has a limit: its lines, what waits for whom, what it complains about, the number of
//! children. A limit that is reached costs the one who reached it.

mod answer;
mod keeper;
mod lines;
mod link;
mod mailbox;
mod matching;
mod message;
mod process;
mod program;
mod sessions;
mod shared;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use mailbox::StdioBody;
pub use process::CommandLine;
pub use program::{Program, ProgramOptions};

/// The longest message to or from a child, in bytes.
pub const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The programs of all upstreams. They outlive a reload that does not change them, and so do their sessions.
#[derive(Debug)]
pub struct Programs {
    tracker: TaskTracker,
    /// Cancelled when the gateway goes down.
    drain: CancellationToken,
    running: Mutex<BTreeMap<String, Running>>,
}

#[derive(Debug)]
struct Running {
    options: ProgramOptions,
    program: Program,
    retired: CancellationToken,
}

impl Programs {
    /// No programs yet. Children will be tasks of `tracker`, and end once `drain` is cancelled and nobody waits for them.
    pub fn new(tracker: TaskTracker, drain: CancellationToken) -> Self {
        Self { tracker, drain, running: Mutex::default() }
    }

    /// The program behind the upstream of this name: the one there is, unless its options have changed. Then its children end
    /// as soon as nobody waits for them, and a new one takes its place.
    pub fn program(&self, upstream: &str, options: &ProgramOptions) -> Program {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = running.get(upstream).filter(|known| known.options == *options) {
            return known.program.clone();
        }
        let retired = self.drain.child_token();
        let program = Program::new(upstream, options.clone(), self.tracker.clone(), retired.clone());
        let entry = Running { options: options.clone(), program: program.clone(), retired };
        if let Some(replaced) = running.insert(upstream.to_owned(), entry) {
            replaced.retired.cancel();
        }
        program
    }

    /// Ends the programs of every other upstream, as soon as nobody waits for them.
    pub fn retain(&self, upstreams: &[&str]) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|name, known| {
            let stays = upstreams.contains(&name.as_str());
            if !stays {
                known.retired.cancel();
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests;
