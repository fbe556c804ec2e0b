//! One way to send for every kind of upstream, and one type of body that its answers have.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::error::BoxError;
use super::stdio::{Program, StdioBody};
use super::{SendError, Sending, UpstreamClient};

/// What carries requests to one upstream.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one for each upstream; a box would cost every HTTP request a look-up")]
pub enum Transport<B> {
    /// HTTP, over the network.
    Http(UpstreamClient<B>),
    /// The input and output of a program.
    Stdio(Program),
}

impl<B> Transport<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    /// Whether sessions are kept here, each for the agent that is named in a request's extensions.
    pub const fn keeps_sessions(&self) -> bool {
        matches!(self, Transport::Stdio(_))
    }

    /// Sends `request` over a connection that stands, as [`UpstreamClient::send_pooled`] says; a child has one connection only.
    pub fn send_pooled(&self, request: Request<B>, head_timeout: Duration) -> InTransit {
        match self {
            Transport::Http(client) => InTransit::Http(client.send_pooled(request, head_timeout)),
            // Boxed: what goes over the network is the rule, and its future stays small.
            Transport::Stdio(program) => {
                let program = program.clone();
                InTransit::Stdio(Box::pin(async move { program.send(request, head_timeout).await }))
            }
        }
    }

    /// Sends `request` over a connection of its own, as [`UpstreamClient::send_fresh`] says.
    ///
    /// # Errors
    /// See [`SendError`]; only [`SendError::NotSent`] leaves no doubt.
    pub async fn send_fresh(
        &self,
        request: Request<B>,
        head_timeout: Duration,
    ) -> Result<Response<UpstreamBody>, SendError> {
        match self {
            Transport::Http(client) => {
                client.send_fresh(request, head_timeout).await.map(|response| response.map(UpstreamBody::Http))
            }
            Transport::Stdio(program) => {
                Box::pin(program.send(request, head_timeout)).await.map(|response| response.map(UpstreamBody::Stdio))
            }
        }
    }
}

impl<B> Transport<B> {
    /// Whether the upstream is a program and no host.
    pub const fn is_program(&self) -> bool {
        matches!(self, Transport::Stdio(_))
    }
}

/// A request on its way, until its response's head is there.
#[must_use = "nothing is sent until this is awaited"]
pub enum InTransit {
    /// Over the network.
    Http(Sending),
    /// To a child.
    Stdio(Pin<Box<dyn Future<Output = Result<Response<StdioBody>, SendError>> + Send>>),
}

impl Future for InTransit {
    type Output = Result<Response<UpstreamBody>, SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            InTransit::Http(sending) => {
                Pin::new(sending).poll(cx).map(|sent| sent.map(|response| response.map(UpstreamBody::Http)))
            }
            InTransit::Stdio(sending) => {
                sending.as_mut().poll(cx).map(|sent| sent.map(|response| response.map(UpstreamBody::Stdio)))
            }
        }
    }
}

/// The body of an upstream's answer, as it comes.
#[derive(Debug)]
pub enum UpstreamBody {
    /// From an HTTP connection.
    Http(Incoming),
    /// From a child.
    Stdio(StdioBody),
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            UpstreamBody::Http(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            UpstreamBody::Stdio(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            UpstreamBody::Http(body) => body.is_end_stream(),
            UpstreamBody::Stdio(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            UpstreamBody::Http(body) => body.size_hint(),
            UpstreamBody::Stdio(body) => body.size_hint(),
        }
    }
}
