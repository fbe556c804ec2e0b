//! The policy itself: that it is in force, that its cases pass, and what happens to a call that no rule names.

use std::path::Path;

use crate::cli::policy::load::{self, StrictReader};
use crate::cli::verify::report::{Check, Finding, Report};
use crate::cli::verify::search::Search;
use crate::cli::verify::world::{World, is_the_upstreams};
use crate::config::policies::{PolicyPath, load_policies};
use crate::config::settings::{Config, Mode};
use crate::domain::policy::cases::{self, CasesFile};

const ENFORCED: Check = Check { id: "policy.enforced", claim: "verdicts are enforced, not only recorded" };
const CASES: Check = Check { id: "policy.cases", claim: "every case beside the policy passes" };
const DEFAULT: Check = Check { id: "policy.default", claim: "a call that no rule names does not pass" };

/// The cases beside the policies of a configuration.
pub(in crate::cli::verify) struct Cases {
    files: Vec<(load::Pair, CasesFile)>,
}

impl Cases {
    /// All of them, one after the other.
    pub(in crate::cli::verify) fn all(&self) -> Vec<cases::Case> {
        self.files.iter().flat_map(|(_, file)| file.cases.iter().cloned()).collect()
    }
}

/// Reads the cases beside the policies; `folder` is the configuration's.
///
/// # Errors
/// A file of cases that does not load, rendered.
pub(in crate::cli::verify) fn cases(config: &Config, folder: &Path) -> Result<Cases, String> {
    let mut files = Vec::new();
    for policy in &config.policies.files {
        let path = folder.join(&policy.name);
        let cases = path.with_extension("cases.yaml");
        if cases.is_file() {
            let file = load::cases(&cases)
                .map_err(|found| found.iter().map(|found| format!("{}\n\n", found.render())).collect::<String>())?;
            files.push((load::Pair { cases, policy: path }, file));
        }
    }
    Ok(Cases { files })
}

/// What can be said without a gateway.
pub(in crate::cli::verify) fn run(config: &Config, cases: &Cases, report: &mut Report) {
    let finding = match config.mode {
        Mode::Enforce => Finding::pass("`mode: enforce`"),
        Mode::Shadow => Finding::fail(
            "the gateway acts on its verdicts",
            "`mode: shadow`: every call passes, whatever the policy says",
            "remove `mode: shadow` from the configuration once you have seen what it records",
        ),
    };
    report.add(ENFORCED, None, finding);
    if cases.files.is_empty() {
        let reason = "there is no `*.cases.yaml` beside the policies".to_owned();
        report.add(CASES, None, Finding::not_applicable(reason));
    }
    for (pair, file) in &cases.files {
        let name = pair.cases.display().to_string();
        report.add(CASES, Some(&name), of_file(pair, file));
    }
}

/// Each file of cases is about the policy beside it alone, as for `policy test`.
fn of_file(pair: &load::Pair, file: &CasesFile) -> Finding {
    let name = pair.policy.display().to_string();
    let Some(policy) = load_policies(&[PolicyPath { name, path: pair.policy.clone() }]).compiled else {
        let happened = "the policy beside the cases does not load on its own";
        return Finding::fail("every case passes", happened, "run `holdpoint policy test` on it");
    };
    let report = cases::run(&policy, file, &StrictReader);
    let failed: Vec<String> = report
        .results
        .iter()
        .filter_map(|result| result.failure.as_ref().map(|failure| format!("`{}`: {failure}", result.name)))
        .collect();
    if failed.is_empty() {
        return Finding::pass(format!("{} cases", report.results.len()));
    }
    let happened = format!("{} of {} failed: {}", failed.len(), report.results.len(), failed.join("; "));
    Finding::fail("every case passes", happened, "change the policy or the case; `holdpoint policy test` shows each")
}

/// A call that no rule names, through every route.
pub(super) fn default(world: &World<'_>, search: &Search<'_>, report: &mut Report) -> anyhow::Result<()> {
    if world.config.routes.iter().next().is_none() {
        report.add(DEFAULT, None, Finding::not_applicable("no route leads to an upstream"));
    }
    for route in world.config.routes.iter() {
        let subject = format!("route {}", route.path);
        let sample = match search.of_default(route) {
            Ok(sample) => sample.marked(world.mark()),
            Err(reason) => {
                report.add(DEFAULT, Some(&subject), Finding::not_applicable(reason));
                continue;
            }
        };
        let before = world.recorder.count();
        let answer = world.once(&sample)?;
        let passed = is_the_upstreams(&answer) || world.recorder.count() > before;
        let finding = if passed {
            Finding::fail(
                "a call that no rule names is refused or asks for approval",
                format!("{} arrived at the upstream", sample.shown()),
                "write `default: block` (or `require_approval`) in a policy file, and rules for what may pass",
            )
        } else {
            Finding::pass(format!("{} was answered {}", sample.shown(), answer.status))
        };
        report.add(DEFAULT, Some(&subject), finding);
    }
    world.clear()
}
