//! From a tool name to the rules that match it by name, without trying them one by one.
//!
//! Exact names live in a hash map. Every other glob is filed under one literal that each of its matches must contain
//! (the one that fewest globs share, then the longest); all literals sit in one Aho-Corasick automaton, and only the
//! globs filed under literals found in the name are verified. Globs without a literal, and rules without a pattern on
//! the name, are tried for every call. Regular expressions run as one set.
//!
//! The candidates come out in rule order and lazily: a caller that stops at the first match pays for no later rule.
//! This module knows nothing of conditions, agents or actions.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, MatchKind};
use regex::{RegexSet, RegexSetBuilder};
use smallvec::SmallVec;

use super::glob::Glob;
use crate::domain::names::NameMap;

/// The compiled size that all `tool_regex` patterns together may have, in bytes.
pub const REGEX_SET_BYTES_MAX: usize = 64 << 20;

/// How one rule picks tools.
#[derive(Debug, Clone)]
pub enum ToolPattern {
    /// Any tool.
    Any,
    /// Any of these globs.
    Globs(Vec<Glob>),
    /// A regular expression on the whole name, already wrapped in anchors.
    Regex(String),
}

/// The index over the tool patterns of a list of rules.
#[derive(Debug, Clone, Default)]
pub struct NameIndex {
    exact: NameMap<Vec<Entry>>,
    /// One pattern for each element of `filed`.
    automaton: Option<AhoCorasick>,
    filed: Vec<Vec<Entry>>,
    always: Vec<Entry>,
    globs: Vec<Glob>,
    regexes: Option<RegexSet>,
    /// The rule of each pattern in `regexes`.
    regex_rules: Vec<u32>,
}

/// A rule, and the glob that must still be verified before the rule counts as matching.
#[derive(Debug, Clone, Copy)]
struct Entry {
    rule: u32,
    /// An index into `globs`, or [`VERIFIED`].
    glob: u32,
}

/// In [`Entry::glob`]: nothing is left to verify.
const VERIFIED: u32 = u32::MAX;

impl NameIndex {
    /// Builds the index over the patterns of the rules 0, 1, 2 …
    ///
    /// # Errors
    /// When the regular expressions together are larger than [`REGEX_SET_BYTES_MAX`], or one does not parse, or the
    /// automaton does not fit: the text says which.
    pub fn build<'r>(patterns: impl IntoIterator<Item = &'r ToolPattern>) -> Result<Self, String> {
        let mut index = Self::default();
        let mut unfiled: Vec<(u32, &'r Glob)> = Vec::new();
        let mut regexes: Vec<&'r str> = Vec::new();
        for (rule, pattern) in patterns.into_iter().enumerate() {
            let rule = u32::try_from(rule).map_err(|_| "more rules than can be indexed".to_owned())?;
            match pattern {
                ToolPattern::Any => index.always.push(Entry { rule, glob: VERIFIED }),
                ToolPattern::Regex(source) => {
                    regexes.push(source);
                    index.regex_rules.push(rule);
                }
                ToolPattern::Globs(globs) => {
                    for glob in globs {
                        match glob.exact() {
                            Some(name) => {
                                index.exact.entry(name.into()).or_default().push(Entry { rule, glob: VERIFIED });
                            }
                            None if glob.matches_everything() => index.always.push(Entry { rule, glob: VERIFIED }),
                            None => unfiled.push((rule, glob)),
                        }
                    }
                }
            }
        }
        index.file(&unfiled)?;
        if !regexes.is_empty() {
            let set = RegexSetBuilder::new(&regexes).size_limit(REGEX_SET_BYTES_MAX).build();
            index.regexes = Some(set.map_err(|error| format!("the `tool_regex` patterns together: {error}"))?);
        }
        Ok(index)
    }

    /// Files every glob under its rarest literal.
    fn file(&mut self, unfiled: &[(u32, &Glob)]) -> Result<(), String> {
        let mut shared_by: HashMap<&str, usize> = HashMap::new();
        for (_, glob) in unfiled {
            for literal in glob.literals() {
                *shared_by.entry(literal).or_default() += 1;
            }
        }
        let mut group_of: HashMap<&str, usize> = HashMap::new();
        let mut literals: Vec<&str> = Vec::new();
        for (rule, glob) in unfiled {
            let position = u32::try_from(self.globs.len()).map_err(|_| "more globs than can be indexed".to_owned())?;
            let entry = Entry { rule: *rule, glob: position };
            self.globs.push((*glob).clone());
            let rarest = glob
                .literals()
                .min_by_key(|literal| (shared_by.get(literal).copied().unwrap_or(0), std::cmp::Reverse(literal.len())));
            match rarest {
                None => self.always.push(entry),
                Some(literal) => {
                    let group = *group_of.entry(literal).or_insert_with(|| {
                        literals.push(literal);
                        self.filed.push(Vec::new());
                        literals.len() - 1
                    });
                    self.filed[group].push(entry);
                }
            }
        }
        // Pushed in two passes: the patterns for everything first, then those without a literal.
        self.always.sort_by_key(|entry| entry.rule);
        if !literals.is_empty() {
            let automaton = AhoCorasick::builder().match_kind(MatchKind::Standard).build(&literals);
            self.automaton = Some(automaton.map_err(|error| format!("the globs together: {error}"))?);
        }
        Ok(())
    }

    /// The rules whose tool pattern matches `name`, in ascending order, each once.
    pub fn candidates<'i>(&'i self, name: &'i str) -> Candidates<'i> {
        let mut lists: SmallVec<[&'i [Entry]; 8]> = SmallVec::new();
        if !self.always.is_empty() {
            lists.push(&self.always);
        }
        if let Some(entries) = self.exact.get(name) {
            lists.push(entries);
        }
        if let Some(automaton) = &self.automaton {
            let mut seen: SmallVec<[usize; 8]> = SmallVec::new();
            for found in automaton.find_overlapping_iter(name) {
                let group = found.pattern().as_usize();
                if !seen.contains(&group) {
                    seen.push(group);
                    lists.push(&self.filed[group]);
                }
            }
        }
        let by_regex = match &self.regexes {
            Some(set) => set.matches(name).iter().map(|pattern| self.regex_rules[pattern]).collect(),
            None => SmallVec::new(),
        };
        Candidates { index: self, name, lists, by_regex, regex_at: 0, last: None }
    }
}

/// The rules that match a name, see [`NameIndex::candidates`].
#[derive(Debug)]
pub struct Candidates<'i> {
    index: &'i NameIndex,
    name: &'i str,
    /// Sorted by rule, each consumed from its front.
    lists: SmallVec<[&'i [Entry]; 8]>,
    by_regex: SmallVec<[u32; 4]>,
    regex_at: usize,
    last: Option<u32>,
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        loop {
            let mut best: Option<(usize, Entry)> = None;
            for (position, list) in self.lists.iter().enumerate() {
                if let Some(entry) = list.first()
                    && best.is_none_or(|(_, smallest)| entry.rule < smallest.rule)
                {
                    best = Some((position, *entry));
                }
            }
            let regex = self.by_regex.get(self.regex_at).copied();
            let entry = match (best, regex) {
                (None, None) => return None,
                (Some((_, entry)), Some(rule)) if rule < entry.rule => {
                    self.regex_at += 1;
                    Entry { rule, glob: VERIFIED }
                }
                (None, Some(rule)) => {
                    self.regex_at += 1;
                    Entry { rule, glob: VERIFIED }
                }
                (Some((position, entry)), _) => {
                    self.lists[position] = &self.lists[position][1..];
                    entry
                }
            };
            if self.last == Some(entry.rule) {
                continue;
            }
            if entry.glob == VERIFIED || self.index.globs[entry.glob as usize].matches(self.name) {
                self.last = Some(entry.rule);
                return Some(entry.rule as usize);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex::Regex;

    fn naive(patterns: &[ToolPattern], name: &str) -> Vec<usize> {
        let matches = |pattern: &ToolPattern| match pattern {
            ToolPattern::Any => true,
            ToolPattern::Globs(globs) => globs.iter().any(|glob| glob.matches(name)),
            ToolPattern::Regex(source) => Regex::new(source).expect("a generated pattern").is_match(name),
        };
        (0..patterns.len()).filter(|rule| matches(&patterns[*rule])).collect()
    }

    fn pattern() -> impl Strategy<Value = ToolPattern> {
        let globs = || prop::collection::vec("[ab.*?]{0,6}".prop_map(|glob| Glob::new(&glob)), 1..4);
        prop_oneof![
            8 => globs().prop_map(ToolPattern::Globs),
            1 => Just(ToolPattern::Any),
            1 => "[ab]{1,3}".prop_map(|text| ToolPattern::Regex(format!(r"\A(?:{text}.*)\z"))),
        ]
    }

    #[test]
    fn the_empty_name_matches_a_star_and_an_empty_glob_only() {
        let patterns: Vec<_> = ["*", "", "?", "a*"].map(|glob| ToolPattern::Globs(vec![Glob::new(glob)])).into();
        let index = NameIndex::build(&patterns).expect("small patterns");
        assert_eq!(index.candidates("").collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_literal_found_many_times_names_its_rule_once() {
        let patterns = [ToolPattern::Globs(vec![Glob::new("*a*"), Glob::new("aaaa"), Glob::new("*")])];
        let index = NameIndex::build(&patterns).expect("small patterns");
        assert_eq!(index.candidates("aaaa").collect::<Vec<_>>(), [0]);
    }

    proptest! {
        #[test]
        fn the_index_agrees_with_trying_every_glob(patterns in prop::collection::vec(pattern(), 0..24), name in "[ab.]{0,8}") {
            let index = NameIndex::build(&patterns).expect("small patterns");
            prop_assert_eq!(index.candidates(&name).collect::<Vec<_>>(), naive(&patterns, &name));
        }
    }
}
