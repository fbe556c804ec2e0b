//! Reading request bodies: whole, bounded in size and in time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// How long a body may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is longer than the limit.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// It did not arrive in time.
    #[error("the body did not arrive within {} seconds", BODY_TIMEOUT.as_secs())]
    Late,
    /// The connection broke.
    #[error("the body ended early")]
    Broken,
}

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// See [`Error`]; nothing of the body is kept then.
pub async fn read(body: Body, limit: usize) -> Result<Bytes, Error> {
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await {
        Err(_) => Err(Error::Late),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Error::TooLarge(limit)),
        Ok(Err(_)) => Err(Error::Broken),
    }
}

/// The media type without its parameters, lower case; `None` when the header is missing, doubled or not text.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => {
            let text = value.to_str().ok()?;
            Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_whole() {
        assert_eq!(read(Body::from("12345"), 5).await, Ok(Bytes::from("12345")));
        assert_eq!(read(Body::from("123456"), 5).await, Err(Error::TooLarge(5)));
    }

    #[test]
    fn two_media_types_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(CONTENT_TYPE, http::HeaderValue::from_static("Application/JSON; charset=utf-8"));
        assert_eq!(media_type(&headers).as_deref(), Some("application/json"));
        headers.append(CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
        assert_eq!(media_type(&headers), None);
    }
}
