//! Upstreams in other languages, with other parsers than ours: each writes down the raw bytes it got and what it made of them.

use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::go;
use crate::support::gateway::Lines;
use crate::support::wait::until;

/// Which language reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// The standard library's HTTP server.
    Python,
    /// Node's HTTP server.
    Node,
    /// The HTTP server of Go's standard library.
    Go,
}

impl Language {
    /// Every one of them.
    pub(crate) const ALL: [Language; 3] = [Language::Python, Language::Node, Language::Go];
}

/// What a spy wrote about one connection's request.
#[derive(Debug, Clone)]
pub(crate) struct Sighting {
    /// Every byte that came before the spy took the request for complete.
    pub(crate) raw: Vec<u8>,
    /// What it parsed: `method`, `target`, `path`, `headers`, `body` and `names`.
    pub(crate) parsed: Value,
}

impl Sighting {
    /// Path and query as they arrived.
    pub(crate) fn target(&self) -> &str {
        self.parsed["target"].as_str().unwrap_or_default()
    }

    /// Whether some tool server would run `tool`: by the path, loosely read, or by any name that the body could be read to say.
    pub(crate) fn acts_on(&self, tool: &str) -> bool {
        let path = self.parsed["path"].as_str().unwrap_or_default().to_lowercase();
        let by_path = path.split(['/', '\\', ';']).any(|segment| segment.trim() == tool);
        let names = self.parsed["names"].as_array();
        by_path || names.is_some_and(|names| names.iter().any(|name| name == tool))
    }

    /// The values of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let headers = self.parsed["headers"].as_array().map_or(&[][..], Vec::as_slice);
        headers.iter().filter(|pair| pair[0] == name).filter_map(|pair| pair[1].as_str()).collect()
    }
}

/// A running spy. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Spy {
    child: Child,
    lines: Lines,
    /// Which language reads.
    pub(crate) language: Language,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Spy {
    /// Starts it on a free port.
    pub(crate) fn start(language: Language) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spies");
        let (program, script) = match language {
            Language::Python => (Path::new("python3"), Some("spy.py")),
            Language::Node => (Path::new("node"), Some("spy.mjs")),
            Language::Go => (go::built("spies/spy.go"), None),
        };
        let mut child = Command::new(program)
            .args(script.map(|script| folder.join(script)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run scripts/install-test-tools.sh", program.display()));
        let stdout: Box<dyn Read + Send> = Box::new(child.stdout.take().expect("its standard output is piped"));
        let lines = Lines::of(stdout);
        let port = until("the spy announces its port", || {
            let first: Value = serde_json::from_str(lines.all().first()?).ok()?;
            first["port"].as_u64().and_then(|port| u16::try_from(port).ok())
        });
        Self { child, lines, language, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    /// What it has seen so far, but for so many that came first.
    pub(crate) fn sightings_after(&self, count: usize) -> Vec<Sighting> {
        let read = |line: &String| {
            let mut parsed: Value = serde_json::from_str(line).expect("a spy writes JSON");
            let raw = parsed["raw"].take();
            let raw = STANDARD.decode(raw.as_str().expect("raw bytes")).expect("raw bytes are base64");
            Sighting { raw, parsed }
        };
        self.lines.all().iter().skip(1 + count).map(read).collect()
    }
}

impl Drop for Spy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
