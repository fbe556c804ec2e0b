//! An upstream that remembers every request and does what the test says.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::wait::SOON;

/// What an upstream does with a request that it has read.
#[derive(Debug, Clone)]
pub(crate) enum Manner {
    /// Answers 200 with a number that counts the requests.
    Count,
    /// Sends these bytes.
    Bytes(Vec<u8>),
    /// Sends these bytes and closes.
    BytesAndClose(Vec<u8>),
    /// Closes without an answer.
    Close,
    /// Answers as [`Manner::Count`] once [`Origin::go_on`] is called.
    Wait,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Hit {
    /// The method.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// The headers, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, without chunk framing.
    pub(crate) body: Vec<u8>,
}

impl Hit {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

#[derive(Debug)]
struct Shared {
    hits: Mutex<Vec<Hit>>,
    manner: Mutex<Manner>,
    released: Mutex<bool>,
    released_changed: Condvar,
    over: AtomicBool,
}

/// An address where connections are refused, and that nobody else can take meanwhile.
#[derive(Debug)]
pub(crate) struct Nowhere {
    socket: Socket,
    /// The address.
    pub(crate) address: SocketAddr,
}

impl Nowhere {
    /// On a free port.
    pub(crate) fn reserve() -> Self {
        Self::at(([127, 0, 0, 1], 0).into())
    }

    /// On this port, which connections of before may still linger on.
    pub(crate) fn at(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        if address.port() != 0 {
            socket.set_reuse_address(true).expect("an option of every socket");
        }
        // Bound and not listening: the kernel refuses connections and gives the port to nobody.
        socket.bind(&address.into()).expect("a free port");
        let address =
            socket.local_addr().ok().and_then(|address| address.as_socket()).expect("a bound socket has an address");
        Self { socket, address }
    }

    /// From now on, an upstream is there.
    pub(crate) fn listen(self) -> Origin {
        Origin::serve(self.into_listener())
    }

    /// From now on connections are accepted, by whoever takes them from here.
    pub(crate) fn into_listener(self) -> TcpListener {
        self.socket.listen(128).expect("a bound socket can listen");
        self.socket.into()
    }
}

/// The upstream. Stops listening when dropped.
#[derive(Debug)]
pub(crate) struct Origin {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Origin {
    /// Listens on a free port.
    pub(crate) fn start() -> Self {
        Self::serve(TcpListener::bind(("127.0.0.1", 0)).expect("a free port"))
    }

    fn serve(listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            hits: Mutex::default(),
            manner: Mutex::new(Manner::Count),
            released: Mutex::new(false),
            released_changed: Condvar::new(),
            over: AtomicBool::new(false),
        });
        let of_listener = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if of_listener.over.load(Ordering::SeqCst) {
                    return;
                }
                let shared = of_listener.clone();
                std::thread::spawn(move || connection(stream, &shared));
            }
        });
        Self { address, shared }
    }

    /// From now on, does this with each request.
    pub(crate) fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().expect("nobody panics with the manner") = manner;
    }

    /// Lets the requests go on that [`Manner::Wait`] stopped, and all later ones.
    pub(crate) fn go_on(&self) {
        *self.shared.released.lock().expect("nobody panics with the flag") = true;
        self.shared.released_changed.notify_all();
    }

    /// Every request so far.
    pub(crate) fn hits(&self) -> Vec<Hit> {
        self.shared.hits.lock().expect("nobody panics with the hits").clone()
    }

    /// How many requests for this target there were so far.
    pub(crate) fn count(&self, target: &str) -> usize {
        self.hits().iter().filter(|hit| hit.target == target).count()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.go_on();
        // Wakes the listener, which then ends.
        drop(TcpStream::connect_timeout(&self.address, Duration::from_secs(1)));
    }
}

fn connection(mut stream: TcpStream, shared: &Shared) {
    let mut buffer = Vec::new();
    while let Some(hit) = read_request(&mut stream, &mut buffer) {
        let number = {
            let mut hits = shared.hits.lock().expect("nobody panics with the hits");
            hits.push(hit);
            hits.len()
        };
        let manner = shared.manner.lock().expect("nobody panics with the manner").clone();
        let counted = || {
            let body = format!("{{\"hit\":{number}}}");
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        };
        let (bytes, close) = match manner {
            Manner::Count => (counted().into_bytes(), false),
            Manner::Bytes(bytes) => (bytes, false),
            Manner::BytesAndClose(bytes) => (bytes, true),
            Manner::Close => (Vec::new(), true),
            Manner::Wait => {
                let released = shared.released.lock().expect("nobody panics with the flag");
                let waited = shared.released_changed.wait_timeout_while(released, SOON, |released| !*released);
                drop(waited.expect("nobody panics with the flag"));
                (counted().into_bytes(), false)
            }
        };
        if stream.write_all(&bytes).is_err() || close {
            drop(stream.shutdown(Shutdown::Both));
            return;
        }
    }
}

/// Reads one request; `None` at the end of the connection.
pub(crate) fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Hit> {
    let head = take_past(stream, buffer, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut hit = Hit { method, target, headers, body: Vec::new() };
    if hit.header("transfer-encoding").is_some() {
        loop {
            let size = String::from_utf8(take_past(stream, buffer, b"\r\n")?).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let chunk = take(stream, buffer, size + 2)?;
            if size == 0 {
                break;
            }
            hit.body.extend_from_slice(&chunk[..size]);
        }
    } else if let Some(length) = hit.header("content-length") {
        let length = length.parse().ok()?;
        hit.body = take(stream, buffer, length)?;
    }
    Some(hit)
}

fn take_past(stream: &mut TcpStream, buffer: &mut Vec<u8>, end: &[u8]) -> Option<Vec<u8>> {
    loop {
        if let Some(at) = buffer.windows(end.len()).position(|window| window == end) {
            let mut taken: Vec<u8> = buffer.drain(..at + end.len()).collect();
            taken.truncate(at);
            return Some(taken);
        }
        fill(stream, buffer)?;
    }
}

fn take(stream: &mut TcpStream, buffer: &mut Vec<u8>, length: usize) -> Option<Vec<u8>> {
    while buffer.len() < length {
        fill(stream, buffer)?;
    }
    Some(buffer.drain(..length).collect())
}

fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut bytes = [0; 16 << 10];
    let count = stream.read(&mut bytes).ok().filter(|count| *count > 0)?;
    buffer.extend_from_slice(&bytes[..count]);
    Some(())
}
