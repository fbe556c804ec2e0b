//! The `Prefer` header (RFC 7240), as far as the gateway honours it. Preferences it does not know, or cannot read, are
//! ignored: that is what a preference is.

use http::{HeaderMap, HeaderName};
use std::time::Duration;

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// How a caller would like to be answered while a call is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prefer {
    /// `respond-async`: at once, with a place to ask.
    pub respond_async: bool,
    /// `wait=N`: within N seconds. At most 2^32 seconds, for the holder to cap; the first readable one counts.
    pub wait: Option<Duration>,
}

impl Prefer {
    /// Reads every `Prefer` header.
    pub fn read(headers: &HeaderMap) -> Self {
        let mut prefer = Self::default();
        for value in headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok()) {
            for preference in split_unquoted(value, ',') {
                let bare = split_unquoted(preference, ';').next().unwrap_or_default();
                let (name, value) = bare.split_once('=').unwrap_or((bare, ""));
                prefer.note(name.trim(), value.trim());
            }
        }
        prefer
    }

    fn note(&mut self, name: &str, value: &str) {
        let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
        if name.eq_ignore_ascii_case("respond-async") && value.is_empty() {
            self.respond_async = true;
        } else if name.eq_ignore_ascii_case("wait") && value.bytes().all(|byte| byte.is_ascii_digit()) {
            // 32 bits: a deadline made of it is a valid time, and a longer wait is none that anyone means.
            self.wait =
                self.wait.or_else(|| value.parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into())));
        }
    }
}

/// Splits at `separator` outside quoted strings.
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |character: char| {
        let literal = std::mem::take(&mut escaped);
        match character {
            '\\' if quoted && !literal => escaped = true,
            '"' if !literal => quoted = !quoted,
            _ => {}
        }
        character == separator && !quoted
    })
}
