//! The limits of the configuration.

use serde_json::json;

use super::Gated;
use crate::cli::verify::report::{Check, DEFECT, Finding, Report};
use crate::cli::verify::wire::Request;
use crate::cli::verify::world::World;

const QUEUE: Check = Check { id: "limits.queue", claim: "an agent that asks without end is told to stop" };
const BODY: Check = Check { id: "limits.body", claim: "a body over the limit is refused, and never arrives" };

/// The largest limit on the queue that is tried out.
const QUEUE_TRIED_MAX: usize = 500;
/// The largest limit on a body that is tried out.
const BODY_TRIED_MAX: usize = 16 << 20;

pub(super) fn run(world: &World<'_>, gated: &[Gated<'_>], report: &mut Report) -> anyhow::Result<()> {
    report.add(BODY, None, body(world, gated)?);
    report.add(QUEUE, None, queue(world)?);
    Ok(())
}

fn body(world: &World<'_>, gated: &[Gated<'_>]) -> anyhow::Result<Finding> {
    let limit = world.config.limits.body_bytes_max;
    let Some((_, _, sample)) = gated.iter().find(|(_, _, sample)| sample.body().is_some()) else {
        return Ok(Finding::not_applicable("no call with a body was parked in these checks"));
    };
    if limit > BODY_TRIED_MAX {
        return Ok(Finding::not_applicable(format!("`limits.body_bytes_max` of {limit} is more than is tried out")));
    }
    let sample = sample.marked(world.mark());
    let mut request = world.request(&sample)?.header("prefer", "wait=0");
    // Spaces behind a document change nothing but its length.
    if let Some(body) = &mut request.body {
        body.resize(limit + 1, b' ');
    }
    let before = world.recorder.count();
    // The gateway may close before all is written: that is a refusal as well.
    let answer = request.send(world.gateway.proxy).unwrap_or_default();
    if world.recorder.count() > before || matches!(answer.status, 200..400) || !world.pending()?.is_empty() {
        return Ok(Finding::fail("413", answer.shown(), DEFECT));
    }
    Ok(Finding::pass(format!("{} bytes were answered {}", limit + 1, answer.status)))
}

fn queue(world: &World<'_>) -> anyhow::Result<Finding> {
    let limits = &world.config.limits;
    let limit = limits.pending_per_agent_max.min(limits.pending_total_max);
    let Some(agent) = world.config.agents.first() else { return Ok(Finding::not_applicable("there are no agents")) };
    if limit > QUEUE_TRIED_MAX {
        let reason = format!("`limits.pending_per_agent_max` of {limit} is more than is tried out");
        return Ok(Finding::not_applicable(reason));
    }
    let token = world.agent_token(&agent.id.0)?;
    let mut taken = 0;
    for number in 0..=limit {
        let body = json!({ "action": "holdpoint-verify", "context": { "number": number } }).to_string();
        let request = Request::new("POST", "/_holdpoint/v1/approvals").bearer(token).json(body);
        let answer = request.send(world.gateway.proxy)?;
        match answer.status {
            201 => taken += 1,
            429 | 503 if answer.header("retry-after").is_some() => {
                let shown = format!("{taken} were taken, the next was answered {} with Retry-After", answer.status);
                return Ok(Finding::pass(shown));
            }
            _ => {
                let happened = format!("after {taken}: {}", answer.shown());
                return Ok(Finding::fail("429 or 503 with Retry-After", happened, DEFECT));
            }
        }
    }
    let happened = format!("{taken} were taken");
    Ok(Finding::fail(format!("at most {limit} pending approvals"), happened, DEFECT))
}
