//! Server-sent events: written, and taken apart piece by piece within a bound.

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

/// Media type of an event stream.
pub const MEDIA_TYPE: &str = "text/event-stream";
/// A comment: bytes that keep a connection alive and mean nothing.
pub const KEEPALIVE: &[u8] = b": keepalive\n\n";

/// An event that carries one JSON-RPC message.
pub fn message(json: &str) -> Bytes {
    // Written by us or taken from a JSON body: line ends can stand only between tokens, and each starts a line of its own.
    let lines = json.trim_end_matches(['\r', '\n']).split("\r\n").flat_map(|part| part.split(['\r', '\n']));
    let data: String = lines.map(|line| format!("data: {line}\n")).collect();
    format!("event: message\n{data}\n").into()
}

/// An event without content that gives the stream an id to resume from.
pub fn priming(id: &str, retry_ms: u64) -> Bytes {
    format!("id: {id}\nretry: {retry_ms}\ndata: \n\n").into()
}

/// One event as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Every byte of it, with the empty line that ends it.
    pub raw: Bytes,
    /// Its data; `None` when it has none.
    pub data: Option<String>,
    /// Its id.
    pub id: Option<String>,
}

/// An event is larger than the reader may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than {max} bytes")]
pub struct TooLarge {
    /// The bound.
    pub max: usize,
}

/// Takes a stream apart into events. Holds at most one incomplete event.
#[derive(Debug)]
pub struct Reader {
    buffer: BytesMut,
    /// Bytes of the buffer that were looked at.
    scanned: usize,
    /// Where the line that is being looked at starts.
    line: usize,
    /// The last event ended with a carriage return and nothing behind it: a line feed that comes next belongs to that.
    after_return: bool,
    /// No event has been handed out yet.
    at_start: bool,
    max: usize,
}

impl Reader {
    /// A reader for events of at most `max` bytes.
    pub fn new(max: usize) -> Self {
        Self { buffer: BytesMut::new(), scanned: 0, line: 0, after_return: false, at_start: true, max }
    }

    /// Adds what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event; `None` when more must arrive first.
    ///
    /// # Errors
    /// When what is buffered of one event is beyond the bound. It stays in the buffer, for [`Reader::rest`] to hand out.
    pub fn next_event(&mut self) -> Result<Option<Event>, TooLarge> {
        if let (true, Some(first)) = (self.after_return, self.buffer.first()) {
            let rest_of_line_end = usize::from(*first == b'\n');
            (self.scanned, self.line, self.after_return) = (rest_of_line_end, rest_of_line_end, false);
        }
        while let Some(at) = memchr2(b'\n', b'\r', &self.buffer[self.scanned..]).map(|at| self.scanned + at) {
            let is_blank = at == self.line;
            let end = match (self.buffer[at], self.buffer.get(at + 1)) {
                (b'\r', Some(b'\n')) => at + 2,
                // A line feed may still follow; an event that is whole does not wait for it.
                (b'\r', None) if !is_blank => break,
                _ => at + 1,
            };
            if is_blank {
                if end > self.max {
                    return Err(TooLarge { max: self.max });
                }
                self.after_return = end == self.buffer.len() && self.buffer[end - 1] == b'\r';
                let raw = self.buffer.split_to(end).freeze();
                (self.scanned, self.line) = (0, 0);
                return Ok(Some(parse(&raw, std::mem::take(&mut self.at_start))));
            }
            (self.scanned, self.line) = (end, end);
        }
        if self.buffer.len() > self.max {
            return Err(TooLarge { max: self.max });
        }
        Ok(None)
    }

    /// What has arrived of an event that is not whole, or is too large.
    pub fn rest(&mut self) -> Bytes {
        (self.scanned, self.line, self.after_return) = (0, 0, false);
        self.buffer.split().freeze()
    }
}

fn parse(raw: &Bytes, at_start: bool) -> Event {
    let text = String::from_utf8_lossy(raw);
    // Clients drop a byte order mark that starts the stream; an event behind one must not go unseen.
    let text = text.strip_prefix('\u{FEFF}').filter(|_| at_start).unwrap_or(&text);
    let (mut data, mut id): (Option<String>, Option<String>) = (None, None);
    // `lines` ends lines at line feeds only.
    for line in text.split(['\n', '\r']).filter(|line| !line.is_empty()) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => match &mut data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => data = Some(value.to_owned()),
            },
            "id" => id = Some(value.to_owned()),
            _ => {}
        }
    }
    Event { data, id, raw: raw.clone() }
}
