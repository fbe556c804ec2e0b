//! Globs on names: `*` is any run of characters, `?` exactly one, everything else is itself.
//!
//! Anchored at both ends, case-sensitive, with no other metacharacter and no escape, so that `[`, `{` and `\` in a name
//! mean themselves. Matching takes one pass over the subject per segment and never backtracks beyond a segment.

/// A compiled glob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    source: Box<str>,
    /// The text between the stars. One segment means no star at all.
    segments: Box<[Segment]>,
}

/// A stretch of a glob without `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    text: Box<str>,
    has_wildcard: bool,
}

impl Glob {
    /// Compiles a glob; every text is one.
    pub fn new(source: &str) -> Self {
        let segments =
            source.split('*').map(|text| Segment { text: text.into(), has_wildcard: text.contains('?') }).collect();
        Self { source: source.into(), segments }
    }

    /// The glob as written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The only name that matches, when the glob has no wildcard.
    pub fn exact(&self) -> Option<&str> {
        match &*self.segments {
            [only] if !only.has_wildcard => Some(&only.text),
            _ => None,
        }
    }

    /// Whether every subject matches (`*`, `**`, …).
    pub fn matches_everything(&self) -> bool {
        self.segments.len() > 1 && self.segments.iter().all(|segment| segment.text.is_empty())
    }

    /// Whether the whole of `subject` matches.
    pub fn matches(&self, subject: &str) -> bool {
        let Some((first, rest)) = self.segments.split_first() else { return false };
        let Some(mut at) = first.match_at(subject, 0) else { return false };
        let Some((last, middle)) = rest.split_last() else { return at == subject.len() };
        for segment in middle {
            match segment.find(subject, at) {
                Some(end) => at = end,
                None => return false,
            }
        }
        last.start_of_suffix(subject).is_some_and(|start| start >= at)
    }

    /// The pieces without wildcards that every match must contain, the longest stretches between `*` and `?`.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().flat_map(|segment| segment.text.split('?')).filter(|piece| !piece.is_empty())
    }

    /// Whether everything that `other` matches is matched here too. `true` is certain; `false` may be a pair whose
    /// cover can only be seen by reasoning that this check does not do.
    pub fn covers(&self, other: &Glob) -> bool {
        let (wide, narrow): (Vec<char>, Vec<char>) = (self.source.chars().collect(), other.source.chars().collect());
        // The usual glob loop, with the other glob as its subject: its `*` can be consumed by a `*` alone, its `?` by
        // a `*` or a `?`.
        let (mut w, mut n) = (0, 0);
        let mut last_star: Option<(usize, usize)> = None;
        while n < narrow.len() {
            match wide.get(w) {
                Some('*') => {
                    last_star = Some((w, n));
                    w += 1;
                }
                Some('?') if narrow[n] != '*' => (w, n) = (w + 1, n + 1),
                Some(symbol) if *symbol != '?' && *symbol == narrow[n] => (w, n) = (w + 1, n + 1),
                _ => match last_star {
                    Some((star, start)) => {
                        last_star = Some((star, start + 1));
                        (w, n) = (star + 1, start + 1);
                    }
                    None => return false,
                },
            }
        }
        wide[w..].iter().all(|symbol| *symbol == '*')
    }
}

impl Segment {
    /// Matches at byte `start`; the end of the match.
    fn match_at(&self, subject: &str, start: usize) -> Option<usize> {
        let rest = subject.get(start..)?;
        if !self.has_wildcard {
            return rest.starts_with(&*self.text).then_some(start + self.text.len());
        }
        let mut characters = rest.char_indices();
        for wanted in self.text.chars() {
            let (_, found) = characters.next()?;
            if wanted != '?' && wanted != found {
                return None;
            }
        }
        Some(start + characters.next().map_or(rest.len(), |(offset, _)| offset))
    }

    /// The leftmost match at or after byte `start`; the end of the match.
    fn find(&self, subject: &str, start: usize) -> Option<usize> {
        let rest = subject.get(start..)?;
        if !self.has_wildcard {
            return memchr::memmem::find(rest.as_bytes(), self.text.as_bytes())
                .map(|offset| start + offset + self.text.len());
        }
        rest.char_indices().find_map(|(offset, _)| self.match_at(subject, start + offset))
    }

    /// Where the match begins that ends with the subject.
    fn start_of_suffix(&self, subject: &str) -> Option<usize> {
        if !self.has_wildcard {
            return subject.ends_with(&*self.text).then(|| subject.len() - self.text.len());
        }
        let length = self.text.chars().count();
        let (start, _) = subject.char_indices().rev().nth(length.checked_sub(1)?)?;
        self.match_at(subject, start).map(|_| start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The textbook definition, slow and plainly right.
    fn naive(glob: &[char], subject: &[char]) -> bool {
        match glob.split_first() {
            None => subject.is_empty(),
            Some(('*', rest)) => (0..=subject.len()).any(|skip| naive(rest, &subject[skip..])),
            Some(('?', rest)) => !subject.is_empty() && naive(rest, &subject[1..]),
            Some((wanted, rest)) => subject.first() == Some(wanted) && naive(rest, &subject[1..]),
        }
    }

    fn naive_text(glob: &str, subject: &str) -> bool {
        naive(&glob.chars().collect::<Vec<_>>(), &subject.chars().collect::<Vec<_>>())
    }

    #[test]
    fn globs_are_anchored_case_sensitive_and_cross_dots_and_slashes() {
        for (glob, subject, expected) in [
            ("payments.*", "payments.refund.full", true),
            ("payments.*", "payments", false),
            ("payments.*", "xpayments.refund", false),
            ("*delete*", "Delete", false),
            ("*delete*", "/v1/delete/x", true),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("?", "é", true),
            ("?", "", false),
            ("a?c*?", "abcd", true),
            ("a?c*?", "abc", false),
            ("*aa", "aaa", true),
            ("ab*ba", "aba", false),
            ("[ab]", "a", false),
            ("[ab]", "[ab]", true),
            ("{a,b}", "a", false),
            ("p:DELETE *", "p:DELETE /x/y", true),
        ] {
            assert_eq!(Glob::new(glob).matches(subject), expected, "{glob} on {subject:?}");
        }
    }

    #[test]
    fn covering_is_seen_for_the_common_shapes() {
        for (wide, narrow, expected) in [
            ("*", "anything", true),
            ("*", "*", true),
            ("payments.*", "payments.refund", true),
            ("payments.*", "payments.refund*", true),
            ("payments.refund", "payments.*", false),
            ("*delete*", "db.delete_*", true),
            ("a?", "ab", true),
            ("a?", "a*", false),
            ("a*", "a?", true),
            ("?", "*", false),
            ("*b", "a*", false),
        ] {
            assert_eq!(Glob::new(wide).covers(&Glob::new(narrow)), expected, "{wide} covers {narrow}");
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_textbook(glob in "[abé*?]{0,8}", subject in "[abé]{0,10}") {
            prop_assert_eq!(Glob::new(&glob).matches(&subject), naive_text(&glob, &subject));
        }

        #[test]
        fn a_covering_glob_matches_whatever_the_covered_one_does(wide in "[ab*?]{0,6}", narrow in "[ab*?]{0,6}", subject in "[ab]{0,8}") {
            let (wide, narrow) = (Glob::new(&wide), Glob::new(&narrow));
            if wide.covers(&narrow) && narrow.matches(&subject) {
                prop_assert!(wide.matches(&subject), "{} covers {}", wide.as_str(), narrow.as_str());
            }
        }

        #[test]
        fn every_match_contains_every_literal(glob in "[ab*?]{0,8}", subject in "[ab]{0,10}") {
            let glob = Glob::new(&glob);
            if glob.matches(&subject) {
                prop_assert!(glob.literals().all(|literal| subject.contains(literal)));
            }
        }
    }
}
