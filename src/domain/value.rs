//! A JSON value as it was written: members in order, numbers by their digits.
//!
//! `serde_json::Value` keeps the last of two equal keys and rounds numbers, so policy never judges one. This tree is
//! built only by the strict reader (`protocol::json`), which has already refused whatever two parsers could read
//! differently. It borrows from the body where it can.

use std::borrow::Cow;

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
}

impl<'a> Value<'a> {
    /// The member of an object by its exact key; `None` for other kinds of value and for absent members.
    pub fn member(&self, key: &str) -> Option<&Value<'a>> {
        match self {
            Value::Object(members) => members.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
        }
    }
}
