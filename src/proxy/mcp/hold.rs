//! A held call whose caller reads an event stream: kept alive until somebody decides, the caller leaves, or its time is over.

use std::sync::Arc;

use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use tokio_util::task::TaskTracker;

use crate::domain::approval::Approval;
use crate::gate::Gate;
use crate::gate::parking::Held;
use crate::gate::waiting::Waiting;
use crate::problem::{APPROVAL_HEADER, Problem, SOURCE_HEADER, Source};
use crate::protocol::mcp::sse;

use super::super::Proxy;
use super::super::body::AnswerBody;
use super::super::surface::Surface;
use super::super::{answer as plain, upstream};
use super::answer;
use super::call::HeldCall;
use super::relay::Relay;
use super::stream::{ChannelBody, Gone, Pulse};

/// Tells nginx not to wait for more.
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A held call on its way through the task that owns it.
pub(super) struct Hold {
    gate: Gate,
    tracker: TaskTracker,
    response_bytes_max: u64,
    call: HeldCall,
}

/// Why a wait ended without an answer from the gate.
enum Left {
    /// The caller took the call back.
    Cancelled,
    /// The caller's connection is gone.
    Gone,
}

impl Hold {
    pub(super) fn new(proxy: &Proxy, surface: &Surface, call: HeldCall) -> Self {
        let (gate, tracker) = (proxy.gate.clone(), proxy.tracker.clone());
        Self { gate, tracker, response_bytes_max: surface.response_bytes_max, call }
    }

    /// The head of the stream; its body is written by a task of its own.
    pub(super) fn respond(self) -> Response<AnswerBody> {
        let approval = self.call.waiting.approval();
        let message = format!("Waiting for human approval {} (rule {})", approval.id, approval.terms.rule);
        let id = HeaderValue::from_str(&approval.id.to_string()).expect("an id is ASCII");
        let (pulse, body) = Pulse::new(self.call.token.clone(), message);
        let task = self.tracker.clone();
        task.spawn(self.run(pulse));
        head(body, id)
    }

    async fn run(mut self, mut pulse: Pulse) {
        if pulse.write(bytes::Bytes::from_static(sse::KEEPALIVE)).await.is_err() {
            return self.left(Left::Gone).await;
        }
        let waited = {
            let HeldCall { waiting, cancellable, budget, .. } = &mut self.call;
            let wait = async {
                tokio::select! {
                    held = waiting.wait(*budget) => Ok(held),
                    () = cancellable.cancelled() => Err(Left::Cancelled),
                }
            };
            pulse.alongside(wait).await.unwrap_or(Err(Left::Gone))
        };
        match waited {
            Ok(Ok(Some(held))) => self.conclude(held, pulse).await,
            Ok(Ok(None)) => {
                let HeldCall { about, waiting, .. } = self.call;
                let text = about.text(&plain::still_pending(&waiting.give_up().await));
                // A caller that has left meanwhile finds the approval as it is.
                let _ = pulse.write(sse::message(&text)).await;
            }
            Ok(Err(error)) => {
                let text = self.call.about.text(&Problem::from(error));
                let _ = pulse.write(sse::message(&text)).await;
            }
            Err(left) => self.left(left).await,
        }
    }

    /// By the revision's own rule: a notification takes the call back in all of them, a closed stream only in those without sessions.
    async fn left(self, left: Left) {
        let HeldCall { about, waiting, .. } = self.call;
        match left {
            Left::Gone if !about.revision.is_stateless() => drop(waiting),
            Left::Gone | Left::Cancelled => drop(withdraw(&self.gate, waiting).await),
        }
    }

    async fn conclude(self, held: Held, mut pulse: Pulse) {
        let HeldCall { about, upstream, waiting, cancellable, .. } = self.call;
        cancellable.forget();
        if let Some(problem) = answer::problem_of(&held, self.gate.now()) {
            let _ = pulse.write(sse::message(&about.text(&problem))).await;
            return;
        }
        match held {
            // Nothing is sent for a caller that is not there: the permit goes back and is a grant.
            Held::Permitted(permit) if pulse.is_gone() => drop(permit),
            Held::Permitted(permit) => {
                let released =
                    upstream::release(permit, Arc::clone(&upstream), waiting.request().clone(), self.tracker.clone());
                pulse.hand_over();
                // What is being sent is seen to its end by a task of its own, whoever still listens.
                let Ok(released) = pulse.alongside(released).await else { return };
                Relay::new(about, pulse, self.response_bytes_max).run(released).await;
            }
            Held::Answered(approval, kept) => {
                let text = about.kept(&kept).unwrap_or_else(|| about.text(&plain::spent(&approval)));
                let _ = pulse.write(sse::message(&text)).await;
            }
            _ => {}
        }
    }
}

/// Stops waiting and takes the approval back, unless somebody else waits on it.
pub(super) async fn withdraw(gate: &Gate, waiting: Waiting) -> Approval {
    let agent = waiting.request().agent.clone();
    let approval = waiting.give_up().await;
    match gate.withdraw_unwatched(approval.id, &agent).await {
        Ok(Some(now)) => now,
        Ok(None) => approval,
        Err(error) => {
            // It stays pending until it expires; nothing is sent without a caller.
            tracing::warn!(approval = %approval.id, %error, "a withdrawn call could not be recorded");
            approval
        }
    }
}

/// The head of an event stream about an approval.
fn head(body: ChannelBody, approval: HeaderValue) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::Stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(sse::MEDIA_TYPE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(NO_BUFFERING, HeaderValue::from_static("no"));
    headers.insert(SOURCE_HEADER, Source::Gateway.header());
    headers.insert(APPROVAL_HEADER, approval);
    response
}

/// The caller's connection broke while something was written to it.
impl From<Gone> for Left {
    fn from(_: Gone) -> Self {
        Left::Gone
    }
}
