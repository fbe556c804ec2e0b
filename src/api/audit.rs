//! The audit trail: read in pages, exported as NDJSON, and an approval's part of it as its timeline.
//!
//! Every record carries its event exactly as it was hashed, so whoever has a record can check it alone.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::audit::Record;
use crate::domain::id::ApprovalId;
use crate::gate::{self, Gate};
use crate::problem::Problem;
use crate::store::AuditFilter;

use super::context::{Context, reply_exactly};
use super::invalid;

/// Records in one answer when nothing else is asked for.
const LIMIT_DEFAULT: u64 = 100;
/// The most records in one answer.
pub(super) const LIMIT_MAX: u64 = 1_000;
/// Records read from the store at a time while exporting.
const EXPORT_BATCH: u32 = 500;

/// A record of the trail.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RecordView {
    /// Its place: counts from 1 without gaps.
    pub seq: u64,
    /// The event: the bytes between `"event":` and `,"previous":` are the ones that were hashed.
    #[schemars(with = "serde_json::Value")]
    pub event: Box<RawValue>,
    /// The hash of the record before, in hexadecimal; 64 zeros for the first.
    pub previous: String,
    /// SHA-256 over the previous hash, the place as eight bytes big-endian, and the event's bytes.
    pub hash: String,
}

/// A page of the trail.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AuditPage {
    /// Oldest first.
    pub records: Vec<RecordView>,
    /// Send it as `after` for the next page; null when there are no more.
    pub next_after: Option<u64>,
}

impl RecordView {
    /// A record whose event is not JSON cannot have been written by us and is not passed on as if it were.
    fn new(record: &Record) -> Result<Self, gate::Error> {
        let event = RawValue::from_string(record.event.clone()).map_err(|_| {
            gate::Error::from(crate::store::Error::Corrupt(format!("audit record {} is not JSON", record.seq)))
        })?;
        Ok(Self { seq: record.seq, event, previous: record.previous.to_string(), hash: record.hash.to_string() })
    }
}

/// `GET /v1/audit`
pub(super) async fn list(context: Context) -> Result<Response, Problem> {
    let approval = match context.query.single("approval").map_err(|error| invalid(&error))? {
        Some(text) => Some(text.parse().map_err(|error| invalid(&format!("`approval`: {error}")))?),
        None => None,
    };
    page(&context, approval).await
}

/// `GET /v1/approvals/{id}/timeline`
pub(super) async fn timeline(context: Context) -> Result<Response, Problem> {
    let approval = context.approval().await?;
    page(&context, Some(approval.id)).await
}

async fn page(context: &Context, approval: Option<ApprovalId>) -> Result<Response, Problem> {
    let after = context.number("after", 0..=u64::MAX)?.unwrap_or(0);
    let limit = context.number("limit", 1..=LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT);
    let wanted = u32::try_from(limit).unwrap_or(u32::MAX);
    let filter = AuditFilter { after, approval, approvals_only: false };
    let records = context.gate().store().audit(filter, wanted).await.map_err(gate::Error::from)?;
    let next_after = if records.len() as u64 == limit { records.last().map(|record| record.seq) } else { None };
    let records = records.iter().map(RecordView::new).collect::<Result<_, _>>()?;
    reply_exactly(StatusCode::OK, &AuditPage { records, next_after })
}

/// `GET /v1/audit/export`: everything up to the record that is the newest when it begins.
pub(super) async fn export(context: Context) -> Result<Response, Problem> {
    let gate = context.gate().clone();
    let after = context.number("after", 0..=u64::MAX)?.unwrap_or(0);
    let head = gate.store().audit_head().await.map_err(gate::Error::from)?;
    let lines = stream::try_unfold((gate, after), move |(gate, after)| async move {
        if after >= head {
            return Ok(None);
        }
        let (chunk, last) = export_batch(&gate, after, head).await?;
        // No progress would mean a gap in the trail; ending early would hide it, so the transfer is broken off.
        if last == after { Err(std::io::Error::other("the trail has a gap")) } else { Ok(Some((chunk, (gate, last)))) }
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

async fn export_batch(gate: &Gate, after: u64, head: u64) -> Result<(Bytes, u64), std::io::Error> {
    let filter = AuditFilter { after, ..AuditFilter::default() };
    let records = gate.store().audit(filter, EXPORT_BATCH).await.map_err(std::io::Error::other)?;
    let (mut chunk, mut last) = (Vec::new(), after);
    for record in records.iter().take_while(|record| record.seq <= head) {
        let view = RecordView::new(record).map_err(std::io::Error::other)?;
        serde_json::to_writer(&mut chunk, &view)?;
        chunk.push(b'\n');
        last = record.seq;
    }
    Ok((chunk.into(), last))
}
