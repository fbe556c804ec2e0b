//! Bodies on their way through: what callers receive, what upstreams are sent, and the bounded read in between.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use tokio_util::task::TaskTracker;

use super::expected::{Expected, ended};
use super::mcp::ChannelBody;
use crate::connect::UpstreamBody;
use crate::gate::release::{Release, Sent};
use crate::listener::is_reset_for_a_fault;

/// Any failure of a body that is not ours to tell apart.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a caller receives.
#[derive(Debug)]
pub enum AnswerBody {
    /// Made by the gateway.
    Own(Full<Bytes>),
    /// The upstream's, as it comes.
    Upstream(UpstreamBody),
    /// The upstream's, and its end settles the release. Boxed, so that the answers to calls that nobody held stay small.
    Released(Box<ReleasedBody>),
    /// The agents' part of the API.
    Api(axum::body::Body),
    /// An event stream that the gateway writes.
    Stream(ChannelBody),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            AnswerBody::Own(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            AnswerBody::Upstream(body) => Pin::new(body).poll_frame(cx),
            AnswerBody::Released(body) => Pin::new(body.as_mut()).poll_frame(cx),
            AnswerBody::Api(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            AnswerBody::Stream(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Own(body) => body.is_end_stream(),
            AnswerBody::Upstream(body) => body.is_end_stream(),
            AnswerBody::Released(body) => body.is_end_stream(),
            AnswerBody::Api(body) => body.is_end_stream(),
            AnswerBody::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Own(body) => body.size_hint(),
            AnswerBody::Upstream(body) => body.size_hint(),
            AnswerBody::Released(body) => body.size_hint(),
            AnswerBody::Api(body) => body.size_hint(),
            AnswerBody::Stream(body) => body.size_hint(),
        }
    }
}

impl From<Bytes> for AnswerBody {
    fn from(bytes: Bytes) -> Self {
        AnswerBody::Own(Full::new(bytes))
    }
}

/// What an upstream is sent.
pub enum CallBody {
    /// Read and judged: exactly these bytes.
    Judged(Full<Bytes>),
    /// Not needed for the verdict: the caller's passes as it comes.
    Passing(PromptBody<Incoming>),
}

impl CallBody {
    /// Exactly these bytes; an absent body has none.
    pub fn judged(body: Option<Bytes>) -> Self {
        CallBody::Judged(Full::new(body.unwrap_or_default()))
    }

    /// The caller's body as it comes, each piece within `timeout`.
    pub fn passing(body: Incoming, timeout: Duration) -> Self {
        CallBody::Passing(PromptBody::new(body, timeout))
    }
}

/// A body of which nothing more came in time.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("nothing more came in time")]
struct Stalled;

/// A body each piece of which comes within `timeout`, or that fails.
pub struct PromptBody<B> {
    body: B,
    timeout: Duration,
    /// Runs while a piece is awaited, and only then: most bodies come with their heads.
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<B> PromptBody<B> {
    /// `body`, with a bound on how long each piece may take.
    pub const fn new(body: B, timeout: Duration) -> Self {
        Self { body, timeout, timer: None }
    }
}

impl<B: Body<Error: Into<BoxError>> + Unpin> Body for PromptBody<B> {
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let Self { body, timeout, timer } = self.get_mut();
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(frame) => {
                *timer = None;
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(*timeout)));
                ready!(timer.as_mut().poll(cx));
                Poll::Ready(Some(Err(Stalled.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Body for CallBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            CallBody::Judged(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            CallBody::Passing(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            CallBody::Judged(body) => body.is_end_stream(),
            CallBody::Passing(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            CallBody::Judged(body) => body.size_hint(),
            CallBody::Passing(body) => body.size_hint(),
        }
    }
}

/// How much of an answer is read for its end alone, after its caller has left.
const DRAIN_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long that may take.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(60);

type Recording = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The answer to a released call. Its end is passed on only after the outcome is on disk; when the caller leaves in the middle, the
/// rest is read in a task of its own, because what the upstream did does not depend on who still listens.
///
/// A caller that was told a length has the whole answer with its last byte, and waits for no end: so the last piece is kept back as
/// well. An answer without a body has no piece to keep back, and is recorded before its head is passed on ([`has_ended`]).
pub struct ReleasedBody {
    inner: Option<UpstreamBody>,
    /// What completes the answer, until the outcome is on disk.
    last: Option<Frame<Bytes>>,
    status: u16,
    /// What must be in it, where its status does not say everything.
    expected: Option<Expected>,
    release: Option<Release>,
    recording: Option<(Recording, Option<BoxError>)>,
    tracker: TaskTracker,
}

impl ReleasedBody {
    /// The body of an answer with this status, whose end settles `release`.
    pub fn new(
        inner: UpstreamBody,
        status: u16,
        expected: Option<Expected>,
        release: Release,
        tracker: TaskTracker,
    ) -> Self {
        Self { inner: Some(inner), last: None, status, expected, release: Some(release), recording: None, tracker }
    }

    fn look(&mut self, frame: &Frame<Bytes>) {
        if let (Some(expected), Some(data)) = (&mut self.expected, frame.data_ref()) {
            expected.look(data);
        }
    }

    fn record(&mut self, sent: Sent, error: Option<BoxError>) {
        if let Some(release) = self.release.take() {
            self.recording = Some((Box::pin(release.finish(sent, None)), error));
        }
    }
}

/// Whether everything of an upstream's answer was read: whoever was told its length knows that it is whole.
pub fn has_ended(body: &UpstreamBody) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}

impl std::fmt::Debug for ReleasedBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReleasedBody").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Body for ReleasedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            if let Some((recording, error)) = &mut this.recording {
                ready!(recording.as_mut().poll(cx));
                let error = error.take();
                this.recording = None;
                this.inner = None;
                return Poll::Ready(error.map(Err).or(this.last.take().map(Ok)));
            }
            let Some(inner) = &mut this.inner else {
                return Poll::Ready(None);
            };
            let read = ready!(Pin::new(&mut *inner).poll_frame(cx));
            let is_over = has_ended(inner);
            if let Some(Ok(frame)) = &read {
                this.look(frame);
            }
            match read {
                Some(Ok(frame)) if !is_over => return Poll::Ready(Some(Ok(frame))),
                Some(Ok(frame)) => {
                    this.last = Some(frame);
                    this.record(ended(this.expected.as_ref(), this.status), None);
                }
                Some(Err(error)) => {
                    let sent = Sent::Lost(format!("the upstream broke off in the middle of its answer: {error}"));
                    this.record(sent, Some(error));
                }
                None => this.record(ended(this.expected.as_ref(), this.status), None),
            }
            if this.recording.is_none() {
                return Poll::Ready(this.last.take().map(Ok));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let kept = self.last.as_ref().and_then(Frame::data_ref).map_or(0, |data| data.len() as u64);
        match &self.inner {
            Some(inner) if kept == 0 => inner.size_hint(),
            Some(_) | None => SizeHint::with_exact(kept),
        }
    }
}

impl Drop for ReleasedBody {
    fn drop(&mut self) {
        if let Some((recording, _)) = self.recording.take() {
            self.tracker.spawn(recording);
        } else if let (Some(inner), Some(release)) = (self.inner.take(), self.release.take()) {
            let (status, expected) = (self.status, self.expected.take());
            self.tracker.spawn(async move { release.finish(drained(inner, status, expected).await, None).await });
        }
    }
}

/// Reads an answer that nobody waits for to its end, within bounds.
async fn drained(body: UpstreamBody, status: u16, mut expected: Option<Expected>) -> Sent {
    let mut body = Limited::new(body, DRAIN_BYTES_MAX);
    let read = async {
        while let Some(frame) = body.frame().await {
            if let (Some(expected), Some(data)) = (&mut expected, frame?.data_ref()) {
                expected.look(data);
            }
        }
        Ok::<(), BoxError>(())
    };
    match tokio::time::timeout(DRAIN_TIME_MAX, read).await {
        Ok(Ok(())) => ended(expected.as_ref(), status),
        Ok(Err(error)) => Sent::Lost(format!("the caller left and the rest of the answer could not be read: {error}")),
        Err(_) => Sent::Lost("the caller left and the upstream did not end its answer in time".to_owned()),
    }
}

/// Why a body could not be read whole.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// Over the limit.
    #[error("the body is larger than {max} bytes")]
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// It took too long.
    #[error("the body did not arrive within {}", humantime(*after))]
    TimedOut {
        /// How long was waited.
        after: Duration,
    },
    /// The caller broke off or framed it badly.
    #[error("the body ended early or is badly framed")]
    Incomplete,
    /// It broke a rule of HTTP/2, for which its stream was reset: the listener has told so.
    #[error("the body broke the rules of HTTP/2")]
    Reset,
}

fn humantime(span: Duration) -> String {
    format!("{} s", span.as_secs_f64())
}

/// Reads a caller's body whole, within `max` bytes and `timeout`.
pub async fn read_whole(body: Incoming, max: u64, timeout: Duration) -> Result<Bytes, ReadError> {
    if body.size_hint().lower() > max {
        return Err(ReadError::TooLarge { max });
    }
    let mut limited = Limited::new(body, usize::try_from(max).unwrap_or(usize::MAX));
    match tokio::time::timeout(timeout, joined(&mut limited)).await {
        Ok(Ok(whole)) => Ok(whole),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(ReadError::TooLarge { max }),
        Ok(Err(error)) if error.downcast_ref().is_some_and(is_reset_for_a_fault) => Err(ReadError::Reset),
        Ok(Err(_)) => Err(ReadError::Incomplete),
        Err(_) => Err(ReadError::TimedOut { after: timeout }),
    }
}

/// All pieces as one. Most bodies are one piece, which came with the head.
async fn joined(body: &mut Limited<Incoming>) -> Result<Bytes, BoxError> {
    let first = next_piece(body).await?.unwrap_or_default();
    if body.is_end_stream() {
        return Ok(first);
    }
    let mut whole = BytesMut::from(first);
    while let Some(piece) = next_piece(body).await? {
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

async fn next_piece(body: &mut Limited<Incoming>) -> Result<Option<Bytes>, BoxError> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}
