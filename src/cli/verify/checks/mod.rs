//! The checks, in groups. Each says in one sentence what it claims, and finds that it holds, does not, or has no occasion here.

mod access;
mod deciding;
mod gate;
mod hostile;
mod policy;
mod queue;
mod restart;
mod secrets;
mod sending;

pub(super) use policy::{cases, run as policy_checks};

use std::time::Duration;

use super::report::Report;
use super::search::Search;
use super::world::World;
use crate::domain::approval::ReleaseMode;
use crate::domain::policy::model::Action;
use crate::domain::policy::{Rule, VerdictKind};

/// Runs everything that needs a gateway. The gateway is killed and started again on the way.
pub(super) fn run(world: &mut World<'_>, search: &Search<'_>, report: &mut Report) -> anyhow::Result<()> {
    access::run(world, search, report)?;
    policy::default(world, search, report)?;
    let mut gated = Vec::new();
    for rule in world.policy.rules() {
        let subject = subject(rule);
        let wanted = match rule.action() {
            Action::RequireApproval => VerdictKind::WaitingForApproval,
            Action::Block => VerdictKind::Blocked,
            Action::Allow | Action::Audit => continue,
        };
        if let Err(reason) = enforced(world, rule) {
            gate::not_applicable(wanted, &subject, &reason, report);
            continue;
        }
        match search.of_rule(rule) {
            None => gate::not_applicable(wanted, &subject, &unfound(rule), report),
            Some(sample) if wanted == VerdictKind::Blocked => gate::blocked(world, &sample, &subject, report)?,
            Some(sample) => {
                if gate::run(world, rule, &sample, &subject, report)? {
                    gated.push((subject, rule, sample));
                }
            }
        }
    }
    secrets::run(world, &gated, report)?;
    restart::run(world, &gated, report)?;
    queue::run(world, &gated, report)?;
    secrets::trail(world, report)
}

/// A gate that works: what it is called, its rule, and a call that it parks.
type Gated<'p> = (String, &'p Rule, super::sample::Sample);

/// The shortest `grant_ttl` that counts as time for a caller to come back. It is held against the policy and never tried out: what is
/// said of a gate does not depend on how fast the machine is.
const GRANT_TTL_MIN: Duration = Duration::from_secs(5);

/// Whether a caller that was away when its call was approved has the time to come back for it. A detached call needs no caller.
fn grants_last(rule: &Rule) -> bool {
    rule.approval().release == ReleaseMode::Detached || rule.approval().grant_ttl >= GRANT_TTL_MIN
}

/// How a rule is named in the report.
fn subject(rule: &Rule) -> String {
    format!("rule `{}`", rule.label())
}

fn enforced(world: &World<'_>, rule: &Rule) -> Result<(), String> {
    match world.policy.only_records(rule.mode()) {
        true => Err("shadow mode: the rule only records".to_owned()),
        false if world.config.routes.iter().next().is_none() => Err("no route leads to an upstream".to_owned()),
        false => Ok(()),
    }
}

fn unfound(rule: &Rule) -> String {
    let cases = std::path::Path::new(rule.file()).with_extension("cases.yaml");
    format!("no call was found that it decides now, on your routes; add one to `{}`", cases.display())
}
