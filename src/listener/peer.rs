//! Who is at the other end of a connection, as far as the connection itself tells.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;
use hyper::service::Service;

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its address: a proxy's, if there is one in between.
    pub addr: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The subject of the client certificate that it proved to hold, as RFC 4514 writes it (`CN=support-bot,O=Example`).
    /// `None` without a certificate, or for one with an empty subject.
    pub client_cert_subject: Option<Arc<str>>,
}

/// A service that finds the [`PeerInfo`] among the extensions of each request.
#[derive(Debug, Clone)]
pub struct WithPeer<S> {
    service: S,
    peer: PeerInfo,
}

impl<S> WithPeer<S> {
    /// `service` for the connection with `peer`.
    pub fn new(service: S, peer: &PeerInfo) -> Self {
        Self { service, peer: peer.clone() }
    }
}

impl<S: Service<Request<Incoming>>> Service<Request<Incoming>> for WithPeer<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer.clone());
        self.service.call(request)
    }
}
