//! Sending a call. The only code in the crate that reaches an upstream, and every way in takes a [`Permit`] by value.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use tokio_util::task::TaskTracker;

use crate::connect::{InTransit, SendError, UpstreamBody};
use crate::domain::call::Protocol;
use crate::domain::duration;
use crate::domain::id::ApprovalId;
use crate::domain::identity::AgentId;
use crate::gate::held::HeldRequest;
use crate::gate::release::{KeptAnswer, Permit, Release, Sender, Sent};
use crate::problem::{APPROVAL_HEADER, Code, Problem};
use crate::protocol::head::strip_for_caller;
use crate::protocol::target::RequestTarget;
use crate::telemetry::metrics::{UpstreamMetrics, UpstreamOutcome};
use crate::telemetry::stopwatch::Stopwatch;

use super::answer;
use super::body::{AnswerBody, BoxError, CallBody, PromptBody, ReleasedBody, has_ended};
use super::expected::{Expected, ended};
use super::routes::Upstream;
use super::surface::Surface;

/// How long the answer to a call that the gateway sends by itself may take from its head to its end, an event stream too: whoever
/// waits longer keeps a turn that other calls to the upstream wait for.
const DETACHED_ANSWER_MAX: Duration = Duration::from_secs(60 * 60);

/// A call on its way out.
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// Where it goes.
    pub uri: Uri,
    /// End-to-end headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: CallBody,
    /// Whose it is, for an upstream whose sessions are kept here.
    pub agent: Option<AgentId>,
}

impl Outgoing {
    /// A call whose body was read, or that has none.
    pub fn judged(
        upstream: &Upstream,
        method: Method,
        target: &RequestTarget,
        headers: HeaderMap,
        body: Option<Bytes>,
    ) -> Self {
        Self { method, uri: upstream.uri(target, None), headers, body: CallBody::judged(body), agent: None }
    }

    /// The same of an agent, who finds its own sessions only.
    pub fn of(mut self, agent: AgentId) -> Self {
        self.agent = Some(agent);
        self
    }

    /// The request as it leaves: the upstream's own Host and the configured headers over whatever the caller sent.
    fn into_request(self, upstream: &Upstream, approval: Option<ApprovalId>) -> Request<CallBody> {
        let mut request = Request::new(self.body);
        *request.method_mut() = self.method;
        *request.version_mut() = Version::HTTP_11;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        // Framed anew from what is really sent.
        if matches!(request.body(), CallBody::Judged(_)) {
            request.headers_mut().remove(CONTENT_LENGTH);
        }
        let headers = request.headers_mut();
        headers.insert(HOST, upstream.host.clone());
        for (name, value) in &upstream.headers {
            headers.insert(name, value.clone());
        }
        if let Some(id) = approval {
            name(headers, id);
        }
        if let Some(agent) = self.agent.filter(|_| upstream.client.keeps_sessions()) {
            request.extensions_mut().insert(agent);
        }
        request
    }
}

/// A call that policy let through, under way: until the head of the upstream's answer, or the problem to answer with, is there.
#[must_use = "nothing is sent until this is awaited"]
pub struct Passing {
    sending: InTransit,
    watch: Stopwatch,
    metrics: UpstreamMetrics,
}

/// Forwards a call that policy let through, over a pooled connection. `begun` runs from the moment it is on its way.
///
/// # Errors
/// When the permit is not for such a call: then nothing is sent.
pub fn forward(permit: Permit, upstream: &Upstream, call: Outgoing, begun: Stopwatch) -> Result<Passing, Problem> {
    if permit.spend_on_passing().is_err() {
        return Err(Problem::new(Code::Internal, "a held call was sent the wrong way; nothing was sent"));
    }
    let sending = upstream.client.send_pooled(call.into_request(upstream, None), upstream.timeout);
    Ok(Passing { sending, watch: begun, metrics: upstream.metrics.clone() })
}

impl Passing {
    /// The head of the upstream's answer, or the problem to answer with.
    pub async fn outcome(mut self) -> Result<Response<AnswerBody>, Problem> {
        std::future::poll_fn(|cx| self.poll_outcome(cx)).await
    }

    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<AnswerBody>, Problem>> {
        let sent = ready!(Pin::new(&mut self.sending).poll(cx));
        self.metrics.upstream_request(outcome_of(&sent), self.watch.elapsed());
        Poll::Ready(match sent {
            Ok(response) => {
                let mut response = response.map(AnswerBody::Upstream);
                answer::from_upstream(response.headers_mut(), None);
                Ok(response)
            }
            Err(error) => Err(problem_of(&error)),
        })
    }
}

impl Future for Passing {
    type Output = Response<AnswerBody>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<AnswerBody>> {
        self.get_mut().poll_outcome(cx).map(|sent| sent.unwrap_or_else(answer::own))
    }
}

/// Forwards a call that policy let through, and waits for the head of the answer.
///
/// # Errors
/// The problem to answer with; it says whether anything was sent.
pub async fn send(permit: Permit, upstream: &Upstream, call: Outgoing) -> Result<Response<AnswerBody>, Problem> {
    forward(permit, upstream, call, Stopwatch::start())?.outcome().await
}

fn outcome_of<T>(sent: &Result<T, SendError>) -> UpstreamOutcome {
    match sent {
        Ok(_) => UpstreamOutcome::Answered,
        Err(SendError::NotSent(_)) => UpstreamOutcome::NotSent,
        Err(SendError::Lost(_)) => UpstreamOutcome::Lost,
        Err(SendError::TimedOut) => UpstreamOutcome::TimedOut,
    }
}

/// Releases a held call for the caller that waits. Runs to its end in a task of its own: a caller that leaves now changes nothing
/// about what is sent.
pub async fn release(
    permit: Permit,
    upstream: Arc<Upstream>,
    request: HeldRequest,
    tracker: TaskTracker,
) -> Result<Response<AnswerBody>, Problem> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let task = tracker.clone();
    tracker.spawn(async move {
        drop(sender.send(release_to_its_end(permit, &upstream, request, task).await));
    });
    let lost = || Err(answer::lost(Code::OutcomeUnknown, "the gateway lost track of it"));
    receiver.await.unwrap_or_else(|_| lost())
}

async fn release_to_its_end(
    permit: Permit,
    upstream: &Upstream,
    request: HeldRequest,
    tracker: TaskTracker,
) -> Result<Response<AnswerBody>, Problem> {
    let Ok(mut release) = permit.spend(|| request.fingerprint()) else {
        return Err(Problem::new(Code::Internal, "the permit was for another call; nothing was sent"));
    };
    let id = release.approval();
    let (protocol, expected) = (request.protocol, Expected::of(&request));
    match release.carry_out(dispatch(upstream, request, id)).await {
        Ok(response) => {
            let status = response.status();
            let expected = expected.map(|expected| expected.in_answer(response.headers(), true));
            let without_body = has_ended(response.body()).then(|| ended(expected.as_ref(), status.as_u16()));
            let mut response = match without_result(protocol, status).or(without_body) {
                Some(sent) => {
                    release.finish(sent, None).await;
                    response.map(AnswerBody::Upstream)
                }
                None => response.map(|body| {
                    AnswerBody::Released(Box::new(ReleasedBody::new(body, status.as_u16(), expected, release, tracker)))
                }),
            };
            answer::from_upstream(response.headers_mut(), None);
            name(response.headers_mut(), id);
            Ok(response)
        }
        Err(error) => {
            let problem = problem_of(&error).with("approval", id.to_string());
            release.finish(sent_of(&error), None).await;
            Err(problem.header(APPROVAL_HEADER, HeaderValue::from_str(&id.to_string()).expect("an id is ASCII")))
        }
    }
}

/// What a status says by itself: an MCP server answers every call that it took with 200. One that it says it did not take has not
/// run; behind any other status it may have. Plain HTTP says everything in its status.
fn without_result(protocol: Protocol, status: StatusCode) -> Option<Sent> {
    match protocol {
        Protocol::Http => None,
        Protocol::Mcp if status == StatusCode::OK => None,
        Protocol::Mcp if did_not_take(status) => {
            Some(Sent::Refused(format!("the upstream did not take the call: it answered {status}")))
        }
        Protocol::Mcp => Some(Sent::Lost(format!("the upstream answered {status} and no result"))),
    }
}

/// Whether an MCP server says with this status that it did not take a message: about its form, its sender or its session. The
/// other 4xx say nothing of the kind: 408, 409, 425, 429 and 499 are also what is answered when a call that has begun is given up.
pub(super) const fn did_not_take(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_ACCEPTABLE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
    )
}

fn name(headers: &mut HeaderMap, id: ApprovalId) {
    headers.insert(APPROVAL_HEADER, HeaderValue::from_str(&id.to_string()).expect("an id is ASCII"));
}

/// Over a connection of its own: a pooled one that the upstream has just closed would make an outcome unknown for nothing.
async fn dispatch(
    upstream: &Upstream,
    request: HeldRequest,
    id: ApprovalId,
) -> Result<Response<UpstreamBody>, SendError> {
    let watch = Stopwatch::start();
    let call = Outgoing {
        method: request.method,
        uri: upstream.uri(&request.target, None),
        headers: request.headers,
        body: CallBody::judged(request.body),
        agent: Some(request.agent),
    };
    let sent = upstream.client.send_fresh(call.into_request(upstream, Some(id)), upstream.timeout).await;
    upstream.metrics.upstream_request(outcome_of(&sent), watch.elapsed());
    sent
}

fn problem_of(error: &SendError) -> Problem {
    match error {
        SendError::NotSent(reason) => answer::not_sent(&reason.to_string()),
        SendError::Lost(reason) => answer::lost(Code::OutcomeUnknown, &reason.to_string()),
        SendError::TimedOut => answer::lost(Code::UpstreamTimeout, "the upstream did not answer in time"),
    }
}

fn sent_of(error: &SendError) -> Sent {
    match error {
        SendError::NotSent(reason) => Sent::NotSent(reason.to_string()),
        SendError::Lost(reason) => Sent::Lost(reason.to_string()),
        SendError::TimedOut => Sent::Lost("the upstream did not answer in time".to_owned()),
    }
}

/// Sends detached calls by the configuration of the moment.
pub struct DetachedSender {
    /// The configuration of the moment.
    pub surface: Arc<ArcSwap<Surface>>,
}

#[async_trait]
impl Sender for DetachedSender {
    async fn send(&self, permit: Permit, request: HeldRequest) {
        let surface = self.surface.load_full();
        let judged = permit.is_by(&surface.policy);
        let Ok(release) = permit.spend(|| request.fingerprint()) else {
            tracing::error!("a permit did not cover the stored request; nothing was sent");
            return;
        };
        // A reload came between the verdict and this: neither configuration may have let the call go where it would go now.
        if !judged {
            let reloaded = "the configuration was loaded anew before it was sent".to_owned();
            return release.finish(Sent::NotSent(reloaded), None).await;
        }
        let Some(upstream) = surface.routes.upstream(&request.upstream) else {
            let gone = format!("upstream `{}` is no longer configured", request.upstream);
            return release.finish(Sent::NotSent(gone), None).await;
        };
        let (protocol, expected) = (request.protocol, Expected::of(&request));
        match dispatch(upstream, request, release.approval()).await {
            Ok(response) => match without_result(protocol, response.status()) {
                Some(sent) => release.finish(sent, None).await,
                None => keep(release, response, expected, surface.response_bytes_max, upstream.timeout).await,
            },
            Err(error) => release.finish(sent_of(&error), None).await,
        }
    }
}

/// Reads the whole answer and keeps it. Nobody's patience ends this, so an upstream that falls silent for `piece_timeout` in the
/// middle does; but not in an event stream, whose next event is the result. That one may go on for [`DETACHED_ANSWER_MAX`].
async fn keep(
    release: Release,
    response: Response<UpstreamBody>,
    expected: Option<Expected>,
    max: u64,
    piece_timeout: Duration,
) {
    let (mut head, body) = response.into_parts();
    strip_for_caller(&mut head.headers);
    let status = head.status.as_u16();
    let end_to_end = |(name, value): (&HeaderName, &HeaderValue)| (name.as_str().to_owned(), value.as_bytes().to_vec());
    let mut kept = KeptAnswer {
        status,
        headers: head.headers.iter().map(end_to_end).collect(),
        body: Bytes::new(),
        too_large: false,
    };
    let is_event_stream =
        head.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
    let piece_timeout = if is_event_stream { Duration::MAX } else { piece_timeout };
    match whole(PromptBody::new(body, piece_timeout), max).await {
        Ok(Some(body)) => kept.body = body,
        Ok(None) => kept.too_large = true,
        Err(lost) => return release.finish(Sent::Lost(lost), None).await,
    }
    let mut expected = expected.filter(|_| !kept.too_large).map(|expected| expected.in_answer(&head.headers, false));
    if let Some(expected) = &mut expected {
        expected.look(&kept.body);
    }
    match ended(expected.as_ref(), status) {
        lost @ Sent::Lost(_) => release.finish(lost, None).await,
        answered => release.finish(answered, Some(kept)).await,
    }
}

/// The whole of a body; `None` when it is larger than `max` bytes.
///
/// # Errors
/// Why its end never came, for people.
async fn whole<B>(body: PromptBody<B>, max: u64) -> Result<Option<Bytes>, String>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let collected = Limited::new(body, usize::try_from(max).unwrap_or(usize::MAX)).collect();
    match tokio::time::timeout(DETACHED_ANSWER_MAX, collected).await {
        Ok(Ok(collected)) => Ok(Some(collected.to_bytes())),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Ok(None),
        Ok(Err(error)) => Err(format!("the upstream broke off in the middle of its answer: {error}")),
        Err(_) => Err(format!("the upstream did not end its answer within {}", duration::format(DETACHED_ANSWER_MAX))),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_never_ends_is_given_up_after_an_hour() {
        let beginning = futures_util::stream::iter([Ok::<_, BoxError>(Frame::data(Bytes::from_static(b": hi\n\n")))]);
        let silent = StreamBody::new(beginning.chain(futures_util::stream::pending()));
        let begin = tokio::time::Instant::now();
        let lost = whole(PromptBody::new(silent, Duration::MAX), 1024).await.expect_err("it has no end");
        assert_eq!(begin.elapsed().as_secs(), 3600);
        assert!(lost.contains("within 1h"), "{lost}");
    }
}
