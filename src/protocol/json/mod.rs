//! The strict JSON reader: bytes to [`Value`], or a refusal.
//!
//! It accepts RFC 8259 and nothing else, and of that only what every common reader understands alike: no key twice, no
//! two sibling keys that a case-insensitive or Unicode-normalising reader could merge, no key with hidden characters,
//! no number that a double cannot hold. It is one pass over the body with a stack of its own, so depth cannot overflow
//! anything, and it borrows from the body wherever no escape forces a copy.
//!
//! It deliberately does not interpret numbers, does not repair anything, and does not know which keys are reserved: see
//! [`confusable_with`] for those.
//!
//! Invariants of what it returns: no object holds two keys that are equal under [`folded`]; depth, node count and every
//! length are within the [`Limits`].

mod error;
mod keys;
mod number;
mod reader;
mod text;

pub use error::{JsonError, JsonErrorKind, KeyFault, Quantity, SyntaxFault};
pub use keys::{confusable_with, folded};

use crate::domain::value::Value;

/// Containers inside one another, by default.
pub const DEPTH_MAX: u8 = 64;
/// Values in one body, by default: every scalar, array and object counts one.
pub const NODES_MAX: usize = 100_000;
/// Bytes of one key after escapes are resolved, by default.
pub const KEY_BYTES_MAX: usize = 1024;
/// Bytes of one string as written, by default.
pub const STRING_BYTES_MAX: usize = 1 << 20;
/// Characters of one number as written, by default.
pub const NUMBER_CHARS_MAX: usize = 128;
/// Magnitude of a written exponent, by default. Numbers that no double can hold are refused within it as well.
pub const EXPONENT_MAX: u32 = 400;
/// Bytes of one body, by default.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Characters produced by folding the non-ASCII keys of one body, by default. Folding can lengthen a key eighteenfold,
/// so this, not the body's length, bounds its cost.
pub const FOLDED_CHARS_MAX: usize = 1 << 17;

/// What one body may cost. Whatever goes beyond is refused, never cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Containers inside one another: `1` allows `[]` but not `[[]]`. A byte, so that no setting can make dropping the
    /// tree overflow the stack.
    pub depth: u8,
    /// Values in the body: every scalar, array and object counts one.
    pub nodes: usize,
    /// Bytes of one key after escapes are resolved.
    pub key_bytes: usize,
    /// Bytes of one string (key or value) as written, between its quotes.
    pub string_bytes: usize,
    /// Characters of one number as written.
    pub number_chars: usize,
    /// Magnitude of a written exponent.
    pub exponent: u32,
    /// Bytes of the body.
    pub body_bytes: usize,
    /// Characters produced by folding all non-ASCII keys of the body.
    pub folded_chars: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: DEPTH_MAX,
            nodes: NODES_MAX,
            key_bytes: KEY_BYTES_MAX,
            string_bytes: STRING_BYTES_MAX,
            number_chars: NUMBER_CHARS_MAX,
            exponent: EXPONENT_MAX,
            body_bytes: BODY_BYTES_MAX,
            folded_chars: FOLDED_CHARS_MAX,
        }
    }
}

/// Reads one JSON document that fills `body`.
///
/// An empty body, or one of white space only, is refused as `bad_json`: a caller for whom "no body" is legal looks at
/// the length first.
///
/// # Errors
/// The first fault met, with its byte offset and the path of the value it stands in; see [`JsonErrorKind`].
pub fn read<'a>(body: &'a [u8], limits: &Limits) -> Result<Value<'a>, JsonError> {
    reader::read(body, limits)
}

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
