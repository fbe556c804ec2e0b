//! Certificates for gateways that speak TLS.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::home::Home;

/// An authority of the test's own.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    /// Makes one; its certificate is `ca.pem` in the folder.
    pub(crate) fn new(home: &Home) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test CA");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
        std::fs::write(home.path("ca.pem"), ca.pem()).expect("written");
        Self(ca)
    }

    /// Writes `<name>.pem` and `<name>.key`.
    pub(crate) fn issue(&self, home: &Home, name: &str) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.0).expect("signed");
        std::fs::write(home.path(&format!("{name}.key")), key.serialize_pem()).expect("written");
        std::fs::write(home.path(&format!("{name}.pem")), certificate.pem()).expect("written");
    }
}

/// The rig's configuration with other listeners.
pub(crate) fn with_tls(home: &Home, proxy: &str, admin: &str) -> String {
    let plain = home.configuration();
    let one = plain.replacen("proxy: { listen: \"127.0.0.1:0\" }", proxy, 1);
    let both = one.replacen("admin: { listen: \"127.0.0.1:0\" }", admin, 1);
    assert_ne!(plain, both, "the rig's configuration has other listeners by now");
    both
}
