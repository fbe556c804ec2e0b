//! A record as one line of NDJSON that can be checked alone: `{"seq":…,"event":…,"previous":"…","hash":"…"}`.
//!
//! The bytes between `"event":` and `,"previous":` are the ones that were hashed; they are carried over as they are, in both
//! directions.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{ChainHash, Record};
use crate::domain::call::from_hex;

/// The longest line that is read: far longer than any record, and short enough to hold.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    seq: u64,
    #[serde(borrow)]
    event: &'a RawValue,
    previous: String,
    hash: String,
}

/// Why a line is no record, or a record no line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a record of the trail: {0}")]
pub struct LineError(String);

impl Record {
    /// The record as one line, without a line break.
    ///
    /// # Errors
    /// [`LineError`] when the event is not JSON on one line: this program did not write it.
    pub fn to_line(&self) -> Result<String, LineError> {
        let failed = |error: serde_json::Error| LineError(error.to_string());
        let event: &RawValue = serde_json::from_str(&self.event).map_err(failed)?;
        if event.get().len() != self.event.len() || self.event.contains(['\n', '\r']) {
            return Err(LineError("its event is not JSON on one line".to_owned()));
        }
        let (previous, hash) = (self.previous.to_string(), self.hash.to_string());
        serde_json::to_string(&Line { seq: self.seq, event, previous, hash }).map_err(failed)
    }

    /// Reads what [`Record::to_line`] wrote. Says nothing about whether its hash is right.
    ///
    /// # Errors
    /// [`LineError`]
    pub fn from_line(line: &str) -> Result<Self, LineError> {
        let read: Line<'_> = serde_json::from_str(line).map_err(|error| LineError(error.to_string()))?;
        let hash = |name: &str, text: &str| {
            from_hex(text).map(ChainHash).map_err(|error| LineError(format!("`{name}`: {error}")))
        };
        Ok(Self {
            seq: read.seq,
            event: read.event.get().to_owned(),
            previous: hash("previous", &read.previous)?,
            hash: hash("hash", &read.hash)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Actor, Event, EventKind, Head};
    use super::*;
    use crate::domain::time::Timestamp;

    fn record() -> Record {
        let detail = serde_json::Map::from_iter([("reason".to_owned(), "a \"b\"\n\u{1b}[31m é".into())]);
        let at = Timestamp::from_millis(1_767_225_600_000);
        Head::EMPTY.next(&Event { at, kind: EventKind::Started, actor: Actor::Gateway, approval: None, detail })
    }

    #[test]
    fn a_line_reads_back_as_the_record_it_was() {
        let line = record().to_line().expect("JSON");
        assert!(!line.contains('\n'));
        assert_eq!(Record::from_line(&line), Ok(record()));
        assert!(Record::from_line(&line).expect("a record").is_intact());
    }

    #[test]
    fn a_changed_line_is_no_record_or_one_that_is_not_intact() {
        let line = record().to_line().expect("JSON");
        for (from, to) in [("\"seq\":1", "\"seq\":2"), ("started", "starte"), ("\"previous\":\"0", "\"previous\":\"1")]
        {
            assert!(line.contains(from), "{line}");
            let changed = Record::from_line(&line.replacen(from, to, 1)).expect("still a record");
            assert!(!changed.is_intact(), "{to}");
        }
        for bad in [&line[1..], &line[..line.len() - 1], "", "{}", &line.replace("\"seq\"", "\"sequence\"")] {
            assert!(Record::from_line(bad).is_err(), "{bad}");
        }
        let upper = line.replace("\"hash\":\"", "\"hash\":\"G");
        assert!(Record::from_line(&upper).is_err());
    }

    #[test]
    fn an_event_that_is_not_json_is_not_written_as_if_it_were() {
        for event in ["not json", "{} ", "{}\n", ""] {
            let record = Record { event: event.to_owned(), ..record() };
            assert!(record.to_line().is_err(), "{event:?}");
        }
    }
}
