//! What the checks found, for people and for CI.

use std::fmt::Write as _;

use serde::Serialize;

/// What to do where no configuration is to blame.
pub(super) const DEFECT: &str = "this is a defect of Holdpoint and not of your configuration: please report it";

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(super) enum Finding {
    /// It holds.
    Pass {
        /// What was done to see it.
        shown: String,
    },
    /// It does not.
    Fail {
        /// What should have happened.
        expected: String,
        /// What did.
        happened: String,
        /// What to do.
        advice: String,
    },
    /// This configuration gives no occasion for it.
    NotApplicable {
        /// Why not.
        reason: String,
    },
}

impl Finding {
    pub(super) fn pass(shown: impl Into<String>) -> Self {
        Self::Pass { shown: shown.into() }
    }

    pub(super) fn fail(expected: impl Into<String>, happened: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Fail { expected: expected.into(), happened: happened.into(), advice: advice.into() }
    }

    pub(super) fn not_applicable(reason: impl Into<String>) -> Self {
        Self::NotApplicable { reason: reason.into() }
    }
}

/// A check: its stable id and what it claims, in one sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) id: &'static str,
    pub(super) claim: &'static str,
}

/// One line of the report.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Line {
    check: &'static str,
    /// The rule or route that it is about; `None`: the whole configuration.
    subject: Option<String>,
    claim: &'static str,
    #[serde(flatten)]
    finding: Finding,
}

/// All lines, in the order in which the checks ran.
#[derive(Debug, Default)]
pub(super) struct Report {
    lines: Vec<Line>,
}

/// The report as JSON.
#[derive(Serialize)]
struct Summary<'r> {
    ok: bool,
    passed: usize,
    failed: usize,
    not_applicable: usize,
    checks: &'r [Line],
}

impl Report {
    pub(super) fn add(&mut self, check: Check, subject: Option<&str>, finding: Finding) {
        let Check { id, claim } = check;
        self.lines.push(Line { check: id, subject: subject.map(str::to_owned), claim, finding });
    }

    fn count(&self, wanted: impl Fn(&Finding) -> bool) -> usize {
        self.lines.iter().filter(|line| wanted(&line.finding)).count()
    }

    pub(super) fn failed(&self) -> usize {
        self.count(|finding| matches!(finding, Finding::Fail { .. }))
    }

    fn summary(&self) -> Summary<'_> {
        let failed = self.failed();
        Summary {
            ok: failed == 0,
            passed: self.count(|finding| matches!(finding, Finding::Pass { .. })),
            failed,
            not_applicable: self.count(|finding| matches!(finding, Finding::NotApplicable { .. })),
            checks: &self.lines,
        }
    }

    /// One JSON object and a line break.
    pub(super) fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(&self.summary()).expect("a report holds text and numbers only");
        text.push('\n');
        text
    }

    /// One line for each check under its subject, and what was seen and what to do below one that failed.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut subjects: Vec<Option<&str>> = vec![None];
        for line in &self.lines {
            if !subjects.contains(&line.subject.as_deref()) {
                subjects.push(line.subject.as_deref());
            }
        }
        // Writing into a `String` cannot fail.
        for subject in subjects {
            let _ =
                writeln!(text, "{}{}", if text.is_empty() { "" } else { "\n" }, subject.unwrap_or("the configuration"));
            for line in self.lines.iter().filter(|line| line.subject.as_deref() == subject) {
                line.write(&mut text);
            }
        }
        let Summary { passed, failed, not_applicable, .. } = self.summary();
        let _ = writeln!(text, "\n{passed} passed, {failed} failed, {not_applicable} not applicable");
        text
    }
}

impl Line {
    fn write(&self, text: &mut String) {
        let (word, more) = match &self.finding {
            Finding::Pass { .. } => ("ok  ", String::new()),
            Finding::Fail { .. } => ("FAIL", String::new()),
            Finding::NotApplicable { reason } => ("n/a ", format!(" ({reason})")),
        };
        // Writing into a `String` cannot fail.
        let _ = writeln!(text, "  {word}  {:<24} {}{more}", self.check, self.claim);
        if let Finding::Fail { expected, happened, advice } = &self.finding {
            for (name, value) in [("expected", expected), ("happened", happened), ("to do", advice)] {
                let _ = writeln!(text, "        {name:<9} {value}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_was_expected_what_happened_and_what_to_do() {
        let mut report = Report::default();
        let check = |id| Check { id, claim: "it holds" };
        report.add(check("a.b"), None, Finding::pass("once"));
        report.add(check("c.d"), Some("rule `x`"), Finding::not_applicable("no such thing"));
        assert_eq!(report.failed(), 0);
        report.add(check("e.f"), Some("rule `x`"), Finding::fail("this", "that", "do so"));
        let text = report.text();
        for part in ["the configuration\n  ok    a.b", "\nrule `x`\n  n/a   c.d", "(no such thing)\n  FAIL  e.f"] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(text.contains("        expected  this\n        happened  that\n        to do     do so\n"), "{text}");
        assert!(text.ends_with("\n1 passed, 1 failed, 1 not applicable\n"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
        assert_eq!((&json["ok"], &json["failed"]), (&false.into(), &1.into()));
        assert_eq!(json["checks"][2]["result"], "fail");
        assert_eq!(json["checks"][1]["reason"], "no such thing");
    }
}
