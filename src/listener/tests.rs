use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::TcpStream as Tcp;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use rcgen::KeyPair;
use rustls::{ClientConnection, StreamOwned};

use self::pki::Pki;
use super::connection::HTTP2_STREAMS_MAX;
use super::*;

mod pki;

/// Generous: only a hang reaches it.
const SOON: Duration = Duration::from_secs(20);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: gateway.test\r\n\r\n";

/// A listener in a runtime of its own, so that tests can be plain blocking clients.
struct Server {
    address: SocketAddr,
    options: Options,
    shutdown: CancellationToken,
    /// Requests to `/wait` are answered once this is set.
    release: Arc<AtomicBool>,
    /// Hears of each request to `/wait` when it arrives.
    waiting: mpsc::Receiver<()>,
    /// Ends when the listener and all its tasks have.
    thread: Option<JoinHandle<()>>,
}

fn options() -> Options {
    Options {
        header_timeout: SOON,
        handshake_timeout: SOON,
        header_bytes_max: 16 * 1024,
        connections_max: 100,
        open: IntGauge::new("open", "open").expect("a name"),
        refused: IntCounter::new("refused", "refused").expect("a name"),
        on_unreadable: OnUnreadable(Arc::new(|_, _| {})),
    }
}

impl Server {
    fn start(options: Options, tls: Option<Arc<TlsState>>) -> Self {
        let (bound, binds) = mpsc::channel();
        let (arrived, waiting) = mpsc::channel();
        let (shutdown, release) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
        let (token, flag, limits) = (shutdown.clone(), Arc::clone(&release), options.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = Listener::bind("127.0.0.1:0".parse().expect("a literal"), tls).expect("a free port");
                bound.send(listener.address()).expect("the test waits");
                let make = move |peer: &PeerInfo| {
                    let (flag, arrived) = (Arc::clone(&flag), arrived.clone());
                    WithPeer::new(service_fn(move |request| answer(request, Arc::clone(&flag), arrived.clone())), peer)
                };
                let tracker = TaskTracker::new();
                serve(listener, make, limits, token, tracker.clone()).await;
                tracker.close();
                tracker.wait().await;
            });
        });
        let address = binds.recv_timeout(SOON).expect("bound");
        Self { address, options, shutdown, release, waiting, thread: Some(thread) }
    }

    fn connect(&self) -> Tcp {
        let stream = Tcp::connect(self.address).expect("accepted");
        stream.set_read_timeout(Some(SOON)).expect("a socket");
        stream
    }

    /// Whether everything ends within the time that only a hang takes.
    fn ends(&mut self) -> bool {
        let thread = self.thread.take().expect("asked once");
        eventually(|| thread.is_finished())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.release.store(true, Ordering::SeqCst);
        self.shutdown.cancel();
    }
}

/// Says who asked; at `/wait`, only once it may.
async fn answer(
    request: Request<Incoming>,
    release: Arc<AtomicBool>,
    arrived: mpsc::Sender<()>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/wait" {
        let _ = arrived.send(());
        while !release.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let peer = request.extensions().get::<PeerInfo>().expect("put there").clone();
    let subject = peer.client_cert_subject.as_deref().unwrap_or("nobody");
    let text = format!("{} tls={} {subject} {:?}", peer.addr, peer.tls, request.version());
    Ok(Response::new(Full::from(text)))
}

fn eventually(holds: impl Fn() -> bool) -> bool {
    for _ in 0..2_000 {
        if holds() {
            return true;
        }
        thread::sleep(Duration::from_millis(10));
    }
    false
}

/// Reads one response with a `content-length`, or whatever comes before the end.
fn read_response(stream: &mut impl std::io::Read) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer).unwrap_or(0);
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        let length =
            text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok()).unwrap_or(0);
        if read == 0 || text.split_once("\r\n\r\n").is_some_and(|(_, body)| body.len() >= length) {
            return text;
        }
    }
}

fn ask(stream: &mut (impl std::io::Read + std::io::Write), request: &[u8]) -> String {
    stream.write_all(request).expect("written");
    read_response(stream)
}

/// Whether the other side has closed: end of stream or reset, not a time-out.
fn is_closed(stream: &mut Tcp) -> bool {
    match stream.read(&mut [0; 1]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn a_request_is_served_and_the_service_knows_who_asked() {
    let server = Server::start(options(), None);
    let mut stream = server.connect();
    let own = stream.local_addr().expect("connected");
    for _ in 0..2 {
        let response = ask(&mut stream, REQUEST);
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        assert!(response.ends_with(&format!("{own} tls=false nobody HTTP/1.1")), "{response}");
    }
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let server = Server::start(options(), None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let error = runtime.block_on(async { Listener::bind(server.address, None) }).expect_err("in use").to_string();
    assert!(error.contains(&server.address.to_string()) && error.contains("in use") && error.contains("`listen`"));
    let elsewhere = "192.0.2.1:0".parse().expect("a literal");
    let error = runtime.block_on(async { Listener::bind(elsewhere, None) }).expect_err("not ours").to_string();
    assert!(error.contains("192.0.2.1") && error.contains("no address of this machine"), "{error}");
}

#[test]
fn a_head_that_is_never_finished_ends_the_connection_in_time() {
    let server = Server::start(Options { header_timeout: Duration::from_millis(100), ..options() }, None);
    let mut half = server.connect();
    half.write_all(b"GET / HTTP/1.1\r\nhost: gate").expect("written");
    assert!(is_closed(&mut half));
    let mut silent = server.connect();
    assert!(is_closed(&mut silent), "nor does one that never begins");
    let mut idle = server.connect();
    assert!(ask(&mut idle, REQUEST).starts_with("HTTP/1.1 200"));
    assert!(is_closed(&mut idle), "nor one that does not go on");
    assert!(eventually(|| server.options.open.get() == 0));
}

#[test]
fn heads_over_a_limit_or_that_cannot_be_read_never_reach_the_service() {
    let server = Server::start(options(), None);
    let check = |head: &str, status: &str| {
        let mut stream = server.connect();
        let response = ask(&mut stream, head.as_bytes());
        assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {response}");
        assert!(!response.contains("tls="), "{response}");
        assert!(is_closed(&mut stream), "{status}");
    };
    check(&format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(20_000)), "431");
    check(&format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(100)), "431");
    check("GET / HTTP/1.1\r\nhost : a\r\n\r\n", "400");
    check("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "400");
    check("\0\0\0\0\r\n\r\n", "400");
}

#[test]
fn a_connection_too_many_is_closed_at_once_and_counted_and_the_others_are_served() {
    let server = Server::start(Options { connections_max: 1, ..options() }, None);
    let mut first = server.connect();
    assert!(ask(&mut first, REQUEST).starts_with("HTTP/1.1 200"));
    let mut second = server.connect();
    assert!(is_closed(&mut second));
    assert_eq!((server.options.open.get(), server.options.refused.get()), (1, 1));
    assert!(ask(&mut first, REQUEST).starts_with("HTTP/1.1 200"));
    drop(first);
    assert!(eventually(|| server.options.open.get() == 0));
    assert!(
        ask(&mut server.connect(), REQUEST).starts_with("HTTP/1.1 200"),
        "a place that was given back is given again"
    );
}

#[test]
fn shutdown_ends_idle_connections_and_lets_requests_in_flight_finish() {
    let mut server = Server::start(options(), None);
    let (mut idle, mut new) = (server.connect(), server.connect());
    assert!(ask(&mut idle, REQUEST).starts_with("HTTP/1.1 200"));
    let mut busy = server.connect();
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: gateway.test\r\n\r\n").expect("written");
    server.waiting.recv_timeout(SOON).expect("in flight");
    server.shutdown.cancel();
    assert!(is_closed(&mut idle));
    assert!(is_closed(&mut new));
    assert!(eventually(|| Tcp::connect(server.address).is_err()), "nothing new is accepted");
    assert!(!server.thread.as_ref().is_some_and(JoinHandle::is_finished), "one request is in flight");
    server.release.store(true, Ordering::SeqCst);
    let response = read_response(&mut busy);
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert!(server.ends());
}

#[test]
fn a_tls_client_without_a_preference_is_served_in_http1() {
    let pki = Pki::new();
    let server = Server::start(options(), Some(pki.state(ClientAuth::None)));
    for alpn in [&[][..], &[b"http/1.1" as &[u8]][..]] {
        let response = ask(&mut pki.session(&server, alpn, None), REQUEST);
        assert!(response.ends_with("tls=true nobody HTTP/1.1"), "{response}");
    }
}

#[test]
fn http2_is_offered_with_a_limit_on_streams_and_headers() {
    let pki = Pki::new();
    let server = Server::start(options(), Some(pki.state(ClientAuth::None)));
    let mut session = pki.session(&server, &[b"h2", b"http/1.1"], None);
    session.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("written");
    assert_eq!(session.conn.alpn_protocol(), Some(b"h2".as_slice()));
    let mut head = [0; 9];
    session.read_exact(&mut head).expect("a frame");
    assert_eq!(head[3], 4, "SETTINGS come first");
    let mut settings = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    session.read_exact(&mut settings).expect("the frame");
    let setting = |id: u16| {
        let found = settings.chunks_exact(6).find(|setting| setting[..2] == id.to_be_bytes())?;
        Some(u32::from_be_bytes([found[2], found[3], found[4], found[5]]))
    };
    assert_eq!(setting(3), Some(HTTP2_STREAMS_MAX));
    assert_eq!(setting(6), Some(16 * 1024));
}

/// Asks for `/wait` over HTTP/2 and hands the body of the answer to `answers` when it comes.
fn ask_in_http2(session_io: StreamOwned<ClientConnection, Tcp>, mut then: impl FnMut()) -> Vec<u8> {
    let mut session = session_io;
    session.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("written");
    // HEADERS on stream 1, END_STREAM and END_HEADERS: GET, https, a literal path and authority.
    let mut block = vec![0x82, 0x87, 0x04, 5];
    block.extend(b"/wait");
    block.extend([0x01, 12]);
    block.extend(b"gateway.test");
    let mut frame = vec![0, 0, u8::try_from(block.len()).expect("short"), 1, 5, 0, 0, 0, 1];
    frame.extend(block);
    session.write_all(&frame).expect("written");
    then();
    loop {
        let mut head = [0; 9];
        session.read_exact(&mut head).expect("a frame");
        let mut content = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
        session.read_exact(&mut content).expect("the frame");
        // DATA on stream 1
        if head[3] == 0 && head[8] == 1 && !content.is_empty() {
            return content;
        }
    }
}

#[test]
fn an_http2_request_in_flight_finishes_after_shutdown() {
    let pki = Pki::new();
    let mut server = Server::start(options(), Some(pki.state(ClientAuth::None)));
    let session = pki.session(&server, &[b"h2"], None);
    let body = ask_in_http2(session, || {
        server.waiting.recv_timeout(SOON).expect("in flight");
        server.shutdown.cancel();
        assert!(eventually(|| Tcp::connect(server.address).is_err()), "nothing new is accepted");
        server.release.store(true, Ordering::SeqCst);
    });
    let body = String::from_utf8(body).expect("text");
    assert!(body.ends_with("tls=true nobody HTTP/2.0"), "{body}");
    assert!(server.ends());
}

#[test]
fn a_handshake_that_is_never_finished_ends_the_connection_in_time() {
    let pki = Pki::new();
    let limits = Options { handshake_timeout: Duration::from_millis(100), ..options() };
    let server = Server::start(limits, Some(pki.state(ClientAuth::None)));
    assert!(is_closed(&mut server.connect()));
    assert!(eventually(|| server.options.open.get() == 0));
}

#[test]
fn client_certificates_are_asked_for_as_configured_and_give_the_subject() {
    let (pki, stranger) = (Pki::new(), Pki::new());
    let ca = pki.path("ca.pem");
    let asks = |server: &Server, identity| {
        let mut session = pki.session(server, &[], identity);
        let sent = session.write_all(REQUEST);
        if sent.is_ok() { read_response(&mut session) } else { String::new() }
    };
    let required = Server::start(options(), Some(pki.state(ClientAuth::Required(ca.clone()))));
    assert!(asks(&required, Some(pki.client("support-bot"))).ends_with("tls=true CN=support-bot HTTP/1.1"));
    assert_eq!(asks(&required, None), "", "no certificate, no answer");
    assert_eq!(asks(&required, Some(stranger.client("support-bot"))), "", "nor for one of another CA");
    let optional = Server::start(options(), Some(pki.state(ClientAuth::Optional(ca))));
    assert!(asks(&optional, Some(pki.client("support-bot"))).ends_with("tls=true CN=support-bot HTTP/1.1"));
    assert!(asks(&optional, None).ends_with("tls=true nobody HTTP/1.1"));
    assert_eq!(asks(&optional, Some(stranger.client("support-bot"))), "");
    let none = Server::start(options(), Some(pki.state(ClientAuth::None)));
    assert!(asks(&none, Some(pki.client("support-bot"))).ends_with("tls=true nobody HTTP/1.1"));
}

#[test]
fn a_new_certificate_is_shown_after_a_reload_and_a_broken_one_never() {
    let pki = Pki::new();
    let state = pki.state(ClientAuth::None);
    let server = Server::start(options(), Some(Arc::clone(&state)));
    let shown = || {
        let mut session = pki.session(&server, &[], None);
        assert!(ask(&mut session, REQUEST).starts_with("HTTP/1.1 200"));
        session.conn.peer_certificates().expect("shown")[0].to_vec()
    };
    let first = shown();
    let second = pki.issue_server();
    assert_eq!(shown(), first, "nothing changes by itself");
    state.reload(&pki.files(ClientAuth::None)).expect("good files");
    assert_eq!(shown(), second);
    pki.write("server.pem", "half a file");
    let error = state.reload(&pki.files(ClientAuth::None)).expect_err("broken").to_string();
    assert!(error.contains(&pki.path("server.pem").display().to_string()), "{error}");
    assert_eq!(shown(), second);
}

#[test]
fn files_that_cannot_be_used_are_named_with_the_cause() {
    let pki = Pki::new();
    let check = |clients: ClientAuth, file: &Path, what: &str| {
        let error = TlsState::load(&pki.files(clients)).expect_err(what).to_string();
        assert!(error.contains(&file.display().to_string()) && error.contains(what), "{error}");
    };
    let (certificate, key) = (pki.path("server.pem"), pki.path("server.key"));
    let missing = pki.path("missing.pem");
    check(ClientAuth::Required(missing.clone()), &missing, "cannot be read");
    pki.write("empty.pem", "");
    check(ClientAuth::Optional(pki.path("empty.pem")), &pki.path("empty.pem"), "holds no certificate");
    let other = KeyPair::generate().expect("a key");
    pki.write("server.key", &other.serialize_pem());
    check(ClientAuth::None, &key, "is not the key of the certificate");
    pki.write("server.key", "");
    check(ClientAuth::None, &key, "holds no private key");
    pki.write("server.pem", "");
    check(ClientAuth::None, &certificate, "holds no certificate");
    pki.write("server.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    check(ClientAuth::None, &certificate, "cannot be read");
}
