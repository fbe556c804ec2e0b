//! Event streams: whatever the pieces they arrive in, the same events come out.

use proptest::prelude::{Strategy, any, prop};
use proptest::{prop_assert, prop_assert_eq, proptest};

use super::super::sse::{KEEPALIVE, Reader, TooLarge, message, priming};

/// An event's data and id.
type Plain = (Option<String>, Option<String>);

/// Every event of a stream that arrives in these pieces, and all bytes that came out.
fn read(pieces: &[&[u8]], max: usize) -> Result<(Vec<Plain>, Vec<u8>), TooLarge> {
    let mut reader = Reader::new(max);
    let (mut events, mut raw) = (Vec::new(), Vec::new());
    for piece in pieces {
        reader.push(piece);
        while let Some(event) = reader.next_event()? {
            raw.extend_from_slice(&event.raw);
            events.push((event.data, event.id));
        }
    }
    raw.extend_from_slice(&reader.rest());
    Ok((events, raw))
}

fn whole(text: &str) -> Vec<Plain> {
    read(&[text.as_bytes()], 1 << 20).expect("small").0
}

fn data(text: &str) -> Plain {
    (Some(text.to_owned()), None)
}

#[test]
fn fields_are_read_as_the_specification_says() {
    assert_eq!(whole("data: a\n\n"), [data("a")]);
    assert_eq!(whole("data:a\ndata: b\n\n"), [data("a\nb")]);
    assert_eq!(whole("data\n\n"), [data("")]);
    assert_eq!(whole("data:  two\n\n"), [data(" two")]);
    assert_eq!(
        whole("id: 7\nevent: message\nretry: 3\ndata: a\nunknown: x\n\n"),
        [(Some("a".into()), Some("7".into()))]
    );
    assert_eq!(whole(": keepalive\n\n"), [(None, None)]);
    assert_eq!(whole("data: a:b\n\n"), [data("a:b")]);
    // An event that was not ended is none.
    assert_eq!(whole("data: a\n"), []);
    assert_eq!(whole("data: a"), []);
}

#[test]
fn a_byte_order_mark_hides_no_event_at_the_start_and_is_text_later() {
    assert_eq!(whole("\u{feff}data: a\n\ndata: b\n\n"), [data("a"), data("b")]);
    assert_eq!(whole("\u{feff}\n\ndata: a\n\n"), [(None, None), data("a")]);
    assert_eq!(whole("\u{feff}\u{feff}data: a\n\n"), [(None, None)]);
    assert_eq!(whole("data: a\n\n\u{feff}data: b\n\n"), [data("a"), (None, None)]);
    let (events, raw) = read(&["\u{feff}data: a\n\n".as_bytes()], 64).expect("small");
    assert_eq!((events, raw.as_slice()), (vec![data("a")], "\u{feff}data: a\n\n".as_bytes()), "passed on as it came");
}

#[test]
fn every_line_end_ends_a_line() {
    for end in ["\n", "\r", "\r\n"] {
        let text = ["data: a", "data: b", "", "data: c", "", ""].join(end);
        assert_eq!(whole(&text), [data("a\nb"), data("c")], "{end:?}");
    }
    assert_eq!(whole("data: a\r\ndata: b\n\rdata: c\r\r\n"), [data("a\nb"), data("c")]);
}

#[test]
fn an_event_that_ends_in_carriage_returns_is_not_kept_waiting() {
    let mut reader = Reader::new(1 << 10);
    reader.push(b"data: a\r\r");
    assert_eq!(reader.next_event().expect("small").expect("whole").data.as_deref(), Some("a"));
    // The line feed that belongs to it may still come, and is no event of its own.
    reader.push(b"\ndata: b\r\n\r");
    assert_eq!(reader.next_event().expect("small").expect("whole").data.as_deref(), Some("b"));
    reader.push(b"\n");
    assert_eq!(reader.next_event(), Ok(None));
}

#[test]
fn an_event_beyond_the_bound_is_refused_and_none_of_its_bytes_is_lost() {
    let event = format!("data: {}\n\n", "x".repeat(100));
    assert_eq!(read(&[event.as_bytes()], event.len()).expect("fits").0.len(), 1);
    for at in [event.len(), event.len() - 1, 50] {
        let mut reader = Reader::new(event.len() - 1);
        let (mut came, mut refused) = (Vec::new(), false);
        for piece in [&event.as_bytes()[..at], &event.as_bytes()[at..]] {
            reader.push(piece);
            match reader.next_event() {
                Ok(event) => assert_eq!(event, None, "cut at {at}"),
                Err(TooLarge { max }) => {
                    assert_eq!(max, event.len() - 1);
                    refused = true;
                    came.extend_from_slice(&reader.rest());
                }
            }
        }
        came.extend_from_slice(&reader.rest());
        assert!(refused, "cut at {at}");
        assert_eq!(came, event.as_bytes(), "cut at {at}");
    }
    // Without any line end as well, and a large event does not hide behind small ones.
    assert!(read(&[&[b'x'; 200]], 100).is_err());
    assert!(read(&[b"data: a\n\n", &[b'x'; 200]], 100).is_err());
}

#[test]
fn what_is_written_reads_back_as_one_event() {
    for (json, wanted) in [
        ("{\"a\":1}", "{\"a\":1}"),
        ("{\n  \"a\": 1\n}", "{\n  \"a\": 1\n}"),
        ("{\r\n\"a\":1}\r\n", "{\n\"a\":1}"),
        // A lone carriage return is white space of JSON and a line end here.
        ("{\"a\":\r1}", "{\"a\":\n1}"),
        ("{\"a\":\r\r1}", "{\"a\":\n\n1}"),
    ] {
        let written = message(json);
        let (events, raw) = read(&[&written], 1 << 10).expect("small");
        assert_eq!(events, [data(wanted)], "{json:?}");
        assert_eq!(raw, written);
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(value(wanted), value(json));
    }
    assert_eq!(read(&[KEEPALIVE], 1 << 10).expect("small").0, [(None, None)]);
    assert_eq!(
        read(&[&priming("gw-1", 3000)], 1 << 10).expect("small").0,
        [(Some(String::new()), Some("gw-1".into()))]
    );
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece =
        prop::sample::select(vec!["\r", "\n", "\r\n", "data", ":", " ", "id: 1", "x", "\u{e9}", ": c", "event: m"]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    /// However a stream is cut, the events are those of the stream in one piece, and every byte comes out in order.
    #[test]
    fn any_chunking_gives_the_same_events(bytes in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([bytes.len()]) {
            pieces.push(&bytes[from..cut]);
            from = cut;
        }
        let together = read(&[&bytes], 1 << 20).expect("small");
        let apart = read(&pieces, 1 << 20).expect("small");
        let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
        let single = read(&bytewise, 1 << 20).expect("small");
        prop_assert_eq!(&apart.0, &together.0);
        prop_assert_eq!(&single.0, &together.0);
        prop_assert_eq!(&apart.1, &bytes);
        prop_assert_eq!(&single.1, &bytes);
        prop_assert_eq!(&together.1, &bytes);
    }

    /// Never holds much more than the bound.
    #[test]
    fn what_is_held_is_bounded(bytes in prop::collection::vec(any::<u8>(), 0..400), max in 1_usize..50) {
        let mut reader = Reader::new(max);
        for piece in bytes.chunks(7) {
            reader.push(piece);
            loop {
                match reader.next_event() {
                    Ok(Some(event)) => prop_assert!(event.raw.len() <= max),
                    Ok(None) => break,
                    Err(_) => {
                        prop_assert!(reader.rest().len() <= max + 7);
                        break;
                    }
                }
            }
        }
    }
}
