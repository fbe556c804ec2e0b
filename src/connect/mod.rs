//! Connections to upstreams: sends one request once, and says truthfully what became of it.
//!
//! Deliberately never sends a request a second time, follows no redirect, changes no header and reads no body. Which
//! upstream, which headers and whether at all is decided above.
//!
//! Invariant: [`SendError::NotSent`] means that no byte of the request left this process for the upstream. Everything
//! that leaves room for doubt is [`SendError::Lost`] or [`SendError::TimedOut`], after which the call may have run.

mod connector;
mod error;
mod own;
pub mod stdio;
mod transport;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Sleep;

use connector::Connector;
pub use connector::TrustError;
pub use error::{BoxError, Failure, LostReason, NotSentReason, SendError};
pub use own::OwnListeners;
pub use transport::{InTransit, Transport, UpstreamBody};

/// Longest response head in bytes; also what a connection may buffer of a response that is read slowly.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 128 * 1024;
/// How often a silent HTTP/2 upstream with requests in flight is asked whether it lives.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long it has to answer.
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(10);

/// How to reach upstreams.
#[derive(Debug, Clone)]
pub struct UpstreamOptions {
    /// How long resolving, connecting and the TLS handshake may take together.
    pub connect_timeout: Duration,
    /// How long an idle connection is kept. Below the keep-alive of common servers, or requests meet connections that the
    /// upstream is just closing.
    pub idle_timeout: Duration,
    /// How many idle connections are kept for each upstream; at least 1.
    pub idle_per_upstream_max: usize,
    /// Which certificates upstreams must come from.
    pub trust: Trust,
    /// Where the gateway itself listens: a connection that ends there is given up before anything is sent.
    pub own: OwnListeners,
}

/// Which certificates upstreams must come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Trust {
    /// Those that the operating system trusted when the process first looked. Where it has none, no `https` upstream is
    /// trusted.
    #[default]
    Platform,
    /// Those in this PEM file, and no other.
    File(PathBuf),
}

impl Default for UpstreamOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(15),
            idle_per_upstream_max: 64,
            trust: Trust::default(),
            own: OwnListeners::default(),
        }
    }
}

/// Sends requests with bodies of type `B`. Cloning is cheap and shares the pool.
///
/// Over TLS the upstream chooses between HTTP/1.1 and HTTP/2; in cleartext it is HTTP/1.1.
#[derive(Debug)]
pub struct UpstreamClient<B> {
    pooled: Client<Connector, B>,
    fresh: Client<Connector, B>,
}

impl<B> Clone for UpstreamClient<B> {
    fn clone(&self) -> Self {
        Self { pooled: self.pooled.clone(), fresh: self.fresh.clone() }
    }
}

impl<B> UpstreamClient<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    /// Makes a client; connects to nothing yet.
    ///
    /// # Errors
    /// [`TrustError`] when the file of trusted certificates cannot be used; it names the file and why.
    pub fn new(options: &UpstreamOptions) -> Result<Self, TrustError> {
        let connector = Connector::new(&options.trust, options.own.clone(), options.connect_timeout)?;
        let build = |idle_max: usize| {
            Client::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(options.idle_timeout)
                .pool_max_idle_per_host(idle_max)
                // Sending again what an upstream may have begun to act on is never ours to decide.
                .retry_canceled_requests(false)
                .set_host(false)
                .http1_max_buf_size(RESPONSE_HEAD_BYTES_MAX)
                // At most 100 header fields is the default, and free; naming the same number would cost an allocation.
                .http2_max_header_list_size(RESPONSE_HEAD_BYTES_MAX as u32)
                .http2_keep_alive_interval(HTTP2_PING_INTERVAL)
                .http2_keep_alive_timeout(HTTP2_PING_TIMEOUT)
                .build(connector.clone())
        };
        Ok(Self { pooled: build(options.idle_per_upstream_max.max(1)), fresh: build(0) })
    }

    /// Sends `request` over a connection that stands, if there is one. It may close at the same moment, which then shows as
    /// [`SendError::Lost`].
    ///
    /// The URI of `request` is absolute and it carries its own `Host`. The response's head is waited for at most `head_timeout`
    /// (sending the body counts); the body follows as it is read. Not undone by dropping the future: what was sent was sent,
    /// and nobody is told what became of it.
    pub fn send_pooled(&self, mut request: Request<B>, head_timeout: Duration) -> Sending {
        match prepare(&mut request) {
            Ok(()) => Sending::new(self.pooled.request(request), head_timeout),
            Err(error) => Sending { answer: Answer::Refused(Some(error)), head_timeout, timer: None },
        }
    }

    /// Sends `request` as [`UpstreamClient::send_pooled`] does, but over a connection of its own, made now and used once: for
    /// calls that nobody may send twice.
    ///
    /// # Errors
    /// See [`SendError`]; only [`SendError::NotSent`] leaves no doubt.
    pub async fn send_fresh(
        &self,
        mut request: Request<B>,
        head_timeout: Duration,
    ) -> Result<Response<Incoming>, SendError> {
        prepare(&mut request)?;
        // Filled in once there is a connection, before the request is handed to it. Whatever fails while it is
        // empty failed with nothing sent. On a pooled connection that proof is not worth its allocations.
        let connection = capture_connection(&mut request);
        let answer = tokio::time::timeout(head_timeout, self.fresh.request(request)).await;
        let untouched = connection.connection_metadata().is_none();
        match answer {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if untouched => Err(error::classify_unsent(error)),
            Ok(Err(error)) => Err(error::classify(error)),
            Err(_) if untouched => Err(SendError::NotSent(Failure::of(NotSentReason::TimedOut))),
            Err(_) => Err(SendError::TimedOut),
        }
    }
}

/// Makes sure that the request names an upstream.
fn prepare<B>(request: &mut Request<B>) -> Result<(), SendError> {
    if request.uri().scheme().is_none() || request.uri().authority().is_none() || request.method() == Method::CONNECT {
        return Err(SendError::NotSent(Failure::of(NotSentReason::NoTarget)));
    }
    // The caller's version is not the upstream's: the connection decides.
    *request.version_mut() = http::Version::HTTP_11;
    Ok(())
}

/// A request on its way over a pooled connection, until its response's head is there. Small and `Unpin`, because most calls
/// are little more than this.
#[must_use = "nothing is sent until this is awaited"]
pub struct Sending {
    answer: Answer,
    head_timeout: Duration,
    /// Runs from the first time that there was something to wait for.
    timer: Option<Pin<Box<Sleep>>>,
}

enum Answer {
    Awaited(ResponseFuture),
    Refused(Option<SendError>),
}

impl Sending {
    fn new(answer: ResponseFuture, head_timeout: Duration) -> Self {
        Self { answer: Answer::Awaited(answer), head_timeout, timer: None }
    }
}

impl Future for Sending {
    type Output = Result<Response<Incoming>, SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let answer = match &mut this.answer {
            Answer::Awaited(answer) => answer,
            Answer::Refused(error) => return error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
        };
        if let Poll::Ready(answer) = Pin::new(answer).poll(cx) {
            return Poll::Ready(answer.map_err(error::classify));
        }
        let head_timeout = this.head_timeout;
        let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(head_timeout)));
        timer.as_mut().poll(cx).map(|()| Err(SendError::TimedOut))
    }
}

#[cfg(test)]
mod tests;
