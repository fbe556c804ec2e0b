//! What is sent once people have decided: exactly what was approved, once, and nothing after a rejection.

use serde_json::Value;

use super::{GRANT_TTL_MIN, grants_last};
use crate::cli::verify::gateway::until;
use crate::cli::verify::recorder::Arrival;
use crate::cli::verify::report::{Check, DEFECT, Finding, Report};
use crate::cli::verify::sample::{How, Sample};
use crate::cli::verify::wire::Answer;
use crate::cli::verify::world::{Parked, World, id_of, is_pending, is_the_upstreams};
use crate::domain::approval::ReleaseMode;
use crate::domain::duration;
use crate::domain::policy::{Rule, VerdictKind};
use crate::protocol::mcp::{META_DECISION, Status};

const SENT: Check = Check { id: "gate.sent_once", claim: "once approved it is sent once, byte for byte" };
const REPLAY: Check = Check { id: "gate.replay", claim: "the same call 20 times more is not sent under that approval" };
const BOUND: Check = Check { id: "gate.bound", claim: "an approval is good for no call that differs" };
const REJECTED: Check = Check { id: "gate.rejected", claim: "a rejected call is not sent, and its caller is told" };

/// How often a call is repeated at the same time.
const REPEATS: usize = 20;

pub(super) fn run(
    world: &World<'_>,
    rule: &Rule,
    sample: &Sample,
    parked: Parked,
    before: usize,
    subject: &str,
    report: &mut Report,
) -> anyhow::Result<()> {
    let opened = world.decided(&parked.id, "approved")?;
    if let Err(why) = opened {
        let advice = "add reviewers to the groups of this rule, with ids that are no agent's";
        report.add(SENT, Some(subject), Finding::fail("the configured reviewers can approve it", why, advice));
        parked.caller.leave();
        return world.clear();
    }
    let (_, arrivals) = sent(world, rule, parked.id, before)?;
    let answer = parked.caller.answer()?;
    let detached = rule.approval().release == ReleaseMode::Detached;
    let finding = match differences(world, sample, &arrivals) {
        Some(happened) => Finding::fail("one request, exactly as it was approved", happened, DEFECT),
        None if !detached && !is_the_upstreams(&answer) => {
            let happened = format!("the caller was answered {}", answer.shown());
            Finding::fail("the caller gets the upstream's answer", happened, DEFECT)
        }
        None => Finding::pass(format!("approved by {}", opened.unwrap_or_default().join(", "))),
    };
    report.add(SENT, Some(subject), finding);
    report.add(REPLAY, Some(subject), replay(world, sample)?);
    world.clear()?;
    report.add(BOUND, Some(subject), bound(world, rule, &sample.marked(world.mark()))?);
    world.clear()?;
    report.add(REJECTED, Some(subject), rejected(world, &sample.marked(world.mark()))?);
    world.clear()
}

/// The approval under which a call that waits was sent, and what has arrived since there were `before`.
///
/// A caller that is away for the moment of the decision finds its grant over where that is very short, and asks anew: there, and
/// nowhere else, whatever it asks for is approved until it is sent.
pub(super) fn sent(
    world: &World<'_>,
    rule: &Rule,
    mut id: String,
    before: usize,
) -> anyhow::Result<(String, Vec<Arrival>)> {
    if grants_last(rule) {
        return Ok((id, world.arrival_after(before)?));
    }
    until(|| {
        if world.recorder.count() > before {
            return Ok(Some(()));
        }
        for approval in world.pending()? {
            id = id_of(&approval);
            drop(world.decided(&id, "approved")?);
        }
        Ok(None)
    })?;
    Ok((id, world.recorder.since(before)))
}

/// An approved call whose caller comes back is pending again: what the report says of it.
pub(super) fn asked_anew(answer: &Answer) -> Finding {
    let happened = format!("its caller came back, and it asked for approval anew: {}", answer.shown());
    let advice = "its approval had ended; if this machine was not stopped for as long as `grant_ttl`, this is a defect of Holdpoint: please report it";
    Finding::fail("the approved call is sent, once", happened, advice)
}

/// What is wrong with what arrived; `None` when it is the one call as sent.
pub(super) fn differences(world: &World<'_>, sample: &Sample, arrivals: &[Arrival]) -> Option<String> {
    let [arrival] = arrivals else { return Some(format!("{} requests arrived at the upstream", arrivals.len())) };
    let request = sample.request();
    let target = sample.target_below(world.config).unwrap_or_default();
    let body = request.body.clone().unwrap_or_default();
    let same_body = match &sample.how {
        How::Mcp { several: true, name, .. } => same_but_for_the_prefix(world, sample, name, &body, &arrival.body),
        How::Mcp { .. } | How::Http { .. } => arrival.body == body,
    };
    if arrival.upstream != sample.upstream {
        return Some(format!("it arrived at `{}` in place of `{}`", arrival.upstream, sample.upstream));
    }
    if (&arrival.method, &arrival.target) != (&request.method, &target) {
        return Some(format!("{} {} arrived, not {} {target}", arrival.method, arrival.target, request.method));
    }
    (!same_body).then(|| format!("the body arrived as {}", String::from_utf8_lossy(&arrival.body)))
}

/// A route with several servers takes its own prefix off the tool's name.
fn same_but_for_the_prefix(world: &World<'_>, sample: &Sample, name: &str, sent: &[u8], arrived: &[u8]) -> bool {
    let upstream = world.config.upstreams.values().find(|one| one.name.as_str() == sample.upstream);
    let prefix = upstream.and_then(|one| one.mcp.as_ref()).map_or("", |mcp| mcp.tool_prefix.as_str());
    let (Ok(mut sent), Ok(arrived)) = (serde_json::from_slice::<Value>(sent), serde_json::from_slice::<Value>(arrived))
    else {
        return false;
    };
    sent["params"]["name"] = name.strip_prefix(prefix).unwrap_or(name).into();
    // The gateway asks under an id of its own where several share an endpoint.
    (&sent["method"], &sent["params"]) == (&arrived["method"], &arrived["params"])
}

/// The identical call again, all at once: each finds the approval used.
fn replay(world: &World<'_>, sample: &Sample) -> anyhow::Result<Finding> {
    let before = world.recorder.count();
    let request = world.request(sample)?.header("prefer", "wait=0");
    let proxy = world.gateway.proxy;
    let callers: Vec<_> = (0..REPEATS)
        .map(|_| {
            let request = request.clone();
            std::thread::spawn(move || request.send(proxy))
        })
        .collect();
    let mut passed = 0;
    for caller in callers {
        let answer = caller.join().map_err(|_| anyhow::anyhow!("a caller's thread panicked"))??;
        passed += usize::from(is_the_upstreams(&answer));
    }
    let arrived = world.recorder.count() - before;
    if arrived == 0 && passed == 0 {
        return Ok(Finding::pass(format!("{REPEATS} at the same time, none sent")));
    }
    let happened = format!("{arrived} more arrived at the upstream");
    Ok(Finding::fail("none of them is sent", happened, DEFECT))
}

/// An approval whose caller has gone, a call that differs, and then the call itself.
fn bound(world: &World<'_>, rule: &Rule, sample: &Sample) -> anyhow::Result<Finding> {
    let detached = rule.approval().release == ReleaseMode::Detached;
    let before = world.recorder.count();
    let id = match world.park_and_leave(sample)? {
        Ok(id) => id,
        Err(happened) => return Ok(Finding::fail("the call is parked", happened, DEFECT)),
    };
    if let Err(why) = world.decided(&id, "approved")? {
        return Ok(Finding::fail("the configured reviewers can approve it", why, "add reviewers to its groups"));
    }
    if detached {
        world.arrival_after(before)?;
    }
    let expected = usize::from(detached);
    let mut tried = Vec::new();
    for (what, other) in sample.changed(world.config, world.mark()) {
        // Only what asks as well: another agent may simply be allowed.
        let asks = other.judge(world.config, world.policy).map(|judged| judged.kind);
        if asks != Some(VerdictKind::WaitingForApproval) {
            continue;
        }
        let answer = world.once(&other)?;
        if world.recorder.count() - before > expected || is_the_upstreams(&answer) {
            let happened = format!("the call with {what} was sent: {}", answer.shown());
            return Ok(Finding::fail("it asks anew", happened, DEFECT));
        }
        tried.push(what);
    }
    if !grants_last(rule) {
        return Ok(too_short(rule));
    }
    if tried.is_empty() {
        return Ok(Finding::not_applicable("no changed call was found that asks as well"));
    }
    if detached {
        return Ok(Finding::pass(tried.join(", ")));
    }
    let answer = world.once(sample)?;
    if is_pending(&answer) {
        return Ok(asked_anew(&answer));
    }
    match differences(world, sample, &world.recorder.since(before)) {
        None => Ok(Finding::pass(format!("{}; the unchanged call was sent", tried.join(", ")))),
        Some(happened) => {
            let happened = format!("{happened}; the caller was answered {}", answer.shown());
            Ok(Finding::fail("the unchanged call is sent, once", happened, DEFECT))
        }
    }
}

/// What is said of a rule whose approvals end before a caller can come back. It is not tried whether one is faster.
fn too_short(rule: &Rule) -> Finding {
    let [least, is] = [GRANT_TTL_MIN, rule.approval().grant_ttl].map(duration::format);
    let advice = format!("set `approval.grant_ttl` of this rule to {least} or more, or leave it out");
    let expected = format!("a caller that was away when its call was approved has {least} to come back");
    Finding::fail(expected, format!("`grant_ttl` is {is}"), advice)
}

fn rejected(world: &World<'_>, sample: &Sample) -> anyhow::Result<Finding> {
    let before = world.recorder.count();
    let parked = match world.park(sample)? {
        Ok(parked) => parked,
        Err(happened) => return Ok(Finding::fail("the call is parked", happened, DEFECT)),
    };
    if let Err(why) = world.decided(&parked.id, "rejected")? {
        return Ok(Finding::fail("the configured reviewers can reject it", why, "add reviewers to its groups"));
    }
    let answer = parked.caller.answer()?;
    let told = answer.status == 403
        || answer.status == 202
        || answer.json()["result"]["_meta"][META_DECISION]["status"] == Status::Rejected.as_str();
    let again = world.once(sample)?;
    let arrived = world.recorder.count() - before;
    if arrived > 0 || is_the_upstreams(&again) {
        let happened = format!("{arrived} requests arrived at the upstream");
        return Ok(Finding::fail("nothing is sent", happened, DEFECT));
    }
    if !told || is_pending(&answer) {
        return Ok(Finding::fail("the caller is told", answer.shown(), DEFECT));
    }
    Ok(Finding::pass(format!("the caller was answered {}, and again {}", answer.status, again.status)))
}
