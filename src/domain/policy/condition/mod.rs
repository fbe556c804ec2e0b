//! `when`: conditions in CEL over one call.
//!
//! A condition is parsed and checked at load and lowered to typed predicates (`predicate`); what has no typed form is
//! run by the CEL interpreter (`interpret`). Evaluation answers true, false, or why it cannot be evaluated; what the
//! last means for a rule is decided in [`super::decide`], and it never loosens.
//!
//! Deliberately not accepted: computed keys (`args[agent]`), computed patterns, and objects built inside a condition,
//! because what they read or cost cannot be known at load.

mod check;
mod interpret;
mod lower;
mod path;
mod predicate;
#[cfg(test)]
mod tests;

pub(super) use check::compile_pattern;
pub use interpret::INTERPRETED_VALUES_MAX;
pub use path::{ArgPath, Step};

use cel::parser::Parser;

use super::view::CallView;
use check::Walk;
use predicate::Predicate;

/// The longest source of one condition, in bytes.
pub const SOURCE_BYTES_MAX: usize = 1_024;

/// The stack a thread needs to parse any source of [`SOURCE_BYTES_MAX`]: the parser recurses a dozen frames for each
/// opening parenthesis.
pub const PARSER_STACK_BYTES: usize = 64 << 20;

/// A compiled condition.
#[derive(Debug)]
pub struct Condition {
    source: Box<str>,
    predicate: Predicate,
    reads: Vec<ArgPath>,
}

/// What is wrong with the source of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The column in the source, counted from 1, when known.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Why a condition cannot be evaluated on one call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// A member that the condition reads does not exist. `has(…)` asks without failing.
    #[error("`{path}` is missing")]
    Missing {
        /// The path.
        path: String,
    },
    /// A query parameter or header that the condition reads was given more than once.
    #[error("`{path}` is given more than once")]
    Repeated {
        /// The path.
        path: String,
    },
    /// A truth value was needed.
    #[error("`{what}` is {kind}, not true or false")]
    NotBool {
        /// What was read.
        what: String,
        /// What it is.
        kind: &'static str,
    },
    /// Text was needed.
    #[error("`{what}` is {kind}, not text")]
    NotText {
        /// What was read.
        what: String,
        /// What it is.
        kind: &'static str,
    },
    /// `size` of something that has none.
    #[error("`{what}` is {kind}, which has no size")]
    NoSize {
        /// What was read.
        what: String,
        /// What it is.
        kind: &'static str,
    },
    /// `<`, `<=`, `>` or `>=` across kinds, or of kinds without an order.
    #[error("{left} and {right} have no order")]
    NotOrdered {
        /// What stands on the left.
        left: &'static str,
        /// What stands on the right.
        right: &'static str,
    },
    /// `in` on something that contains nothing of the kind.
    #[error("{container} cannot contain {wanted}")]
    NotContained {
        /// What is looked for.
        wanted: &'static str,
        /// Where it is looked for.
        container: &'static str,
    },
    /// A number that the interpreter would have to round. Which one is not said: it may be one that is redacted.
    #[error("a number among the arguments cannot be computed with exactly")]
    InexactNumber,
    /// More values than [`INTERPRETED_VALUES_MAX`].
    #[error("the arguments have more than {INTERPRETED_VALUES_MAX} values, too many for this condition")]
    TooManyValues,
    /// The time of the call is outside the years that can be named.
    #[error("the time of the call is out of range")]
    ClockOutOfRange,
    /// The body was needed and not read.
    #[error("the body was not read")]
    Unread,
    /// What the interpreter could not do.
    #[error("{0}")]
    Interpreter(&'static str),
}

impl Condition {
    /// Compiles a source. Must run on a thread with [`PARSER_STACK_BYTES`] of stack when the source is not trusted.
    ///
    /// # Errors
    /// Everything that is wrong with the source, at once.
    pub fn compile(source: &str) -> Result<Self, Vec<Problem>> {
        if source.len() > SOURCE_BYTES_MAX {
            let message = format!("the condition has {} bytes, more than {SOURCE_BYTES_MAX}", source.len());
            let hint = Some("split the rule into several".to_owned());
            return Err(vec![Problem { column: None, message, hint }]);
        }
        let (expression, info) = Parser::default().parse_with_source_info(source).map_err(|errors| {
            let problem = |error: &cel::parser::ParseError| Problem {
                column: usize::try_from(error.pos.1).ok().filter(|column| *column > 0),
                message: format!("the condition cannot be read: {}", error.msg),
                hint: None,
            };
            errors.errors.iter().map(problem).collect::<Vec<_>>()
        })?;
        let mut walk = Walk::new(&info);
        let predicate = lower::lower(&expression, &mut walk);
        if walk.problems.is_empty() {
            Ok(Self { source: source.into(), predicate, reads: walk.reads })
        } else {
            Err(walk.problems)
        }
    }

    /// The source as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Evaluates the condition.
    ///
    /// # Errors
    /// When it cannot be evaluated on this call.
    pub fn eval(&self, call: &CallView<'_>) -> Result<bool, EvalError> {
        self.predicate.eval(call)
    }

    /// Whether the arguments must have been read.
    pub fn reads_args(&self) -> bool {
        !self.reads.is_empty()
    }

    /// Every path into the arguments that the condition reads.
    pub fn reads(&self) -> &[ArgPath] {
        &self.reads
    }

    /// The truth value, when it is the same for every call.
    pub fn constant(&self) -> Option<bool> {
        match self.predicate {
            Predicate::Constant(value) => Some(value),
            _ => None,
        }
    }
}
