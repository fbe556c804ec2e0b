//! A call: one tool invocation, and the digest that binds an approval to exactly it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What an upstream speaks, and so where a call stands in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Every request is a call; its arguments are the body.
    #[default]
    Http,
    /// A `tools/call` of the Model Context Protocol is a call; its arguments are `params.arguments`.
    Mcp,
}

/// SHA-256 over agent, upstream, tool, method, canonical target and raw body, each framed by its length
/// (`protocol::fingerprint` computes it). Two calls with one fingerprint are the same call.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// SHA-256 over the raw bytes of a payload, as a reviewer saw it and as the decision may quote it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PayloadHash(pub [u8; 32]);

/// The text is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 lower-case hexadecimal digits")]
pub struct HashError;

/// Writes bytes as lower-case hexadecimal.
pub fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

/// Reads 32 bytes from 64 lower-case hexadecimal digits.
pub fn from_hex(text: &str) -> Result<[u8; 32], HashError> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Ok(c - b'0'),
        b'a'..=b'f' => Ok(c - b'a' + 10),
        _ => Err(HashError),
    };
    let text: &[u8; 64] = text.as_bytes().try_into().map_err(|_| HashError)?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(bytes)
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for PayloadHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for PayloadHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_hex(&std::borrow::Cow::<'_, str>::deserialize(deserializer)?).map(Self).map_err(de::Error::custom)
    }
}

impl Serialize for PayloadHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PayloadHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_hex(&std::borrow::Cow::<'_, str>::deserialize(deserializer)?).map(Self).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_read_back_as_written_and_nothing_else_does() {
        let bytes = [0xa5; 32];
        assert_eq!(from_hex(&to_hex(&bytes)), Ok(bytes));
        for bad in ["", "a5", &"A5".repeat(32), &"g0".repeat(32), &"a5".repeat(33)] {
            assert_eq!(from_hex(bad), Err(HashError), "{bad}");
        }
    }
}
