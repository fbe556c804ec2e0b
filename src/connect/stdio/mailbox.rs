//! What the child says to one listener: a bounded queue, the choice between JSON and events, and the body of the answer.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;

use super::message::Id;
use crate::connect::error::{BoxError, Failure, LostReason, SendError};

/// Messages that may wait for one listener, beside the answer itself.
pub(super) const QUEUED_MESSAGES_MAX: usize = 256;
/// Their bytes together; one message may be longer.
pub(super) const QUEUED_BYTES_MAX: usize = 1024 * 1024;
/// How long a stream of events is silent at most, so that nobody on the way takes it for dead.
pub(super) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// A message on its way to a listener.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) text: String,
    /// The id, when the child waits for an answer to it.
    pub(super) asks: Option<Id>,
}

/// The queue of one listener.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    letters: VecDeque<Letter>,
    bytes: usize,
    answer: Option<String>,
    end: Option<End>,
    waker: Option<Waker>,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Whole,
    Lost(LostReason),
}

/// What comes first.
#[derive(Debug)]
pub(super) enum First {
    /// The answer, and nothing else.
    Answer(String),
    /// Something that belongs to the request, before its answer.
    Events,
    /// Nothing will come.
    Lost(LostReason),
}

impl Mailbox {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        // Nothing in here panics half way.
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (result, waker) = self.with(|state| (change(state), state.waker.take()));
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }

    /// Adds a message; answers with the oldest ones that had to make room.
    pub(super) fn push(&self, letter: Letter) -> Vec<Letter> {
        self.change(|state| {
            let mut dropped = Vec::new();
            let length = letter.text.len();
            while state.letters.len() >= QUEUED_MESSAGES_MAX || state.bytes + length > QUEUED_BYTES_MAX {
                let Some(oldest) = state.letters.pop_front() else { break };
                state.bytes -= oldest.text.len();
                dropped.push(oldest);
            }
            if state.end.is_none() {
                state.bytes += length;
                state.letters.push_back(letter);
            }
            dropped
        })
    }

    /// The answer: the last message.
    pub(super) fn answer(&self, text: String) {
        self.change(|state| {
            state.answer = Some(text);
            state.end = Some(End::Whole);
        });
    }

    /// Nothing more will come, and nothing is missing.
    pub(super) fn finish(&self) {
        self.change(|state| _ = state.end.get_or_insert(End::Whole));
    }

    /// The answer will never come.
    pub(super) fn lose(&self, reason: LostReason) {
        self.change(|state| _ = state.end.get_or_insert(End::Lost(reason)));
    }

    /// What comes first; the answer is taken out, anything else stays.
    pub(super) async fn first(&self) -> First {
        poll_fn(|cx| {
            self.with(|state| {
                if !state.letters.is_empty() {
                    return Poll::Ready(First::Events);
                }
                match (state.answer.take(), state.end) {
                    (Some(text), _) => Poll::Ready(First::Answer(text)),
                    (None, Some(End::Lost(reason))) => Poll::Ready(First::Lost(reason)),
                    (None, Some(End::Whole)) => Poll::Ready(First::Events),
                    (None, None) => {
                        state.waker = Some(cx.waker().clone());
                        Poll::Pending
                    }
                }
            })
        })
        .await
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Result<String, LostReason>>> {
        self.with(|state| {
            if let Some(letter) = state.letters.pop_front() {
                state.bytes -= letter.text.len();
                return Poll::Ready(Some(Ok(letter.text)));
            }
            match (state.answer.take(), state.end) {
                (Some(text), _) => Poll::Ready(Some(Ok(text))),
                (None, Some(End::Whole)) => Poll::Ready(None),
                (None, Some(End::Lost(reason))) => {
                    state.end = Some(End::Whole);
                    Poll::Ready(Some(Err(reason)))
                }
                (None, None) => {
                    state.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
    }
}

/// The body of an answer of a child.
pub struct StdioBody(Inner);

enum Inner {
    Whole(Option<Bytes>),
    Events(Box<Events>),
}

struct Events {
    mailbox: Arc<Mailbox>,
    keepalive: Pin<Box<Sleep>>,
    /// Ends the listening when the body is dropped.
    _listening: Box<dyn Send + Sync>,
}

impl StdioBody {
    /// These bytes.
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self(Inner::Whole((!bytes.is_empty()).then_some(bytes)))
    }

    /// What arrives in `mailbox`, as server-sent events; `listening` is dropped with the body.
    pub(super) fn events(mailbox: Arc<Mailbox>, listening: impl Send + Sync + 'static) -> Self {
        let keepalive = Box::pin(tokio::time::sleep(KEEPALIVE_INTERVAL));
        Self(Inner::Events(Box::new(Events { mailbox, keepalive, _listening: Box::new(listening) })))
    }
}

impl fmt::Debug for StdioBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Whole(bytes) => f.debug_tuple("Whole").field(&bytes.as_ref().map(Bytes::len)).finish(),
            Inner::Events(_) => f.debug_tuple("Events").finish_non_exhaustive(),
        }
    }
}

impl Events {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, LostReason>>> {
        let event = match self.mailbox.poll_next(cx) {
            Poll::Ready(Some(Ok(text))) => Bytes::from(format!("event: message\ndata: {text}\n\n")),
            Poll::Ready(Some(Err(reason))) => return Poll::Ready(Some(Err(reason))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {
                ready!(self.keepalive.as_mut().poll(cx));
                Bytes::from_static(b": keepalive\n\n")
            }
        };
        self.keepalive.as_mut().reset(tokio::time::Instant::now() + KEEPALIVE_INTERVAL);
        Poll::Ready(Some(Ok(event)))
    }
}

impl http_body::Body for StdioBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.get_mut().0 {
            Inner::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Events(events) => events.poll_event(cx).map(|event| {
                event.map(|event| event.map(Frame::data).map_err(|reason| SendError::Lost(Failure::of(reason)).into()))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Inner::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Inner::Events(_) => SizeHint::default(),
        }
    }
}
