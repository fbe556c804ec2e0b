//! How lenient readers see a member's name: each lens is something that a JSON library, a database driver or a
//! hand-written server does to names before it compares them. The lists are written down here anew, from the Unicode
//! standard's names for the operations, and share nothing with the product's own folding.

use std::collections::HashSet;

use unicode_normalization::UnicodeNormalization as _;

use super::tree::Tree;

/// A lens: a name as some reader sees it.
type Lens = (&'static str, fn(&str) -> String);

/// Every lens.
pub(crate) const LENSES: [Lens; 13] = [
    ("as it is", str::to_owned),
    ("ASCII lower case", str::to_ascii_lowercase),
    ("ASCII upper case", str::to_ascii_uppercase),
    ("lower case", str::to_lowercase),
    ("upper case", str::to_uppercase),
    ("lower case of upper case", |key| key.to_uppercase().to_lowercase()),
    ("NFC", |key| key.nfc().collect()),
    ("NFKC", |key| key.nfkc().collect()),
    ("NFKC, lower case", |key| key.nfkc().collect::<String>().to_lowercase().nfkc().collect()),
    ("NFKC, upper case", |key| key.nfkc().collect::<String>().to_uppercase().nfkc().collect()),
    ("NFKD, case folded", |key| {
        let folded = key.nfkd().collect::<String>().to_uppercase().to_lowercase();
        folded.nfkd().collect::<String>().to_uppercase().nfkd().collect()
    }),
    ("trimmed", |key| key.trim().to_owned()),
    ("up to NUL, without what is not seen", |key| {
        key.split('\0').next().unwrap_or_default().chars().filter(|character| !is_unseen(*character)).collect()
    }),
];

/// Characters that nobody sees: controls, and what Unicode calls format characters, fillers, and selectors.
pub(crate) fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
            | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// What readers could disagree about in one object's keys: two that are one through some lens, or one with a character
/// that is not seen or with space around it.
pub(crate) fn fault_of_keys(members: &[(String, Tree)]) -> Option<String> {
    for (lens, see) in LENSES {
        let mut seen = HashSet::new();
        if let Some((key, _)) = members.iter().find(|(key, _)| !seen.insert(see(key))) {
            return Some(format!("two keys are {key:?}: {lens}"));
        }
    }
    // Variation selectors stand in emoji; two keys that differ by one are found above.
    let unseen = |character: char| is_unseen(character) && !matches!(character, '\u{FE00}'..='\u{FE0F}');
    let suspect = |key: &str| key.trim() != key || key.contains(unseen);
    members.iter().find(|(key, _)| suspect(key)).map(|(key, _)| format!("a key like no other: {key:?}"))
}

/// What any reader could take for the member `name`.
pub(crate) fn taken_for<'t>(object: &'t Tree, name: &str) -> Vec<&'t Tree> {
    let alike = |key: &str| LENSES.iter().any(|(_, see)| see(key) == see(name) || see(key) == name);
    object.members().iter().filter(|(key, _)| alike(key)).map(|(_, value)| value).collect()
}

/// Whether some reader could take this text for the method `tools/call`: letters alone count, whatever their form.
pub(crate) fn is_like_a_call(method: &str) -> bool {
    let folded = method.nfkc().collect::<String>().to_uppercase().to_lowercase();
    folded.chars().filter(char::is_ascii_alphanumeric).collect::<String>() == "toolscall"
}
