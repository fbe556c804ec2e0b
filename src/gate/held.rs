//! A held call as the gateway keeps it: all that is judged, shown, and sent later, and nothing of the agent's credential.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};

use crate::domain::call::{Fingerprint, Protocol};
use crate::domain::identity::AgentId;
use crate::domain::tools::Claims;
use crate::domain::value::Value;
use crate::protocol::fingerprint::{CallParts, fingerprint};
use crate::protocol::json::{self, JsonError};
use crate::protocol::mcp;
use crate::protocol::target::RequestTarget;

use super::intake::Call;

/// One call, whole and owned.
#[derive(Debug, Clone)]
pub struct HeldRequest {
    /// Who calls.
    pub agent: AgentId,
    /// The upstream's configured name.
    pub upstream: String,
    /// The tool's name.
    pub tool: String,
    /// The method.
    pub method: Method,
    /// Path and query below the upstream, canonical.
    pub target: RequestTarget,
    /// End-to-end headers as they will be sent, without the agent's credential and without what the configuration adds.
    pub headers: HeaderMap,
    /// The raw body; `None` when there is none.
    pub body: Option<Bytes>,
    /// What the upstream speaks, and so where in the body the arguments stand.
    pub protocol: Protocol,
}

/// The head, as it is stored before the body.
#[derive(Serialize, Deserialize)]
struct StoredHead {
    agent: AgentId,
    upstream: String,
    tool: String,
    method: String,
    target: String,
    headers: Vec<(String, Octets)>,
    has_body: bool,
    #[serde(default)]
    protocol: Protocol,
}

/// A header's value: as text where it is text, which nearly all are, else as numbers.
struct Octets(Vec<u8>);

impl Serialize for Octets {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Numbers(Vec<u8>),
        }
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::Text(text) => text.into_bytes(),
            Written::Numbers(numbers) => numbers,
        }))
    }
}

/// A call as it is kept while it waits: in one piece of memory and nothing more. As it was read, body and headers are parts of the
/// connection's buffer, which then could not be used again as long as the call is held.
#[derive(Debug, Clone)]
pub struct Packed(Bytes);

impl Packed {
    /// The call; `None` when these bytes are none, which those of [`HeldRequest::to_bytes`] are not.
    pub fn open(&self) -> Option<HeldRequest> {
        HeldRequest::from_bytes(&self.0)
    }
}

impl From<Vec<u8>> for Packed {
    fn from(bytes: Vec<u8>) -> Self {
        // Nothing stands behind the bytes that are there.
        Self(bytes.into_boxed_slice().into())
    }
}

impl HeldRequest {
    /// What binds an approval to exactly this call. Of an MCP message that is everything but what changes from one sending of the
    /// same call to the next (`protocol::mcp::binding`).
    pub fn fingerprint(&self) -> Fingerprint {
        let (method, body) = match self.protocol {
            Protocol::Http => (self.method.as_str(), self.body.as_deref().map(Cow::Borrowed)),
            Protocol::Mcp => (mcp::TOOLS_CALL, Some(Cow::Owned(self.mcp_binding()))),
        };
        fingerprint(&CallParts {
            agent: &self.agent.0,
            upstream: &self.upstream,
            tool: &self.tool,
            method,
            target: self.target.as_str(),
            body: body.as_deref(),
        })
    }

    /// How much memory the call takes while it waits: its headers and its body, and the little else there is.
    pub fn bytes(&self) -> u64 {
        let headers = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        let rest = [&self.agent.0, &self.upstream, &self.tool, self.target.as_str()].map(|part: &str| part.len());
        let body = self.body.as_ref().map_or(0, Bytes::len);
        (headers.sum::<usize>() + rest.iter().sum::<usize>() + body) as u64
    }

    fn mcp_binding(&self) -> Vec<u8> {
        let raw = self.body.as_deref().unwrap_or_default();
        match json::read(raw, &json::Limits::default()) {
            Ok(value) => mcp::binding(value.member("params")).into_bytes(),
            // Never parked, as it cannot be judged; its bytes then bind it.
            Err(_) => raw.to_vec(),
        }
    }

    /// What a reviewer's `payload_sha256` is taken over: the raw body, or the arguments of an MCP call as compact JSON.
    pub fn payload(&self) -> Cow<'_, [u8]> {
        let raw = self.body.as_deref().unwrap_or_default();
        match (self.protocol, json::read(raw, &json::Limits::default())) {
            (Protocol::Mcp, Ok(value)) => {
                let mut text = String::new();
                if let Some(arguments) = arguments(Protocol::Mcp, &value) {
                    arguments.write_json(&mut text);
                }
                Cow::Owned(text.into_bytes())
            }
            (Protocol::Http, _) | (Protocol::Mcp, Err(_)) => Cow::Borrowed(raw),
        }
    }

    /// The body, read strictly; `None` when there is none.
    ///
    /// # Errors
    /// When it is not what the strict reader takes.
    pub fn value(&self) -> Result<Option<Value<'_>>, JsonError> {
        match self.body.as_deref() {
            None | Some([]) => Ok(None),
            Some(bytes) => json::read(bytes, &json::Limits::default()).map(Some),
        }
    }

    /// What policy is asked about. `claims` is what the upstream says of the tool at this moment.
    pub fn facts(&self, claims: Claims) -> Call<'_> {
        Call {
            agent: &self.agent,
            upstream: &self.upstream,
            tool: &self.tool,
            method: &self.method,
            target: &self.target,
            headers: &self.headers,
            protocol: self.protocol,
            claims,
        }
    }

    /// As bytes, to be sealed or packed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let head = StoredHead {
            agent: self.agent.clone(),
            upstream: self.upstream.clone(),
            tool: self.tool.clone(),
            method: self.method.as_str().to_owned(),
            target: self.target.as_str().to_owned(),
            headers: self.headers.iter().map(|(n, v)| (n.as_str().to_owned(), Octets(v.as_bytes().to_vec()))).collect(),
            has_body: self.body.is_some(),
            protocol: self.protocol,
        };
        let head = serde_json::to_vec(&head).expect("a head has no failing serialiser");
        [head.as_slice(), b"\n", self.body.as_deref().unwrap_or_default()].concat()
    }

    /// From what [`HeldRequest::to_bytes`] wrote; `None` when it is anything else.
    pub fn from_bytes(bytes: &Bytes) -> Option<Self> {
        // JSON text written by serde_json has no raw line feed, so the first one ends the head.
        let end = memchr::memchr(b'\n', bytes)?;
        let head: StoredHead = serde_json::from_slice(&bytes[..end]).ok()?;
        let mut headers = HeaderMap::new();
        for (name, value) in head.headers {
            headers.append(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value.0).ok()?);
        }
        Some(Self {
            agent: head.agent,
            upstream: head.upstream,
            tool: head.tool,
            method: Method::try_from(head.method.as_str()).ok()?,
            target: RequestTarget::parse(&head.target).ok()?,
            headers,
            body: head.has_body.then(|| bytes.slice(end + 1..)),
            protocol: head.protocol,
        })
    }
}

/// The arguments of a call in its body.
pub fn arguments<'v>(protocol: Protocol, body: &'v Value<'v>) -> Option<&'v Value<'v>> {
    match protocol {
        Protocol::Http => Some(body),
        Protocol::Mcp => body.member("params").and_then(|params| params.member("arguments")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> HeldRequest {
        let mut headers = HeaderMap::new();
        headers.append("x-text", HeaderValue::from_static("a \"quoted\" value"));
        headers.append("x-text", HeaderValue::from_static("a second one"));
        headers.append("x-bytes", HeaderValue::from_bytes(&[0xff, b'a', 0xfe]).expect("it is a value"));
        HeldRequest {
            agent: AgentId("ci".into()),
            upstream: "shop".into(),
            tool: "payments.refund".into(),
            method: Method::POST,
            target: RequestTarget::parse("/refunds/7%20b?a=1&a=2").expect("it is a target"),
            headers,
            body: Some(Bytes::from_static(b"{\"note\":\n\"\xc3\xa9\"}")),
            protocol: Protocol::Mcp,
        }
    }

    fn is_same(one: &HeldRequest, other: &HeldRequest) -> bool {
        one.fingerprint() == other.fingerprint()
            && (&one.headers, &one.body, &one.method) == (&other.headers, &other.body, &other.method)
            && (&one.agent, &one.upstream, &one.tool) == (&other.agent, &other.upstream, &other.tool)
            && one.protocol == other.protocol
    }

    #[test]
    fn a_packed_call_opens_as_it_was() {
        let mut call = call();
        assert!(is_same(&Packed::from(call.to_bytes()).open().expect("it opens"), &call));
        call.body = None;
        assert!(is_same(&Packed::from(call.to_bytes()).open().expect("it opens"), &call));
        call.body = Some(Bytes::new());
        assert_eq!(Packed::from(call.to_bytes()).open().expect("it opens").body, Some(Bytes::new()));
    }

    #[test]
    fn a_call_stored_with_its_headers_in_numbers_is_still_read() {
        let stored = br#"{"agent":"ci","upstream":"shop","tool":"t","method":"GET","target":"/a","headers":[["x-text",[97,98]]],"has_body":false}"#;
        let read = HeldRequest::from_bytes(&Bytes::from([stored.as_slice(), b"\n"].concat())).expect("it is a call");
        assert_eq!(read.headers["x-text"], "ab");
        assert_eq!(read.protocol, Protocol::Http);
    }
}
