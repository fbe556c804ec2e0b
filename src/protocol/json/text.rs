//! Strings: from an opening quote to the closing one, escapes resolved.

use super::error::{Fault, Quantity, SyntaxFault};
use std::borrow::Cow;

/// A string and where the reader goes on.
pub(super) struct Text<'a> {
    pub(super) value: Cow<'a, str>,
    /// The byte after the closing quote.
    pub(super) end: usize,
}

/// Reads the string whose first character (after the quote) is at `start`. `text` is known to be UTF-8; at most
/// `bytes_max` bytes may stand between the quotes.
pub(super) fn read(text: &str, start: usize, bytes_max: usize) -> Result<Text<'_>, Fault> {
    let plain = plain_run(text.as_bytes(), start);
    check_length(start, plain, bytes_max)?;
    match text.as_bytes().get(plain) {
        Some(b'"') => Ok(Text { value: Cow::Borrowed(&text[start..plain]), end: plain + 1 }),
        Some(b'\\') => escaped(text, start, plain, bytes_max),
        Some(_) => Err(Fault::syntax(SyntaxFault::Control, plain)),
        None => Err(Fault::syntax(SyntaxFault::End, plain)),
    }
}

/// The rest of a string that has an escape at `at`.
#[inline(never)]
fn escaped(text: &str, start: usize, mut at: usize, bytes_max: usize) -> Result<Text<'_>, Fault> {
    let bytes = text.as_bytes();
    let mut value = String::with_capacity(at - start + 16);
    value.push_str(&text[start..at]);
    loop {
        match bytes.get(at) {
            Some(b'"') => return Ok(Text { value: Cow::Owned(value), end: at + 1 }),
            Some(b'\\') => {
                let (character, after) = escape(bytes, at)?;
                value.push(character);
                at = after;
            }
            Some(byte) if *byte < 0x20 => return Err(Fault::syntax(SyntaxFault::Control, at)),
            Some(_) => {
                let run = plain_run(bytes, at);
                check_length(start, run, bytes_max)?;
                value.push_str(&text[at..run]);
                at = run;
            }
            None => return Err(Fault::syntax(SyntaxFault::End, at)),
        }
        check_length(start, at, bytes_max)?;
    }
}

/// The first byte from `at` on that is a quote, a backslash or a control character, or the end.
fn plain_run(bytes: &[u8], at: usize) -> usize {
    bytes[at..]
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F))
        .map_or(bytes.len(), |length| at + length)
}

fn check_length(start: usize, end: usize, bytes_max: usize) -> Result<(), Fault> {
    if end - start > bytes_max {
        return Err(Fault::too_large(Quantity::StringBytes, bytes_max, start));
    }
    Ok(())
}

/// The character that the escape at `at` stands for, and the byte after it.
fn escape(bytes: &[u8], at: usize) -> Result<(char, usize), Fault> {
    let character = match bytes.get(at + 1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{C}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode(bytes, at),
        Some(_) => return Err(Fault::syntax(SyntaxFault::Escape, at)),
        None => return Err(Fault::syntax(SyntaxFault::End, at)),
    };
    Ok((character, at + 2))
}

/// `\uXXXX`, or the pair of them that makes one character beyond the basic plane.
fn unicode(bytes: &[u8], at: usize) -> Result<(char, usize), Fault> {
    let unit = hex4(bytes, at)?;
    let lone = || Fault::syntax(SyntaxFault::Surrogate, at);
    let (scalar, after) = match unit {
        0xD800..=0xDBFF => {
            if bytes.get(at + 6..at + 8) != Some(b"\\u") {
                return Err(lone());
            }
            let low = hex4(bytes, at + 6)?;
            if !(0xDC00..=0xDFFF).contains(&low) {
                return Err(lone());
            }
            (0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00), at + 12)
        }
        0..=0xD7FF | 0xDC00.. => (unit, at + 6),
    };
    // A low half without a high one is no scalar value, so this refuses it.
    char::from_u32(scalar).map(|character| (character, after)).ok_or_else(lone)
}

/// The four hexadecimal digits of the `\u` at `at`.
fn hex4(bytes: &[u8], at: usize) -> Result<u32, Fault> {
    let Some(digits) = bytes.get(at + 2..at + 6) else {
        return Err(Fault::syntax(SyntaxFault::End, at));
    };
    digits.iter().try_fold(0, |unit, digit| {
        let value = (*digit as char).to_digit(16).ok_or_else(|| Fault::syntax(SyntaxFault::Escape, at))?;
        Ok(unit << 4 | value)
    })
}
