//! Event streams: the same events whichever pieces the bytes come in, every byte passed on once, and the events that a
//! reader finds which follows the WHATWG standard step by step.
//!
//! The first byte of an input says how small the pieces are; the rest is the stream.

use bytes::Bytes;
use holdpoint::protocol::mcp::sse::{self, Event, Reader};

/// Checks one stream.
pub(crate) fn check(data: &[u8]) {
    let Some((size, stream)) = data.split_first() else { return };
    let (whole, rest) = events(stream, stream.len().max(1), stream.len() + 2);
    let (pieces, _) = events(stream, usize::from(*size).max(1), stream.len() + 2);
    let said = |events: &[Event]| events.iter().map(|event| (event.data.clone(), event.id.clone())).collect::<Vec<_>>();
    assert_eq!(said(&whole), said(&pieces), "pieces of {size} bytes are read differently");
    assert!(rest.is_empty() || !rest.ends_with(b"\n\n"), "a whole event was left over");
    let data: Vec<String> = whole.into_iter().filter_map(|event| event.data).collect();
    assert_eq!(data, by_the_standard(stream), "{:?}", String::from_utf8_lossy(stream));
    // A small bound: what is returned is within it, and nothing is lost.
    let max = 16 + usize::from(*size);
    let (within, _) = events(stream, usize::from(*size).max(1), max);
    assert!(within.iter().all(|event| event.raw.len() <= max));
    if let Ok(text) = std::str::from_utf8(stream)
        && serde_json::from_str::<serde_json::Value>(text).is_ok()
    {
        check_message(text);
    }
}

/// Reads a stream in pieces of `size` bytes, up to an event beyond the bound, and checks that no byte is lost or doubled.
fn events(stream: &[u8], size: usize, max: usize) -> (Vec<Event>, Bytes) {
    let mut reader = Reader::new(max);
    let (mut events, mut pushed) = (Vec::new(), 0);
    'pieces: for piece in stream.chunks(size) {
        reader.push(piece);
        pushed += piece.len();
        loop {
            match reader.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(_) => break 'pieces,
            }
        }
    }
    let rest = reader.rest();
    let passed: Vec<u8> = events.iter().flat_map(|event| event.raw.iter()).chain(rest.iter()).copied().collect();
    assert_eq!(passed, stream[..pushed], "bytes were lost or doubled");
    (events, rest)
}

/// The data of the events that the standard's parser dispatches.
fn by_the_standard(stream: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(stream).replace("\r\n", "\n").replace('\r', "\n");
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
    let (mut found, mut buffer) = (Vec::new(), String::new());
    // What follows the last line end is no line.
    let lines = text.split('\n').take(text.split('\n').count() - 1);
    for line in lines {
        if line.is_empty() {
            if let Some(data) = buffer.strip_suffix('\n') {
                found.push(data.to_owned());
            }
            buffer.clear();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        if field == "data" {
            buffer.push_str(value.strip_prefix(' ').unwrap_or(value));
            buffer.push('\n');
        }
    }
    found
}

/// A message that the gateway writes as an event is read back as the same document.
fn check_message(text: &str) {
    let event = sse::message(text);
    let found = by_the_standard(&event);
    let [data] = found.as_slice() else { panic!("one message is {} events: {text:?}", found.len()) };
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON before and after");
    assert_eq!(read(data), read(text));
    assert_eq!(events(&event, event.len(), event.len()).0.len(), 1);
}
