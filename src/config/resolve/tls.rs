//! Certificates and keys: read, parsed, and checked to fit together.
//!
//! Validity dates are not checked here: loading knows no clock, and a certificate that is not yet valid may be by the
//! time it is used.

use std::path::PathBuf;

use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{Context, at};
use crate::config::diagnostic::Code;
use crate::config::model::listeners::{ClientAuth, TlsModel};
use crate::config::settings::TlsSettings;
use crate::domain::policy::PathSegment;

/// The largest PEM file read.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// The certificates of the listener `name`; `None` after noting every problem.
pub(super) fn listener(context: &mut Context<'_>, name: &str, model: &TlsModel) -> Option<TlsSettings> {
    let at = |key: &str| at![name, "tls", key];
    let chain = certificates(context, &at("cert"), &model.cert);
    let key = private_key(context, &at("key"), &model.key);
    let client_auth = model.client_auth.unwrap_or(match model.client_ca {
        Some(_) => ClientAuth::Required,
        None => ClientAuth::None,
    });
    match (client_auth, &model.client_ca) {
        (ClientAuth::None, Some(_)) => {
            let message = "`client_ca` does nothing with `client_auth: none`";
            context.error(&at("client_ca"), Code::Conflict, message, "remove one of the two");
        }
        (ClientAuth::Optional | ClientAuth::Required, None) => {
            let message = "`client_auth` needs the authorities that sign client certificates";
            context.error(&at("client_auth"), Code::Conflict, message, "add `client_ca: FILE`");
        }
        (ClientAuth::None, None) | (ClientAuth::Optional | ClientAuth::Required, Some(_)) => {}
    }
    let client_ca = match &model.client_ca {
        Some(file) => Some(authorities(context, &at("client_ca"), file)?),
        None => None,
    };
    let (chain, key) = (chain?, key?);
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    if let Err(error) = CertifiedKey::from_der(chain, key, &provider) {
        let message = format!("`{}` and `{}` cannot be used together: {error}", model.cert, model.key);
        context.error(&at("key"), Code::Certificate, message, "name the key that belongs to the first certificate");
        return None;
    }
    let (certificate, key) = (context.folder.join(&model.cert), context.folder.join(&model.key));
    Some(TlsSettings { certificate, key, client_ca, client_auth })
}

/// The path of a PEM file that names authorities to trust, once it has been read and found good.
pub(super) fn authorities(context: &mut Context<'_>, at: &[PathSegment], file: &str) -> Option<PathBuf> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(context, at, file)? {
        if let Err(error) = store.add(certificate) {
            let message = format!("`{file}` holds a certificate that cannot be trusted: {error}");
            context.error(at, Code::Certificate, message, "name a PEM file with the authority's certificates");
            return None;
        }
    }
    Some(context.folder.join(file))
}

fn certificates(context: &mut Context<'_>, at: &[PathSegment], file: &str) -> Option<Vec<CertificateDer<'static>>> {
    let bytes = context.file(at, file, PEM_BYTES_MAX)?;
    let hint = "name a PEM file with `BEGIN CERTIFICATE` blocks, leaf first";
    match CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Some(found),
        Ok(_) => {
            context.error(at, Code::Certificate, format!("`{file}` holds no certificate"), hint);
            None
        }
        Err(error) => {
            context.error(at, Code::Certificate, format!("`{file}` is not valid PEM: {error}"), hint);
            None
        }
    }
}

fn private_key(context: &mut Context<'_>, at: &[PathSegment], file: &str) -> Option<PrivateKeyDer<'static>> {
    let bytes = context.file(at, file, PEM_BYTES_MAX)?;
    // The parser's own error is not shown: it may quote what it read.
    PrivateKeyDer::from_pem_slice(&bytes).ok().or_else(|| {
        let hint = "name an unencrypted PEM file with one `PRIVATE KEY` block (PKCS#8, PKCS#1 or SEC1)";
        context.error(at, Code::Certificate, format!("`{file}` holds no private key"), hint);
        None
    })
}
