//! The one line that a reviewer reads first: `"Refund ${args.amount_usd} USD"`.
//!
//! Compiled at load, so that a misspelt variable is found then. Numbers keep their digits, redacted values stay
//! redacted, what is cut is marked with `…`.

use super::redact::{PLACEHOLDER, Redaction};
use super::view::{Args, CallView, Found};
use crate::domain::value::Value;

/// The longest rendered summary, in characters.
pub const SUMMARY_CHARACTERS_MAX: usize = 300;

/// The longest rendered value inside a summary, in characters, so that one long argument cannot push the rest out.
const VALUE_CHARACTERS_MAX: usize = 120;

/// What stands for a value that the call does not have.
const MISSING: &str = "(missing)";

/// A compiled template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Tool,
    Agent,
    Upstream,
    Method,
    Path,
    Argument(Vec<Box<str>>),
    Query(Box<str>),
    Header(Box<str>),
}

impl Summary {
    /// Compiles a template. `${…}` takes `tool`, `agent`, `upstream`, `method`, `path`, `args.a.b`, `query.name` or
    /// `headers.name`; `$${` is a literal `${`.
    ///
    /// # Errors
    /// When a `${` is not closed or names something else: the text says which.
    pub fn compile(template: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = template;
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at(at);
            if let Some(unescaped) = before.strip_suffix('$') {
                text.push_str(unescaped);
                text.push_str("${");
                rest = &from[2..];
                continue;
            }
            text.push_str(before);
            let Some(end) = from.find('}') else {
                return Err("`${` is not closed; write `}` behind the name, or `$${` for the characters".to_owned());
            };
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text).into()));
            }
            parts.push(part(&from[2..end])?);
            rest = &from[end + 1..];
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text.into()));
        }
        Ok(Self { parts })
    }

    /// Whether the arguments are needed.
    pub fn reads_args(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Argument(_)))
    }

    /// Renders the line for one call, at most [`SUMMARY_CHARACTERS_MAX`] characters.
    pub fn render(&self, call: &CallView<'_>, redaction: &Redaction) -> String {
        let mut line = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => line.push_str(text),
                Part::Tool => push_bounded(call.tool, &mut line),
                Part::Agent => push_bounded(call.agent, &mut line),
                Part::Upstream => push_bounded(call.upstream, &mut line),
                Part::Method => push_bounded(call.method, &mut line),
                Part::Path => push_bounded(call.path, &mut line),
                Part::Query(name) => push_found(call.query.find(name), redaction.hides_query(name), &mut line),
                Part::Header(name) => push_found(call.headers.find(name), redaction.hides_header(name), &mut line),
                Part::Argument(path) => push_argument(path, call, redaction, &mut line),
            }
        }
        cut(line, SUMMARY_CHARACTERS_MAX)
    }
}

fn part(name: &str) -> Result<Part, String> {
    let (root, member) = name.split_once('.').map_or((name, None), |(root, member)| (root, Some(member)));
    let part = match (root, member) {
        ("tool", None) => Part::Tool,
        ("agent", None) => Part::Agent,
        ("upstream", None) => Part::Upstream,
        ("method", None) => Part::Method,
        ("path", None) => Part::Path,
        ("args", Some(path)) if path.split('.').all(|step| !step.is_empty()) => {
            Part::Argument(path.split('.').map(Into::into).collect())
        }
        ("query", Some(name)) if !name.is_empty() => Part::Query(name.into()),
        ("headers", Some(name)) if !name.is_empty() => Part::Header(name.into()),
        _ => {
            return Err(format!(
                "unknown `${{{name}}}`; write `tool`, `agent`, `upstream`, `method`, `path`, `args.…`, `query.…` or `headers.…`"
            ));
        }
    };
    Ok(part)
}

fn push_found(found: Found<'_>, hidden: bool, line: &mut String) {
    match found {
        Found::Missing => line.push_str(MISSING),
        _ if hidden => line.push_str(PLACEHOLDER),
        Found::One(value) => push_bounded(value, line),
        Found::Many => line.push_str("(given more than once)"),
    }
}

fn push_argument(path: &[Box<str>], call: &CallView<'_>, redaction: &Redaction, line: &mut String) {
    let Args::Read(args) = call.args else { return line.push_str(MISSING) };
    let mut at = args;
    for step in path {
        let next = match at {
            Value::Array(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
            other => other.member(step),
        };
        match next {
            Some(next) => at = next,
            None => return line.push_str(MISSING),
        }
    }
    let mut json = String::new();
    redaction.write_at(path, at, &mut json);
    match at {
        // Text without its quotes, unless it is the placeholder.
        Value::String(text) if json != format!("\"{PLACEHOLDER}\"") => push_bounded(text, line),
        _ => push_bounded(json.trim_matches('"'), line),
    }
}

fn push_bounded(text: &str, line: &mut String) {
    line.push_str(&cut(text.to_owned(), VALUE_CHARACTERS_MAX));
}

fn cut(mut text: String, characters_max: usize) -> String {
    // The mark counts too.
    if text.chars().nth(characters_max).is_some() {
        let end = text.char_indices().nth(characters_max - 1).map_or(text.len(), |(at, _)| at);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::view::{NoValues, Pairs};
    use crate::domain::time::Timestamp;
    use crate::domain::value::Number;

    fn render(template: &str, hidden: &[&str]) -> String {
        let args = Value::Object(vec![
            ("amount".into(), Value::Number(Number::from_checked("1.50e2"))),
            ("who".into(), Value::String("Ana \"A\"".into())),
            (
                "card".into(),
                Value::Object(vec![("n".into(), Value::String("4111".into())), ("cc".into(), Value::Null)]),
            ),
            ("long".into(), Value::String("x".repeat(1_000).into())),
            ("list".into(), Value::Array(vec![Value::Bool(true)])),
        ]);
        let mut redaction = Redaction::default();
        hidden.iter().for_each(|pointer| redaction.add(pointer).expect("a pointer"));
        let query = Pairs::query(vec![("q".to_owned(), "1".to_owned())]);
        let call = CallView {
            tool: "t",
            agent: "a",
            upstream: "u",
            method: "POST",
            path: "/p",
            query: &query,
            headers: &NoValues,
            args: Args::Read(&args),
            claims: crate::domain::tools::Claims::NoTool,
            now: Timestamp::from_millis(0),
        };
        Summary::compile(template).expect("a template").render(&call, &redaction)
    }

    #[test]
    fn values_keep_their_digits_and_missing_ones_say_so() {
        assert_eq!(render("Refund ${args.amount} to ${args.who}", &[]), "Refund 1.50e2 to Ana \"A\"");
        assert_eq!(render("${args.nope}/${args.list.0}/${query.q}/${headers.x}", &[]), "(missing)/true/1/(missing)");
        assert_eq!(render("$${x} ${tool} ${method}", &[]), "${x} t POST");
    }

    #[test]
    fn redacted_values_stay_redacted_from_above_on_and_below() {
        assert_eq!(render("${args.card.n}", &["/args/card"]), "[redacted]");
        assert_eq!(render("${args.who}", &["/args/who"]), "[redacted]");
        assert_eq!(render("${args.card}", &["/args/card/n"]), r#"{"n":"[redacted]","cc":null}"#);
        assert_eq!(render("${query.q}", &["/query/q"]), "[redacted]");
    }

    #[test]
    fn long_values_and_lines_are_cut_with_a_mark() {
        let line = render("${args.long} ${args.amount}", &[]);
        assert!(line.contains('…') && line.ends_with(" 1.50e2"), "{line}");
        assert_eq!(render(&"y".repeat(500), &[]).chars().count(), SUMMARY_CHARACTERS_MAX);
    }

    #[test]
    fn unknown_names_are_found_at_load() {
        for template in ["${amount}", "${args}", "${args.}", "${args.a..b}", "${tool.x}", "${", "${args.a", "${query.}"]
        {
            assert!(Summary::compile(template).is_err(), "{template}");
        }
    }
}
