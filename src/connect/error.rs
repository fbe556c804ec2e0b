//! What became of a request that has no response.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use hyper_util::client::legacy;

use super::connector::ConnectFailure;

/// Any error, as bodies and connections hand it on.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No byte of the request was sent: it can be sent again.
    #[error("nothing was sent: {0}")]
    NotSent(#[source] Failure<NotSentReason>),
    /// The connection was lost after something may have been sent: the call may have run.
    #[error("the upstream was lost: {0}")]
    Lost(#[source] Failure<LostReason>),
    /// No response head in time: the call may have run, or may still be running.
    #[error("the upstream did not answer in time")]
    TimedOut,
}

/// A reason, and the error beneath it for the log. `Display` writes the reason alone, which is fit for callers.
#[derive(Debug)]
pub struct Failure<R> {
    reason: R,
    cause: Option<BoxError>,
}

/// Why nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSentReason {
    /// The request has no absolute URI, or is a `CONNECT`.
    #[error("the request names no upstream")]
    NoTarget,
    /// The upstream's name has no address.
    #[error("the upstream's name could not be resolved")]
    Resolve,
    /// Nobody accepted the connection.
    #[error("the upstream could not be connected to")]
    Connect,
    /// What was connected to is the gateway itself.
    #[error(
        "the upstream's address is one of the gateway's own listeners; its `url` must name the tool backend itself"
    )]
    OwnListener,
    /// The TLS handshake failed.
    #[error("the TLS handshake with the upstream failed")]
    Tls,
    /// Connecting took too long.
    #[error("connecting to the upstream took too long")]
    TimedOut,
    /// The upstream closed the connection before the request was begun.
    #[error("the upstream closed the connection before the request was begun")]
    Closed,
    /// The request's own body failed on its way.
    #[error("the request's body ended early")]
    RequestBody,
    /// The upstream's program could not be started.
    #[error("the upstream's program could not be started")]
    Start,
    /// As many of the upstream's programs run as may.
    #[error("as many of the upstream's programs are running as its `children_max` allows; try again later")]
    ChildrenMax,
    /// The upstream's program ended by itself, and again, and is started once more only later.
    #[error("the upstream's program keeps ending; it is started again in a moment")]
    Restarting,
}

/// How the upstream was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LostReason {
    /// It closed the connection without a whole response head.
    #[error("it closed the connection without answering")]
    ClosedEarly,
    /// The connection was reset or broke.
    #[error("the connection broke")]
    Reset,
    /// It answered with something that is no HTTP response, or too large a head.
    #[error("its answer is no HTTP response that can be read")]
    BadResponse,
    /// The request's own body failed on its way: the caller left, or it was over a limit.
    #[error("the request's body ended early")]
    RequestBody,
    /// Its answer is longer than is accepted.
    #[error("its answer is longer than is accepted")]
    TooLong,
    /// In another way.
    #[error("the request failed under way")]
    Other,
}

impl<R> Failure<R> {
    pub(super) const fn of(reason: R) -> Self {
        Self { reason, cause: None }
    }

    pub(super) fn from(reason: R, cause: impl Into<BoxError>) -> Self {
        Self { reason, cause: Some(cause.into()) }
    }
}

impl<R: Copy> Failure<R> {
    /// The reason by name.
    pub const fn reason(&self) -> R {
        self.reason
    }
}

impl<R: fmt::Display> fmt::Display for Failure<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl<R: fmt::Debug + fmt::Display> StdError for Failure<R> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_ref().map(|cause| &**cause as &(dyn StdError + 'static))
    }
}

/// Sorts an error of a request that may have met a connection.
pub(super) fn classify(error: legacy::Error) -> SendError {
    if error.is_connect() {
        return classify_unsent(error);
    }
    // Only the outermost error is the connection's: one further down may be that of the request's body, which in a
    // proxy is an error of the same type from the caller's connection.
    let Some(inner) = error.source().and_then(|source| source.downcast_ref::<hyper::Error>()) else {
        return SendError::Lost(Failure::from(LostReason::Other, error));
    };
    if inner.is_canceled() {
        // The connection handed the request back before it had written any of it.
        return SendError::NotSent(Failure::from(NotSentReason::Closed, error));
    }
    let reason = if inner.is_incomplete_message() {
        LostReason::ClosedEarly
    } else if inner.is_parse() {
        LostReason::BadResponse
    } else if inner.is_user() {
        LostReason::RequestBody
    } else if inner.source().is_some_and(is_broken_connection) {
        LostReason::Reset
    } else {
        LostReason::Other
    };
    SendError::Lost(Failure::from(reason, error))
}

/// Sorts an error of a request that met no connection.
pub(super) fn classify_unsent(error: legacy::Error) -> SendError {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    let mut reason = NotSentReason::Closed;
    while let Some(current) = cause {
        if let Some(failure) = current.downcast_ref::<ConnectFailure>() {
            reason = failure.reason();
            break;
        }
        cause = current.source();
    }
    SendError::NotSent(Failure::from(reason, error))
}

fn is_broken_connection(error: &(dyn StdError + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
        )
    })
}
