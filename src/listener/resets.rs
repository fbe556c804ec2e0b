//! Streams of HTTP/2 that the library resets because of what the client sent on them.
//!
//! The library tells the client and nobody else: such a request never reaches the service. So the frames that go out are read
//! along, no further than to know a reset and its reason.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes before the payload of each frame: its length (3), kind, flags, stream (4).
const HEAD_BYTES: usize = 9;
/// The kind of the frame that resets a stream.
const RST_STREAM: u8 = 3;
/// What its payload has: a reason.
const REASON_BYTES: usize = 4;

/// Reads the frames of one side, in whatever pieces they come.
#[derive(Debug, Default)]
struct Frames {
    /// The head of a frame, and behind it the payload of a reset.
    bytes: [u8; HEAD_BYTES + REASON_BYTES],
    /// How many of them are there.
    filled: usize,
    /// What is left of the payload of any other frame.
    skip: usize,
}

impl Frames {
    /// Goes through the next bytes, and calls `reset` with the reason of each reset that they complete.
    fn read(&mut self, mut bytes: &[u8], mut reset: impl FnMut(Reason)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let is_reset = self.filled >= HEAD_BYTES;
            let wanted = if is_reset { HEAD_BYTES + REASON_BYTES } else { HEAD_BYTES };
            let taken = (wanted - self.filled).min(bytes.len());
            self.bytes[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled < wanted {
                return;
            }
            let [a, b, c, kind, _, _, _, _, _, reason @ ..] = self.bytes;
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if is_reset {
                reset(Reason::from(u32::from_be_bytes(reason)));
                self.filled = 0;
            } else if kind != RST_STREAM || length != REASON_BYTES {
                self.skip = length;
                self.filled = 0;
            }
        }
    }
}

/// Whether it was the client that broke a rule. The others are ours to give: an end that is none of its doing, no room, a fault. What
/// comes for a stream that is over may have been on its way when it ended, and carries no request.
fn is_clients_fault(reason: Reason) -> bool {
    let faults = [
        Reason::PROTOCOL_ERROR,
        Reason::FLOW_CONTROL_ERROR,
        Reason::FRAME_SIZE_ERROR,
        Reason::COMPRESSION_ERROR,
        Reason::ENHANCE_YOUR_CALM,
    ];
    faults.contains(&reason)
}

/// Whether the body of a request broke off because its stream was reset for what the client did: that has been told already.
pub fn is_reset_for_a_fault(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    let is_ours = |error: &&h2::Error| error.is_library() && error.is_reset();
    source.filter(is_ours).and_then(h2::Error::reason).is_some_and(is_clients_fault)
}

/// A connection whose outgoing frames are read along.
pub(super) struct WatchResets<I, F> {
    io: I,
    frames: Frames,
    tell: F,
}

impl<I, F: FnMut()> WatchResets<I, F> {
    /// Calls `tell` for each stream that is reset for what the client did.
    pub(super) fn new(io: I, tell: F) -> Self {
        Self { io, frames: Frames::default(), tell }
    }

    fn wrote(&mut self, bytes: &[u8]) {
        self.frames.read(bytes, |reason| {
            if is_clients_fault(reason) {
                (self.tell)();
            }
        });
    }
}

impl<I: AsyncRead + Unpin, F: Unpin> AsyncRead for WatchResets<I, F> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin, F: FnMut() + Unpin> AsyncWrite for WatchResets<I, F> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = std::task::ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.wrote(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = std::task::ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs))?;
        let mut left = written;
        for buf in bufs {
            let part = left.min(buf.len());
            self.wrote(&buf[..part]);
            left -= part;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&[a, b, c, kind, 0, 0, 0, 0, 1], payload].concat()
    }

    fn resets(pieces: &[&[u8]]) -> Vec<Reason> {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        pieces.iter().for_each(|piece| frames.read(piece, |reason| found.push(reason)));
        found
    }

    #[test]
    fn resets_are_found_among_other_frames_in_whatever_pieces_they_are_written() {
        let resets_of = [Reason::PROTOCOL_ERROR, Reason::NO_ERROR, Reason::CANCEL];
        let mut bytes = frame(4, &[]);
        for reason in resets_of {
            // Data that looks like a reset is data; a long frame and an empty one go by.
            bytes.extend(frame(0, &frame(RST_STREAM, &1_u32.to_be_bytes())));
            bytes.extend(frame(1, &[3; 70_000]));
            bytes.extend(frame(RST_STREAM, &u32::from(reason).to_be_bytes()));
            bytes.extend(frame(4, &[]));
        }
        assert_eq!(resets(&[&bytes]), resets_of);
        for size in [1, 2, 3, 7, 9, 12, 13, 14, 1_000] {
            assert_eq!(resets(&bytes.chunks(size).collect::<Vec<_>>()), resets_of, "pieces of {size}");
        }
        assert_eq!(resets(&[&bytes[..bytes.len() - 10]]), resets_of[..2], "half a reset is none");
    }

    #[test]
    fn what_the_gateway_ends_for_reasons_of_its_own_is_no_fault_of_the_client() {
        let faults: Vec<u32> = (0..16).filter(|code| is_clients_fault(Reason::from(*code))).collect();
        assert_eq!(faults, [1, 3, 6, 9, 11]);
    }
}
