//! One gate, from the first call to the last attempt around it; and rules that block.

use super::{deciding, hostile, secrets, sending};
use crate::cli::verify::report::{Check, DEFECT, Finding, Report};
use crate::cli::verify::sample::Sample;
use crate::cli::verify::world::{World, is_the_upstreams};
use crate::domain::policy::{Rule, VerdictKind};

const PARKS: Check = Check { id: "gate.parks", claim: "a call is parked under this rule, and nothing is sent" };
const BLOCKED: Check = Check { id: "block.stays_out", claim: "a call is refused and never arrives" };

/// The report of a rule for which no call can be made.
pub(super) fn not_applicable(wanted: VerdictKind, subject: &str, reason: &str, report: &mut Report) {
    let check = if wanted == VerdictKind::Blocked { BLOCKED } else { PARKS };
    report.add(check, Some(subject), Finding::not_applicable(reason));
}

/// A rule that blocks: its call, 20 times, and never a trace of it at the upstream.
pub(super) fn blocked(world: &World<'_>, sample: &Sample, subject: &str, report: &mut Report) -> anyhow::Result<()> {
    let before = world.recorder.count();
    let answer = world.once(&sample.marked(world.mark()))?;
    let arrived = world.recorder.count() > before;
    let finding = if arrived || is_the_upstreams(&answer) {
        let happened = format!("{} was answered {}", sample.shown(), answer.shown());
        Finding::fail("nothing arrives at the upstream", happened, DEFECT)
    } else if !world.pending()?.is_empty() {
        Finding::fail("refused", format!("{} was parked", sample.shown()), DEFECT)
    } else {
        Finding::pass(format!("{} was answered {}", sample.shown(), answer.status))
    };
    report.add(BLOCKED, Some(subject), finding);
    world.clear()
}

/// Everything about one gate. Whether it parks at all, so that more can be asked of it.
pub(super) fn run(
    world: &World<'_>,
    rule: &Rule,
    sample: &Sample,
    subject: &str,
    report: &mut Report,
) -> anyhow::Result<bool> {
    let before = world.recorder.count();
    let first = sample.marked(world.mark());
    let parked = match world.park(&first)? {
        Ok(parked) => parked,
        Err(happened) => {
            let advice = "`holdpoint policy explain` shows which rule decides; a call like this must not pass";
            report.add(PARKS, Some(subject), Finding::fail("the call is parked", happened, advice));
            return Ok(false);
        }
    };
    let arrived = world.recorder.count() > before;
    let shown_rule = parked.approval["rule"].as_str().unwrap_or_default();
    let finding = if arrived {
        let happened = format!("{} arrived at the upstream undecided", first.shown());
        Finding::fail("nothing is sent before a decision", happened, DEFECT)
    } else if shown_rule != rule.label() {
        let happened = format!("it was parked under `{shown_rule}`");
        Finding::fail(format!("parked under `{}`", rule.label()), happened, DEFECT)
    } else {
        Finding::pass(first.shown())
    };
    report.add(PARKS, Some(subject), finding);
    deciding::run(world, rule, &first, &parked, before, subject, report)?;
    sending::run(world, rule, &first, parked, before, subject, report)?;
    secrets::redacted(world, rule, sample, subject, report)?;
    hostile::run(world, sample, subject, report)?;
    Ok(true)
}
