//! Bytes to lines, within a limit. Pure.

use bytes::{Buf, Bytes, BytesMut};

/// What is kept of memory that a long line took.
const SPARE_BYTES_MAX: usize = 64 * 1024;

/// One line, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// All of it.
    Whole(Bytes),
    /// The beginning of one that is over the limit; the rest is thrown away.
    TooLong(Bytes),
}

/// Collects bytes and gives lines. Holds at most one line over what was pushed last.
#[derive(Debug)]
pub(super) struct Lines {
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line break.
    scanned: usize,
    line_max: usize,
    beginning_max: usize,
    /// The line under way was too long.
    skipping: bool,
}

impl Lines {
    /// Lines of at most `line_max` bytes; of a longer one, the first `beginning_max`.
    pub(super) fn new(line_max: usize, beginning_max: usize) -> Self {
        Self { buffer: BytesMut::new(), scanned: 0, line_max, beginning_max, skipping: false }
    }

    /// Takes what was read. Ask for lines until there is none before pushing again.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next line.
    pub(super) fn next(&mut self) -> Option<Line> {
        loop {
            let Some(found) = memchr::memchr(b'\n', &self.buffer[self.scanned..]) else {
                self.scanned = self.buffer.len();
                return self.too_long_already();
            };
            let mut line = self.buffer.split_to(self.scanned + found);
            self.buffer.advance(1);
            self.scanned = 0;
            if self.buffer.is_empty() && self.buffer.capacity() > SPARE_BYTES_MAX {
                self.buffer = BytesMut::new();
            }
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if line.len() > self.line_max {
                return Some(Line::TooLong(line.split_to(self.beginning_max.min(line.len())).freeze()));
            }
            return Some(Line::Whole(line.freeze()));
        }
    }

    /// Told as soon as it is known, and forgotten: the end of such a line may never come.
    fn too_long_already(&mut self) -> Option<Line> {
        if self.skipping {
            self.buffer.clear();
        } else if self.buffer.len() > self.line_max {
            self.skipping = true;
            let mut line = std::mem::take(&mut self.buffer);
            self.scanned = 0;
            line.truncate(self.beginning_max);
            return Some(Line::TooLong(Bytes::copy_from_slice(&line)));
        }
        self.scanned = self.buffer.len();
        None
    }

    /// What came after the last line break, once nothing more will come.
    pub(super) fn rest(&mut self) -> Option<Bytes> {
        let rest = std::mem::take(&mut self.buffer).freeze();
        (!rest.is_empty() && !self.skipping).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &'static str) -> Line {
        Line::Whole(Bytes::from_static(text.as_bytes()))
    }

    fn all(lines: &mut Lines, bytes: &[u8]) -> Vec<Line> {
        lines.push(bytes);
        std::iter::from_fn(|| lines.next()).collect()
    }

    #[test]
    fn lines_come_whole_however_the_bytes_are_cut() {
        let text = b"one\n\ntwo\nthree\n";
        for size in 1..=text.len() {
            let mut lines = Lines::new(5, 2);
            let found: Vec<Line> = text.chunks(size).flat_map(|part| all(&mut lines, part)).collect();
            assert_eq!(found, [whole("one"), whole(""), whole("two"), whole("three")], "{size}");
            assert_eq!(lines.rest(), None);
        }
    }

    #[test]
    fn a_line_over_the_limit_is_told_once_and_the_next_one_is_whole() {
        let text = b"abcdefghij\nok\n";
        for size in 1..=text.len() {
            let mut lines = Lines::new(4, 2);
            let found: Vec<Line> = text.chunks(size).flat_map(|part| all(&mut lines, part)).collect();
            assert_eq!(found, [Line::TooLong(Bytes::from_static(b"ab")), whole("ok")], "{size}");
        }
    }

    #[test]
    fn a_line_without_an_end_takes_no_more_memory_than_the_limit() {
        let mut lines = Lines::new(100, 10);
        let mut told = 0;
        for _ in 0..10_000 {
            told += all(&mut lines, &[b'x'; 50]).len();
            assert!(lines.buffer.len() <= 150, "{}", lines.buffer.len());
        }
        assert_eq!(told, 1);
        assert_eq!(all(&mut lines, b"\nback\n"), [whole("back")]);
    }

    #[test]
    fn what_has_no_line_break_is_given_at_the_end() {
        let mut lines = Lines::new(100, 10);
        assert_eq!(all(&mut lines, b"a\nlast words"), [whole("a")]);
        assert_eq!(lines.rest(), Some(Bytes::from_static(b"last words")));
    }
}
