//! Whether a body is in the one form that can be judged: JSON, in UTF-8, not encoded.

use super::{HeadError, single};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

/// Accepts exactly one `Content-Type: application/json`, with at most the parameter `charset=utf-8`.
///
/// # Errors
/// [`HeadError::ContentType`] for a missing or second header, another type (`+json` types included, because servers
/// differ about them) or another parameter.
pub fn check_json_content_type(headers: &HeaderMap) -> Result<(), HeadError> {
    let value = single(headers, &CONTENT_TYPE).map_err(|()| HeadError::ContentType)?;
    let text = value.and_then(|value| value.to_str().ok()).ok_or(HeadError::ContentType)?;
    let (essence, parameter) = match text.split_once(';') {
        Some((essence, parameter)) => (essence, Some(parameter)),
        None => (text, None),
    };
    if trimmed(essence).eq_ignore_ascii_case("application/json") && parameter.is_none_or(is_utf8_charset) {
        return Ok(());
    }
    Err(HeadError::ContentType)
}

/// Accepts only a body that was sent as it is: no `Content-Encoding` header, `identity` included.
///
/// # Errors
/// [`HeadError::ContentEncoding`] when there is one.
pub fn check_no_content_encoding(headers: &HeaderMap) -> Result<(), HeadError> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(HeadError::ContentEncoding);
    }
    Ok(())
}

fn is_utf8_charset(parameter: &str) -> bool {
    let Some((name, value)) = trimmed(parameter).split_once('=') else { return false };
    let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    name.eq_ignore_ascii_case("charset") && value.eq_ignore_ascii_case("utf-8")
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}
