//! One definition: its canonical form, its digest, and as much of its text as is kept.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

use crate::domain::call::{from_hex, to_hex};
use crate::domain::value::{Value, write_json_string};

/// The largest definition kept whole, in bytes of its canonical form.
pub const DEFINITION_BYTES_MAX: usize = 64 * 1024;
/// How much is kept of a larger one, in bytes; a character is never cut in two.
pub const PREVIEW_BYTES: usize = 4 * 1024;
/// Members of a definition that are left out: `_meta` is between the two programs and may differ in each answer, `icons` are pictures
/// for people. Neither is told to a model. Only the definition's own members are meant: a schema may have properties of these names.
pub const LEFT_OUT: [&str; 2] = ["_meta", "icons"];

/// SHA-256 over the canonical form of a whole definition.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DefinitionDigest(pub [u8; 32]);

/// A definition as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Over the whole canonical form, also where only its beginning is kept.
    pub digest: DefinitionDigest,
    /// The canonical form as JSON text, or its first [`PREVIEW_BYTES`] where it is larger than [`DEFINITION_BYTES_MAX`].
    pub text: String,
    /// How many bytes the canonical form has.
    pub bytes: u64,
}

/// One entry of an upstream's list of tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedTool {
    /// The tool's name; the caller has checked that it is one.
    pub name: String,
    /// The definition.
    pub definition: Definition,
}

impl ListedTool {
    /// Takes an entry of `tools/list` as it was read: every member counts, also ones that no revision of MCP knows, but for
    /// [`LEFT_OUT`]. The order of keys does not count, the order of arrays does, numbers are what was written.
    pub fn new(name: &str, entry: &Value<'_>) -> Self {
        let mut text = String::new();
        canonical(entry, &LEFT_OUT, &mut text);
        Self { name: name.to_owned(), definition: Definition::new(text) }
    }
}

impl Definition {
    fn new(mut text: String) -> Self {
        let digest = DefinitionDigest(Sha256::digest(text.as_bytes()).into());
        let bytes = text.len();
        if bytes > DEFINITION_BYTES_MAX {
            text.truncate(text.floor_char_boundary(PREVIEW_BYTES));
            text.shrink_to_fit();
        }
        Self { digest, text, bytes: bytes as u64 }
    }

    /// Whether all of it is kept.
    pub fn is_whole(&self) -> bool {
        self.text.len() as u64 == self.bytes
    }
}

/// Keys in byte order, no white space, strings escaped in one way.
fn canonical(value: &Value<'_>, left_out: &[&str], out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().filter(|(key, _)| !left_out.contains(&&**key)).collect();
            members.sort_by(|(left, _), (right, _)| left.as_bytes().cmp(right.as_bytes()));
            out.push('{');
            for (index, (key, member)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json_string(key, out);
                out.push(':');
                canonical(member, &[], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                canonical(item, &[], out);
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.write_json(out),
    }
}

impl fmt::Display for DefinitionDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for DefinitionDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for DefinitionDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DefinitionDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_hex(&std::borrow::Cow::<'_, str>::deserialize(deserializer)?).map(Self).map_err(de::Error::custom)
    }
}
