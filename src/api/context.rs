//! An admitted request, as its operation sees it.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::approval::Approval;
use crate::domain::duration;
use crate::domain::id::ApprovalId;
use crate::domain::identity::{AgentId, Channel, Reviewer};
use crate::domain::text::inert_json;
use crate::gate::Gate;
use crate::problem::{Code, Problem};
use crate::protocol::head::Prefer;
use crate::protocol::json;
use crate::web::Shared;
use crate::web::query::Pairs;

use super::wire::shape::Object;
use super::{Surface, invalid};

/// Who calls, and by what way.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    /// Nobody in particular: the operation is open.
    Anyone,
    /// An agent.
    Agent(AgentId),
    /// A reviewer.
    Reviewer(Reviewer, Channel),
    /// A scraper.
    Metrics,
}

/// One admitted request.
pub(super) struct Context {
    pub(super) shared: Arc<Shared>,
    pub(super) surface: Surface,
    pub(super) caller: Caller,
    pub(super) path: Vec<(String, String)>,
    pub(super) query: Pairs,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Context {
    /// The use cases.
    pub(super) fn gate(&self) -> &Gate {
        &self.shared.gate
    }

    /// The approval that the path names. What is no id names nothing.
    pub(super) fn id(&self) -> Result<ApprovalId, Problem> {
        let text = self.path.iter().find(|(name, _)| name == "id").map_or("", |(_, value)| value.as_str());
        text.parse().map_err(|_| not_found())
    }

    /// The agent that calls.
    pub(super) fn agent(&self) -> Result<&AgentId, Problem> {
        match &self.caller {
            Caller::Agent(agent) => Ok(agent),
            Caller::Anyone | Caller::Reviewer(..) | Caller::Metrics => Err(forbidden("this is for agents")),
        }
    }

    /// The reviewer who calls, and by what way.
    pub(super) fn reviewer(&self) -> Result<(&Reviewer, Channel), Problem> {
        match &self.caller {
            Caller::Reviewer(reviewer, channel) => Ok((reviewer, *channel)),
            Caller::Anyone | Caller::Agent(_) | Caller::Metrics => Err(forbidden("this is for reviewers")),
        }
    }

    /// The approval that the path names, if this caller may see it. To an agent, another's approval does not exist.
    pub(super) async fn approval(&self) -> Result<Approval, Problem> {
        let approval = self.gate().approval(self.id()?).await?.ok_or_else(not_found)?;
        match &self.caller {
            Caller::Reviewer(..) => Ok(approval),
            Caller::Agent(agent) if approval.subject.agent == *agent => Ok(approval),
            Caller::Agent(_) | Caller::Anyone | Caller::Metrics => Err(not_found()),
        }
    }

    /// The body as `T`: strict JSON first (no key twice, nothing two readers could read differently), then the shape.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        if self.body.is_empty() {
            return Err(invalid(&"the body is missing; send a JSON object"));
        }
        let limits =
            json::Limits { body_bytes: self.body.len(), string_bytes: self.body.len(), ..json::Limits::default() };
        json::read(&self.body, &limits).map_err(|error| not_json(&error))?;
        let Object(read) =
            serde_json::from_slice(&self.body).map_err(|error| invalid(&format!("the body does not fit: {error}")))?;
        Ok(read)
    }

    /// How long the caller wants to wait: `?wait=25s`, or `Prefer: wait=25`; at most what the configuration allows.
    pub(super) fn wait(&self) -> Result<Duration, Problem> {
        let asked = match self.query.single("wait").map_err(|error| invalid(&error))? {
            Some(text) => Some(duration::parse(text).map_err(|error| invalid(&format!("`wait`: {error}")))?),
            None => Prefer::read(&self.headers).wait,
        };
        Ok(asked.unwrap_or_default().min(self.shared.settings.load().wait_max))
    }

    /// A whole number from the query, within bounds.
    pub(super) fn number(&self, name: &str, bounds: std::ops::RangeInclusive<u64>) -> Result<Option<u64>, Problem> {
        let Some(text) = self.query.single(name).map_err(|error| invalid(&error))? else { return Ok(None) };
        match text.parse() {
            Ok(number) if bounds.contains(&number) => Ok(Some(number)),
            _ => {
                let (from, to) = (bounds.start(), bounds.end());
                Err(invalid(&format!("`{name}` must be a whole number from {from} to {to}")))
            }
        }
    }
}

/// What a caller hears about an approval that does not exist, or not for it.
pub(super) fn not_found() -> Problem {
    Problem::new(Code::NotFound, "there is no such approval, or it is not yours to see")
}

/// What a caller hears who may not do this.
pub(super) fn forbidden(detail: &str) -> Problem {
    Problem::new(Code::Forbidden, detail)
}

/// What a caller hears whose body is not strict JSON.
pub(super) fn not_json(error: &json::JsonError) -> Problem {
    let code = Code::ALL.iter().copied().find(|code| code.as_str() == error.code()).unwrap_or(Code::BadJson);
    Problem::new(code, error.to_string()).with("offset", error.offset).with("path", error.path.clone())
}

/// A JSON answer in which nothing is hidden from whoever reads it as text.
pub(super) fn reply(status: StatusCode, value: &impl Serialize) -> Result<Response, Problem> {
    written(value).map(|body| document(status, inert_json(body)))
}

/// A JSON answer with parts whose very bytes matter.
pub(super) fn reply_exactly(status: StatusCode, value: &impl Serialize) -> Result<Response, Problem> {
    written(value).map(|body| document(status, body))
}

fn written(value: &impl Serialize) -> Result<String, Problem> {
    serde_json::to_string(value).map_err(|error| {
        tracing::error!(%error, "an answer could not be written");
        Problem::new(Code::Internal, "the answer could not be written")
    })
}

fn document(status: StatusCode, body: String) -> Response {
    (status, [(http::header::CONTENT_TYPE, "application/json")], body).into_response()
}
