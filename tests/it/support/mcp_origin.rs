//! An MCP server that remembers what it was asked to do, and answers calls the way the test says.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::origin::{Hit, read_request};
use super::wait::SOON;

/// What a `tools/call` is answered with. In all texts `{id}` and `{token}` stand for the request's own.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A result, as `application/json`.
    Json,
    /// This text, as `application/json`.
    Text(String),
    /// An event stream.
    Stream(Vec<Piece>),
    /// A whole answer, head and all.
    Raw(String),
    /// Closes the connection when the request was read.
    Close,
}

/// A piece of an event stream.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    /// One event with this data.
    Data(String),
    /// The result as an event.
    Result,
    /// These bytes.
    Bytes(String),
    /// Nothing more until [`McpOrigin::go_on`].
    Wait,
    /// Events without end.
    Flood,
    /// The connection breaks.
    Cut,
}

/// A result that the server gives, with the call's id in it.
pub(crate) const RESULT: &str = r#"{"jsonrpc":"2.0","id":{id},"result":{"content":[{"type":"text","text":"done"}],"structuredContent":{"digits":1.000}}}"#;

#[derive(Debug)]
struct Shared {
    hits: Mutex<Vec<Hit>>,
    reply: Mutex<Reply>,
    released: Mutex<bool>,
    released_changed: Condvar,
    deaf: AtomicBool,
    closes: AtomicBool,
    over: AtomicBool,
}

/// The server. Stops listening when dropped.
#[derive(Debug)]
pub(crate) struct McpOrigin {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl McpOrigin {
    /// Listens on a free port.
    pub(crate) fn start() -> Self {
        Self::serve(TcpListener::bind(("127.0.0.1", 0)).expect("a free port"))
    }

    /// Listens on this socket.
    pub(crate) fn serve(listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            hits: Mutex::default(),
            reply: Mutex::new(Reply::Json),
            released: Mutex::new(false),
            released_changed: Condvar::new(),
            deaf: AtomicBool::new(false),
            closes: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let of_listener = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if of_listener.over.load(Ordering::SeqCst) {
                    return;
                }
                if of_listener.deaf.load(Ordering::SeqCst) {
                    drop(stream.shutdown(Shutdown::Both));
                    continue;
                }
                let shared = of_listener.clone();
                std::thread::spawn(move || connection(stream, &shared));
            }
        });
        Self { address, shared }
    }

    /// From now on answers calls like this.
    pub(crate) fn reply(&self, reply: Reply) {
        *self.shared.reply.lock().expect("nobody panics with the reply") = reply;
    }

    /// From now on closes each connection before anything is read from it, or no longer does.
    pub(crate) fn close_unread(&self, deaf: bool) {
        self.shared.deaf.store(deaf, Ordering::SeqCst);
    }

    /// From now on closes each connection after its first answer, or no longer does.
    pub(crate) fn close_after_answer(&self, closes: bool) {
        self.shared.closes.store(closes, Ordering::SeqCst);
    }

    /// Lets the streams go on that wait.
    pub(crate) fn go_on(&self) {
        *self.shared.released.lock().expect("nobody panics with the flag") = true;
        self.shared.released_changed.notify_all();
    }

    /// Every request so far.
    pub(crate) fn hits(&self) -> Vec<Hit> {
        self.shared.hits.lock().expect("nobody panics with the hits").clone()
    }

    /// The messages with this method so far.
    pub(crate) fn messages(&self, method: &str) -> Vec<Hit> {
        self.hits().into_iter().filter(|hit| hit.json()["method"] == method).collect()
    }

    /// The calls of this tool so far.
    pub(crate) fn calls(&self, tool: &str) -> Vec<Hit> {
        self.messages("tools/call").into_iter().filter(|hit| hit.json()["params"]["name"] == tool).collect()
    }
}

impl Drop for McpOrigin {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.go_on();
        // Wakes the listener, which then ends.
        drop(TcpStream::connect_timeout(&self.address, Duration::from_secs(1)));
    }
}

/// An answer with a length.
fn whole(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn json_answer(headers: &str, body: &str) -> Vec<u8> {
    whole("200 OK", &format!("content-type: application/json\r\n{headers}"), body)
}

/// `template` about the request that it answers.
fn filled(template: &str, request: &Value) -> String {
    let token = &request["params"]["_meta"]["progressToken"];
    template.replace("{id}", &request["id"].to_string()).replace("{token}", &token.to_string())
}

fn connection(mut stream: TcpStream, shared: &Shared) {
    let mut buffer = Vec::new();
    while let Some(hit) = read_request(&mut stream, &mut buffer) {
        shared.hits.lock().expect("nobody panics with the hits").push(hit.clone());
        if answer(&mut stream, &hit, shared).is_none() || shared.closes.load(Ordering::SeqCst) {
            drop(stream.shutdown(Shutdown::Both));
            return;
        }
    }
}

/// Answers; `None` when the connection ends with it.
fn answer(stream: &mut TcpStream, hit: &Hit, shared: &Shared) -> Option<()> {
    let request = hit.json();
    let own = |result: Value| json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }).to_string();
    let bytes = match (hit.method.as_str(), request["method"].as_str()) {
        ("GET", _) if hit.target.starts_with("/.well-known/") => {
            json_answer("", &json!({ "document": hit.target }).to_string())
        }
        ("GET", _) => {
            let event = "id: 9\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n";
            whole("200 OK", "content-type: text/event-stream\r\n", event)
        }
        ("DELETE", _) => whole("204 No Content", "", ""),
        (_, Some("initialize")) => {
            let capabilities = json!({ "tools": { "listChanged": true } });
            let info = json!({ "name": "origin", "version": "1" });
            let result = json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": info });
            json_answer("mcp-session-id: s-1\r\n", &own(result))
        }
        (_, Some("tools/list")) => {
            let tool = |name: &str| {
                let annotations = json!({ "readOnlyHint": name.starts_with("safe_") });
                json!({ "name": name, "inputSchema": { "type": "object" }, "annotations": annotations })
            };
            json_answer("", &own(json!({ "tools": [tool("safe_read"), tool("delete_repo")] })))
        }
        (_, Some("tools/call")) => return call(stream, &request, shared),
        _ if request.get("id").is_none() || request.get("method").is_none() => whole("202 Accepted", "", ""),
        _ => json_answer("", &own(json!({}))),
    };
    stream.write_all(&bytes).ok()
}

fn call(stream: &mut TcpStream, request: &Value, shared: &Shared) -> Option<()> {
    let reply = shared.reply.lock().expect("nobody panics with the reply").clone();
    match reply {
        Reply::Json => stream.write_all(&json_answer("", &filled(RESULT, request))).ok(),
        Reply::Text(text) => stream.write_all(&json_answer("", &filled(&text, request))).ok(),
        Reply::Raw(text) => stream.write_all(filled(&text, request).as_bytes()).ok(),
        Reply::Close => None,
        Reply::Stream(pieces) => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).ok()?;
            for piece in pieces {
                write_piece(stream, &piece, request, shared)?;
            }
            stream.write_all(b"0\r\n\r\n").ok()
        }
    }
}

fn write_piece(stream: &mut TcpStream, piece: &Piece, request: &Value, shared: &Shared) -> Option<()> {
    let mut chunk = |text: &str| {
        let text = filled(text, request);
        stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).ok()
    };
    match piece {
        Piece::Data(data) => chunk(&format!("data: {data}\n\n")),
        Piece::Result => chunk(&format!("data: {RESULT}\n\n")),
        Piece::Bytes(text) => chunk(text),
        Piece::Wait => {
            let released = shared.released.lock().expect("nobody panics with the flag");
            let waited = shared.released_changed.wait_timeout_while(released, SOON * 2, |released| !*released);
            drop(waited.expect("nobody panics with the flag"));
            Some(())
        }
        Piece::Flood => loop {
            let event = format!(
                "data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\",\"params\":{{\"x\":\"{}\"}}}}\n\n",
                "x".repeat(32 << 10)
            );
            chunk(&event)?;
        },
        Piece::Cut => None,
    }
}
