//! `GET /v1/events`: what happens to approvals, as server-sent events that can be resumed.
//!
//! The trail is the source: each event's id is its record's sequence number, so a client that comes back with `Last-Event-ID`
//! misses nothing and sees nothing twice. A notification in memory only says "look again"; a slow client simply reads later.
//! Whoever has fallen too far behind is told to read the list anew (`resync`) instead of being fed the past.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderName};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use crate::domain::audit::Record;
use crate::gate::{self, Gate};
use crate::problem::{Code, Problem};
use crate::store::AuditFilter;
use crate::telemetry::metrics::Counted;
use crate::web::EVENT_STREAMS_MAX;

use super::context::Context;
use super::invalid;

/// How often a silent stream says that it is alive.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// How long a stream lasts before the client has to come back, and to be authenticated anew.
const LIFETIME_MAX: Duration = Duration::from_secs(600);
/// How long a burst of changes is left to gather before the trail is read once for all of them.
const GATHER: Duration = Duration::from_millis(50);
/// How many records a client may be behind and still get them one by one.
const GAP_MAX: u64 = 1_000;
/// Records read from the store at a time.
const BATCH: u32 = 100;
/// How long browsers wait before they come back, in milliseconds.
const RETRY_MS: u32 = 2_000;

/// `GET /v1/events`
pub(super) async fn follow(context: Context) -> Result<Response, Problem> {
    let (reviewer, _) = context.reviewer()?;
    let streams = context.shared.event_streams.clone();
    let slot = streams.try_acquire_owned().map_err(|_| {
        let detail = format!("{EVENT_STREAMS_MAX} event streams are open already");
        Problem::new(Code::TooManyStreams, detail).retry_after(KEEPALIVE.as_secs())
    })?;
    let gate = context.gate().clone();
    let head = gate.store().audit_head().await.map_err(gate::Error::from)?;
    let after = start(&context)?.unwrap_or(head);
    let follower = Follower {
        events: gate.events(),
        gate,
        after,
        first: true,
        ends_at: Instant::now() + LIFETIME_MAX,
        reviewer: reviewer.id.clone(),
        shared: context.shared.clone(),
        _counted: context.gate().metrics().subscriber(),
        _slot: slot,
    };
    let body = Body::from_stream(stream::unfold(follower, |mut follower| async move {
        let chunk = follower.next().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), follower))
    }));
    // Buffering proxies would hold events back.
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), "no");
    Ok(([(CONTENT_TYPE, "text/event-stream"), unbuffered], body).into_response())
}

/// Where the client left off; `Last-Event-ID` wins, because a browser sends it when it comes back to the same address.
fn start(context: &Context) -> Result<Option<u64>, Problem> {
    match context.headers.get("last-event-id") {
        Some(value) => {
            let number = value.to_str().ok().and_then(|text| text.parse().ok());
            number.map(Some).ok_or_else(|| invalid(&"`Last-Event-ID` must be the id of an earlier event"))
        }
        None => context.number("after", 0..=u64::MAX),
    }
}

struct Follower {
    gate: Gate,
    events: watch::Receiver<u64>,
    /// The last sequence number that the client has or need not have.
    after: u64,
    first: bool,
    ends_at: Instant,
    reviewer: String,
    shared: std::sync::Arc<crate::web::Shared>,
    _counted: Counted,
    _slot: OwnedSemaphorePermit,
}

impl Follower {
    /// The next piece of the stream; `None` ends it, upon which the client comes back by itself.
    async fn next(&mut self) -> Option<Bytes> {
        if std::mem::take(&mut self.first) {
            return Some(format!("retry: {RETRY_MS}\nid: {}\n\n", self.after).into());
        }
        loop {
            // Marked as seen before the trail is read: what is written in between wakes the wait below.
            self.events.mark_unchanged();
            match self.read().await {
                Ok(Some(chunk)) => return Some(chunk),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "an event stream ends because the trail cannot be read");
                    return None;
                }
            }
            let draining = self.gate.draining();
            tokio::select! {
                changed = self.events.changed() => {
                    changed.ok()?;
                    tokio::time::sleep(GATHER).await;
                }
                () = tokio::time::sleep(KEEPALIVE) => return self.keepalive(),
                () = tokio::time::sleep_until(self.ends_at) => return None,
                () = draining => return None,
            }
        }
    }

    /// What is new, or `None`.
    async fn read(&mut self) -> Result<Option<Bytes>, crate::store::Error> {
        let store = self.gate.store();
        let head = store.audit_head().await?;
        if head < self.after || head - self.after > GAP_MAX {
            // Too far behind, or an id from another trail.
            self.after = head;
            return Ok(Some(format!("id: {head}\nevent: resync\ndata: {{\"seq\":{head}}}\n\n").into()));
        }
        let filter = AuditFilter { after: self.after, approval: None, approvals_only: true };
        let records = store.audit(filter, BATCH).await?;
        match records.last() {
            Some(last) => {
                self.after = last.seq;
                Ok(Some(records.iter().map(line).collect::<String>().into()))
            }
            None => {
                // Nothing about approvals up to `head`.
                self.after = head;
                Ok(None)
            }
        }
    }

    /// A comment that keeps intermediaries awake and an id that moves the resume point past what is of no interest.
    fn keepalive(&self) -> Option<Bytes> {
        let known = self.shared.authenticator.load().reviewer(&self.reviewer).is_some();
        known.then(|| format!(": alive\nid: {}\n\n", self.after).into())
    }
}

/// One event. The record's event is one line of JSON, as it was hashed.
fn line(record: &Record) -> String {
    format!("id: {}\nevent: approval\ndata: {{\"seq\":{},\"event\":{}}}\n\n", record.seq, record.seq, record.event)
}
