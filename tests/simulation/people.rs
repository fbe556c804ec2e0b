//! People and SDKs: they decide, race each other, withdraw, settle, ask for actions and wait.

use std::sync::Arc;
use std::time::Duration;

use holdpoint::domain::approval::{Approval, Canceller, Execution, Refusal, Settlement, State as Decided, Status};
use holdpoint::domain::call::{Fingerprint, PayloadHash};
use holdpoint::domain::id::ApprovalId;
use holdpoint::domain::identity::{AgentId, Channel, Reviewer, ReviewerRole};
use holdpoint::gate::decisions::{Batch, NewAction, Outcome, Ruling, Verb, is_settled};

use crate::callers::AGENTS;
use crate::gateways::{Gateway, Gateways};
use crate::shadow::{PEOPLE, brief};
use crate::world::Shared;

/// How long whoever waits for an approval may wait beyond its time.
const SLOW: Duration = Duration::from_secs(13);

pub(crate) fn reviewer(name: &'static str) -> Reviewer {
    let groups = PEOPLE.iter().find(|(person, _)| *person == name).map_or(&[][..], |(_, groups)| groups);
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    Reviewer { id: name.to_owned(), groups, role: ReviewerRole::Reviewer }
}

/// Any approval, those that are `likely` first.
fn pick(shared: &Shared, likely: impl Fn(&Approval) -> bool) -> Option<Approval> {
    let (wanted, all): (Vec<Approval>, Vec<Approval>) = shared.account(|shadow, _| {
        let wanted = shadow.known().values().filter(|approval| likely(approval)).cloned().collect();
        (wanted, shadow.known().values().cloned().collect())
    });
    shared.throw(|dice| {
        let from = if wanted.is_empty() || dice.chance(10) { &all } else { &wanted };
        (!from.is_empty()).then(|| dice.pick(from).clone())
    })
}

/// Runs what somebody does at a gateway, until that gateway is gone.
fn at(shared: &Arc<Shared>, gateway: Arc<Gateway>, work: impl Future<Output = ()> + Send + 'static) {
    shared.tasks.spawn(async move {
        tokio::select! {
            biased;
            () = gateway.gone.cancelled() => {}
            () = work => {}
        }
    });
}

/// One to three people decide about one approval, at any gateways.
pub(crate) fn decide(shared: &Arc<Shared>, gateways: &Arc<Gateways>) {
    let Some(approval) = pick(shared, |approval| approval.status() == Status::Pending) else { return };
    let several = shared.throw(|dice| if dice.chance(40) { dice.within(2, 3) } else { 1 });
    for _ in 0..several {
        let Some(gateway) = gateways.any() else { return };
        let (who, approves, wrong_payload, delay) = shared.throw(|dice| {
            let (who, _) = *dice.pick(&PEOPLE);
            (who, dice.chance(75), dice.chance(8), dice.within(0, 60))
        });
        let (shared_task, gate, approval) = (Arc::clone(shared), Arc::clone(&gateway), approval.clone());
        at(shared, gateway, async move {
            tokio::time::sleep(Duration::from_millis(delay)).await;
            decides(&shared_task, &gate, &approval, who, approves, wrong_payload).await;
        });
    }
}

/// One decision, and what its acknowledgement means.
pub(crate) async fn decides(
    shared: &Shared,
    gateway: &Gateway,
    approval: &Approval,
    who: &'static str,
    approves: bool,
    wrong_payload: bool,
) {
    let id = approval.id;
    let verb = if approves { Verb::Approve } else { Verb::Reject };
    shared.account(|shadow, _| {
        shadow.note(|| format!("{who} at gateway {} says {} to {id}", gateway.number, verb.as_str()));
        shadow.votes(id, who, approves);
    });
    let word = if approves { "approved" } else { "rejected" };
    let sent = shared.chronicle(|chronicle| chronicle.says(id, word, who));
    let payload = if wrong_payload { PayloadHash([0; 32]) } else { approval.subject.payload_sha256 };
    let ruling = Ruling {
        verb,
        channel: Channel::Api,
        reason: Some(format!("{who} says so")),
        payload_sha256: Some(payload),
        batch: Batch::Single,
    };
    let outcome = gateway.gate.decide(id, &reviewer(who), ruling).await;
    shared.chronicle(|chronicle| chronicle.heard(id, word, who, sent.unwrap_or_default(), &outcome));
    shared.account(|shadow, state| {
        shadow.note(|| format!("{who} hears {}", told(&outcome)));
        match &outcome {
            Ok(Outcome::Stands(_)) => {
                let stored = state.approvals.get(&id);
                let kept = stored.is_some_and(|now| match (&now.state, approves) {
                    (Decided::Rejected(decision), false) => decision.by == who,
                    (_, true) => now.votes.iter().any(|vote| vote.by == who),
                    (_, false) => false,
                });
                shadow.must(kept, || format!("{who}'s acknowledged decision about {id} is lost"));
                shadow.must(!wrong_payload, || format!("{who} decided about something else than {id}"));
                shadow.count("decision acknowledged");
            }
            Ok(Outcome::Refused(_, Refusal::AlreadyClosed(_))) => shadow.count("decision lost the race"),
            Ok(Outcome::Refused(now, Refusal::Overdue)) => {
                shadow.wrong(format!("{} is overdue and was not expired", brief(now)));
            }
            Ok(Outcome::Refused(..) | Outcome::Missing) | Err(_) => {}
        }
    });
}

fn told(outcome: &Result<Outcome, holdpoint::gate::Error>) -> String {
    match outcome {
        Ok(Outcome::Stands(now)) => format!("it stands: {}", brief(now)),
        Ok(Outcome::Refused(now, refusal)) => format!("refused, {refusal}: {}", brief(now)),
        Ok(Outcome::Missing) => "there is none".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// An agent takes its own back, or tries another's.
pub(crate) fn withdraws(shared: &Arc<Shared>, gateways: &Arc<Gateways>) {
    let Some(approval) = pick(shared, |approval| approval.status() == Status::Pending) else { return };
    let Some(gateway) = gateways.any() else { return };
    let foreign = shared.throw(|dice| dice.chance(20).then(|| *dice.pick(&AGENTS)));
    let agent = foreign.map_or(approval.subject.agent.clone(), |name| AgentId(name.to_owned()));
    let (task, gate) = (Arc::clone(shared), Arc::clone(&gateway));
    at(shared, gateway, async move { withdraws_one(&task, &gate, approval.id, &agent).await });
}

/// One withdrawal, and what its acknowledgement means.
pub(crate) async fn withdraws_one(shared: &Shared, gateway: &Gateway, id: ApprovalId, agent: &AgentId) {
    shared.account(|shadow, _| {
        shadow.note(|| format!("{agent} at gateway {} withdraws {id}", gateway.number));
        shadow.withdraws(id, &agent.0);
    });
    let sent = shared.chronicle(|chronicle| chronicle.says(id, "withdrawn", &agent.0));
    let outcome = gateway.gate.withdraw(id, agent, None).await;
    shared.chronicle(|chronicle| chronicle.heard(id, "withdrawn", &agent.0, sent.unwrap_or_default(), &outcome));
    shared.account(|shadow, state| {
        if let Ok(Outcome::Stands(_)) = &outcome {
            let gone = state.approvals.get(&id).is_some_and(|now| {
                now.subject.agent == *agent && matches!(now.state, Decided::Cancelled { by: Canceller::Agent, .. })
            });
            shadow.must(gone, || format!("{agent} was told that {id} is withdrawn"));
        }
    });
}

/// A reviewer says what an unknown outcome was.
pub(crate) fn settles(shared: &Arc<Shared>, gateways: &Arc<Gateways>) {
    let unknown = |approval: &Approval| matches!(approval.execution, Execution::Unknown { .. });
    let Some(approval) = pick(shared, unknown) else { return };
    let Some(gateway) = gateways.any() else { return };
    let (who, ran) = shared.throw(|dice| (dice.pick(&PEOPLE).0, dice.chance(50)));
    let (task, gate, id) = (Arc::clone(shared), gateway.gate.clone(), approval.id);
    at(shared, gateway, async move {
        task.account(|shadow, _| shadow.settles(id, who));
        let (found, word) =
            if ran { (Settlement::Committed, "committed") } else { (Settlement::NotCommitted, "not_committed") };
        let sent = task.chronicle(|chronicle| chronicle.says(id, word, who));
        let outcome = gate.resolve(id, &reviewer(who), found, "looked it up".to_owned()).await;
        task.chronicle(|chronicle| chronicle.heard(id, word, who, sent.unwrap_or_default(), &outcome));
        task.account(|shadow, state| {
            if let Ok(Outcome::Stands(_)) = &outcome {
                let kept = state.approvals.get(&id).is_some_and(
                    |now| matches!(&now.execution, Execution::Resolved { by, outcome, .. } if by == who && *outcome == found),
                );
                shadow.must(kept, || format!("{who}'s settlement of {id} is lost"));
                shadow.must(approval.subject.agent.0 != who, || format!("{who} settled an own call"));
            }
        });
    });
}

/// An SDK waits for an approval.
pub(crate) fn waits(shared: &Arc<Shared>, gateways: &Arc<Gateways>) {
    let Some(approval) = pick(shared, |approval| approval.status() == Status::Pending) else { return };
    let Some(gateway) = gateways.any() else { return };
    let wait = Duration::from_millis(shared.throw(|dice| dice.within(0, 15_000)));
    let (task, gate, id) = (Arc::clone(shared), gateway.gate.clone(), approval.id);
    at(shared, gateway, async move {
        let since = task.millis();
        let asked = task.chronicle(|chronicle| chronicle.asks());
        let outcome = gate.wait(id, wait).await;
        if let Ok(Some(now)) = &outcome {
            task.chronicle(|chronicle| chronicle.sees(asked.unwrap_or_default(), now));
        }
        let most = u64::try_from((wait + SLOW).as_millis()).unwrap_or(u64::MAX);
        let took = task.millis() - since;
        task.account(|shadow, _| {
            shadow.must(took < most, || format!("a wait of {wait:?} for {id} took {took} ms"));
            match &outcome {
                Ok(Some(now)) if is_settled(now) => shadow.count("a wait ended with the end"),
                Ok(Some(now)) => {
                    let over = u128::from(took) >= wait.as_millis() || gate.is_draining();
                    shadow.must(over, || format!("a wait ended after {took} ms with {}", brief(now)));
                }
                Ok(None) => shadow.wrong(format!("{id} is not there")),
                Err(_) => {}
            }
        });
    });
}

/// An SDK asks for an action, now and then twice with one key.
pub(crate) fn asks_for_an_action(shared: &Arc<Shared>, gateways: &Arc<Gateways>) {
    let Some(gateway) = gateways.any() else { return };
    let (agent, number, keyed, wait) =
        shared.throw(|dice| (*dice.pick(&AGENTS), dice.below(4), dice.chance(50), dice.within(2, 20)));
    let mut fingerprint = [0; 32];
    fingerprint[..8].copy_from_slice(&number.to_be_bytes());
    let context = format!(r#"{{"n":{number}}}"#);
    let action = NewAction {
        agent: AgentId(agent.to_owned()),
        action: "release".to_owned(),
        payload_sha256: PayloadHash(holdpoint::auth::sha256(context.as_bytes())),
        context,
        trace_id: None,
        expires_in: Some(Duration::from_secs(wait)),
        idempotency_key: keyed.then(|| format!("action-{number}")),
        fingerprint: Fingerprint(fingerprint),
    };
    let (task, gate) = (Arc::clone(shared), gateway.gate.clone());
    at(shared, gateway, async move {
        let created = gate.create_action(action).await;
        task.account(|shadow, _| {
            shadow.note(|| format!("an action was asked for: {}", created.is_ok()));
            shadow.count("action asked for");
        });
    });
}
