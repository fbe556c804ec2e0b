//! What can be known about a condition at load: its names, its functions, what it reads, what it could cost.
//!
//! One walk over the syntax tree collects every problem with its column. It refuses what could not be bounded or
//! checked later: computed keys, computed patterns, comprehensions over comprehensions of unrelated lists.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators};
use regex::{Regex, RegexBuilder};

use super::Problem;
use super::interpret::{ArgsNeed, Needs};
use super::path::{ArgPath, Step};
use super::predicate::TextVariable;
use crate::domain::value::Number;

/// The compiled size one pattern may have, in bytes.
pub(in crate::domain::policy) const REGEX_BYTES_MAX: usize = 1 << 20;

/// How deep comprehensions may nest.
const COMPREHENSION_DEPTH_MAX: usize = 3;

/// Every variable of a condition.
const VARIABLES: [&str; 9] = ["tool", "args", "agent", "upstream", "method", "path", "query", "headers", "now"];

/// The functions a condition may call, each with the number of operands it takes, a receiver counted as one.
const FUNCTIONS: [(&str, &[usize]); 24] = [
    ("size", &[1]),
    ("contains", &[2]),
    ("startsWith", &[2]),
    ("endsWith", &[2]),
    ("matches", &[2]),
    ("int", &[1]),
    ("uint", &[1]),
    ("double", &[1]),
    ("string", &[1]),
    ("bool", &[1]),
    ("type", &[1]),
    ("dyn", &[1]),
    ("timestamp", &[1]),
    ("duration", &[1]),
    ("getFullYear", &[1, 2]),
    ("getMonth", &[1, 2]),
    ("getDate", &[1, 2]),
    ("getDayOfMonth", &[1, 2]),
    ("getDayOfWeek", &[1, 2]),
    ("getDayOfYear", &[1, 2]),
    ("getHours", &[1, 2]),
    ("getMinutes", &[1, 2]),
    ("getSeconds", &[1, 2]),
    ("getMilliseconds", &[1, 2]),
];

/// Macros, for suggestions; the parser has expanded them already.
const MACROS: [&str; 6] = ["has", "all", "exists", "exists_one", "map", "filter"];

/// Names of types, which `type(x) == string` may use.
const TYPES: [&str; 9] = ["int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type"];

/// A chain of members on a variable.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reference {
    Variable(TextVariable),
    Argument(ArgPath),
    Query(Option<Box<str>>),
    Header(Option<Box<str>>),
    Now,
    /// A member of something that is not under `args`, such as a variable of a comprehension over a literal list.
    Local,
}

/// What one walk over an expression finds.
pub(super) struct Walk<'s> {
    source_info: &'s SourceInfo,
    pub(super) problems: Vec<Problem>,
    pub(super) reads: Vec<ArgPath>,
    pub(super) needs: Needs,
    /// Variables of comprehensions, innermost last, each with where its values come from.
    scope: Vec<(String, Reference)>,
    depth: usize,
}

impl<'s> Walk<'s> {
    pub(super) fn new(source_info: &'s SourceInfo) -> Self {
        Self {
            source_info,
            problems: Vec::new(),
            reads: Vec::new(),
            needs: Needs::default(),
            scope: Vec::new(),
            depth: 0,
        }
    }

    pub(super) fn problem(&mut self, at: u64, message: impl Into<String>, hint: Option<String>) {
        let column = self.source_info.offset_for(at).map(|(start, _)| start as usize + 1);
        let problem = Problem { column, message: message.into(), hint };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub(super) fn visit(&mut self, expression: &IdedExpr) {
        match &expression.expr {
            Expr::Ident(_) | Expr::Select(_) => self.visit_chain(expression),
            Expr::Call(call) if call.func_name == operators::INDEX => self.visit_chain(expression),
            Expr::Call(call) => self.visit_call(expression, call),
            Expr::Comprehension(comprehension) => self.visit_comprehension(expression, comprehension),
            Expr::List(list) => list.elements.iter().for_each(|element| self.visit(element)),
            Expr::Literal(literal) => self.visit_literal(expression, literal),
            Expr::Map(_) | Expr::Struct(_) => {
                self.problem(expression.id, "a condition may not build an object", None);
            }
            Expr::Unspecified => self.problem(expression.id, "the condition is incomplete", None),
        }
    }

    fn visit_chain(&mut self, expression: &IdedExpr) {
        match self.reference(expression) {
            Some(reference) => self.record(expression, &reference),
            None => match &expression.expr {
                Expr::Select(select) => self.visit(&select.operand),
                Expr::Call(call) => {
                    if !matches!(call.args.get(1).map(|index| &index.expr), Some(Expr::Literal(_))) {
                        let hint = "write the member as text, as in `args[\"name\"]`, or use `exists`".to_owned();
                        self.problem(expression.id, "a computed key cannot be checked at load", Some(hint));
                    }
                    call.args.iter().for_each(|operand| self.visit(operand));
                }
                Expr::Ident(name) => self.unknown_variable(expression.id, name),
                _ => {}
            },
        }
    }

    fn unknown_variable(&mut self, at: u64, name: &str) {
        if name.starts_with('@') || TYPES.contains(&name) {
            return;
        }
        let hint = nearest(name, VARIABLES.iter().copied())
            .map(|known| format!("did you mean `{known}`?"))
            .unwrap_or_else(|| format!("conditions know {}", VARIABLES.map(|known| format!("`{known}`")).join(", ")));
        self.problem(at, format!("unknown variable `{name}`"), Some(hint));
    }

    fn record(&mut self, expression: &IdedExpr, reference: &Reference) {
        match reference {
            Reference::Variable(variable) => {
                if !matches!(expression.expr, Expr::Ident(_)) {
                    self.problem(expression.id, format!("`{}` is text and has no members", variable.name()), None);
                }
                if !self.needs.variables.contains(variable) {
                    self.needs.variables.push(*variable);
                }
            }
            Reference::Argument(path) => self.record_argument(path),
            Reference::Query(Some(name)) => push_new(&mut self.needs.query, name),
            Reference::Header(Some(name)) => push_new(&mut self.needs.headers, name),
            Reference::Query(None) => self.whole_lookup(expression.id, "query"),
            Reference::Header(None) => self.whole_lookup(expression.id, "headers"),
            Reference::Now => {
                if !matches!(expression.expr, Expr::Ident(_)) {
                    self.problem(expression.id, "`now` is a time and has no members", None);
                }
                self.needs.now = true;
            }
            Reference::Local => {}
        }
    }

    fn record_argument(&mut self, path: &ArgPath) {
        match path.steps.first() {
            Some(Step::Member(name)) => self.needs.args.member(name),
            Some(Step::Index(_) | Step::Each) | None => self.needs.args = ArgsNeed::Everything,
        }
        if !self.reads.contains(path) {
            self.reads.push(path.clone());
        }
    }

    fn whole_lookup(&mut self, at: u64, root: &str) {
        let hint = format!("name the member, as in `{root}[\"name\"]` or `has({root}.name)`");
        self.problem(at, format!("`{root}` can only be read member by member"), Some(hint));
    }

    fn visit_call(&mut self, expression: &IdedExpr, call: &CallExpr) {
        let operands = usize::from(call.target.is_some()) + call.args.len();
        if is_name(&call.func_name) {
            match FUNCTIONS.iter().find(|(name, _)| *name == call.func_name) {
                Some((_, counts)) if counts.contains(&operands) => {}
                Some((name, _)) => {
                    self.problem(expression.id, format!("`{name}` has the wrong number of arguments"), None);
                }
                None => {
                    let known = FUNCTIONS.iter().map(|(name, _)| *name).chain(MACROS);
                    let hint = nearest(&call.func_name, known).map(|name| format!("did you mean `{name}`?"));
                    self.problem(expression.id, format!("unknown function `{}`", call.func_name), hint);
                }
            }
        }
        if call.func_name == "matches" {
            self.check_pattern(expression, call);
        }
        if call.func_name == operators::IN && self.visit_member_test(&call.args) {
            return;
        }
        call.target.iter().for_each(|target| self.visit(target));
        call.args.iter().for_each(|operand| self.visit(operand));
    }

    /// `"name" in query` reads one member, not the whole. Whether the call was such a test.
    fn visit_member_test(&mut self, operands: &[IdedExpr]) -> bool {
        let [wanted, container] = operands else { return false };
        let Some(name) = text_literal(wanted) else { return false };
        match self.reference(container) {
            Some(Reference::Query(None)) => push_new(&mut self.needs.query, name),
            Some(Reference::Header(None)) => push_new(&mut self.needs.headers, name),
            Some(Reference::Argument(path)) => {
                // The container may be a list of texts as well as an object with this member.
                self.record_argument(&path);
                self.record_argument(&path.then(Step::Member(name.into())));
            }
            _ => return false,
        }
        true
    }

    fn check_pattern(&mut self, expression: &IdedExpr, call: &CallExpr) {
        match call.args.last().and_then(text_literal).map(compile_pattern) {
            Some(Ok(_)) => {}
            Some(Err(message)) => self.problem(expression.id, message, None),
            None => self.problem(expression.id, "the pattern of `matches` must be written as text", None),
        }
    }

    fn visit_literal(&mut self, expression: &IdedExpr, literal: &LiteralValue) {
        let LiteralValue::Double(double) = literal else { return };
        if !double.inner().is_finite() {
            self.problem(expression.id, "the number is too large", None);
            return;
        }
        // The parser has rounded to a double. Compare that with the digits in the source.
        let start = self.source_info.offset_for(expression.id).map_or(0, |(start, _)| start as usize);
        let written: String = self
            .source_info
            .source
            .chars()
            .skip(start)
            .enumerate()
            .take_while(|(at, c)| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E') || (*c == '-' && *at == 0))
            .map(|(_, c)| c)
            .collect();
        let exponent = written.contains(['e', 'E']);
        let kept = Number::from_checked(format!("{:?}", double.inner()));
        if !exponent && Number::from_checked(written).compare(&kept).is_ne() {
            let message = "the number has more digits than can be compared exactly";
            self.problem(expression.id, message, Some(format!("it would be read as {}", kept.as_str())));
        }
    }

    fn visit_comprehension(&mut self, expression: &IdedExpr, comprehension: &ComprehensionExpr) {
        let range = self.reference(&comprehension.iter_range);
        let from_outer = match &comprehension.iter_range.expr {
            Expr::List(_) => true,
            range => root_name(range).is_some_and(|root| self.scope.iter().any(|(name, _)| name == root)),
        };
        if self.depth > 0 && !from_outer {
            // Lists of one body multiplied with each other would cost more than the body's size allows for.
            let hint = "let the inner list come from the outer variable, as in `args.a.exists(x, x.b.exists(…))`";
            self.problem(expression.id, "lists nested in each other must be nested in the call too", Some(hint.into()));
        }
        if self.depth >= COMPREHENSION_DEPTH_MAX {
            let message = format!("`exists`, `all`, `map` and `filter` may nest {COMPREHENSION_DEPTH_MAX} deep");
            self.problem(expression.id, message, None);
            return;
        }
        self.visit(&comprehension.iter_range);
        let element = match range {
            Some(Reference::Argument(path)) => Reference::Argument(path.then(Step::Each)),
            _ => Reference::Local,
        };
        let outer = self.scope.len();
        self.scope.push((comprehension.iter_var.clone(), element));
        if let Some(second) = &comprehension.iter_var2 {
            self.scope.push((second.clone(), Reference::Local));
        }
        self.scope.push((comprehension.accu_var.clone(), Reference::Local));
        self.depth += 1;
        for part in
            [&comprehension.accu_init, &comprehension.loop_cond, &comprehension.loop_step, &comprehension.result]
        {
            self.visit_step(part);
        }
        self.depth -= 1;
        self.scope.truncate(outer);
    }

    /// The parser's own helpers inside a comprehension are not for authors to know.
    fn visit_step(&mut self, part: &IdedExpr) {
        match &part.expr {
            Expr::Call(call) if call.func_name == operators::NOT_STRICTLY_FALSE => {
                call.args.iter().for_each(|operand| self.visit_step(operand));
            }
            _ => self.visit(part),
        }
    }

    /// What a chain of members refers to; `None` when it is no such chain.
    pub(super) fn reference(&self, expression: &IdedExpr) -> Option<Reference> {
        match &expression.expr {
            Expr::Ident(name) => {
                if let Some((_, source)) = self.scope.iter().rev().find(|(known, _)| known == name) {
                    return Some(source.clone());
                }
                match name.as_str() {
                    "args" => Some(Reference::Argument(ArgPath::default())),
                    "query" => Some(Reference::Query(None)),
                    "headers" => Some(Reference::Header(None)),
                    "now" => Some(Reference::Now),
                    other => TextVariable::named(other).map(Reference::Variable),
                }
            }
            Expr::Select(select) => {
                member_of(self.reference(&select.operand)?, Step::Member(select.field.as_str().into()))
            }
            Expr::Call(call) if call.func_name == operators::INDEX => {
                let [operand, index] = call.args.as_slice() else { return None };
                let step = match &index.expr {
                    Expr::Literal(LiteralValue::String(name)) => Step::Member(name.inner().into()),
                    Expr::Literal(LiteralValue::Int(index)) => Step::Index(usize::try_from(*index.inner()).ok()?),
                    _ => return None,
                };
                member_of(self.reference(operand)?, step)
            }
            _ => None,
        }
    }
}

fn member_of(parent: Reference, step: Step) -> Option<Reference> {
    match (parent, step) {
        (Reference::Argument(path), step) => Some(Reference::Argument(path.then(step))),
        (Reference::Query(None), Step::Member(name)) => Some(Reference::Query(Some(name))),
        (Reference::Header(None), Step::Member(name)) => Some(Reference::Header(Some(name))),
        (variable @ (Reference::Variable(_) | Reference::Now), _) => Some(variable),
        (Reference::Local, _) => Some(Reference::Local),
        (Reference::Query(_) | Reference::Header(_), _) => None,
    }
}

/// Compiles a pattern within [`REGEX_BYTES_MAX`].
pub(in crate::domain::policy) fn compile_pattern(source: &str) -> Result<Regex, String> {
    RegexBuilder::new(source).size_limit(REGEX_BYTES_MAX).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => format!("the pattern needs more than {REGEX_BYTES_MAX} bytes when compiled"),
        other => format!("the pattern cannot be read: {other}"),
    })
}

pub(super) fn text_literal(expression: &IdedExpr) -> Option<&str> {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

fn root_name(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Ident(name) => Some(name),
        Expr::Select(select) => root_name(&select.operand.expr),
        Expr::Call(call) if call.func_name == operators::INDEX => call.args.first().and_then(|of| root_name(&of.expr)),
        _ => None,
    }
}

/// Operators are calls too, but under names that no author can write.
fn is_name(function: &str) -> bool {
    function.starts_with(|first: char| first.is_ascii_alphabetic())
}

fn push_new(names: &mut Vec<Box<str>>, name: &str) {
    if !names.iter().any(|known| **known == *name) {
        names.push(name.into());
    }
}

/// The known name nearest to a misspelt one, when one is near.
pub(in crate::domain::policy) fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 2 && *distance < candidate.len())
        .min()
        .map(|(_, candidate)| candidate)
}
