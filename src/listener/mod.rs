//! Accepts connections and reads requests off them, within limits.
//!
//! Cleartext connections speak HTTP/1.1; TLS connections HTTP/2 or HTTP/1.1, as the client prefers. What a request may do
//! is for the service to say: nothing here looks at one. A request head that cannot be read is answered with a bare 400 or
//! 431 and never reaches the service.
//!
//! Invariants: every connection counts against [`Options::connections_max`]; no connection waits for ever for a handshake
//! or a request head; every task is on the tracker and ends after the shutdown signal once its requests in flight have.

mod certificate;
mod connection;
mod peer;
mod resets;
mod tls;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use prometheus::{IntCounter, IntGauge};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use peer::{PeerInfo, WithPeer};
pub use resets::is_reset_for_a_fault;
pub use tls::{ClientAuth, TlsError, TlsFiles, TlsState};

/// Any error, as services and bodies hand it on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Connections that the kernel completes before they are accepted.
const BACKLOG: u32 = 1024;
/// Pauses after an accept that failed for want of something (descriptors, memory), doubling from one to the other.
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(10);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error("`{address}` is in use by another process: stop that one, or choose another `listen` address")]
    InUse {
        /// As configured.
        address: SocketAddr,
    },
    /// The machine has no such address.
    #[error("`{address}` is no address of this machine: choose another `listen` address, such as 127.0.0.1 or 0.0.0.0")]
    NotOurs {
        /// As configured.
        address: SocketAddr,
    },
    /// The process may not.
    #[error("this process may not listen on `{address}`: choose a port from 1024 on, or grant CAP_NET_BIND_SERVICE")]
    Denied {
        /// As configured.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on `{address}`: {source}")]
    Other {
        /// As configured.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
}

/// Limits of a listener, and where it counts.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a client may take for the head of a request, from the first moment it could send it: an idle connection is
    /// closed after this time too.
    pub header_timeout: Duration,
    /// How long a client may take for the TLS handshake.
    pub handshake_timeout: Duration,
    /// Longest request head in bytes, request line included. A longer one is answered with 431.
    pub header_bytes_max: usize,
    /// Most connections at once. One more is closed as soon as it is accepted.
    pub connections_max: usize,
    /// Where open connections are counted.
    pub open: IntGauge,
    /// Where connections closed for being too many are counted.
    pub refused: IntCounter,
    /// Told of every request head that could not be read, after it was answered, and of connections and streams that were
    /// ended for what was sent on them.
    pub on_unreadable: OnUnreadable,
}

/// Told who sent a request head that never reached the service, and why it did not.
pub type Tell = dyn Fn(&PeerInfo, Unreadable) + Send + Sync;

/// What a listener tells of request heads that never reach the service.
#[derive(Clone)]
pub struct OnUnreadable(pub Arc<Tell>);

impl std::fmt::Debug for OnUnreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnUnreadable")
    }
}

/// Why a request head never reached the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// It is no HTTP, or framed in a way that two readers could read differently.
    Malformed,
    /// It is longer than it may be.
    TooLarge,
    /// Its connection broke the rules of HTTP/2, or flooded, and was ended.
    Http2,
    /// Its stream broke the rules of HTTP/2, and was reset.
    Http2Stream,
}

/// A bound address.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<TlsState>>,
}

impl Listener {
    /// Binds `address`, to serve TLS with `tls` or cleartext without. Connections queue from now on.
    ///
    /// # Errors
    /// [`BindError`] names the address and what to do about it.
    pub fn bind(address: SocketAddr, tls: Option<Arc<TlsState>>) -> Result<Self, BindError> {
        let explain = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address },
            io::ErrorKind::AddrNotAvailable => BindError::NotOurs { address },
            io::ErrorKind::PermissionDenied => BindError::Denied { address },
            _ => BindError::Other { address, source },
        };
        let bind = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // A restart need not wait for connections of the process before to be forgotten.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        };
        let tcp = bind().map_err(explain)?;
        let address = tcp.local_addr().map_err(explain)?;
        Ok(Self { tcp, address, tls })
    }

    /// The address in fact: the port that the kernel chose where 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it serves TLS.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
}

/// Serves until `shutdown`: then stops accepting and returns, while connections finish their requests on `tracker`.
/// `make` makes the service of a connection.
pub async fn serve<M, S, B>(
    listener: Listener,
    make: M,
    options: Options,
    shutdown: CancellationToken,
    tracker: TaskTracker,
) where
    M: Fn(&PeerInfo) -> S + Send + Sync + 'static,
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Future<Output = Result<Response<B>, S::Error>> + Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let places = Arc::new(Semaphore::new(options.connections_max.min(Semaphore::MAX_PERMITS)));
    let context = Arc::new(connection::Context { make, options, shutdown, tracker });
    let mut pause = ACCEPT_PAUSE_MIN;
    loop {
        let accepted = tokio::select! {
            biased;
            () = context.shutdown.cancelled() => return,
            accepted = listener.tcp.accept() => accepted,
        };
        let (stream, addr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_the_clients(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, listener = %listener.address, "cannot accept connections");
                tokio::select! {
                    () = context.shutdown.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
                continue;
            }
        };
        pause = ACCEPT_PAUSE_MIN;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            context.options.refused.inc();
            continue;
        };
        let place = connection::Place::new(place, &context.options.open);
        configure(&stream);
        let peer = PeerInfo { addr, tls: listener.tls.is_some(), client_cert_subject: None };
        // Two kinds of task, so that a cleartext connection does not carry the room that TLS needs.
        match &listener.tls {
            None => drop(context.tracker.spawn(connection::cleartext(Arc::clone(&context), stream, peer, place))),
            Some(tls) => {
                let config = tls.config();
                drop(context.tracker.spawn(connection::over_tls(Arc::clone(&context), stream, config, peer, place)));
            }
        }
    }
}

/// Whether an error of `accept` is about the one connection that it would have been.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Fails only for a connection that is gone already, which reading from it will tell.
fn configure(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
}

#[cfg(test)]
mod tests;
