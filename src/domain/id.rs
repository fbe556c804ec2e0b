//! Identifiers: time-ordered, and with 128 random bits so that none can be guessed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::time::Timestamp;

/// 48 bits of time, then 128 random bits.
const BYTES: usize = 22;
/// Characters after the prefix: 176 bits in groups of five.
const CHARS: usize = 36;
/// Crockford's base 32 in lower case: no `i`, `l`, `o`, `u`.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The id of an approval, written `apr_` and 36 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApprovalId([u8; BYTES]);

/// The id of one request to the gateway, written `req_` and 36 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId([u8; BYTES]);

/// The text is not an id of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected `{prefix}` and {CHARS} characters of 0-9 and a-z without i, l, o, u")]
pub struct IdError {
    prefix: &'static str,
}

impl ApprovalId {
    /// What every approval id begins with.
    pub const PREFIX: &'static str = "apr_";

    /// An id for an approval made at `now`, from 16 bytes of a cryptographic random source.
    pub fn new(now: Timestamp, random: [u8; 16]) -> Self {
        Self(assemble(now, random))
    }
}

impl RequestId {
    /// What every request id begins with.
    pub const PREFIX: &'static str = "req_";

    /// An id for a request that arrived at `now`, from 16 random bytes.
    pub fn new(now: Timestamp, random: [u8; 16]) -> Self {
        Self(assemble(now, random))
    }

    /// The id as it is written.
    pub fn to_bytes(&self) -> [u8; 4 + CHARS] {
        let mut text = [0; 4 + CHARS];
        text[..4].copy_from_slice(Self::PREFIX.as_bytes());
        text[4..].copy_from_slice(&encode(&self.0));
        text
    }
}

fn assemble(now: Timestamp, random: [u8; 16]) -> [u8; BYTES] {
    let millis = now.as_millis().max(0).to_be_bytes();
    let mut bytes = [0; BYTES];
    bytes[..6].copy_from_slice(&millis[2..]);
    bytes[6..].copy_from_slice(&random);
    bytes
}

fn encode(bytes: &[u8; BYTES]) -> [u8; CHARS] {
    let mut text = [0_u8; CHARS];
    // Five bytes are eight characters; the last group is filled up with zeros, of which the text shows four bits.
    for (characters, group) in text.chunks_mut(8).zip(bytes.chunks(5)) {
        let mut padded = [0; 8];
        padded[3..3 + group.len()].copy_from_slice(group);
        let bits = u64::from_be_bytes(padded);
        for (place, character) in characters.iter_mut().enumerate() {
            *character = ALPHABET[(bits >> (35 - 5 * place) & 31) as usize];
        }
    }
    text
}

fn write(prefix: &str, bytes: &[u8; BYTES], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(prefix)?;
    f.write_str(&String::from_utf8_lossy(&encode(bytes)))
}

fn decode(text: &str, prefix: &'static str) -> Result<[u8; BYTES], IdError> {
    let error = IdError { prefix };
    let digits = text.strip_prefix(prefix).ok_or(error)?.as_bytes();
    if digits.len() != CHARS {
        return Err(error);
    }
    let mut bytes = [0_u8; BYTES];
    for (place, digit) in digits.iter().enumerate() {
        let group = ALPHABET.iter().position(|c| c == digit).ok_or(error)?;
        for offset in 0..5 {
            let (bit, value) = (place * 5 + offset, group >> (4 - offset) & 1);
            match bytes.get_mut(bit / 8) {
                Some(byte) => *byte |= (value as u8) << (7 - bit % 8),
                // The four bits of padding: only zero is canonical, so that one id has one spelling.
                None if value == 0 => {}
                None => return Err(error),
            }
        }
    }
    Ok(bytes)
}

impl fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(Self::PREFIX, &self.0, f)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(Self::PREFIX, &self.0, f)
    }
}

impl fmt::Debug for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ApprovalId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        decode(text, Self::PREFIX).map(Self)
    }
}

impl FromStr for RequestId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        decode(text, Self::PREFIX).map(Self)
    }
}

impl Serialize for ApprovalId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ApprovalId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'_, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_as_written() {
        let id = ApprovalId::new(Timestamp::from_millis(1_767_225_600_123), *b"0123456789abcdef");
        assert_eq!(id.to_string().parse(), Ok(id));
        // The bytes as one number, five bits to a character from the front.
        assert_eq!(id.to_string(), "apr_06dqdpn8fcr32chk6gtkcdsr75gp4rv4cnk0");
        let id = RequestId::new(Timestamp::from_millis(1_767_225_600_123), [0xFF; 16]);
        assert_eq!(id.to_bytes().as_slice(), id.to_string().as_bytes());
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn later_ids_sort_later_as_text() {
        let at = |millis| ApprovalId::new(Timestamp::from_millis(millis), [0xff; 16]).to_string();
        assert!(at(1_767_225_600_123) < at(1_767_225_600_124));
    }

    #[test]
    fn one_id_has_one_spelling() {
        let id = ApprovalId::new(Timestamp::from_millis(1), [7; 16]).to_string();
        let mut last = id.clone();
        let digit = last.pop().expect("not empty");
        // The last character carries four padding bits: any other character with the same leading bit is refused.
        last.push(if digit == '0' { '1' } else { '2' });
        assert!(last.parse::<ApprovalId>().is_err());
        assert!(id.to_uppercase().parse::<ApprovalId>().is_err());
        assert!(id.replace("apr_", "req_").parse::<ApprovalId>().is_err());
        assert!("apr_".parse::<ApprovalId>().is_err());
    }
}
