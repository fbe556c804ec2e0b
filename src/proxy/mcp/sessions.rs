//! The sessions of a caller with several servers, as one.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::domain::identity::AgentId;
use crate::gate::Gate;
use crate::protocol::mcp::{SESSION, VERSION};

/// What the gateway's session ids begin with.
const PREFIX: &str = "hp1.";

/// The caller's session: one of each server that was there when it began.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) servers: BTreeMap<String, ServerSession>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ServerSession {
    /// `None` for a server without sessions.
    pub(super) id: Option<String>,
    /// The revision that was agreed with it.
    pub(super) revision: String,
}

impl Session {
    pub(super) fn seal(&self, gate: &Gate, agent: &AgentId) -> Option<HeaderValue> {
        let text = serde_json::to_vec(self).expect("a session has no failing serialiser");
        let sealed = gate.seal_for(agent, &text).ok()?;
        HeaderValue::from_str(&format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed))).ok()
    }

    pub(super) fn open(gate: &Gate, agent: &AgentId, headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(SESSION)?.to_str().ok()?.strip_prefix(PREFIX)?;
        let opened = gate.open_for(agent, &URL_SAFE_NO_PAD.decode(text).ok()?)?;
        serde_json::from_slice(&opened).ok()
    }

    /// The caller's headers as this server is to get them; `None` when the session has none with it.
    pub(super) fn headers(&self, headers: &HeaderMap, server: &str) -> Option<HeaderMap> {
        let session = self.servers.get(server)?;
        let mut headers = headers.clone();
        headers.remove(SESSION);
        if let Some(id) = &session.id {
            headers.insert(SESSION, HeaderValue::from_str(id).ok()?);
        }
        headers.insert(VERSION, HeaderValue::from_str(&session.revision).ok()?);
        Some(headers)
    }
}

/// How the caller's headers reach a server.
pub(super) enum Era {
    /// Every request stands alone.
    Stateless,
    /// The caller has a session.
    Session(Session),
}

impl Era {
    pub(super) fn headers(&self, headers: &HeaderMap, server: &str) -> Option<HeaderMap> {
        match self {
            Era::Stateless => Some(headers.clone()),
            Era::Session(session) => session.headers(headers, server),
        }
    }
}
