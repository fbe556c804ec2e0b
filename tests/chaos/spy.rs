//! The upstream: writes down what arrives before it does anything else, then does what the call's own body asks for.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use socket2::SockRef;

use crate::death::Death;
use crate::history::{History, What, Who};
use crate::mcp::{call_in, result};
use crate::support::origin::{Nowhere, read_request};
use crate::support::ports::lasting_port;
use crate::support::wait::until_within;

/// How long [`Manner::Wait`] waits at most.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// What the upstream does with a call; the call's body says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Answers.
    Answer,
    /// Answers after so many milliseconds.
    After(u64),
    /// Answers with a status alone.
    Empty,
    /// Closes without an answer.
    Close,
    /// Answers once [`Spy::go_on`] is called.
    Wait,
    /// Never answers.
    Never,
}

impl Manner {
    /// As a body says it.
    pub(crate) fn text(self) -> String {
        match self {
            Manner::Answer => "answer".to_owned(),
            Manner::After(millis) => format!("after {millis}"),
            Manner::Empty => "empty".to_owned(),
            Manner::Close => "close".to_owned(),
            Manner::Wait => "wait".to_owned(),
            Manner::Never => "never".to_owned(),
        }
    }
}

#[derive(Debug)]
struct Shared {
    history: History,
    arrived: AtomicUsize,
    over: AtomicBool,
    go_on: Mutex<bool>,
    changed: Condvar,
    death: Mutex<Death>,
}

impl Shared {
    fn death(&self) -> Death {
        *self.death.lock().expect("nobody panics with the order")
    }
}

/// The upstream. Stops listening when dropped.
#[derive(Debug)]
pub(crate) struct Spy {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
    /// Its port while it refuses connections.
    nowhere: Option<Nowhere>,
}

impl Spy {
    /// On a free port, which stays its own while it refuses connections.
    pub(crate) fn start(history: History) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", lasting_port())).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            history,
            arrived: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            go_on: Mutex::new(false),
            changed: Condvar::new(),
            death: Mutex::new(Death::None),
        });
        Self { address, listening: Some(listen(listener, shared.clone())), nowhere: None, shared }
    }

    /// From now on it dies so, whatever a call asks for.
    pub(crate) fn will(&self, death: Death) {
        *self.shared.death.lock().expect("nobody panics with the order") = death;
    }

    /// Refuses connections.
    pub(crate) fn close(&mut self) {
        self.stop();
        self.nowhere = Some(Nowhere::at(self.address));
    }

    /// Listens again.
    pub(crate) fn open(&mut self) {
        let listener = self.nowhere.take().expect("it was closed").into_listener();
        self.shared.over.store(false, Ordering::SeqCst);
        self.listening = Some(listen(listener, self.shared.clone()));
    }

    fn stop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Wakes the listener, which then ends.
        drop(TcpStream::connect_timeout(&self.address, Duration::from_secs(1)));
        if let Some(listening) = self.listening.take() {
            listening.join().expect("the listener ends well");
        }
    }

    /// How many calls have arrived.
    pub(crate) fn arrived(&self) -> usize {
        self.shared.arrived.load(Ordering::SeqCst)
    }

    /// Lets the calls go on that [`Manner::Wait`] stopped, and all later ones.
    pub(crate) fn go_on(&self) {
        *self.shared.go_on.lock().expect("nobody panics with the flag") = true;
        self.shared.changed.notify_all();
    }
}

impl Drop for Spy {
    fn drop(&mut self) {
        self.go_on();
        self.stop();
    }
}

/// Serves connections until the spy refuses them.
fn listen(listener: TcpListener, shared: Arc<Shared>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if shared.over.load(Ordering::SeqCst) {
                return;
            }
            let shared = shared.clone();
            std::thread::spawn(move || connection(stream, &shared));
        }
    })
}

/// Dies with nothing or the head alone read, where that is the order.
fn dies_early(stream: &mut TcpStream, shared: &Shared) -> bool {
    let reads = match shared.death() {
        Death::Unread | Death::ResetUnread => 0,
        Death::AfterHead => 1 << 8,
        _ => return false,
    };
    let _ = stream.read(&mut vec![0; reads]);
    die(stream, shared);
    true
}

/// Says its last words, and ends the connection as the order is.
fn die(stream: &mut TcpStream, shared: &Shared) {
    let death = shared.death();
    if stream.write_all(death.last_words()).is_err() {
        return;
    }
    if matches!(death, Death::SilentHead | Death::SilentBody) {
        // Until the order is another one.
        until_within(WAIT_MAX, "the silence ends", || (shared.death() != death).then_some(()));
    }
    if death.resets() {
        // The stream is dropped next, and a `shutdown` would send a FIN.
        drop(SockRef::from(&*stream).set_linger(Some(Duration::ZERO)));
    } else {
        drop(stream.shutdown(Shutdown::Both));
    }
}

fn connection(mut stream: TcpStream, shared: &Shared) {
    let mut buffer = Vec::new();
    if dies_early(&mut stream, shared) {
        return;
    }
    while let Some(request) = read_request(&mut stream, &mut buffer) {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let message: Value = serde_json::from_str(&body).unwrap_or_default();
        let over_mcp = call_in(&message);
        let said = over_mcp.map_or(&message, |(_, arguments)| arguments);
        shared.history.write(Who::Spy, What::Hit { method: request.method, target: request.target, body });
        shared.arrived.fetch_add(1, Ordering::SeqCst);
        // The order may be a new one by the time a kept connection is used again.
        if shared.death() != Death::None {
            return die(&mut stream, shared);
        }
        let (manner, millis) = match said["manner"].as_str().unwrap_or_default().split_once(' ') {
            Some((manner, millis)) => (manner.to_owned(), millis.parse().unwrap_or(0)),
            None => (said["manner"].as_str().unwrap_or_default().to_owned(), 0),
        };
        match manner.as_str() {
            "close" => {
                drop(stream.shutdown(Shutdown::Both));
                return;
            }
            // The upstream is slow: no test waits for this.
            "after" => std::thread::sleep(Duration::from_millis(millis)),
            "wait" => {
                let flag = shared.go_on.lock().expect("nobody panics with the flag");
                drop(shared.changed.wait_timeout_while(flag, WAIT_MAX, |go_on| !*go_on));
            }
            "never" => {
                // Until the other side has had enough.
                drop(stream.read(&mut [0; 1]));
                return;
            }
            _ => {}
        }
        if manner == "empty" {
            if stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
                return;
            }
            continue;
        }
        let answer = match over_mcp {
            Some(_) => result(&message, &said["call"]),
            None => serde_json::json!({ "call": said["call"] }),
        };
        let body = answer.to_string();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all(format!("{head}{body}").as_bytes()).is_err() {
            return;
        }
    }
}
