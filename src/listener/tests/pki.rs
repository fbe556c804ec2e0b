//! Certificates made on the spot.

use std::net::TcpStream as Tcp;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::Server;
use crate::listener::{ClientAuth, TlsFiles, TlsState};

/// A CA with certificates for a server and for a client, in files.
pub(super) struct Pki {
    folder: tempfile::TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test CA");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
        let pki = Self { folder: tempfile::tempdir().expect("a folder"), ca };
        pki.write("ca.pem", &pki.ca.pem());
        pki.issue_server();
        pki
    }

    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    #[expect(clippy::disallowed_methods, reason = "a test lays out its files")]
    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("written");
    }

    /// Writes a new certificate for the listener; gives its encoding.
    pub(super) fn issue_server(&self) -> Vec<u8> {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["gateway.test".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.ca).expect("signed");
        self.write("server.pem", &certificate.pem());
        self.write("server.key", &key.serialize_pem());
        certificate.der().to_vec()
    }

    pub(super) fn client(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.ca).expect("signed");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        (vec![certificate.der().clone()], key)
    }

    pub(super) fn files(&self, clients: ClientAuth) -> TlsFiles {
        TlsFiles { certificate: self.path("server.pem"), key: self.path("server.key"), clients }
    }

    pub(super) fn state(&self, clients: ClientAuth) -> Arc<TlsState> {
        Arc::new(TlsState::load(&self.files(clients)).expect("good files"))
    }

    /// A client's session; reading from it shows whether the handshake succeeded.
    pub(super) fn session(
        &self,
        server: &Server,
        alpn: &[&[u8]],
        identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> StreamOwned<ClientConnection, Tcp> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der().clone()).expect("a CA");
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("a certificate"),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from("gateway.test").expect("a name");
        let session = ClientConnection::new(Arc::new(config), name).expect("a session");
        StreamOwned::new(session, server.connect())
    }
}
