//! Agents: they call, wait, hang up, come back with the same call or its key, and take up what they left.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdpoint::domain::approval::Status;
use holdpoint::domain::call::Protocol;
use holdpoint::domain::identity::AgentId;
use holdpoint::domain::policy::{Decision, VerdictKind};
use holdpoint::domain::tools::Claims;
use holdpoint::gate::Error;
use holdpoint::gate::held::{HeldRequest, arguments};
use holdpoint::gate::intake::{Body, Entry};
use holdpoint::gate::parking::{Entered, Held, Order, Patience};
use holdpoint::gate::release::Sent;
use holdpoint::protocol::target::RequestTarget;
use holdpoint::telemetry::stopwatch::Stopwatch;
use http::{HeaderMap, Method};

use crate::gateways::{Gateway, Gateways};
use crate::shadow::Answer;
use crate::tables::{MCP_TOOL, TOOLS};
use crate::upstream::Upstream;
use crate::world::Shared;

/// The agents. The first one is also a reviewer.
pub(crate) const AGENTS: [&str; 3] = ["bot-1", "bot-2", "bot-3"];
/// How often a caller comes back.
const RETURNS_MAX: u64 = 4;

/// One call with how its caller behaves.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) agent: &'static str,
    pub(crate) tool: &'static str,
    pub(crate) variant: u64,
    pub(crate) key: Option<String>,
    /// Milliseconds; `None`: wants an answer at once.
    pub(crate) patience: Option<u64>,
    /// Hangs up after so long.
    pub(crate) leaves: Option<u64>,
}

impl Plan {
    /// Returns when its caller has had enough, or never.
    async fn leaving(&self) {
        match self.leaves {
            Some(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            None => std::future::pending().await,
        }
    }

    fn random(shared: &Shared) -> Self {
        shared.throw(|dice| {
            // The checker of crashes knows no MCP, and no keys.
            let plain = shared.chronicle.is_some();
            let tool = if plain { *dice.pick(&TOOLS[..TOOLS.len() - 1]) } else { *dice.pick(&TOOLS) };
            let async_too = tool != MCP_TOOL && dice.chance(12);
            Self {
                agent: *dice.pick(&AGENTS),
                tool,
                variant: dice.below(2),
                key: (!plain && dice.chance(35)).then(|| format!("key-{}", dice.below(6))),
                patience: (!async_too).then(|| dice.within(200, 20_000)),
                leaves: dice.chance(25).then(|| dice.within(0, 6_000)),
            }
        })
    }

    /// Stands for the call in its body; no other call has it.
    pub(crate) fn name(&self) -> String {
        format!("{}-{}-{}", self.agent, self.tool, self.variant)
    }

    pub(crate) fn request(&self, number: u64) -> HeldRequest {
        let (tool, variant) = (self.tool, self.variant);
        let (protocol, target, body) = match tool == MCP_TOOL {
            // Each sending has an id of its own, and it is the same call.
            true => (
                Protocol::Mcp,
                "/mcp".to_owned(),
                format!(
                    r#"{{"jsonrpc":"2.0","id":{number},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"n":{variant}}}}}}}"#
                ),
            ),
            false => (Protocol::Http, format!("/{tool}"), format!(r#"{{"call":"{}"}}"#, self.name())),
        };
        HeldRequest {
            agent: AgentId(self.agent.to_owned()),
            upstream: "tools".to_owned(),
            tool: tool.to_owned(),
            method: Method::POST,
            target: RequestTarget::parse(&target).expect("a plain path"),
            headers: HeaderMap::new(),
            body: Some(Bytes::from(body)),
            protocol,
        }
    }
}

/// A caller comes, and comes back if it must.
pub(crate) fn comes(shared: &Arc<Shared>, gateways: &Arc<Gateways>, number: u64) {
    let plan = Plan::random(shared);
    let (shared, gateways) = (Arc::clone(shared), Arc::clone(gateways));
    shared.clone().tasks.spawn(async move {
        for round in 0..=RETURNS_MAX {
            let Some(gateway) = gateways.any().filter(|_| !shared.is_calm()) else { return };
            let caller = number * 100 + round;
            let plan = if round == 0 { plan.clone() } else { Plan { leaves: None, ..plan.clone() } };
            let request = plan.request(caller);
            let sent = shared.chronicle(|chronicle| chronicle.calls(&plan, &request));
            let asks = ask(&shared, &gateway, &plan, request);
            let answer = attend(&shared, &gateway, caller, &plan, plan.leaving(), asks).await;
            shared.chronicle(|chronicle| chronicle.answered(&plan, sent.unwrap_or_default(), &answer));
            let comes_back = match answer {
                Answer::Pending(_) | Answer::Left | Answer::Broken | Answer::Draining | Answer::Failed(_) => true,
                Answer::Released(_, Sent::NotSent(_) | Sent::Refused(_)) | Answer::Full => true,
                // Whoever sends twice because it was sent once: it must not run again.
                Answer::Released(_, Sent::Lost(_)) | Answer::Spent(_) => plan.key.is_some(),
                _ => false,
            };
            if !comes_back || !shared.throw(|dice| dice.chance(70)) {
                return;
            }
            shared.pause(0, 4_000).await;
        }
    });
}

/// A caller whose connection broke takes its place again.
pub(crate) fn comes_back_to_an_approval(shared: &Arc<Shared>, gateways: &Arc<Gateways>, number: u64) {
    let known: Vec<_> = shared.account(|shadow, _| {
        let open = |status| matches!(status, Status::Pending | Status::Approved);
        let calls = shadow.known().values().filter(|approval| approval.call().is_some() && open(approval.status()));
        calls.map(|approval| (approval.id, approval.subject.agent.clone())).collect()
    });
    let Some(gateway) = gateways.any().filter(|_| !known.is_empty()) else { return };
    let (id, agent) = shared.throw(|dice| dice.pick(&known).clone());
    let plan = Plan { leaves: None, ..Plan::random(shared) };
    let shared = Arc::clone(shared);
    shared.clone().tasks.spawn(async move {
        let patience = Duration::from_millis(plan.patience.unwrap_or(0));
        let rejoins = async {
            match gateway.gate.rejoin(id, &agent, |_| None).await? {
                None => Ok(Answer::Blocked),
                Some(Entered::Settled(held)) => Ok(told(*held)),
                Some(Entered::Waiting(mut waiting)) => match waiting.wait(patience).await?.map(|held| *held) {
                    Some(Held::Permitted(permit, request)) => Ok(released(&shared, &gateway, permit, request).await),
                    Some(held) => Ok(told(held)),
                    None => Ok(Answer::Pending(waiting.give_up().await?)),
                },
            }
        };
        attend(&shared, &gateway, number * 100, &plan, plan.leaving(), rejoins).await;
    });
}

/// Keeps the books on one caller, who hangs up when `leaves` is over.
pub(crate) async fn attend(
    shared: &Arc<Shared>,
    gateway: &Gateway,
    caller: u64,
    plan: &Plan,
    leaves: impl Future<Output = ()>,
    ask: impl Future<Output = Result<Answer, Error>>,
) -> Answer {
    let since = shared.millis();
    shared.account(|shadow, _| {
        shadow.note(|| format!("caller {caller} at gateway {}: {plan:?}", gateway.number));
        shadow.caller_begins(caller);
    });
    let answer = tokio::select! {
        biased;
        () = gateway.gone.cancelled() => Answer::Broken,
        () = leaves => Answer::Left,
        answer = ask => answer.unwrap_or_else(|error| Answer::Failed(error.to_string())),
    };
    let span = (since, plan.patience.unwrap_or(0));
    shared.account(|shadow, state| shadow.caller_ends(caller, gateway.number, span, &answer, state));
    answer
}

/// One call, as the proxy makes it.
pub(crate) async fn ask(
    shared: &Arc<Shared>,
    gateway: &Gateway,
    plan: &Plan,
    request: HeldRequest,
) -> Result<Answer, Error> {
    let gate = &gateway.gate;
    let (policy, now) = (gate.policy(), gate.now());
    let records = shared.account(|_, state| state.trail.len());
    let order = {
        let value = request.value().expect("what is called is JSON");
        let body = value.as_ref().and_then(|value| arguments(request.protocol, value)).map_or(Body::Absent, Body::Read);
        let entry = Entry::new(gate, &policy, request.facts(Claims::NoTool), now);
        let Decision::Verdict(verdict) = entry.judge(body, Stopwatch::start()) else { panic!("the body was read") };
        match verdict.kind {
            VerdictKind::Allowed | VerdictKind::Audit => {
                let permit = entry.admit(&verdict).await?;
                let passing = permit.spend_on_passing().is_ok();
                let revision = policy.revision();
                shared.chronicle(|chronicle| chronicle.arrives(&request));
                shared.account(|shadow, state| {
                    shadow.must(passing, || "an allowed call has the wrong permit".to_owned());
                    shadow.passes(gateway.number, plan.tool, revision, state, records);
                });
                return Ok(Answer::Passed);
            }
            VerdictKind::Blocked => {
                entry.deny(&verdict).await;
                return Ok(Answer::Blocked);
            }
            VerdictKind::WaitingForApproval => entry.order(&verdict, body, None).await?,
        }
    };
    let (rule, shown) = order;
    let patience = plan.patience.map_or(Patience::RespondAsync, |millis| Patience::Wait(Duration::from_millis(millis)));
    let idempotency_key = plan.key.clone();
    let order = Order { request, rule, shown, idempotency_key, trace_id: None, patience };
    let held = match gate.enter(order).await? {
        Entered::Settled(held) => held,
        Entered::Waiting(waiting) => waiting.to_the_end(patience).await?,
    };
    Ok(match *held {
        Held::Permitted(permit, request) => released(shared, gateway, permit, request).await,
        held => told(held),
    })
}

/// Sends in a task of the gateway's own, as the proxy does: a caller that leaves now changes nothing.
async fn released(
    shared: &Arc<Shared>,
    gateway: &Gateway,
    permit: holdpoint::gate::release::Permit,
    request: HeldRequest,
) -> Answer {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let upstream = Upstream { shared: Arc::clone(shared), gone: gateway.gone.clone() };
    let Some(id) = permit.approval() else {
        shared.account(|shadow, _| shadow.wrong("a held call got a permit of no approval"));
        return Answer::Blocked;
    };
    gateway.gate.spawn("release", async move {
        drop(sender.send(upstream.release(permit, &request, false).await));
    });
    match receiver.await {
        Ok(Some((id, sent))) => Answer::Released(id, sent),
        // Whoever lost track of it says so; the store hears of it in a task of its own.
        Ok(None) | Err(_) => Answer::Failed(format!("lost track of {id}")),
    }
}

fn told(held: Held) -> Answer {
    match held {
        Held::Permitted(..) => Answer::Failed("a permit that nobody uses".to_owned()),
        Held::Answered(approval, kept) => {
            let whole = kept.body == approval.id.to_string() && !kept.too_large;
            if whole { Answer::Kept(approval, kept.status) } else { Answer::Kept(approval, 0) }
        }
        Held::Refused(approval) => Answer::Refused(approval),
        Held::BlockedNow(approval, _) => Answer::BlockedNow(approval),
        Held::Pending(approval) => Answer::Pending(approval),
        Held::Spent(approval) => Answer::Spent(approval),
        Held::KeyReused(approval) => Answer::KeyReused(approval),
        Held::Full(_) => Answer::Full,
        Held::Draining(_) => Answer::Draining,
    }
}
