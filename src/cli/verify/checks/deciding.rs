//! Who may decide about a parked call.

use serde_json::json;

use crate::cli::verify::report::{Check, DEFECT, Finding, Report};
use crate::cli::verify::sample::{Sample, place};
use crate::cli::verify::scratch::{OUTSIDER, STRANGER};
use crate::cli::verify::wire::Request;
use crate::cli::verify::world::{Parked, World};
use crate::domain::policy::Rule;

const AGENTS: Check = Check { id: "gate.agents", claim: "no agent decides by any door, or sees another's approval" };
const OWN: Check = Check { id: "gate.own_call", claim: "nobody approves a call made under their own identity" };
const OUTSIDERS: Check = Check { id: "gate.outsiders", claim: "a reviewer outside the groups does not decide" };
const QUORUM: Check = Check { id: "gate.quorum", claim: "one person counts once, however often they approve" };

/// The attempts that must fail. `before` is what had arrived before the call.
pub(super) fn run(
    world: &World<'_>,
    rule: &Rule,
    sample: &Sample,
    parked: &Parked,
    before: usize,
    subject: &str,
    report: &mut Report,
) -> anyhow::Result<()> {
    let still = |what: &str, finding: Finding| -> anyhow::Result<Finding> {
        let standing = world.approval(&parked.id)?;
        if standing["status"] == "pending" && world.recorder.count() == before {
            return Ok(finding);
        }
        let happened = format!("after {what} the approval is `{}`", standing["status"].as_str().unwrap_or_default());
        Ok(Finding::fail("the approval is still pending and nothing was sent", happened, DEFECT))
    };
    report.add(AGENTS, Some(subject), still("the agents' attempts", agents(world, &parked.id)?)?);
    report.add(OWN, Some(subject), still("the requester's attempt", own(world, sample, &parked.id)?)?);
    report.add(OUTSIDERS, Some(subject), still("the outsider's attempt", outsiders(world, rule, &parked.id)?)?);
    report.add(QUORUM, Some(subject), still("one person's approvals", quorum(world, rule, &parked.id)?)?);
    Ok(())
}

fn agents(world: &World<'_>, id: &str) -> anyhow::Result<Finding> {
    let body = json!({ "decision": "approved" }).to_string();
    let bulk = json!({ "ids": [id], "decision": "approved" }).to_string();
    let here = format!("/v1/approvals/{id}");
    let proxy = format!("/_holdpoint{here}");
    let mut attempts = 0;
    let agents = world.config.agents.iter().map(|agent| agent.id.0.as_str()).chain([STRANGER]);
    for agent in agents {
        let token = world.agent_token(agent)?;
        let mut doors = vec![
            (world.gateway.admin, Request::new("POST", &here).json(body.clone())),
            (world.gateway.admin, Request::new("POST", "/v1/approvals/bulk-decide").json(bulk.clone())),
            (world.gateway.admin, Request::new("POST", &format!("{here}/resolve")).json("{}")),
            (world.gateway.proxy, Request::new("POST", &proxy).json(body.clone())),
        ];
        // Where a route leads there it is a call like any other, and may pass: no door to the reviewers' API.
        if place(world.config, &here).is_none() {
            doors.push((world.gateway.proxy, Request::new("POST", &here).header("host", "admin").json(body.clone())));
        }
        for (address, request) in doors {
            attempts += 1;
            let target = request.target.clone();
            let answer = request.bearer(token).send(address)?;
            if answer.status < 400 {
                let happened = format!("POST {target} with the token of `{agent}` was answered {}", answer.shown());
                return Ok(Finding::fail("a refusal", happened, DEFECT));
            }
        }
    }
    let token = world.agent_token(STRANGER)?;
    for (method, target) in
        [("GET", proxy.clone()), ("GET", format!("{proxy}/result")), ("POST", format!("{proxy}/cancel"))]
    {
        let answer = Request::new(method, &target).bearer(token).json("{}").send(world.gateway.proxy)?;
        if answer.status < 400 {
            let happened = format!("{method} {target} by another agent was answered {}", answer.shown());
            return Ok(Finding::fail("404", happened, DEFECT));
        }
    }
    Ok(Finding::pass(format!("{attempts} attempts to decide, 3 to look or withdraw")))
}

/// Somebody in every group, who goes by the caller's own id.
fn own(world: &World<'_>, sample: &Sample, id: &str) -> anyhow::Result<Finding> {
    let Some(token) = sample.agent.as_ref().and_then(|agent| world.spec.twins.get(agent)) else {
        return Ok(Finding::not_applicable("the call comes from a caller without a credential"));
    };
    let answer = world.decide(token, id, "approved")?;
    if answer.status == 403 {
        return Ok(Finding::pass("403 for a reviewer in every group who goes by the agent's id"));
    }
    Ok(Finding::fail("403", answer.shown(), DEFECT))
}

fn outsiders(world: &World<'_>, rule: &Rule, id: &str) -> anyhow::Result<Finding> {
    let slots = &rule.approval().approvers;
    if slots.iter().any(|slot| slot.group.is_none()) {
        return Ok(Finding::not_applicable("any reviewer may approve; name a `group` under `approvers` to narrow it"));
    }
    let asked = |groups: &[String]| slots.iter().flat_map(|slot| &slot.group).any(|group| groups.contains(group));
    let outside = world.config.reviewers.iter().map(|one| &one.reviewer).filter(|one| !asked(&one.groups));
    let outside: Vec<&str> = outside.map(|one| one.id.as_str()).chain([OUTSIDER]).collect();
    for reviewer in &outside {
        for decision in ["approved", "rejected"] {
            let answer = world.decide(world.reviewer_token(reviewer)?, id, decision)?;
            if answer.status != 403 {
                let happened = format!("`{decision}` by `{reviewer}` was answered {}", answer.shown());
                return Ok(Finding::fail("403", happened, DEFECT));
            }
        }
    }
    Ok(Finding::pass(format!("403 for {} reviewers", outside.len())))
}

fn quorum(world: &World<'_>, rule: &Rule, id: &str) -> anyhow::Result<Finding> {
    let needed: u32 = rule.approval().approvers.iter().map(|slot| slot.count).sum();
    if needed < 2 {
        return Ok(Finding::not_applicable("one person is enough for this rule"));
    }
    for reviewer in &world.config.reviewers {
        let token = world.reviewer_token(&reviewer.reviewer.id)?;
        if world.decide(token, id, "approved")?.status != 200 {
            continue;
        }
        for _ in 0..3 {
            world.decide(token, id, "approved")?;
        }
        let standing = world.approval(id)?;
        let votes = standing["votes"].as_array().map_or(0, Vec::len);
        if votes == 1 && standing["status"] == "pending" {
            let shown = format!("`{}` approved 4 times and counts once of {needed}", reviewer.reviewer.id);
            return Ok(Finding::pass(shown));
        }
        let happened = format!("{votes} votes after 4 approvals by one person");
        return Ok(Finding::fail("one vote, and still pending", happened, DEFECT));
    }
    Ok(Finding::fail("a reviewer can vote", "no reviewer may", "add reviewers to the groups of this rule"))
}
