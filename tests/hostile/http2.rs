//! Row H23: HTTP/2 over TLS, by hand. What breaks its rules costs the stream or the connection, and nobody else; floods end the
//! connection or are held to its limits.

use serde_json::json;

use crate::frames::{
    CONTINUATION, Came, DATA, END_HEADERS, END_STREAM, HEADERS, HELLO, Http2, PING, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, block, fields, frame,
};
use crate::spy::Language;
use crate::support::people::token;
use crate::support::wait::until_true;
use crate::trap::{Connection, Trap, index, read};

/// More than the gateway may take for a connection, whatever is sent on it; a debug build is generous.
const ROOM: u64 = 48 << 20;

/// Replays one file.
fn replay(trap: &mut Trap, case: &Connection) {
    let what = format!("{} before {:?}", case.file, trap.spy.language);
    let before = trap.counted(case);
    let mut wire = trap.http2();
    wire.send(&read("raw", &case.file));
    let mut said: Vec<String> = case.answers.iter().map(|_| wire.next().said()).collect();
    if said.iter().any(|said| said.starts_with("goaway")) {
        assert_eq!(wire.next(), Came::Closed, "{what}: the connection must end");
    }
    // Streams are answered as they are ready.
    said.sort();
    let mut expected = case.answers.clone();
    expected.sort();
    assert_eq!(said, expected, "{what}");
    trap.check_traces(&what, case, before);
}

#[test]
fn h23_broken_frames_heads_and_lengths_cost_the_stream_or_the_connection_and_nobody_else() {
    let cases: Vec<Connection> = index("raw");
    let cases: Vec<&Connection> = cases.iter().filter(|case| case.is_http2()).collect();
    assert!(cases.len() > 100 && cases.iter().all(|case| case.row == "H23"));
    for language in Language::ALL {
        let mut trap = Trap::over_tls(language);
        cases.iter().for_each(|case| replay(&mut trap, case));
        assert_eq!(trap.gateway.metric("holdpoint_calls_abandoned_total", &[]), 0.0);
    }
}

/// The head of a call of `bot`, on this stream.
fn head(stream: u32, flags: u8, method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let bearer = format!("Bearer {}", token("bot"));
    let mut all = fields(method, path, &bearer);
    all.extend(more);
    frame(HEADERS, END_HEADERS | flags, stream, &block(&all))
}

fn gated(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    let mut all = vec![("content-type", "application/json")];
    all.extend(more);
    let mut bytes = head(stream, 0, "POST", "/tools/delete_repo", &all);
    bytes.extend(frame(DATA, END_STREAM, stream, json!({ "stream": stream }).to_string().as_bytes()));
    bytes
}

/// The streams of a client: odd numbers.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|n| 2 * n + 1)
}

/// Whether the gateway has ended the connection, once all that it said before is read.
fn has_ended(wire: &mut Http2) -> bool {
    (0..100_000).any(|_| matches!(wire.next(), Came::GoAway(_) | Came::Closed))
}

/// Floods a connection and hands it to `after`. The gateway's memory stays bounded, others are served, nothing gated runs.
fn flood(what: &str, write: impl FnOnce(&mut Http2), after: impl FnOnce(&mut Trap, Http2)) {
    let mut trap = Trap::over_tls(Language::Python);
    // The first connections bring buffers and tables along.
    trap.fresh_sightings();
    let before = trap.gateway.resident_bytes();
    let mut wire = trap.http2();
    wire.send(HELLO);
    write(&mut wire);
    for sighting in trap.fresh_sightings() {
        trap.check_sighting(what, &sighting);
    }
    let taken = trap.gateway.resident_bytes().saturating_sub(before);
    assert!(taken < ROOM, "{what}: {taken} bytes");
    after(&mut trap, wire);
    for sighting in trap.fresh_sightings() {
        trap.check_sighting(what, &sighting);
    }
}

fn ends(trap: &mut Trap, mut wire: Http2) {
    assert!(has_ended(&mut wire), "the connection must end");
    until_true("it is counted, and recorded", || trap.rejected("framing") >= 1.0 && trap.settled_refusals() >= 1.0);
}

fn may_stay(_: &mut Trap, _: Http2) {}

/// Sends these bytes so often, or until nothing more is taken.
fn many(wire: &mut Http2, times: usize, bytes: &[u8]) {
    let chunk = bytes.repeat(256);
    for _ in 0..times.div_ceil(256) {
        if !wire.send(&chunk) {
            return;
        }
    }
}

#[test]
fn h23_a_head_without_end_ends_the_connection() {
    let long = block(&[("x", &"a".repeat(16_000))]);
    for (what, payload, times) in [("long", long, 4_096), ("empty", Vec::new(), 200_000)] {
        flood(
            &format!("{what} continuations"),
            |wire| {
                let bearer = format!("Bearer {}", token("bot"));
                let begun = block(&fields("GET", "/tools/safe_status", &bearer));
                wire.send(&frame(HEADERS, END_STREAM, 1, &begun));
                many(wire, times, &frame(CONTINUATION, 0, 1, &payload));
            },
            ends,
        );
    }
}

#[test]
fn h23_streams_that_are_reset_as_soon_as_they_are_opened_end_the_connection() {
    flood(
        "rapid reset",
        |wire| {
            for stream in streams(20_000) {
                let mut bytes = gated(stream, &[("prefer", "wait=0")]);
                bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
                if !wire.send(&bytes) {
                    return;
                }
            }
        },
        |trap, wire| {
            ends(trap, wire);
            // Those that were read before they were reset are parked, and no more than may be.
            let pending = trap.gateway.metric("holdpoint_approvals_pending", &[]);
            assert!(pending <= 1_000.0, "{pending} calls are parked");
        },
    );
}

#[test]
fn h23_a_body_that_was_refused_before_its_end_is_no_fault_of_its_stream() {
    const CALLS: u32 = 60;
    let mut trap = Trap::over_tls(Language::Python);
    let mut wire = trap.http2();
    wire.send(HELLO);
    for stream in streams(CALLS) {
        let long = [("content-type", "application/json"), ("content-length", "100000000")];
        wire.send(&head(stream, 0, "POST", "/tools/delete_repo", &long));
        let said = wire.next().said();
        assert!(said.ends_with(" too_large"), "stream {stream}: {said}");
        // On its way before the client can have heard of it.
        for _ in 0..3 {
            wire.send(&frame(DATA, 0, stream, &[b' '; 300]));
        }
        assert_eq!(wire.next(), Came::Reset("NO_ERROR"), "stream {stream}");
    }
    // Long after: the gateway has forgotten how this stream ended.
    wire.send(&frame(DATA, 0, 1, &[b' '; 300]));
    assert_eq!(wire.next(), Came::Reset("STREAM_CLOSED"));
    wire.send(&head(2 * CALLS + 1, END_STREAM, "GET", "/tools/safe_status", &[]));
    assert_eq!(wire.next().said(), "200", "the connection still serves");
    assert_eq!((trap.rejected("too_large"), trap.rejected("framing")), (f64::from(CALLS), 0.0));
    trap.fresh_sightings();
}

#[test]
fn h23_a_client_that_makes_the_gateway_reset_its_streams_is_ended() {
    flood(
        "resets of the gateway's",
        |wire| {
            for stream in streams(5_000) {
                let mut bytes = head(stream, 0, "POST", "/tools/safe_read", &[("content-type", "application/json")]);
                bytes.extend(frame(WINDOW_UPDATE, 0, stream, &[0; 4]));
                if !wire.send(&bytes) {
                    return;
                }
            }
        },
        ends,
    );
}

#[test]
fn h23_floods_of_frames_that_ask_for_an_answer_or_for_nothing_take_bounded_memory() {
    let ping = frame(PING, 0, 0, b"12345678");
    let priority = frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 16]);
    let window = frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes());
    let unknown = frame(0xfa, 0, 0, b"nothing");
    let settings = frame(SETTINGS, 0, 0, &[]);
    let table = frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0x10, 0]);
    for (what, bytes) in [
        ("pings", ping),
        ("priorities", priority),
        ("windows", window),
        ("frames of an unknown kind", unknown),
        ("settings", settings),
        ("settings that change something", table),
    ] {
        // Nothing is read meanwhile: what is answered has to wait.
        flood(what, |wire| many(wire, 100_000, &bytes), may_stay);
    }
}

#[test]
fn h23_data_frames_without_data_take_bounded_memory() {
    flood(
        "empty data",
        |wire| {
            wire.send(&head(1, 0, "POST", "/tools/delete_repo", &[("content-type", "application/json")]));
            many(wire, 200_000, &frame(DATA, 0, 1, &[]));
        },
        may_stay,
    );
}

#[test]
fn h23_answers_that_are_not_read_take_bounded_memory() {
    flood(
        "windows of nothing",
        |wire| {
            // No window: answers cannot be sent.
            wire.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
            for stream in streams(2_000) {
                wire.send(&head(stream, END_STREAM, "GET", "/tools/safe_status", &[]));
            }
        },
        may_stay,
    );
}

#[test]
fn h23_one_connection_holds_no_more_calls_than_it_may_have_streams() {
    const STREAMS_MAX: u32 = 250;
    const MORE: u32 = 50;
    flood(
        "streams",
        |wire| {
            for stream in streams(STREAMS_MAX + MORE) {
                wire.send(&gated(stream, &[]));
            }
        },
        |trap, mut wire| {
            for _ in 0..MORE {
                // A body that arrives after the refusal is answered once more: its stream is closed.
                let came = wire.next();
                let refused = matches!(came, Came::Reset("REFUSED_STREAM" | "STREAM_CLOSED"));
                assert!(refused, "streams beyond the limit are refused: {came:?}");
            }
            let pending = |trap: &Trap| trap.gateway.metric("holdpoint_approvals_pending", &[]);
            until_true("the others wait", || pending(trap) == f64::from(STREAMS_MAX));
            // The client leaves: nobody waits any more, and nothing was sent.
            drop(wire);
            until_true("nobody waits", || {
                trap.gateway.metric("holdpoint_connections_open", &[("listener", "proxy")]) == 0.0
            });
        },
    );
}
