//! Keys: which ones are refused, and which ones another reader could take for one another.
//!
//! Readers that match member names without case, or after Unicode normalisation, exist (Go's `encoding/json` into
//! structs, most database drivers, many hand-written ones). So two keys count as the same name when they are equal
//! after [`folded`]: compatibility decomposition (NFKD) and full case mapping, with variation selectors dropped. Folding
//! is one step coarser than Unicode's default caseless match (dotless `ı` folds to `i`): two names too many refused
//! is a message, one too few is a bypass. Look-alikes from other scripts (Cyrillic `а`) are different names to every
//! reader, and stay different here.

use super::Limits;
use super::error::{Fault, JsonErrorKind, KeyFault, Quantity};
use crate::domain::value::Value;
use regex::Regex;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;
use unicode_normalization::UnicodeNormalization as _;

/// Objects up to this many members, all keys ASCII, are searched in a line: it beats hashing there.
const LINEAR_MEMBERS_MAX: usize = 16;

/// Characters that a person cannot see or that a reader may drop. Variation selectors are not among them (emoji keys
/// carry one); folding drops those instead.
static HIDDEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]--[\u{FE00}-\u{FE0F}]]")
        .expect("the pattern is constant and a test compiles it")
});

/// `key` in the form in which names are compared: equal for two keys exactly when some common reader may take one for
/// the other. Borrowed when `key` is lower-case ASCII already.
pub fn folded(key: &str) -> Cow<'_, str> {
    if !key.is_ascii() {
        return Cow::Owned(fold_characters(key).collect());
    }
    if key.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(key.to_ascii_lowercase());
    }
    Cow::Borrowed(key)
}

/// Lower, upper, lower: the capital sharp s needs the first step, the long s and final sigma the second.
fn fold_characters(key: &str) -> impl Iterator<Item = char> + '_ {
    key.nfkd()
        .flat_map(char::to_lowercase)
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfkd()
        .filter(|character| !matches!(character, '\u{FE00}'..='\u{FE0F}'))
}

/// Whether `key` is a case or Unicode variant of the name `reserved`: equal under [`folded`], but not the same.
pub fn confusable_with(key: &str, reserved: &str) -> bool {
    if key == reserved {
        return false;
    }
    if key.is_ascii() && reserved.is_ascii() {
        return key.eq_ignore_ascii_case(reserved);
    }
    folded(key) == folded(reserved)
}

/// The names seen so far in one object.
///
/// Small objects with ASCII keys compare with each earlier key; anything else keeps a table of folded names. The table
/// hashes with the standard library's keyed SipHash, because the keys come from a caller.
#[derive(Default)]
pub(super) struct Names {
    /// Folded name → position among the members. Filled from the members when it first becomes necessary.
    table: Option<HashMap<Box<str>, usize>>,
}

impl Names {
    /// Checks `key`, which starts at `offset`, by itself and against the members before it, and notes it as the next
    /// member. `budget` is how many more characters folding may produce in this body.
    pub(super) fn admit(
        &mut self,
        key: &str,
        offset: usize,
        members: &[(Cow<'_, str>, Value<'_>)],
        budget: &mut usize,
        limits: &Limits,
    ) -> Result<(), Fault> {
        if key.len() > limits.key_bytes {
            return Err(Fault::too_large(Quantity::KeyBytes, limits.key_bytes, offset));
        }
        let ascii = key.is_ascii();
        check_alone(key, ascii).map_err(|fault| Fault::confusable(key, fault, offset))?;
        let earlier = if ascii && self.table.is_none() && members.len() < LINEAR_MEMBERS_MAX {
            members.iter().position(|(other, _)| other.eq_ignore_ascii_case(key))
        } else {
            let folded = fold_within(key, ascii, budget)
                .ok_or_else(|| Fault::too_large(Quantity::FoldedChars, limits.folded_chars, offset))?;
            let table = self.table.get_or_insert_with(|| {
                // Whatever was admitted without a table is ASCII.
                let known = members.iter().enumerate();
                known.map(|(at, (key, _))| (key.to_ascii_lowercase().into(), at)).collect()
            });
            table.insert(folded, members.len())
        };
        match earlier {
            None => Ok(()),
            Some(at) if members[at].0 == key => {
                Err(Fault { kind: JsonErrorKind::DuplicateKey { key: key.to_owned() }, offset })
            }
            Some(_) => Err(Fault::confusable(key, KeyFault::FoldsToSibling, offset)),
        }
    }
}

/// The folded form, or `None` when that takes more characters than the body has left.
fn fold_within(key: &str, ascii: bool, budget: &mut usize) -> Option<Box<str>> {
    if ascii {
        return Some(key.to_ascii_lowercase().into());
    }
    let mut folded = String::with_capacity(key.len());
    for character in fold_characters(key) {
        *budget = budget.checked_sub(1)?;
        folded.push(character);
    }
    Some(folded.into())
}

/// What makes a key suspect whatever its siblings are.
fn check_alone(key: &str, ascii: bool) -> Result<(), KeyFault> {
    let hidden = if ascii { key.bytes().any(|byte| byte.is_ascii_control()) } else { HIDDEN.is_match(key) };
    if hidden {
        return Err(KeyFault::Hidden);
    }
    let ends = [key.chars().next(), key.chars().next_back()];
    if ends.into_iter().flatten().any(char::is_whitespace) {
        return Err(KeyFault::Padded);
    }
    Ok(())
}
