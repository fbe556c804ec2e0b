//! Request targets: the one spelling of a path that is accepted, its query, and the templates that name calls.
//!
//! An upstream may resolve dots, collapse slashes, decode twice, or cut at `;` or NUL before it routes. So a path in
//! which any of that could matter is refused rather than rewritten: what was judged is what is forwarded, byte for byte.
//!
//! It deliberately does not normalise anything. Reserved characters that are legal both raw and escaped (`@` and `%40`)
//! stay as the caller wrote them, because common clients write either; compare [`RequestTarget::decoded_path`] or
//! segments, where both spellings are one.

mod query;
mod template;

pub use query::{Duplicate, QueryPairs};
pub use template::{Lookup, PathTemplate, TemplateError, TemplateSet};

use percent_encoding::percent_decode_str;
use std::ops::Range;

/// Bytes of path and query together.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;

/// A path and query that were accepted. The text is exactly what the caller sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestTarget {
    raw: String,
    /// Bytes of `raw` that are the path.
    path_bytes: usize,
    segments: Vec<String>,
    query: QueryPairs,
}

impl RequestTarget {
    /// Reads a path and an optional query as they stand in the request line (origin form).
    ///
    /// # Errors
    /// The first thing in it that two readers could understand differently, with its place; see [`TargetError`].
    pub fn parse(raw_path_and_query: &str) -> Result<Self, TargetError> {
        let raw = raw_path_and_query;
        if raw.len() > TARGET_BYTES_MAX {
            return Err(TargetError::TooLong { limit: TARGET_BYTES_MAX });
        }
        if let Some(offset) = raw.find('#') {
            return Err(TargetError::Fragment { offset });
        }
        let path_bytes = raw.find('?').unwrap_or(raw.len());
        let segments = path_segments(&raw[..path_bytes])?;
        let query = QueryPairs::parse(raw, path_bytes + 1)?;
        Ok(Self { raw: raw.to_owned(), path_bytes, segments, query })
    }

    /// The target that is left when the first `start` bytes of the path are cut off, up to a slash.
    ///
    /// It is what parsing the rest would give: the segments were checked one by one, and none of the checks knows the ones before.
    ///
    /// # Errors
    /// The target as it was, when there is no slash at `start`.
    pub fn below(mut self, start: usize) -> Result<Self, Self> {
        if self.path().as_bytes().get(start) != Some(&b'/') {
            return Err(self);
        }
        if start > 0 {
            let cut = self.raw.as_bytes()[..start].iter().filter(|byte| **byte == b'/').count();
            self.segments.drain(..cut);
            self.raw.drain(..start);
            self.path_bytes -= start;
        }
        Ok(self)
    }

    /// The target with the path `/` and the same query.
    pub fn at_root(mut self) -> Self {
        self.raw.replace_range(..self.path_bytes, "/");
        self.path_bytes = 1;
        self.segments.clear();
        self.segments.push(String::new());
        self
    }

    /// Path and query exactly as received: what goes upstream.
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    /// The path exactly as received.
    pub fn path(&self) -> &str {
        &self.raw[..self.path_bytes]
    }

    /// The query exactly as received, without its question mark; `None` when there is no question mark.
    pub fn query(&self) -> Option<&str> {
        self.raw.get(self.path_bytes + 1..)
    }

    /// The decoded segments: `/` has one empty segment, `/a/` has `a` and an empty one. None contains a slash, a
    /// backslash, a percent sign, a semicolon or a control character.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// The path with its escapes resolved: what names and rules compare. Unambiguous, because no escape may hide a
    /// character that has a meaning in a path.
    pub fn decoded_path(&self) -> String {
        self.segments.iter().fold(String::with_capacity(self.path_bytes), |path, segment| path + "/" + segment)
    }

    /// The query's decoded pairs, in order, duplicates included.
    pub fn query_pairs(&self) -> &QueryPairs {
        &self.query
    }
}

/// Why a target was refused. Offsets are bytes from the start of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Longer than any target may be.
    #[error("the path and query are longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// Does not start with a slash.
    #[error("the path does not start with a slash")]
    NoSlash,
    /// A fragment never belongs in a request.
    #[error("byte {offset}: a fragment does not belong in a request; leave out `#` and what follows")]
    Fragment {
        /// Where.
        offset: usize,
    },
    /// A raw character that the path or query may not contain: control, space, non-ASCII, backslash, and the like.
    #[error("byte {offset}: this character may not stand in a {part} as it is; percent-encode it if it belongs there")]
    Character {
        /// Where.
        offset: usize,
        /// In which part.
        part: Part,
    },
    /// A semicolon, which some servers cut the path or split the query at.
    #[error("byte {offset}: a semicolon may not stand in a {part}; servers disagree about its meaning")]
    Semicolon {
        /// Where.
        offset: usize,
        /// In which part.
        part: Part,
    },
    /// Two slashes in a row.
    #[error("byte {offset}: the path has an empty segment; write one slash")]
    EmptySegment {
        /// Where.
        offset: usize,
    },
    /// A `.` or `..` segment.
    #[error("byte {offset}: the path has a dot segment; send the path it resolves to")]
    DotSegment {
        /// Where.
        offset: usize,
    },
    /// A percent sign without two hexadecimal digits.
    #[error("byte {offset}: a percent sign must be followed by two hexadecimal digits")]
    Malformed {
        /// Where.
        offset: usize,
        /// In which part.
        part: Part,
    },
    /// An escape with lower-case digits: legal, but not the one spelling.
    #[error("byte {offset}: write the hexadecimal digits of this escape in upper case")]
    LowerCase {
        /// Where.
        offset: usize,
    },
    /// An escape of a letter, digit, `-`, `.`, `_` or `~`, which never needs one.
    #[error("byte {offset}: this escape stands for a character that needs none; write the character")]
    Needless {
        /// Where.
        offset: usize,
    },
    /// An escape of a slash, backslash, percent sign, semicolon or control character.
    #[error("byte {offset}: this escape stands for a character that may not be in a {part} in any spelling")]
    Forbidden {
        /// Where.
        offset: usize,
        /// In which part.
        part: Part,
    },
    /// Escapes that are not UTF-8 once decoded.
    #[error("byte {offset}: the escapes here do not decode to UTF-8")]
    NotUtf8 {
        /// Where the segment, name or value starts.
        offset: usize,
        /// In which part.
        part: Part,
    },
}

impl TargetError {
    /// The stable code that answers, metrics and tests use.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Character { part: Part::Query, .. }
            | Self::Semicolon { part: Part::Query, .. }
            | Self::Malformed { part: Part::Query, .. }
            | Self::Forbidden { part: Part::Query, .. }
            | Self::NotUtf8 { part: Part::Query, .. } => "query",
            Self::TooLong { .. } => "target_too_long",
            Self::NoSlash
            | Self::Fragment { .. }
            | Self::Character { part: Part::Path, .. }
            | Self::Semicolon { part: Part::Path, .. }
            | Self::EmptySegment { .. }
            | Self::DotSegment { .. }
            | Self::Malformed { part: Part::Path, .. }
            | Self::LowerCase { .. }
            | Self::Needless { .. }
            | Self::Forbidden { part: Part::Path, .. }
            | Self::NotUtf8 { part: Part::Path, .. } => "path",
        }
    }
}

/// The two halves of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Part {
    /// Before the question mark.
    #[error("path")]
    Path,
    /// After it.
    #[error("query")]
    Query,
}

/// The decoded segments of a path in its one accepted spelling.
fn path_segments(path: &str) -> Result<Vec<String>, TargetError> {
    let Some(rest) = path.strip_prefix('/') else { return Err(TargetError::NoSlash) };
    let mut segments = Vec::new();
    let mut start = 1;
    for segment in rest.split('/') {
        let end = start + segment.len();
        if segment.is_empty() && end < path.len() {
            return Err(TargetError::EmptySegment { offset: start });
        }
        segments.push(path_segment(path, start..end)?);
        start = end + 1;
    }
    Ok(segments)
}

/// One decoded segment.
fn path_segment(path: &str, range: Range<usize>) -> Result<String, TargetError> {
    let segment = &path[range.clone()];
    if matches!(segment, "." | "..") {
        return Err(TargetError::DotSegment { offset: range.start });
    }
    for (offset, byte) in path.bytes().enumerate().skip(range.start).take(range.len()) {
        match byte {
            b'%' => check_path_escape(path.as_bytes(), offset)?,
            b';' => return Err(TargetError::Semicolon { offset, part: Part::Path }),
            byte if is_unreserved(byte) || b"!$&'()*+,=:@".contains(&byte) => {}
            _ => return Err(TargetError::Character { offset, part: Part::Path }),
        }
    }
    if !segment.as_bytes().contains(&b'%') {
        // Nothing but ASCII passed above.
        return Ok(segment.to_owned());
    }
    let not_text = TargetError::NotUtf8 { offset: range.start, part: Part::Path };
    let decoded = percent_decode_str(segment).decode_utf8().map_err(|_| not_text)?;
    // The one-byte controls were refused above; this is for those of two bytes, U+0080 to U+009F.
    if decoded.chars().any(char::is_control) {
        return Err(TargetError::Forbidden { offset: range.start, part: Part::Path });
    }
    Ok(decoded.into_owned())
}

fn check_path_escape(path: &[u8], offset: usize) -> Result<(), TargetError> {
    let byte = escaped_byte(path, offset).ok_or(TargetError::Malformed { offset, part: Part::Path })?;
    if byte.is_ascii_control() || b"/\\%;".contains(&byte) {
        return Err(TargetError::Forbidden { offset, part: Part::Path });
    }
    if is_unreserved(byte) {
        return Err(TargetError::Needless { offset });
    }
    if path[offset + 1..offset + 3].iter().any(u8::is_ascii_lowercase) {
        return Err(TargetError::LowerCase { offset });
    }
    Ok(())
}

/// The byte that the escape at `offset` stands for; `None` when two hexadecimal digits do not follow.
fn escaped_byte(text: &[u8], offset: usize) -> Option<u8> {
    let digit = |at: usize| text.get(at).and_then(|digit| (*digit as char).to_digit(16));
    u8::try_from(digit(offset + 1)? << 4 | digit(offset + 2)?).ok()
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests;
