//! `proxy` and `admin`: the two listeners, as written.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::urls::{HostName, PublicUrl};
use super::values::Text;

/// `proxy`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyModel {
    /// The address to listen on.
    pub listen: Text<SocketAddr>,
    /// TLS; left out: plain HTTP.
    pub tls: Option<TlsModel>,
    /// How long a client may take to send a request's head.
    pub header_timeout: Text<Duration>,
    /// How long a client may take to send a request's body.
    pub body_timeout: Text<Duration>,
}

impl Default for ProxyModel {
    fn default() -> Self {
        Self {
            listen: Text(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))),
            tls: None,
            header_timeout: Text(Duration::from_secs(10)),
            body_timeout: Text(Duration::from_secs(30)),
        }
    }
}

/// `admin`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminModel {
    /// The address to listen on.
    pub listen: Text<SocketAddr>,
    /// TLS; left out: plain HTTP.
    pub tls: Option<TlsModel>,
    /// The URL under which reviewers reach the page, for links and for the check of a browser's origin.
    pub public_url: Option<Text<PublicUrl>>,
    /// The hosts that requests may name; others are refused, against DNS rebinding. Left out: loopback names, the
    /// listening host, and the host of `public_url`.
    #[schemars(length(min = 1))]
    pub allowed_hosts: Option<Vec<Text<HostName>>>,
    /// How long a sign-in to the page lasts.
    pub session_ttl: Text<Duration>,
}

impl Default for AdminModel {
    fn default() -> Self {
        Self {
            listen: Text(SocketAddr::from((Ipv4Addr::LOCALHOST, 8081))),
            tls: None,
            public_url: None,
            allowed_hosts: None,
            session_ttl: Text(Duration::from_secs(12 * 60 * 60)),
        }
    }
}

/// `tls` of a listener.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsModel {
    /// PEM file with the certificate chain, leaf first.
    #[schemars(length(min = 1))]
    pub cert: String,
    /// PEM file with the private key.
    #[schemars(length(min = 1))]
    pub key: String,
    /// PEM file with the authorities that may sign client certificates.
    #[schemars(length(min = 1))]
    pub client_ca: Option<String>,
    /// Whether clients must show a certificate. Left out: `required` with a `client_ca`, else `none`.
    pub client_auth: Option<ClientAuth>,
}

/// Whether clients show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// None is asked for.
    None,
    /// One is asked for, and checked when it is shown.
    Optional,
    /// Connections without a valid one are refused.
    Required,
}
