//! One JSON-RPC message: what kind it is, which requests it speaks of and where in its text, so that ids can be exchanged
//! while every other byte stays as it is. Pure.
//!
//! Reads the members that carry it alone. A member of these that stands twice makes the message unreadable.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The notification that takes a request back.
pub(super) const CANCELLED: &str = "notifications/cancelled";
/// The notification of progress.
const PROGRESS: &str = "notifications/progress";

/// The id of a request, or a progress token. The number 1 and the text `"1"` are two.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Id {
    /// An integer, by its digits.
    Number(Box<str>),
    /// A text, without quotes and escapes.
    Text(Box<str>),
}

impl Id {
    fn read(json: &str) -> Option<Self> {
        if json.starts_with('"') {
            return serde_json::from_str::<String>(json).ok().map(|text| Id::Text(text.into()));
        }
        let digits = json.strip_prefix('-').unwrap_or(json);
        let integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        integer.then(|| Id::Number(json.into()))
    }

    /// As JSON.
    pub(super) fn to_json(&self) -> String {
        match self {
            Id::Number(digits) => digits.to_string(),
            Id::Text(text) => serde_json::Value::from(&**text).to_string(),
        }
    }
}

/// An id, and the place of its JSON in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) id: Id,
    pub(super) at: Range<usize>,
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// It asks for an answer.
    Request { id: Spot, method: String },
    /// It asks for none.
    Notification { method: String },
    /// It answers a request; one that could not be read has no id. `error` is the code, where there is one.
    Response { id: Option<Spot>, error: Option<i64> },
}

/// How a message speaks of a request of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mention {
    /// By the token that the request asked progress under.
    Token,
    /// By the request's id.
    Request,
}

/// A message in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// The text, without a line break.
    pub(super) line: String,
    pub(super) kind: Kind,
    /// The token that a request asks progress under.
    pub(super) token: Option<Spot>,
    /// The other requests that it speaks of.
    pub(super) mentions: Vec<(Mention, Spot)>,
    /// The revision that the message names by itself, as every one does from 2026-07-28 on.
    pub(super) revision: Option<String>,
}

/// Why a text is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("it is not JSON")]
    NotJson,
    #[error("it is a batch; send each message on its own")]
    Batch,
    #[error("{0}")]
    Shape(&'static str),
}

#[derive(Deserialize)]
struct Envelope<'t> {
    jsonrpc: String,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'t RawValue>,
    method: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'t RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'t RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'t RawValue>,
}

/// `params`, or a `result`.
#[derive(Deserialize, Default)]
struct Inside<'t> {
    #[serde(borrow, rename = "_meta", default, deserialize_with = "present")]
    meta: Option<&'t RawValue>,
    #[serde(borrow, rename = "progressToken", default, deserialize_with = "present")]
    progress_token: Option<&'t RawValue>,
    #[serde(borrow, rename = "requestId", default, deserialize_with = "present")]
    request_id: Option<&'t RawValue>,
}

#[derive(Deserialize, Default)]
struct Meta<'t> {
    #[serde(borrow, rename = "progressToken", default, deserialize_with = "present")]
    progress_token: Option<&'t RawValue>,
    #[serde(borrow, rename = "io.modelcontextprotocol/protocolVersion", default, deserialize_with = "present")]
    revision: Option<&'t RawValue>,
    #[serde(borrow, rename = "io.modelcontextprotocol/subscriptionId", default, deserialize_with = "present")]
    subscription: Option<&'t RawValue>,
}

#[derive(Deserialize)]
struct ErrorCode {
    code: i64,
}

/// `null` is a value that is there.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads an object; serde would also take an array for a struct.
fn object<'t, T: Deserialize<'t> + Default>(raw: Option<&'t RawValue>) -> Result<T, Malformed> {
    match raw {
        Some(raw) if raw.get().starts_with('{') => {
            serde_json::from_str(raw.get()).map_err(|_| Malformed::Shape("`params` or `_meta` holds a member twice"))
        }
        Some(_) | None => Ok(T::default()),
    }
}

impl Message {
    /// Reads a message. Line breaks between its tokens become blanks, which means the same; there can be none inside a text.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed::NotJson)?;
        let line = text.trim_matches([' ', '\t', '\r', '\n']).replace(['\r', '\n'], " ");
        match line.as_bytes().first() {
            Some(b'{') => {}
            Some(b'[') => return Err(Malformed::Batch),
            Some(_) | None => return Err(Malformed::NotJson),
        }
        let envelope: Envelope<'_> = serde_json::from_str(&line).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Malformed::Shape("it is no JSON-RPC message, or holds a member twice"),
            _ => Malformed::NotJson,
        })?;
        if envelope.jsonrpc != "2.0" {
            return Err(Malformed::Shape("`jsonrpc` is not \"2.0\""));
        }
        let spot = |raw: &RawValue| {
            let id =
                Id::read(raw.get()).ok_or(Malformed::Shape("an id or a token is neither a text nor an integer"))?;
            let start = raw.get().as_ptr() as usize - line.as_ptr() as usize;
            Ok::<_, Malformed>(Spot { id, at: start..start + raw.get().len() })
        };
        let kind = envelope.kind(spot)?;
        let inside: Inside<'_> = object(envelope.params.or(envelope.result))?;
        let meta: Meta<'_> = object(inside.meta)?;
        let (mut token, mut mentions) = (None, Vec::new());
        match &kind {
            Kind::Request { .. } => token = meta.progress_token.map(spot).transpose()?,
            Kind::Notification { method } => {
                let by_token = inside.progress_token.filter(|_| method == PROGRESS);
                let by_id = inside.request_id.filter(|_| method == CANCELLED);
                for (mention, raw) in [(Mention::Token, by_token), (Mention::Request, by_id)] {
                    if let Some(raw) = raw {
                        mentions.push((mention, spot(raw)?));
                    }
                }
            }
            Kind::Response { .. } => {}
        }
        if let Some(raw) = meta.subscription.filter(|_| !matches!(kind, Kind::Request { .. })) {
            mentions.push((Mention::Request, spot(raw)?));
        }
        let revision = meta.revision.map(|raw| serde_json::from_str(raw.get())).transpose();
        let revision = revision.map_err(|_| Malformed::Shape("the revision in `_meta` is not a text"))?;
        Ok(Self { kind, token, mentions, revision, line })
    }

    /// The text with some of its ids exchanged.
    pub(super) fn exchanged(&self, mut ids: Vec<(&Range<usize>, String)>) -> String {
        ids.sort_by_key(|(at, _)| at.start);
        let mut text = String::with_capacity(self.line.len() + 32);
        let mut copied = 0;
        for (at, id) in ids {
            text.push_str(&self.line[copied..at.start]);
            text.push_str(&id);
            copied = at.end;
        }
        text.push_str(&self.line[copied..]);
        text
    }
}

impl Envelope<'_> {
    fn kind(&self, spot: impl Fn(&RawValue) -> Result<Spot, Malformed>) -> Result<Kind, Malformed> {
        match (&self.method, self.result, self.error) {
            (Some(method), None, None) => Ok(match self.id {
                Some(id) => Kind::Request { id: spot(id)?, method: method.clone() },
                None => Kind::Notification { method: method.clone() },
            }),
            (None, Some(_), None) | (None, None, Some(_)) => {
                let known = self.id.filter(|id| id.get() != "null");
                let code = |error: &RawValue| serde_json::from_str::<ErrorCode>(error.get()).map(|error| error.code);
                let error = self.error.map(|error| code(error).unwrap_or_default());
                Ok(Kind::Response { id: known.map(spot).transpose()?, error })
            }
            _ => Err(Malformed::Shape("it is neither a request, a notification nor a response")),
        }
    }
}

/// The id of the request that a message answers, from the beginning of its text alone: for an answer that is too long to read.
pub(super) fn answered_by(beginning: &[u8]) -> Option<Id> {
    let seen = Seen::default();
    // Fails, because the text is cut; what was seen until then counts.
    let _ = serde_json::Deserializer::from_slice(beginning).deserialize_map(&seen);
    seen.answers.get().then(|| seen.id.take()).flatten()
}

#[derive(Default)]
struct Seen {
    id: RefCell<Option<Id>>,
    answers: Cell<bool>,
}

impl<'de> Visitor<'de> for &Seen {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "id" => *self.id.borrow_mut() = Id::read(map.next_value::<&RawValue>()?.get()),
                "result" | "error" => {
                    self.answers.set(true);
                    map.next_value::<IgnoredAny>()?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
