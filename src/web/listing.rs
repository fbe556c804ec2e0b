//! Which part of the queue or the history a query asks for: the same names for the API and for the page's address.

use crate::domain::approval::{Risk, SlaState, Status};
use crate::domain::id::ApprovalId;
use crate::domain::time::Timestamp;
use crate::store::{Filter, Sort};

use super::query::{self, Pairs};

/// The names that a listing understands.
pub const PARAMETERS: &[&str] =
    &["status", "tool", "rule", "agent", "risk", "sla", "trace_id", "q", "since", "until", "sort", "limit", "cursor"];
/// Entries on a page when nothing else is asked for.
pub const LIMIT_DEFAULT: u32 = 50;
/// The most entries on a page.
pub const LIMIT_MAX: u32 = 200;
/// The longest text of one filter, in characters.
pub const TEXT_CHARS_MAX: usize = 256;

/// A page of approvals that somebody asks for.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Which.
    pub filter: Filter,
    /// Behind this one.
    pub after: Option<ApprovalId>,
    /// At most so many.
    pub limit: u32,
}

/// What is wrong with a listing's query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error(transparent)]
    Query(#[from] query::Error),
    /// A value means nothing.
    #[error("`{parameter}` is `{value}`; expected {expected}")]
    Value {
        /// Which parameter.
        parameter: &'static str,
        /// What it said, shortened.
        value: String,
        /// What it may say.
        expected: &'static str,
    },
}

/// The SLA states by the names that queries, the API and the page use.
pub const SLA_STATES: [(SlaState, &str); 4] = [
    (SlaState::Ok, "ok"),
    (SlaState::DueSoon, "due_soon"),
    (SlaState::Breached, "breached"),
    (SlaState::Expired, "expired"),
];

/// The name of an SLA state.
pub fn sla_name(state: SlaState) -> &'static str {
    match state {
        SlaState::Ok => "ok",
        SlaState::DueSoon => "due_soon",
        SlaState::Breached => "breached",
        SlaState::Expired => "expired",
    }
}

impl Listing {
    /// Reads the parameters that [`PARAMETERS`] names and ignores all others: unknown ones are the caller's to refuse.
    ///
    /// # Errors
    /// The first parameter that stands twice or that says something that means nothing.
    pub fn parse(pairs: &Pairs) -> Result<Self, Error> {
        let text = |name: &'static str| -> Result<Option<String>, Error> {
            let Some(value) = pairs.single(name)? else { return Ok(None) };
            if value.chars().count() > TEXT_CHARS_MAX {
                return Err(wrong(name, value, "at most 256 characters"));
            }
            Ok(Some(value.to_owned()))
        };
        let sla = pick(pairs, "sla", "ok, due_soon, breached or expired", |value| {
            SLA_STATES.iter().find(|(_, name)| *name == value).map(|(state, _)| *state)
        })?;
        Ok(Self {
            filter: Filter {
                statuses: statuses(pairs)?,
                name: text("tool")?,
                rule: text("rule")?,
                agent: text("agent")?,
                risk: pick(pairs, "risk", "low, medium, high or critical", |value| {
                    Risk::ALL.into_iter().find(|risk| risk.as_str() == value)
                })?,
                sla,
                trace_id: text("trace_id")?,
                query: text("q")?,
                since: pick(pairs, "since", "an RFC 3339 time such as 2026-01-31T12:00:00Z", Timestamp::parse)?,
                until: pick(pairs, "until", "an RFC 3339 time such as 2026-01-31T12:00:00Z", Timestamp::parse)?,
                sort: pick(pairs, "sort", "newest or oldest", |value| match value {
                    "newest" => Some(Sort::Newest),
                    "oldest" => Some(Sort::Oldest),
                    _ => None,
                })?
                .unwrap_or_default(),
            },
            after: pick(pairs, "cursor", "the `next_cursor` of an earlier answer", |value| value.parse().ok())?,
            limit: pick(pairs, "limit", "a number from 1 to 200", |value| {
                value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit))
            })?
            .unwrap_or(LIMIT_DEFAULT),
        })
    }
}

/// `status=pending,approved`, or the name given several times.
fn statuses(pairs: &Pairs) -> Result<Vec<Status>, Error> {
    let mut statuses = Vec::new();
    let given = pairs.all("status").filter(|value| !value.is_empty());
    for name in given.flat_map(|value| value.split(',')) {
        let status = Status::ALL.into_iter().find(|status| status.as_str() == name);
        let status =
            status.ok_or_else(|| wrong("status", name, "pending, approved, rejected, expired or cancelled"))?;
        if !statuses.contains(&status) {
            statuses.push(status);
        }
    }
    Ok(statuses)
}

fn pick<T>(
    pairs: &Pairs,
    parameter: &'static str,
    expected: &'static str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Error> {
    match pairs.single(parameter)? {
        None => Ok(None),
        Some(value) => read(value).map(Some).ok_or_else(|| wrong(parameter, value, expected)),
    }
}

fn wrong(parameter: &'static str, value: &str, expected: &'static str) -> Error {
    Error::Value { parameter, value: super::text::excerpt(value, 64), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Listing, Error> {
        Listing::parse(&Pairs::parse(query).expect("well formed"))
    }

    #[test]
    fn every_filter_arrives() {
        let listing = parse(
            "status=pending,approved&status=expired&tool=t&rule=r&agent=a&risk=high&sla=due_soon&trace_id=x&q=refund+100\
             &since=2026-01-31T12:00:00Z&until=2026-02-01T00:00:00%2B01:00&sort=oldest&limit=7",
        )
        .expect("all are known");
        let filter = listing.filter;
        assert_eq!(filter.statuses, [Status::Pending, Status::Approved, Status::Expired]);
        assert_eq!(
            (filter.name.as_deref(), filter.rule.as_deref(), filter.agent.as_deref()),
            (Some("t"), Some("r"), Some("a"))
        );
        assert_eq!((filter.risk, filter.sla, filter.sort), (Some(Risk::High), Some(SlaState::DueSoon), Sort::Oldest));
        assert_eq!((filter.trace_id.as_deref(), filter.query.as_deref()), (Some("x"), Some("refund 100")));
        assert_eq!(filter.since, Timestamp::parse("2026-01-31T12:00:00Z"));
        assert_eq!(filter.until, Timestamp::parse("2026-01-31T23:00:00Z"));
        assert_eq!(listing.limit, 7);
    }

    #[test]
    fn a_value_that_means_nothing_is_named() {
        for query in [
            "status=open",
            "risk=extreme",
            "sla=late",
            "since=yesterday",
            "until=1",
            "sort=up",
            "limit=0",
            "limit=201",
            "limit=x",
            "cursor=abc",
            "tool=a&tool=b",
        ] {
            let error = parse(query).expect_err(query).to_string();
            let name = query.split('=').next().expect("a name");
            assert!(error.contains(&format!("`{name}`")), "{query}: {error}");
        }
        assert!(parse(&format!("q={}", "x".repeat(TEXT_CHARS_MAX + 1))).is_err());
    }
}
