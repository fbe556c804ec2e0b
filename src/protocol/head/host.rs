//! The host a request is for: exactly one, of valid shape, and the same wherever it is named.

use super::{HOST, HeadError, HeadView, single};
use http::Version;
use std::net::Ipv6Addr;

/// Bytes of a host name (RFC 1035, as text).
const HOST_BYTES_MAX: usize = 253;

/// Checks the Host header against the target's form; returns the authority in lower case.
pub(super) fn check(head: &HeadView<'_>) -> Result<String, HeadError> {
    let header = single(head.headers, &HOST).map_err(|()| HeadError::HostTwice)?;
    let header = header.map(|value| value.to_str().ok().and_then(normal).ok_or(HeadError::HostSyntax)).transpose()?;
    let named =
        head.uri.authority().map(|authority| normal(authority.as_str()).ok_or(HeadError::HostSyntax)).transpose()?;
    match head.uri.scheme_str() {
        None if named.is_some() => return Err(HeadError::TargetForm),
        None | Some("http" | "https") => {}
        Some(_) => return Err(HeadError::TargetForm),
    }
    match (header, named) {
        (Some(header), Some(named)) if header != named => Err(HeadError::HostMismatch),
        (Some(header), _) => Ok(header),
        // HTTP/2 names the host in its own field; HTTP/1 must send the header in any case.
        (None, Some(named)) if head.version == Version::HTTP_2 => Ok(named),
        (None, _) => Err(HeadError::HostMissing),
    }
}

/// A name or address with an optional port, in lower case; `None` if it is anything else.
fn normal(authority: &str) -> Option<String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (&authority[..address.len() + 2], after)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let host = &authority[..end];
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if host.is_empty() || host.len() > HOST_BYTES_MAX || !host.bytes().all(plain) {
                return None;
            }
            (host, &authority[end..])
        }
    };
    if let Some(digits) = port.strip_prefix(':') {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| plain)?;
    } else if !port.is_empty() {
        return None;
    }
    Some(format!("{}{port}", host.to_ascii_lowercase()))
}
