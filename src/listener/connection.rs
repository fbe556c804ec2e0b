//! One connection, from its first byte to its last.

use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::IntGauge;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::peer::PeerInfo;
use super::resets::WatchResets;
use super::{BoxError, Options, Unreadable, certificate};

/// Most requests at once on one HTTP/2 connection. Held calls occupy one each, so this is above the usual 100.
pub(super) const HTTP2_STREAMS_MAX: u32 = 250;
/// Streams that a client may open and reset before they were even looked at; one more ends the connection.
const HTTP2_PENDING_RESETS_MAX: usize = 20;
/// Streams that a client may make the server reset for breaking the protocol; one more ends the connection.
const HTTP2_ERROR_RESETS_MAX: usize = 100;
/// What may wait to be written for each stream.
const HTTP2_SEND_BYTES_MAX: usize = 64 * 1024;
/// How often a silent HTTP/2 client is asked whether it lives.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long it has to answer.
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(10);
/// The least that the HTTP/1.1 reader needs for its buffer.
const HTTP1_BUFFER_BYTES_MIN: usize = 8 * 1024;

/// What all connections of a listener share.
pub(super) struct Context<M> {
    pub(super) make: M,
    pub(super) options: Options,
    pub(super) shutdown: CancellationToken,
    pub(super) tracker: TaskTracker,
}

/// A connection's place among those that are allowed, given back when it is dropped.
pub(super) struct Place {
    open: IntGauge,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    pub(super) fn new(permit: OwnedSemaphorePermit, open: &IntGauge) -> Self {
        open.inc();
        Self { open: open.clone(), _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// Spawns the requests of an HTTP/2 connection where shutdown can wait for them.
#[derive(Clone)]
struct OnTracker(TaskTracker);

impl<F> hyper::rt::Executor<F> for OnTracker
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        drop(self.0.spawn(task));
    }
}

/// A connection that can be asked to end after the requests in flight.
trait Connection: Future<Output = Result<(), hyper::Error>> {
    fn end_gracefully(self: Pin<&mut Self>);
}

impl<I, B, S> Connection for http1::Connection<I, S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    fn end_gracefully(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, B, S> Connection for http2::Connection<I, S, OnTracker>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    fn end_gracefully(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Serves a cleartext connection.
pub(super) async fn cleartext<M, S, B>(context: Arc<Context<M>>, stream: TcpStream, peer: PeerInfo, place: Place)
where
    M: Fn(&PeerInfo) -> S,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    let service = (context.make)(&peer);
    let connection = http1_builder(&context.options).serve_connection(TokioIo::new(stream), service);
    drive(Box::pin(connection), &context, &peer).await;
    drop(place);
}

/// Shakes hands, then serves what was agreed on.
pub(super) async fn over_tls<M, S, B>(
    context: Arc<Context<M>>,
    stream: TcpStream,
    config: Arc<ServerConfig>,
    mut peer: PeerInfo,
    place: Place,
) where
    M: Fn(&PeerInfo) -> S,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let handshake = tokio::time::timeout(context.options.handshake_timeout, TlsAcceptor::from(config).accept(stream));
    let stream = tokio::select! {
        () = context.shutdown.cancelled() => return,
        outcome = handshake => match outcome {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(peer = %peer.addr, %error, "no TLS session"),
            Err(_) => return tracing::debug!(peer = %peer.addr, "no TLS session in time"),
        },
    };
    let session = stream.get_ref().1;
    if let Some([certificate, ..]) = session.peer_certificates() {
        peer.client_cert_subject = certificate::subject(certificate).map(Arc::from);
    }
    let is_http2 = session.alpn_protocol() == Some(b"h2");
    let service = (context.make)(&peer);
    if is_http2 {
        let (tell, of) = (context.options.on_unreadable.clone(), peer.clone());
        let stream = TokioIo::new(WatchResets::new(stream, move || (tell.0)(&of, Unreadable::Http2Stream)));
        let connection = http2_builder(&context.options, &context.tracker).serve_connection(stream, service);
        drive(Box::pin(connection), &context, &peer).await;
    } else {
        let connection = http1_builder(&context.options).serve_connection(TokioIo::new(stream), service);
        drive(Box::pin(connection), &context, &peer).await;
    }
    drop(place);
}

/// The connection is boxed, because a future has room for each of its arguments twice: once as given, once as used.
async fn drive<M>(mut connection: Pin<Box<impl Connection>>, context: &Context<M>, peer: &PeerInfo) {
    let mut cancelled = std::pin::pin!(context.shutdown.cancelled());
    // Whatever wakes this task wakes all of it, and a task has one waker: so the shutdown is waited for from the first time on,
    // and looked at again only when it has come.
    let mut is_waited_for = false;
    let ended = std::future::poll_fn(|cx| {
        if let Poll::Ready(outcome) = connection.as_mut().poll(cx) {
            return Poll::Ready(Some(outcome));
        }
        if is_waited_for && !context.shutdown.is_cancelled() {
            return Poll::Pending;
        }
        is_waited_for = true;
        cancelled.as_mut().poll(cx).map(|()| None)
    });
    let outcome = match ended.await {
        Some(outcome) => outcome,
        None => {
            connection.as_mut().end_gracefully();
            connection.await
        }
    };
    if let Err(error) = outcome {
        // Clients leave, time out and send what cannot be read as they please: none of it is news.
        tracing::debug!(peer = %peer.addr, %error, "connection ended");
        if let Some(unreadable) = unreadable(&error) {
            (context.options.on_unreadable.0)(peer, unreadable);
        }
    }
}

/// Whether a connection ended because of a request head that cannot be read.
fn unreadable(error: &hyper::Error) -> Option<Unreadable> {
    if error.is_parse_too_large() {
        Some(Unreadable::TooLarge)
    } else if error.is_parse() {
        Some(Unreadable::Malformed)
    } else if error.source().and_then(|source| source.downcast_ref::<h2::Error>()).is_some_and(is_ended_by_us) {
        Some(Unreadable::Http2)
    } else {
        // A head that did not come in time looks the same as a connection that was idle for as long.
        None
    }
}

fn is_ended_by_us(error: &h2::Error) -> bool {
    error.is_library() && error.is_go_away() && error.reason() != Some(h2::Reason::NO_ERROR)
}

fn http1_builder(options: &Options) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // At most 100 header fields is the default, and free; naming the same number would cost an allocation a request.
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_header_size(options.header_bytes_max)
        .max_buf_size(options.header_bytes_max.max(HTTP1_BUFFER_BYTES_MIN))
        .keep_alive(true)
        // A client that closes its half has left: what it asked for and has not got is settled as the protocol says.
        .half_close(false);
    builder
}

fn http2_builder(options: &Options, tracker: &TaskTracker) -> http2::Builder<OnTracker> {
    let mut builder = http2::Builder::new(OnTracker(tracker.clone()));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(u32::try_from(options.header_bytes_max).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(HTTP2_PENDING_RESETS_MAX)
        .max_local_error_reset_streams(HTTP2_ERROR_RESETS_MAX)
        .max_send_buf_size(HTTP2_SEND_BYTES_MAX)
        .keep_alive_interval(HTTP2_PING_INTERVAL)
        .keep_alive_timeout(HTTP2_PING_TIMEOUT);
    builder
}
