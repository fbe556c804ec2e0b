//! Why a head was refused.

use crate::protocol::target::TargetError;
use http::HeaderName;

/// Characters of a header's name that a message shows.
const SHOWN_CHARS_MAX: usize = 64;

/// A refused request head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Neither HTTP/1.0, 1.1 nor 2.
    #[error("this protocol version is not served; use HTTP/1.1 or HTTP/2")]
    Version,
    /// A method that is not one of those served, in exactly their spelling.
    #[error("this method is not known; use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS, in capitals")]
    MethodUnknown,
    /// `TRACE` or `CONNECT`.
    #[error("TRACE and CONNECT are not served")]
    MethodNotAllowed,
    /// A query parameter that frameworks take for the method.
    #[error("the query carries a method override; send the method itself")]
    MethodOverride,
    /// Too many header fields.
    #[error("the request has more than {limit} header fields")]
    HeaderCount {
        /// The limit.
        limit: usize,
    },
    /// Too many bytes of header fields.
    #[error("the header fields take more than {limit} bytes")]
    HeaderBytes {
        /// The limit in bytes.
        limit: usize,
    },
    /// An underscore in a header's name.
    #[error("the header name `{name}` has an underscore, which servers confuse with a dash; use a dash")]
    HeaderName {
        /// The name, shortened.
        name: String,
    },
    /// No Host header (or authority, on HTTP/2).
    #[error("the Host header is missing; send exactly one")]
    HostMissing,
    /// More than one Host header.
    #[error("there is more than one Host header; send exactly one")]
    HostTwice,
    /// Not a host with an optional port: user information, a path, or characters no host has.
    #[error("the Host header is not a host name or address with an optional port")]
    HostSyntax,
    /// The target's authority and the Host header differ.
    #[error("the request target and the Host header name different hosts")]
    HostMismatch,
    /// `host:port` or `*` as a target, or an absolute target that is not HTTP.
    #[error("the request target must be a path, or an http URL whose host equals the Host header")]
    TargetForm,
    /// A path or query with more than one reading.
    #[error(transparent)]
    Target(TargetError),
    /// A transfer coding other than exactly one `chunked` on HTTP/1.1.
    #[error("Transfer-Encoding must be exactly `chunked`, once, and on HTTP/1.1 only")]
    TransferEncoding,
    /// Both ways to delimit a body.
    #[error("Content-Length and Transfer-Encoding exclude each other; send one")]
    LengthWithEncoding,
    /// Not exactly one plain number.
    #[error("Content-Length must be one plain number, once")]
    ContentLength,
    /// An expectation other than `100-continue`.
    #[error("only `Expect: 100-continue` is served")]
    Expect,
    /// Not JSON in UTF-8, declared once.
    #[error("this call is judged by its body; send exactly one `Content-Type: application/json` (UTF-8)")]
    ContentType,
    /// An encoded body where the body is judged.
    #[error("this call is judged by its body; send it without Content-Encoding")]
    ContentEncoding,
}

/// What kind of refusal an error is; the response table turns it into a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The request is malformed or ambiguous.
    BadRequest,
    /// The method exists but is served nowhere here.
    MethodNotAllowed,
    /// The method is none that is known.
    NotImplemented,
    /// The target is too long.
    TargetTooLong,
    /// The header block is too large.
    HeadersTooLarge,
    /// The body is in a form that cannot be judged.
    UnsupportedMedia,
    /// An expectation that cannot be met.
    ExpectationFailed,
    /// The protocol version is not served.
    VersionNotSupported,
}

impl HeadError {
    pub(super) fn header_name(name: &HeaderName) -> Self {
        Self::HeaderName { name: name.as_str().chars().take(SHOWN_CHARS_MAX).collect() }
    }

    /// The stable code that answers, metrics and tests use.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::MethodUnknown | Self::MethodNotAllowed => "method",
            Self::MethodOverride => "method_override",
            Self::HeaderCount { .. } | Self::HeaderBytes { .. } => "headers_too_large",
            Self::HeaderName { .. } => "header_name",
            Self::HostMissing | Self::HostTwice | Self::HostSyntax | Self::HostMismatch => "host",
            Self::TargetForm => "path",
            Self::Target(error) => error.code(),
            Self::TransferEncoding | Self::LengthWithEncoding | Self::ContentLength => "framing",
            Self::Expect => "expect",
            Self::ContentType => "content_type",
            Self::ContentEncoding => "content_encoding",
        }
    }

    /// The kind of refusal.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Version => Reason::VersionNotSupported,
            Self::MethodUnknown => Reason::NotImplemented,
            Self::MethodNotAllowed => Reason::MethodNotAllowed,
            Self::HeaderCount { .. } | Self::HeaderBytes { .. } => Reason::HeadersTooLarge,
            Self::Target(TargetError::TooLong { .. }) => Reason::TargetTooLong,
            Self::Expect => Reason::ExpectationFailed,
            Self::ContentType | Self::ContentEncoding => Reason::UnsupportedMedia,
            Self::MethodOverride
            | Self::HeaderName { .. }
            | Self::HostMissing
            | Self::HostTwice
            | Self::HostSyntax
            | Self::HostMismatch
            | Self::TargetForm
            | Self::Target(_)
            | Self::TransferEncoding
            | Self::LengthWithEncoding
            | Self::ContentLength => Reason::BadRequest,
        }
    }
}
