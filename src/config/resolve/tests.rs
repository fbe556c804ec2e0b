//! Certificates, which need files that are made for the test.

use std::io::Write as _;

use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::config::diagnostic::Code;
use crate::config::load::{Loaded, Reviewers, load_text};
use crate::config::settings::{ClientAuth, Place, Upstream};

fn authorities(upstream: &Upstream) -> Option<std::path::PathBuf> {
    match &upstream.place {
        Place::Url(place) => place.ca.clone(),
        Place::Program(_) => None,
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    /// Two certificates with their keys, a policy, and a text that is no PEM.
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().expect("a temporary folder"));
        for name in ["a", "b"] {
            let CertifiedKey { cert, signing_key } =
                generate_simple_self_signed(vec![format!("{name}.example")]).expect("a certificate");
            folder.put(&format!("{name}.pem"), &cert.pem());
            folder.put(&format!("{name}.key"), &signing_key.serialize_pem());
        }
        folder.put("empty.pem", "no certificate here\n");
        folder.put("broken.pem", "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n");
        folder.put("p.yaml", "version: 1\ndefault: block\nrules: []\n");
        folder
    }

    fn put(&self, name: &str, text: &str) {
        let mut file = std::fs::File::create(self.0.path().join(name)).expect("a file");
        file.write_all(text.as_bytes()).expect("its content");
    }

    fn load(&self, lines: &str) -> Loaded {
        let text = format!("version: 1\nstore: sqlite://x.db\npolicies: [p.yaml]\nanonymous: true\n{lines}\n");
        let env: [(&str, &str); 0] = [];
        load_text("holdpoint.yaml", &text, self.0.path(), &env, Reviewers::Optional)
    }
}

#[test]
fn certificates_that_fit_are_loaded_for_both_listeners() {
    let folder = Folder::new();
    let loaded = folder.load(
        "proxy: { tls: { cert: a.pem, key: a.key } }
admin: { tls: { cert: b.pem, key: b.key, client_ca: a.pem } }
upstreams: { u: { url: \"https://h\", tls: { ca: a.pem } } }
routes: [ { path: /, upstream: u } ]",
    );
    let config = loaded.config.unwrap_or_else(|| panic!("{:#?}", loaded.diagnostics));
    let proxy = config.proxy.tls.as_ref().expect("TLS");
    let file = |name: &str| folder.0.path().join(name);
    assert_eq!((&proxy.certificate, &proxy.key), (&file("a.pem"), &file("a.key")));
    assert_eq!((proxy.client_auth, &proxy.client_ca), (ClientAuth::None, &None));
    let admin = config.admin.tls.as_ref().expect("TLS");
    assert_eq!(
        (admin.client_auth, &admin.client_ca),
        (ClientAuth::Required, &Some(file("a.pem"))),
        "an authority is there to be used"
    );
    assert_eq!(config.upstreams.values().next().and_then(authorities), Some(file("a.pem")));
}

#[test]
fn certificates_that_cannot_be_used_are_refused_at_their_key() {
    let folder = Folder::new();
    let check = |inside: &str, code: Code, column: usize, message: &str| {
        let loaded = folder.load(&format!("proxy: {{ tls: {{ {inside} }} }}"));
        assert!(loaded.config.is_none(), "{inside}");
        let shown: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
        assert_eq!(loaded.diagnostics.len(), 1, "{shown:#?}");
        let found = &loaded.diagnostics[0];
        assert_eq!((found.code, found.place.map(|p| (p.line, p.column))), (code, Some((5, column))), "{shown:#?}");
        assert!(found.message.contains(message) && found.hint.is_some(), "{shown:#?}");
    };
    use Code::{Certificate, Conflict, FileUnreadable};
    check("cert: a.pem, key: b.key", Certificate, 35, "cannot be used together");
    check("cert: empty.pem, key: a.key", Certificate, 23, "holds no certificate");
    check("cert: broken.pem, key: a.key", Certificate, 23, "is not valid PEM");
    check("cert: a.pem, key: a.pem", Certificate, 35, "holds no private key");
    check("cert: absent.pem, key: a.key", FileUnreadable, 23, "cannot be read");
    check("cert: a.pem, key: a.key, client_auth: required", Conflict, 55, "needs the authorities");
    check("cert: a.pem, key: a.key, client_ca: a.pem, client_auth: none", Conflict, 53, "does nothing with");
    check("cert: a.pem, key: a.key, client_ca: empty.pem", Certificate, 53, "holds no certificate");
}
