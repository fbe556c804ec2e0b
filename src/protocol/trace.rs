//! W3C Trace Context: reading `traceparent` and making the one that goes upstream.
//!
//! It deliberately ignores `tracestate`, which passes through as it is. A header that does not read is no trace: the
//! specification has the receiver start a new one, and never refuses a request over it.

use std::fmt;

/// The part of a `traceparent` value that every version shares: `00-<trace>-<span>-<flags>`.
const LENGTH: usize = 55;
const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// The only flag with a meaning: the caller records this trace.
const SAMPLED: u8 = 1;

/// A place in a trace. Neither id is ever all zero. `Display` writes a version 00 header value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
}

impl TraceParent {
    /// The start of a trace of our own, not sampled. An id of all zeros is invalid on the wire, so its last byte becomes
    /// one.
    pub fn root(trace_id: [u8; 16], span_id: [u8; 8]) -> Self {
        Self { trace_id: not_zero(trace_id), span_id: not_zero(span_id), flags: 0 }
    }

    /// Reads a header value. `None` for anything the specification calls invalid: wrong length or separators,
    /// upper-case digits, an id of zeros, version `ff`, or text after the flags in version `00`.
    ///
    /// A later version may append fields after a dash; they are dropped, as the specification asks.
    pub fn parse(value: &str) -> Option<Self> {
        let bytes = value.as_bytes();
        let fields = bytes.get(..LENGTH)?;
        if [2, 35, 52].iter().any(|at| fields[*at] != b'-') {
            return None;
        }
        let [version] = hex(&fields[..2])?;
        match (version, bytes.get(LENGTH)) {
            (0xFF, _) | (0, Some(_)) => return None,
            (_, None | Some(b'-')) => {}
            (_, Some(_)) => return None,
        }
        let (trace_id, span_id) = (hex(&fields[3..35])?, hex(&fields[36..52])?);
        let [flags] = hex(&fields[53..])?;
        if trace_id == [0; 16] || span_id == [0; 8] {
            return None;
        }
        Some(Self { trace_id, span_id, flags: flags & SAMPLED })
    }

    /// The trace id in its canonical form: 32 lower-case hexadecimal digits.
    pub fn trace_id(&self) -> String {
        let mut text = [0; 32];
        write_hex(&mut text, &self.trace_id);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Whether the caller records this trace.
    pub fn sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The same trace with a span of ours as the parent: what goes upstream. `span_id` is 8 random bytes; all zeros are
    /// invalid on the wire, so then the last byte becomes one.
    pub fn child(&self, span_id: [u8; 8]) -> Self {
        Self { span_id: not_zero(span_id), ..*self }
    }
}

impl TraceParent {
    /// The version 00 header value.
    pub fn to_bytes(&self) -> [u8; LENGTH] {
        let mut text = *b"00-________________________________-________________-__";
        write_hex(&mut text[3..35], &self.trace_id);
        write_hex(&mut text[36..52], &self.span_id);
        write_hex(&mut text[53..], &[self.flags]);
        text
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

fn not_zero<const N: usize>(mut id: [u8; N]) -> [u8; N] {
    if id == [0; N] {
        id[N - 1] = 1;
    }
    id
}

/// `2 * N` lower-case hexadecimal digits as `N` bytes.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

/// Two lower-case hexadecimal digits for each byte.
fn write_hex(text: &mut [u8], bytes: &[u8]) {
    for (digits, byte) in text.chunks_exact_mut(2).zip(bytes) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 0xF)];
    }
}

#[cfg(test)]
mod tests {
    use super::TraceParent;

    const VALUE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_valid_header_keeps_its_trace_through_a_child() {
        let parent = TraceParent::parse(VALUE).expect("valid");
        assert_eq!(parent.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert!(parent.sampled());
        assert_eq!(parent.to_string(), VALUE);
        let child = parent.child([0xAB; 8]);
        assert_eq!(child.to_string(), "00-0af7651916cd43dd8448eb211c80319c-abababababababab-01");
        assert_eq!(TraceParent::parse(&parent.child([0; 8]).to_string()), Some(parent.child([0, 0, 0, 0, 0, 0, 0, 1])));
    }

    #[test]
    fn a_later_version_is_read_by_its_common_part() {
        let later = format!("cc{}-what-the-future-will-be-like", &VALUE[2..]);
        assert_eq!(TraceParent::parse(&later), TraceParent::parse(VALUE));
        let unknown_flags = format!("{}ff", &VALUE[..53]);
        assert_eq!(TraceParent::parse(&unknown_flags).map(|parent| parent.to_string()).as_deref(), Some(VALUE));
    }

    #[test]
    fn invalid_headers_are_no_trace() {
        let zero_trace = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
        let zero_span = format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", "0".repeat(16));
        for value in [
            "",
            "00",
            &VALUE[..54],
            &format!("{VALUE}-"),
            &format!("cc{}x", &VALUE[2..]),
            &format!("ff{}", &VALUE[2..]),
            &VALUE.to_uppercase(),
            &VALUE.replace('-', "_"),
            &VALUE.replace('7', "g"),
            &VALUE.replace("0af7", "é7"),
            &zero_trace,
            &zero_span,
        ] {
            assert_eq!(TraceParent::parse(value), None, "{value:?}");
        }
    }

    #[test]
    fn a_new_trace_reads_back() {
        let root = TraceParent::root([0; 16], [0; 8]);
        assert_eq!(TraceParent::parse(&root.to_string()), Some(root));
        assert!(!root.sampled());
    }
}
