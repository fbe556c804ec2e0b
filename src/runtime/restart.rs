//! Settings that are taken at the start and at no reload: the listeners, what they are served with, the store, the log, and how long
//! a shutdown takes.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::settings::{Config, LogFormat, LogLevel, StoreSettings};

/// Those settings, as the gateway was started with them.
pub(super) struct AtStart {
    listen: (SocketAddr, SocketAddr),
    tls: (bool, bool),
    header_timeout: Duration,
    header_bytes_max: usize,
    connections_max: usize,
    store: StoreSettings,
    drain_timeout: Duration,
    log: (LogFormat, LogLevel),
}

impl AtStart {
    /// What `config` says of them.
    pub(super) fn of(config: &Config) -> Self {
        Self {
            listen: (config.proxy.listen, config.admin.listen),
            tls: (config.proxy.tls.is_some(), config.admin.tls.is_some()),
            header_timeout: config.proxy.header_timeout,
            header_bytes_max: config.limits.header_bytes_max,
            connections_max: config.limits.connections_max,
            store: config.store.clone(),
            drain_timeout: config.drain_timeout,
            log: (config.log_format, config.log_level),
        }
    }

    /// The keys that `config` sets otherwise: it takes a restart until they act.
    pub(super) fn changed_by(&self, config: &Config) -> Vec<&'static str> {
        let now = Self::of(config);
        let differs = [
            ("proxy.listen", now.listen.0 != self.listen.0),
            ("admin.listen", now.listen.1 != self.listen.1),
            ("proxy.tls", now.tls.0 != self.tls.0),
            ("admin.tls", now.tls.1 != self.tls.1),
            ("proxy.header_timeout", now.header_timeout != self.header_timeout),
            ("limits.header_bytes_max", now.header_bytes_max != self.header_bytes_max),
            ("limits.connections_max", now.connections_max != self.connections_max),
            ("store", now.store != self.store),
            ("drain_timeout", now.drain_timeout != self.drain_timeout),
            ("log.format", now.log.0 != self.log.0),
            ("log.level", now.log.1 != self.log.1),
        ];
        differs.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }
}
