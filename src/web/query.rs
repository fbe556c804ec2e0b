//! Queries and forms: `a=1&b=x+y`, read strictly.
//!
//! Both are the same notation. What cannot be read one way only is refused: a broken escape, bytes that are no UTF-8, and, where
//! a name may stand once, a name that stands twice.

use percent_encoding::percent_decode_str;

/// The most pairs in one query or form: room for a bulk decision and its few other fields.
pub const PAIRS_MAX: usize = super::BULK_MAX + 32;

/// The pairs of a query or form, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pairs(Vec<(String, String)>);

/// Why it could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A `%` without two hexadecimal digits, or bytes that are no UTF-8.
    #[error("`{0}` has a broken escape")]
    Escape(String),
    /// More than [`PAIRS_MAX`].
    #[error("there are more than {PAIRS_MAX} parameters")]
    TooMany,
    /// A name that may stand once stands twice.
    #[error("`{0}` stands more than once")]
    Twice(String),
    /// A name that means nothing here.
    #[error("unknown parameter `{name}`; known here: {known}")]
    Unknown {
        /// The name.
        name: String,
        /// The names that mean something, for people.
        known: String,
    },
}

impl Pairs {
    /// Reads `a=1&b=2`. Empty text has no pairs; empty pairs (`a=1&&b=2`) are skipped.
    ///
    /// # Errors
    /// [`Error::Escape`], [`Error::TooMany`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == PAIRS_MAX {
                return Err(Error::TooMany);
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(name)?, decode(value)?));
        }
        Ok(Self(pairs))
    }

    /// Refuses every name that is not in `known`.
    ///
    /// # Errors
    /// [`Error::Unknown`], naming the first.
    pub fn only(&self, known: &[&str]) -> Result<(), Error> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Err(Error::Unknown { name: super::text::excerpt(name, 64), known })
            }
        }
    }

    /// The value of a name that may stand once. An empty value is as good as none: forms send every field.
    ///
    /// # Errors
    /// [`Error::Twice`].
    pub fn single(&self, name: &str) -> Result<Option<&str>, Error> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value.filter(|value| !value.is_empty())),
            (_, Some(_)) => Err(Error::Twice(name.to_owned())),
        }
    }

    /// Whether the name stands there at all, as in `?verbose`.
    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// Every value of a name.
    pub fn all<'p, 'n>(&'p self, name: &'n str) -> impl Iterator<Item = &'p str> + use<'p, 'n> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Writes a value so that [`Pairs::parse`] reads it back.
pub fn encode(value: &str) -> String {
    percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn decode(text: &str) -> Result<String, Error> {
    let broken = || Error::Escape(super::text::excerpt(text, 64));
    let bytes = text.as_bytes();
    let well_formed = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%').all(|(place, _)| {
        bytes.get(place + 1..place + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if !well_formed {
        return Err(broken());
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| broken())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_as_forms_write_them() {
        let pairs = Pairs::parse("a=1&b=x+y%2B&c&&d=%C3%A9").expect("well formed");
        assert_eq!(pairs.single("a"), Ok(Some("1")));
        assert_eq!(pairs.single("b"), Ok(Some("x y+")));
        assert_eq!(pairs.single("c"), Ok(None));
        assert!(pairs.has("c") && !pairs.has("e"));
        assert_eq!(pairs.single("d"), Ok(Some("é")));
        assert_eq!(
            Pairs::parse(&format!("q={}", encode("a&b=c d%é+"))).expect("ok").single("q"),
            Ok(Some("a&b=c d%é+"))
        );
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        for text in ["a=%", "a=%2", "a=%zz", "a=%ff", "%80=1"] {
            assert!(matches!(Pairs::parse(text), Err(Error::Escape(_))), "{text}");
        }
        assert_eq!(Pairs::parse("a=1&a=2").expect("well formed").single("a"), Err(Error::Twice("a".into())));
        assert_eq!(Pairs::parse(&"a=1&".repeat(PAIRS_MAX + 1)), Err(Error::TooMany));
        let unknown = Pairs::parse("stauts=pending").expect("well formed").only(&["status"]);
        assert_eq!(unknown.expect_err("unknown").to_string(), "unknown parameter `stauts`; known here: status");
    }
}
