//! `holdpoint policy test`: runs the cases beside policies.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::Outcome;
use super::load::{self, Pair, StrictReader};
use crate::domain::policy::cases::{self, Report};

/// Arguments of `policy test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Files of cases, policies with cases beside them, or folders
    #[arg(value_name = "PATH", default_value = "policies")]
    paths: Vec<PathBuf>,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Fail when less than this share of all rules, in percent, is hit by a case
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    coverage_threshold: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON object
    Json,
    /// JUnit XML, for CI
    Junit,
}

/// What came of one file of cases.
#[derive(Debug, Serialize)]
struct FileReport {
    file: String,
    policy: String,
    #[serde(flatten)]
    report: Report,
    coverage_percent: usize,
}

/// What came of everything.
#[derive(Debug, Serialize)]
struct Summary {
    passed: usize,
    failed: usize,
    rules: usize,
    coverage_percent: usize,
    files: Vec<FileReport>,
}

/// Runs `policy test`.
pub(super) fn run(args: &TestArgs) -> ExitCode {
    outcome(args).report()
}

fn outcome(args: &TestArgs) -> Outcome {
    let summary = match summary(args) {
        Ok(summary) => summary,
        Err(problem) => return Outcome::unanswered(problem),
    };
    let out = match args.format {
        Format::Text => text(&summary),
        Format::Json => super::json(&summary),
        Format::Junit => junit(&summary),
    };
    let mut err = String::new();
    if let Some(threshold) = args.coverage_threshold
        && summary.coverage_percent < usize::from(threshold)
    {
        err = format!("cases hit {}% of the rules, less than {threshold}%", summary.coverage_percent);
    }
    Outcome { status: u8::from(summary.failed > 0 || !err.is_empty()), out, err }
}

fn summary(args: &TestArgs) -> Result<Summary, String> {
    let mut pairs: Vec<Pair> = Vec::new();
    for path in &args.paths {
        for pair in load::find(path).map_err(|found| found.render())? {
            // A folder and a file in it may both be named.
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
    }
    let files = pairs.iter().map(run_pair).collect::<Result<Vec<_>, _>>()?;
    let results = || files.iter().flat_map(|file| &file.report.results);
    let failed = results().filter(|result| result.failure.is_some()).count();
    let rules: usize = files.iter().map(|file| file.report.rules).sum();
    let unhit: usize = files.iter().map(|file| file.report.unhit.len()).sum();
    Ok(Summary {
        passed: results().count() - failed,
        failed,
        rules,
        coverage_percent: ((rules - unhit) * 100).checked_div(rules).unwrap_or(100),
        files,
    })
}

fn run_pair(pair: &Pair) -> Result<FileReport, String> {
    let (policy, _) = super::policy(std::slice::from_ref(&pair.policy))?;
    let cases = load::cases(&pair.cases).map_err(super::rendered)?;
    let report = cases::run(&policy, &cases, &StrictReader);
    Ok(FileReport {
        file: pair.cases.display().to_string(),
        policy: pair.policy.display().to_string(),
        coverage_percent: report.coverage_percent(),
        report,
    })
}

fn text(summary: &Summary) -> String {
    let mut text = String::new();
    // Writing into a `String` cannot fail.
    for file in &summary.files {
        let _ = writeln!(text, "{}", file.file);
        for result in &file.report.results {
            let _ = match &result.failure {
                None => writeln!(text, "  ok    {}", result.name),
                Some(failure) => writeln!(text, "  FAIL  {}: {failure}", result.name),
            };
        }
        if !file.report.unhit.is_empty() {
            let _ = writeln!(text, "  no case hits: {}", file.report.unhit.join(", "));
        }
    }
    let Summary { passed, failed, rules, coverage_percent, .. } = summary;
    let _ = writeln!(text, "\n{passed} passed, {failed} failed; {coverage_percent}% of {rules} rules hit");
    text
}

fn junit(summary: &Summary) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let total = summary.passed + summary.failed;
    // Writing into a `String` cannot fail.
    let _ = writeln!(xml, "<testsuites tests=\"{total}\" failures=\"{}\">", summary.failed);
    for file in &summary.files {
        let results = &file.report.results;
        let failures = results.iter().filter(|result| result.failure.is_some()).count();
        let name = escaped(&file.file);
        let _ = writeln!(xml, "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{failures}\">", results.len());
        for result in results {
            let _ = write!(xml, "    <testcase classname=\"{name}\" name=\"{}\"", escaped(&result.name));
            let _ = match &result.failure {
                None => writeln!(xml, "/>"),
                Some(failure) => writeln!(xml, "><failure message=\"{}\"/></testcase>", escaped(failure)),
            };
        }
        let _ = writeln!(xml, "  </testsuite>");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// For an XML attribute. Control characters have no form in XML 1.0 and become `�`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            control if control.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: TestArgs,
    }

    const POLICY: &str = "version: 1\ndefault: block\nrules:\n  - {id: a, match: t, when: args.n <= 5, action: allow}\n  - {id: b, match: t, action: require_approval}\n";

    #[expect(clippy::disallowed_methods, reason = "a test writes the files that the command reads")]
    fn test(files: &[(&str, &str)], args: &[&str]) -> Outcome {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        let path = folder.path().display().to_string();
        let line = [&["test", path.as_str()], args].concat();
        outcome(&Command::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).args)
    }

    const PASSING: &str = "cases:\n  - {name: small, request: {tool: t, args: {n: 5}}, expect: {verdict: ALLOWED, rule: a}}\n  - {name: twice, request: {tool: t, args_json: '{\"n\":1,\"n\":2}'}, expect: {refused: duplicate_key}}\n  - {name: none, request: {tool: u}, expect: {verdict: BLOCKED, rule: null}}\n";
    const FAILING: &str = "cases:\n  - {name: 'a \"<b>\"', request: {tool: t}, expect: {verdict: ALLOWED}}\n";

    #[test]
    fn passing_cases_are_counted_and_unhit_rules_named() {
        let files = [("p.yaml", POLICY), ("p.cases.yaml", PASSING)];
        let outcome = test(&files, &[]);
        assert_eq!(outcome.status, 0, "{outcome:?}");
        assert!(outcome.out.contains("no case hits: b"), "{}", outcome.out);
        assert!(outcome.out.ends_with("3 passed, 0 failed; 50% of 2 rules hit\n"), "{}", outcome.out);
        assert_eq!(test(&files, &["--coverage-threshold", "50"]).status, 0);
        let below = test(&files, &["--coverage-threshold", "51"]);
        assert_eq!((below.status, below.err.as_str()), (1, "cases hit 50% of the rules, less than 51%"));
    }

    #[test]
    fn failing_cases_fail_in_every_format() {
        let files = [("p.yaml", POLICY), ("p.cases.yaml", FAILING)];
        let failure = "expected ALLOWED, got WAITING_FOR_APPROVAL by `b`; the condition of `a`: `args.n` is missing";
        let by_text = test(&files, &[]);
        assert!(by_text.status == 1 && by_text.out.contains(&format!("FAIL  a \"<b>\": {failure}")), "{by_text:?}");
        let by_json = test(&files, &["--format", "json"]);
        let report: serde_json::Value = serde_json::from_str(&by_json.out).expect("JSON");
        assert_eq!((by_json.status, &report["files"][0]["results"][0]["failure"]), (1, &failure.into()));
        let by_junit = test(&files, &["--format", "junit"]);
        assert!(by_junit.out.contains("name=\"a &quot;&lt;b&gt;&quot;\""), "{}", by_junit.out);
        assert!(by_junit.out.contains("<failure message=\"expected ALLOWED"), "{}", by_junit.out);
    }

    #[test]
    fn what_cannot_be_run_is_no_failure_of_the_policy() {
        for (files, says) in [
            (vec![("p.yaml", POLICY)], "holds no cases"),
            (vec![("p.cases.yaml", PASSING)], "cannot be read"),
            (vec![("p.yaml", POLICY), ("p.cases.yaml", "cases: [{nam: x}]\n")], "nam"),
            (vec![("p.yaml", "version: 3\n"), ("p.cases.yaml", PASSING)], "version"),
        ] {
            let outcome = test(&files, &[]);
            assert!(outcome.status == 2 && outcome.err.contains(says), "{says}: {outcome:?}");
        }
    }
}
