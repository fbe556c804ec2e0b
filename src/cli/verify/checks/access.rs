//! Who is let in: nobody without a known credential, and no reviewer as an agent.

use serde_json::json;

use crate::cli::verify::report::{Check, DEFECT, Finding, Report};
use crate::cli::verify::scratch::{AUDITOR, STRANGER};
use crate::cli::verify::search::Search;
use crate::cli::verify::wire::Request;
use crate::cli::verify::world::{World, id_of};
use crate::gate::random_token;

const CREDENTIAL: Check = Check { id: "access.credential", claim: "a caller without a known credential is refused" };
const REVIEWER: Check = Check { id: "access.reviewer", claim: "a reviewer's credential calls no tools" };
const API: Check = Check { id: "access.api", claim: "the API tells nothing without a reviewer's credential" };
const ACTION: Check = Check { id: "access.action", claim: "an agent's action waits for people, and not for itself" };

pub(super) fn run(world: &World<'_>, search: &Search<'_>, report: &mut Report) -> anyhow::Result<()> {
    for route in world.config.routes.iter() {
        let subject = format!("route {}", route.path);
        let target = if route.path.is_prefix() { format!("{}x", route.path) } else { route.path.to_string() };
        // A call that would have to be judged, so that a refusal can only be about the credential.
        let request = match search.of_default(route) {
            Ok(sample) => sample.request(),
            Err(_) => Request::new("POST", &target).json("{}"),
        };
        let reviewer = world.reviewer_token(AUDITOR)?;
        let unknown = random_token();
        let mut tried = vec![("an unknown token", request.clone().bearer(&unknown))];
        if !world.config.anonymous {
            tried.push(("no credential", request.clone()));
        }
        report.add(CREDENTIAL, Some(&subject), refused(world, &tried, "check `agents` and `anonymous`")?);
        let tried = [("a reviewer's token", request.bearer(reviewer))];
        report.add(REVIEWER, Some(&subject), refused(world, &tried, DEFECT)?);
    }
    if world.config.anonymous {
        let reason = "`anonymous: true` lets callers without a credential in, as the agent `anonymous`";
        report.add(CREDENTIAL, None, Finding::not_applicable(reason));
    }
    report.add(API, None, api(world)?);
    report.add(ACTION, None, action(world)?);
    Ok(())
}

/// Each is answered 401 (over MCP too, which has no result before it knows who asks), and nothing arrives.
fn refused(world: &World<'_>, tried: &[(&str, Request)], advice: &str) -> anyhow::Result<Finding> {
    let before = world.recorder.count();
    for (what, request) in tried {
        let answer = request.send(world.gateway.proxy)?;
        if answer.status != 401 || world.recorder.count() > before {
            let happened = format!("with {what} the answer was {}", answer.shown());
            return Ok(Finding::fail("401, and nothing arrives at the upstream", happened, advice));
        }
    }
    let names: Vec<&str> = tried.iter().map(|(what, _)| *what).collect();
    Ok(Finding::pass(format!("401 for {}", names.join(" and "))))
}

fn api(world: &World<'_>) -> anyhow::Result<Finding> {
    const PLACES: [&str; 5] = ["/v1/approvals", "/v1/approvals/stats", "/v1/policy", "/v1/audit", "/v1/audit/export"];
    let agents = world.config.agents.iter().map(|agent| agent.id.0.as_str()).chain([STRANGER]);
    let mut credentials =
        vec![("no credential".to_owned(), None), ("an unknown token".to_owned(), Some(random_token()))];
    for agent in agents {
        credentials.push((format!("the token of the agent `{agent}`"), Some(world.agent_token(agent)?.to_owned())));
    }
    for (whose, token) in &credentials {
        for place in PLACES {
            let request = Request::new("GET", place);
            let request = token.iter().fold(request, |request, token| request.bearer(token));
            let answer = request.send(world.gateway.admin)?;
            if !matches!(answer.status, 401 | 403) {
                let happened = format!("GET {place} with {whose}: {}", answer.shown());
                return Ok(Finding::fail("401 or 403", happened, DEFECT));
            }
        }
    }
    Ok(Finding::pass(format!("{} places asked with {} credentials", PLACES.len(), credentials.len())))
}

/// `POST /v1/approvals`, which needs no rule and no route.
fn action(world: &World<'_>) -> anyhow::Result<Finding> {
    let Some(agent) = world.config.agents.first() else { return Ok(Finding::not_applicable("there are no agents")) };
    let token = world.agent_token(&agent.id.0)?;
    let ask = || {
        let body = json!({ "action": "holdpoint-verify", "context": { "mark": world.mark() } }).to_string();
        Request::new("POST", "/_holdpoint/v1/approvals").bearer(token).json(body).send(world.gateway.proxy)
    };
    let answer = ask()?;
    if answer.status != 201 || answer.json()["status"] != "pending" {
        let advice = "check `limits.pending_per_agent_max` and the store";
        return Ok(Finding::fail("201 and `pending`", answer.shown(), advice));
    }
    let id = id_of(&answer.json());
    let own = world.decide(token, &id, "approved")?;
    let standing = world.approval(&id)?;
    if !matches!(own.status, 401 | 403) || standing["status"] != "pending" {
        let happened = format!("the agent's own decision was answered {}", own.shown());
        return Ok(Finding::fail("403, and it is still pending", happened, DEFECT));
    }
    let decided = world.decided(&id, "approved")?;
    world.clear()?;
    Ok(match decided {
        Ok(people) => Finding::pass(format!("approved by {}", people.join(", "))),
        Err(why) => Finding::fail("a reviewer can approve", why, "add a reviewer whose id is no agent's"),
    })
}
