//! `holdpoint check`: loads everything that `serve` would load, and reports every problem.
//!
//! It starts nothing, opens no store and connects nowhere. Exit status: 0 when the configuration loads (warnings
//! included), 1 when it has errors, 2 when the configuration file cannot be read.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::load::{Loaded, Reviewers, load};
use crate::config::secrets::{Env, ProcessEnv};
use crate::config::settings::{Config, Mode};
use crate::domain::duration;

/// The arguments of `check`.
#[derive(Debug, Clone, Args)]
pub(super) struct CheckArgs {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", env = "HOLDPOINT_CONFIG")]
    config: PathBuf,
    /// How the report is written.
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    format: ReportFormat,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    /// For people.
    Text,
    /// One JSON object: `{"ok", "errors", "warnings", "diagnostics": […]}`.
    Json,
}

/// Runs `check`; the report goes to standard output.
pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let (status, report) = report(args, &ProcessEnv);
    super::say(&report);
    ExitCode::from(status)
}

/// The exit status and the report.
fn report(args: &CheckArgs, env: &dyn Env) -> (u8, String) {
    let loaded = load(&args.config, env, Reviewers::Required);
    let report = match args.format {
        ReportFormat::Text => text(&loaded),
        ReportFormat::Json => json(&loaded.diagnostics),
    };
    (status(&loaded), report)
}

/// 0, 1 or 2, as the module says.
fn status(loaded: &Loaded) -> u8 {
    match (&loaded.config, loaded.is_unreadable()) {
        (_, true) => 2,
        (None, false) => 1,
        (Some(_), false) => 0,
    }
}

/// How many errors and warnings there are.
fn counts(diagnostics: &[Diagnostic]) -> (usize, usize) {
    let errors = diagnostics.iter().filter(|found| found.severity == Severity::Error).count();
    (errors, diagnostics.len() - errors)
}

fn json(diagnostics: &[Diagnostic]) -> String {
    #[derive(Serialize)]
    struct Report<'a> {
        ok: bool,
        errors: usize,
        warnings: usize,
        diagnostics: &'a [Diagnostic],
    }
    let (errors, warnings) = counts(diagnostics);
    let report = Report { ok: errors == 0, errors, warnings, diagnostics };
    let mut text = serde_json::to_string_pretty(&report).expect("the report holds only text and numbers");
    text.push('\n');
    text
}

/// Every problem, then either the summary of what was loaded or how many problems there are.
fn text(loaded: &Loaded) -> String {
    let mut text = String::new();
    for found in &loaded.diagnostics {
        text.push_str(&found.render());
        text.push_str("\n\n");
    }
    let (errors, warnings) = counts(&loaded.diagnostics);
    // Writing into a `String` cannot fail.
    let _ = match &loaded.config {
        Some(config) => writeln!(text, "{}{}", summary(config), counted("OK", 0, warnings)),
        None => writeln!(text, "{}", counted("not loaded", errors, warnings)),
    };
    text
}

/// `OK, 2 warnings`; what is zero is left out.
fn counted(start: &str, errors: usize, warnings: usize) -> String {
    let part = |count: usize, word: &str| match count {
        0 => String::new(),
        1 => format!(", 1 {word}"),
        many => format!(", {many} {word}s"),
    };
    format!("{start}{}{}", part(errors, "error"), part(warnings, "warning"))
}

/// What was loaded, a line each. Secrets appear only as `[redacted]`.
fn summary(config: &Config) -> String {
    let mut lines = String::new();
    let mut line = |name: &str, value: String| {
        // Writing into a `String` cannot fail.
        let _ = writeln!(lines, "{:<11}{value}", format!("{name}:"));
    };
    let scheme = |tls: bool| if tls { "https" } else { "http" };
    line("proxy", format!("{}://{}", scheme(config.proxy.tls.is_some()), config.proxy.listen));
    line("admin", format!("{}://{}", scheme(config.admin.tls.is_some()), config.admin.listen));
    if let Some(url) = &config.admin.public_url {
        line("page", url.to_string());
    }
    let key = config.store.secret_key.as_ref().map_or(String::new(), |key| format!(" (secret_key {key})"));
    line("store", format!("sqlite {}{key}", config.store.path.display()));
    let mode = if config.mode == Mode::Shadow { "; shadow mode, nothing is enforced" } else { "" };
    let rules: usize = config.policies.files.iter().map(|file| file.model.rules.len()).sum();
    line("policies", format!("{} in {}{mode}", plural(rules, "rule"), plural(config.policies.files.len(), "file")));
    let anonymous = if config.anonymous { ", and callers without a credential" } else { "" };
    line("agents", format!("{}{anonymous}", list(config.agents.iter().map(|agent| agent.id.to_string()))));
    line("reviewers", list(config.reviewers.iter().map(|person| person.reviewer.id.clone())));
    for upstream in config.upstreams.values() {
        let headers = upstream.headers.iter().map(|(name, _)| format!(", {name}: [redacted]")).collect::<String>();
        let tools = plural(upstream.tools.len(), "named call");
        let timeout = duration::format(upstream.timeout);
        line("upstream", format!("{} -> {} ({tools}, timeout {timeout}{headers})", upstream.name, upstream.place));
    }
    for route in config.routes.iter() {
        line("route", format!("{} -> {}", route.path, list(route.upstreams.iter().map(ToString::to_string))));
    }
    lines
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

fn list(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const DIGESTS: [&str; 2] = [
        "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
        "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d",
    ];

    /// The exit status and the report for a configuration with `lines` added.
    fn checked(lines: &str, format: ReportFormat) -> (u8, String) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let put = |name: &str, text: &str| {
            let mut file = std::fs::File::create(folder.path().join(name)).expect("a file");
            file.write_all(text.as_bytes()).expect("its content");
        };
        let [a, b] = DIGESTS;
        put("p.yaml", "version: 1\nrules:\n  - { match: \"*\", action: allow }\n");
        put(
            "holdpoint.yaml",
            &format!(
                "version: 1\nstore: sqlite://x.db\npolicies: [p.yaml]\nagents: [ {{ id: bot, token_sha256: {a} }} ]
reviewers: [ {{ id: alice, token_sha256: {b} }} ]\n{lines}"
            ),
        );
        let args = CheckArgs { config: folder.path().join("holdpoint.yaml"), format };
        report(&args, &[("TOKEN", "canary")])
    }

    #[test]
    fn a_configuration_that_loads_is_summed_up_without_its_secrets() {
        let upstream = "upstreams: { pay: { url: \"http://h:1/x\", headers: { authorization: \"Bearer ${TOKEN}\" } } }
routes: [ { path: /pay/, upstream: pay } ]\n";
        let (status, report) = checked(upstream, ReportFormat::Text);
        assert_eq!(status, 0, "{report}");
        for part in [
            "proxy:     http://127.0.0.1:8080",
            "policies:  1 rule in 1 file",
            "agents:    bot",
            "reviewers: alice",
            "pay -> http://h:1/x (0 named calls, timeout 30s, authorization: [redacted])",
            "route:     /pay/ -> pay",
        ] {
            assert!(report.contains(part), "{part}\n{report}");
        }
        assert!(report.ends_with("OK\n") && !report.contains("canary"), "{report}");
        assert!(DIGESTS.iter().all(|digest| !report.contains(digest)), "{report}");
    }

    #[test]
    fn warnings_are_shown_and_do_not_fail() {
        let (status, report) = checked("upstreams: { pay: { url: \"http://h:1\" } }\n", ReportFormat::Text);
        assert_eq!(status, 0, "{report}");
        assert!(report.contains("warning[unused]: no route leads to the upstream `pay`"), "{report}");
        assert!(report.ends_with("OK, 1 warning\n"), "{report}");
    }

    #[test]
    fn every_error_is_shown_with_its_line_and_fails() {
        let (status, report) = checked("drain_timeot: 1s\nlog: { level: lout }\n", ReportFormat::Text);
        assert_eq!(status, 1, "{report}");
        assert!(report.contains("holdpoint.yaml:6:1") && report.contains("did you mean `drain_timeout`?"), "{report}");
        assert!(report.contains("holdpoint.yaml:7:15"), "{report}");
        assert!(report.ends_with("not loaded, 2 errors\n"), "{report}");
    }

    #[test]
    fn the_json_report_has_a_place_for_every_problem() {
        let (status, report) = checked("drain_timeot: 1s\n", ReportFormat::Json);
        assert_eq!(status, 1);
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        assert_eq!((&report["ok"], &report["errors"], &report["warnings"]), (&false.into(), &1.into(), &0.into()));
        let found = &report["diagnostics"][0];
        assert_eq!((&found["line"], &found["column"], &found["severity"]), (&6.into(), &1.into(), &"error".into()));
        assert_eq!((&found["code"], &found["hint"]), (&"unknown_key".into(), &"did you mean `drain_timeout`?".into()));
        assert!(found["file"].as_str().is_some_and(|file| file.ends_with("holdpoint.yaml")), "{found}");
    }

    #[test]
    fn a_file_that_cannot_be_read_has_its_own_status() {
        let args = CheckArgs { config: PathBuf::from("/nonexistent/holdpoint.yaml"), format: ReportFormat::Text };
        let env: [(&str, &str); 0] = [];
        let (status, report) = report(&args, &env);
        assert_eq!(status, 2, "{report}");
        assert!(report.contains("cannot be read"), "{report}");
    }
}
