//! The policies that ship with the program: each loads, lints clean, and passes cases that hit every rule.

use std::path::{Path, PathBuf};

use clap::Parser;

use super::load::{self, StrictReader};
use crate::domain::policy::cases;
use crate::domain::policy::lint::{Surroundings, lint};

const SHIPPED: [&str; 5] = ["cloud-operations", "databases", "messaging", "payments", "source-control"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

#[test]
fn every_shipped_policy_passes_its_cases_and_every_rule_has_one() {
    let pairs = load::find(&folder()).unwrap_or_else(|found| panic!("{}", found.render()));
    assert_eq!(pairs.len(), SHIPPED.len());
    for (pair, name) in pairs.iter().zip(SHIPPED) {
        assert_eq!(pair.policy, folder().join(format!("{name}.yaml")));
        let (policy, _) = super::policy(std::slice::from_ref(&pair.policy)).unwrap_or_else(|found| panic!("{found}"));
        let file = load::cases(&pair.cases).unwrap_or_else(|found| panic!("{}", super::rendered(found)));
        let report = cases::run(&policy, &file, &StrictReader);
        let failed: Vec<_> = report.results.iter().filter(|result| result.failure.is_some()).collect();
        assert!(failed.is_empty(), "{name}: {failed:#?}");
        assert!(report.unhit.is_empty(), "{name}: no case hits {:?}", report.unhit);
    }
}

#[test]
fn every_shipped_policy_lints_clean_alone_and_all_load_together() {
    for name in SHIPPED {
        let (policy, _) =
            super::policy(&[folder().join(format!("{name}.yaml"))]).unwrap_or_else(|found| panic!("{found}"));
        assert_eq!(lint(&policy, Surroundings::default()), [], "{name}");
    }
    let (policy, loaded) = super::policy(&[folder()]).unwrap_or_else(|found| panic!("{found}"));
    assert_eq!(loaded.files.len(), SHIPPED.len());
    assert_eq!(lint(&policy, Surroundings::default()), [], "all together");
}

#[test]
fn the_test_command_finds_the_shipped_policies() {
    #[derive(Parser)]
    struct Command {
        #[command(subcommand)]
        command: super::PolicyCommand,
    }
    let folder = folder().display().to_string();
    let line = ["policy", "test", folder.as_str(), "--coverage-threshold", "100"];
    let command = Command::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).command;
    assert_eq!(super::run(&command), std::process::ExitCode::SUCCESS);
}
