//! Queries: kept byte for byte, and read as form pairs for rules.

use super::{Part, TargetError, escaped_byte};
use crate::protocol::json::confusable_with;
use percent_encoding::percent_decode_str;

/// The decoded `name=value` pairs of a query, in order, duplicates included: `&` separates, `+` is a space, a missing
/// `=` is an empty value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryPairs(Vec<(String, String)>);

/// A query parameter that a rule reads came more than once, so servers differ about its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the query parameter `{name}` appears more than once; send it once")]
pub struct Duplicate {
    /// The parameter.
    pub name: String,
}

impl QueryPairs {
    /// Reads the query that starts at byte `start` of `target`; none when that is beyond its end.
    pub(super) fn parse(target: &str, start: usize) -> Result<Self, TargetError> {
        let Some(query) = target.get(start..) else { return Ok(Self::default()) };
        for (offset, byte) in target.bytes().enumerate().skip(start) {
            match byte {
                b'%' => match escaped_byte(target.as_bytes(), offset) {
                    None => return Err(TargetError::Malformed { offset, part: Part::Query }),
                    // Where text ends at NUL, everything after it would be judged but not read.
                    Some(0) => return Err(TargetError::Forbidden { offset, part: Part::Query }),
                    Some(_) => {}
                },
                b';' => return Err(TargetError::Semicolon { offset, part: Part::Query }),
                b'"' | b'<' | b'>' => return Err(TargetError::Character { offset, part: Part::Query }),
                0x21..=0x7E => {}
                _ => return Err(TargetError::Character { offset, part: Part::Query }),
            }
        }
        let mut pairs = Vec::new();
        let mut offset = start;
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !pair.is_empty() {
                let not_text = TargetError::NotUtf8 { offset, part: Part::Query };
                pairs.push((decode(name).ok_or(not_text)?, decode(value).ok_or(not_text)?));
            }
            offset += pair.len() + 1;
        }
        Ok(Self(pairs))
    }

    /// Every pair, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there is no pair at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of `name`, if it came at most once.
    ///
    /// # Errors
    /// [`Duplicate`] when it came more than once.
    pub fn single(&self, name: &str) -> Result<Option<&str>, Duplicate> {
        let mut values = self.iter().filter(|(other, _)| *other == name).map(|(_, value)| value);
        let first = values.next();
        if values.next().is_some() {
            return Err(Duplicate { name: name.to_owned() });
        }
        Ok(first)
    }

    /// The first name that a case-insensitive server could take for `name`, though it is another.
    pub fn variant_of(&self, name: &str) -> Option<&str> {
        self.iter().map(|(other, _)| other).find(|other| confusable_with(other, name))
    }
}

fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}
