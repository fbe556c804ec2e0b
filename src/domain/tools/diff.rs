//! What is different between two definitions, for people: one entry for each value that was added, removed or replaced, by its JSON
//! pointer (RFC 6901), texts in full.
//!
//! The whole is bounded, and what does not fit is counted, never left out in silence.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::value::Value;

/// How many entries one diff shows.
pub const CHANGES_MAX: usize = 200;
/// How many characters of values all entries of one diff show together.
pub const SHOWN_CHARACTERS_MAX: usize = 48_000;
/// How deep two values are compared; deeper, a whole value stands in one entry.
const DEPTH_MAX: usize = 64;

/// What is different.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Diff {
    /// By pointer: the members of the definition before what lies in them.
    pub changes: Vec<Change>,
    /// How many more entries there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_changes: usize,
}

/// One value that is different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Change {
    /// Where, from the definition on: `/description`, `/inputSchema/properties/to`.
    pub path: String,
    /// What stood there; nothing when it was added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<ShownValue>,
    /// What stands there; nothing when it was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<ShownValue>,
}

/// A value as JSON text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ShownValue {
    /// The text, or its beginning.
    pub json: String,
    /// How many characters more it has.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_characters: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Diff {
    /// Whether everything that is different is shown.
    pub fn is_whole(&self) -> bool {
        let side = |value: &Option<ShownValue>| value.as_ref().is_none_or(|value| value.more_characters == 0);
        self.more_changes == 0 && self.changes.iter().all(|change| side(&change.before) && side(&change.after))
    }

    /// One entry for two definitions of which at least one is kept in part only: it can never be whole.
    pub fn of_parts(before: Option<Part<'_>>, after: Part<'_>) -> Self {
        let shown = |part: Part<'_>| {
            let rest = usize::try_from(part.bytes).unwrap_or(usize::MAX).saturating_sub(part.text.len());
            // What is not kept is counted in bytes, at least one: its characters are not known any more.
            let more_characters = rest.max(usize::from(!part.is_whole));
            ShownValue { json: part.text.to_owned(), more_characters }
        };
        let mut change = Change { path: String::new(), before: before.map(shown), after: Some(shown(after)) };
        let mut left = SHOWN_CHARACTERS_MAX;
        change.fit(&mut left);
        Self { changes: vec![change], more_changes: 0 }
    }
}

/// The text of a definition, or the part of it that is kept.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The text.
    pub text: &'a str,
    /// How long the whole is.
    pub bytes: u64,
    /// Whether the text is the whole.
    pub is_whole: bool,
}

/// Compares two definitions; with none before, every member of the new one is an addition.
pub fn diff(before: Option<&Value<'_>>, after: &Value<'_>) -> Diff {
    let nothing = Value::Object(Vec::new());
    let mut found = Found { changes: Vec::new(), more: 0 };
    compare("", before.unwrap_or(&nothing), after, 0, &mut found);
    // The members of the definition itself first: a description must not stand behind two hundred schema entries.
    found.changes.sort_by(|left, right| {
        let deep = |change: &Change| change.path.matches('/').count() > 1;
        deep(left).cmp(&deep(right)).then_with(|| left.path.cmp(&right.path))
    });
    let mut left = SHOWN_CHARACTERS_MAX;
    let mut shown = 0;
    for change in found.changes.iter_mut().take(CHANGES_MAX) {
        if left == 0 {
            break;
        }
        change.fit(&mut left);
        shown += 1;
    }
    let more_changes = found.more + found.changes.len() - shown;
    found.changes.truncate(shown);
    Diff { changes: found.changes, more_changes }
}

struct Found {
    changes: Vec<Change>,
    /// Entries that were counted and not made.
    more: usize,
}

/// Entries that are made at all: more than are shown, so that the ones that matter can come first.
const MADE_MAX: usize = 4 * CHANGES_MAX;

impl Found {
    fn push(&mut self, path: &str, before: Option<&Value<'_>>, after: Option<&Value<'_>>) {
        // The definition's own members are always made: sorting brings them to the front.
        if self.changes.len() >= MADE_MAX && path.matches('/').count() > 1 {
            self.more += 1;
            return;
        }
        let shown = |value: &Value<'_>| {
            let mut json = String::new();
            value.write_json(&mut json);
            ShownValue { json, more_characters: 0 }
        };
        self.changes.push(Change { path: path.to_owned(), before: before.map(shown), after: after.map(shown) });
    }
}

fn compare(path: &str, before: &Value<'_>, after: &Value<'_>, depth: usize, found: &mut Found) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) if depth < DEPTH_MAX => {
            let mut members: BTreeMap<&str, (Option<&Value<'_>>, Option<&Value<'_>>)> = BTreeMap::new();
            for (key, value) in old {
                members.entry(key).or_default().0 = Some(value);
            }
            for (key, value) in new {
                members.entry(key).or_default().1 = Some(value);
            }
            for (key, (old, new)) in members {
                let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                both(&path, old, new, depth, found);
            }
        }
        (Value::Array(old), Value::Array(new)) if depth < DEPTH_MAX => {
            for index in 0..old.len().max(new.len()) {
                both(&format!("{path}/{index}"), old.get(index), new.get(index), depth, found);
            }
        }
        (old, new) if old == new => {}
        (old, new) => found.push(path, Some(old), Some(new)),
    }
}

fn both(path: &str, old: Option<&Value<'_>>, new: Option<&Value<'_>>, depth: usize, found: &mut Found) {
    match (old, new) {
        (Some(old), Some(new)) => compare(path, old, new, depth + 1, found),
        (old, new) => found.push(path, old, new),
    }
}

impl Change {
    /// Cuts the values to the characters that are left, and says how many are gone.
    fn fit(&mut self, left: &mut usize) {
        for value in [&mut self.before, &mut self.after].into_iter().flatten() {
            let count = value.json.chars().count();
            if count > *left {
                let end = value.json.char_indices().nth(*left).map_or(value.json.len(), |(at, _)| at);
                value.json.truncate(end);
                value.more_characters += count - *left;
            }
            *left = left.saturating_sub(count);
        }
    }
}
