//! Where the gateway itself listens. No upstream may be there, whatever its name resolves to: an agent could reach the approvals API
//! from inside.
//!
//! Looked at once a connection stands, before a byte is sent over it: what was connected to is certain then, and nothing can be
//! resolved to something else in between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

/// Addresses of documentation, which no machine has: one that can be bound to shows that any can.
const NOBODYS_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const NOBODYS_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// The addresses that the gateway's listeners are bound to. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct OwnListeners(Arc<[SocketAddr]>);

impl OwnListeners {
    /// These addresses, with the ports that the listeners have in fact.
    pub fn new(bound: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self(bound.into_iter().collect())
    }

    /// Whether there is any.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a connection from `local` to `peer` ends at one of them.
    pub(super) fn include(&self, local: SocketAddr, peer: SocketAddr) -> bool {
        self.0.iter().any(|bound| is_at(*bound, local, peer))
    }
}

/// Whether a connection from `local` to `peer` ends at a listener that is bound to `bound`.
fn is_at(bound: SocketAddr, local: SocketAddr, peer: SocketAddr) -> bool {
    if bound.port() != peer.port() {
        return false;
    }
    let address = peer.ip().to_canonical();
    match bound.ip() {
        // One that is bound to all of IPv6 takes IPv4 too, on most systems.
        IpAddr::V6(any) if any.is_unspecified() => is_of_this_machine(local, peer),
        IpAddr::V4(any) if any.is_unspecified() => address.is_ipv4() && is_of_this_machine(local, peer),
        one => one.to_canonical() == address,
    }
}

/// Whether `peer` is an address of this machine. Only those can be bound to, unless the system lets everything be bound.
fn is_of_this_machine(local: SocketAddr, peer: SocketAddr) -> bool {
    let address = peer.ip().to_canonical();
    if address.is_loopback() || address == local.ip().to_canonical() {
        return true;
    }
    let mut there = peer;
    there.set_ip(address);
    there.set_port(0);
    let nobodys = if address.is_ipv4() { NOBODYS_V4 } else { NOBODYS_V6 };
    UdpSocket::bind(there).is_ok() && UdpSocket::bind((nobodys, 0)).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[track_caller]
    fn check(bound: &str, peer: &str, expected: bool) {
        let found = OwnListeners::new([at("127.0.0.1:1"), at(bound)]).include(at("198.51.100.7:50000"), at(peer));
        assert_eq!(found, expected, "bound to {bound}, connected to {peer}");
    }

    #[test]
    fn every_address_that_reaches_a_listener_is_known_and_no_other() {
        check("127.0.0.1:8081", "127.0.0.1:8081", true);
        check("127.0.0.1:8081", "[::ffff:127.0.0.1]:8081", true);
        check("[::1]:8081", "[::1]:8081", true);
        check("127.0.0.1:8081", "127.0.0.1:8082", false);
        check("127.0.0.1:8081", "127.0.0.2:8081", false);
        check("127.0.0.1:8081", "[::1]:8081", false);
        check("0.0.0.0:8081", "127.0.0.1:8081", true);
        check("0.0.0.0:8081", "127.0.0.2:8081", true);
        check("0.0.0.0:8081", "[::ffff:127.0.0.3]:8081", true);
        check("0.0.0.0:8081", "[::1]:8081", false);
        check("0.0.0.0:8081", "192.0.2.9:8081", false);
        check("0.0.0.0:8081", "127.0.0.1:8082", false);
        check("[::]:8081", "[::1]:8081", true);
        check("[::]:8081", "127.0.0.1:8081", true);
        check("[::]:8081", "[2001:db8::9]:8081", false);
    }

    #[test]
    fn an_address_that_connections_leave_from_is_of_this_machine() {
        let own = OwnListeners::new([at("0.0.0.0:8081")]);
        assert!(own.include(at("198.51.100.7:50000"), at("198.51.100.7:8081")));
        assert!(!OwnListeners::default().include(at("127.0.0.1:50000"), at("127.0.0.1:8081")));
    }

    #[test]
    fn the_addresses_of_every_interface_are_known() {
        // What this machine would call from; nothing is sent.
        let probe = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        let Ok(()) = probe.connect("192.0.2.1:9") else { return };
        let address = probe.local_addr().expect("bound").ip();
        let own = OwnListeners::new([at("0.0.0.0:8081")]);
        assert!(own.include(at("127.0.0.1:50000"), SocketAddr::new(address, 8081)), "{address}");
    }
}
