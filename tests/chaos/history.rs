//! What everybody did and saw, one JSON line each, in the order in which it happened.
//!
//! Clients, reviewers, the upstream and whoever kills and reads back write a file each. All of them are in this process: one counter
//! orders the lines, and no clock has to be trusted.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::mcp::call_in;

/// Who writes: each has a file of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Who {
    /// An agent's program.
    Client,
    /// Somebody who decides.
    Reviewer,
    /// The upstream.
    Spy,
    /// Whoever starts and kills the gateway, and reads back what it holds.
    Control,
}

impl Who {
    const ALL: [Who; 4] = [Who::Client, Who::Reviewer, Who::Spy, Who::Control];

    const fn file(self) -> &'static str {
        match self {
            Who::Client => "client.ndjson",
            Who::Reviewer => "reviewer.ndjson",
            Who::Spy => "spy.ndjson",
            Who::Control => "control.ndjson",
        }
    }
}

/// Where an approval and its call stand, as somebody saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// `pending`, `approved`, `rejected`, `expired`, `cancelled`.
    pub(crate) status: String,
    /// `held`, `releasing`, `succeeded`, `failed`, `unknown`, `resolved`.
    pub(crate) outcome: String,
    /// Whether a failed call may be tried again.
    pub(crate) retry: Option<bool>,
    /// What an unknown outcome was found to be.
    pub(crate) resolved: Option<String>,
}

impl State {
    /// Of an approval as either listener shows it; `None` when this is none.
    pub(crate) fn of(approval: &Value) -> Option<Self> {
        let outcome = &approval["outcome"];
        Some(Self {
            status: approval["status"].as_str()?.to_owned(),
            outcome: outcome["state"].as_str()?.to_owned(),
            retry: outcome["retry_allowed"].as_bool(),
            resolved: outcome["resolved"].as_str().map(str::to_owned),
        })
    }
}

/// An approval as reviewers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct View {
    /// Its id.
    pub(crate) id: String,
    /// Where it stands.
    pub(crate) state: State,
    /// Which call it is about.
    pub(crate) call: Identity,
    /// Who closed it: a reviewer's id, or what else it was.
    pub(crate) decided_by: Option<String>,
    /// Who approved so far.
    pub(crate) votes: Vec<String>,
    /// Who settled an unknown outcome.
    pub(crate) resolved_by: Option<String>,
    /// `attached` or `detached`.
    pub(crate) release: String,
}

/// What makes a call this one and no other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Who calls.
    pub(crate) agent: String,
    /// The tool.
    pub(crate) tool: String,
    /// The method.
    pub(crate) method: String,
    /// The path, as the upstream sees it.
    pub(crate) target: String,
    /// SHA-256 of the body, or of the arguments of an MCP call, in hexadecimal.
    pub(crate) body_sha256: String,
}

impl Identity {
    /// What arrived at the upstream, where nobody can tell whose it is, and the name that stands in its body.
    pub(crate) fn arrived(method: &str, target: &str, body: &str) -> (String, Self) {
        let said: Value = serde_json::from_str(body).unwrap_or_default();
        let (tool, arguments, bytes) = match call_in(&said) {
            Some((tool, arguments)) => (tool, arguments, arguments.to_string()),
            None => (target.split('/').nth(1).unwrap_or_default(), &said, body.to_owned()),
        };
        let call = Self {
            agent: String::new(),
            tool: tool.to_owned(),
            method: method.to_owned(),
            target: target.to_owned(),
            body_sha256: digest_of(&bytes),
        };
        (arguments["call"].as_str().unwrap_or_default().to_owned(), call)
    }
}

/// SHA-256, in hexadecimal.
pub(crate) fn digest_of(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl View {
    /// Of an approval as the API shows it to reviewers.
    pub(crate) fn of(approval: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let by = &approval["decided_by"];
        Some(Self {
            id: text(&approval["id"])?,
            state: State::of(approval)?,
            call: Identity {
                agent: text(&approval["agent"])?,
                tool: text(&approval["name"])?,
                method: text(&approval["method"])?,
                target: text(&approval["target"])?,
                body_sha256: text(&approval["payload_sha256"])?,
            },
            decided_by: text(&by["id"]).or_else(|| text(&by["kind"])),
            votes: approval["votes"].as_array()?.iter().filter_map(|vote| text(&vote["by"])).collect(),
            resolved_by: text(&approval["resolution"]["by"]),
            release: text(&approval["release"])?,
        })
    }
}

/// What happened. `sent` and `asked` name the line that the answer belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum What {
    /// A client is about to send a call. `name` is unique to the call and stands in its body; a retry has the same.
    CallSent { name: String, call: Identity, body: String, key: Option<String>, prefer: Option<String> },
    /// An answer came, whole. `source` says who made it; `echo` is the call that the upstream's answer names.
    CallAnswered {
        name: String,
        sent: u64,
        status: u16,
        code: String,
        source: String,
        approval: Option<String>,
        echo: Option<String>,
    },
    /// The connection ended without an answer.
    CallLost { name: String, sent: u64 },
    /// Somebody is about to say something about an approval: `approved`, `rejected`, `withdrawn`, `committed`, `not_committed`.
    WordSent { approval: String, word: String, by: String },
    /// An answer came. `state` is the approval as it shows it, of a refusal the standing decision.
    WordAnswered {
        approval: String,
        word: String,
        by: String,
        sent: u64,
        status: u16,
        code: String,
        state: Option<State>,
    },
    /// The connection ended without an answer.
    WordLost { approval: String, word: String, by: String, sent: u64 },
    /// Somebody looked at an approval.
    Seen { approval: String, asked: u64, state: State },
    /// The kept answer of a detached call, as its client got it.
    Replayed { approval: String, status: u16, echo: Option<String> },
    /// A call arrived at the upstream, whole.
    Hit { method: String, target: String, body: String },
    /// The gateway is about to be killed, or told to end.
    Ending { how: String },
    /// Somebody starts the gateway.
    Starting,
    /// The gateway is ready.
    Ready,
    /// Every approval that the gateway holds, read while nothing moved.
    ReadBack { approvals: Vec<View> },
    /// Somebody begins to ask for something.
    Asking,
    /// The store of the next start will fail, and may not be able to record what an upstream answers.
    StoreFails,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Its place among all lines, of every file.
    pub(crate) n: u64,
    /// Whose it is.
    pub(crate) who: Who,
    /// Milliseconds since 1970, for people.
    pub(crate) at: u64,
    /// What happened.
    #[serde(flatten)]
    pub(crate) what: What,
}

/// Where the lines go.
#[derive(Debug, Clone)]
pub(crate) struct History {
    folder: PathBuf,
    files: Arc<Mutex<Files>>,
}

/// What is done at an answer.
struct Then(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Then {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Then")
    }
}

#[derive(Debug)]
struct Files {
    next: u64,
    /// How many answers from now on something is to be done, and what.
    then: Option<(usize, Then)>,
    open: Vec<File>,
    /// How far each has been read.
    read: [u64; Who::ALL.len()],
}

impl History {
    /// In this folder.
    pub(crate) fn new(folder: &Path) -> Self {
        let open = |who: Who| {
            let file = OpenOptions::new().create(true).append(true).open(folder.join(who.file()));
            file.expect("a history can be opened")
        };
        let open = Who::ALL.into_iter().map(open).collect();
        Self {
            folder: folder.to_owned(),
            files: Arc::new(Mutex::new(Files { next: 1, then: None, open, read: [0; Who::ALL.len()] })),
        }
    }

    /// Writes a line and returns its place.
    pub(crate) fn write(&self, who: Who, what: What) -> u64 {
        let mut files = self.files.lock().expect("nobody panics with the files");
        if matches!(what, What::CallAnswered { .. } | What::WordAnswered { .. } | What::Replayed { .. }) {
            match files.then.take() {
                Some((1, Then(then))) => then(),
                Some((answers, then)) => files.then = Some((answers - 1, then)),
                None => {}
            }
        }
        let n = files.next;
        files.next += 1;
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("the clock is past 1970");
        let line = Line { n, who, at: u64::try_from(since.as_millis()).unwrap_or(u64::MAX), what };
        let mut text = serde_json::to_string(&line).expect("a line is JSON");
        text.push('\n');
        files.open[who as usize].write_all(text.as_bytes()).expect("a history can be written");
        n
    }

    /// Does something as soon as the `answers`-th answer from now on has arrived whole.
    pub(crate) fn at_answer(&self, answers: usize, then: impl FnOnce() + Send + 'static) {
        self.files.lock().expect("nobody panics with the files").then = Some((answers, Then(Box::new(then))));
    }

    /// A place of its own, for the moment before something is asked.
    pub(crate) fn mark(&self) -> u64 {
        let mut files = self.files.lock().expect("nobody panics with the files");
        files.next += 1;
        files.next - 1
    }

    /// What the four files say that was not read before, in order.
    pub(crate) fn news(&self) -> Vec<Line> {
        // Whoever writes holds the lock: no line is half there.
        let mut files = self.files.lock().expect("nobody panics with the files");
        let mut lines = Vec::new();
        for who in Who::ALL {
            let mut file = File::open(self.folder.join(who.file())).expect("a history can be read");
            let mut text = String::new();
            file.seek(SeekFrom::Start(files.read[who as usize])).expect("a file has places");
            let length = file.read_to_string(&mut text).expect("a history is text");
            files.read[who as usize] += length as u64;
            lines.extend(
                text.lines().map(|line| serde_json::from_str::<Line>(line).expect("a history is made of lines")),
            );
        }
        lines.sort_by_key(|line| line.n);
        lines
    }
}
