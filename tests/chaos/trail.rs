//! The exported audit trail, as far as the checker reads it.

use holdpoint::domain::audit::{Record, verify};
use serde_json::Value;

/// One event of the trail.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// Its place.
    pub(crate) seq: u64,
    /// What happened.
    pub(crate) kind: String,
    /// Whose doing: the id of an agent or a reviewer, or `gateway`.
    pub(crate) actor: String,
    /// Which approval it is about.
    pub(crate) approval: Option<String>,
    /// When, RFC 3339.
    pub(crate) at: String,
    /// What else it says.
    pub(crate) detail: Value,
}

impl Event {
    /// A member of the detail, as text.
    pub(crate) fn detail(&self, name: &str) -> &str {
        self.detail[name].as_str().unwrap_or_default()
    }
}

/// The events of an exported trail, and what is wrong with its chain.
pub(crate) fn read(lines: &[String]) -> (Vec<Event>, Option<String>) {
    let mut events = Vec::with_capacity(lines.len());
    let mut records = Vec::with_capacity(lines.len());
    for line in lines {
        match Record::from_line(line) {
            Ok(record) => {
                events.push(event(&record));
                records.push(record);
            }
            Err(error) => return (events, Some(format!("{error}: {line}"))),
        }
    }
    (events, verify(records).err().map(|bad| bad.to_string()))
}

fn event(record: &Record) -> Event {
    let mut event: Value = serde_json::from_str(&record.event).unwrap_or_default();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let actor = &event["actor"];
    let named = actor.as_object().and_then(|named| named.values().next()).and_then(&text);
    Event {
        seq: record.seq,
        kind: text(&event["kind"]).unwrap_or_default(),
        actor: named.or_else(|| text(actor)).unwrap_or_default(),
        approval: text(&event["approval"]),
        at: text(&event["at"]).unwrap_or_default(),
        detail: event["detail"].take(),
    }
}
