//! An upstream that dies on order, at any point of a request and its answer, in clear text or over TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::SockRef;

use crate::death::Death;
use crate::kit::LONG;

/// What came over one connection: the plain bytes.
type Received = Arc<Mutex<Vec<u8>>>;

struct Shared {
    death: Mutex<Death>,
    connections: Mutex<Vec<Received>>,
    /// Silent connections end when this is set.
    silence_over: AtomicBool,
    over: AtomicBool,
    tls: Option<Arc<ServerConfig>>,
}

/// The upstream. Stops listening when dropped.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    /// The certificate to trust, as PEM.
    pub(crate) certificate: Option<String>,
    shared: Arc<Shared>,
}

impl Upstream {
    /// In clear text.
    pub(crate) fn plain() -> Self {
        Self::start(None, None)
    }

    /// Over TLS, with a certificate for `127.0.0.1`.
    pub(crate) fn over_tls() -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("signed");
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .expect("a certificate with its key");
        Self::start(Some(Arc::new(config)), Some(certificate.pem()))
    }

    fn start(tls: Option<Arc<ServerConfig>>, certificate: Option<String>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            death: Mutex::new(Death::None),
            connections: Mutex::default(),
            silence_over: AtomicBool::new(false),
            over: AtomicBool::new(false),
            tls,
        });
        let listening = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if listening.over.load(Ordering::SeqCst) {
                    return;
                }
                let received = Received::default();
                listening.connections.lock().expect("nobody panics with it").push(received.clone());
                let shared = listening.clone();
                std::thread::spawn(move || drop(serve(&stream, &shared, &received)));
            }
        });
        Self { address, certificate, shared }
    }

    /// From now on dies so.
    pub(crate) fn will(&self, death: Death) {
        self.shared.silence_over.store(false, Ordering::SeqCst);
        *self.shared.death.lock().expect("nobody panics with it") = death;
    }

    /// Ends the connections on which it is silent.
    pub(crate) fn end_silence(&self) {
        self.shared.silence_over.store(true, Ordering::SeqCst);
    }

    /// How many connections there were so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.lock().expect("nobody panics with it").len()
    }

    /// In how many requests so far, whole or in part, the text `mark` came.
    pub(crate) fn times_received(&self, mark: &str) -> usize {
        let connections = self.shared.connections.lock().expect("nobody panics with it");
        let count = |received: &Received| {
            String::from_utf8_lossy(&received.lock().expect("nobody panics with it")).matches(mark).count()
        };
        connections.iter().map(count).sum()
    }

    /// How many bytes came over the last connection.
    pub(crate) fn bytes_received_last(&self) -> usize {
        let connections = self.shared.connections.lock().expect("nobody panics with it");
        connections.last().map_or(0, |received| received.lock().expect("nobody panics with it").len())
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.end_silence();
        // Wakes the listener, which then ends.
        drop(TcpStream::connect_timeout(&self.address, Duration::from_secs(1)));
    }
}

trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

fn serve(stream: &TcpStream, shared: &Shared, received: &Received) -> io::Result<()> {
    let death = || *shared.death.lock().expect("nobody panics with it");
    stream.set_read_timeout(Some(LONG))?;
    let raw = stream.try_clone()?;
    if death().is_before_sending() {
        return die(&raw, shared, death());
    }
    let mut wire: Box<dyn Wire> = match &shared.tls {
        None => Box::new(stream.try_clone()?),
        Some(config) => {
            let session = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
            let mut tls = StreamOwned::new(session, stream.try_clone()?);
            while tls.conn.is_handshaking() {
                tls.conn.complete_io(&mut tls.sock)?;
            }
            Box::new(tls)
        }
    };
    loop {
        let now = death();
        match now {
            Death::Unread => {
                raw.shutdown(Shutdown::Write)?;
                // What was sent all the same is counted, not acted on.
                let mut byte = [0; 4096];
                while let Ok(count @ 1..) = wire.read(&mut byte) {
                    received.lock().expect("nobody panics with it").extend_from_slice(&byte[..count]);
                }
                return Ok(());
            }
            Death::ResetUnread => return die(&raw, shared, now),
            _ => {}
        }
        let has_more = read_request(wire.as_mut(), received, || death() == Death::AfterHead)?;
        // The order may be a new one by the time a kept connection is used again.
        let now = death();
        if !has_more || now == Death::AfterHead {
            return die(&raw, shared, now);
        }
        wire.write_all(now.last_words())?;
        wire.flush()?;
        if now != Death::None {
            return die(&raw, shared, now);
        }
    }
}

/// Ends the connection, at once or when the silence is over.
fn die(raw: &TcpStream, shared: &Shared, death: Death) -> io::Result<()> {
    if matches!(death, Death::SilentHandshake | Death::SilentHead | Death::SilentBody) {
        let begin = std::time::Instant::now();
        while !shared.silence_over.load(Ordering::SeqCst) && begin.elapsed() < 4 * LONG {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    if death.resets() {
        // Every handle of the socket must go before the reset goes out: `shutdown` on a lingering socket would send a FIN.
        return SockRef::from(raw).set_linger(Some(Duration::ZERO));
    }
    raw.shutdown(Shutdown::Both)
}

/// Reads one request; false at the end of the connection.
fn read_request(wire: &mut dyn Wire, received: &Received, only_head: impl Fn() -> bool) -> io::Result<bool> {
    let mut request = Vec::new();
    let mut read = |request: &mut Vec<u8>, most: usize| -> io::Result<bool> {
        let mut bytes = vec![0; most];
        let count = wire.read(&mut bytes)?;
        request.extend_from_slice(&bytes[..count]);
        received.lock().expect("nobody panics with it").extend_from_slice(&bytes[..count]);
        Ok(count > 0)
    };
    // Byte by byte, so that nothing behind the head is taken with it.
    while !request.ends_with(b"\r\n\r\n") {
        if !read(&mut request, 1)? {
            return Ok(false);
        }
    }
    if only_head() {
        return Ok(true);
    }
    let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).and_then(|n| n.trim().parse().ok());
    let end = request.len() + length.unwrap_or(0);
    while request.len() < end {
        let left = end - request.len();
        if !read(&mut request, left)? {
            return Ok(false);
        }
    }
    Ok(true)
}
