//! Connections to upstreams: sends one request once, and says truthfully what became of it.
//!
//! Deliberately never sends a request a second time, follows no redirect, changes no header and reads no body. Which
//! upstream, which headers and whether at all is decided above.
//!
//! Invariant: [`SendError::NotSent`] means that no byte of the request left this process for the upstream. Everything
//! that leaves room for doubt is [`SendError::Lost`] or [`SendError::TimedOut`], after which the call may have run.

mod connector;
mod error;
pub mod stdio;
mod transport;

use std::path::PathBuf;
use std::time::Duration;

use http::{Method, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use connector::Connector;
pub use connector::TrustError;
pub use error::{BoxError, Failure, LostReason, NotSentReason, SendError};
pub use transport::{Transport, UpstreamBody};

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
        }
    }
}

/// Which connection a request goes out on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// One that stands, if there is one. It may close at the same moment, which then shows as [`SendError::Lost`].
    Pooled,
    /// One of its own, made now and used once: for calls that nobody may send twice.
    Fresh,
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
        let connector = Connector::new(&options.trust, options.connect_timeout)?;
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

    /// Sends `request`, whose URI is absolute and which carries its own `Host`, and waits for the head of the response, at
    /// most `head_timeout` from now on (sending the body counts). The body of the response follows as it is read.
    ///
    /// Not undone by dropping the future: what was sent was sent, and nobody is told what became of it.
    ///
    /// # Errors
    /// See [`SendError`]; only [`SendError::NotSent`] leaves no doubt.
    pub async fn send(
        &self,
        mut request: Request<B>,
        freshness: Freshness,
        head_timeout: Duration,
    ) -> Result<Response<Incoming>, SendError> {
        if request.uri().scheme().is_none()
            || request.uri().authority().is_none()
            || request.method() == Method::CONNECT
        {
            return Err(SendError::NotSent(Failure::of(NotSentReason::NoTarget)));
        }
        // The caller's version is not the upstream's: the connection decides.
        *request.version_mut() = http::Version::HTTP_11;
        match freshness {
            Freshness::Pooled => match tokio::time::timeout(head_timeout, self.pooled.request(request)).await {
                Ok(answer) => answer.map_err(error::classify),
                Err(_) => Err(SendError::TimedOut),
            },
            Freshness::Fresh => {
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
    }
}

#[cfg(test)]
mod tests;
