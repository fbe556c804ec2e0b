//! A JSON document as another library reads it, with nothing lost: repeated members stay, numbers keep their digits.
//!
//! It is what the strict reader is compared with. `serde_json` finds where each value begins and ends and decodes the
//! strings; it neither merges members nor converts numbers here.

use std::fmt;

use holdpoint::domain::value::{Value, write_json_string};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    Null,
    Bool(bool),
    /// The digits as written.
    Number(String),
    Text(String),
    Array(Vec<Tree>),
    /// Every member, in order.
    Object(Vec<(String, Tree)>),
}

/// The members of one object, none merged.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

impl Tree {
    /// Reads a document.
    pub(crate) fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        Self::of(serde_json::from_slice(body)?)
    }

    fn of(raw: &RawValue) -> Result<Self, serde_json::Error> {
        let text = raw.get();
        Ok(match text.as_bytes()[0] {
            b'n' => Self::Null,
            b't' => Self::Bool(true),
            b'f' => Self::Bool(false),
            b'"' => Self::Text(serde_json::from_str(text)?),
            b'[' => {
                let elements: Vec<&RawValue> = serde_json::from_str(text)?;
                Self::Array(elements.into_iter().map(Self::of).collect::<Result<_, _>>()?)
            }
            b'{' => {
                let Members(members) = serde_json::from_str(text)?;
                let read = |(key, raw): (String, &RawValue)| Ok((key, Self::of(raw)?));
                Self::Object(members.into_iter().map(read).collect::<Result<_, serde_json::Error>>()?)
            }
            _ => Self::Number(text.to_owned()),
        })
    }

    /// The members of an object; none of anything else.
    pub(crate) fn members(&self) -> &[(String, Tree)] {
        match self {
            Self::Object(members) => members,
            _ => &[],
        }
    }

    /// The first member with exactly this key.
    pub(crate) fn member(&self, key: &str) -> Option<&Tree> {
        self.members().iter().find(|(other, _)| other == key).map(|(_, value)| value)
    }

    /// This value and every one inside it, each with how many containers it stands in.
    pub(crate) fn walk<'t>(&'t self, depth: usize, visit: &mut impl FnMut(&'t Tree, usize)) {
        visit(self, depth);
        match self {
            Self::Array(elements) => elements.iter().for_each(|element| element.walk(depth + 1, visit)),
            Self::Object(members) => members.iter().for_each(|(_, value)| value.walk(depth + 1, visit)),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => {}
        }
    }

    /// Writes the document with the spelling that `spell` chooses: see [`Spelling`].
    pub(crate) fn write(&self, spelling: &mut Spelling, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(digits) => out.push_str(digits),
            Self::Text(text) => spelling.string(text, out),
            Self::Array(elements) => {
                out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    spelling.space(out);
                    element.write(spelling, out);
                    spelling.space(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    spelling.space(out);
                    spelling.string(key, out);
                    spelling.space(out);
                    out.push(':');
                    value.write(spelling, out);
                    spelling.space(out);
                }
                out.push('}');
            }
        }
    }
}

/// How a document is spelt: where white space stands and which characters are escapes. Both mean the same to every reader.
#[derive(Debug)]
pub(crate) struct Spelling(pub(crate) u64);

impl Spelling {
    /// The next of a row of numbers that look random.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn space(&mut self, out: &mut String) {
        out.push_str(["", "", "", " ", "\n", "\t\r"][self.next() as usize % 6]);
    }

    fn string(&mut self, text: &str, out: &mut String) {
        if !self.next().is_multiple_of(4) {
            return write_json_string(text, out);
        }
        out.push('"');
        for character in text.chars() {
            if character < ' ' || matches!(character, '"' | '\\') || self.next().is_multiple_of(3) {
                character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            } else {
                out.push(character);
            }
        }
        out.push('"');
    }
}

/// Where two readings of one document differ; `None` when they are the same: structure, order, strings, digits.
pub(crate) fn difference(ours: &Value<'_>, theirs: &Tree) -> Option<String> {
    let same = match (ours, theirs) {
        (Value::Null, Tree::Null) => true,
        (Value::Bool(ours), Tree::Bool(theirs)) => ours == theirs,
        (Value::Number(ours), Tree::Number(theirs)) => ours.as_str() == theirs,
        (Value::String(ours), Tree::Text(theirs)) => ours == theirs,
        (Value::Array(ours), Tree::Array(theirs)) if ours.len() == theirs.len() => {
            return ours.iter().zip(theirs).find_map(|(ours, theirs)| difference(ours, theirs));
        }
        (Value::Object(ours), Tree::Object(theirs)) if ours.len() == theirs.len() => {
            return ours.iter().zip(theirs).find_map(|((key, ours), (name, theirs))| {
                if key == name { difference(ours, theirs) } else { Some(format!("the key {key:?} is {name:?}")) }
            });
        }
        _ => false,
    };
    (!same).then(|| format!("{ours:?} is {theirs:?}"))
}
