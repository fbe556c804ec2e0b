//! The scratch upstreams: each stands where a configured upstream would, does nothing, and remembers every request that arrives.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::wire::{Reader, SILENCE_MAX};

/// What a scratch upstream answers with, so that an answer can be told from one of the gateway's own.
pub(super) const ANSWERED: &str = "answered by the scratch upstream";

/// A request that arrived.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    /// The configured name of the upstream that it arrived at.
    pub(super) upstream: String,
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

#[derive(Debug, Default)]
struct Seen {
    arrivals: Mutex<Vec<Arrival>>,
    /// Requests are taken and never answered.
    silent: AtomicBool,
}

/// One scratch upstream for each that is configured. Each listens until the process ends.
#[derive(Debug)]
pub(super) struct Recorder {
    seen: Arc<Seen>,
    addresses: BTreeMap<String, SocketAddr>,
}

impl Recorder {
    /// Starts one for each upstream: its name, and whether it is spoken to as an MCP server.
    pub(super) fn start(upstreams: impl Iterator<Item = (String, bool)>) -> io::Result<Self> {
        let seen = Arc::new(Seen::default());
        let mut addresses = BTreeMap::new();
        for (name, mcp) in upstreams {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            addresses.insert(name.clone(), listener.local_addr()?);
            let seen = seen.clone();
            std::thread::Builder::new().name(format!("scratch {name}")).spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (seen, name) = (seen.clone(), name.clone());
                    // A thread that cannot be started leaves the connection unanswered, which the check then reports.
                    drop(std::thread::Builder::new().spawn(move || serve(stream, &seen, &name, mcp)));
                }
            })?;
        }
        Ok(Self { seen, addresses })
    }

    pub(super) fn addresses(&self) -> &BTreeMap<String, SocketAddr> {
        &self.addresses
    }

    /// Takes requests and answers none, or answers again.
    pub(super) fn keep_silent(&self, silent: bool) {
        self.seen.silent.store(silent, Ordering::SeqCst);
    }

    /// How many calls have arrived.
    pub(super) fn count(&self) -> usize {
        lock(&self.seen).len()
    }

    /// The calls that arrived after the first `count`.
    pub(super) fn since(&self, count: usize) -> Vec<Arrival> {
        lock(&self.seen).iter().skip(count).cloned().collect()
    }
}

fn lock(seen: &Seen) -> MutexGuard<'_, Vec<Arrival>> {
    // A list that was pushed to is whole whatever its thread did next.
    seen.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: TcpStream, seen: &Seen, upstream: &str, mcp: bool) {
    let Ok(mut writer) = stream.try_clone() else { return };
    if stream.set_read_timeout(Some(SILENCE_MAX)).is_err() {
        return;
    }
    let mut reader = Reader::new(stream);
    while let Ok((start, headers)) = reader.head() {
        let Ok(body) = reader.body(&headers) else { return };
        let mut words = start.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let body = body.unwrap_or_default();
        let message: Value = if mcp { serde_json::from_slice(&body).unwrap_or_default() } else { Value::Null };
        // What is no call passes an MCP gateway by design; only calls are counted.
        if !mcp || message["method"] == "tools/call" {
            lock(seen).push(Arrival {
                upstream: upstream.to_owned(),
                method: method.to_owned(),
                target: target.to_owned(),
                headers,
                body,
            });
            if seen.silent.load(Ordering::SeqCst) {
                // Until the other side is gone.
                drop(reader.head());
                return;
            }
        }
        let answer = if mcp { mcp_answer(method, &message) } else { plain_answer(method) };
        if writer.write_all(&answer).is_err() {
            return;
        }
    }
}

fn plain_answer(method: &str) -> Vec<u8> {
    let body = json!({ "scratch": ANSWERED }).to_string();
    let shown = if method == "HEAD" { "" } else { body.as_str() };
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{shown}").into_bytes()
}

fn mcp_answer(method: &str, message: &Value) -> Vec<u8> {
    if method != "POST" {
        return b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n".to_vec();
    }
    if message.get("id").is_none() {
        return b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_vec();
    }
    let result = match message["method"].as_str().unwrap_or_default() {
        "initialize" => json!({
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "scratch", "version": "1" },
        }),
        "tools/list" => json!({ "tools": [] }),
        _ => json!({ "content": [{ "type": "text", "text": ANSWERED }] }),
    };
    let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string();
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}
