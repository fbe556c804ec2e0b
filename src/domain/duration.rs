//! Durations as people write them: `250ms`, `50s`, `15m`, `1h30m`, `2d`.
//!
//! One parser for configuration, policy and requests, so that the same text means the same everywhere. It
//! deliberately does not accept a bare number (seconds or milliseconds?), fractions, signs, spaces, or units out of
//! order: each of those has two readings.
//!
//! Invariant: whatever [`parse`] accepts, [`format()`] writes back as text that parses to the same value.

use std::fmt::Write as _;
use std::time::Duration;

/// The longest duration that any text may name: ten years. Longer values are a slip, and times far ahead overflow
/// the formats that store them.
pub const DURATION_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Units from the largest to the smallest, each with its length in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Why a text is no duration. The message names what is wrong; the caller adds where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing was written.
    #[error("a duration is empty; write one such as `30s`, `15m` or `1h30m`")]
    Empty,
    /// A number without its unit.
    #[error("`{0}` has no unit; write `ms`, `s`, `m`, `h` or `d` behind each number, as in `30s`")]
    NoUnit(String),
    /// A unit that does not exist.
    #[error("`{text}` has an unknown unit `{unit}`; units are `ms`, `s`, `m`, `h` and `d`")]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// The unit that was not understood.
        unit: String,
    },
    /// A unit without a number before it, a sign, a fraction, or a space.
    #[error("`{0}` is not a duration; write whole numbers with units, as in `250ms`, `30s` or `1h30m`")]
    Malformed(String),
    /// Units repeat or grow from left to right.
    #[error("`{0}` has its units out of order; write the larger unit first and each unit once, as in `1h30m`")]
    OutOfOrder(String),
    /// Longer than [`DURATION_MAX`].
    #[error("`{0}` is longer than ten years (3650d), the longest duration accepted")]
    TooLong(String),
}

/// Reads a duration such as `250ms`, `50s`, `15m`, `1h30m` or `2d`. `0s` is a valid duration of zero: whether zero
/// makes sense is for the field to say.
///
/// # Errors
/// Everything that is not one or more whole numbers, each with a unit, larger units first, at most [`DURATION_MAX`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    let mut rest = text;
    let mut next_unit = 0;
    let mut total_ms: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        if digits == 0 || (letters == 0 && !tail.is_empty()) {
            return Err(DurationError::Malformed(text.to_owned()));
        }
        if letters == 0 {
            return Err(DurationError::NoUnit(text.to_owned()));
        }
        let index = UNITS
            .iter()
            .position(|(name, _)| *name == unit)
            .ok_or_else(|| DurationError::UnknownUnit { text: text.to_owned(), unit: unit.to_owned() })?;
        if index < next_unit {
            return Err(DurationError::OutOfOrder(text.to_owned()));
        }
        next_unit = index + 1;
        total_ms = number
            .parse::<u64>()
            .ok()
            .and_then(|count| count.checked_mul(UNITS[index].1))
            .and_then(|ms| total_ms.checked_add(ms))
            .ok_or_else(|| DurationError::TooLong(text.to_owned()))?;
        rest = tail;
    }
    let total = Duration::from_millis(total_ms);
    if total > DURATION_MAX { Err(DurationError::TooLong(text.to_owned())) } else { Ok(total) }
}

/// Writes a duration in the form that [`parse`] reads, to the millisecond (smaller parts are cut): `1h30m`, `0s`.
#[must_use]
pub fn format(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, length_ms) in UNITS {
        let count = rest / length_ms;
        rest %= length_ms;
        if count > 0 {
            // Writing into a `String` cannot fail.
            let _ = write!(text, "{count}{unit}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_and_their_combinations_are_read() {
        for (text, ms) in [
            ("0s", 0),
            ("250ms", 250),
            ("50s", 50_000),
            ("15m", 900_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("90m", 5_400_000),
            ("3650d", 315_360_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn ambiguous_or_broken_texts_are_refused_each_for_its_own_reason() {
        let own = str::to_owned;
        for (text, error) in [
            ("", DurationError::Empty),
            ("30", DurationError::NoUnit(own("30"))),
            ("1h30", DurationError::NoUnit(own("1h30"))),
            ("5w", DurationError::UnknownUnit { text: own("5w"), unit: own("w") }),
            ("5S", DurationError::UnknownUnit { text: own("5S"), unit: own("S") }),
            ("s", DurationError::Malformed(own("s"))),
            ("-5s", DurationError::Malformed(own("-5s"))),
            ("1.5h", DurationError::Malformed(own("1.5h"))),
            (" 5s", DurationError::Malformed(own(" 5s"))),
            ("5s ", DurationError::Malformed(own("5s "))),
            ("5 s", DurationError::Malformed(own("5 s"))),
            ("٣s", DurationError::Malformed(own("٣s"))),
            ("30m1h", DurationError::OutOfOrder(own("30m1h"))),
            ("1s1s", DurationError::OutOfOrder(own("1s1s"))),
            ("3651d", DurationError::TooLong(own("3651d"))),
            ("99999999999999999999s", DurationError::TooLong(own("99999999999999999999s"))),
            ("18446744073709551615d", DurationError::TooLong(own("18446744073709551615d"))),
        ] {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn formatted_durations_read_back_to_the_same_value() {
        for ms in [0, 1, 999, 1_000, 61_000, 5_400_000, 86_400_000, 93_784_005] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse(&format(duration)), Ok(duration), "{}", format(duration));
        }
    }
}
