//! Callers that speak MCP over raw HTTP, and a gateway in front of an MCP server.

use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::gateway::Gateway;
use super::home::Home;
use super::http::{Answer, Wire};
use super::mcp_origin::McpOrigin;
use super::people::{Agent, Call, Reviewer, Waiting};
use super::rig::{gate_delete, repository};
use super::wait::{SOON, until};

/// What most clients accept.
pub(crate) const BOTH: &str = "application/json, text/event-stream";

/// A client in a session of its own, or in none.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    agent: Agent,
    revision: &'static str,
    session: Option<String>,
    accept: &'static str,
}

impl Client {
    /// Of revision 2025-11-25, in the session `s-1`.
    pub(crate) fn new(agent: Agent) -> Self {
        Self { agent, revision: "2025-11-25", session: Some("s-1".to_owned()), accept: BOTH }
    }

    /// Of revision 2026-07-28, which has no sessions.
    pub(crate) fn stateless(self) -> Self {
        Self { revision: "2026-07-28", session: None, ..self }
    }

    /// Of another revision.
    pub(crate) fn revision(self, revision: &'static str) -> Self {
        Self { revision, ..self }
    }

    /// In another session.
    pub(crate) fn session(self, session: &str) -> Self {
        Self { session: Some(session.to_owned()), ..self }
    }

    /// One that does not read event streams.
    pub(crate) fn without_streams(self) -> Self {
        Self { accept: "application/json", ..self }
    }

    /// A POST of this text.
    pub(crate) fn post(&self, text: &str) -> Call {
        let call = self.agent.call("POST", "/mcp").header("content-type", "application/json");
        let call = call.header("accept", self.accept).header("mcp-protocol-version", self.revision);
        match &self.session {
            Some(session) => call.header("mcp-session-id", session).body(text),
            None => call.body(text),
        }
    }

    /// A request.
    pub(crate) fn request(&self, id: &Value, method: &str, params: &Value) -> Call {
        let mut params = params.clone();
        if self.revision != "2026-07-28" {
            return self.post(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string());
        }
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = self.revision.into();
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        let call = self.post(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string());
        let call = call.header("mcp-method", method);
        match params["name"].as_str() {
            Some(name) => call.header("mcp-name", name),
            None => call,
        }
    }

    /// A `tools/call`.
    pub(crate) fn tool(&self, id: &Value, name: &str, arguments: &Value) -> Call {
        self.request(id, "tools/call", &json!({ "name": name, "arguments": arguments }))
    }

    /// The gated call of the tests.
    pub(crate) fn delete(&self, id: &Value) -> Call {
        self.tool(id, "delete_repo", &repository())
    }

    /// The gated call, with a progress token.
    pub(crate) fn delete_with_token(&self, id: &Value, token: &Value) -> Call {
        let meta = json!({ "progressToken": token });
        self.request(id, "tools/call", &json!({ "name": "delete_repo", "arguments": repository(), "_meta": meta }))
    }

    /// Takes a request back.
    pub(crate) fn cancel(&self, id: &Value) -> Call {
        let params = json!({ "requestId": id, "reason": "the user changed their mind" });
        self.post(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }).to_string())
    }
}

/// An event, or a comment, and when it came.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// As it came, with the empty line.
    pub(crate) raw: String,
    /// When its end came.
    pub(crate) at: Instant,
}

impl Event {
    /// The message in it; `null` when there is none.
    pub(crate) fn json(&self) -> Value {
        let lines: Vec<&str> = self.raw.lines().filter_map(|line| line.strip_prefix("data:")).collect();
        serde_json::from_str(&lines.join("\n")).unwrap_or(Value::Null)
    }

    /// Whether it says anything: comments do not, nor does an event that is there for its id alone.
    pub(crate) fn is_message(&self) -> bool {
        self.raw.lines().any(|line| line.strip_prefix("data:").is_some_and(|data| !data.trim().is_empty()))
    }

    /// Its id.
    pub(crate) fn id(&self) -> Option<&str> {
        self.raw.lines().find_map(|line| line.strip_prefix("id: "))
    }
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// As it should.
    Whole,
    /// The connection broke.
    Broken,
}

/// An event stream that is being read.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Status and headers.
    pub(crate) head: Answer,
    /// When the request was sent.
    pub(crate) sent_at: Instant,
    connection: TcpStream,
    events: Receiver<Result<Event, End>>,
}

impl Stream {
    /// Sends a call whose answer is to be an event stream, and waits for its head.
    ///
    /// # Panics
    /// When the answer is anything else.
    #[track_caller]
    pub(crate) fn open(gateway: &Gateway, call: &Call) -> Self {
        let mut wire = Wire::connect(gateway.proxy);
        let sent_at = Instant::now();
        wire.send(&call.bytes());
        let head = wire.head().expect("the head of an answer");
        let kind = head.header("content-type").unwrap_or_default();
        assert_eq!((head.status, kind), (200, "text/event-stream"), "{head:?}");
        let connection = wire.closer();
        let (sender, events) = channel();
        std::thread::spawn(move || {
            let mut buffer = String::new();
            let end = loop {
                match wire.chunk() {
                    Ok(Some(chunk)) => buffer.push_str(&String::from_utf8_lossy(&chunk)),
                    Ok(None) => break End::Whole,
                    Err(_) => break End::Broken,
                }
                while let Some(end) = buffer.find("\n\n") {
                    let rest = buffer.split_off(end + 2);
                    let raw = std::mem::replace(&mut buffer, rest);
                    drop(sender.send(Ok(Event { raw, at: Instant::now() })));
                }
            };
            drop(sender.send(Err(end)));
        });
        Self { head, sent_at, connection, events }
    }

    /// The next event or comment.
    ///
    /// # Panics
    /// When the stream ends, or nothing comes for so long.
    #[track_caller]
    pub(crate) fn next_within(&self, bound: Duration) -> Event {
        match self.events.recv_timeout(bound) {
            Ok(Ok(event)) => event,
            Ok(Err(end)) => panic!("the stream ended: {end:?}"),
            Err(error) => panic!("no event within {bound:?}: {error}"),
        }
    }

    /// The next message; what says nothing is passed over.
    #[track_caller]
    pub(crate) fn message(&self) -> Value {
        loop {
            let event = self.next_within(SOON);
            if event.is_message() {
                return event.json();
            }
        }
    }

    /// All messages up to the end, and how it ended.
    #[track_caller]
    pub(crate) fn rest(&self) -> (Vec<Value>, End) {
        let (events, end) = self.rest_raw();
        (events.iter().filter(|event| event.is_message()).map(Event::json).collect(), end)
    }

    /// All events up to the end, and how it ended.
    #[track_caller]
    pub(crate) fn rest_raw(&self) -> (Vec<Event>, End) {
        let mut events = Vec::new();
        loop {
            match self.events.recv_timeout(SOON) {
                Ok(Ok(event)) => events.push(event),
                Ok(Err(end)) => return (events, end),
                Err(error) => panic!("the stream does not end: {error}; so far: {events:?}"),
            }
        }
    }

    /// Whether a message has come, or the stream has ended, since the last look.
    pub(crate) fn is_silent_for(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Ok(event)) if !event.is_message() => {}
                Ok(_) | Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => return true,
            }
        }
    }

    /// Closes the connection.
    pub(crate) fn close(self) {
        drop(self.connection.shutdown(Shutdown::Both));
    }
}

/// The one result in a stream that has ended as it should, and asserts its JSON-RPC id.
#[track_caller]
pub(crate) fn only_answer(stream: &Stream, id: &Value) -> Value {
    let (messages, end) = stream.rest();
    assert_eq!(end, End::Whole);
    let answers: Vec<&Value> = messages.iter().filter(|message| message.get("method").is_none()).collect();
    assert_eq!(answers.len(), 1, "exactly one response: {messages:?}");
    assert_eq!(&answers[0]["id"], id);
    answers[0].clone()
}

/// Asserts that a message is a result of the gateway's own about a call, and hands out its text.
#[track_caller]
pub(crate) fn told(message: &Value, status: &str, executed: Option<bool>, retryable: bool) -> String {
    let result = &message["result"];
    let about = &result["_meta"]["dev.holdpoint/decision"];
    assert_eq!(about["status"], status, "{message}");
    assert_eq!((about.get("executed").and_then(Value::as_bool), &about["retryable"]), (executed, &json!(retryable)));
    assert_eq!((&result["isError"], result.get("structuredContent")), (&json!(true), None), "{message}");
    assert_eq!(result["content"].as_array().map(Vec::len), Some(1), "{message}");
    result["content"][0]["text"].as_str().expect("text for the model").to_owned()
}

/// The approval that a result of the gateway's own names.
#[track_caller]
pub(crate) fn approval_in(message: &Value) -> String {
    let id = &message["result"]["_meta"]["dev.holdpoint/decision"]["approvalId"];
    id.as_str().unwrap_or_else(|| panic!("no approval is named: {message}")).to_owned()
}

/// The MCP server, the folder and the running gateway. The gateway ends first.
#[derive(Debug)]
pub(crate) struct McpRig {
    /// The running gateway.
    pub(crate) gateway: Gateway,
    /// Its folder.
    pub(crate) home: Home,
    /// What it forwards to.
    pub(crate) origin: McpOrigin,
}

impl McpRig {
    /// With the rig's policy.
    pub(crate) fn start() -> Self {
        Self::with(|home| home)
    }

    /// With a policy whose one rule parks `delete_repo` under these approval settings.
    pub(crate) fn parking(settings: &str) -> Self {
        Self::with(|home| home.policy(&gate_delete(settings)))
    }

    /// With whatever `adapt` makes of the home.
    pub(crate) fn with(adapt: impl FnOnce(Home) -> Home) -> Self {
        let origin = McpOrigin::start();
        let home = adapt(Home::mcp(origin.address));
        let gateway = Gateway::start(&home);
        Self { gateway, home, origin }
    }

    /// Kills the gateway and starts it again in the same folder.
    pub(crate) fn crash_and_start(self) -> Self {
        let Self { gateway, home, origin } = self;
        gateway.crash();
        Self { gateway: Gateway::start(&home), home, origin }
    }

    /// A client of the agent `bot`.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.gateway.agent("bot"))
    }

    /// The reviewer `alice`.
    pub(crate) fn alice(&self) -> Reviewer {
        self.gateway.reviewer("alice")
    }

    /// Sends a call whose answer is to be an event stream.
    #[track_caller]
    pub(crate) fn open(&self, call: &Call) -> Stream {
        Stream::open(&self.gateway, call)
    }

    /// A gated call that waits on a stream, and its approval.
    #[track_caller]
    pub(crate) fn hold(&self, call: &Call) -> (Stream, String) {
        let stream = self.open(call);
        let id = stream.head.approval();
        (stream, id)
    }

    /// A gated call that waits for a JSON answer, and its approval.
    pub(crate) fn hold_plainly(&self, call: &Call) -> (Waiting, String) {
        let waiting = call.start();
        (waiting, self.gateway.one_pending())
    }

    /// How often the gated tool ran.
    pub(crate) fn deletions(&self) -> usize {
        self.origin.calls("delete_repo").len()
    }

    /// Asserts that no request has reached the upstream.
    #[track_caller]
    pub(crate) fn nothing_was_sent(&self) {
        let hits = self.origin.hits();
        assert!(hits.is_empty(), "something was sent: {hits:?}");
    }

    /// Waits until the approval is in this state.
    pub(crate) fn until_status(&self, id: &str, status: &str) -> Value {
        let alice = self.alice();
        until(&format!("{id} is {status}"), || {
            let approval = alice.approval(id);
            (approval["status"] == status).then_some(approval)
        })
    }

    /// Waits until the approval's call stands there.
    pub(crate) fn until_outcome(&self, id: &str, state: &str) -> Value {
        let alice = self.alice();
        until(&format!("{id} is {state}"), || {
            let approval = alice.approval(id);
            (approval["outcome"]["state"] == state).then_some(approval)
        })
    }

    /// Waits until so many wait for the approval.
    pub(crate) fn until_waiting(&self, id: &str, count: u64) {
        let alice = self.alice();
        until(&format!("{count} wait"), || (alice.approval(id)["caller"]["waiting"] == count).then_some(()));
    }
}
