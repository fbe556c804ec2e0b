//! Request heads: the checks before anything else, and the hygiene of headers on the way in and out.
//!
//! The HTTP library frames messages correctly but is lenient about what stands in them: it lets through doubled
//! encodings, any number of Host headers, every method and every form of target. Another server on the path may read
//! those differently, so they are refused here.
//!
//! It deliberately does not read bodies, credentials or routes, and knows no status number: [`HeadError::reason`] says
//! what kind of refusal it is, and the response table chooses.

mod content;
mod error;
mod fields;
mod host;
mod hygiene;
mod prefer;

pub use content::{check_json_content_type, check_no_content_encoding};
pub use error::{HeadError, Reason};
pub use fields::Noted;
pub use hygiene::{strip_for_caller, strip_for_upstream};
pub use prefer::Prefer;

use super::target::{QueryPairs, RequestTarget};
use fields::Fields;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

/// Header fields in one head, by default.
pub const HEADER_COUNT_MAX: usize = 128;
/// Bytes of all header fields together, by default.
pub const HEADER_BYTES_MAX: usize = 64 * 1024;
/// Digits of a content length: more cannot be a 64-bit number.
const LENGTH_DIGITS_MAX: usize = 19;

/// Query parameters that frameworks take for the method, in the form that [`override_name`] makes.
const METHOD_OVERRIDE_PARAMETERS: &[&str] =
    &["_method", "_httpmethod", "$httpmethod", "x_http_method_override", "x_http_method", "x_method_override"];

/// What a head may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadLimits {
    /// Header fields.
    pub header_count: usize,
    /// Bytes of all names and values, with four for each field's framing.
    pub header_bytes: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { header_count: HEADER_COUNT_MAX, header_bytes: HEADER_BYTES_MAX }
    }
}

/// A request head as the HTTP library delivers it.
#[derive(Debug, Clone, Copy)]
pub struct HeadView<'a> {
    /// The method, in the caller's spelling.
    pub method: &'a Method,
    /// The target. The library has cut off a fragment already; it goes nowhere.
    pub uri: &'a Uri,
    /// The protocol version.
    pub version: Version,
    /// The header fields.
    pub headers: &'a HeaderMap,
}

/// What a head says, once it has passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedHead {
    /// Path and query, whatever form the request line had.
    pub target: RequestTarget,
    /// How the body is delimited.
    pub framing: Framing,
    /// What else there is in the head to look at.
    pub noted: Noted,
}

/// How a request's body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// HTTP/1 without a length: there is no body. In a fingerprint this is an absent body.
    Absent,
    /// This many bytes, possibly none.
    Length(u64),
    /// HTTP/1 chunks.
    Chunked,
    /// HTTP/2 frames without a declared length; whether there is a body shows when the stream ends.
    Stream,
}

/// Checks a request head by itself: version, method, header limits and names, framing, host, target, method overrides.
///
/// # Errors
/// The first check that failed.
pub fn check_head(head: &HeadView<'_>, limits: &HeadLimits) -> Result<CheckedHead, HeadError> {
    check_version(head.version)?;
    check_method(head.method)?;
    let fields = Fields::read(head.headers, limits)?;
    let framing = framing(head.version, &fields)?;
    host::check(head, fields.host)?;
    let target = target(head.uri)?;
    check_no_override(target.query_pairs())?;
    Ok(CheckedHead { target, framing, noted: fields.noted })
}

fn check_version(version: Version) -> Result<(), HeadError> {
    match version {
        Version::HTTP_10 | Version::HTTP_11 | Version::HTTP_2 => Ok(()),
        _ => Err(HeadError::Version),
    }
}

/// Methods are case-sensitive, but some servers fold them: so exactly these spellings.
fn check_method(method: &Method) -> Result<(), HeadError> {
    match method.as_str() {
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" => Ok(()),
        "TRACE" | "CONNECT" => Err(HeadError::MethodNotAllowed),
        _ => Err(HeadError::MethodUnknown),
    }
}

fn framing(version: Version, fields: &Fields<'_>) -> Result<Framing, HeadError> {
    let encoding = fields.transfer_encoding.at_most_once().map_err(|()| HeadError::TransferEncoding)?;
    let length = fields.content_length.at_most_once().map_err(|()| HeadError::ContentLength)?;
    match fields.expect.at_most_once().map_err(|()| HeadError::Expect)? {
        Some(value) if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") => return Err(HeadError::Expect),
        Some(_) | None => {}
    }
    match (encoding, length) {
        (Some(_), Some(_)) => Err(HeadError::LengthWithEncoding),
        (Some(encoding), None) => {
            let chunked = encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
            if chunked && version == Version::HTTP_11 { Ok(Framing::Chunked) } else { Err(HeadError::TransferEncoding) }
        }
        (None, Some(length)) => content_length(length).map(Framing::Length).ok_or(HeadError::ContentLength),
        (None, None) if version == Version::HTTP_2 => Ok(Framing::Stream),
        (None, None) => Ok(Framing::Absent),
    }
}

/// Digits only: no sign, no list, no space.
fn content_length(value: &HeaderValue) -> Option<u64> {
    let digits = value.to_str().ok()?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.len() <= LENGTH_DIGITS_MAX;
    if plain { digits.parse().ok() } else { None }
}

/// The field's value; an error when it came more than once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(()),
    }
}

/// Path and query. Scheme and authority, if any, were compared with the host before.
fn target(uri: &Uri) -> Result<RequestTarget, HeadError> {
    let text = uri.path_and_query().map_or("", |target| target.as_str());
    RequestTarget::parse(text).map_err(HeadError::Target)
}

fn check_no_override(query: &QueryPairs) -> Result<(), HeadError> {
    match query.iter().find(|(name, _)| METHOD_OVERRIDE_PARAMETERS.contains(&override_name(name).as_str())) {
        Some(_) => Err(HeadError::MethodOverride),
        None => Ok(()),
    }
}

/// A parameter's name as lenient frameworks see it: no case, spaces around it, or index; dots, spaces and dashes as
/// underscores.
fn override_name(name: &str) -> String {
    let base = name.split(['[', '\0']).next().unwrap_or_default().trim_start();
    base.chars().map(|c| if matches!(c, '.' | ' ' | '-') { '_' } else { c.to_ascii_lowercase() }).collect()
}

#[cfg(test)]
mod tests;
