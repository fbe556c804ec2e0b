//! A JSON value as it was written: members in order, numbers by their digits.
//!
//! `serde_json::Value` keeps the last of two equal keys and rounds numbers, so policy never judges one. This tree is
//! built only by the strict reader (`protocol::json`), which has already refused whatever two parsers could read
//! differently. It borrows from the body where it can.

use std::borrow::Cow;
use std::cmp::Ordering;

/// One JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, by the digits that were written.
    Number(Number<'a>),
    /// A string, escapes resolved.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object: members in the order written; the reader guarantees that no two keys are equal.
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

/// A JSON number by its source text, for example `1e2`, `-0` or `9007199254740993`.
///
/// Equality here is of the text; compare amounts with [`Number::compare`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number<'a>(Cow<'a, str>);

impl<'a> Number<'a> {
    /// Wraps text that the strict reader has checked against the JSON number grammar.
    pub fn from_checked(text: impl Into<Cow<'a, str>>) -> Self {
        Self(text.into())
    }

    /// The digits as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same number, borrowing its digits.
    pub fn borrowed(&self) -> Number<'_> {
        Number(Cow::Borrowed(&self.0))
    }

    /// Compares two numbers by their exact decimal value: `1e2`, `100` and `100.0` are equal, `9007199254740993` and
    /// `9007199254740992` are not, `-0` equals `0`. Never rounds and never allocates; costs one pass over the digits.
    pub fn compare(&self, other: &Number<'_>) -> Ordering {
        Decimal::of(&self.0).compare(&Decimal::of(&other.0))
    }

    /// Whether the number has no fractional part: `100`, `1e2` and `2.50e1` do not have one.
    pub fn is_integral(&self) -> bool {
        let decimal = Decimal::of(&self.0);
        decimal.digits().count() as i64 <= decimal.point
    }
}

/// A JSON number taken apart: sign, the digits between the first and the last that are not zero, and where the
/// decimal point stands relative to the first of them (`0.5` → 0, `5` → 1, `50` → 2).
struct Decimal<'t> {
    negative: bool,
    whole: &'t str,
    fraction: &'t str,
    /// Digits before the point once leading zeros are gone; meaningless for zero.
    point: i64,
    zero: bool,
}

impl<'t> Decimal<'t> {
    fn of(text: &'t str) -> Self {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, saturating_exponent(exponent)),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let fraction = fraction.trim_end_matches('0');
        let whole = whole.trim_start_matches('0');
        let (whole, fraction, before_point) = if whole.is_empty() {
            let significant = fraction.trim_start_matches('0');
            ("", significant, -((fraction.len() - significant.len()) as i64))
        } else if fraction.is_empty() {
            (whole.trim_end_matches('0'), "", whole.len() as i64)
        } else {
            (whole, fraction, whole.len() as i64)
        };
        let zero = whole.is_empty() && fraction.is_empty();
        Self { negative: negative && !zero, whole, fraction, point: before_point.saturating_add(exponent), zero }
    }

    fn digits(&self) -> impl Iterator<Item = u8> + 't {
        self.whole.bytes().chain(self.fraction.bytes())
    }

    fn compare(&self, other: &Decimal<'_>) -> Ordering {
        match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => self.compare_magnitude(other),
            (true, true) => other.compare_magnitude(self),
        }
    }

    fn compare_magnitude(&self, other: &Decimal<'_>) -> Ordering {
        match (self.zero, other.zero) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            // Trailing zeros are gone, so a longer run of equal digits is the larger number.
            (false, false) => self.point.cmp(&other.point).then_with(|| self.digits().cmp(other.digits())),
        }
    }
}

/// An exponent as a number; beyond the range of `i64` it stays at the edge, where no body of a permitted length can
/// bring the value back.
fn saturating_exponent(text: &str) -> i64 {
    let digits = text.strip_prefix('+').unwrap_or(text);
    digits.parse().unwrap_or(if digits.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 })
}

impl<'a> Value<'a> {
    /// The member of an object by its exact key; `None` for other kinds of value and for absent members.
    pub fn member(&self, key: &str) -> Option<&Value<'a>> {
        match self {
            Value::Object(members) => members.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
        }
    }

    /// Writes the value as JSON text: members in their order, numbers by their own digits.
    pub fn write_json(&self, out: &mut String) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(true) => out.push_str("true"),
            Value::Bool(false) => out.push_str("false"),
            Value::Number(number) => out.push_str(number.as_str()),
            Value::String(text) => write_json_string(text, out),
            Value::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write_json(out);
                }
                out.push(']');
            }
            Value::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_json_string(key, out);
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
        }
    }
}

/// Writes `text` as a JSON string with its quotes, escaping what JSON demands and nothing else.
pub fn write_json_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => {
                out.push_str("\\u00");
                for nibble in [control as u32 >> 4, control as u32 & 15] {
                    out.push(char::from_digit(nibble, 16).expect("a nibble is one hexadecimal digit"));
                }
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Number<'_> {
        Number::from_checked(text)
    }

    #[test]
    fn numbers_compare_by_their_exact_value() {
        use Ordering::{Equal, Greater, Less};
        for (left, right, expected) in [
            ("1e2", "100", Equal),
            ("100.0", "100", Equal),
            ("100.00", "1.0E+2", Equal),
            ("-0", "0", Equal),
            ("0e99", "0.000", Equal),
            ("9007199254740993", "9007199254740992", Greater),
            ("0.1", "0.10000000000000000000000000000000001", Less),
            ("-2", "-10", Greater),
            ("-1", "1", Less),
            ("0.05", "0.5", Less),
            ("0.05", "5e-2", Equal),
            ("12.5", "125e-1", Equal),
            ("1e400", "9e399", Greater),
            ("1e99999999999999999999", "1", Greater),
            ("1e-99999999999999999999", "1", Less),
            ("1e-99999999999999999999", "0", Greater),
            ("100", "99.99", Greater),
            ("1203", "1203.0001", Less),
        ] {
            assert_eq!(number(left).compare(&number(right)), expected, "{left} ? {right}");
            assert_eq!(number(right).compare(&number(left)), expected.reverse(), "{right} ? {left}");
        }
    }

    #[test]
    fn integral_numbers_are_told_by_value_not_by_notation() {
        for (text, integral) in [
            ("100", true),
            ("1e2", true),
            ("2.50e1", true),
            ("0.0", true),
            ("-3", true),
            ("2.5", false),
            ("1e-1", false),
            ("120", true),
        ] {
            assert_eq!(number(text).is_integral(), integral, "{text}");
        }
    }

    #[test]
    fn values_are_written_with_their_own_digits_and_order() {
        let value = Value::Object(vec![
            ("z".into(), Value::Number(number("1.50e2"))),
            ("a\n\u{1}\"".into(), Value::Array(vec![Value::Null, Value::Bool(true), Value::String("é\\".into())])),
        ]);
        let mut text = String::new();
        value.write_json(&mut text);
        assert_eq!(text, r#"{"z":1.50e2,"a\n\u0001\"":[null,true,"é\\"]}"#);
    }

    proptest! {
        #[test]
        fn decimal_order_is_the_order_of_the_integers_scaled(a in -10_000_000_i128..10_000_000, b in -10_000_000_i128..10_000_000, ea in 0_u32..6, eb in 0_u32..6) {
            let (left, right) = (format!("{a}e-{ea}"), format!("{b}e-{eb}"));
            let expected = (a * 10_i128.pow(6 - ea)).cmp(&(b * 10_i128.pow(6 - eb)));
            prop_assert_eq!(number(&left).compare(&number(&right)), expected);
        }
    }
}
