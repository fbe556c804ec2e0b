//! Calls that take several requests, since 2026-07-28: a held call is answered "ask again" before its client gives up, and an
//! approved call whose server asks back goes on under the approval it has.
//!
//! What ties the requests together travels with the client, sealed: it can be read and made by this gateway alone, belongs to one
//! agent and one call, ends, and is good for one use.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use dashmap::DashMap;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::domain::approval::Approval;
use crate::domain::call::Fingerprint;
use crate::domain::identity::AgentId;
use crate::domain::time::Timestamp;
use crate::domain::value;
use crate::gate::Gate;
use crate::problem::Problem;
use crate::protocol::json;
use crate::protocol::mcp::{self as protocol, STATE_PREFIX};

use super::super::answer as plain;
use super::answer::About;
use super::rewrite::Edit;

/// Requests that one held call may take: clients stop at ten.
pub(super) const ROUNDS_MAX: u32 = 9;
/// How long one of them keeps its caller at most: below the minute after which clients give up.
pub(super) const ROUND_MAX: Duration = Duration::from_secs(45);
/// How long a client may take until it asks again.
const STATE_TTL: Duration = Duration::from_secs(600);
/// States that are remembered as current.
const CURRENT_MAX: usize = 100_000;

/// What a state says, once it is opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    approval: String,
    /// Counts the states of one approval; only the last one given out is good.
    round: u32,
    until: Timestamp,
    /// The call that it belongs to.
    fingerprint: Fingerprint,
    /// `None` while the call is held. Else the call has been sent, and this is the server's own state, which may be absent.
    sent: Option<Option<String>>,
}

/// The states that are good now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rounds {
    current: Arc<DashMap<String, (u32, Timestamp)>>,
}

/// Why a state is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`requestState` is not one that was given out for this call, has been used, or is too old; call without it")]
pub(super) struct BadState;

/// What the states of one call are counted under.
fn key(approval: &str, fingerprint: &Fingerprint) -> String {
    format!("{approval} {fingerprint}")
}

impl State {
    fn key(&self) -> String {
        key(&self.approval, &self.fingerprint)
    }

    /// The server's state of a call that was sent; `None` while the call is held.
    pub(super) fn sent(&self) -> Option<Option<&str>> {
        self.sent.as_ref().map(Option::as_deref)
    }

    /// The call that it belongs to.
    pub(super) const fn call(&self) -> Fingerprint {
        self.fingerprint
    }

    /// How many requests the call has taken so far.
    pub(super) const fn round(&self) -> u32 {
        self.round
    }
}

/// Whether the gateway gave this state out.
pub(super) fn is_ours(state: &str) -> bool {
    state.starts_with(STATE_PREFIX)
}

impl Rounds {
    fn issue(&self, gate: &Gate, agent: &AgentId, state: &State) -> Result<String, Problem> {
        let now = gate.now();
        if self.current.len() >= CURRENT_MAX {
            self.current.retain(|_, (_, until)| now < *until);
        }
        let text = serde_json::to_vec(state).expect("a state has no failing serialiser");
        let sealed = gate.seal_for(agent, &text)?;
        self.current.insert(state.key(), (state.round, state.until));
        Ok(format!("{STATE_PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// Opens a state, and uses it up.
    ///
    /// # Errors
    /// When it is not good for this call of this agent.
    pub(super) fn take(&self, gate: &Gate, agent: &AgentId, text: &str, call: Fingerprint) -> Result<State, BadState> {
        let sealed =
            text.strip_prefix(STATE_PREFIX).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or(BadState)?;
        let opened = gate.open_for(agent, &sealed).ok_or(BadState)?;
        let state: State = serde_json::from_slice(&opened).map_err(|_| BadState)?;
        if gate.now() >= state.until || state.fingerprint != call {
            return Err(BadState);
        }
        // What would be sent with it is sent on a state that is known to be good, and on no other: a used one must not come back with
        // a restart.
        if state.sent.is_some() && !self.current.contains_key(&state.key()) {
            return Err(BadState);
        }
        // Of a held call nothing is remembered after a restart either: the state is then taken once, and holds what it held before.
        let mut current = self.current.entry(state.key()).or_insert((state.round, state.until));
        if current.0 != state.round {
            return Err(BadState);
        }
        current.0 = state.round + 1;
        Ok(state)
    }

    fn ask_again(&self, gate: &Gate, about: &About, approval: &Approval, round: u32) -> Result<String, Problem> {
        let state = State {
            approval: approval.id.to_string(),
            round,
            until: gate.now().plus(STATE_TTL),
            fingerprint: approval.subject.fingerprint,
            sent: None,
        };
        let state = self.issue(gate, &approval.subject.agent, &state)?;
        let result = json!({ "resultType": "input_required", "requestState": state });
        Ok(protocol::response(&about.id, &result))
    }

    /// The answer to a held call whose time for this request is over: ask again where the revision knows that, and as long as
    /// clients go along; else what a model can read.
    pub(super) fn over(&self, gate: &Gate, about: &About, approval: &Approval, round: u32) -> String {
        if !about.revision.is_stateless() || round >= ROUNDS_MAX {
            return about.text(&plain::still_pending(approval));
        }
        self.ask_again(gate, about, approval, round + 1).unwrap_or_else(|problem| about.text(&problem))
    }

    /// Makes a server's question about an approved call come back to the gateway with what it is about.
    pub(super) fn carry(&self, gate: Gate, agent: AgentId, approval: String, fingerprint: Fingerprint) -> Edit {
        let rounds = self.clone();
        Box::new(move |mut result| {
            Box::pin(async move {
                if result["resultType"] != "input_required" {
                    return Ok(None);
                }
                let round = rounds.current.get(&key(&approval, &fingerprint)).map_or(1, |current| current.0 + 1);
                let sent = Some(result["requestState"].as_str().map(str::to_owned));
                let until = gate.now().plus(STATE_TTL);
                let state = State { approval, round, until, fingerprint, sent };
                result["requestState"] = rounds.issue(&gate, &agent, &state)?.into();
                Ok(Some(result))
            })
        })
    }
}

/// The message as the server is to get it: with its own state in place of the gateway's. Where the gateway asked nothing but to come
/// back, there is nothing to answer.
pub(super) fn with_state(body: &[u8], sent: Option<Option<&str>>) -> Option<Bytes> {
    let mut message = json::read(body, &json::Limits::default()).ok()?;
    if let value::Value::Object(members) = &mut message
        && let Some((_, value::Value::Object(params))) = members.iter_mut().find(|(key, _)| key == "params")
    {
        params.retain(|(key, _)| key != "requestState" && (sent.is_some() || key != "inputResponses"));
        if let Some(state) = sent.flatten() {
            params.push(("requestState".into(), value::Value::String(state.to_owned().into())));
        }
    }
    let mut text = String::with_capacity(body.len());
    message.write_json(&mut text);
    Some(text.into())
}
