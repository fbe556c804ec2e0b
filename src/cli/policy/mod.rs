//! `holdpoint policy`: tools for people who write policies.
//!
//! Exit status: 0 for yes, 1 for no (a case failed, something was found), 2 when the question could not be answered
//! (a file that does not load, arguments that cannot be read).

mod explain;
mod lint;
mod load;
#[cfg(test)]
mod shipped_tests;
mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::schema;
use crate::config::diagnostic::{Diagnostic, in_order};
use crate::config::policies::{LoadedPolicies, PolicyPath, load_policies};
use crate::domain::policy::CompiledPolicy;

/// The commands under `policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Judge one call and show every rule tried and why
    Explain(Box<explain::ExplainArgs>),
    /// Run the cases beside policies (`*.cases.yaml`)
    Test(test::TestArgs),
    /// Find rules that can never decide, and calls that nothing is said about
    Lint(lint::LintArgs),
    /// Print the JSON Schema of a policy or of the configuration
    Schema(schema::SchemaArgs),
}

/// Runs a command under `policy`.
pub fn run(command: &PolicyCommand) -> ExitCode {
    match command {
        PolicyCommand::Explain(args) => explain::run(args),
        PolicyCommand::Test(args) => test::run(args),
        PolicyCommand::Lint(args) => lint::run(args),
        PolicyCommand::Schema(args) => schema::run(args),
    }
}

/// What a command has to say: the exit status, and the texts for standard output and standard error.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    status: u8,
    out: String,
    err: String,
}

impl Outcome {
    /// The question could not be answered.
    fn unanswered(err: String) -> Self {
        Self { status: 2, out: String::new(), err }
    }

    fn report(&self) -> ExitCode {
        if !self.err.is_empty() {
            super::complain(self.err.trim_end());
        }
        if !self.out.is_empty() {
            super::say(&self.out);
        }
        ExitCode::from(self.status)
    }
}

/// Loads policy files and folders.
///
/// # Errors
/// Every problem, rendered.
fn policy(paths: &[PathBuf]) -> Result<(CompiledPolicy, LoadedPolicies), String> {
    let paths: Vec<PolicyPath> = paths.iter().map(|path| named(path)).collect();
    let mut loaded = load_policies(&paths);
    match loaded.compiled.take() {
        Some(compiled) => Ok((compiled, loaded)),
        None => Err(rendered(loaded.diagnostics)),
    }
}

fn named(path: &Path) -> PolicyPath {
    PolicyPath { name: path.display().to_string(), path: path.to_owned() }
}

fn rendered(diagnostics: Vec<Diagnostic>) -> String {
    in_order(diagnostics).iter().map(|found| format!("{}\n\n", found.render())).collect()
}

/// As JSON with a final line break.
fn json(value: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("reports hold text, numbers and lists only");
    text.push('\n');
    text
}
