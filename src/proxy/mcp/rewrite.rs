//! Editing the result of one response on its way to the caller, whether it comes as a document or on an event stream. Everything
//! else of the answer passes as it is, and so does a result that the edit leaves alone.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use tokio_util::task::TaskTracker;

use crate::problem::{APPROVAL_HEADER, Code, Problem};
use crate::protocol::mcp::{Id, is_response_to, sse};

use super::super::answer as plain;
use super::super::body::AnswerBody;
use super::answer::{self, About};
use super::stream::{Gone, Pulse};

/// The largest result that is edited. A larger one is refused: it could not be judged.
const RESULT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// An edit of a result; `None` leaves it as it is.
pub(super) type Edit =
    Box<dyn FnOnce(Value) -> Pin<Box<dyn Future<Output = Result<Option<Value>, Problem>> + Send>> + Send>;

/// What is edited, and how.
pub(super) struct Rewrite {
    pub(super) id: Id,
    pub(super) edit: Edit,
    /// Whether an error is edited as well, as a result that is `null`: the gateway has an answer where the server has none.
    pub(super) takes_errors: bool,
    /// The call that was sent, if it was one: then a caller without its result must hear that it may have run.
    pub(super) call: Option<About>,
}

impl Rewrite {
    /// Of the result of a call.
    pub(super) fn of_call(about: &About, edit: Edit) -> Self {
        Self { id: about.id.clone(), edit, takes_errors: false, call: Some(about.clone()) }
    }

    /// Edits the answer to the request. Returns at once for an event stream, which is edited as it comes.
    pub(super) async fn apply(self, response: Response<AnswerBody>, tracker: &TaskTracker) -> Response<AnswerBody> {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            _ if !response.status().is_success() => response,
            "application/json" => self.document(response).await,
            sse::MEDIA_TYPE => {
                let (mut head, body) = response.into_parts();
                head.headers.remove(CONTENT_LENGTH);
                let (pulse, channel) = Pulse::silent();
                let without_result = self.call.clone().map(|about| {
                    let detail =
                        "the upstream ended its stream without a result, or with one too large to be looked into";
                    sse::message(&about.text(&lost(detail, &head.headers)))
                });
                tracker.spawn(async move {
                    // A caller that has left needs no list.
                    let _ = self.stream(body, pulse, without_result).await;
                });
                Response::from_parts(head, AnswerBody::Stream(channel))
            }
            _ => response,
        }
    }

    async fn document(self, response: Response<AnswerBody>) -> Response<AnswerBody> {
        let (mut head, body) = response.into_parts();
        let Ok(collected) = Limited::new(body, RESULT_BYTES_MAX).collect().await else {
            let detail = "the upstream's answer broke off, or is too large to be looked into";
            return match self.call {
                Some(about) => about.answer(lost(detail, &head.headers)),
                None => answer::failed(&self.id, Problem::new(Code::UpstreamUnreachable, detail)),
            };
        };
        let bytes = collected.to_bytes();
        let id = self.id.clone();
        match self.message(&bytes).await {
            Ok(None) => Response::from_parts(head, AnswerBody::from(bytes)),
            Ok(Some(text)) => {
                head.headers.remove(CONTENT_LENGTH);
                Response::from_parts(head, AnswerBody::from(Bytes::from(text)))
            }
            Err(problem) => answer::failed(&id, problem),
        }
    }

    /// The edited message; `None` when it is to pass as it is.
    async fn message(self, bytes: &[u8]) -> Result<Option<String>, Problem> {
        let Ok(mut message) = serde_json::from_slice::<Value>(bytes) else { return Ok(None) };
        let is_ours = std::str::from_utf8(bytes).is_ok_and(|text| is_response_to(text, &self.id));
        let failed = self.takes_errors && message.get("error").is_some();
        let result = match message.get_mut("result") {
            Some(result) if is_ours => result.take(),
            None if is_ours && failed => Value::Null,
            Some(_) | None => return Ok(None),
        };
        let Some(edited) = (self.edit)(result).await? else { return Ok(None) };
        if let Some(members) = message.as_object_mut() {
            members.shift_remove("error");
        }
        message["result"] = edited;
        Ok(Some(message.to_string()))
    }

    async fn stream(self, mut body: AnswerBody, mut pulse: Pulse, without: Option<Bytes>) -> Result<(), Gone> {
        let mut reader = sse::Reader::new(RESULT_BYTES_MAX);
        let mut left = Some(self);
        // Whether the caller has a place to ask for the rest itself.
        let mut has_place = false;
        'stream: while let Some(frame) = pulse.alongside(body.frame()).await? {
            let Some(data) = frame.ok().and_then(|frame| frame.into_data().ok()) else { break };
            reader.push(&data);
            loop {
                let event = match reader.next_event() {
                    Ok(Some(event)) => event,
                    Ok(None) => break,
                    // Too large to be looked into: nothing more of this stream is believed.
                    Err(_) => break 'stream,
                };
                has_place |= event.id.as_ref().is_some_and(|id| !id.is_empty());
                let answers =
                    |rewrite: &Self| event.data.as_deref().is_some_and(|data| is_response_to(data, &rewrite.id));
                let piece = match left.take_if(|rewrite| answers(rewrite)) {
                    Some(rewrite) => rewrite.event(event).await,
                    None => event.raw,
                };
                pulse.write(piece).await?;
            }
        }
        match without.filter(|_| left.is_some() && !has_place) {
            Some(told) => pulse.write(told).await,
            None => Ok(()),
        }
    }

    async fn event(self, event: sse::Event) -> Bytes {
        let id = self.id.clone();
        let text = match self.message(event.data.as_deref().unwrap_or_default().as_bytes()).await {
            Ok(None) => return event.raw,
            Ok(Some(text)) => text,
            Err(problem) => answer::rpc_text(Some(&id), -32603, &problem),
        };
        let id = event.id.map_or_else(String::new, |id| format!("id: {id}\n"));
        [id.as_bytes(), &sse::message(&text)].concat().into()
    }
}

/// A call was sent, and what became of it is not known here.
fn lost(detail: &str, head: &HeaderMap) -> Problem {
    let problem = plain::lost(Code::OutcomeUnknown, detail);
    match head.get(APPROVAL_HEADER) {
        Some(id) => problem.with("approval", id.to_str().unwrap_or_default()).header(APPROVAL_HEADER, id.clone()),
        None => problem,
    }
}
