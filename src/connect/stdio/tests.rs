//! The whole transport over a real child: `tests/mcp_children/child.py`.

mod children;
mod sessions;
mod shared;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

use super::*;
use crate::connect::{LostReason, NotSentReason, SendError};

/// Generous: only a hang reaches it.
const SOON: Duration = Duration::from_secs(20);
const BOTH: &str = "application/json, text/event-stream";
const MODERN: &str = "2026-07-28";

/// A program, the tasks of its children, and what ends them.
struct Rig {
    program: Program,
    tracker: TaskTracker,
    drain: CancellationToken,
}

fn options(environment: &[(&str, &str)]) -> ProgramOptions {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/mcp_children/child.py"].iter().collect();
    ProgramOptions {
        command: CommandLine {
            program: PathBuf::from("/usr/bin/env"),
            arguments: vec!["python3".to_owned(), "-u".to_owned(), path.display().to_string()],
            environment: environment
                .iter()
                .chain(&[("PATH", "/usr/local/bin:/usr/bin:/bin")])
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            folder: PathBuf::from(env!("CARGO_MANIFEST_DIR")),
        },
        children_max: 4,
        idle_timeout: SOON,
        line_bytes_max: LINE_BYTES_MAX,
    }
}

impl Rig {
    fn new(options: &ProgramOptions) -> Self {
        let (tracker, drain) = (TaskTracker::new(), CancellationToken::new());
        let program = Programs::new(tracker.clone(), drain.clone()).program("tools", options);
        Self { program, tracker, drain }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, SendError> {
        self.program.send(request, SOON).await.map(Answer)
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Answer {
        self.send(request).await.expect("an answer")
    }

    /// Begins a session; answers with its id.
    async fn session(&self) -> String {
        let answer = self.answer(initialize()).await;
        assert_eq!(answer.0.status(), 200);
        let id = answer.0.headers()["mcp-session-id"].to_str().expect("text").to_owned();
        let (status, _) = self
            .answer(post(&id, &json!({"jsonrpc": "2.0", "method": "notifications/initialized"})))
            .await
            .json()
            .await;
        assert_eq!(status, 202);
        id
    }

    /// The text that a tool answers with.
    async fn call(&self, session: &str, tool: &str) -> String {
        self.answer(post(session, &call(1, tool))).await.text().await
    }

    /// Ends every child, within bounds.
    async fn end(self) {
        self.drain.cancel();
        self.tracker.close();
        tokio::time::timeout(SOON, self.tracker.wait()).await.expect("every child ends");
    }
}

/// An answer, and ways to look at it.
struct Answer(Response<StdioBody>);

impl Answer {
    fn status(&self) -> StatusCode {
        self.0.status()
    }

    fn kind(&self) -> &str {
        self.0.headers().get("content-type").map_or("", |value| value.to_str().expect("text"))
    }

    async fn bytes(self) -> Bytes {
        tokio::time::timeout(SOON, self.0.into_body().collect()).await.expect("in time").expect("whole").to_bytes()
    }

    async fn json(self) -> (u16, Value) {
        let status = self.status().as_u16();
        let bytes = self.bytes().await;
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn text(self) -> String {
        let (status, value) = self.json().await;
        let text = value["result"]["content"][0]["text"].as_str();
        text.unwrap_or_else(|| panic!("{status}: {value}")).to_owned()
    }

    /// The messages of a stream that ends.
    async fn events(self) -> Vec<Value> {
        assert_eq!(self.kind(), "text/event-stream");
        let bytes = self.bytes().await;
        let text = std::str::from_utf8(&bytes).expect("UTF-8");
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The next message of a stream.
    async fn event(&mut self) -> Value {
        loop {
            let frame = tokio::time::timeout(SOON, self.0.body_mut().frame()).await.expect("in time");
            let data = frame.expect("more to come").expect("whole").into_data().expect("data");
            let text = std::str::from_utf8(&data).expect("UTF-8");
            if let Some(line) = text.lines().find_map(|line| line.strip_prefix("data: ")) {
                return serde_json::from_str(line).expect("JSON");
            }
        }
    }
}

fn request(method: Method, headers: &[(&str, &str)], body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri("http://localhost/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::from(body.to_owned())).expect("a good request")
}

fn initialize() -> Request<Full<Bytes>> {
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let message = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    request(Method::POST, &[("accept", BOTH)], &message.to_string())
}

fn post(session: &str, message: &Value) -> Request<Full<Bytes>> {
    request(Method::POST, &[("accept", BOTH), ("mcp-session-id", session)], &message.to_string())
}

fn get(session: &str) -> Request<Full<Bytes>> {
    request(Method::GET, &[("accept", "text/event-stream"), ("mcp-session-id", session)], "")
}

fn call(id: impl Into<Value>, tool: &str) -> Value {
    let id: Value = id.into();
    let meta = json!({"progressToken": format!("token of {id}")});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": {}, "_meta": meta}})
}

/// A message of a revision without sessions.
fn modern(message: &Value) -> Request<Full<Bytes>> {
    let mut message = message.clone();
    message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = MODERN.into();
    request(Method::POST, &[("accept", BOTH), ("mcp-protocol-version", MODERN)], &message.to_string())
}

fn lost(result: Result<Answer, SendError>) -> LostReason {
    match result {
        Err(SendError::Lost(failure)) => failure.reason(),
        Err(error) => panic!("{error:?}"),
        Ok(answer) => panic!("{:?}", answer.0),
    }
}

fn not_sent(result: Result<Answer, SendError>) -> NotSentReason {
    match result {
        Err(SendError::NotSent(failure)) => failure.reason(),
        Err(error) => panic!("{error:?}"),
        Ok(answer) => panic!("{:?}", answer.0),
    }
}

/// Waits until `holds`, within bounds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + SOON;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a process runs; one that is dead and unreaped does not.
fn runs(pid: &str) -> bool {
    let status = std::fs::File::open(format!("/proc/{pid}/stat")).and_then(std::io::read_to_string);
    status.is_ok_and(|status| !status.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}
