//! A held call whose caller reads an event stream: kept alive until somebody decides, the caller leaves, or its time is over.

use std::pin::pin;
use std::sync::Arc;

use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use tokio_util::task::TaskTracker;

use crate::gate::parking::Held;
use crate::gate::{self, Gate};
use crate::problem::{APPROVAL_HEADER, Problem, SOURCE_HEADER, Source};
use crate::protocol::mcp::sse;

use super::super::Proxy;
use super::super::body::AnswerBody;
use super::super::surface::Surface;
use super::super::{answer as plain, upstream};
use super::answer;
use super::call::{HeldCall, approval_of};
use super::relay::Relay;
use super::resume;
use super::rewrite::Rewrite;
use super::rounds::Rounds;
use super::stream::{ChannelBody, Gone, Pulse};

/// Tells nginx not to wait for more.
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A held call on its way through the task that owns it.
pub(super) struct Hold {
    gate: Gate,
    tracker: TaskTracker,
    rounds: Rounds,
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
        Self { gate, tracker, rounds: proxy.rounds.clone(), response_bytes_max: surface.response_bytes_max, call }
    }

    /// The head of the stream; its body is written by a task of its own.
    pub(super) fn respond(self) -> Response<AnswerBody> {
        let waiting = self.call.waiting.waiting();
        let id = waiting.id().to_string();
        let message = format!("Waiting for human approval {id} (rule {})", waiting.rule());
        let (pulse, body) = Pulse::new(self.call.token.clone(), message);
        let task = self.tracker.clone();
        // Boxed: a future has room for each of its arguments twice, once as given, once as used.
        task.spawn(Box::new(self).run(Box::new(pulse)));
        head(body, &id)
    }

    async fn run(mut self: Box<Self>, mut pulse: Box<Pulse>) {
        // The first bytes come at once: they keep the connection, and may name the place to go on from.
        let first = match resume::event_id(&self.gate, &self.call) {
            Some(id) => sse::priming(&id, resume::RETRY_MS),
            None => bytes::Bytes::from_static(sse::KEEPALIVE),
        };
        pulse.offer(first);
        let waited = {
            let HeldCall { waiting, cancellable, budget, .. } = &mut self.call;
            // Pinned where it is: given by value, it would have room here twice.
            let wait = pin!(async {
                tokio::select! {
                    held = waiting.wait(*budget) => Ok(held),
                    () = cancellable.cancelled() => Err(Left::Cancelled),
                }
            });
            pulse.alongside(wait).await.unwrap_or(Err(Left::Gone))
        };
        // Boxed: what comes after the wait takes no memory during it.
        Box::pin(self.end(waited, pulse)).await;
    }

    async fn end(self: Box<Self>, waited: Result<Result<Option<Box<Held>>, gate::Error>, Left>, pulse: Box<Pulse>) {
        let text = match waited {
            Ok(Ok(Some(held))) => return self.conclude(*held, *pulse).await,
            Ok(Ok(None)) => {
                let HeldCall { about, waiting, round, .. } = self.call;
                match waiting.give_up().await {
                    Ok(approval) => self.rounds.over(&self.gate, &about, &approval, round),
                    Err(error) => about.text(&Problem::from(error)),
                }
            }
            Ok(Err(error)) => self.call.about.text(&Problem::from(error)),
            Err(left) => return self.left(left).await,
        };
        // A caller that has left meanwhile finds the approval as it is.
        let _ = pulse.write(sse::message(&text)).await;
    }

    /// By the revision's own rule: a notification takes the call back in all of them, a closed stream only in those without sessions.
    async fn left(self: Box<Self>, left: Left) {
        match left {
            // What that means is for the revision to say, and `Kept` knows.
            Left::Gone => drop(self.call.waiting),
            Left::Cancelled => drop(self.call.waiting.withdraw().await),
        }
    }

    async fn conclude(self: Box<Self>, held: Held, mut pulse: Pulse) {
        let HeldCall { about, upstream, waiting, cancellable, .. } = self.call;
        cancellable.forget();
        waiting.settled();
        if let Some(problem) = answer::problem_of(&held, self.gate.now()) {
            let _ = pulse.write(sse::message(&about.text(&problem))).await;
            return;
        }
        match held {
            // Nothing is sent for a caller that is not there: the permit goes back and is a grant.
            Held::Permitted(permit, _) if pulse.is_gone() => drop(permit),
            Held::Permitted(permit, request) => {
                let (agent, fingerprint) = (request.agent.clone(), request.fingerprint());
                let released = upstream::release(permit, Arc::clone(&upstream), request, self.tracker.clone());
                pulse.hand_over();
                // What is being sent is seen to its end by a task of its own, whoever still listens.
                let Ok(mut released) = pulse.alongside(released).await else { return };
                if about.revision.is_stateless()
                    && let Ok(response) = released
                {
                    let edit = self.rounds.carry(self.gate.clone(), agent, approval_of(&response), fingerprint);
                    let rewrite = Rewrite::of_call(&about, edit);
                    released = Ok(rewrite.apply(response, &self.tracker).await);
                }
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

/// The head of an event stream about an approval.
pub(super) fn head(body: ChannelBody, approval: &str) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::Stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(sse::MEDIA_TYPE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(NO_BUFFERING, HeaderValue::from_static("no"));
    headers.insert(SOURCE_HEADER, Source::Gateway.header());
    headers.insert(APPROVAL_HEADER, HeaderValue::from_str(approval).expect("an id is ASCII"));
    response
}

/// The caller's connection broke while something was written to it.
impl From<Gone> for Left {
    fn from(_: Gone) -> Self {
        Left::Gone
    }
}
