//! What policy may see of one call.
//!
//! The view borrows everything, so that judging a call copies nothing. Whether the body was read yet is part of the
//! type: a rule that needs it while it is [`Args::Unread`] asks for it instead of guessing.

use crate::domain::time::Timestamp;
use crate::domain::tools::Claims;
use crate::domain::value::Value;

/// One call, as policy sees it.
#[derive(Clone, Copy)]
pub struct CallView<'a> {
    /// The tool's name.
    pub tool: &'a str,
    /// The id of the calling agent.
    pub agent: &'a str,
    /// The name of the upstream.
    pub upstream: &'a str,
    /// The HTTP method.
    pub method: &'a str,
    /// The canonical path, without the query.
    pub path: &'a str,
    /// The parameters of the query, decoded; names are case-sensitive.
    pub query: &'a dyn Lookup,
    /// The headers; names are case-insensitive.
    pub headers: &'a dyn Lookup,
    /// The arguments of the call.
    pub args: Args<'a>,
    /// What the upstream claims about the tool.
    pub claims: Claims,
    /// The present time.
    pub now: Timestamp,
}

impl CallView<'_> {
    /// The same call with arguments that were not read taken for absent.
    #[must_use]
    pub fn with_args_known(&self) -> Self {
        let args = match self.args {
            Args::Unread => Args::Absent,
            known @ (Args::Absent | Args::Read(_)) => known,
        };
        Self { args, ..*self }
    }
}

/// The arguments of a call.
#[derive(Debug, Clone, Copy)]
pub enum Args<'a> {
    /// The body was not read yet.
    Unread,
    /// The call has no body. Conditions see an empty object.
    Absent,
    /// The body, by the strict reader.
    Read(&'a Value<'a>),
}

/// Named values of which each may occur more than once.
pub trait Lookup {
    /// What `name` stands for.
    fn find(&self, name: &str) -> Found<'_>;
}

/// What a name stands for in a [`Lookup`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// Nothing has the name.
    Missing,
    /// One value.
    One(&'a str),
    /// More than one value. Two readers could choose differently, so no condition sees either.
    Many,
}

/// A lookup in which every name is missing.
#[derive(Debug, Clone, Copy)]
pub struct NoValues;

impl Lookup for NoValues {
    fn find(&self, _: &str) -> Found<'_> {
        Found::Missing
    }
}

/// Pairs in any order; names compare exactly, or without regard to ASCII case when made by [`Pairs::headers`].
#[derive(Debug, Clone, Default)]
pub struct Pairs {
    pairs: Vec<(String, String)>,
    ignore_case: bool,
}

impl Pairs {
    /// Pairs whose names are case-sensitive, as in a query.
    pub fn query(pairs: Vec<(String, String)>) -> Self {
        Self { pairs, ignore_case: false }
    }

    /// Pairs whose names are case-insensitive, as in headers.
    pub fn headers(pairs: Vec<(String, String)>) -> Self {
        Self { pairs, ignore_case: true }
    }
}

impl Lookup for Pairs {
    fn find(&self, name: &str) -> Found<'_> {
        let mut named = self
            .pairs
            .iter()
            .filter(|(key, _)| if self.ignore_case { key.eq_ignore_ascii_case(name) } else { key == name });
        match (named.next(), named.next()) {
            (None, _) => Found::Missing,
            (Some((_, value)), None) => Found::One(value),
            (Some(_), Some(_)) => Found::Many,
        }
    }
}

impl std::fmt::Debug for CallView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallView").field("tool", &self.tool).field("agent", &self.agent).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_given_twice_is_many_and_case_matters_in_queries_only() {
        let pairs = || vec![("A".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
        assert_eq!(Pairs::query(pairs()).find("a"), Found::One("2"));
        assert_eq!(Pairs::headers(pairs()).find("a"), Found::Many);
        assert_eq!(Pairs::query(pairs()).find("b"), Found::Missing);
        assert_eq!(NoValues.find("a"), Found::Missing);
    }
}
