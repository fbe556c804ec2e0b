//! A crash while calls are parked, a crash while one is being sent, and deadlines that have passed.

use std::time::Duration;

use serde_json::Value;

use super::sending::{asked_anew, differences, sent};
use super::{Gated, grants_last};
use crate::cli::verify::gateway::until;
use crate::cli::verify::report::{Check, DEFECT, Finding, Report};
use crate::cli::verify::world::{World, is_pending, is_the_upstreams};
use crate::domain::approval::ReleaseMode;

const PARKED: Check =
    Check { id: "restart.parked", claim: "after kill -9 what was parked is there and can be decided" };
const UNKNOWN: Check =
    Check { id: "restart.unknown", claim: "what was being sent is called unknown, and is not sent again" };
const EXPIRED: Check = Check { id: "gate.expired", claim: "undecided in time, a call is refused and never sent" };

/// The most rules that take part: one call each is parked.
const RULES_MAX: usize = 20;

pub(super) fn run(world: &mut World<'_>, gated: &[Gated<'_>], report: &mut Report) -> anyhow::Result<()> {
    if gated.is_empty() {
        for check in [PARKED, UNKNOWN, EXPIRED] {
            report.add(check, None, Finding::not_applicable("no rule parked a call in these checks"));
        }
        return Ok(());
    }
    let finding = parked(world, gated)?;
    report.add(PARKED, None, finding);
    world.clear()?;
    let finding = unknown(world, gated)?;
    report.add(UNKNOWN, None, finding);
    world.clear()?;
    let finding = expired(world, gated)?;
    report.add(EXPIRED, None, finding);
    Ok(())
}

fn parked(world: &mut World<'_>, gated: &[Gated<'_>]) -> anyhow::Result<Finding> {
    let mut ids = Vec::new();
    for (_, _, sample) in gated.iter().take(RULES_MAX) {
        let sample = sample.marked(world.mark());
        match world.park_and_leave(&sample)? {
            Ok(id) => ids.push((id, sample)),
            Err(happened) => return Ok(Finding::fail("the call is parked", happened, DEFECT)),
        }
    }
    let before: Vec<Value> = ids.iter().map(|(id, _)| world.approval(id)).collect::<anyhow::Result<_>>()?;
    let spec = world.spec.clone();
    world.gateway.crash_and_restart(&spec)?;
    for ((id, sample), before) in ids.iter().zip(&before) {
        let after = world.approval(id)?;
        for member in ["status", "rule", "name", "agent", "payload_sha256", "expires_at"] {
            if after[member] != before[member] {
                let happened =
                    format!("{}: `{member}` was {} and is {}", sample.shown(), before[member], after[member]);
                return Ok(Finding::fail("every parked call is as it was", happened, DEFECT));
            }
        }
    }
    // Only what its caller has the time to come back for can be sent after it; where no rule leaves that, `gate.bound` says so.
    let place = gated.iter().take(RULES_MAX).position(|(_, rule, _)| grants_last(rule));
    let Some((id, sample)) = ids.get(place.unwrap_or(0)) else {
        return Ok(Finding::not_applicable("nothing was parked"));
    };
    let arrived = world.recorder.count();
    if let Err(why) = world.decided(id, "approved")? {
        return Ok(Finding::fail("it can be approved", why, DEFECT));
    }
    let Some((_, rule, _)) = place.and_then(|place| gated.get(place)) else {
        return Ok(Finding::pass(format!("{} parked calls; one was approved after it", ids.len())));
    };
    let arrivals = if rule.approval().release == ReleaseMode::Detached {
        world.arrival_after(arrived)?
    } else {
        let answer = world.once(sample)?;
        if is_pending(&answer) {
            return Ok(asked_anew(&answer));
        }
        world.recorder.since(arrived)
    };
    match differences(world, sample, &arrivals) {
        None => Ok(Finding::pass(format!("{} parked calls; one was approved and sent after it", ids.len()))),
        Some(happened) => Ok(Finding::fail("the approved call is sent once", happened, DEFECT)),
    }
}

fn unknown(world: &mut World<'_>, gated: &[Gated<'_>]) -> anyhow::Result<Finding> {
    let lasting = gated.iter().find(|(_, rule, _)| grants_last(rule)).or(gated.first());
    let Some((_, rule, sample)) = lasting else { return Ok(Finding::not_applicable("nothing was parked")) };
    let sample = sample.marked(world.mark());
    let arrived = world.recorder.count();
    world.recorder.keep_silent(true);
    let parked = world.park(&sample)?;
    let decided = match &parked {
        Ok(parked) => world.decided(&parked.id, "approved")?.map(|_| ()),
        Err(happened) => Err(happened.clone()),
    };
    let (id, arrivals) = match (parked, decided) {
        (Ok(parked), Ok(())) => sent(world, rule, parked.id, arrived)?,
        (_, outcome) => {
            world.recorder.keep_silent(false);
            let happened = outcome.err().unwrap_or_default();
            return Ok(Finding::fail("the call is parked and approved", happened, DEFECT));
        }
    };
    let spec = world.spec.clone();
    world.gateway.crash_and_restart(&spec)?;
    world.recorder.keep_silent(false);
    let approval = world.approval(&id)?;
    let state = approval["outcome"]["state"].as_str().unwrap_or_default();
    if arrivals.len() != 1 || state != "unknown" {
        let happened = format!("{} requests had arrived, and the outcome is `{state}`", arrivals.len());
        return Ok(Finding::fail("one request, and the outcome `unknown`", happened, DEFECT));
    }
    for _ in 0..3 {
        let answer = world.once(&sample)?;
        if is_the_upstreams(&answer) || world.recorder.count() > arrived + 1 {
            let happened = format!("the same call again was answered {}", answer.shown());
            return Ok(Finding::fail("it is not sent again", happened, DEFECT));
        }
    }
    Ok(Finding::pass(format!("{}; 3 identical calls after it were not sent", sample.shown())))
}

/// The gateway is started again with its clock past every deadline.
fn expired(world: &mut World<'_>, gated: &[Gated<'_>]) -> anyhow::Result<Finding> {
    let mut ids = Vec::new();
    let arrived = world.recorder.count();
    for (_, _, sample) in gated.iter().take(RULES_MAX) {
        let sample = sample.marked(world.mark());
        match world.park_and_leave(&sample)? {
            Ok(id) => ids.push(id),
            Err(happened) => return Ok(Finding::fail("the call is parked", happened, DEFECT)),
        }
    }
    let longest = gated.iter().map(|(_, rule, _)| rule.approval().expires_in).max().unwrap_or_default();
    let ahead = longest + Duration::from_secs(60);
    world.spec.clock_ahead_ms = u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX);
    let spec = world.spec.clone();
    world.gateway.crash_and_restart(&spec)?;
    for id in &ids {
        until(|| Ok((world.approval(id)?["status"] != "pending").then_some(())))?;
        let late = world.decided(id, "approved")?;
        let standing = world.approval(id)?;
        if late.is_ok() || standing["status"] != "expired" || world.recorder.count() > arrived {
            let happened = format!("an approval past its time is {}", standing["status"]);
            return Ok(Finding::fail("expired, and not to be approved any more", happened, DEFECT));
        }
    }
    Ok(Finding::pass(format!("{} calls, with the clock moved past `expires_in`", ids.len())))
}
