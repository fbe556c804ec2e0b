//! `holdpoint policy lint`: what is allowed in a policy and probably not meant.
//!
//! With `--config` the agents, upstreams and reviewers are known too, and more can be seen. Gates that no reviewer can
//! open are errors of loading the configuration and are told as such.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::Outcome;
use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::load::{Reviewers, load};
use crate::config::policies::PolicySource;
use crate::config::secrets::ProcessEnv;
use crate::domain::policy::CompiledPolicy;
use crate::domain::policy::lint::{Finding, FindingKind, Surroundings, lint};

/// Arguments of `policy lint`.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// Policy files and folders
    #[arg(value_name = "PATH", default_value = "policies", conflicts_with = "config")]
    paths: Vec<PathBuf>,
    /// A configuration: its policies are looked over, knowing its agents, upstreams and reviewers
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON object: `{"ok", "findings": […]}`
    Json,
}

/// A finding with its line.
#[derive(Serialize)]
struct Placed<'f> {
    #[serde(flatten)]
    finding: &'f Finding,
    line: Option<usize>,
    column: Option<usize>,
}

/// Runs `policy lint`.
pub(super) fn run(args: &LintArgs) -> ExitCode {
    outcome(args).report()
}

fn outcome(args: &LintArgs) -> Outcome {
    match &args.config {
        Some(config) => {
            let loaded = load(config, &ProcessEnv, Reviewers::Required);
            let Some(config) = loaded.config else { return Outcome::unanswered(super::rendered(loaded.diagnostics)) };
            let agents: Vec<String> = config.agents.iter().map(|agent| agent.id.0.clone()).collect();
            let upstreams: Vec<String> = config.upstreams.keys().map(ToString::to_string).collect();
            // An anonymous caller is an agent that no list names.
            let agents = (!config.anonymous).then_some(agents.as_slice());
            let surroundings = Surroundings { agents, upstreams: Some(&upstreams) };
            report(args.format, config.policies.compiled(), &config.policies.files, surroundings)
        }
        None => match super::policy(&args.paths) {
            Ok((policy, loaded)) => report(args.format, &policy, &loaded.files, Surroundings::default()),
            Err(problem) => Outcome::unanswered(problem),
        },
    }
}

fn report(format: Format, policy: &CompiledPolicy, files: &[PolicySource], surroundings: Surroundings<'_>) -> Outcome {
    let findings = lint(policy, surroundings);
    let diagnostics: Vec<Diagnostic> = findings.iter().map(|finding| placed(finding, files)).collect();
    let out = match format {
        Format::Json => {
            let place = |(finding, found): (_, &Diagnostic)| Placed {
                finding,
                line: found.place.map(|place| place.line),
                column: found.place.map(|place| place.column),
            };
            let findings: Vec<Placed<'_>> = findings.iter().zip(&diagnostics).map(place).collect();
            super::json(&serde_json::json!({ "ok": findings.is_empty(), "findings": findings }))
        }
        Format::Text if findings.is_empty() => format!("{} rules, nothing found\n", policy.rules().len()),
        Format::Text => super::rendered(diagnostics),
    };
    Outcome { status: u8::from(!findings.is_empty()), out, err: String::new() }
}

fn placed(finding: &Finding, files: &[PolicySource]) -> Diagnostic {
    let code = match finding.kind {
        FindingKind::NoDefault => Code::Policy,
        FindingKind::NeverMatches | FindingKind::Shadowed => Code::Unused,
    };
    let name = finding.file.as_deref().unwrap_or("policies");
    let message = match &finding.rule {
        Some(rule) => format!("rule `{rule}` never decides: {}", finding.message),
        None => finding.message.clone(),
    };
    let found = match (files.iter().find(|file| file.name == name), finding.position) {
        (Some(file), Some(position)) => {
            let path = ["rules".into(), position.into(), "match".into()];
            file.document.at_value(&path, code, message)
        }
        _ => Diagnostic::of_file(name, code, message),
    };
    found.hint(&finding.hint).warning()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: LintArgs,
    }

    #[expect(clippy::disallowed_methods, reason = "a test writes the file that the command reads")]
    fn linted(policy: &str, args: &[&str]) -> Outcome {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("p.yaml");
        std::fs::write(&file, policy).expect("a file");
        let file = file.display().to_string();
        let line = [&["lint", file.as_str()], args].concat();
        outcome(&Command::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).args)
    }

    #[test]
    fn findings_have_a_line_and_exit_status_1() {
        let policy =
            "version: 1\nrules:\n  - {match: 'pay.*', action: block}\n  - {id: late, match: pay.x, action: allow}\n";
        let by_text = linted(policy, &[]);
        assert_eq!(by_text.status, 1);
        assert!(by_text.out.contains("no `default`") && by_text.out.contains("p.yaml:4:"), "{}", by_text.out);
        let by_json = linted(policy, &["--format", "json"]);
        let report: serde_json::Value = serde_json::from_str(&by_json.out).expect("JSON");
        assert_eq!(report["ok"], false);
        assert_eq!(report["findings"][1]["kind"], "shadowed");
        assert_eq!((&report["findings"][1]["line"], &report["findings"][1]["rule"]), (&4.into(), &"late".into()));
    }

    #[test]
    fn a_clean_policy_is_said_to_be_clean() {
        let outcome = linted("version: 1\ndefault: block\nrules: [{match: t, action: allow}]\n", &[]);
        assert_eq!((outcome.status, outcome.out.as_str()), (0, "1 rules, nothing found\n"));
    }

    #[test]
    fn a_policy_that_does_not_load_is_not_looked_over() {
        let outcome = linted("version: 1\nrules: [{match: t, when: tol == 'x', action: allow}]\n", &[]);
        assert!(outcome.status == 2 && outcome.err.contains("unknown variable `tol`"), "{outcome:?}");
    }
}
