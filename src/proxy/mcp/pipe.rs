//! Between a task that writes an event stream and the connection that carries it: a few pieces, one writer, one reader.
//!
//! Thousands of streams are silent at once while their calls are held, and a silent one keeps next to nothing here: the room for
//! pieces is taken when there are any and given back when there are none.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

/// Pieces that may wait for a caller that reads slowly.
const PIECES_MAX: usize = 8;

/// The caller no longer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<Bytes>,
    /// Woken when there is a piece, or the writer has gone.
    reader: Option<Waker>,
    /// Woken when there is room again, or the reader has gone.
    writer: Option<Waker>,
    is_read: bool,
    is_written: bool,
}

/// Where pieces go in. Dropped, what is in the pipe is still read.
#[derive(Debug)]
pub(super) struct Writer(Arc<Mutex<State>>);

/// Where pieces come out.
#[derive(Debug)]
pub(super) struct Reader(Arc<Mutex<State>>);

/// A pipe with nothing in it.
pub(super) fn pipe() -> (Writer, Reader) {
    let state = Arc::new(Mutex::new(State { is_read: true, is_written: true, ..State::default() }));
    (Writer(state.clone()), Reader(state))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    /// Puts a piece in, as soon as there is room.
    pub(super) async fn write(&self, piece: Bytes) -> Result<(), Gone> {
        std::future::poll_fn(|cx| self.poll_room(cx)).await?;
        self.push(piece);
        Ok(())
    }

    /// Puts a piece in if there is room now.
    pub(super) fn offer(&self, piece: Bytes) {
        let has_room = {
            let state = lock(&self.0);
            state.is_read && state.pieces.len() < PIECES_MAX
        };
        if has_room {
            self.push(piece);
        }
    }

    /// Whether nobody reads any more.
    pub(super) fn is_gone(&self) -> bool {
        !lock(&self.0).is_read
    }

    /// Returns when nobody reads any more.
    pub(super) async fn gone(&self) {
        std::future::poll_fn(|cx| {
            let mut state = lock(&self.0);
            if !state.is_read {
                return Poll::Ready(());
            }
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn poll_room(&self, cx: &Context<'_>) -> Poll<Result<(), Gone>> {
        let mut state = lock(&self.0);
        if !state.is_read {
            return Poll::Ready(Err(Gone));
        }
        if state.pieces.len() < PIECES_MAX {
            return Poll::Ready(Ok(()));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn push(&self, piece: Bytes) {
        let reader = {
            let mut state = lock(&self.0);
            state.pieces.push_back(piece);
            state.reader.take()
        };
        // A waker runs code of others.
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let reader = {
            let mut state = lock(&self.0);
            state.is_written = false;
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Reader {
    /// The next piece; `None` when the writer has gone and everything was read.
    pub(super) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = lock(&self.0);
        let was_full = state.pieces.len() >= PIECES_MAX;
        let Some(piece) = state.pieces.pop_front() else {
            if !state.is_written {
                return Poll::Ready(None);
            }
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        if state.pieces.is_empty() {
            state.pieces = VecDeque::new();
        }
        let writer = if was_full { state.writer.take() } else { None };
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
        Poll::Ready(Some(piece))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let (writer, unread) = {
            let mut state = lock(&self.0);
            state.is_read = false;
            (state.writer.take(), std::mem::take(&mut state.pieces))
        };
        drop(unread);
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::JoinHandle;

    fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        tokio_util::task::TaskTracker::new().spawn(task)
    }

    async fn next(reader: &mut Reader) -> Option<Bytes> {
        std::future::poll_fn(|cx| reader.poll_next(cx)).await
    }

    fn piece(number: usize) -> Bytes {
        Bytes::from(number.to_string())
    }

    #[tokio::test]
    async fn pieces_come_out_in_order_and_then_the_end() {
        let (writer, mut reader) = pipe();
        let written = spawn(async move {
            for number in 0..100 {
                writer.write(piece(number)).await.expect("it is read");
            }
        });
        for number in 0..100 {
            assert_eq!(next(&mut reader).await, Some(piece(number)));
        }
        assert_eq!(next(&mut reader).await, None);
        written.await.expect("all was written");
    }

    #[tokio::test]
    async fn what_a_writer_left_behind_is_still_read() {
        let (writer, mut reader) = pipe();
        writer.offer(piece(1));
        drop(writer);
        assert_eq!(next(&mut reader).await, Some(piece(1)));
        assert_eq!(next(&mut reader).await, None);
    }

    #[tokio::test]
    async fn a_full_pipe_takes_no_offer_and_holds_a_writer_up_until_one_is_read() {
        let (writer, mut reader) = pipe();
        for number in 0..=PIECES_MAX {
            writer.offer(piece(number));
        }
        let waiting = spawn(async move { writer.write(piece(100)).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        for number in 0..PIECES_MAX {
            assert_eq!(next(&mut reader).await, Some(piece(number)));
        }
        assert_eq!(next(&mut reader).await, Some(piece(100)));
        assert_eq!(waiting.await.expect("it ended"), Ok(()));
    }

    #[tokio::test]
    async fn a_writer_learns_that_nobody_reads() {
        let (writer, reader) = pipe();
        assert!(!writer.is_gone());
        let told = spawn(async move {
            writer.gone().await;
            (writer.is_gone(), writer.write(piece(1)).await)
        });
        tokio::task::yield_now().await;
        drop(reader);
        assert_eq!(told.await.expect("it ended"), (true, Err(Gone)));
    }

    #[tokio::test]
    async fn a_writer_that_waits_for_room_learns_that_nobody_reads() {
        let (writer, reader) = pipe();
        (0..PIECES_MAX).for_each(|number| writer.offer(piece(number)));
        let waiting = spawn(async move { writer.write(piece(100)).await });
        tokio::task::yield_now().await;
        drop(reader);
        assert_eq!(waiting.await.expect("it ended"), Err(Gone));
    }
}
