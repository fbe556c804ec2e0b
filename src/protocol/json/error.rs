//! Why a body was refused.
//!
//! Messages quote at most a short, escaped piece of the body, so that they can be shown and logged as they are.

use std::fmt;

/// Characters of one key that an error message or path shows.
const SHOWN_CHARS_MAX: usize = 64;
/// Segments of a path that an error shows; deeper ones are left out at the front.
const SHOWN_SEGMENTS_MAX: usize = 16;

/// A refused body: what, where (byte offset), and inside which value (JSON Pointer).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}{}: {kind}", At(path))]
pub struct JsonError {
    /// What is wrong.
    pub kind: JsonErrorKind,
    /// Bytes from the start of the body to the fault, or to the start of the key or number at fault.
    pub offset: usize,
    /// The value the fault stands in, as a JSON Pointer (RFC 6901) with long keys shortened; empty for the whole body.
    pub path: String,
}

impl JsonError {
    /// The stable code that answers, metrics and tests use.
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }
}

/// What is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonErrorKind {
    /// The same key twice in one object, after escapes are resolved.
    #[error("the key \"{}\" appears twice in one object; send it once", shown(.key))]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A key that another reader could take for a different one.
    #[error("the key \"{}\" {fault}", shown(.key))]
    ConfusableKey {
        /// The key.
        key: String,
        /// Why it is refused.
        fault: KeyFault,
    },
    /// Not one RFC 8259 document in UTF-8.
    #[error("{0}")]
    Syntax(SyntaxFault),
    /// More containers inside one another than allowed.
    #[error("arrays and objects are nested more than {limit} deep; flatten the value")]
    TooDeep {
        /// The limit that was met.
        limit: u8,
    },
    /// More of something than allowed.
    #[error("{quantity} exceeds the limit of {limit}")]
    TooLarge {
        /// What there is too much of.
        quantity: Quantity,
        /// The limit that was met, in the unit that `quantity` names.
        limit: usize,
    },
}

impl JsonErrorKind {
    /// The stable code that answers, metrics and tests use.
    pub fn code(&self) -> &'static str {
        match self {
            Self::DuplicateKey { .. } => "duplicate_key",
            Self::ConfusableKey { .. } => "confusable_key",
            Self::Syntax(_) => "bad_json",
            Self::TooDeep { .. } => "too_deep",
            Self::TooLarge { .. } => "too_large",
        }
    }
}

/// Why a key could be taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Equal to a sibling once case and Unicode compatibility forms are folded.
    #[error("differs from another key of its object only by case or Unicode form; send one spelling")]
    FoldsToSibling,
    /// Contains a control, format, zero-width, line-separating, private-use or unassigned character.
    #[error("contains a control or invisible character; remove it")]
    Hidden,
    /// Starts or ends with white space.
    #[error("starts or ends with white space; remove it")]
    Padded,
}

/// Where a body leaves RFC 8259, or the part of it that all readers agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxFault {
    /// Nothing but white space.
    #[error("the body is empty; send one JSON value")]
    Empty,
    /// Bytes that are not UTF-8, overlong forms and encoded surrogates included.
    #[error("the body is not valid UTF-8; encode it as UTF-8")]
    Utf8,
    /// A byte order mark.
    #[error("the body starts with a byte order mark; send UTF-8 without one")]
    ByteOrderMark,
    /// The body ends inside a value.
    #[error("the body ends too early; send the whole value")]
    End,
    /// Anything but white space after the document.
    #[error("there is more after the JSON value; send exactly one value")]
    Trailing,
    /// A character that cannot stand here.
    #[error("a JSON value was expected here")]
    Value,
    /// An object member that does not start with a string.
    #[error("a key in double quotes was expected here")]
    Key,
    /// No colon after a key.
    #[error("a colon was expected after the key")]
    Colon,
    /// Neither a comma nor the end of the container after a value.
    #[error("a comma or the end of the array or object was expected here")]
    Separator,
    /// A comma before the end of a container.
    #[error("a comma stands before the end of the array or object; remove it")]
    TrailingComma,
    /// A comment.
    #[error("JSON has no comments; remove it")]
    Comment,
    /// A number outside the JSON grammar: leading zero or plus, bare dot, no digits, NaN, Infinity.
    #[error("this is not a JSON number (no leading zero or plus, digits on both sides of a dot, no NaN or Infinity)")]
    Number,
    /// A number that a double cannot hold: it would become infinity, or zero without being zero.
    #[error("this number is outside the range of a double; send it as a string or in range")]
    NumberRange,
    /// A raw control character in a string.
    #[error("a control character stands in a string; escape it")]
    Control,
    /// An escape that JSON does not have.
    #[error("this escape is not one of JSON's")]
    Escape,
    /// Half of a surrogate pair.
    #[error("a \\u escape is one half of a surrogate pair; send both halves")]
    Surrogate,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Quantity {
    /// Bytes of the body.
    #[error("the body's length in bytes")]
    BodyBytes,
    /// Values in the body.
    #[error("the number of values in the body")]
    Nodes,
    /// Bytes of one key.
    #[error("a key's length in bytes")]
    KeyBytes,
    /// Bytes of one string.
    #[error("a string's length in bytes")]
    StringBytes,
    /// Characters of one number.
    #[error("a number's length in characters")]
    NumberChars,
    /// Characters made by folding non-ASCII keys.
    #[error("the length of the non-ASCII keys, folded, in characters")]
    FoldedChars,
}

/// What the reader raises; the path is added on the way out, where the stack is known.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: JsonErrorKind,
    pub(super) offset: usize,
}

impl Fault {
    #[cold]
    pub(super) fn syntax(fault: SyntaxFault, offset: usize) -> Self {
        Self { kind: JsonErrorKind::Syntax(fault), offset }
    }

    #[cold]
    pub(super) fn too_large(quantity: Quantity, limit: usize, offset: usize) -> Self {
        Self { kind: JsonErrorKind::TooLarge { quantity, limit }, offset }
    }

    #[cold]
    pub(super) fn confusable(key: &str, fault: KeyFault, offset: usize) -> Self {
        Self { kind: JsonErrorKind::ConfusableKey { key: key.to_owned(), fault }, offset }
    }
}

/// One step of a path.
pub(super) enum Step<'s> {
    Key(&'s str),
    Index(usize),
}

/// A JSON Pointer of the last steps, each shortened: bounded whatever the keys are.
pub(super) fn pointer(steps: &[Step<'_>]) -> String {
    use fmt::Write as _;
    let mut path = String::new();
    if steps.len() > SHOWN_SEGMENTS_MAX {
        path.push_str("/…");
    }
    for step in &steps[steps.len().saturating_sub(SHOWN_SEGMENTS_MAX)..] {
        // Writing to a String cannot fail.
        let _ = match step {
            Step::Key(key) => write!(path, "/{}", shown(&key.replace('~', "~0").replace('/', "~1"))),
            Step::Index(index) => write!(path, "/{index}"),
        };
    }
    path
}

/// A short form of untrusted text in which nothing is invisible: controls and non-ASCII as escapes.
fn shown(text: &str) -> String {
    let mut out: String = text.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_default).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}

/// ` at /path`, or nothing for the whole body.
struct At<'p>(&'p str);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " at {}", self.0) }
    }
}
