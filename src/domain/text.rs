//! Characters that mislead whoever reads them.

use std::fmt::Write as _;

/// Whether a character must not reach a reader as itself: control, format (bidi, zero-width, joiners, tags), private use,
/// line and paragraph separators, unusual spaces, fillers that render as nothing, variation selectors.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00a0}' | '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{1680}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}'
            | '\u{2800}' | '\u{3000}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{e0fff}'
            | '\u{f0000}'..='\u{10ffff}')
}

/// The same JSON, with every character that a terminal would act on, or that nobody sees, as an escape.
pub fn inert_json(json: String) -> String {
    // What stands below these outside of a string is white space, and JSON has it as an escape inside of one.
    let is_active = |c: char| c >= '\u{7f}' && is_hidden(c);
    if !json.contains(is_active) {
        return json;
    }
    let mut text = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_active(c) {
            // Inside a string, or it would not be JSON.
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing into a `String` cannot fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inert_json_is_the_same_value_without_hidden_characters() {
        let json = "{\"a\": \"\u{202e}\u{7f}\u{9b}\u{200b}\\\\é🙂\u{e0041}\",\n\t\"\u{feff}\": \"\\u001b\"}";
        let inert = inert_json(json.to_owned());
        assert_eq!(
            inert,
            "{\"a\": \"\\u202e\\u007f\\u009b\\u200b\\\\é🙂\\udb40\\udc41\",\n\t\"\\ufeff\": \"\\u001b\"}"
        );
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(read(&inert), read(json));
        assert_eq!(inert_json(inert.clone()), inert);
    }
}
