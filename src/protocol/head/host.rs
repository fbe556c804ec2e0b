//! The host a request is for: exactly one, of valid shape, and the same wherever it is named.

use super::fields::Field;
use super::{HeadError, HeadView};
use http::Version;
use std::borrow::Cow;
use std::net::Ipv6Addr;

/// Bytes of a host name (RFC 1035, as text).
const HOST_BYTES_MAX: usize = 253;

/// Checks the Host header against the target's form.
pub(super) fn check(head: &HeadView<'_>, header: Field<'_>) -> Result<(), HeadError> {
    let header = header.at_most_once().map_err(|()| HeadError::HostTwice)?;
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
        (Some(_), _) => Ok(()),
        // HTTP/2 names the host in its own field; HTTP/1 must send the header in any case.
        (None, Some(_)) if head.version == Version::HTTP_2 => Ok(()),
        (None, _) => Err(HeadError::HostMissing),
    }
}

/// A name or address with an optional port, in lower case; `None` if it is anything else.
fn normal(authority: &str) -> Option<Cow<'_, str>> {
    let port = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            after
        }
        None => {
            let end = authority.bytes().position(|byte| byte == b':').unwrap_or(authority.len());
            let host = &authority[..end];
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            if host.is_empty() || host.len() > HOST_BYTES_MAX || !host.bytes().all(plain) {
                return None;
            }
            &authority[end..]
        }
    };
    if let Some(digits) = port.strip_prefix(':') {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| plain)?;
    } else if !port.is_empty() {
        return None;
    }
    // The port is digits, so lowering the whole lowers the host.
    Some(match authority.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => authority.to_ascii_lowercase().into(),
        false => authority.into(),
    })
}
