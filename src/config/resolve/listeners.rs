//! `proxy` and `admin`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{Context, at, tls};
use crate::config::diagnostic::Code;
use crate::config::model::listeners::{AdminModel, ProxyModel};
use crate::config::model::urls::HostName;
use crate::config::settings::{AdminSettings, ProxySettings};

/// Sign-ins shorter than this sign reviewers out while they read.
const SESSION_LEAST: Duration = Duration::from_secs(5 * 60);
/// Sign-ins longer than this outlive laptops.
const SESSION_MOST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

pub(in crate::config) fn proxy(context: &mut Context<'_>, model: &ProxyModel) -> Option<ProxySettings> {
    let listen = model.listen.0;
    if !listen.ip().is_loopback() && model.tls.is_none() {
        let message = format!("agents' tokens travel unencrypted to {listen}");
        let hint = "set `tls`, or keep this listener on a network that only a TLS proxy reaches";
        context.warn(&at!["proxy", "listen"], Code::Exposure, message, hint);
    }
    let tls = match &model.tls {
        Some(model) => Some(tls::listener(context, "proxy", model)?),
        None => None,
    };
    Some(ProxySettings { listen, tls, header_timeout: model.header_timeout.0, body_timeout: model.body_timeout.0 })
}

pub(in crate::config) fn admin(context: &mut Context<'_>, model: &AdminModel) -> Option<AdminSettings> {
    let listen = model.listen.0;
    let public_url = model.public_url.as_ref().map(|url| url.0.clone());
    let encrypted = model.tls.is_some() || public_url.as_ref().is_some_and(|url| url.tls());
    if !listen.ip().is_loopback() && !encrypted {
        let message = format!("reviewers' tokens and sessions travel unencrypted to {listen}");
        let hint = "set `tls`, or an `https://` `public_url` when a TLS proxy stands in front";
        context.warn(&at!["admin", "listen"], Code::Exposure, message, hint);
    }
    if let Some(url) =
        public_url.as_ref().filter(|url| !url.tls() && (model.tls.is_some() || !url.host().is_loopback()))
    {
        let message = format!("browsers would reach the page unencrypted under `{url}`");
        context.warn(&at!["admin", "public_url"], Code::Exposure, message, "write an `https://` URL");
    }
    if !(SESSION_LEAST..=SESSION_MOST).contains(&model.session_ttl.0) {
        let at = at!["admin", "session_ttl"];
        context.error(&at, Code::BadValue, "`session_ttl` is out of range", "write a duration from `5m` to `30d`");
    }
    let allowed_hosts = match &model.allowed_hosts {
        Some(hosts) => hosts.iter().map(|host| host.0.clone()).collect(),
        None => default_hosts(listen, public_url.as_ref().map(|url| url.host())),
    };
    if let Some(host) = public_url.as_ref().map(|url| url.host()).filter(|host| !allowed_hosts.contains(host)) {
        let message = format!("`allowed_hosts` lacks `{host}`, the host of `public_url`: the page would refuse itself");
        context.error(&at!["admin", "allowed_hosts"], Code::Conflict, message, &format!("add `{host}`"));
    }
    let tls = match &model.tls {
        Some(model) => Some(tls::listener(context, "admin", model)?),
        None => None,
    };
    Some(AdminSettings { listen, tls, public_url, allowed_hosts, session_ttl: model.session_ttl.0 })
}

fn default_hosts(listen: SocketAddr, public: Option<&HostName>) -> Vec<HostName> {
    let mut hosts = vec![
        HostName::Name("localhost".to_owned()),
        HostName::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        HostName::Ip(IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ];
    let bound = (!listen.ip().is_unspecified()).then(|| HostName::Ip(listen.ip().to_canonical()));
    for host in bound.into_iter().chain(public.cloned()) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

/// Both listeners must be able to bind at once.
pub(in crate::config) fn separate_listeners(context: &mut Context<'_>, proxy: SocketAddr, admin: SocketAddr) {
    let same_port = proxy.port() == admin.port() && proxy.port() != 0;
    let overlap = proxy.ip() == admin.ip() || proxy.ip().is_unspecified() || admin.ip().is_unspecified();
    if same_port && overlap {
        let message = format!("`admin.listen` ({admin}) and `proxy.listen` ({proxy}) take the same port");
        let hint = "agents must not reach the admin listener; give it another port";
        context.error(&at!["admin", "listen"], Code::Conflict, message, hint);
    }
}
