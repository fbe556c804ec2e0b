//! Resolves, connects and shakes hands, within one time limit, and says which of these failed.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use tower::{Service, ServiceExt};

use super::error::{BoxError, NotSentReason};
use super::{OwnListeners, Trust};

/// How long a connection may be silent before the kernel asks whether the other side lives.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Why the certificates that upstreams must come from cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read, or something in it is no PEM.
    #[error("the trusted certificates in `{}` cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// There is no certificate in it.
    #[error("`{}` holds no certificate: put the CA's certificate there, in PEM", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A certificate in it cannot be a root of trust.
    #[error("a certificate in `{}` cannot be trusted as a CA: {source}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// TLS itself cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// What failed on the way to a connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectFailure {
    #[error("the name could not be resolved")]
    Resolve(#[source] io::Error),
    #[error("no connection")]
    Tcp(#[source] BoxError),
    #[error("{0} is one of the gateway's own listeners")]
    Own(SocketAddr),
    #[error("no TLS session")]
    Tls(#[source] BoxError),
    #[error("no connection in time")]
    TimedOut,
}

impl ConnectFailure {
    pub(super) const fn reason(&self) -> NotSentReason {
        match self {
            ConnectFailure::Resolve(_) => NotSentReason::Resolve,
            ConnectFailure::Tcp(_) => NotSentReason::Connect,
            ConnectFailure::Own(_) => NotSentReason::OwnListener,
            ConnectFailure::Tls(_) => NotSentReason::Tls,
            ConnectFailure::TimedOut => NotSentReason::TimedOut,
        }
    }
}

/// Makes connections. A client clones it for every request, whether that needs a new connection or not: so it is one pointer.
#[derive(Debug, Clone)]
pub(super) struct Connector(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    https: HttpsConnector<Tcp>,
    timeout: Duration,
}

impl Connector {
    pub(super) fn new(trust: &Trust, own: OwnListeners, timeout: Duration) -> Result<Self, TrustError> {
        let mut http = HttpConnector::new_with_resolver(Resolver);
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(TCP_KEEPALIVE));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(client_config(trust)?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(Tcp { http, own });
        Ok(Self(Arc::new(Inner { https, timeout })))
    }
}

fn client_config(trust: &Trust) -> Result<ClientConfig, TrustError> {
    match trust {
        Trust::Platform => platform_config(),
        Trust::File(path) => {
            let mut roots = RootCertStore::empty();
            let unreadable = |source| TrustError::Unreadable { path: path.clone(), source };
            for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
                let certificate = certificate.map_err(unreadable)?;
                roots.add(certificate).map_err(|source| TrustError::Unusable { path: path.clone(), source })?;
            }
            if roots.is_empty() {
                return Err(TrustError::Empty { path: path.clone() });
            }
            Ok(builder()?.with_root_certificates(roots).with_no_client_auth())
        }
    }
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

/// Made once a process: reading the operating system's certificates takes milliseconds, and otherwise each upstream would do
/// it at each reload.
fn platform_config() -> Result<ClientConfig, TrustError> {
    static PLATFORM: OnceLock<ClientConfig> = OnceLock::new();
    if let Some(config) = PLATFORM.get() {
        return Ok(config.clone());
    }
    let config = match builder()?.with_platform_verifier() {
        Ok(config) => config.with_no_client_auth(),
        Err(error) => {
            // An image without certificates may still serve upstreams in cleartext.
            tracing::warn!(%error, "the operating system trusts no certificates: no https upstream will be trusted");
            builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
        }
    };
    Ok(PLATFORM.get_or_init(|| config).clone())
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = ConnectFailure;
    type Future = BoxFuture<Self::Response, ConnectFailure>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectFailure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let (https, timeout) = (self.0.https.clone(), self.0.timeout);
        Box::pin(async move {
            let connecting = https.oneshot(target);
            match tokio::time::timeout(timeout, connecting).await {
                Ok(Ok(stream)) => Ok(stream),
                // What did not come from below came from the handshake.
                Ok(Err(error)) => Err(error.downcast().map_or_else(ConnectFailure::Tls, |below| *below)),
                Err(_) => Err(ConnectFailure::TimedOut),
            }
        })
    }
}

/// TCP to anywhere but the gateway itself, with its failures told apart from those of TLS.
#[derive(Debug, Clone)]
struct Tcp {
    http: HttpConnector<Resolver>,
    own: OwnListeners,
}

impl Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectFailure;
    type Future = BoxFuture<Self::Response, ConnectFailure>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectFailure>> {
        self.http.poll_ready(cx).map_err(|error| ConnectFailure::Tcp(error.into()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let (connecting, own) = (self.http.call(target), self.own.clone());
        Box::pin(async move {
            let stream = connecting.await.map_err(|error| {
                use std::error::Error as _;
                match error.source().and_then(|source| source.downcast_ref::<Unresolved>()) {
                    Some(Unresolved(cause)) => ConnectFailure::Resolve(io::Error::new(cause.kind(), cause.to_string())),
                    None => ConnectFailure::Tcp(error.into()),
                }
            })?;
            not_own(stream.inner(), &own)?;
            Ok(stream)
        })
    }
}

/// Where a connection went is looked at when it stands: a name may resolve to anything.
fn not_own(stream: &TcpStream, own: &OwnListeners) -> Result<(), ConnectFailure> {
    if own.is_empty() {
        return Ok(());
    }
    let gone = |error: io::Error| ConnectFailure::Tcp(error.into());
    let peer = stream.peer_addr().map_err(gone)?;
    if own.include(stream.local_addr().map_err(gone)?, peer) {
        tracing::error!(%peer, "an upstream is one of the gateway's own listeners: nothing was sent to it");
        return Err(ConnectFailure::Own(peer));
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unresolved(io::Error);

/// The operating system's resolver.
#[derive(Debug, Clone, Copy)]
struct Resolver;

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = Unresolved;
    type Future = BoxFuture<Self::Response, Unresolved>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unresolved>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(Unresolved)?;
            Ok(addresses.collect::<Vec<_>>().into_iter())
        })
    }
}
