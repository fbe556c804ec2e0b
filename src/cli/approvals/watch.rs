//! `holdpoint approvals watch`: what is pending, and then every event, without a gap: a stream that ends is taken up again
//! behind the last event that was shown.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::audit::describe;
use super::client::{Client, Failure, Remote};
use super::{LIST_MAX, Shape, complain, pages, table};
use crate::domain::text::inert_json;
use crate::domain::time::Clock;
use crate::telemetry::clock::SystemClock;

/// The gateway says something every 15 seconds; after three of those it is taken for gone.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// How long to wait before a stream is opened again.
const PAUSE: Duration = Duration::from_secs(2);
/// How many times in a row that may fail.
const FAILURES_MAX: u32 = 30;
/// The longest event that is read.
const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Watches until it is interrupted, or nobody reads any more.
pub(super) async fn watch(remote: &Remote, output: Shape) -> Result<(), Failure> {
    let client = Client::new(remote)?;
    let mut out = std::io::stdout();
    let mut last: Option<String> = None;
    let mut failures = 0;
    let mut stream = client.events(None).await?.into_body();
    // Only now, so that nothing falls between the list and the first event.
    let done = queue(&client, output, &mut out).await;
    gone_is_fine(done)?;
    loop {
        let ended = follow(&client, &mut stream, &mut last, output, &mut out).await;
        if let Err(Failure::Write(_)) = &ended {
            return gone_is_fine(ended);
        }
        loop {
            tokio::time::sleep(PAUSE).await;
            match client.events(last.as_deref()).await {
                Ok(response) => {
                    (stream, failures) = (response.into_body(), 0);
                    break;
                }
                Err(Failure::Refused(why)) => return Err(Failure::Refused(why)),
                Err(failure) => {
                    failures += 1;
                    if failures == FAILURES_MAX {
                        return Err(failure);
                    }
                    if failures == 1 {
                        complain(&format!("{failure}; asking again every {} s", PAUSE.as_secs()));
                    }
                }
            }
        }
    }
}

/// `| head` has what it wanted.
fn gone_is_fine(ended: Result<(), Failure>) -> Result<(), Failure> {
    match ended {
        Err(Failure::Write(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

async fn queue(client: &Client, output: Shape, out: &mut impl Write) -> Result<(), Failure> {
    let page = pages(client, "status=pending&sort=oldest", LIST_MAX, None).await?;
    match output {
        Shape::Table => out.write_all(table::rows(&page.approvals, SystemClock.now())?.as_bytes())?,
        Shape::Json => {
            for approval in &page.approvals {
                writeln!(out, "{{\"pending\":{}}}", inert_json(approval.get().to_owned()))?;
            }
        }
    }
    Ok(out.flush()?)
}

/// The end of a stream, whatever ended it, is `Ok`.
async fn follow(
    client: &Client,
    stream: &mut Incoming,
    last: &mut Option<String>,
    output: Shape,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut events = Events::default();
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(SILENCE_MAX, stream.frame()).await {
        let Ok(bytes) = frame.into_data() else { continue };
        let Some(found) = events.take(&bytes) else {
            complain("an event was too long to be shown; taking the stream up behind it");
            return Ok(());
        };
        for event in found {
            if event.name == "resync" {
                complain("too much has happened meanwhile; this is the queue now");
                queue(client, output, out).await?;
            } else if let Some(data) = &event.data {
                show(data, output, out)?;
            }
            // Behind what was shown: an event that was not is sent again.
            *last = event.id.or_else(|| last.take());
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Data<'a> {
    seq: u64,
    #[serde(borrow)]
    event: &'a RawValue,
}

fn show(data: &str, output: Shape, out: &mut impl Write) -> Result<(), Failure> {
    match (output, serde_json::from_str::<Data<'_>>(data)) {
        (Shape::Table, Ok(data)) => writeln!(out, "{}", describe(data.seq, data.event.get()))?,
        (Shape::Json, _) => writeln!(out, "{}", inert_json(data.to_owned()))?,
        (Shape::Table, Err(error)) => return Err(Failure::answer(format!("an event cannot be read: {error}"))),
    }
    Ok(out.flush()?)
}

/// An event of the stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    id: Option<String>,
    name: String,
    data: Option<String>,
}

/// Pieces of a stream, put together to events.
#[derive(Debug, Default)]
struct Events {
    rest: Vec<u8>,
}

impl Events {
    /// The events that are complete with this piece; `None` when one is too long.
    fn take(&mut self, bytes: &Bytes) -> Option<Vec<Event>> {
        self.rest.extend_from_slice(bytes);
        let mut found = Vec::new();
        while let Some(end) = self.rest.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.rest.drain(..end + 2).collect();
            found.push(Event::read(&String::from_utf8_lossy(&block)));
        }
        (self.rest.len() <= EVENT_BYTES_MAX).then_some(found)
    }
}

impl Event {
    fn read(block: &str) -> Self {
        let mut event = Self::default();
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => event.id = Some(value.to_owned()),
                "event" => value.clone_into(&mut event.name),
                "data" => event.data = Some(value.to_owned()),
                _ => {}
            }
        }
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_however_they_were_cut() {
        let stream = "retry: 2000\nid: 4\n\n: alive\nid: 5\n\nid: 7\nevent: approval\ndata: {\"seq\":7}\n\nid: 8\n";
        for size in 1..stream.len() {
            let mut events = Events::default();
            let pieces = stream.as_bytes().chunks(size).map(Bytes::copy_from_slice);
            let found: Vec<Event> = pieces.flat_map(|piece| events.take(&piece).expect("short")).collect();
            let ids: Vec<_> = found.iter().map(|event| event.id.as_deref()).collect();
            assert_eq!(ids, [Some("4"), Some("5"), Some("7")], "in pieces of {size}");
            assert_eq!((found[2].name.as_str(), found[2].data.as_deref()), ("approval", Some("{\"seq\":7}")));
        }
    }

    #[test]
    fn an_event_without_an_end_is_given_up() {
        let mut events = Events::default();
        let piece = Bytes::from(vec![b'x'; EVENT_BYTES_MAX + 1]);
        assert!(events.take(&piece).is_none());
    }
}
