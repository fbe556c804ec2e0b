//! `holdpoint policy explain`: one call in, the verdict and the way to it out.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::Outcome;
use crate::domain::policy::explain::{Explanation, Tried};
use crate::domain::policy::model::Action;
use crate::domain::policy::view::Pairs;
use crate::domain::policy::{self, CallView, VerdictKind};
use crate::domain::time::{Clock, Timestamp};
use crate::domain::tools::Annotations;
use crate::protocol::json::{self, Limits, confusable_with};
use crate::telemetry::clock::SystemClock;

/// Arguments of `policy explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A policy file, or a folder of them; may be given more than once
    #[arg(long, short, value_name = "PATH", required = true)]
    policy: Vec<PathBuf>,
    /// The tool's name
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    tool: String,
    /// The arguments of the call, as JSON; left out, the call has no body
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    args: Option<String>,
    /// The id of the calling agent
    #[arg(long, value_name = "ID", default_value = "")]
    agent: String,
    /// The name of the upstream
    #[arg(long, value_name = "NAME", default_value = "")]
    upstream: String,
    /// The HTTP method
    #[arg(long, value_name = "METHOD", default_value = "POST")]
    method: String,
    /// The path of the request
    #[arg(long, value_name = "PATH", default_value = "/")]
    path: String,
    /// A query parameter; may be given more than once
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_and_value)]
    query: Vec<(String, String)>,
    /// A header; may be given more than once
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_and_value)]
    header: Vec<(String, String)>,
    /// What the MCP server says of the tool, as JSON such as '{"readOnlyHint": true}', '{}' for nothing; left out, the call is plain HTTP
    #[arg(long, value_name = "JSON")]
    annotations: Option<String>,
    /// The time of the call, as RFC 3339; left out, the present
    #[arg(long, value_name = "TIME")]
    now: Option<String>,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON object: `{"decision", "rule", "rule_kind", "tried": […]}`
    Json,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// The answer in JSON. Scripts read it: keys are added, never changed.
#[derive(Serialize)]
struct Answer<'a> {
    decision: VerdictKind,
    rule: Option<&'a str>,
    rule_kind: Option<Action>,
    tried: &'a [Tried],
}

/// Runs `policy explain`.
pub(super) fn run(args: &ExplainArgs) -> ExitCode {
    outcome(args, &SystemClock).report()
}

fn outcome(args: &ExplainArgs, clock: &dyn Clock) -> Outcome {
    match explanation(args, clock) {
        Err(problem) => Outcome::unanswered(problem),
        Ok(explanation) => {
            let out = match args.format {
                Format::Json => super::json(&Answer {
                    decision: explanation.decision,
                    rule: explanation.rule.as_deref(),
                    rule_kind: explanation.rule_kind,
                    tried: &explanation.tried,
                }),
                Format::Text => text(&explanation),
            };
            Outcome { status: 0, out, err: String::new() }
        }
    }
}

fn explanation(args: &ExplainArgs, clock: &dyn Clock) -> Result<Explanation, String> {
    let (policy, _) = super::policy(&args.policy)?;
    let value = args.args.as_deref().map(|text| json::read(text.as_bytes(), &Limits::default())).transpose();
    let value = value.map_err(|error| {
        format!(
            "--args would be refused as `{}`: {error}\nhint: give one JSON value, for example '{{\"amount\": 5}}'",
            error.code()
        )
    })?;
    let annotations: Option<Annotations> =
        args.annotations.as_deref().map(serde_json::from_str).transpose().map_err(|error| {
            format!(
                "--annotations is not what it must be: {error}\nhint: write for example '{{\"readOnlyHint\": true}}'"
            )
        })?;
    let now = match args.now.as_deref() {
        None => clock.now(),
        Some(text) => Timestamp::parse(text)
            .ok_or_else(|| format!("--now `{text}` is no time; write one such as 2026-01-31T12:00:00Z"))?,
    };
    let (query, headers) = (Pairs::query(args.query.clone()), Pairs::headers(args.header.clone()));
    let call = CallView {
        tool: &args.tool,
        agent: &args.agent,
        upstream: &args.upstream,
        method: &args.method,
        path: &args.path,
        query: &query,
        headers: &headers,
        args: value.as_ref().map_or(policy::Args::Absent, policy::Args::Read),
        claims: annotations.into(),
        now,
    };
    if let Some(value) = &value
        && let Some(key) = policy.confusable_key(&call, value, &confusable_with)
    {
        return Err(format!(
            "--args would be refused as `confusable_key`: `{key}` could be taken for a key that a rule reads"
        ));
    }
    Ok(policy.explain(&call))
}

fn text(explanation: &Explanation) -> String {
    let by = match (&explanation.rule, explanation.default_used) {
        (Some(rule), _) => format!("by rule `{rule}`"),
        (None, true) => "by the default, since no rule matches".to_owned(),
        (None, false) => "since no rule matches and no default is set".to_owned(),
    };
    let mut text = format!("{} {by}\n", explanation.decision.as_str());
    // Writing into a `String` cannot fail.
    if let Some(reason) = &explanation.reason {
        let _ = writeln!(text, "reason: {reason}");
    }
    let _ = writeln!(text, "revision: {}\n\ntried, in order:", explanation.revision);
    for tried in &explanation.tried {
        let _ = write!(text, "  {} ({}, {}): ", tried.rule, tried.action.as_str(), tried.file);
        let _ = write!(text, "{}", tried.outcome.as_text());
        let _ = match &tried.error {
            Some(error) => writeln!(text, " ({error})"),
            None => writeln!(text),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: ExplainArgs,
    }

    struct Sunday;

    impl Clock for Sunday {
        fn now(&self) -> Timestamp {
            Timestamp::parse("2026-11-22T15:30:00Z").expect("a literal")
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a test writes the file that the command reads")]
    fn explain(policy: &str, args: &[&str]) -> Outcome {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("p.yaml");
        std::fs::write(&file, policy).expect("a file");
        let file = file.display().to_string();
        let line = [&["explain", "--policy", file.as_str()], args].concat();
        outcome(&Command::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).args, &Sunday)
    }

    const POLICY: &str = "version: 1\nrules:\n  - {match: 'payments.*', when: args.amount <= 100, action: allow}\n  - {id: big, match: 'payments.*', action: require_approval}\n  - {id: weekend, match: 'db.*', when: now.getDayOfWeek() == 0, action: block}\n  - {match: 'audit.*', action: audit}\n";

    fn json_of(outcome: &Outcome) -> serde_json::Value {
        assert_eq!(outcome.status, 0, "{}", outcome.err);
        serde_json::from_str(&outcome.out).expect("JSON")
    }

    #[test]
    fn the_answer_names_the_decision_the_rule_and_its_kind() {
        for (args, decision, rule, kind, tried) in [
            (
                vec!["--tool", "payments.refund", "--args", r#"{"amount":1e2}"#],
                "ALLOWED",
                Some("payments.*"),
                Some("allow"),
                1,
            ),
            (
                vec!["--tool", "payments.refund", "--args", r#"{"amount":101}"#],
                "WAITING_FOR_APPROVAL",
                Some("big"),
                Some("require_approval"),
                2,
            ),
            (vec!["--tool", "db.drop"], "BLOCKED", Some("weekend"), Some("block"), 3),
            (vec!["--tool", "db.drop", "--now", "2026-11-23T00:00:00Z"], "ALLOWED", None, None, 4),
            (vec!["--tool", "audit.x"], "AUDIT", Some("audit.*"), Some("audit"), 4),
            (vec!["--tool", ""], "ALLOWED", None, None, 4),
        ] {
            let answer = json_of(&explain(POLICY, &[args.as_slice(), &["--format", "json"]].concat()));
            assert_eq!(answer["decision"], decision, "{args:?}");
            assert_eq!(answer["rule"].as_str(), rule, "{args:?}");
            assert_eq!(answer["rule_kind"].as_str(), kind, "{args:?}");
            assert_eq!(answer["tried"].as_array().map(Vec::len), Some(tried), "{args:?}");
            assert_eq!(answer.as_object().map(serde_json::Map::len), Some(4));
        }
    }

    #[test]
    fn the_text_shows_the_way() {
        let outcome = explain(POLICY, &["--tool", "payments.refund"]);
        assert!(outcome.out.starts_with("WAITING_FOR_APPROVAL by rule `big`\n"), "{}", outcome.out);
        assert!(outcome.out.contains("so it does not allow (`args.amount` is missing)"), "{}", outcome.out);
    }

    #[test]
    fn what_cannot_be_answered_is_told_on_standard_error() {
        for (policy, args, says) in [
            (POLICY, vec!["--tool", "t", "--args", "{"], "--args would be refused as `bad_json`"),
            (POLICY, vec!["--tool", "t", "--args", r#"{"a":1,"a":2}"#], "--args would be refused as `duplicate_key`"),
            (POLICY, vec!["--tool", "payments.x", "--args", r#"{"Amount":1}"#], "`Amount` could be taken for"),
            (POLICY, vec!["--tool", "t", "--now", "noon"], "--now `noon` is no time"),
            ("version: 1\nrules: [{match: t, action: deny}]\n", vec!["--tool", "t"], "deny"),
        ] {
            let outcome = explain(policy, &args);
            assert_eq!((outcome.status, outcome.out.as_str()), (2, ""), "{args:?}");
            assert!(outcome.err.contains(says), "{args:?}: {}", outcome.err);
        }
    }
}
