//! The body of an event stream that the gateway writes, and the pulse that keeps it alive.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior};

use crate::protocol::mcp::{progress, sse};

pub(super) use super::pipe::Gone;
use super::pipe::{Reader, Writer, pipe};

/// How often a silent stream gets a comment: below the idle limit of every common client and proxy, and the probe that finds out
/// that the caller has gone.
pub(super) const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
/// How often progress is reported to those who asked for it.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// By how much progress grows: small, so that the upstream's own figures stay above.
const PROGRESS_STEP: f64 = 0.001;

/// Longer than any stream lives.
const LONG: Duration = Duration::from_secs(365 * 24 * 3600);

/// What the caller reads.
#[derive(Debug)]
pub struct ChannelBody {
    pieces: Reader,
}

impl Body for ChannelBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.pieces.poll_next(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// What the gateway writes to, with its pulse: comments, and progress where the caller gave a token.
pub(super) struct Pulse {
    writer: Writer,
    keepalive: tokio::time::Interval,
    /// Boxed: most callers ask for none.
    progress: Option<Box<Progress>>,
}

/// Progress under the caller's token, strictly increasing, whoever reports it.
struct Progress {
    token: String,
    message: String,
    every: tokio::time::Interval,
    last: Option<f64>,
}

impl Pulse {
    /// A stream and its pulse. `token` is JSON text; `message` says what is waited for.
    pub(super) fn new(token: Option<String>, message: String) -> (Self, ChannelBody) {
        let (writer, pieces) = pipe();
        let every = |period| {
            let mut interval = tokio::time::interval_at(Instant::now() + period, period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        };
        let progress =
            token.map(|token| Box::new(Progress { token, message, every: every(PROGRESS_EVERY), last: None }));
        (Self { writer, keepalive: every(KEEPALIVE_EVERY), progress }, ChannelBody { pieces })
    }

    /// A stream that another writer keeps alive.
    pub(super) fn silent() -> (Self, ChannelBody) {
        let (mut pulse, body) = Self::new(None, String::new());
        pulse.keepalive.reset_after(LONG);
        (pulse, body)
    }

    /// Writes a piece. A caller that does not read holds this up, and nothing else.
    pub(super) async fn write(&self, piece: Bytes) -> Result<(), Gone> {
        self.writer.write(piece).await
    }

    /// Writes a piece to a caller that reads; one that has stopped reading has enough in its buffer.
    pub(super) fn offer(&self, piece: Bytes) {
        self.writer.offer(piece);
    }

    /// Whether the caller is gone, as far as is known.
    pub(super) fn is_gone(&self) -> bool {
        self.writer.is_gone()
    }

    /// Carries `work` out while the pulse beats.
    ///
    /// # Errors
    /// When the caller leaves before it is done; `work` is dropped then.
    pub(super) async fn alongside<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Gone> {
        let mut work = pin!(work);
        loop {
            let Self { writer, keepalive, progress } = self;
            let tick = async {
                match progress {
                    Some(progress) => {
                        progress.every.tick().await;
                        progress.next()
                    }
                    None => std::future::pending().await,
                }
            };
            let piece = tokio::select! {
                done = &mut work => return Ok(done),
                () = writer.gone() => return Err(Gone),
                _ = keepalive.tick() => Bytes::from_static(sse::KEEPALIVE),
                piece = tick => piece,
            };
            // A caller that has stopped reading has enough in its buffer to be kept alive by.
            writer.offer(piece);
        }
    }

    /// The upstream's own progress, moved above what was reported before; `None` when it need not be, or is reported under another
    /// token than the caller's.
    pub(super) fn above(&mut self, token: &Value, reported: f64) -> Option<f64> {
        let progress = self.progress.as_mut().filter(|progress| progress.is_under(token))?;
        let moved = match progress.last {
            Some(last) if reported <= last => Some((last + PROGRESS_STEP).max(last.next_up())),
            Some(_) | None => None,
        };
        progress.last = Some(moved.unwrap_or(reported));
        moved
    }

    /// From now on the upstream reports for itself.
    pub(super) fn hand_over(&mut self) {
        if let Some(progress) = &mut self.progress {
            progress.every.reset_after(LONG);
        }
    }
}

impl Progress {
    fn is_under(&self, token: &Value) -> bool {
        serde_json::from_str::<Value>(&self.token).is_ok_and(|own| own == *token)
    }

    fn next(&mut self) -> Bytes {
        let next = self.last.unwrap_or(0.0) + PROGRESS_STEP;
        self.last = Some(next);
        sse::message(&progress(&self.token, next, &self.message))
    }
}
