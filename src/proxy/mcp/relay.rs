//! The upstream's answer to a released call, told on the event stream that the caller already reads.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use crate::problem::{APPROVAL_HEADER, Code, Problem};
use crate::protocol::mcp::is_response_to;
use crate::protocol::mcp::sse::{self, Event, Reader};

use super::super::answer as plain;
use super::super::body::AnswerBody;
use super::super::upstream::did_not_take;
use super::answer::About;
use super::stream::{Gone, Pulse};

/// The largest event that is looked into; larger ones pass as they are.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Tells one answer.
pub(super) struct Relay {
    about: About,
    pulse: Pulse,
    body_bytes_max: u64,
}

impl Relay {
    pub(super) fn new(about: About, pulse: Pulse, body_bytes_max: u64) -> Self {
        Self { about, pulse, body_bytes_max }
    }

    /// Tells the answer, or why there is none. A caller that leaves now changes nothing about what was sent.
    pub(super) async fn run(mut self, released: Result<Response<AnswerBody>, Problem>) {
        let told = match released {
            Ok(response) => self.tell(response).await,
            Err(problem) => self.say(&problem).await,
        };
        if told.is_err() {
            tracing::debug!(tool = %self.about.tool, "the caller left before the answer was whole");
        }
    }

    async fn say(&self, problem: &Problem) -> Result<(), Gone> {
        self.pulse.write(sse::message(&self.about.text(problem))).await
    }

    async fn tell(&mut self, response: Response<AnswerBody>) -> Result<(), Gone> {
        let (head, body) = response.into_parts();
        let kind = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let about = |problem: Problem| match head.headers.get(APPROVAL_HEADER).and_then(|id| id.to_str().ok()) {
            Some(id) => problem.with("approval", id),
            None => problem,
        };
        match (head.status, kind.as_str()) {
            (status, sse::MEDIA_TYPE) if status.is_success() => self.events(body).await,
            (StatusCode::OK, "application/json") => self.document(body).await,
            (status, _) if did_not_take(status) => {
                self.say(&about(plain::not_sent(&format!("the upstream did not take the call: it answered {status}"))))
                    .await
            }
            (status, _) => {
                let said = format!("the upstream answered {status} and no result");
                self.say(&about(plain::lost(Code::OutcomeUnknown, &said))).await
            }
        }
    }

    async fn document(&mut self, body: AnswerBody) -> Result<(), Gone> {
        let max = usize::try_from(self.body_bytes_max).unwrap_or(usize::MAX);
        let collected = self.pulse.alongside(Limited::new(body, max).collect()).await?;
        let text = collected.ok().and_then(|collected| String::from_utf8(collected.to_bytes().into()).ok());
        match text {
            Some(text) if is_response_to(&text, &self.about.id) => self.pulse.write(sse::message(&text)).await,
            Some(_) => {
                let said = "the upstream answered with something else than a response to it";
                self.say(&plain::lost(Code::OutcomeUnknown, said)).await
            }
            None => {
                let said = "the upstream's answer broke off, or is larger than `limits.response_bytes_max`";
                self.say(&plain::lost(Code::OutcomeUnknown, said)).await
            }
        }
    }

    async fn events(&mut self, mut body: AnswerBody) -> Result<(), Gone> {
        let mut reader = Reader::new(EVENT_BYTES_MAX);
        // Whether the caller has its answer, or a place to ask for it.
        let mut settled = false;
        while let Some(frame) = self.pulse.alongside(body.frame()).await? {
            let Ok(frame) = frame else { break };
            let Ok(data) = frame.into_data() else { continue };
            reader.push(&data);
            loop {
                match reader.next_event() {
                    Ok(Some(event)) => {
                        settled |= event.id.as_ref().is_some_and(|id| !id.is_empty())
                            || event.data.as_deref().is_some_and(|data| is_response_to(data, &self.about.id));
                        let piece = self.in_order(event);
                        self.pulse.write(piece).await?;
                    }
                    Ok(None) => break,
                    Err(_) => {
                        settled = true;
                        self.pulse.write(reader.rest()).await?;
                        break;
                    }
                }
            }
        }
        if settled {
            return Ok(());
        }
        self.say(&plain::lost(Code::OutcomeUnknown, "the upstream ended its stream without a result")).await
    }

    /// The event as it is, unless it reports progress below what was reported before.
    fn in_order(&mut self, event: Event) -> Bytes {
        let Some(mut message) = event.data.as_deref().and_then(|data| serde_json::from_str::<Value>(data).ok()) else {
            return event.raw;
        };
        let is_progress = message["method"] == "notifications/progress";
        let params = message.get_mut("params").and_then(Value::as_object_mut).filter(|_| is_progress);
        let reported =
            params.as_ref().and_then(|params| Some((params.get("progressToken")?, params.get("progress")?.as_f64()?)));
        match reported.and_then(|(token, reported)| self.pulse.above(token, reported)) {
            Some(moved) => {
                message["params"]["progress"] = moved.into();
                let id = event.id.map_or_else(String::new, |id| format!("id: {id}\n"));
                [id.as_bytes(), &sse::message(&message.to_string())].concat().into()
            }
            None => event.raw,
        }
    }
}
