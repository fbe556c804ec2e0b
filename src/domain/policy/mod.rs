//! Policy: from YAML rules to one verdict on one call.
//!
//! [`model`] is the file as written, [`compile()`] turns files into one checked list, [`matcher`] finds the rules that match
//! by name, [`condition`] evaluates `when`, and [`decide`] gives the verdict. [`cases`] and [`lint`] are for authors.
//! Nothing here reads a file, a clock or the environment, or knows HTTP.
//!
//! Invariants: the first matching rule wins; a condition that cannot be evaluated never loosens; numbers are compared
//! by their exact decimal value; what is not understood is an error at load, never ignored.

pub mod cases;
pub mod compile;
pub mod condition;
pub mod decide;
pub mod explain;
pub mod glob;
pub mod lint;
pub mod matcher;
pub mod model;
pub mod redact;
pub mod rule;
pub mod summary;
mod tool_change;
pub mod view;

pub use compile::{API_LABEL, CompiledPolicy, DEFAULT_LABEL, PathSegment, PolicyError, PolicyFile, compile};
pub use decide::{Decision, Verdict, VerdictKind};
pub use rule::{HOLD_DEFAULT, Rule};
pub use view::{Args, CallView};
