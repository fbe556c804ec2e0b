//! The parts of a condition that have no typed form, run by the CEL interpreter.
//!
//! Only what the expression names is bound. Numbers enter as the exact integer or as the double that reads back to the
//! same decimal; a number that neither can carry makes the condition impossible to evaluate, never rounded. What a
//! body may make the interpreter do is bounded by [`INTERPRETED_VALUES_MAX`].

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use cel::common::ast::IdedExpr;
use cel::objects::Key;
use cel::{Context, Env, ExecutionError};
use chrono::DateTime;

use super::EvalError;
use super::predicate::TextVariable;
use crate::domain::policy::view::{Args, CallView, Found, Lookup};
use crate::domain::value::{Number, Value};

/// How many values (members and elements, at any depth) of the arguments the interpreter may be given.
pub const INTERPRETED_VALUES_MAX: usize = 4_096;

/// The standard functions. Building them costs more than most evaluations, so every condition shares one set.
static FUNCTIONS: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// An expression and the names it needs.
#[derive(Debug)]
pub(super) struct Interpreted {
    pub(super) expression: IdedExpr,
    pub(super) needs: Needs,
}

/// What an expression names.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) variables: Vec<TextVariable>,
    pub(super) args: ArgsNeed,
    pub(super) query: Vec<Box<str>>,
    pub(super) headers: Vec<Box<str>>,
    pub(super) now: bool,
}

/// How much of the arguments an expression names.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) enum ArgsNeed {
    #[default]
    Nothing,
    Members(Vec<Box<str>>),
    Everything,
}

impl ArgsNeed {
    pub(super) fn member(&mut self, name: &str) {
        match self {
            ArgsNeed::Nothing => *self = ArgsNeed::Members(vec![name.into()]),
            ArgsNeed::Members(names) if names.iter().any(|known| **known == *name) => {}
            ArgsNeed::Members(names) => names.push(name.into()),
            ArgsNeed::Everything => {}
        }
    }
}

impl Interpreted {
    pub(super) fn eval(&self, call: &CallView<'_>) -> Result<bool, EvalError> {
        let mut context = Context::with_env(Arc::clone(&FUNCTIONS));
        for variable in &self.needs.variables {
            context.add_variable_from_value(variable.name(), text(variable.of(call)));
        }
        if let Some(args) = self.args(call)? {
            context.add_variable_from_value("args", args);
        }
        for (root, names, lookup) in
            [("query", &self.needs.query, call.query), ("headers", &self.needs.headers, call.headers)]
        {
            if !names.is_empty() {
                context.add_variable_from_value(root, bind_lookup(root, names, lookup)?);
            }
        }
        if self.needs.now {
            let now = DateTime::from_timestamp_millis(call.now.as_millis()).ok_or(EvalError::ClockOutOfRange)?;
            context.add_variable_from_value("now", cel::Value::Timestamp(now.fixed_offset()));
        }
        match cel::Value::resolve(&self.expression, &context) {
            Ok(cel::Value::Bool(value)) => Ok(value),
            Ok(other) => Err(EvalError::NotBool { what: "the condition".to_owned(), kind: interpreted_kind(&other) }),
            Err(error) => Err(EvalError::Interpreter(told(&error))),
        }
    }

    fn args(&self, call: &CallView<'_>) -> Result<Option<cel::Value>, EvalError> {
        let value = match (&self.needs.args, call.args) {
            (ArgsNeed::Nothing, _) => return Ok(None),
            (_, Args::Unread) => return Err(EvalError::Unread),
            (_, Args::Absent) => return Ok(Some(object(HashMap::new()))),
            (_, Args::Read(value)) => value,
        };
        let mut budget = INTERPRETED_VALUES_MAX;
        match (&self.needs.args, value) {
            (ArgsNeed::Members(names), Value::Object(_)) => {
                let mut members = HashMap::new();
                for name in names {
                    if let Some(member) = value.member(name) {
                        members.insert(key(name), convert(member, &mut budget)?);
                    }
                }
                Ok(Some(object(members)))
            }
            (_, value) => convert(value, &mut budget).map(Some),
        }
    }
}

fn bind_lookup(root: &'static str, names: &[Box<str>], lookup: &dyn Lookup) -> Result<cel::Value, EvalError> {
    let mut members = HashMap::new();
    for name in names {
        match lookup.find(name) {
            Found::Missing => {}
            Found::One(value) => {
                members.insert(key(name), text(value));
            }
            Found::Many => return Err(EvalError::Repeated { path: format!("{root}.{name}") }),
        }
    }
    Ok(object(members))
}

fn convert(value: &Value<'_>, budget: &mut usize) -> Result<cel::Value, EvalError> {
    *budget = budget.checked_sub(1).ok_or(EvalError::TooManyValues)?;
    Ok(match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => convert_number(number)?,
        Value::String(value) => text(value),
        Value::Array(items) => {
            let mut list = Vec::with_capacity(items.len().min(*budget));
            for item in items {
                list.push(convert(item, budget)?);
            }
            cel::Value::List(Arc::new(list))
        }
        Value::Object(members) => {
            let mut map = HashMap::with_capacity(members.len().min(*budget));
            for (name, member) in members {
                map.insert(key(name), convert(member, budget)?);
            }
            object(map)
        }
    })
}

/// Integers by value (`100.0` and `1e2` are 100), everything else as a double, and neither unless it is the same number.
fn convert_number(number: &Number<'_>) -> Result<cel::Value, EvalError> {
    let digits = number.as_str();
    if let Ok(integer) = digits.parse::<i64>() {
        return Ok(cel::Value::Int(integer));
    }
    if let Ok(integer) = digits.parse::<u64>() {
        return Ok(cel::Value::UInt(integer));
    }
    let double = digits.parse::<f64>().map_err(|_| EvalError::InexactNumber)?;
    let same = |text: String| Number::from_checked(text).compare(number) == Ordering::Equal;
    // Saturates for doubles beyond the range, which the comparison then tells apart.
    let integer = double as i64;
    if number.is_integral() && same(integer.to_string()) {
        return Ok(cel::Value::Int(integer));
    }
    if double.is_finite() && same(format!("{double:?}")) {
        Ok(cel::Value::Float(double))
    } else {
        Err(EvalError::InexactNumber)
    }
}

fn text(value: &str) -> cel::Value {
    cel::Value::String(Arc::new(value.to_owned()))
}

fn key(name: &str) -> Key {
    Key::String(Arc::new(name.to_owned()))
}

fn object(members: HashMap<Key, cel::Value>) -> cel::Value {
    cel::Value::Map(cel::objects::Map { map: Arc::new(members) })
}

fn interpreted_kind(value: &cel::Value) -> &'static str {
    match value {
        cel::Value::Bool(_) => "true or false",
        cel::Value::Int(_) | cel::Value::UInt(_) | cel::Value::Float(_) => "a number",
        cel::Value::String(_) => "text",
        cel::Value::List(_) => "a list",
        cel::Value::Map(_) => "an object",
        cel::Value::Null => "null",
        _ => "something else",
    }
}

/// The interpreter's own words quote the arguments, and these go to the trail, redacted or not: only the kind is told.
fn told(error: &ExecutionError) -> &'static str {
    match error {
        ExecutionError::NoSuchKey(_) => "a member that the condition reads is missing",
        ExecutionError::IndexOutOfBounds(_) => "an index is beyond the end of its list",
        ExecutionError::UnsupportedIndex(..) => "something is indexed that cannot be, or by what is no index",
        ExecutionError::NoSuchOverload(_)
        | ExecutionError::UnsupportedBinaryOperator(..)
        | ExecutionError::UnexpectedType { .. }
        | ExecutionError::UnsupportedTargetType { .. }
        | ExecutionError::NotSupportedAsMethod { .. } => {
            "an operator or function is applied to a kind of value that it does not take"
        }
        ExecutionError::ValuesNotComparable(..) => "two values that have no order are compared",
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "something is divided by zero",
        ExecutionError::Overflow(..) => "a result is too large to be computed with exactly",
        ExecutionError::UnsupportedKeyType(_) | ExecutionError::DuplicateKey(_) => {
            "an object is built with keys that it cannot have"
        }
        ExecutionError::FunctionError { .. } => "a function could not work with the value that it was given",
        _ => "the condition could not be computed",
    }
}
