//! The typed form that common conditions are lowered to, and its evaluation.
//!
//! Semantics are CEL's (errors absorbed by `||` and `&&` alike, equality across kinds is false, order across kinds is
//! an error) with one difference: numbers compare by their exact decimal value. Nothing is allocated unless an
//! error is reported or `size()` is asked for.

use std::cmp::Ordering;

use regex::Regex;

use super::EvalError;
use super::interpret::Interpreted;
use super::path::ArgPath;
use crate::domain::policy::view::{Args, CallView, Found};
use crate::domain::value::{Number, Value};

/// A condition in typed form.
#[derive(Debug)]
pub(super) enum Predicate {
    Constant(bool),
    And(Box<Predicate>, Box<Predicate>),
    Or(Box<Predicate>, Box<Predicate>),
    Not(Box<Predicate>),
    If(Box<[Predicate; 3]>),
    /// The operand is itself the truth value.
    Truth(Operand),
    Compare(Comparison, Operand, Operand),
    InList(Operand, Vec<Literal>),
    InValue(Operand, Operand),
    Has(Operand),
    Text(TextTest, Operand, Operand),
    Matches(Operand, Regex),
    Interpreted(Interpreted),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

/// The variables that are plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextVariable {
    Tool,
    Agent,
    Upstream,
    Method,
    Path,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Variable(TextVariable),
    Argument(ArgPath),
    Query(Box<str>),
    Header(Box<str>),
    Size(Box<Operand>),
    Literal(Literal),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Number(Number<'static>),
    Text(Box<str>),
}

/// An operand's value.
#[derive(Debug)]
enum Datum<'a> {
    Null,
    Bool(bool),
    Number(Number<'a>),
    Text(&'a str),
    Array(&'a Value<'a>),
    Object(&'a Value<'a>),
}

const EMPTY_OBJECT: &Value<'static> = &Value::Object(Vec::new());

impl Predicate {
    pub(super) fn eval(&self, call: &CallView<'_>) -> Result<bool, EvalError> {
        match self {
            Predicate::Constant(value) => Ok(*value),
            Predicate::And(left, right) => absorb(false, left.eval(call), || right.eval(call)),
            Predicate::Or(left, right) => absorb(true, left.eval(call), || right.eval(call)),
            Predicate::Not(inner) => Ok(!inner.eval(call)?),
            Predicate::If(branches) => {
                let [condition, then, otherwise] = &**branches;
                if condition.eval(call)? { then.eval(call) } else { otherwise.eval(call) }
            }
            Predicate::Truth(operand) => match operand.resolve(call)? {
                Datum::Bool(value) => Ok(value),
                other => Err(EvalError::NotBool { what: operand.describe(), kind: other.kind() }),
            },
            Predicate::Compare(comparison, left, right) => {
                compare(*comparison, &left.resolve(call)?, &right.resolve(call)?)
            }
            Predicate::InList(operand, list) => {
                let wanted = operand.resolve(call)?;
                Ok(list.iter().any(|literal| equal(&wanted, &literal.datum())))
            }
            Predicate::InValue(operand, container) => contains(&operand.resolve(call)?, &container.resolve(call)?),
            Predicate::Has(operand) => operand.exists(call),
            Predicate::Text(test, subject, part) => {
                let subject = subject.text(call)?;
                let part = part.text(call)?;
                Ok(match test {
                    TextTest::StartsWith => subject.starts_with(part),
                    TextTest::EndsWith => subject.ends_with(part),
                    TextTest::Contains => subject.contains(part),
                })
            }
            Predicate::Matches(subject, pattern) => Ok(pattern.is_match(subject.text(call)?)),
            Predicate::Interpreted(interpreted) => interpreted.eval(call),
        }
    }
}

/// `&&` (absorbing `false`) and `||` (absorbing `true`): the absorbing value wins over an error on the other side.
fn absorb(
    absorbing: bool,
    left: Result<bool, EvalError>,
    right: impl FnOnce() -> Result<bool, EvalError>,
) -> Result<bool, EvalError> {
    match left {
        Ok(value) if value == absorbing => Ok(absorbing),
        Ok(_) => right(),
        Err(error) => match right() {
            Ok(value) if value == absorbing => Ok(absorbing),
            Ok(_) | Err(_) => Err(error),
        },
    }
}

impl Operand {
    fn resolve<'a>(&'a self, call: &CallView<'a>) -> Result<Datum<'a>, EvalError> {
        match self {
            Operand::Variable(variable) => Ok(Datum::Text(variable.of(call))),
            Operand::Literal(literal) => Ok(literal.datum()),
            Operand::Argument(path) => Ok(Datum::of(path.resolve(args_of(call)?)?)),
            Operand::Query(name) => found(call.query.find(name), "query", name),
            Operand::Header(name) => found(call.headers.find(name), "headers", name),
            Operand::Size(of) => {
                let size = match of.resolve(call)? {
                    Datum::Text(text) => text.chars().count(),
                    Datum::Array(Value::Array(items)) => items.len(),
                    Datum::Object(Value::Object(members)) => members.len(),
                    other => return Err(EvalError::NoSize { what: of.describe(), kind: other.kind() }),
                };
                Ok(Datum::Number(Number::from_checked(size.to_string())))
            }
        }
    }

    fn text<'a>(&'a self, call: &CallView<'a>) -> Result<&'a str, EvalError> {
        match self.resolve(call)? {
            Datum::Text(text) => Ok(text),
            other => Err(EvalError::NotText { what: self.describe(), kind: other.kind() }),
        }
    }

    fn exists(&self, call: &CallView<'_>) -> Result<bool, EvalError> {
        match self {
            Operand::Query(name) => Ok(call.query.find(name) != Found::Missing),
            Operand::Header(name) => Ok(call.headers.find(name) != Found::Missing),
            Operand::Argument(path) => path.exists(args_of(call)?),
            Operand::Variable(_) | Operand::Size(_) | Operand::Literal(_) => Ok(true),
        }
    }

    /// The operand as it would be written in a condition, for messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Operand::Variable(variable) => variable.name().to_owned(),
            Operand::Argument(path) => path.to_string(),
            Operand::Query(name) => format!("query.{name}"),
            Operand::Header(name) => format!("headers[\"{name}\"]"),
            Operand::Size(of) => format!("size({})", of.describe()),
            Operand::Literal(Literal::Null) => "null".to_owned(),
            Operand::Literal(Literal::Bool(value)) => value.to_string(),
            Operand::Literal(Literal::Number(number)) => number.as_str().to_owned(),
            Operand::Literal(Literal::Text(text)) => format!("\"{text}\""),
        }
    }

    /// The kind of value that this operand always has; `None` when only the call can tell.
    pub(super) fn kind(&self) -> Option<&'static str> {
        match self {
            Operand::Variable(_) | Operand::Query(_) | Operand::Header(_) => Some("text"),
            Operand::Size(_) => Some("a number"),
            Operand::Literal(literal) => Some(literal.datum().kind()),
            Operand::Argument(_) => None,
        }
    }
}

fn args_of<'a>(call: &CallView<'a>) -> Result<&'a Value<'a>, EvalError> {
    match call.args {
        Args::Read(value) => Ok(value),
        Args::Absent => Ok(EMPTY_OBJECT),
        Args::Unread => Err(EvalError::Unread),
    }
}

fn found<'a>(found: Found<'a>, root: &'static str, name: &str) -> Result<Datum<'a>, EvalError> {
    match found {
        Found::One(text) => Ok(Datum::Text(text)),
        Found::Missing => Err(EvalError::Missing { path: format!("{root}.{name}") }),
        Found::Many => Err(EvalError::Repeated { path: format!("{root}.{name}") }),
    }
}

impl TextVariable {
    pub(super) const ALL: [TextVariable; 5] =
        [TextVariable::Tool, TextVariable::Agent, TextVariable::Upstream, TextVariable::Method, TextVariable::Path];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variable| variable.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            TextVariable::Tool => "tool",
            TextVariable::Agent => "agent",
            TextVariable::Upstream => "upstream",
            TextVariable::Method => "method",
            TextVariable::Path => "path",
        }
    }

    pub(super) fn of<'a>(self, call: &CallView<'a>) -> &'a str {
        match self {
            TextVariable::Tool => call.tool,
            TextVariable::Agent => call.agent,
            TextVariable::Upstream => call.upstream,
            TextVariable::Method => call.method,
            TextVariable::Path => call.path,
        }
    }
}

impl Literal {
    fn datum(&self) -> Datum<'_> {
        match self {
            Literal::Null => Datum::Null,
            Literal::Bool(value) => Datum::Bool(*value),
            Literal::Number(number) => Datum::Number(number.borrowed()),
            Literal::Text(text) => Datum::Text(text),
        }
    }
}

impl<'a> Datum<'a> {
    fn of(value: &'a Value<'a>) -> Self {
        match value {
            Value::Null => Datum::Null,
            Value::Bool(value) => Datum::Bool(*value),
            Value::Number(number) => Datum::Number(number.borrowed()),
            Value::String(text) => Datum::Text(text),
            Value::Array(_) => Datum::Array(value),
            Value::Object(_) => Datum::Object(value),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Datum::Null => "null",
            Datum::Bool(_) => "true or false",
            Datum::Number(_) => "a number",
            Datum::Text(_) => "text",
            Datum::Array(_) => "a list",
            Datum::Object(_) => "an object",
        }
    }
}

fn compare(comparison: Comparison, left: &Datum<'_>, right: &Datum<'_>) -> Result<bool, EvalError> {
    let accepted: fn(Ordering) -> bool = match comparison {
        Comparison::Equal => return Ok(equal(left, right)),
        Comparison::NotEqual => return Ok(!equal(left, right)),
        Comparison::Less => Ordering::is_lt,
        Comparison::LessOrEqual => Ordering::is_le,
        Comparison::Greater => Ordering::is_gt,
        Comparison::GreaterOrEqual => Ordering::is_ge,
    };
    match (left, right) {
        (Datum::Number(left), Datum::Number(right)) => Ok(accepted(left.compare(right))),
        (Datum::Text(left), Datum::Text(right)) => Ok(accepted(left.cmp(right))),
        (Datum::Bool(left), Datum::Bool(right)) => Ok(accepted(left.cmp(right))),
        (left, right) => Err(EvalError::NotOrdered { left: left.kind(), right: right.kind() }),
    }
}

fn equal(left: &Datum<'_>, right: &Datum<'_>) -> bool {
    match (left, right) {
        (Datum::Null, Datum::Null) => true,
        (Datum::Bool(left), Datum::Bool(right)) => left == right,
        (Datum::Number(left), Datum::Number(right)) => left.compare(right) == Ordering::Equal,
        (Datum::Text(left), Datum::Text(right)) => left == right,
        (Datum::Array(left), Datum::Array(right)) | (Datum::Object(left), Datum::Object(right)) => {
            values_equal(left, right)
        }
        _ => false,
    }
}

fn values_equal(left: &Value<'_>, right: &Value<'_>) -> bool {
    match (left, right) {
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| values_equal(left, right))
        }
        // Keys are unique, so equal counts and one-way inclusion are equality.
        (Value::Object(left), Value::Object(members)) => {
            left.len() == members.len()
                && left.iter().all(|(key, value)| right.member(key).is_some_and(|other| values_equal(value, other)))
        }
        (left, right) => equal(&Datum::of(left), &Datum::of(right)),
    }
}

/// CEL's `in`: an element of a list, or a key of an object.
fn contains(wanted: &Datum<'_>, container: &Datum<'_>) -> Result<bool, EvalError> {
    match (wanted, container) {
        (wanted, Datum::Array(Value::Array(items))) => Ok(items.iter().any(|item| equal(wanted, &Datum::of(item)))),
        (Datum::Text(key), Datum::Object(object)) => Ok(object.member(key).is_some()),
        (wanted, container) => Err(EvalError::NotContained { wanted: wanted.kind(), container: container.kind() }),
    }
}
