//! Numbers: the grammar, and the range that every reader can hold. The digits are kept as written.

use super::Limits;
use super::error::{Fault, Quantity, SyntaxFault};
use crate::domain::value::Number;

/// A number without exponent and with no more characters than this is within the range of a double.
const DOUBLE_DIGITS_MIN: usize = 300;

/// Reads the number whose first byte (a digit or a minus) is at `start`; returns it and the byte after it.
pub(super) fn read<'a>(text: &'a str, start: usize, limits: &Limits) -> Result<(Number<'a>, usize), Fault> {
    let bytes = text.as_bytes();
    let malformed = || Fault::syntax(SyntaxFault::Number, start);
    let mut at = start + usize::from(bytes[start] == b'-');
    at = match bytes.get(at) {
        Some(b'0') => at + 1,
        Some(b'1'..=b'9') => digits(bytes, at, start, limits)?,
        Some(_) | None => return Err(malformed()),
    };
    if bytes.get(at) == Some(&b'.') {
        at = some_digits(bytes, at + 1, start, limits)?;
    }
    let mut exponent = None;
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let from = at + 1 + sign;
        at = some_digits(bytes, from, start, limits)?;
        exponent = Some(&text[from..at]);
    }
    // What follows must end the number: `01`, `1.2.3`, `0x10` and `1_000` end it in the wrong place.
    if matches!(bytes.get(at), Some(b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'.' | b'_' | b'+' | b'-')) {
        return Err(malformed());
    }
    let number = &text[start..at];
    if exponent.is_some() || number.len() > DOUBLE_DIGITS_MIN {
        check_range(number, exponent.unwrap_or("0"), limits).map_err(|fault| Fault::syntax(fault, start))?;
    }
    Ok((Number::from_checked(number), at))
}

/// A number must stay a finite double, and must not become zero without being zero: readers differ on
/// what they do then, so policy could compare one amount and the upstream act on another.
fn check_range(number: &str, exponent: &str, limits: &Limits) -> Result<(), SyntaxFault> {
    // Too many digits for a u32 is far beyond any limit.
    let magnitude = exponent.parse::<u32>().map_err(|_| SyntaxFault::NumberRange)?;
    let double = number.parse::<f64>().map_err(|_| SyntaxFault::Number)?;
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let written_as_zero = !mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    if magnitude > limits.exponent || !double.is_finite() || (double == 0.0 && !written_as_zero) {
        return Err(SyntaxFault::NumberRange);
    }
    Ok(())
}

/// At least one digit from `at` on.
fn some_digits(bytes: &[u8], at: usize, start: usize, limits: &Limits) -> Result<usize, Fault> {
    let end = digits(bytes, at, start, limits)?;
    if end == at {
        return Err(Fault::syntax(SyntaxFault::Number, start));
    }
    Ok(end)
}

/// The end of the run of digits at `at`; stops at the length limit, so that a long number costs no more than that.
fn digits(bytes: &[u8], at: usize, start: usize, limits: &Limits) -> Result<usize, Fault> {
    let end = at + bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).take(limits.number_chars + 1).count();
    if end - start > limits.number_chars {
        return Err(Fault::too_large(Quantity::NumberChars, limits.number_chars, start));
    }
    Ok(end)
}
