//! Text from agents, made inert and honest for people.
//!
//! Escaping for HTML is maud's part; this is about what a reader would be misled by even in a plain text node: characters that
//! cannot be seen, that reorder what is around them, or that break a line.

use std::fmt::Write as _;

use crate::domain::text::is_hidden;

/// Shows text so that nothing in it is hidden: `\n` and `\t` as those two characters, everything else that cannot be seen or
/// that reorders text as `\u{202e}`. A backslash stays one: the output is for reading, not for parsing back.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            '\r' => shown.push_str("\\r"),
            c if is_hidden(c) => {
                // Writing into a `String` cannot fail.
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    shown
}

/// [`visible`], cut to `chars` characters with `…` behind, for messages that quote what somebody sent. Never for what a
/// reviewer decides about: see [`Shortened`].
pub fn excerpt(text: &str, chars: usize) -> String {
    let shortened = Shortened::new(text, chars);
    if shortened.hidden == 0 { shortened.shown } else { format!("{}…", shortened.shown) }
}

/// Text that may have been shortened, and says by how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortened {
    /// The first characters, [`visible`].
    pub shown: String,
    /// How many characters of the original are not in `shown`.
    pub hidden: usize,
}

impl Shortened {
    /// Shows at most `chars` characters of the original text.
    pub fn new(text: &str, chars: usize) -> Self {
        match text.char_indices().nth(chars) {
            None => Self { shown: visible(text), hidden: 0 },
            Some((end, _)) => Self { shown: visible(&text[..end]), hidden: text[end..].chars().count() },
        }
    }
}

/// A number with its thousands apart, as in `99 812` (with a narrow no-break space).
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_shown_text_is_hidden() {
        for (text, want) in [
            ("refund 100", "refund 100"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("zero\u{200b}width", "zero\\u{200b}width"),
            ("line\nbreak\ttab\r", "line\\nbreak\\ttab\\r"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("nul\0", "nul\\u{0}"),
            ("\u{feff}bom \u{2066}iso\u{2069}", "\\u{feff}bom \\u{2066}iso\\u{2069}"),
            ("tag\u{e0041}", "tag\\u{e0041}"),
            ("hangul\u{3164}filler", "hangul\\u{3164}filler"),
            ("<b>é漢字🙂</b>", "<b>é漢字🙂</b>"),
        ] {
            assert_eq!(visible(text), want);
        }
    }

    #[test]
    fn shortened_text_says_by_how_much() {
        assert_eq!(Shortened::new("é".repeat(10).as_str(), 10), Shortened { shown: "é".repeat(10), hidden: 0 });
        assert_eq!(Shortened::new("abcdef", 4), Shortened { shown: "abcd".into(), hidden: 2 });
        assert_eq!(excerpt("abcdef", 4), "abcd…");
        assert_eq!(excerpt("abcd", 4), "abcd");
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(grouped(99_812), "99\u{202f}812");
        assert_eq!(grouped(812), "812");
        assert_eq!(grouped(1_000_000), "1\u{202f}000\u{202f}000");
    }
}
