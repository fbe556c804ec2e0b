//! The event stream: nothing missed, nothing twice, and an end when the gateway ends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::people::Call;
use crate::support::rig::Rig;

/// An open stream.
struct Stream {
    socket: TcpStream,
    text: String,
}

impl Stream {
    /// Follows the events behind `after`, or from now on.
    fn open(rig: &Rig, call: &Call) -> Self {
        let mut socket = TcpStream::connect(rig.gateway.admin).expect("the admin listener answers");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a read time-out can be set");
        socket.write_all(&call.bytes()).expect("a request can be sent");
        let mut stream = Self { socket, text: String::new() };
        stream.until("retry: ");
        assert!(stream.text.starts_with("HTTP/1.1 200"), "{}", stream.text);
        assert!(stream.text.contains("content-type: text/event-stream"), "{}", stream.text);
        stream
    }

    /// Reads until this stands in the stream.
    fn until(&mut self, wanted: &str) {
        while !self.text.contains(wanted) {
            assert!(self.read() > 0, "the stream ended before `{wanted}`: {}", self.text);
        }
    }

    fn read(&mut self) -> usize {
        let mut bytes = [0; 4096];
        let count = self.socket.read(&mut bytes).expect("the stream says something in time");
        self.text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        count
    }

    /// The approval events so far: their ids and what they say.
    fn events(&self) -> Vec<(u64, Value)> {
        let blocks = self.text.split("\n\n").filter(|block| block.contains("event: approval"));
        let read = |block: &str| {
            let line =
                |name: &str| block.lines().find_map(|line| line.split_once(name)).map(|(_, value)| value.to_owned());
            let id = line("id: ").and_then(|id| id.parse().ok()).expect("an id");
            (id, serde_json::from_str(&line("data: ").expect("data")).expect("JSON"))
        };
        blocks.map(read).collect()
    }

    fn kinds(&self) -> Vec<String> {
        self.events().iter().map(|(_, data)| data["event"]["kind"].as_str().expect("a kind").to_owned()).collect()
    }
}

fn create(rig: &Rig, action: &str) -> String {
    let created = rig.bot().post("/_holdpoint/v1/approvals", &json!({ "action": action })).send().expect(201, "");
    created.json()["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_follower_hears_what_happens_and_resumes_without_gap_or_repetition() {
    let rig = Rig::start();
    let follow = |query: &str| rig.alice().call("GET", &format!("/v1/events{query}"));
    let mut stream = Stream::open(&rig, &follow(""));
    let id = create(&rig, "one");
    stream.until("approval_created");
    rig.alice().approve(&id);
    stream.until("approval_approved");
    assert_eq!(stream.kinds(), ["approval_created", "approval_approved"]);
    let (first, created) = stream.events()[0].clone();
    assert_eq!((&created["seq"], &created["event"]["approval"]), (&json!(first), &json!(id)));
    drop(stream);

    create(&rig, "two");
    for call in [follow(&format!("?after={first}")), follow("").header("last-event-id", &first.to_string())] {
        let mut resumed = Stream::open(&rig, &call);
        resumed.until("approval_created");
        assert_eq!(resumed.kinds(), ["approval_approved", "approval_created"]);
    }
}

#[test]
fn an_id_from_elsewhere_is_answered_with_resync() {
    let rig = Rig::start();
    let mut stream = Stream::open(&rig, &rig.alice().call("GET", "/v1/events?after=999999"));
    stream.until("event: resync");
    create(&rig, "one");
    stream.until("approval_created");
}

#[test]
fn nothing_but_approvals_is_streamed() {
    let rig = Rig::start();
    let mut stream = Stream::open(&rig, &rig.alice().call("GET", "/v1/events?after=0"));
    rig.bot().post("/tools/forbidden", &json!({})).send().expect(403, "blocked");
    create(&rig, "one");
    stream.until("approval_created");
    assert_eq!(stream.kinds(), ["approval_created"]);
}

#[test]
fn a_stream_ends_when_the_gateway_does() {
    let rig = Rig::start();
    let mut stream = Stream::open(&rig, &rig.alice().call("GET", "/v1/events"));
    let Rig { gateway, home, origin } = rig;
    gateway.stop();
    while stream.read() > 0 {}
    drop((home, origin));
}

#[test]
fn open_streams_are_counted() {
    let rig = Rig::start();
    assert!((rig.gateway.metric("holdpoint_event_subscribers", &[]) - 0.0).abs() < f64::EPSILON);
    let _stream = Stream::open(&rig, &rig.alice().call("GET", "/v1/events"));
    assert!((rig.gateway.metric("holdpoint_event_subscribers", &[]) - 1.0).abs() < f64::EPSILON);
}
