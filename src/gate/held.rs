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
    headers: Vec<(String, Vec<u8>)>,
    has_body: bool,
    #[serde(default)]
    protocol: Protocol,
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

    /// As bytes, to be sealed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let head = StoredHead {
            agent: self.agent.clone(),
            upstream: self.upstream.clone(),
            tool: self.tool.clone(),
            method: self.method.as_str().to_owned(),
            target: self.target.as_str().to_owned(),
            headers: self.headers.iter().map(|(n, v)| (n.as_str().to_owned(), v.as_bytes().to_vec())).collect(),
            has_body: self.body.is_some(),
            protocol: self.protocol,
        };
        let mut bytes = serde_json::to_vec(&head).expect("a head has no failing serialiser");
        bytes.push(b'\n');
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    /// From what [`HeldRequest::to_bytes`] wrote; `None` when it is anything else.
    pub fn from_bytes(bytes: &Bytes) -> Option<Self> {
        // JSON text written by serde_json has no raw line feed, so the first one ends the head.
        let end = memchr::memchr(b'\n', bytes)?;
        let head: StoredHead = serde_json::from_slice(&bytes[..end]).ok()?;
        let mut headers = HeaderMap::new();
        for (name, value) in head.headers {
            headers.append(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
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
