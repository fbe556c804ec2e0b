//! URLs and host names of the configuration.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::Uri;
use http::uri::Scheme;

use super::values::{TextValue, ValueError};

/// A host as a URL or a `Host` header names it: an IP address, or a DNS name in lower case without a final dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostName {
    /// An address; IPv4 mapped into IPv6 is unfolded.
    Ip(IpAddr),
    /// A name.
    Name(String),
}

impl HostName {
    /// Reads a host without a port; IPv6 with or without brackets.
    ///
    /// # Errors
    /// What is neither an address nor a DNS name, and names that end in a number: resolvers read `127.1` or
    /// `0x7f000001` as addresses, so they would slip past every check of an address.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let wrong = |why: &str| {
            let hint = "write a DNS name such as `tools.example.com`, or an IP address";
            ValueError::new(format!("`{text}` is not a host: {why}"), hint)
        };
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self::Ip(address.to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if name.len() > 253 || !name.split('.').all(label) {
            return Err(wrong("it is no DNS name"));
        }
        let last = name.rsplit('.').next().unwrap_or_default();
        let numeric = last.bytes().all(|b| b.is_ascii_digit())
            || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        if numeric {
            return Err(wrong("an address is written with four numbers, as in `127.0.0.1`"));
        }
        Ok(Self::Name(name))
    }

    /// Whether the host is this machine: a loopback address, the unspecified address, or `localhost`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            HostName::Ip(address) => address.is_loopback() || address.is_unspecified(),
            HostName::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }

    /// Whether a connection to this host and `port` would reach a listener at `listener`, as far as can be said
    /// without asking DNS.
    #[must_use]
    pub fn reaches(&self, port: u16, listener: SocketAddr) -> bool {
        if port != listener.port() {
            return false;
        }
        let bound = listener.ip().to_canonical();
        match self {
            // Connecting to the unspecified address reaches loopback.
            HostName::Ip(address) if address.is_unspecified() => bound.is_unspecified() || bound.is_loopback(),
            HostName::Ip(address) => bound == *address || (bound.is_unspecified() && address.is_loopback()),
            HostName::Name(_) => self.is_loopback() && (bound.is_loopback() || bound.is_unspecified()),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostName::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
            HostName::Ip(address) => write!(f, "{address}"),
            HostName::Name(name) => f.write_str(name),
        }
    }
}

impl TextValue for HostName {
    const FORMAT: &'static str = "host-name";

    fn read(text: &str) -> Result<Self, ValueError> {
        Self::parse(text)
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

/// The parts that both kinds of URL share, and the URL they make, in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Base {
    tls: bool,
    host: HostName,
    port: u16,
    path: String,
    text: String,
}

impl Base {
    fn read(text: &str, what: &str) -> Result<Self, ValueError> {
        let hint = "write `http://` or `https://`, a host, and where needed a port, as in `https://tools.example.com`";
        // The text is not quoted where it may hold a password.
        let wrong = |why: &str| ValueError::new(format!("this is not the URL of {what}: {why}"), hint);
        let uri: Uri = text.parse().map_err(|_| wrong("it cannot be read"))?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(wrong("it begins neither with `http://` nor with `https://`")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            let hint = "set an `authorization` header under `headers`, with a `${…}` reference";
            return Err(ValueError::new(format!("the URL of {what} must not hold credentials"), hint));
        }
        // `http::Uri` drops fragments without a word.
        if uri.query().is_some() || text.contains(['#', '?']) {
            return Err(wrong("a query or fragment is not accepted"));
        }
        let host = HostName::parse(authority.host())?;
        // `Authority::port` is `None` also for a port that is no number, so the text is looked at.
        let port = match authority.as_str().get(authority.host().len()..).unwrap_or_default() {
            "" => Some(if tls { 443 } else { 80 }),
            written => written.strip_prefix(':').and_then(|digits| digits.parse().ok()),
        };
        let port: u16 = port.filter(|port| *port != 0).ok_or_else(|| wrong("its port is not a port"))?;
        let path = uri.path().trim_end_matches('/').to_owned();
        let (scheme, default) = if tls { ("https", 443) } else { ("http", 80) };
        let origin = if port == default { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") };
        Ok(Self { text: format!("{origin}{path}"), tls, host, port, path })
    }

    fn origin(&self) -> &str {
        &self.text[..self.text.len() - self.path.len()]
    }
}

/// Declares a URL type over [`Base`] with the accessors both share.
macro_rules! url_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Base);

        impl $name {
            /// Whether the scheme is `https`.
            #[must_use]
            pub fn tls(&self) -> bool {
                self.0.tls
            }

            /// The host.
            #[must_use]
            pub fn host(&self) -> &HostName {
                &self.0.host
            }

            /// The port, the scheme's own where none was written.
            #[must_use]
            pub fn port(&self) -> u16 {
                self.0.port
            }

            /// Scheme, host and port, as browsers write an origin: `https://tools.example.com`.
            #[must_use]
            pub fn origin(&self) -> String {
                self.0.origin().to_owned()
            }

            /// The whole URL: the origin, and the path where there is one. Never ends with `/`.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0.text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0.text)
            }
        }
    };
}

url_type! {
    /// Where an upstream is.
    UpstreamUrl
}
url_type! {
    /// Where reviewers reach the page: an origin without a path.
    PublicUrl
}

impl UpstreamUrl {
    /// Host and port as the `Host` header names them; the port is left out where it is the scheme's own.
    #[must_use]
    pub fn authority(&self) -> &str {
        let origin = self.0.origin();
        origin.split_once("://").map_or(origin, |(_, authority)| authority)
    }

    /// The path before every forwarded path: empty, or it begins with `/` and does not end with one.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0.path
    }
}

impl TextValue for UpstreamUrl {
    const FORMAT: &'static str = "upstream-url";

    fn read(text: &str) -> Result<Self, ValueError> {
        let base = Base::read(text, "an upstream")?;
        let plain = |segment: &str| {
            !matches!(segment, "." | "..")
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&b))
        };
        if base.path.contains("//") || !base.path.split('/').all(plain) {
            let hint = "write it without `//`, `.`, `..` and `%` escapes";
            return Err(ValueError::new(format!("the path `{}` of the URL is not canonical", base.path), hint));
        }
        Ok(Self(base))
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl TextValue for PublicUrl {
    const FORMAT: &'static str = "public-url";

    fn read(text: &str) -> Result<Self, ValueError> {
        let base = Base::read(text, "the page")?;
        if !base.path.is_empty() {
            let hint = format!("write `{}`; the page is served at the root", base.origin());
            return Err(ValueError::new("`public_url` must not have a path", hint));
        }
        if base.host == HostName::Ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) {
            return Err(ValueError::new("`0.0.0.0` is no host that a browser reaches", "write the name reviewers use"));
        }
        Ok(Self(base))
    }

    fn write(&self) -> String {
        self.to_string()
    }
}
